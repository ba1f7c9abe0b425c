//! The pool of leased permits under the model checker.

use loom::sync::Arc;

use super::{
    pool::{Arrived, Deadline, LeasePool, Outcome, Schedule, Unused},
    requests::{PLAIN, Request, Tally, Terms, deliver, lease, ms, not_before, waking},
};
use crate::{
    Model, join, spawn,
    sync::{AtomicBool, Ordering::Relaxed},
    time::Nanos,
};

const PREEMPTIONS: usize = 3;
/// For models of three threads with many steps.
const FEW: usize = 2;

fn pool_with(lease: Unused) -> Arc<LeasePool> {
    let pool = LeasePool::new();
    assert_eq!(deliver(&pool, lease), None);
    Arc::new(pool)
}

fn empty() -> Arc<LeasePool> {
    Arc::new(LeasePool::new())
}

fn try_acquire(pool: &LeasePool, now: Nanos) -> Option<Deadline> {
    pool.try_acquire(now).map(|acquired| acquired.deadline)
}

/// Acquires the one permit of a pool.
fn take(pool: &LeasePool) -> Deadline {
    try_acquire(pool, Nanos::ZERO).expect("a permit is at hand")
}

/// D1, D12: permits of a lease that another one displaces are acquired or refunded, and never both.
#[test]
fn d1_d12_permit_of_a_displaced_lease_is_acquired_or_refunded() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let [before, after] = [lease(10, 2), lease(20, 1)];
        let pool = pool_with(before);
        let acquiring = [(); 2].map(|()| spawn(&pool, |pool| try_acquire(pool, Nanos::ZERO)));
        let mut tally = Tally::default();
        tally.unused(deliver(&pool, after));
        tally.acquired(join(acquiring).into_iter().flatten());
        tally.assert_whole(&pool, &[before, after]);
    });
}

/// D1, D2, D12: permits that are withdrawn because they have lapsed are acquired by no request.
#[test]
fn d1_d2_withdrawn_permit_is_acquired_by_no_request() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let lease = lease(10, 2);
        let pool = pool_with(lease);
        // A thread that was preempted has an old time.
        let acquiring = spawn(&pool, |pool| try_acquire(pool, ms(9)));
        let late = spawn(&pool, |pool| try_acquire(pool, ms(10)));
        let mut tally = Tally::default();
        tally.unused(pool.withdraw(ms(10)));
        assert_eq!(late.join().expect("its thread ends"), None, "the permits have lapsed");
        tally.acquired(join([acquiring]).into_iter().flatten());
        tally.assert_whole(&pool, &[lease]);
    });
}

/// D2: a permit carries the deadline of its own lease, whatever lease is delivered beside it.
#[test]
fn d2_permit_of_a_lapsed_lease_is_never_one_of_the_next() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let [before, after] = [lease(10, 2), lease(20, 1)];
        let pool = pool_with(before);
        let acquiring = spawn(&pool, |pool| {
            let early = try_acquire(pool, ms(9));
            let late = try_acquire(pool, ms(10));
            assert!(late.is_none_or(|of| of > Deadline::at(ms(10))), "lapsed at its acquisition");
            [early, late]
        });
        let mut tally = Tally::default();
        tally.unused(deliver(&pool, after));
        tally.acquired(join([acquiring]).into_iter().flatten().flatten());
        tally.assert_whole(&pool, &[before, after]);
    });
}

/// D6: requests that find no permit while a lease is delivered acquire one, or are granted one.
#[test]
fn d6_request_that_queues_beside_a_delivery_has_a_permit() {
    Model { threads: 3, preemptions: FEW }.check(|| {
        let pool = empty();
        let requesting = [(); 2].map(|()| spawn(&pool, Request::call));
        assert_eq!(deliver(&pool, lease(10, 2)), None);
        for request in join(requesting) {
            assert!(
                request.permit(&pool).is_some(),
                "{:?}, with a permit at hand",
                request.arrived
            );
        }
        let view = pool.view(Nanos::ZERO);
        assert_eq!((view.permits, view.queued), (0, 0));
    });
}

