//! The limiter of a shared quota: the pool, the agent, and the store, joined for one process.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    task::{Poll, Waker},
    time::Duration,
};

use futures_util::task::AtomicWaker;

use super::{
    Away, SharedWindow, StoreError,
    agent::{Agent, Remark, Terms},
    away::Outage,
    driver::Driver,
    observed::Observed,
    pool::{Acquired, Deadline, LeasePool, Schedule, Unused},
    store::AnyStore,
};
use crate::{
    limiter::{Bounds, End, Ends},
    rate_limit::RateLimiter,
    semaphore::{Semaphore, View, WaiterKey},
    settings::InvalidSetting,
    time::{Clock, Nanos, Time},
};

/// The limiter of a shared quota.
pub(crate) struct SharedLimiter {
    pub(super) pool: LeasePool,
    agent: Mutex<Agent>,
    pub(super) store: Arc<dyn AnyStore>,
    pub(super) quota_name: Arc<str>,
    away: Away,
    pub(super) request_timeout: Duration,
    outage: Mutex<Option<Outage>>,
    /// Whether there is an outage. Written behind the lock of the outage, by a Release, before
    /// waiters are told; so a request that is queued after that finds it, by an Acquire.
    is_away: AtomicBool,
    pub(super) signal: Signal,
    /// A driver exists. A read-modify-write by each side, so that either the driver that ends finds
    /// a request that has queued, or the request finds no driver. AcqRel, for the queue between.
    has_driver: AtomicBool,
    /// The end of a pause; zero without one. Relaxed: the lock of the pool orders the flag.
    paused_until: AtomicU64,
    pub(super) clock: Clock,
    pub(super) bounds: Bounds,
    pub(super) observed: Observed,
    /// Tasks that wait for the end of the limit. Of the semaphore, only its watchers are used.
    ends: Semaphore<Clock>,
}

/// A permit of a request that is not issued yet.
#[derive(Debug)]
pub(super) enum Permit {
    /// Of a lease.
    Leased(Deadline),
    /// Of the limit of this process alone.
    Local(Arc<RateLimiter>),
    /// None: the store is away, and requests pass.
    Unlimited,
}

/// The way of a request that does not wait for leases.
pub(super) enum Detour {
    Unlimited,
    Local(Arc<RateLimiter>),
}

impl SharedLimiter {
    pub(super) fn new(quota: SharedWindow) -> Self {
        let SharedWindow { store, name, terms, away, request_timeout } = quota;
        let clock = Clock::start();
        let observed = Observed::new(&name);
        Self {
            pool: LeasePool::new(),
            agent: Mutex::new(Agent::new(terms, clock.now())),
            store,
            quota_name: name,
            away,
            request_timeout,
            outage: Mutex::new(None),
            is_away: AtomicBool::new(false),
            signal: Signal::default(),
            has_driver: AtomicBool::new(false),
            paused_until: AtomicU64::new(0),
            clock,
            bounds: Bounds::default(),
            observed,
            ends: Semaphore::new(1, clock, ()),
        }
    }

