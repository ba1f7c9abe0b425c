//! Concurrency limits that find themselves, through the whole stack.
//!
//! The first half round of a search that starts at 20 has a limit of 30, and measures 40 requests;
//! the next has one of 13. In most scenes, a permit of the handle stands for 29 requests, so that
//! the next one takes the last permit.

use std::{
    convert::Infallible,
    future::{Future, pending},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Waker},
};

use allocation_counter::measure;
use futures::future::join_all;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, ExponentialRetry,
    ExponentialRetryLayer,
    backpressure::{Adaptive, ConcurrencyPermit, Judged, Outcome, ServedIfOk},
    reject::NeverReject,
    retry::{Backoff, Jitter},
};

use crate::{
    allocations::{Free, call},
    paused_runtime,
    support::{Probe, ms, secs, settle},
};

const FIRST: u32 = 30;
const SECOND: u32 = 13;
/// The measured requests of the first half round.
const NEED: usize = 40;

fn adaptive() -> ConcurrencyBackpressureLayer<Judged<NeverReject, ServedIfOk>> {
    ConcurrencyBackpressureLayer::adaptive(Adaptive::new())
}

/// Holds all permits but one.
fn all_but_one(handle: &ConcurrencyBackpressureHandle) -> ConcurrencyPermit {
    handle.try_acquire_many(handle.limit() - 1).unwrap()
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// Makes requests that take the last permit, each with this result.
macro_rules! at_the_limit {
    ($service:expr, $number:expr, $request:expr) => {
        for _ in 0..$number {
            let _ = $service.ready().await.unwrap().call($request).await;
        }
    };
}

/// Below the limit, whatever the schedule and the results, no request is measured: as many as the
/// half round needs have to come after it.
#[tokio::test(start_paused = true)]
async fn a2_requests_below_the_limit_never_move_it() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let layer = adaptive();
        let handle = layer.handle();
        let service = layer.layer(service_fn(|millis: u64| async move {
            tokio::time::sleep(ms(millis % 50)).await;
            if millis % 3 == 0 { Err(millis) } else { Ok(millis) }
        }));
        let mut in_flight = Vec::new();
        for _ in 0..1_000 {
            if in_flight.len() + 1 < FIRST as usize && random.bool() {
                let mut service = service.clone();
                let response = service.ready().await.unwrap().call(random.u64(..));
                in_flight.push(Box::pin(response));
            }
            match random.u32(0..4) {
                0 => tokio::time::advance(ms(random.u64(0..100))).await,
                1 if !in_flight.is_empty() => {
                    drop(in_flight.swap_remove(random.usize(0..in_flight.len())));
                }
                _ => in_flight.retain_mut(|response| !poll_once(response.as_mut())),
            }
            assert_eq!((handle.limit(), handle.rounds()), (FIRST, 0), "seed {seed}");
        }
        drop(in_flight);

        let held = all_but_one(&handle);
        let mut service = service;
        at_the_limit!(service, NEED - 1, 1);
        assert_eq!(handle.limit(), FIRST, "seed {seed}: an earlier request was measured");
        at_the_limit!(service, 1, 1);
        assert_eq!(handle.limit(), SECOND, "seed {seed}");
        drop(held);
    }
}

/// A waiter that is granted the last permit is measured as one that finds it.
#[tokio::test(start_paused = true)]
async fn a2_waiter_that_is_granted_the_last_permit_is_measured() {
    for max_wait in [None, Some(secs(60))] {
        let layer = adaptive().reject_with_box_error();
        let handle = layer.handle();
        handle.set_max_wait(max_wait).unwrap();
        let service = layer.layer(Probe::answering_after(ms(10)));
        // 30 find a permit, the last of them the last one; the others wait for it.
        let calls = (0..FIRST as usize + NEED - 2).map(|_| service.clone().oneshot(0));
        join_all(calls).await;
        assert_eq!(handle.limit(), FIRST);
        let held = all_but_one(&handle);
        service.clone().oneshot(0).await.unwrap();
        assert_eq!(handle.limit(), SECOND);
        drop(held);
    }
}