/// D6: while a request waits, no newcomer acquires a permit.
#[test]
fn d6_newcomer_never_overtakes_a_waiter() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let pool = empty();
        let waiter = Request::call(&pool);
        let delivering = spawn(&pool, |pool| deliver(pool, lease(10, 1)));
        let newcomer = Request::call(&pool);
        assert!(newcomer.is_queued(), "{:?}, with one permit", newcomer.arrived);
        join([delivering]);
        assert!(waiter.permit(&pool).is_some());
        assert!(newcomer.permit(&pool).is_none());
    });
}

/// D6: while a request waits beside permits that have lapsed, none with an old time acquires one.
#[test]
fn d6_newcomer_with_an_old_time_never_overtakes_a_waiter() {
    Model { threads: 3, preemptions: FEW }.check(|| {
        let lease = lease(10, 2);
        let pool = pool_with(lease);
        let [waiter, other] = [(); 2].map(|()| Request::arrive(&pool, Terms { now: 10, ..PLAIN }));
        assert!(waiter.is_queued(), "the permits have lapsed");
        let newcomers = [
            spawn(&pool, |pool| try_acquire(pool, ms(9)).is_some()),
            spawn(&pool, |pool| !Request::arrive(pool, Terms { now: 9, ..PLAIN }).is_queued()),
        ];
        Tally::default().freed(pool.cancel(other.ticket.expect("is queued"), ms(10)));
        let unused = pool.withdraw(ms(10));
        assert_eq!(join(newcomers), [false; 2], "has overtaken a waiter");
        assert_eq!(unused, Some(lease));
    });
}

/// D6: the flag that keeps newcomers from the word is cleared once none waits, and not before.
#[test]
fn d6_flag_is_set_while_a_request_waits() {
    Model { threads: 3, preemptions: FEW }.check(|| {
        let pool = empty();
        let waiter = Request::call(&pool);
        let cancelling = spawn(&pool, move |pool| {
            let ticket = waiter.ticket.expect("is queued");
            drop(pool.cancel(ticket, Nanos::ZERO));
        });
        let requesting = spawn(&pool, Request::call);
        join([cancelling]);
        let request = requesting.join().expect("its thread ends");
        assert!(request.is_queued(), "no permit was at hand");
        deliver(&pool, lease(10, 2));
        assert!(request.permit(&pool).is_some());
        assert!(try_acquire(&pool, Nanos::ZERO).is_some(), "no request waits");
    });
}

/// D6, D12: a permit that is granted to a request while it is cancelled goes to the next one.
#[test]
fn d6_d12_grant_to_a_cancelled_request_goes_to_the_next() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let pool = empty();
        let first = Request::call(&pool).ticket.expect("is queued");
        let second = Request::call(&pool);
        let delivering = spawn(&pool, |pool| deliver(pool, lease(10, 1)));
        let cancelling = spawn(&pool, move |pool| {
            let mut tally = Tally::default();
            tally.freed(pool.cancel(first, Nanos::ZERO));
            assert!(tally.unused.is_empty(), "a request waits for it");
        });
        join([delivering]);
        join([cancelling]);
        assert!(second.permit(&pool).is_some());
        assert_eq!(pool.withdraw(Nanos::NEVER), None, "a permit is counted twice");
    });
}

/// D2, D12: a granted permit that has lapsed at the cancel of its request is refunded, whichever
/// requests wait.
#[test]
fn d2_d12_lapsed_grant_of_a_cancelled_request_is_refunded() {
    Model { threads: 3, preemptions: FEW }.check(|| {
        let pool = empty();
        let first = Request::call(&pool).ticket.expect("is queued");
        let second = Request::call(&pool);
        deliver(&pool, lease(10, 1));
        let cancelling = spawn(&pool, move |pool| {
            let mut tally = Tally::default();
            tally.freed(pool.cancel(first, ms(10)));
            tally
        });
        let requesting = spawn(&pool, Request::call);
        let third = requesting.join().expect("its thread ends");
        for tally in join([cancelling]) {
            tally.assert_whole(&pool, &[lease(10, 1)]);
        }
        assert_eq!([second.permit(&pool), third.permit(&pool)], [None; 2], "it has lapsed");
    });
}

