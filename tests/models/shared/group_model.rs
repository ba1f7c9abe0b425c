//! The drivers of a group under the model checker: none is missing while a request waits.

use std::sync::Arc as StdArc;

use loom::{future::block_on, sync::Arc};

use super::{
    group::Group,
    limiter::SharedLimiter,
    pool::Outcome,
    requests::{Request, deliver, lease, waking},
};
use crate::{
    Model, join, spawn,
    sync::{AtomicU32, Ordering::Relaxed},
    time::{Clock, Nanos},
};

const PREEMPTIONS: usize = 3;
const FEW: usize = 2;

/// A group with one limiter.
struct Quota {
    group: Group,
    limiter: StdArc<SharedLimiter>,
    drivers: AtomicU32,
}

impl Quota {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            group: Group::new(Clock::start()), // which no step reads
            limiter: StdArc::new(SharedLimiter::new()),
            drivers: AtomicU32::new(0),
        })
    }

    /// Calls, and drives if there is no driver.
    fn request(&self) -> Request {
        let request = Request::call(&self.limiter.pool);
        if request.is_queued() {
            self.drive();
        }
        request
    }

    fn drive(&self) {
        if self.group.tell(&self.limiter) {
            self.run();
        }
    }

    /// Runs a driver to its end. It delivers a permit to each request that waits.
    fn run(&self) {
        assert_eq!(self.drivers.fetch_add(1, Relaxed), 0, "there are two drivers");
        loop {
            self.look();
            self.drivers.fetch_sub(1, Relaxed);
            if self.group.end() {
                return;
            }
            self.drivers.fetch_add(1, Relaxed);
        }
    }

    /// Looks at the limiters with news.
    fn look(&self) {
        for limiter in self.group.take_news() {
            let queued = limiter.pool.view(Nanos::ZERO).queued;
            if queued > 0 {
                deliver(&limiter.pool, lease(10, queued));
            }
        }
    }

    /// The driver is gone, with its runtime.
    fn abandon(&self) {
        for limiter in self.group.abandon() {
            waking(|wakers| limiter.pool.send_away(wakers));
        }
    }
}

/// D6: a request that queues while the driver ends is served by it, or spawns another one.
#[test]
fn d6_request_that_queues_while_the_driver_ends_is_served() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let quota = Quota::new();
        let other = spawn(&quota, |quota| [quota.request(), quota.request()]);
        let mine = quota.request();
        for request in join([other]).iter().flatten().chain([&mine]) {
            assert!(request.permit(&quota.limiter.pool).is_some(), "there is no driver");
        }
    });
}

/// D4: of requests that find no driver beside each other, one spawns it. A limiter is listed once.
#[test]
fn d4_requests_beside_each_other_spawn_one_driver() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let quota = Quota::new();
        let tell = |quota: &Quota| quota.group.tell(&quota.limiter);
        let other = spawn(&quota, tell);
        let mine = tell(&quota);
        let other = other.join().expect("its thread ends");
        assert!(mine != other, "both spawn a driver, or neither");
        assert_eq!(quota.group.take_news().len(), 1, "one limiter, with one entry");
    });
}

/// D6: a driver that waits is woken by the request that queues.
#[test]
fn d6_waiting_driver_is_woken_for_a_request() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let quota = Quota::new();
        assert!(quota.group.tell(&quota.limiter), "there is no driver");
        quota.look();
        let requesting = spawn(&quota, Quota::request);
        block_on(std::future::poll_fn(|cx| quota.group.poll_news(cx.waker())));
        quota.look();
        let request = requesting.join().expect("its thread ends");
        assert!(request.permit(&quota.limiter.pool).is_some());
    });
}

/// D6: the driver that is told of a change without a driver being needed finds it, or has ended.
#[test]
fn d6_change_beside_the_end_of_the_driver_is_seen_or_left_to_the_next() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let quota = Quota::new();
        assert!(quota.group.tell(&quota.limiter), "there is no driver");
        quota.look();
        let changing = spawn(&quota, |quota| quota.group.notify(&quota.limiter));
        let has_ended = quota.group.end();
        join([changing]);
        let news = quota.group.take_news().len();
        // After the end, the notice goes to no driver. Before, the driver goes on.
        assert!(has_ended || news == 1, "a driver goes on without news");
        assert!(!has_ended || news == 0, "news without a driver");
    });
}

/// D5: a driver that is told of pools that run low finds few permits in each.
#[test]
fn d5_driver_told_of_low_pools_finds_few_permits_in_each() {
    Model { threads: 3, preemptions: FEW }.check(|| {
        let group = Arc::new(Group::new(Clock::start())); // which no step reads
        let limiters = [(); 2].map(|()| StdArc::new(SharedLimiter::new()));
        let acquiring = limiters.clone().map(|limiter| {
            limiter.pool.set_low_mark(1);
            deliver(&limiter.pool, lease(10, 2));
            spawn(&group, move |group| {
                let acquired = limiter.pool.try_acquire(Nanos::ZERO).expect("is at hand");
                assert!(acquired.is_low);
                limiter.is_low.set();
                group.notify_low();
            })
        });
        let mut found = 0;
        while found < limiters.len() {
            block_on(std::future::poll_fn(|cx| group.poll_news(cx.waker())));
            if group.take_low() {
                for limiter in limiters.iter().filter(|limiter| limiter.is_low.take()) {
                    let permits = limiter.pool.view(Nanos::ZERO).permits;
                    assert_eq!(permits, 1, "an old number of permits");
                    found += 1;
                }
            }
        }
        join(acquiring);
    });
}

/// D6: a request that queues while the driver is gone is told, or spawns another one.
#[test]
fn d6_request_that_queues_while_the_driver_is_gone_is_served() {
    Model { threads: 3, preemptions: FEW }.check(|| {
        let quota = Quota::new();
        assert!(quota.group.tell(&quota.limiter), "there is no driver");
        let abandoning = spawn(&quota, Quota::abandon);
        let requesting = spawn(&quota, Quota::request);
        let mine = quota.request();
        join([abandoning]);
        let other = requesting.join().expect("its thread ends");
        let pool = &quota.limiter.pool;
        for mut request in [mine, other] {
            if request.poll(pool) == Some(Outcome::Again) {
                request = quota.request();
            }
            assert!(request.permit(pool).is_some(), "{:?}, and no driver", request.arrived);
        }
    });
}