    /// The steps of the agent are whole, whatever panics between them.
    pub(super) fn agent(&self) -> MutexGuard<'_, Agent> {
        self.agent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn outage(&self) -> MutexGuard<'_, Option<Outage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn terms(&self) -> Terms {
        self.agent().terms()
    }

    /// Names the limiter, whose events are observed from now on.
    pub(super) fn set_name(&self, name: Arc<str>) -> Result<(), InvalidSetting> {
        self.observed.set_name(name)
    }

    pub(super) fn fmt_settings(&self, f: &mut fmt::DebugStruct<'_, '_>) {
        let Terms { limit, window, max_share, is_strict } = self.terms();
        f.field("quota", &self.quota_name)
            .field("limit", &limit)
            .field("window", &window)
            .field("max_share", &max_share)
            .field("is_strict", &is_strict)
            .field("away", &self.away);
    }

    /// Acquires a permit that is at hand.
    #[inline]
    pub(super) fn try_acquire(&self, now: Nanos) -> Option<Deadline> {
        self.pool.try_acquire(now).map(|acquired| self.acquired(acquired))
    }

    #[inline]
    pub(super) fn acquired(&self, acquired: Acquired) -> Deadline {
        if acquired.is_low {
            self.signal.notify();
        }
        acquired.deadline
    }

    /// Returns the way of a request that finds no permit at hand, if the store is away.
    pub(super) fn detour(&self) -> Option<Detour> {
        if !self.is_away() || self.away == Away::Closed {
            return None;
        }
        let outage = self.outage();
        let Outage { local, .. } = outage.as_ref()?;
        Some(local.clone().map_or(Detour::Unlimited, Detour::Local))
    }

    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Acquire)
    }

    /// Spawns a driver, unless there is one, and lets it look at the queue.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with its timer enabled.
    #[track_caller]
    pub(super) fn drive(self: &Arc<Self>) {
        if self.has_driver.swap(true, AcqRel) {
            self.signal.notify();
        } else {
            Driver::spawn(self);
        }
    }

    /// Records that the driver ends. Returns false if it has to go on, because a request has queued.
    pub(super) fn end_driver(&self) -> bool {
        self.has_driver.swap(false, AcqRel);
        let is_needed = self.pool.view(self.clock.now()).queued > 0;
        !is_needed || self.has_driver.swap(true, AcqRel)
    }

    /// Records that the driver is gone before its end. All waiters arrive again, and the first one
    /// spawns another.
    pub(super) fn abandon(&self) {
        self.has_driver.swap(false, AcqRel);
        let mut wakers = Vec::new();
        self.pool.send_away(&mut wakers);
        self.wake(wakers);
    }

    /// Ends a wait.
    pub(super) fn cancel(&self, ticket: super::pool::Ticket) {
        let freed = self.pool.cancel(ticket, self.clock.now());
        self.free(freed);
    }

    /// Releases a permit that was not used.
    pub(super) fn release(&self, permit: Permit) {
        match permit {
            Permit::Leased(deadline) => {
                let freed = self.pool.release(deadline, self.clock.now());
                self.free(freed);
            }
            Permit::Local(local) => local.release_one(),
            Permit::Unlimited => {}
        }
    }

    /// A request has gone out on a permit.
    #[inline]
    pub(super) fn issued(&self, permit: &Permit) {
        match permit {
            // A thread that was preempted between its last look at the deadline and the call.
            Permit::Leased(deadline) if deadline.has_passed(self.clock.now()) => self.issued_late(),
            Permit::Leased(_) => {}
            Permit::Local(local) => {
                local.commit_one();
                self.agent().issued_late(1, false);
                self.observed.issued_alone(true);
            }
            Permit::Unlimited => self.observed.issued_alone(false),
        }
    }

    #[cold]
    fn issued_late(&self) {
        self.agent().issued_late(1, true);
        self.observed.issued_late();
    }

    fn free(&self, freed: super::pool::Freed) {
        if let Some(unused) = freed.unused {
            self.agent().unused(unused, unused.deadline.has_passed(self.clock.now()));
        }
        self.wake(freed.waker);
    }

    /// Wakes tasks, outside of all locks, and then those that wait until nothing waits.
    pub(super) fn wake(&self, wakers: impl IntoIterator<Item = Waker>) {
        wakers.into_iter().for_each(Waker::wake);
        if self.ends.has_drains() {
            self.ends.wake_drains(&|_| self.is_drained());
        }
    }

    fn is_drained(&self) -> bool {
        self.pool.view(self.clock.now()).queued == 0
    }

    /// Delivers a lease.
    pub(super) fn deliver(&self, lease: Unused) {
        let mut wakers = Vec::new();
        let left = self.pool.deliver(lease, &mut wakers);
        let schedule = {
            let mut agent = self.agent();
            if let Some(left) = left {
                agent.unused(left, false);
            }
            agent.served(wakers.len() as u64, 0);
            agent.schedule()
        };
        self.schedule(schedule, &mut wakers);
        self.wake(wakers);
    }

    /// Takes the permits that have lapsed out of the pool.
    pub(super) fn withdraw(&self, now: Nanos) {
        if let Some(unused) = self.pool.withdraw(now) {
            self.agent().unused(unused, true);
        }
    }

    /// Sets the leases to come. During an outage, none comes before the next probe.
    pub(super) fn schedule(&self, mut schedule: Schedule, wakers: &mut Vec<Waker>) {
        if let Some(outage) = &*self.outage() {
            schedule.then = schedule.then.max(outage.next_probe);
        }
        self.pool.set_schedule(schedule, self.clock.now(), wakers);
    }

    /// Records that a request to the store has failed. Returns the time of the next one.
    pub(super) fn went_away(&self, now: Nanos, error: &StoreError) -> Nanos {
        let (terms, mine, schedule) = {
            let mut agent = self.agent();
            agent.failed();
            (agent.terms(), agent.mine(now), agent.schedule())
        };
        let (is_new, next_probe) = {
            let mut outage = self.outage();
            let is_new = outage.is_none();
            match &mut *outage {
                Some(outage) => outage.failed(now),
                None => *outage = Some(Outage::begin(now, self.local(terms, mine))),
            }
            self.is_away.store(true, Release);
            (is_new, outage.as_ref().map_or(now, |outage| outage.next_probe))
        };
        self.observed.failed(error, is_new);
        let mut wakers = Vec::new();
        if is_new && self.away != Away::Closed {
            self.pool.send_away(&mut wakers);
        }
        self.schedule(schedule, &mut wakers);
        self.wake(wakers);
        next_probe
    }

    /// Creates the limit of this process alone. It begins with the permits of its own leases, which
    /// may be issued in the last window.
    fn local(&self, terms: Terms, mine: u64) -> Option<Arc<RateLimiter>> {
        let Away::Share { processes } = self.away else { return None };
        let share = (terms.limit / processes).max(1);
        let issued = u32::try_from(mine).unwrap_or(u32::MAX).min(share);
        Some(Arc::new(RateLimiter::with_issued(share, terms.window, issued)))
    }

    /// Records that the store has replied. Requests that wait elsewhere come back.
    pub(super) fn came_back(&self, now: Nanos) {
        if !self.is_away.load(Relaxed) {
            return; // only the driver, which calls this, begins an outage
        }
        let ended = {
            let mut outage = self.outage();
            self.is_away.store(false, Release);
            outage.take()
        };
        if let Some(Outage { since, local, .. }) = ended {
            self.observed.came_back(now.since(since));
            if let Some(local) = local {
                local.end_waits();
            }
        }
    }

    pub(super) fn remark(&self, remarks: &[Remark]) {
        for remark in remarks {
            self.observed.remark(*remark, &self.terms());
        }
    }

    // --- Pauses, changes and the close.

    /// Pauses admission until `until`, unless it is paused for longer already. Returns true if it
    /// is a change.
    pub(super) fn pause(self: &Arc<Self>, until: Nanos) -> bool {
        let now = self.clock.now();
        if until <= now || self.paused_until.fetch_max(until.get(), Relaxed) >= until.get() {
            return false;
        }
        self.pool.pause();
        self.signal.notify();
        true
    }

    /// Returns the end of the present pause; ends it if its time has come.
    pub(super) fn paused_until(&self, now: Nanos) -> Option<Nanos> {
        let until = self.paused_until.load(Relaxed);
        if until == 0 {
            return None;
        }
        if until > now.get() {
            return Some(Nanos::new(until));
        }
        // A longer pause that begins meanwhile fails the exchange, or sets the flag again after it.
        if self.paused_until.compare_exchange(until, 0, Relaxed, Relaxed).is_ok() {
            let mut wakers = Vec::new();
            self.pool.resume(now, &mut wakers);
            self.wake(wakers);
        }
        None
    }

    pub(super) fn set_terms(&self, change: impl FnOnce(Terms) -> Terms) -> bool {
        let mut agent = self.agent();
        let before = agent.terms();
        let terms = change(before);
        if terms != before {
            agent.set_terms(terms);
        }
        drop(agent);
        if terms != before {
            self.observed.terms_changed();
        }
        self.signal.notify();
        terms != before
    }

    pub(super) fn close(&self) {
        let mut wakers = Vec::new();
        self.pool.close(&mut wakers);
        self.wake(wakers);
        if let Some(Outage { local: Some(local), .. }) = &*self.outage() {
            local.end_waits();
        }
        self.ends.close();
        self.signal.notify();
    }
}

