//! The only place that reads the time.
//!
//! Time is tokio's, so `tokio::time::pause` controls all of this crate. The cores never see an
//! `Instant`: they count in [`Nanos`] since their [`Clock`] was started, and read them by [`Time`].

use std::{
    fmt,
    future::Future,
    panic::{UnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::{self, Handle},
    task::unconstrained,
    time::{Instant, Sleep},
};

use crate::semaphore::{Deadline, Deadlines};

/// A hundred years: the longest window, and the bound that keeps sums of times inside 64 bits.
pub(crate) const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The resolution of timers.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Nanoseconds since a [`Clock`] was started. 64 bits last 584 years; all sums saturate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Nanos(u64);

impl Nanos {
    /// The start of the clock.
    pub(crate) const ZERO: Self = Self(0);
    /// No time: later than any.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) const fn new(nanos: u64) -> Self {
        Self(nanos)
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    /// Returns the time `wait` later, or [`NEVER`](Self::NEVER).
    pub(crate) fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(nanos(wait)))
    }

    /// Returns the time since `earlier`; zero if that is later.
    pub(crate) const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Duration::from_nanos(self.0).fmt(f)
    }
}

impl From<Nanos> for Deadline {
    fn from(time: Nanos) -> Self {
        Self::new(time.get())
    }
}

/// How late a task may be polled after it was woken, by a busy timer and a busy scheduler.
///
/// A later poll belongs to another request: the task that waited has gone away.
pub(crate) const GRACE: Duration = Duration::from_millis(100);

/// A source of the time.
///
/// Two assumptions about it: a reading that happens after another one is not smaller, and a step
/// before a smaller reading is visible after a larger one. Processors keep the second to some
/// nanoseconds. A window needs the first to hold its limit, and the second to be never late: an
/// issue that is missed in that gap, at the boundary of a fixed window, makes an expected time late
/// by a window.
pub(crate) trait Time {
    fn now(&self) -> Nanos;
}

/// Deadlines are times. A permit that is granted to a waiter stays its own for [`GRACE`] after the
/// deadline of the wait, less a nanosecond: taken back, it can go to a waiter whose wait ends then.
impl<T: Time> Deadlines for T {
    fn has_passed(&self, deadline: Deadline) -> bool {
        deadline.get() <= self.now().get()
    }

    fn of_grant(&self, deadline: Deadline) -> Deadline {
        Nanos::new(deadline.get()).after(GRACE - Duration::from_nanos(1)).into()
    }
}

/// Returns a duration in nanoseconds, saturating after 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns a wait in whole seconds for an HTTP header: rounded up, and never 0, which means *at
/// once*.
pub(crate) fn whole_secs(wait: Duration) -> u64 {
    let begun = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(begun).max(1)
}

/// Reads the time, counted from the moment it was started. Needs no runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: now() }
    }

    /// Returns `instant` by this clock; zero if it was before the start.
    pub(crate) fn read(&self, instant: Instant) -> Nanos {
        Nanos(nanos(instant.saturating_duration_since(self.origin)))
    }

    /// Creates a timer that fires at `at`, and not before, for `timer_use`.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime that has its timer enabled.
    #[track_caller]
    pub(crate) fn timer(&self, at: Nanos, timer_use: &TimerUse) -> Timer {
        timer_use.timer(self.instant(at))
    }

    /// Resets `timer` to fire at `at`, and not before.
    pub(crate) fn set(&self, timer: &mut Timer, at: Nanos) {
        timer.sleep.as_mut().reset(self.instant(at));
    }

    /// Returns true if `at` has come. It takes fewer steps than a reading that is compared with it.
    pub(crate) fn has_come(&self, at: Nanos) -> bool {
        now() >= self.instant(at)
    }

    /// Returns `at` as an instant. One beyond tokio's range is a century away.
    pub(crate) fn instant(&self, at: Nanos) -> Instant {
        let instant = self.origin.checked_add(at.since(Nanos::ZERO));
        instant.unwrap_or_else(|| now() + CENTURY)
    }
}

/// The time is zero in a runtime with a paused clock before the start.
impl Time for Clock {
    fn now(&self) -> Nanos {
        self.read(now())
    }
}

