//! The task that talks to the store for the quotas of a [`Group`].
//!
//! It is spawned by the first request that finds no permit, in the runtime of that request, and
//! ends when the process holds no lease and no request waits. If its runtime shuts down before,
//! the waiters of other runtimes are woken, and the first of them spawns another.
//!
//! # One batch in flight
//!
//! All quotas that have something to ask send their requests together, and none is sent before all
//! of them have ended. Of a quota, the next request leaves when the leases of the last reply have
//! been delivered. So demand that comes up meanwhile is carried by one request.
//!
//! # Outages
//!
//! A quota is in an outage from its first failure to its next reply. If all requests of a batch
//! have failed, the store is taken to be gone: a quota that has something to ask begins its outage
//! at once, and one probe at a time is sent for all of them, with backoff. The reply to a probe
//! brings them back. If only some have failed, as in a cluster of which a node is gone, each probes
//! for itself.

use std::{
    collections::{BTreeSet, HashMap},
    future::{Future, poll_fn},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use futures_util::{FutureExt, future::join_all};
use tokio::time::timeout;

use super::{
    StoreError,
    agent::Next,
    away::Backoff,
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

/// The requests in flight. Resolves to whether any had a good reply.
type Batch = Pin<Box<dyn Future<Output = bool> + Send>>;

/// The address of a limiter.
type Id = usize;

/// The driver of a group. A drop before its end lets another one take its place.
pub(super) struct Driver {
    group: Arc<Group>,
    /// The limiters with something to do, and the times at which they are looked at next.
    active: HashMap<Id, Active>,
    dues: BTreeSet<(Nanos, Id)>,
    /// The limiters to be looked at when the batch has ended.
    blocked: Vec<Id>,
    /// Set while all requests fail.
    gate: Option<Backoff>,
    is_done: bool,
}

struct Active {
    limiter: Arc<SharedLimiter>,
    due: Nanos,
}

/// The next step of a limiter.
enum Step {
    Again,
    Ask(Box<Request>),
    /// To be looked at when the batch has ended.
    Blocked,
    Wait(Nanos),
    End,
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
            blocked: Vec::new(),
            gate: None,
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
        let mut batch: Option<Batch> = None;
        loop {
            let requests = self.step(self.group.clock.now(), batch.is_none());
            if !requests.is_empty() {
                let asked = requests.into_iter().map(|(limiter, request)| limiter.ask(request));
                let has_reply = |replies: Vec<bool>| replies.into_iter().any(|is_good| is_good);
                batch = Some(Box::pin(join_all(asked).map(has_reply)));
            }
            if batch.is_none() && self.active.is_empty() && self.group.end() {
                break;
            }
            let next = self.dues.first().map_or(Nanos::NEVER, |&(due, _)| due);
            self.group.clock.set(&mut timer, next);
            let group = Arc::clone(&self.group);
            let has_ended = poll_fn(|cx| {
                if let Some(Poll::Ready(is_good)) = batch.as_mut().map(|batch| batch.poll_unpin(cx))
                {
                    return Poll::Ready(Some(is_good));
                }
                let has_news = group.poll_news(cx.waker()).is_ready();
                let is_due = next != Nanos::NEVER && timer.poll(cx).is_ready();
                if has_news || is_due { Poll::Ready(None) } else { Poll::Pending }
            })
            .await;
            if let Some(is_good) = has_ended {
                batch = None;
                self.end_batch(is_good);
            }
        }
        self.is_done = true;
    }

    /// Makes the steps that are due, and returns the requests to send.
    fn step(&mut self, now: Nanos, may_ask: bool) -> Vec<(Arc<SharedLimiter>, Box<Request>)> {
        for limiter in self.group.take_news() {
            let id = Arc::as_ptr(&limiter).addr();
            let due = self.active.insert(id, Active { limiter, due: Nanos::ZERO });
            self.dues.remove(&(due.map_or(Nanos::ZERO, |active| active.due), id));
            self.dues.insert((Nanos::ZERO, id));
        }
        if self.group.take_low() {
            let is_low = |(id, active): (&Id, &Active)| active.limiter.take_low().then_some(*id);
            let low: Vec<_> = self.active.iter().filter_map(is_low).collect();
            low.into_iter().for_each(|id| self.set_due(id, Nanos::ZERO));
        }
        let mut requests = Vec::new();
        while let Some(&(due, id)) = self.dues.first() {
            if due > now {
                break;
            }
            self.set_due(id, Nanos::NEVER);
            let limiter = Arc::clone(&self.active[&id].limiter);
            loop {
                match self.step_of(&limiter, now, may_ask, requests.is_empty()) {
                    Step::Again => continue,
                    Step::Ask(request) => {
                        requests.push((limiter, request));
                        self.block(id);
                    }
                    Step::Blocked => self.block(id),
                    Step::Wait(until) => self.set_due(id, until.max(Nanos::new(now.get() + 1))),
                    // It has a request in flight, whose failure begins an outage.
                    Step::End if self.blocked.contains(&id) => {}
                    Step::End => {
                        self.active.remove(&id);
                    }
                }
                break;
            }
        }
        requests
    }

    /// Makes one step of a limiter.
    fn step_of(&self, limiter: &SharedLimiter, now: Nanos, may_ask: bool, is_first: bool) -> Step {
        limiter.withdraw(now);
        let paused_until = limiter.paused_until(now);
        let wait = |until| Step::Wait(paused_until.map_or(until, |end| end.min(until)));
        let pool = limiter.pool.view(now);
        if pool.is_closed {
            return Step::End; // no timer for leases that nothing uses
        }
        if let Some(own) = limiter.next_probe() {
            let next_probe = self.gate.as_ref().map_or(own, |gate| gate.next_probe());
            return match () {
                () if next_probe > now => wait(next_probe),
                () if !may_ask || (self.gate.is_some() && !is_first) => Step::Blocked,
                () => Step::Ask(limiter.agent().probe(pool.queued, now)),
            };
        }
        let mut agent = limiter.agent();
        limiter.pool.set_low_mark(agent.low_mark(now));
        let may_ask = may_ask && self.gate.is_none();
        match agent.next(now, &pool, may_ask) {
            Next::Deliver(lease) => {
                drop(agent);
                limiter.deliver(lease);
                Step::Again
            }
            Next::Ask(request) => Step::Ask(request),
            Next::Blocked if self.gate.is_some() => {
                drop(agent);
                limiter.begin_outage(now);
                Step::Again
            }
            Next::Blocked => Step::Blocked,
            Next::Wait(until) => wait(until),
            Next::End => Step::End,
        }
    }

    /// Takes the end of a batch, of which a request had a good reply, or none.
    fn end_batch(&mut self, is_good: bool) {
        let now = self.group.clock.now();
        if is_good {
            if self.gate.take().is_some() {
                self.active.values().for_each(|active| active.limiter.probe_at(now));
                let all: Vec<_> = self.active.keys().copied().collect();
                all.into_iter().for_each(|id| self.set_due(id, Nanos::ZERO));
            }
        } else {
            self.gate.get_or_insert_default().failed(now);
        }
        for id in mem::take(&mut self.blocked) {
            self.set_due(id, Nanos::ZERO);
        }
    }

    /// Lets a limiter be looked at when the batch has ended.
    fn block(&mut self, id: Id) {
        if !self.blocked.contains(&id) {
            self.blocked.push(id);
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
        let reply = match timeout(self.request_timeout, asked).await {
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
                self.wake(wakers);
                self.remark(&remarks);
                // Leases are delivered in time, however long the rest of the batch takes.
                self.notify_driver();
                true
            }
            Err(error) => {
                self.failed(recv, &error);
                false
            }
        }
    }
}
