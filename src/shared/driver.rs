//! The task that talks to the store for the quotas of a [`Group`].
//!
//! It is spawned by the first request that finds no permit, in the runtime of that request, and
//! ends when the process holds no lease and no request waits. If its runtime shuts down before,
//! the waiters of other runtimes are woken, and the first of them spawns another.
//!
//! # Requests in flight
//!
//! Each quota has one request in flight at most. Its next one leaves when the leases of the last
//! reply have been delivered. So demand that comes up meanwhile is carried by one request. Quotas
//! do not wait for each other: one whose node of a cluster hangs delays no other one.
//!
//! # Outages
//!
//! A quota is in an outage from its first failure to its next reply, and probes for itself, with
//! backoff. While the [gate](super::gate) is closed, the store is taken to be gone: one probe at a
//! time is sent for all quotas that have failed, by the one whose latest request is the oldest. A
//! few of the others may send a request, and the rest wait for the end of one of these: if it has
//! failed, they begin their outages without a request, and are the first to probe. When the gate
//! opens, these outages end, and the other ones go on with their own backoff.

use std::{
    collections::{BTreeSet, HashMap},
    future::{Future, poll_fn},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::time::timeout;

use super::{
    StoreError,
    agent::Next,
    gate::{Failure, Gate},
    group::Group,
    limiter::SharedLimiter,
    wire::{Reply, Request},
};
use crate::{
    refill_task::free_lifo_slot,
    time::{Nanos, Time, Timer, TimerUse},
};

pub(super) const TIMER: TimerUse = TimerUse {
    what: "SharedRateLimitLayer: a request to the store of the quota",
    otherwise: "call the service inside one",
};

/// The address of a limiter.
type Id = usize;

/// The end of a request.
struct Asked {
    id: Id,
    sent: Nanos,
    is_good: bool,
}

/// The driver of a group. A drop before its end lets another one take its place.
pub(super) struct Driver {
    group: Arc<Group>,
    /// The limiters with something to do, and the times at which they are looked at next.
    active: HashMap<Id, Active>,
    dues: BTreeSet<(Nanos, Id)>,
    /// The requests in flight.
    asking: FuturesUnordered<Pin<Box<dyn Future<Output = Asked> + Send>>>,
    /// The number of requests sent.
    asked: u64,
    gate: Gate<Id>,
    /// The limiters that wait for the end of a request of another one.
    behind_gate: BTreeSet<Id>,
    is_done: bool,
}

struct Active {
    limiter: Arc<SharedLimiter>,
    due: Nanos,
    /// Its request is in flight.
    is_asking: bool,
    /// The number of its latest request.
    asked: u64,
}

impl Driver {
    /// Spawns the driver of a group that has none.
    ///
    /// # Panics
    ///
    /// If there is no runtime, it has no timer, or it is shut down.
    #[track_caller]
    pub(super) fn spawn(group: &Arc<Group>) {
        // Complete before anything panics, so that its drop lets another request try.
        let driver = Self {
            group: Arc::clone(group),
            active: HashMap::new(),
            dues: BTreeSet::new(),
            asking: FuturesUnordered::new(),
            asked: 0,
            gate: Gate::new(),
            behind_gate: BTreeSet::new(),
            is_done: false,
        };
        let runtime = TIMER.runtime();
        let timer = group.clock.timer(Nanos::NEVER, &TIMER);
        let is_refused = runtime
            .spawn(driver.run(timer))
            .now_or_never()
            .is_some_and(|ended| ended.is_err_and(|error| error.is_cancelled()));
        assert!(!is_refused, "{} needs a Tokio runtime, and this one is shut down", TIMER.what);
        // See `refill_task`: not behind a task that computes.
        free_lifo_slot(&runtime);
    }

    async fn run(mut self, mut timer: Timer) {
        loop {
            self.step(self.group.clock.now());
            if self.active.is_empty() && self.group.end() {
                break;
            }
            let next = self.dues.first().map_or(Nanos::NEVER, |&(due, _)| due).min(self.gate.due());
            self.group.clock.set(&mut timer, next);
            let asked = poll_fn(|cx| {
                if let Poll::Ready(Some(asked)) = self.asking.poll_next_unpin(cx) {
                    return Poll::Ready(Some(asked));
                }
                let has_news = self.group.poll_news(cx.waker()).is_ready();
                let is_due = next != Nanos::NEVER && timer.poll(cx).is_ready();
                if has_news || is_due { Poll::Ready(None) } else { Poll::Pending }
            })
            .await;
            if let Some(asked) = asked {
                self.end_request(&asked);
            }
        }
        self.is_done = true;
    }

    /// Makes the steps that are due.
    fn step(&mut self, now: Nanos) {
        for limiter in self.group.take_news() {
            let id = Arc::as_ptr(&limiter).addr();
            let new = || Active { limiter, due: Nanos::NEVER, is_asking: false, asked: 0 };
            self.active.entry(id).or_insert_with(new);
            self.set_due(id, Nanos::ZERO);
        }
        if self.group.take_low() {
            let is_low = |(id, active): (&Id, &Active)| active.limiter.take_low().then_some(*id);
            let low: Vec<_> = self.active.iter().filter_map(is_low).collect();
            low.into_iter().for_each(|id| self.set_due(id, Nanos::ZERO));
        }
        while let Some(&(due, id)) = self.dues.first() {
            if due > now {
                break;
            }
            self.set_due(id, Nanos::NEVER);
            match self.look_at(id, now) {
                Some(due) => self.set_due(id, due.max(Nanos::new(now.get() + 1))),
                None => {
                    self.active.remove(&id);
                }
            }
        }
        if self.gate.due() <= now {
            self.probe_for_all(now);
        }
    }

    /// Makes the steps of a limiter. Returns the time at which it is to be looked at again, or
    /// `None` if it has nothing to do.
    fn look_at(&mut self, id: Id, now: Nanos) -> Option<Nanos> {
        let Active { limiter, is_asking, .. } = &self.active[&id];
        let (limiter, is_asking) = (Arc::clone(limiter), *is_asking);
        loop {
            limiter.withdraw(now);
            let pause_end = limiter.paused_until(now).unwrap_or(Nanos::NEVER);
            let pool = limiter.pool.view(now);
            let is_unused = pool.queued == 0 && pool.permits == 0;
            if pool.is_closed || (limiter.is_apart() && is_unused) {
                // No timer for leases that nothing uses. The failure of a request in flight begins
                // an outage, which has to be ended.
                return is_asking.then_some(Nanos::NEVER);
            }
            if let Some(next_probe) = limiter.next_probe() {
                if is_asking || self.gate.is_closed() {
                    return Some(pause_end);
                }
                if next_probe > now {
                    return Some(next_probe.min(pause_end));
                }
                self.probe(id, now);
                return Some(pause_end);
            }
            let mut agent = limiter.agent();
            limiter.pool.set_low_mark(agent.low_mark(now));
            match agent.next(now, &pool, !is_asking && self.gate.may_try()) {
                Next::Deliver(lease) => {
                    drop(agent);
                    limiter.deliver(lease);
                }
                Next::Ask(request) => {
                    drop(agent);
                    self.gate.tries(id);
                    self.ask(id, request);
                    return Some(pause_end);
                }
                Next::Blocked => {
                    drop(agent);
                    if !is_asking {
                        self.behind_gate.insert(id);
                    }
                    return Some(pause_end);
                }
                Next::Wait(until) => return Some(until.min(pause_end)),
                Next::End => return is_asking.then_some(pause_end),
            }
        }
    }

    /// Sends a probe of the limiter whose latest request is the oldest.
    fn probe_for_all(&mut self, now: Nanos) {
        let may_probe = |(_, active): &(&Id, &Active)| {
            !active.is_asking && active.limiter.is_away() && !active.limiter.pool.is_closed()
        };
        let oldest = self.active.iter().filter(may_probe).min_by_key(|(_, active)| active.asked);
        match oldest.map(|(id, _)| *id) {
            Some(id) => {
                self.gate.probes(id);
                self.probe(id, now);
            }
            // The next one that has something to ask does so.
            None => {
                self.gate.open();
                for id in mem::take(&mut self.behind_gate) {
                    self.set_due(id, Nanos::ZERO);
                }
            }
        }
    }

    fn probe(&mut self, id: Id, now: Nanos) {
        let limiter = &self.active[&id].limiter;
        let queued = limiter.pool.view(now).queued;
        let request = limiter.agent().probe(queued, now);
        self.ask(id, request);
    }

    /// Sends a request of a limiter that has none in flight.
    fn ask(&mut self, id: Id, request: Box<Request>) {
        let Some(active) = self.active.get_mut(&id) else { return };
        self.asked += 1;
        (active.is_asking, active.asked) = (true, self.asked);
        let sent = self.group.clock.now();
        let asked = Arc::clone(&active.limiter).ask(request);
        self.asking.push(Box::pin(asked.map(move |is_good| Asked { id, sent, is_good })));
    }

    /// Takes the end of a request.
    fn end_request(&mut self, asked: &Asked) {
        let now = self.group.clock.now();
        let &Asked { id, sent, is_good } = asked;
        if let Some(active) = self.active.get_mut(&id) {
            active.is_asking = false;
            self.set_due(id, Nanos::ZERO);
        }
        if is_good {
            if self.gate.replied(now) {
                self.behind_gate.clear();
                self.for_all(|limiter| limiter.gate_opened(now));
            }
            return;
        }
        match (self.gate.failed(id, sent, now), self.gate.next_probe()) {
            (Failure::Gate(next_probe), _) => self.for_all(|limiter| limiter.probe_at(next_probe)),
            (Failure::Untried, Some(next_probe)) => {
                for id in mem::take(&mut self.behind_gate) {
                    let waits = self.active.get(&id).filter(|active| {
                        !active.is_asking && active.limiter.pool.view(now).queued > 0
                    });
                    if let Some(active) = waits {
                        active.limiter.begin_outage(now, next_probe);
                        self.set_due(id, Nanos::ZERO);
                    }
                }
            }
            _ => {}
        }
    }

    /// Changes all limiters, and lets them be looked at.
    fn for_all(&mut self, change: impl Fn(&SharedLimiter)) {
        let all: Vec<_> = self.active.keys().copied().collect();
        for id in all {
            change(&self.active[&id].limiter);
            self.set_due(id, Nanos::ZERO);
        }
    }

    fn set_due(&mut self, id: Id, due: Nanos) {
        if let Some(active) = self.active.get_mut(&id) {
            self.dues.remove(&(mem::replace(&mut active.due, due), id));
            if due != Nanos::NEVER {
                self.dues.insert((due, id));
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !self.is_done {
            let listed = self.group.abandon();
            let active = self.active.drain().map(|(_, active)| active.limiter);
            active.chain(listed).for_each(|limiter| limiter.abandon());
        }
    }
}

impl SharedLimiter {
    /// Sends a request, and takes its reply. Returns true if that is a good one.
    async fn ask(self: Arc<Self>, request: Box<Request>) -> bool {
        let numbers = request.encode();
        let sent = self.clock().now();
        let mut asked = None;
        // A store that panics has failed: the panic would end the driver, and the waiters would
        // spawn the next one at once.
        let asked = poll_fn(|cx| {
            let poll = || {
                let asked =
                    asked.get_or_insert_with(|| self.store.acquire(&self.quota_name, &numbers));
                asked.as_mut().poll(cx)
            };
            let polled = catch_unwind(AssertUnwindSafe(poll));
            polled.unwrap_or_else(|_| Poll::Ready(Err(StoreError::new("panic"))))
        });
        let reply = match timeout(self.store_timeout, asked).await {
            Ok(reply) => reply.and_then(|reply| Reply::decode(&reply, &request)),
            Err(_) => Err(StoreError::new("timeout")),
        };
        let recv = self.clock().now();
        self.observed.replied(recv.since(sent), &reply);
        match reply {
            Ok(reply) => {
                self.came_back(recv);
                let (remarks, schedule) = {
                    let mut agent = self.agent();
                    (agent.reply(&request, &reply, sent, recv), agent.schedule())
                };
                let mut wakers = Vec::new();
                self.schedule(schedule, &mut wakers);
                Self::wake(wakers);
                self.remark(&remarks);
                true
            }
            Err(error) => {
                self.failed(recv, &error);
                false
            }
        }
    }
}