/// D6: a permit that is released while a request queues reaches it.
#[test]
fn d6_released_permit_reaches_the_request_that_queues() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let pool = pool_with(lease(10, 1));
        let permit = take(&pool);
        let releasing = spawn(&pool, move |pool| {
            Tally::default().freed(pool.release(permit, Nanos::ZERO));
        });
        let request = Request::call(&pool);
        join([releasing]);
        assert_eq!(request.permit(&pool), Some(permit));
        assert_eq!(pool.withdraw(Nanos::NEVER), None, "a permit is counted twice");
    });
}

/// D2, D12: a permit that is released while another lease is delivered is acquired or refunded,
/// with its own deadline.
#[test]
fn d2_d12_permit_released_beside_a_delivery_keeps_its_deadline() {
    Model { threads: 3, preemptions: FEW }.check(|| {
        let [before, after] = [lease(10, 2), lease(20, 1)];
        let pool = pool_with(before);
        let permit = take(&pool);
        let releasing = spawn(&pool, move |pool| {
            let mut tally = Tally::default();
            tally.freed(pool.release(permit, Nanos::ZERO));
            tally.unused
        });
        let acquiring = spawn(&pool, |pool| try_acquire(pool, Nanos::ZERO));
        let mut tally = Tally::default();
        tally.unused(deliver(&pool, after));
        tally.unused(join([releasing]).into_iter().flatten());
        tally.acquired(join([acquiring]).into_iter().flatten());
        tally.assert_whole(&pool, &[before, after]);
    });
}

/// D2, D6: a request whose permit has lapsed queues with its number, before those that came later.
#[test]
fn d2_d6_lapsed_request_queues_again_beside_a_delivery_and_keeps_its_turn() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let pool = empty();
        let [first, second, third] = [(); 3].map(|()| Request::call(&pool));
        deliver(&pool, lease(10, 1));
        assert!(first.permit(&pool).is_some(), "it lapses before the request runs");
        let delivering = spawn(&pool, |pool| deliver(pool, lease(20, 1)));
        let again = Request::arrive(&pool, Terms { ticket: first.ticket, now: 10, ..PLAIN });
        assert!(again.is_queued(), "{:?}, and others wait", again.arrived);
        deliver(&pool, lease(30, 1));
        join([delivering]);
        let served = [&again, &second, &third].map(|request| request.permit(&pool).is_some());
        assert_eq!(served, [true, true, false], "not in the order of arrival");
    });
}

/// D2, D6: a request without a number whose permit has lapsed goes in front of all that wait.
#[test]
fn d2_d6_lapsed_request_without_a_number_goes_in_front() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let pool = pool_with(lease(10, 1));
        take(&pool);
        let queueing = spawn(&pool, Request::call);
        let first = Request::arrive(&pool, Terms { is_first: true, now: 10, ..PLAIN });
        let other = queueing.join().expect("its thread ends");
        deliver(&pool, lease(20, 1));
        assert!(first.permit(&pool).is_some());
        assert!(other.permit(&pool).is_none());
    });
}

/// D6: a request that arrives beside a schedule by which its permit comes too late learns of that.
#[test]
fn d6_request_that_arrives_beside_a_schedule_learns_that_it_is_late() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let pool = empty();
        let scheduling = spawn(&pool, |pool| {
            waking(|wakers| pool.set_schedule(not_before(100), Nanos::ZERO, wakers));
        });
        let hurried = Request::arrive(&pool, Terms { deadline: 99, ..PLAIN });
        let patient = Request::arrive(&pool, Terms { deadline: 100, ..PLAIN });
        join([scheduling]);
        let is_late = hurried.arrived == Arrived::Late(ms(100));
        assert!(is_late || hurried.poll(&pool) == Some(Outcome::Late(ms(100))));
        assert_eq!(patient.poll(&pool), None, "it is in time");
        deliver(&pool, lease(10, 1));
        assert!(patient.permit(&pool).is_some(), "a request that is gone has its permit");
    });
}

/// D6: a schedule that is set late, by a thread that was preempted, does not replace a newer one.
#[test]
fn d6_older_schedule_rejects_no_request_that_a_newer_one_lets_wait() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let pool = empty();
        let scheduling = spawn(&pool, |pool| {
            waking(|wakers| pool.set_schedule(not_before(100), Nanos::ZERO, wakers));
        });
        let newer = Schedule { number: 1, ..not_before(0) };
        waking(|wakers| pool.set_schedule(newer, Nanos::ZERO, wakers));
        let request = Request::arrive(&pool, Terms { deadline: 99, ..PLAIN });
        join([scheduling]);
        assert!(request.is_queued(), "{:?}", request.arrived);
        assert_eq!(request.poll(&pool), None, "the older schedule holds");
    });
}