/// Grants by a raised limit leave permits over, until the last one.
#[tokio::test(start_paused = true)]
async fn a2_grants_by_a_raised_limit_are_measured_once() {
    let layer = ConcurrencyBackpressureLayer::adaptive(Adaptive::new().start_at(20));
    let handle = layer.handle();
    let service = layer.layer(Probe::answering_after(ms(10)));
    handle.hold(1).unwrap();
    let held = handle.try_acquire().unwrap();
    let calls: Vec<_> = (0..2).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    settle().await;
    assert_eq!(handle.queued(), 2);
    handle.adapt(); // from 1: between 1 and 2
    assert_eq!(handle.limit(), 2);
    drop(held);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!((handle.in_flight(), handle.rounds()), (0, 0));
}

#[tokio::test]
async fn a4_ignored_results_are_not_measured() {
    let layer = adaptive();
    let handle = layer.handle();
    let mut service = layer.layer(service_fn(|ok: bool| async move { ok.then_some(1).ok_or(2) }));
    let _held = all_but_one(&handle);
    at_the_limit!(service, NEED - 1, true);
    at_the_limit!(service, 10_000, false);
    assert_eq!(handle.limit(), FIRST);
    at_the_limit!(service, 1, true);
    assert_eq!(handle.limit(), SECOND);
}

/// A judge tells what an error, or a response, means.
#[tokio::test]
async fn a4_judge_decides_which_results_are_measured() {
    let judge = |result: &Result<u32, Infallible>| match result {
        Ok(0) => Outcome::Ignored,
        Ok(1) => Outcome::Overload,
        _ => Outcome::Served,
    };
    let layer = ConcurrencyBackpressureLayer::adaptive(Adaptive::new().judge(judge));
    let handle = layer.handle();
    let mut service = layer.layer(service_fn(|n: u32| async move { Ok::<_, Infallible>(n) }));
    let _held = all_but_one(&handle);
    at_the_limit!(service, 1_000, 0);
    at_the_limit!(service, 12, 2);
    at_the_limit!(service, 12, 1);
    assert_eq!(handle.limit(), FIRST);
    at_the_limit!(service, 1, 1);
    assert!(handle.limit() < FIRST, "most of a half round were rejected by the server");
}

#[test]
fn a4_panics_of_the_service_and_of_the_judge_are_not_measured() {
    let judge = |result: &Result<u32, Infallible>| match result {
        Ok(0) => panic!("the judge"),
        _ => Outcome::Served,
    };
    let layer = ConcurrencyBackpressureLayer::adaptive(Adaptive::new().judge(judge));
    let handle = layer.handle();
    let mut service = layer.layer(service_fn(|n: u32| {
        assert_ne!(n, 1, "the service, as it is called");
        async move {
            assert_ne!(n, 2, "the service, as it is polled");
            Ok::<_, Infallible>(n)
        }
    }));
    let held = all_but_one(&handle);
    let mut make = |n| {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        catch_unwind(AssertUnwindSafe(|| poll_once(pin!(service.call(n))))).is_ok()
    };
    for n in [0, 1, 2].repeat(20) {
        assert!(!make(n));
        assert_eq!((handle.limit(), handle.in_flight()), (FIRST, FIRST - 1));
    }
    assert!((1..NEED).all(|_| make(3)));
    assert_eq!(handle.limit(), FIRST);
    assert!(make(3));
    assert_eq!(handle.limit(), SECOND);
    drop(held);
}

/// A caller that catches the panic may keep the future.
#[tokio::test]
async fn a4_panic_of_the_judge_releases_the_permit_and_ends_the_measurement() {
    let judge = |_: &Result<(), Infallible>| -> Outcome { panic!("the judge") };
    let layer = ConcurrencyBackpressureLayer::adaptive(Adaptive::new().judge(judge));
    let handle = layer.handle();
    let mut service = layer.layer(service_fn(|()| async { Ok::<_, Infallible>(()) }));
    let _held = all_but_one(&handle);
    for _ in 0..20 {
        let mut response = pin!(service.ready().await.unwrap().call(()));
        let poll = AssertUnwindSafe(|| poll_once(response.as_mut()));
        assert!(catch_unwind(poll).is_err());
        assert_eq!(handle.in_flight(), FIRST - 1, "the future is kept");
    }
    assert_eq!(handle.limit(), FIRST, "none counts as abandoned");
}

