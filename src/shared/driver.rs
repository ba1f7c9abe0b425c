//! The task that talks to the store for one quota.
//!
//! It is spawned by the first request that finds no permit, in the runtime of that request, and
//! ends when the process holds no lease and no request waits. If its runtime shuts down before,
//! the waiters of other runtimes are woken, and the first of them spawns another.
//!
//! It has at most one request in flight: the next one leaves when the leases of the last reply have
//! been delivered, and carries the demand of all waiters.

use std::{future::poll_fn, pin::pin, sync::Arc, time::Duration};

use futures_util::{
    FutureExt,
    future::{Either, select},
};
use tokio::time::{sleep_until, timeout};

use super::{
    StoreError,
    agent::Next,
    limiter::SharedLimiter,
    wire::{Reply, Request},
};
use crate::{
    refill_task::free_lifo_slot,
    time::{Nanos, Time, TimerUse},
};

pub(super) const TIMER: TimerUse = TimerUse {
    what: "SharedRateLimitLayer: a request to the store of the quota",
    otherwise: "call the service inside one",
};

/// The driver of a quota. A drop before its end lets another one take its place.
pub(super) struct Driver {
    limiter: Arc<SharedLimiter>,
    is_done: bool,
}

impl Driver {
    /// Spawns the driver of a limiter that has none.
    ///
    /// # Panics
    ///
    /// If there is no runtime, it has no timer, or it is shut down.
    #[track_caller]
    pub(super) fn spawn(limiter: &Arc<SharedLimiter>) {
        // Complete before anything panics, so that its drop lets another request try.
        let driver = Self { limiter: Arc::clone(limiter), is_done: false };
        let runtime = TIMER.runtime();
        TIMER.timed(|| drop(tokio::time::sleep(Duration::ZERO)));
        let is_refused = runtime
            .spawn(driver.run())
            .now_or_never()
            .is_some_and(|ended| ended.is_err_and(|error| error.is_cancelled()));
        assert!(!is_refused, "{} needs a Tokio runtime, and this one is shut down", TIMER.what);
        // See `refill_task`: not behind a task that computes.
        free_lifo_slot(&runtime);
    }

    async fn run(mut self) {
        loop {
            self.limiter.signal.clear();
            let now = self.limiter.clock.now();
            match self.step(now) {
                Step::Again => {}
                Step::Ask(request) => self.ask(request).await,
                Step::Wait(until) => self.wait(until).await,
                Step::End if self.limiter.end_driver() => break,
                Step::End => {}
            }
        }
        self.is_done = true;
    }

    /// Makes the steps of this moment that need no wait.
    fn step(&self, now: Nanos) -> Step {
        let limiter = &*self.limiter;
        limiter.withdraw(now);
        let paused_until = limiter.paused_until(now);
        let pool = limiter.pool.view(now);
        let next_probe = limiter.outage().as_ref().map(|outage| outage.next_probe);
        let mut agent = limiter.agent();
        if let Some(next_probe) = next_probe {
            return match () {
                () if pool.is_closed => Step::End,
                () if next_probe > now => Step::Wait(next_probe),
                () => Step::Ask(agent.probe(pool.queued, now)),
            };
        }
        limiter.pool.set_low_mark(agent.low_mark(now));
        match agent.next(now, &pool, paused_until.is_none()) {
            Next::Deliver(lease) => {
                drop(agent);
                limiter.deliver(lease);
                Step::Again
            }
            Next::Ask(request) => Step::Ask(request),
            Next::Wait(until) => Step::Wait(paused_until.map_or(until, |end| end.min(until))),
            Next::End => Step::End,
        }
    }

    /// Sends a request, and takes its reply.
    async fn ask(&self, request: Box<Request>) {
        let limiter = &*self.limiter;
        let numbers = request.encode();
        let sent = limiter.clock.now();
        let asked = limiter.store.acquire(&limiter.quota_name, &numbers);
        let reply = match timeout(limiter.request_timeout, asked).await {
            Ok(reply) => reply.and_then(|reply| Reply::decode(&reply, &request)),
            Err(_) => Err(StoreError::new("timeout")),
        };
        let recv = limiter.clock.now();
        limiter.observed.replied(recv.since(sent), &reply);
        match reply {
            Ok(reply) => {
                limiter.came_back(recv);
                let (remarks, schedule) = {
                    let mut agent = limiter.agent();
                    (agent.reply(&request, &reply, sent, recv), agent.schedule())
                };
                let mut wakers = Vec::new();
                limiter.schedule(schedule, &mut wakers);
                limiter.wake(wakers);
                limiter.remark(&remarks);
            }
            Err(error) => {
                limiter.went_away(recv, &error);
            }
        }
    }

    /// Waits until a time, or until something changes.
    async fn wait(&self, until: Nanos) {
        let limiter = &*self.limiter;
        let changed = poll_fn(|cx| limiter.signal.poll(cx.waker()));
        let timer = pin!(sleep_until(limiter.clock.instant(until)));
        // Outside of tokio's budget, which a store may have spent.
        match select(changed, tokio::task::unconstrained(timer)).await {
            Either::Left(_) | Either::Right(_) => {}
        }
    }
}

enum Step {
    Again,
    Ask(Box<Request>),
    Wait(Nanos),
    End,
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !self.is_done {
            self.limiter.abandon();
        }
    }
}