/// D6: a request that learns that it is late while a lease is delivered is rejected or granted a
/// permit, and no permit is lost.
#[test]
fn d6_d12_schedule_beside_a_delivery_loses_no_permit() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let pool = empty();
        let hurried = Request::arrive(&pool, Terms { deadline: 99, ..PLAIN });
        let delivering = spawn(&pool, |pool| deliver(pool, lease(10, 1)));
        waking(|wakers| pool.set_schedule(not_before(100), Nanos::ZERO, wakers));
        join([delivering]);
        let mut tally = Tally::default();
        match hurried.poll(&pool) {
            Some(Outcome::Granted(deadline)) => tally.acquired([deadline]),
            Some(Outcome::Late(_)) => tally.acquired(try_acquire(&pool, Nanos::ZERO)),
            other => unreachable!("its wait has ended: {other:?}"),
        }
        assert_eq!(tally.acquired.len(), 1, "the flag is left behind");
        tally.assert_whole(&pool, &[lease(10, 1)]);
    });
}

/// W7: a pause that begins while another one ends holds until its own end.
#[test]
fn w7_shared_pause_that_begins_while_another_ends_holds() {
    Model { threads: 3, preemptions: FEW }.check(|| {
        let pool = pool_with(lease(100, 2));
        assert!(pool.pause(ms(5)));
        let waiter = Request::call(&pool);
        assert!(waiter.is_queued(), "admitted in a pause");
        let pausing = spawn(&pool, |pool| assert!(pool.pause(ms(10)), "it is longer"));
        let ending = spawn(&pool, |pool| {
            waking(|wakers| pool.paused_until(ms(5), wakers));
        });
        join([pausing]);
        join([ending]);
        let until = waking(|wakers| pool.paused_until(ms(9), wakers));
        assert_eq!(until, Some(ms(10)), "the longer pause is lost");
        assert_eq!(try_acquire(&pool, Nanos::ZERO), None, "admitted in a pause");
        assert_eq!(waking(|wakers| pool.paused_until(ms(10), wakers)), None);
        assert!(waiter.permit(&pool).is_some(), "the pause has ended");
        assert!(try_acquire(&pool, Nanos::ZERO).is_some(), "the pause has ended");
    });
}

/// W7: of two pauses that begin beside each other, the later end is in force.
#[test]
fn w7_shared_pause_moves_only_forward() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let pool = empty();
        let pausing = spawn(&pool, |pool| pool.pause(ms(5)));
        assert!(pool.pause(ms(10)));
        join([pausing]);
        assert_eq!(waking(|wakers| pool.paused_until(ms(5), wakers)), Some(ms(10)));
    });
}

/// W7: a pause whose time has come before it is recorded ends at the next look.
#[test]
fn w7_shared_pause_that_is_over_as_it_begins_ends() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let pool = pool_with(lease(100, 1));
        let pausing = spawn(&pool, |pool| pool.pause(ms(5)));
        waking(|wakers| pool.paused_until(ms(5), wakers));
        join([pausing]);
        assert_eq!(waking(|wakers| pool.paused_until(ms(5), wakers)), None);
        assert!(try_acquire(&pool, Nanos::ZERO).is_some(), "the pause has no end");
    });
}

/// W7: in a pause, a permit that is released or delivered is granted to no request.
#[test]
fn w7_shared_pause_grants_neither_released_nor_delivered_permits() {
    Model { threads: 3, preemptions: FEW }.check(|| {
        let pool = pool_with(lease(10, 1));
        let permit = take(&pool);
        assert!(pool.pause(ms(5)));
        let waiter = Request::call(&pool);
        let releasing = spawn(&pool, move |pool| {
            let mut tally = Tally::default();
            tally.freed(pool.release(permit, Nanos::ZERO));
            tally.unused
        });
        let delivering = spawn(&pool, |pool| deliver(pool, lease(20, 1)));
        let newcomer = Request::call(&pool);
        assert!(waiter.poll(&pool).is_none() && newcomer.is_queued(), "admitted in a pause");
        let mut tally = Tally::default();
        tally.unused(join([releasing]).into_iter().flatten());
        tally.unused(join([delivering]).into_iter().flatten());
        waking(|wakers| pool.paused_until(ms(5), wakers));
        tally.acquired(waiter.permit(&pool));
        tally.acquired(newcomer.permit(&pool));
        assert_eq!(tally.acquired.len(), 1, "two leases, and the pool holds one");
        tally.assert_whole(&pool, &[lease(10, 1), lease(20, 1)]);
    });
}