/// Where the limit stands inside the retry, the time of a failed attempt and of the wait after it
/// are no part of the time in service: half rounds with and without retries have the same times.
#[tokio::test(start_paused = true)]
async fn a4_attempts_of_a_retry_are_measured_alone() {
    let layer = adaptive();
    let handle = layer.handle();
    let limited = layer.layer(service_fn(|is_failing: Arc<AtomicBool>| async move {
        if is_failing.swap(false, SeqCst) {
            return Err("again");
        }
        tokio::time::sleep(ms(10)).await;
        Ok(())
    }));
    let backoff = Backoff::new(secs(60), secs(60)).jitter(Jitter::None);
    let retry = ExponentialRetry::new(2).backoff(backoff);
    let service = ExponentialRetryLayer::new(retry).layer(limited);
    let first = handle.limit();
    for _ in 0..1_000 {
        if handle.rounds() > 0 {
            break;
        }
        let held = all_but_one(&handle);
        let request = Arc::new(AtomicBool::new(handle.limit() == first));
        service.clone().oneshot(request).await.unwrap();
        drop(held);
    }
    let elasticity = handle.elasticity().expect("a round");
    assert!(elasticity.abs() < 0.01, "{elasticity}");
}

/// The rule needs as many as half of the limit, and most.
#[tokio::test(start_paused = true)]
async fn a5_abandoned_requests_at_the_limit_lower_it() {
    let layer = adaptive();
    let handle = layer.handle();
    let mut service = layer.layer(service_fn(|()| pending::<Result<(), Infallible>>()));
    let _held = all_but_one(&handle);
    for abandoned in 1..=10 {
        let mut response = Box::pin(service.ready().await.unwrap().call(()));
        assert!(!poll_once(response.as_mut()));
        drop(response);
        assert_eq!(handle.limit() < FIRST, abandoned == 10, "after {abandoned}");
    }
}

/// A response future that is dropped before its first poll, and one of a request that has not taken
/// the last permit.
#[tokio::test]
async fn a5_abandoned_requests_below_the_limit_count_nothing() {
    let layer = adaptive();
    let handle = layer.handle();
    let mut service = layer.layer(service_fn(|()| pending::<Result<(), Infallible>>()));
    for _ in 0..1_000 {
        drop(service.ready().await.unwrap().call(()));
    }
    assert_eq!(handle.limit(), FIRST);
}