impl Ends for SharedLimiter {
    fn poll_end(&self, end: End, key: &mut Option<WaiterKey>, waker: &Waker) -> Poll<()> {
        match end {
            End::Drained => {
                let is_drained = |_: &dyn Fn() -> View| self.is_drained();
                self.ends.poll_drained(key, waker, &is_drained)
            }
            End::Closed => self.ends.poll_closed(key, waker),
        }
    }

    fn cancel_end(&self, end: End, key: WaiterKey) {
        match end {
            End::Drained => self.ends.cancel_drained(key),
            End::Closed => self.ends.cancel_closed(key),
        }
    }
}

/// Tells the driver that something has changed.
#[derive(Default)]
pub(super) struct Signal {
    /// Set by a Release and read by an Acquire: the driver looks at the change next.
    is_set: AtomicBool,
    task: AtomicWaker,
}

impl Signal {
    pub(super) fn notify(&self) {
        self.is_set.store(true, Release);
        self.task.wake();
    }

    /// Forgets what has been told so far. The state is to be looked at next.
    pub(super) fn clear(&self) {
        self.is_set.swap(false, Acquire);
    }

    pub(super) fn poll(&self, waker: &Waker) -> Poll<()> {
        self.task.register(waker);
        if self.is_set.swap(false, Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}