/// B6: a close ends each wait, whether it begins before or after, and admits nothing more.
#[test]
fn b6_close_of_a_shared_limit_ends_all_waits() {
    Model { threads: 3, preemptions: FEW }.check(|| {
        let pool = empty();
        let requesting = spawn(&pool, Request::call);
        let closing = spawn(&pool, |pool| waking(|wakers| pool.close(wakers)));
        let left = deliver(&pool, lease(10, 2));
        join([closing]);
        let request = requesting.join().expect("its thread ends");
        let is_closed = request.arrived == Arrived::Closed;
        let is_ended = request.poll(&pool) == Some(Outcome::Closed);
        let is_admitted = request.permit(&pool).is_some();
        assert!(is_closed || is_ended || is_admitted, "{:?}, and waits", request.arrived);
        assert_eq!(left, None);
        assert_eq!(try_acquire(&pool, Nanos::ZERO), None, "admitted after the close");
        assert_eq!(Request::call(&pool).arrived, Arrived::Closed);
    });
}

/// A request of a process, with the word by which it learns of an outage.
struct Process {
    pool: LeasePool,
    is_away: AtomicBool,
}

impl Process {
    fn new() -> Arc<Self> {
        Arc::new(Self { pool: LeasePool::new(), is_away: AtomicBool::new(false) })
    }

    fn begin_outage(&self) {
        self.is_away.store(true, Relaxed);
        waking(|wakers| self.pool.go_away(wakers));
    }

    fn end_outage(&self) {
        self.pool.come_back();
        self.is_away.store(false, Relaxed);
    }

    /// Queues, unless there is an outage. Returns the number of its looks.
    fn request(&self) -> (Option<Request>, usize) {
        for looks in 1.. {
            if self.is_away.load(Relaxed) {
                return (None, looks);
            }
            let request = Request::arrive(&self.pool, PLAIN);
            if request.arrived != Arrived::Away {
                return (Some(request), looks);
            }
        }
        unreachable!("it looks for ever")
    }
}

/// D11: a request that queues while an outage begins is told, or does not queue.
#[test]
fn d11_request_that_queues_while_an_outage_begins_learns_of_it() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let process = Process::new();
        let beginning = spawn(&process, Process::begin_outage);
        let (request, looks) = process.request();
        join([beginning]);
        assert!(looks <= 2, "{looks} looks at one outage");
        if let Some(request) = request {
            assert_eq!(request.poll(&process.pool), Some(Outcome::Again), "it waits in an outage");
        }
    });
}

/// D11: a request that arrives while an outage ends queues, or takes its way in the outage, and
/// looks no more than twice.
#[test]
fn d11_request_that_arrives_while_an_outage_ends_looks_twice_at_most() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let process = Process::new();
        let driving = spawn(&process, |process| {
            process.begin_outage();
            process.end_outage();
        });
        let (request, looks) = process.request();
        join([driving]);
        assert!(looks <= 2, "{looks} looks at one outage");
        if let Some(request) = request {
            assert!(matches!(request.poll(&process.pool), None | Some(Outcome::Again)));
        }
    });
}

/// D5: of the acquisitions beside each other, one reports that few permits are left.
#[test]
fn d5_low_pool_is_reported_once() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let pool = LeasePool::new();
        pool.set_low_mark(1);
        deliver(&pool, lease(10, 3));
        let pool = Arc::new(pool);
        let acquire = |pool: &LeasePool| pool.try_acquire(Nanos::ZERO).expect("3 permits").is_low;
        let others = [(); 2].map(|()| spawn(&pool, acquire));
        let mine = acquire(&pool);
        let reports = join(others).into_iter().chain([mine]).filter(|is_low| *is_low).count();
        assert_eq!(reports, 1);
    });
}
