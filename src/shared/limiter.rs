//! The limiter of a shared quota: the pool, the agent, and the store, joined for one process.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU32,
            Ordering::{AcqRel, Relaxed},
        },
    },
    task::{Poll, Waker},
    time::Duration,
};

#[cfg(feature = "shared-keys")]
use super::observed::Totals;
use super::{
    Away, SharedWindow, StoreCounts, StoreError,
    agent::{Agent, Remark, Terms},
    away::{Backoff, Outage},
    driver::Driver,
    group::{Flag, Group},
    observed::{Observed, Tally},
    pool::{Acquired, Deadline, LeasePool, PoolView, Schedule, Unused},
    store::AnyStore,
};
use crate::{
    limiter::{Bounds, End, Ends, Event, Observer},
    rate_limit::RateLimiter,
    rejected::Rejected,
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
    pub(super) store_timeout: Duration,
    outage: Mutex<Option<Outage>>,
    /// Whether there is an outage, to spare the lock of the outage. Relaxed: a request that reads
    /// an old value finds the pool away, whose lock orders the next reading, or finds no outage.
    is_away: AtomicBool,
    /// The number of requests that wait: for leases, at the limit of this process alone, or on the
    /// way from one to the other.
    waiting: AtomicU32,
    /// The driver has gone during an outage, in which no request may queue. Relaxed: a hint.
    is_orphan: AtomicBool,
    group: Arc<Group>,
    /// The limiter is in the news of its group. Relaxed: it changes behind their lock.
    is_listed: AtomicBool,
    /// As few permits are left as the low mark.
    is_low: Flag,
    pub(super) bounds: Bounds,
    /// Of keys, one for all of them.
    pub(super) observed: Arc<Observed>,
    pub(super) tally: Tally,
    /// It is one of keys, and no map keeps it: its counts are added up when it is gone. Relaxed:
    /// its last owner reads it.
    #[cfg(feature = "shared-keys")]
    is_apart: AtomicBool,
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
    pub(super) fn new(quota: SharedWindow, group: Arc<Group>, observed: Arc<Observed>) -> Self {
        let SharedWindow { store, name, terms, away, store_timeout } = quota;
        let clock = group.clock;
        Self {
            pool: LeasePool::new(),
            agent: Mutex::new(Agent::new(terms, clock.now())),
            store,
            quota_name: name,
            away,
            store_timeout,
            outage: Mutex::new(None),
            is_away: AtomicBool::new(false),
            waiting: AtomicU32::new(0),
            is_orphan: AtomicBool::new(false),
            group,
            is_listed: AtomicBool::new(false),
            is_low: Flag::new(),
            bounds: Bounds::default(),
            observed,
            tally: Tally::default(),
            #[cfg(feature = "shared-keys")]
            is_apart: AtomicBool::new(false),
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

    /// The behaviour while the store is away. A limit that is gone with its request has no share:
    /// the next request of its key would have one of its own.
    pub(super) fn away(&self) -> Away {
        match self.away {
            Away::Share { .. } if self.is_apart() => Away::Closed,
            away => away,
        }
    }

    /// Names the limiter, whose events are observed from now on.
    pub(super) fn set_name(&self, name: Arc<str>) -> Result<(), InvalidSetting> {
        self.observed.set_name(name)
    }

    /// Returns the observer, whose name and counts are its own. `None` for the limiter of a key.
    pub(super) fn own_observer(&self) -> Option<&Observer> {
        #[cfg(feature = "shared-keys")]
        if self.observed.is_of_keys() {
            return None;
        }
        Some(&self.observed.observer)
    }

    /// Counts a rejection, and passes it on.
    pub(super) fn rejected(&self, rejected: &Rejected) {
        self.tally.count_rejected(rejected.reason());
        self.observed.observer.notify(|| Event::Rejected(rejected));
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
            self.is_low.set();
            self.group.notify_low();
        }
        acquired.deadline
    }

    /// Returns true if the pool has run low since the last time.
    pub(super) fn take_low(&self) -> bool {
        self.is_low.take()
    }

    /// Records that the limiter is in the news of its group. Returns true if it was not before.
    pub(super) fn list(&self) -> bool {
        !self.is_listed.swap(true, Relaxed)
    }

    pub(super) fn unlist(&self) {
        self.is_listed.store(false, Relaxed);
    }

    /// Returns the way of a request that finds no permit at hand, if the store is away.
    pub(super) fn detour(&self) -> Option<Detour> {
        if !self.is_away() || self.away() == Away::Closed {
            return None;
        }
        let outage = self.outage();
        let Outage { local, .. } = outage.as_ref()?;
        Some(local.clone().map_or(Detour::Unlimited, Detour::Local))
    }

    /// Returns true if a permit that is none of a lease is one of the present outage.
    #[cold]
    pub(super) fn is_of_outage(&self, permit: &Permit) -> bool {
        match (self.detour(), permit) {
            (Some(Detour::Unlimited), Permit::Unlimited) => true,
            (Some(Detour::Local(local)), Permit::Local(own)) => Arc::ptr_eq(&local, own),
            _ => false,
        }
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.group.clock
    }

    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Relaxed)
    }

    /// Lets the driver look at the queue. Spawns one if there is none.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with its timer enabled.
    #[track_caller]
    pub(super) fn drive(self: &Arc<Self>) {
        if self.group.tell(self) {
            Driver::spawn(&self.group);
        }
    }

    /// Spawns a driver if the last one has gone during an outage: only a probe ends that.
    ///
    /// # Panics
    ///
    /// As [`drive`](Self::drive).
    #[track_caller]
    pub(super) fn replace_driver(self: &Arc<Self>) {
        if self.is_orphan.load(Relaxed) && self.is_orphan.swap(false, Relaxed) {
            self.drive();
        }
    }

    /// The driver is gone before its end: all waiters arrive again, and the first one spawns
    /// another.
    pub(super) fn abandon(&self) {
        self.is_orphan.store(self.is_away(), Relaxed);
        let mut wakers = Vec::new();
        self.pool.send_away(&mut wakers);
        Self::wake(wakers);
    }

    /// Ends a wait.
    pub(super) fn cancel(self: &Arc<Self>, ticket: super::pool::Ticket) {
        let freed = self.pool.cancel(ticket, self.clock().now());
        self.free(freed);
    }

    /// Releases a permit that was not used.
    pub(super) fn release(self: &Arc<Self>, permit: Permit) {
        match permit {
            Permit::Leased(deadline) => {
                let freed = self.pool.release(deadline, self.clock().now());
                self.free(freed);
            }
            Permit::Local(local) => local.release_one(),
            Permit::Unlimited => {}
        }
    }

    /// A request has gone out on a permit of a lease.
    #[inline]
    pub(super) fn issued(&self, deadline: Deadline) {
        // A thread may be preempted between its last look at the deadline and the call.
        if self.clock().has_come(deadline.lapse()) {
            self.issued_late();
        }
    }

    /// A request has gone out without a lease.
    pub(super) fn issued_alone(&self, permit: &Permit) {
        match permit {
            Permit::Leased(_) => {}
            Permit::Local(local) => {
                local.commit_one();
                self.agent().issued_late(1, false, self.clock().now());
                self.tally.count_alone(true);
            }
            Permit::Unlimited => self.tally.count_alone(false),
        }
    }

    #[cold]
    fn issued_late(&self) {
        self.agent().issued_late(1, true, self.clock().now());
        self.observed.issued_late();
    }

    fn free(self: &Arc<Self>, freed: super::pool::Freed) {
        let mut wakers: Vec<_> = freed.waker.into_iter().collect();
        let is_news = match freed.unused {
            Some(unused) => self.refund(unused, &mut wakers),
            None => freed.is_back,
        };
        Self::wake(wakers);
        if is_news {
            self.group.notify(self);
        }
    }

    /// Takes back permits, which the store leases again once it has learned of them. Returns true
    /// if requests may get permits sooner by that.
    fn refund(&self, unused: Unused, wakers: &mut Vec<Waker>) -> bool {
        let schedule = {
            let mut agent = self.agent();
            agent.unused(unused).then(|| agent.schedule())
        };
        let is_sooner = schedule.is_some();
        schedule.into_iter().for_each(|schedule| self.schedule(schedule, wakers));
        is_sooner
    }

    /// Wakes tasks, outside of all locks, and then those that wait until nothing waits.
    pub(super) fn wake(wakers: impl IntoIterator<Item = Waker>) {
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Records that a request begins to wait.
    pub(super) fn begin_wait(&self) {
        self.waiting.fetch_add(1, Relaxed);
    }

    /// Records that a request waits no longer, and wakes those that wait for the last one.
    ///
    /// A drain is registered before it reads the number by a read-modify-write. So it finds that
    /// the request is gone, or this one, which comes later in their order, finds the drain.
    pub(super) fn end_wait(&self) {
        if self.waiting.fetch_sub(1, AcqRel) == 1 && self.ends.has_drains() {
            self.ends.wake_drains(&|_| self.is_drained());
        }
    }

    fn is_drained(&self) -> bool {
        self.waiting.fetch_add(0, AcqRel) == 0
    }

    /// Returns the number of requests that wait, and the time that the first of them has waited:
    /// for leases, as `pool` tells, or at the limit of this process alone.
    pub(super) fn queue(&self, pool: &PoolView, now: Nanos) -> (u32, Option<Duration>) {
        let local = self.outage().as_ref().and_then(|outage| outage.local.clone());
        let (queued, age) = local.map_or((0, None), |local| local.queue());
        (pool.queued + queued, pool.since.map(|since| now.since(since)).max(age))
    }

    /// Delivers a lease.
    pub(super) fn deliver(&self, lease: Unused) {
        let mut wakers = Vec::new();
        let left = self.pool.deliver(lease, &mut wakers);
        let schedule = {
            let mut agent = self.agent();
            if let Some(left) = left {
                agent.unused(left);
            }
            agent.served(wakers.len() as u64, 0);
            agent.schedule()
        };
        self.schedule(schedule, &mut wakers);
        Self::wake(wakers);
        if self.pool.is_closed() {
            self.withdraw(Nanos::NEVER); // closed since the driver looked
        }
    }

    /// Takes the permits that have lapsed out of the pool.
    pub(super) fn withdraw(&self, now: Nanos) {
        if let Some(unused) = self.pool.withdraw(now) {
            let mut wakers = Vec::new();
            self.refund(unused, &mut wakers);
            Self::wake(wakers);
        }
    }

    /// Sets the leases to come. During an outage, none comes before the next probe.
    pub(super) fn schedule(&self, mut schedule: Schedule, wakers: &mut Vec<Waker>) {
        if let Some(outage) = &*self.outage() {
            let next_probe = outage.backoff.next_probe();
            schedule.then = schedule.then.max(next_probe);
            schedule.at_least = schedule.at_least.max(next_probe);
        }
        self.pool.set_schedule(schedule, self.clock().now(), wakers);
    }

    /// Returns the time of the next probe during an outage.
    pub(super) fn next_probe(&self) -> Option<Nanos> {
        self.outage().as_ref().map(|outage| outage.backoff.next_probe())
    }

    /// Lets the next probe of an outage be sent at `at`.
    pub(super) fn probe_at(&self, at: Nanos) {
        if let Some(outage) = &mut *self.outage() {
            outage.backoff.probe_at(at);
        }
        self.renew_schedule();
    }

    /// The store has replied to another quota. Ends an outage that began without a request. Any
    /// other one goes on with its own backoff.
    pub(super) fn gate_opened(&self, now: Nanos) {
        let is_over = {
            let mut outage = self.outage();
            let Some(outage) = &mut *outage else { return };
            outage.backoff.draw(now);
            !outage.has_failed
        };
        if is_over {
            self.came_back(now);
        }
        self.renew_schedule();
    }

    fn renew_schedule(&self) {
        let schedule = self.agent().schedule();
        let mut wakers = Vec::new();
        self.schedule(schedule, &mut wakers);
        Self::wake(wakers);
    }

    /// A request to the store has failed. Begins an outage, or goes on with it.
    pub(super) fn failed(&self, now: Nanos, error: &StoreError) {
        self.agent().failed();
        // An outage of a limit that is gone with its request is none that ends.
        self.observed.failed(error, !self.is_away() && !self.is_apart());
        self.go_away(now, |outage| {
            outage.has_failed = true;
            outage.backoff.failed(now);
        });
    }

    /// Begins an outage, because the store is away for other quotas.
    pub(super) fn begin_outage(&self, now: Nanos, next_probe: Nanos) {
        self.go_away(now, |outage| outage.backoff.probe_at(next_probe));
    }

    fn go_away(&self, now: Nanos, change: impl FnOnce(&mut Outage)) {
        let (terms, mine) = {
            let mut agent = self.agent();
            (agent.terms(), agent.mine(now))
        };
        let is_new = {
            let mut outage = self.outage();
            let is_new = outage.is_none();
            let begin = || Outage {
                since: now,
                backoff: Backoff::default(),
                has_failed: false,
                local: self.local(terms, mine),
            };
            change(outage.get_or_insert_with(begin));
            self.is_away.store(true, Relaxed);
            is_new
        };
        if self.pool.is_closed() {
            return self.came_back(now); // it has just been closed, or was before
        }
        let mut wakers = Vec::new();
        if is_new {
            if !self.is_apart() {
                self.observed.went_away();
            }
            if self.away() != Away::Closed {
                self.pool.go_away(&mut wakers);
            }
        }
        // Of the agent after the outage has begun, so that each newer one knows of it.
        let schedule = self.agent().schedule();
        self.schedule(schedule, &mut wakers);
        Self::wake(wakers);
    }

    /// Creates the limit of this process alone. It begins with the permits that the process may
    /// have issued in the last window: of its leases, and of its limit in an outage before.
    fn local(&self, terms: Terms, mine: u64) -> Option<Arc<RateLimiter>> {
        let Away::Share { processes } = self.away() else { return None };
        let share = (terms.limit / processes).max(1);
        let issued = u32::try_from(mine).unwrap_or(u32::MAX).min(share);
        Some(Arc::new(RateLimiter::with_issued(share, terms.window, issued)))
    }

    /// Records that the store has replied. Requests that wait elsewhere come back.
    pub(super) fn came_back(&self, now: Nanos) {
        if !self.is_away.load(Relaxed) {
            return; // only the driver, which calls this, begins an outage
        }
        self.pool.come_back(); // first: a request that finds it away finds the outage
        let ended = {
            let mut outage = self.outage();
            self.is_away.store(false, Relaxed);
            outage.take()
        };
        if let Some(Outage { since, local, .. }) = ended {
            if !self.is_apart() {
                self.observed.came_back(now.since(since));
            }
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

    // --- Counts.

    /// Returns the counts of a moment, of which the readings are.
    pub(super) fn counts(&self, pool: &PoolView, agent: &Agent) -> StoreCounts {
        self.tally.with(StoreCounts { used: agent.used(pool.permits), ..agent.counts() })
    }

    /// Returns all counts of a limiter that no request has any more. Permits that it holds have
    /// lapsed: none will be used.
    #[cfg(feature = "shared-keys")]
    pub(super) fn last_totals(&self) -> Totals {
        self.withdraw(Nanos::NEVER);
        let mut agent = self.agent();
        agent.close();
        let store = self.counts(&self.pool.view(Nanos::NEVER), &agent);
        Totals { store, rejected: self.tally.rejected() }
    }

    /// Records that no map keeps the limiter.
    #[cfg(feature = "shared-keys")]
    pub(super) fn set_apart(&self) {
        self.is_apart.store(true, Relaxed);
    }

    /// Returns true if no map keeps the limiter: it is gone with its last request.
    pub(super) fn is_apart(&self) -> bool {
        #[cfg(feature = "shared-keys")]
        return self.is_apart.load(Relaxed);
        #[cfg(not(feature = "shared-keys"))]
        false
    }

    // --- Pauses, changes and the close.

    /// Pauses admission until `until`, unless it is paused for longer already. Returns true if it
    /// is a change.
    pub(super) fn pause(self: &Arc<Self>, until: Nanos) -> bool {
        let now = self.clock().now();
        let is_change = until > now && self.pool.pause(until);
        if is_change {
            // Requests that may not wait for its end are rejected.
            let schedule = self.agent().schedule();
            let mut wakers = Vec::new();
            self.schedule(schedule, &mut wakers);
            Self::wake(wakers);
            let local = self.outage().as_ref().and_then(|outage| outage.local.clone());
            if let Some(local) = local {
                local.pause_for(until.since(now));
            }
            self.group.notify(self);
        }
        is_change
    }

    /// Returns the end of the present pause; ends it if its time has come.
    pub(super) fn paused_until(&self, now: Nanos) -> Option<Nanos> {
        let mut wakers = Vec::new();
        let until = self.pool.paused_until(now, &mut wakers);
        if !wakers.is_empty() {
            Self::wake(wakers);
        }
        until
    }

    pub(super) fn set_terms(self: &Arc<Self>, change: impl FnOnce(Terms) -> Terms) -> bool {
        let mut agent = self.agent();
        let before = agent.terms();
        let terms = change(before);
        if terms != before {
            agent.set_terms(terms, self.clock().now());
        }
        let schedule = agent.schedule();
        drop(agent);
        if terms != before {
            // What was expected by the terms of before rejects no request any more.
            let mut wakers = Vec::new();
            self.schedule(schedule, &mut wakers);
            Self::wake(wakers);
            self.observed.terms_changed();
        }
        self.group.notify(self);
        terms != before
    }

    pub(super) fn close(self: &Arc<Self>) {
        let mut wakers = Vec::new();
        self.pool.close(&mut wakers);
        Self::wake(wakers);
        // No request uses the permits of this process any more.
        self.withdraw(Nanos::NEVER);
        self.agent().close();
        self.came_back(self.clock().now()); // nothing asks the store any more
        self.ends.close();
        self.group.notify(self);
    }
}

#[cfg(feature = "shared-keys")]
impl Drop for SharedLimiter {
    fn drop(&mut self) {
        if *self.is_apart.get_mut() {
            self.observed.add_gone(self.last_totals());
        }
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
