//! The number of requests that a step of the pool looks at behind its lock.

use std::{task::Waker, time::Duration};

use crate::{
    shared::pool::{Arrival, Arrived, LeasePool, Schedule, Ticket, looks},
    time::Nanos,
};

fn ms(ms: u64) -> Nanos {
    Nanos::ZERO.after(Duration::from_millis(ms))
}

/// Requests that may wait until `deadline`.
fn arrive(pool: &LeasePool, ticket: Option<Ticket>, deadline: u64) -> Ticket {
    let arrived = pool.arrive(Arrival {
        ticket,
        is_first: false,
        now: ms(1),
        since: ms(1),
        deadline: ms(deadline),
        max_queue: u32::MAX,
        waker: &mut Some(Waker::noop().clone()),
    });
    let Arrived::Queued(ticket) = arrived else { unreachable!("it may wait: {arrived:?}") };
    ticket
}

/// Leases of one permit each, and none beyond them before `then`, which is not believed.
fn schedule(pool: &LeasePool, leases: u32, then: u64) {
    let leases = (0..leases).map(|lease| (ms(10 + u64::from(lease)), 1)).collect();
    let (then, until) = (ms(then), Nanos::ZERO);
    let schedule = Schedule { number: 0, leases, then, until, at_least: ms(1_000) };
    let mut wakers = Vec::new();
    pool.set_schedule(schedule, ms(1), &mut wakers);
    assert_eq!(wakers.len(), 0, "none is late");
}

const REQUESTS: usize = 10_000;
const LEASES: u32 = 350;

/// All requests arrive again after their driver has gone, in any order.
#[test]
fn d6_requests_that_arrive_again_do_not_count_all_of_those_ahead() {
    let pool = LeasePool::new();
    let mut tickets: Vec<_> = (0..REQUESTS).map(|_| arrive(&pool, None, 2_000)).collect();
    schedule(&pool, LEASES, 2_000);
    pool.send_away(&mut Vec::new());
    fastrand::Rng::with_seed(1).shuffle(&mut tickets);
    looks::take();
    for ticket in &tickets {
        arrive(&pool, Some(*ticket), 2_000);
    }
    assert_eq!(looks::take(), 0, "all are in time");
    // They are in time by what is believed, so that their places count.
    schedule(&pool, LEASES, 3_000);
    pool.send_away(&mut Vec::new());
    looks::take();
    for ticket in &tickets {
        arrive(&pool, Some(*ticket), 2_000);
    }
    let looks = looks::take();
    assert!(looks <= REQUESTS * LEASES as usize, "{looks} looks");
}

#[test]
fn d6_schedule_looks_once_at_each_request_that_may_be_late() {
    let pool = LeasePool::new();
    for _ in 0..REQUESTS {
        arrive(&pool, None, 3_000);
    }
    schedule(&pool, LEASES, 3_000);
    assert_eq!(looks::take(), 0, "all are in time");
    arrive(&pool, None, 3_500);
    schedule(&pool, LEASES, 3_001);
    assert_eq!(looks::take(), REQUESTS + 1);
}