/// As tower-acc 0.1.1 fails: there, a limit that goes from 20 to 2 with 60 callers stays at 20.
#[tokio::test(start_paused = true)]
async fn a6_b1_lowered_limit_takes_effect_while_requests_wait() {
    let layer = adaptive();
    let handle = layer.handle();
    handle.hold(20).unwrap();
    let probe = Probe::answering_after(ms(100));
    let service = layer.layer(probe);
    let calls: Vec<_> = (0..60).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    settle().await;
    assert_eq!((handle.in_flight(), handle.queued()), (20, 40));
    handle.hold(2).unwrap();
    assert_eq!((handle.in_flight(), handle.queued()), (20, 40));
    tokio::time::sleep(ms(150)).await; // those in service have left
    while handle.queued() > 0 {
        assert_eq!(handle.in_flight(), 2);
        tokio::time::sleep(ms(100)).await;
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

/// The limit stays in its range, whatever the results, and is never 0.
#[tokio::test]
async fn a6_limit_stays_in_its_range() {
    for (min, max) in [(1, 1), (1, 2), (3, 5), (1, 40)] {
        let settings = Adaptive::new().between(min, max);
        let layer = ConcurrencyBackpressureLayer::adaptive(settings);
        let handle = layer.handle();
        let mut service = layer.layer(service_fn(|()| pending::<Result<(), Infallible>>()));
        for _ in 0..1_000 {
            assert!((min..=max).contains(&handle.limit()), "{}", handle.limit());
            let held = (handle.limit() > 1).then(|| all_but_one(&handle));
            drop(service.ready().await.unwrap().call(()));
            drop(held);
        }
        assert_eq!(handle.limit() == min, min == max || handle.limit() == min);
        assert_eq!(handle.in_flight(), 0);
    }
}

/// With one limit there is nothing to search, after a hold, too.
#[tokio::test]
async fn a6_range_of_one_limit_has_no_search() {
    let layer = ConcurrencyBackpressureLayer::adaptive(Adaptive::new().between(3, 3));
    let handle = layer.handle();
    let mut service = layer.layer(service_fn(|()| async { Ok::<_, Infallible>(()) }));
    for _ in 0..2 {
        let held = all_but_one(&handle);
        at_the_limit!(service, 1_000, ());
        assert_eq!((handle.limit(), handle.rounds(), handle.elasticity()), (3, 0, None));
        drop(held);
        handle.hold(3).unwrap();
        handle.adapt();
    }
}

#[test]
fn a7_c6_call_that_finds_a_permit_left_over_allocates_nothing() {
    let mut service = adaptive().layer(Free);
    call(&mut service, 0);
    let counted = measure(|| (0..1_000).for_each(|request| call(&mut service, request)));
    assert_eq!(counted.count_total, 0);
}

/// A request that takes the last permit allocates nothing, either.
#[test]
fn a7_c6_measured_call_allocates_nothing() {
    let layer = ConcurrencyBackpressureLayer::adaptive(Adaptive::new().between(1, 2));
    let handle = layer.handle();
    let mut service = layer.layer(Free);
    call(&mut service, 0);
    let counted = measure(|| (0..1_000).for_each(|request| call(&mut service, request)));
    assert_eq!(counted.count_total, 0);
    assert!((1..=2).contains(&handle.limit()));
}

/// The same arrivals give the same limits, in any process: there is neither chance nor a task.
#[test]
fn a8_same_arrivals_give_the_same_limits() {
    let course = |seed| {
        let runtime = paused_runtime::runtime();
        runtime.block_on(async {
            let mut random = fastrand::Rng::with_seed(seed);
            let layer = adaptive();
            let handle = layer.handle();
            let service = layer.layer(service_fn(|millis: u64| async move {
                tokio::time::sleep(ms(millis)).await;
                Ok::<_, Infallible>(())
            }));
            let mut limits = Vec::new();
            for _ in 0..100 {
                let calls = (0..50).map(|_| service.clone().oneshot(random.u64(1..100)));
                join_all(calls).await;
                limits.push(handle.limit());
            }
            limits
        })
    };
    let limits = course(1);
    assert_eq!(limits, course(1));
    assert!(limits.iter().any(|&limit| limit != FIRST), "{limits:?}");
}

#[tokio::test(start_paused = true)]
async fn a9_handle_shows_rounds_and_the_last_elasticity() {
    let layer = adaptive();
    let handle = layer.handle();
    assert_eq!((handle.rounds(), handle.elasticity()), (0, None));
    let mut service = layer.layer(service_fn(|millis: u64| async move {
        tokio::time::sleep(ms(millis)).await;
        Ok::<_, Infallible>(())
    }));
    let held = all_but_one(&handle);
    at_the_limit!(service, NEED, 300);
    drop(held);
    let held = all_but_one(&handle);
    at_the_limit!(service, NEED, 130);
    drop(held);
    // The time grew as the limit did, from 13 to 30.
    let elasticity = handle.elasticity().unwrap();
    assert!((elasticity - 1.0).abs() < 0.01, "{elasticity}");
    assert_eq!(handle.rounds(), 1);
    let snapshot = handle.snapshot().adaptive.unwrap();
    assert_eq!((snapshot.rounds, snapshot.elasticity), (1, Some(elasticity)));
    assert!(!snapshot.is_held);
}

#[tokio::test]
async fn a9_held_limit_stays_until_it_adapts_again() {
    let layer = adaptive();
    let handle = layer.handle();
    let mut service = layer.layer(service_fn(|()| async { Ok::<_, Infallible>(()) }));
    for pin in [ConcurrencyBackpressureHandle::hold, ConcurrencyBackpressureHandle::set_limit] {
        pin(&handle, 50).unwrap();
        assert!(handle.snapshot().adaptive.unwrap().is_held);
        let held = all_but_one(&handle);
        at_the_limit!(service, 1_000, ());
        assert_eq!((handle.limit(), handle.rounds()), (50, 0));
        drop(held);

        handle.adapt();
        assert!(!handle.snapshot().adaptive.unwrap().is_held);
        assert_eq!(handle.limit(), 75, "50 and a half");
        let held = all_but_one(&handle);
        at_the_limit!(service, 100, ());
        assert_eq!(handle.limit(), 33, "50 less a third");
        drop(held);
        handle.adapt(); // no effect
        assert_eq!(handle.limit(), 33);
    }
    for invalid in [0, 1_001] {
        let error = handle.hold(invalid).unwrap_err();
        assert_eq!(error.expected(), "between 1 and 1000");
        assert_eq!(handle.limit(), 33);
        assert!(!handle.snapshot().adaptive.unwrap().is_held);
    }
}

/// A request in flight over a hold belongs to no later half round.
#[tokio::test]
async fn a9_request_from_before_a_hold_is_not_measured_after_it() {
    let layer = adaptive();
    let handle = layer.handle();
    let mut service = layer.layer(service_fn(|()| async { Ok::<_, Infallible>(()) }));
    let held = all_but_one(&handle);
    let before = service.ready().await.unwrap().call(());
    handle.hold(20).unwrap();
    handle.adapt();
    drop(held);
    before.await.unwrap();
    let held = all_but_one(&handle);
    at_the_limit!(service, NEED - 1, ());
    assert_eq!(handle.limit(), FIRST);
    at_the_limit!(service, 1, ());
    assert_eq!(handle.limit(), SECOND);
    drop(held);
}

#[tokio::test]
async fn a9_fixed_limit_has_no_search() {
    let handle = ConcurrencyBackpressureLayer::new(5).handle();
    assert_eq!((handle.rounds(), handle.elasticity()), (0, None));
    assert_eq!(handle.snapshot().adaptive, None);
    handle.hold(2_000).unwrap();
    handle.adapt();
    assert_eq!(handle.limit(), 2_000);
}

/// A service of its own search, from the same start.
#[tokio::test]
async fn a9_c1_limit_per_service_adapts_by_itself() {
    let layer = ConcurrencyBackpressureLayer::adaptive(Adaptive::new().start_at(10));
    layer.handle().hold(7).unwrap();
    let echo = service_fn(|n: u32| async move { Ok::<_, Infallible>(n) });
    let held = layer.clone().per_service().layer(echo).handle();
    assert_eq!(held.limit(), 7);
    held.adapt();
    assert_eq!((held.limit(), layer.handle().limit()), (11, 7));
}

#[test]
fn c7_invalid_settings_of_an_adaptive_limit_are_reported() {
    let faults = [
        (Adaptive::new().try_between(0, 5).unwrap_err(), "min is 0: it must be between 1 and 5"),
        (Adaptive::new().try_between(6, 5).unwrap_err(), "min is 6: it must be between 1 and 5"),
        (
            Adaptive::new().try_between(1, 8_192).unwrap_err(),
            "max is 8192: it must be between 1 and 8191",
        ),
        (
            Adaptive::new().try_start_at(0).unwrap_err(),
            "start_at is 0: it must be between 1 and 8191",
        ),
        (
            Adaptive::new().try_shared_by(0).unwrap_err(),
            "shared_by is 0: it must be between 1 and 1000",
        ),
        (
            ConcurrencyBackpressureLayer::try_adaptive(Adaptive::new().between(2, 9).start_at(10))
                .unwrap_err(),
            "start_at is 10: it must be between 2 and 9",
        ),
    ];
    for (fault, text) in faults {
        assert_eq!(fault.to_string(), text);
    }
}