/// A use of timers, for the message of the panic where there is none.
#[derive(Debug)]
pub(crate) struct TimerUse {
    /// The layer, and the setting that makes it wait.
    pub(crate) what: &'static str,
    /// How to do without a timer.
    pub(crate) otherwise: &'static str,
}

impl TimerUse {
    /// Returns the runtime to wait in.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub(crate) fn runtime(&self) -> Handle {
        match Handle::try_current() {
            Ok(runtime) => runtime,
            Err(_) => self.no_runtime(),
        }
    }

    /// Panics, because there is no runtime to wait in.
    #[track_caller]
    pub(crate) fn no_runtime(&self) -> ! {
        self.panic("there is none here")
    }

    /// Creates a timer that fires at `at`, and not before.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime that has its timer enabled.
    #[track_caller]
    pub(crate) fn timer(&self, at: Instant) -> Timer {
        Timer { sleep: self.timed(|| Box::pin(tokio::time::sleep_until(at))) }
    }

    /// Creates a timer as [`timer`](Self::timer) does, which knows its runtime.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime that has its timer enabled.
    #[track_caller]
    pub(crate) fn runtime_timer(&self, at: Instant) -> RuntimeTimer {
        let runtime = self.runtime().id();
        RuntimeTimer { timer: self.timer(at), runtime }
    }

    /// Polls a timer that fires at `at`, and is made at the first poll.
    ///
    /// It is made anew if the task has moved to another runtime, because a timer fires only while
    /// its runtime is driven.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime that has its timer enabled.
    #[track_caller]
    pub(crate) fn poll_until(
        &self,
        timer: &mut Option<RuntimeTimer>,
        at: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let runtime = self.runtime().id();
        match timer {
            Some(timer) if timer.runtime == runtime => timer,
            other => other.insert(self.runtime_timer(at)),
        }
        .timer
        .poll(cx)
    }

    /// Polls the timer of a wait of at most `max_wait`, counted from the first poll. A wait of zero
    /// is over at once and needs no timer.
    ///
    /// # Panics
    ///
    /// If there is a wait, outside a tokio runtime that has its timer enabled.
    #[cfg(feature = "client")]
    #[track_caller]
    pub(crate) fn poll_wait(
        &self,
        timer: &mut Option<RuntimeTimer>,
        max_wait: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if max_wait.is_zero() {
            return Poll::Ready(());
        }
        let at = match timer {
            Some(timer) => timer.timer.sleep.deadline(),
            None => now() + max_wait.min(CENTURY),
        };
        self.poll_until(timer, at, cx)
    }

    /// Runs `make`, which creates a timer.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime that has its timer enabled. If only the timer is missing, tokio's
    /// own message is printed before, which does not name the layer.
    #[track_caller]
    pub(crate) fn timed<T>(&self, make: impl FnOnce() -> T + UnwindSafe) -> T {
        drop(self.runtime());
        match catch_unwind(make) {
            Ok(timer) => timer,
            Err(_) => self.panic("this one has none"),
        }
    }

    #[cold]
    #[track_caller]
    fn panic(&self, missing: &str) -> ! {
        let Self { what, otherwise } = self;
        panic!(
            "{what} needs a Tokio runtime with a timer, and {missing}: wait inside a runtime that is built with \
             `enable_time` or `enable_all`, or {otherwise}"
        )
    }
}

/// A timer. Boxed, because it is large, and a call that does not wait has none.
#[derive(Debug)]
pub(crate) struct Timer {
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    /// Outside of tokio's budget, which the future that a timer bounds may have spent: it would
    /// spend it at each poll, and the timer would never fire.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut unconstrained(self.sleep.as_mut())).poll(cx)
    }
}

/// A timer, and the runtime that drives it.
#[derive(Debug)]
pub(crate) struct RuntimeTimer {
    timer: Timer,
    runtime: runtime::Id,
}

/// Returns the present moment, to compare with others without a [`Clock`].
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Returns the time of day, for dates in messages. No wait depends on it. tokio has none, so a
/// paused clock does not control it.
#[cfg(any(feature = "client", feature = "server"))]
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn time_of_day() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
