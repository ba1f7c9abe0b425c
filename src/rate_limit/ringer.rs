//! The task that looks when time has passed, for all who wait in one runtime.
//!
//! # Independence of any one task
//!
//! A worker of tokio's multi-thread scheduler runs the task that was woken or spawned last next, from
//! a slot of its own that no other worker takes tasks from. If the running task computes for a second
//! after that, so long does the task in the slot wait, while other workers idle. It must not be this
//! one, nor a waiter while the driver of the timers is in nobody's hands. So an empty task is spawned
//! behind each: it takes the slot, which moves the task before it to the worker's queue, and it wakes
//! another worker, which takes tasks from that queue, and drives the timers when it finds none.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use futures::{FutureExt, task::AtomicWaker};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::limiter::{RateLimiter, WAITING};
use crate::clock::{Alarm, Nanos};

/// There while anybody waits in its runtime. Has the one timer that they need.
///
/// A task of its own, and not the task of one who waits, because that may not be polled again. If it goes before
/// its time (the runtime shuts down, or a waker panics in it), those who wait for it are woken, and
/// whoever is polled sends another.
pub(super) struct Ringer {
    limiter: Arc<RateLimiter>,
    wakes: Arc<Wakes>,
    alarm: Option<Alarm>,
    /// Has it looked before?
    has_looked: bool,
    is_done: bool,
}

impl Ringer {
    /// Sends one to a runtime that has none.
    ///
    /// # Panics
    ///
    /// If the runtime has no timer, or is shut down.
    #[track_caller]
    pub(super) fn send(limiter: &Arc<RateLimiter>, runtime: &Handle) {
        let limiter = Arc::clone(limiter);
        let wakes = Arc::new(Wakes { task: AtomicWaker::new(), runtime: runtime.clone() });
        // Whole before its timer is: if there can be none, the next who asks is told so, too.
        let mut ringer = Self { limiter, wakes, alarm: None, has_looked: false, is_done: false };
        ringer.alarm = Some(ringer.limiter.clock.alarm(Nanos::NEVER, &WAITING));
        let refused = runtime
            .spawn(ringer)
            .now_or_never()
            .is_some_and(|ended| ended.is_err_and(|error| error.is_cancelled()));
        assert!(
            !refused,
            "{} needs a Tokio runtime, and this one is shut down: wait inside one that runs, or {}",
            WAITING.what, WAITING.otherwise,
        );
        make_way(runtime);
    }
}

/// Wakes a ringer, and lets another worker run it if this one goes on with its task.
struct Wakes {
    task: AtomicWaker,
    runtime: Handle,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.task.wake();
        make_way(&self.runtime);
    }
}

/// Moves the task that was spawned or woken last to where other workers find it, and wakes one of them.
fn make_way(runtime: &Handle) {
    if runtime.runtime_flavor() != RuntimeFlavor::CurrentThread {
        drop(runtime.spawn(async {}));
    }
}

impl Future for Ringer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { limiter, wakes, alarm, has_looked, is_done } = &mut *self;
        wakes.task.register(cx.waker());
        let waker = Waker::from(Arc::clone(wakes));
        loop {
            let now = || limiter.clock.now();
            let Some(at) = limiter.window.attend(wakes.runtime.id(), &waker, &now) else {
                *is_done = true;
                return Poll::Ready(());
            };
            let alarm = alarm.as_mut().expect("sent with one");
            limiter.clock.set(alarm, at);
            if alarm.poll(cx).is_pending() {
                // The waiters that were granted permits are woken: one of them is next here.
                if std::mem::replace(has_looked, true) {
                    make_way(&wakes.runtime);
                }
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Ringer {
    fn drop(&mut self) {
        if !self.is_done {
            self.limiter.window.abandon(self.wakes.runtime.id());
        }
    }
}
