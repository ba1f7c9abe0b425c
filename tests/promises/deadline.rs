//! R10: one deadline for queue, window, attempts and backoffs.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{
    FutureExt,
    future::{join_all, poll_fn},
};
use proptest::prelude::*;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn, timeout::TimeoutLayer};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, DeadlineLayer, ExponentialRetry, ExponentialRetryLayer, Rejected,
    WindowRateLimitLayer,
    deadline::{self, ReadDeadline},
    retry::{Backoff, Decision, Jitter, StopReason, Verdict},
};

use crate::{
    busy::spend_budget,
    paused_runtime,
    support::{Probe, ms, now, secs, settle},
};

fn is_late(error: &BoxError) -> bool {
    Rejected::find(&**error).is_some_and(Rejected::is_deadline_exceeded)
}

/// Attempts fail, each after `takes`; backoffs are `wait`, without jitter.
fn failing(takes: Duration) -> impl Service<u32, Response = u32, Error = io::Error> + Clone {
    service_fn(move |_: u32| async move {
        tokio::time::sleep(takes).await;
        Err(io::Error::other("unavailable"))
    })
}

fn every(wait: Duration) -> Backoff {
    Backoff::new(wait, wait).jitter(Jitter::None)
}

#[tokio::test(start_paused = true)]
async fn r10_deadline_covers_the_queue() {
    let limit = ConcurrencyBackpressureLayer::new(1);
    let handle = limit.handle();
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(ms(200)))
        .layer(limit)
        .service(Probe::answering_after(ms(150)));

    let start = now();
    let results = join_all((0..8).map(|n| {
        let service = service.clone();
        async move { (service.oneshot(n).await, start.elapsed()) }
    }))
    .await;

    assert_eq!(results[0].0.as_ref().unwrap(), &0);
    assert_eq!(results[0].1, ms(150));
    for (result, elapsed) in &results[1..] {
        assert!(is_late(result.as_ref().unwrap_err()));
        assert_eq!(*elapsed, ms(200));
    }
    assert_eq!((handle.in_flight(), handle.queued()), (0, 0));
}

/// The control of the scene above: tower's timeout does not bound the queue.
#[tokio::test(start_paused = true)]
async fn r10_timeout_of_tower_outermost_does_not_cover_the_queue() {
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(200)))
        .layer(ConcurrencyBackpressureLayer::new(1))
        .service(Probe::answering_after(ms(150)));

    let start = now();
    let results = join_all((0..8).map(|n| service.clone().oneshot(n))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(start.elapsed(), ms(1_200));
}

#[tokio::test(start_paused = true)]
async fn r10_deadline_covers_the_window_and_the_permit_goes_to_the_next() {
    let limit = WindowRateLimitLayer::new(1, secs(1));
    let handle = limit.handle();
    let probe = Probe::new();
    let notes = probe.notes();
    let service = ServiceBuilder::new().layer(limit).service(probe);
    let bounded = DeadlineLayer::new(ms(400));
    let bounded = tower::Layer::layer(&bounded, service.clone());

    assert_eq!(bounded.clone().oneshot(1).await.unwrap(), 1);
    let start = now();
    let (late, next) = tokio::join!(bounded.oneshot(2), service.oneshot(3));
    assert!(is_late(&late.unwrap_err()));
    assert_eq!(next.unwrap(), 3);
    assert_eq!(start.elapsed(), secs(1));
    assert_eq!(notes.calls_ms(), [0, 1_000]);
    assert_eq!(handle.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn r10_window_with_a_bound_rejects_at_once_a_request_that_would_be_too_late() {
    let limit = WindowRateLimitLayer::new(1, secs(1));
    let handle = limit.handle();
    for (bounded, ends) in [(true, 0), (false, 500)] {
        let service = if bounded {
            let stack = ServiceBuilder::new().layer(DeadlineLayer::new(ms(500)));
            stack.layer(limit.clone().max_queue(10)).service(Probe::new()).boxed_clone()
        } else {
            let stack = ServiceBuilder::new().layer(DeadlineLayer::new(ms(500)));
            stack.layer(limit.clone()).service(Probe::new()).boxed_clone()
        };
        assert_eq!(service.clone().oneshot(1).await.unwrap(), 1);
        let start = now();
        let error = service.clone().oneshot(2).await.unwrap_err();
        assert_eq!(start.elapsed(), ms(ends));
        let rejected = Rejected::find(&*error).unwrap();
        assert_eq!((rejected.is_rate_limited(), rejected.is_wait_timeout()), (bounded, true));
        assert_eq!(rejected.retry_after(), bounded.then_some(secs(1)));

        // The permit of a request that comes later is in time, to the millisecond.
        tokio::time::sleep_until(start + ms(500)).await;
        assert!(service.clone().oneshot(3).await.is_err(), "due at its deadline");
        tokio::time::sleep_until(start + ms(502)).await;
        assert_eq!(service.oneshot(4).await.unwrap(), 4);
        assert_eq!(start.elapsed(), secs(1));
        tokio::time::sleep_until(start + secs(2)).await;
        assert_eq!(handle.queued(), 0);
    }
}

/// The rejection by a pause has a time, for which the retry does not wait beyond the deadline.
#[tokio::test(start_paused = true)]
async fn r10_pause_beyond_the_deadline_costs_a_bounded_window_no_time() {
    let limit = WindowRateLimitLayer::new(10, secs(1)).max_queue(10);
    let handle = limit.handle();
    let policy = ExponentialRetry::new(3).classify(|_: &u32, result: &Result<u32, BoxError>| {
        let Err(error) = result else { return Verdict::Done };
        let wait = Rejected::find(&**error).and_then(Rejected::retry_after);
        wait.map_or(Verdict::Done, Verdict::RetryAfter)
    });
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(secs(5)))
        .layer(ExponentialRetryLayer::new(policy))
        .layer(limit)
        .service(Probe::new());
    handle.pause_for(secs(30));
    let start = now();
    let error = service.oneshot(1).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(Rejected::find(&*error).unwrap().retry_after(), Some(secs(30)));
}

#[tokio::test(start_paused = true)]
async fn r10_deadline_covers_attempts_and_backoffs() {
    let policy = ExponentialRetry::new(10).backoff(every(ms(100)));
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(ms(1_000)))
        .layer(ExponentialRetryLayer::new(policy))
        .service(failing(ms(300)));

    // Attempts end at 300, 700 and 1,100 ms.
    let start = now();
    assert!(is_late(&service.oneshot(1).await.unwrap_err()));
    assert_eq!(start.elapsed(), ms(1_000));
}

#[tokio::test(start_paused = true)]
async fn r10_retry_whose_backoff_ends_at_the_deadline_is_not_begun() {
    let stops = Arc::new(Mutex::new(Vec::new()));
    let service = |timeout: Duration| {
        let stops = Arc::clone(&stops);
        let policy = ExponentialRetry::new(10).backoff(every(ms(500))).on_decision(
            move |decision: &Decision| stops.lock().unwrap().push(decision.retry_in()),
        );
        ServiceBuilder::new()
            .layer(DeadlineLayer::new(timeout))
            .layer(ExponentialRetryLayer::new(policy))
            .service(failing(ms(100)))
    };

    // Attempts end at 100 and 700 ms; the second backoff would end at 1,200 ms, and a tick later.
    let start = now();
    let error = service(ms(1_201)).oneshot(1).await.unwrap_err();
    assert_eq!(error.to_string(), "unavailable", "the error of the last attempt");
    assert_eq!(start.elapsed(), ms(700));
    let stopped = Err(StopReason::Deadline);
    assert_eq!(*stops.lock().unwrap(), [Ok(ms(500)), stopped]);

    stops.lock().unwrap().clear();
    let start = now();
    assert!(is_late(&service(ms(1_202)).oneshot(1).await.unwrap_err()));
    assert_eq!(start.elapsed(), ms(1_202));
    assert_eq!(*stops.lock().unwrap(), [Ok(ms(500)), Ok(ms(500))]);
}

#[tokio::test(start_paused = true)]
async fn r10_hint_of_any_length_against_the_deadline_does_not_overflow() {
    let policy = ExponentialRetry::new(3)
        .max_hint(Duration::MAX)
        .classify(|_: &u32, _: &Result<u32, io::Error>| Verdict::RetryAfter(Duration::MAX));
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(secs(1)))
        .layer(ExponentialRetryLayer::new(policy))
        .service(failing(ms(10)));
    let start = now();
    assert_eq!(service.oneshot(1).await.unwrap_err().to_string(), "unavailable");
    assert_eq!(start.elapsed(), ms(10));
}

#[tokio::test(start_paused = true)]
async fn r10_request_without_time_left_is_not_sent() {
    let probe = Probe::new();
    let notes = probe.notes();
    let service = ServiceBuilder::new().layer(DeadlineLayer::new(Duration::ZERO)).service(probe);
    assert!(is_late(&service.oneshot(1).await.unwrap_err()));
    assert_eq!(notes.calls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn r10_response_at_the_deadline_is_too_late_and_one_before_counts() {
    let layer = DeadlineLayer::new(ms(100));
    let service = |takes| tower::Layer::layer(&layer, Probe::answering_after(takes));
    assert_eq!(service(ms(99)).oneshot(1).await.unwrap(), 1);
    assert!(is_late(&service(ms(100)).oneshot(1).await.unwrap_err()));

    let service = |takes| tower::Layer::layer(&layer, failing(takes));
    assert_eq!(service(ms(99)).oneshot(1).await.unwrap_err().to_string(), "unavailable");
    assert!(is_late(&service(ms(100)).oneshot(1).await.unwrap_err()));
}

/// The deadlines of all requests pass while they wait for the window with their second attempts.
#[tokio::test(start_paused = true)]
async fn r10_attempt_is_not_begun_at_the_deadline_of_its_request() {
    let calls = AtomicU32::new(0);
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(ms(1_000)))
        .layer(ExponentialRetryLayer::new(ExponentialRetry::new(2).backoff(every(ms(1)))))
        .layer(WindowRateLimitLayer::new(10, ms(1_000)))
        .service(service_fn(|_: u32| {
            calls.fetch_add(1, SeqCst);
            std::future::ready(Err::<(), _>(io::Error::other("unavailable")))
        }));
    let results = join_all((0..10).map(|n| service.clone().oneshot(n))).await;
    assert!(results.iter().all(|result| is_late(result.as_ref().unwrap_err())));
    assert_eq!(calls.load(SeqCst), 10);
}

#[tokio::test(start_paused = true)]
async fn r10_deadline_passes_though_the_inside_spends_the_budget_of_its_task() {
    let busy = service_fn(|_: u32| poll_fn(spend_budget::<Result<u32, Infallible>>));
    let layer = DeadlineLayer::new(ms(100));
    let call = tokio::spawn(tower::Layer::layer(&layer, busy).oneshot(1));
    settle().await;
    assert!(!call.is_finished());
    tokio::time::advance(ms(100)).await;
    settle().await;
    assert!(is_late(&call.now_or_never().expect("rejected").unwrap().unwrap_err()));
}

#[tokio::test(start_paused = true)]
async fn r10_longest_deadlines_do_not_overflow() {
    let start = now();
    let mut longest = Duration::ZERO;
    let mut step = Duration::MAX;
    while !step.is_zero() {
        step /= 2;
        while start.checked_add(longest + step).is_some() && !step.is_zero() {
            longest += step;
        }
    }
    assert_eq!(start.checked_add(longest + Duration::from_nanos(1)), None);
    for less in [0, 1, 999_999, 1_000_000] {
        let layer = DeadlineLayer::new(longest - Duration::from_nanos(less));
        let silent = service_fn(|_: u32| std::future::pending::<Result<u32, Infallible>>());
        let call = tower::Layer::layer(&layer, silent).oneshot(1);
        assert!(call.now_or_never().is_none());
    }
}

#[derive(Clone)]
struct Call {
    timeout: Option<Duration>,
}

#[tokio::test(start_paused = true)]
async fn r10_deadline_is_read_from_the_request_and_bounded_by_at_most() {
    let read = |call: &Call| call.timeout;
    let silent = service_fn(|_: Call| std::future::pending::<Result<(), Infallible>>());
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::from_request(read).at_most(secs(5)))
        .service(silent);
    for (timeout, expected) in [
        (Some(ms(30)), ms(30)),
        (Some(secs(7)), secs(5)),
        (None, secs(5)),
        (Some(Duration::MAX), secs(5)),
    ] {
        let start = now();
        assert!(is_late(&service.clone().oneshot(Call { timeout }).await.unwrap_err()));
        assert_eq!(start.elapsed(), expected, "{timeout:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn r10_request_without_a_deadline_waits_without_a_timer() {
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::from_request(|call: &Call| call.timeout))
        .service(service_fn(|_: Call| async {
            tokio::time::sleep(secs(3_600)).await;
            Ok::<_, Infallible>(deadline::current())
        }));
    for timeout in [None, Some(Duration::MAX)] {
        assert_eq!(service.clone().oneshot(Call { timeout }).await.unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn r10_inner_deadline_only_shortens_an_outer_one() {
    for (outer, inner, expected) in [(100, 300, 100), (300, 100, 100)] {
        let start = now();
        let service = ServiceBuilder::new()
            .layer(DeadlineLayer::new(ms(outer)))
            .layer(DeadlineLayer::new(ms(inner)))
            .service(service_fn(move |_: u32| async move {
                let left = deadline::current().unwrap() - start;
                Ok::<_, Infallible>(left)
            }));
        assert_eq!(service.oneshot(1).await.unwrap(), ms(expected));
    }
    assert_eq!(deadline::current(), None);
}

/// A call made outside of a deadline, and awaited inside.
#[tokio::test(start_paused = true)]
async fn r10_earlier_deadline_stays_current_in_a_call_made_before() {
    for timeout in [Some(secs(10)), None] {
        let current = service_fn(|_: Call| async { Ok::<_, Infallible>(deadline::current()) });
        let layer = DeadlineLayer::from_request(|call: &Call| call.timeout);
        let made_before = tower::Layer::layer(&layer, current).call(Call { timeout });

        let made_before = Arc::new(Mutex::new(Some(made_before)));
        let awaits = service_fn(move |_: u32| made_before.lock().unwrap().take().unwrap());
        let start = now();
        let outer = tower::Layer::layer(&DeadlineLayer::new(ms(100)), awaits);
        assert_eq!(outer.oneshot(1).await.unwrap(), Some(start + ms(100)), "{timeout:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn r10_deadline_is_current_in_readiness_call_response_and_drop_only() {
    struct Seen(Arc<AtomicU32>);
    impl Drop for Seen {
        fn drop(&mut self) {
            assert!(deadline::current().is_some());
            self.0.fetch_add(1, SeqCst);
        }
    }
    #[derive(Clone)]
    struct Inner(Arc<AtomicU32>);
    impl Service<u32> for Inner {
        type Response = u32;
        type Error = Infallible;
        type Future = std::pin::Pin<Box<dyn Future<Output = Result<u32, Infallible>>>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Infallible>> {
            assert!(deadline::current().is_some());
            self.0.fetch_add(1, SeqCst);
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: u32) -> Self::Future {
            assert!(deadline::current().is_some());
            self.0.fetch_add(1, SeqCst);
            let seen = Seen(Arc::clone(&self.0));
            Box::pin(async move {
                tokio::task::yield_now().await;
                assert!(deadline::current().is_some());
                seen.0.fetch_add(1, SeqCst);
                std::future::pending().await
            })
        }
    }
    let count = Arc::new(AtomicU32::new(0));
    let layer = DeadlineLayer::new(ms(10));
    let service = tower::Layer::layer(&layer, Inner(Arc::clone(&count)));
    assert!(service.oneshot(1).await.is_err());
    assert_eq!(count.load(SeqCst), 4);
    assert_eq!(deadline::current(), None);
}

#[tokio::test(start_paused = true)]
async fn r10_panic_of_the_inside_leaves_no_deadline_to_the_thread() {
    let layer = DeadlineLayer::new(ms(10));
    let panics = service_fn(|_: u32| async {
        assert_eq!(deadline::current(), None, "panics, because there is one");
        Ok::<_, Infallible>(())
    });
    // In the same thread.
    let joined = tokio::spawn(tower::Layer::layer(&layer, panics).oneshot(1)).await;
    assert!(joined.unwrap_err().is_panic());
    assert_eq!(deadline::current(), None);
}

#[tokio::test(start_paused = true)]
async fn c4_panic_of_a_drop_at_the_deadline_loses_no_permit() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in the drop");
        }
    }
    let limit = ConcurrencyBackpressureLayer::new(1);
    let handle = limit.handle();
    let service = ServiceBuilder::new().layer(DeadlineLayer::new(ms(10))).layer(limit).service(
        service_fn(|_: u32| async {
            let _panics = Panics;
            std::future::pending::<Result<u32, Infallible>>().await
        }),
    );
    assert!(tokio::spawn(service.oneshot(1)).await.unwrap_err().is_panic());
    assert_eq!(handle.in_flight(), 0);
    assert_eq!(deadline::current(), None);
}

#[tokio::test(start_paused = true)]
async fn c10_late_request_is_rejected_as_the_policy_says() {
    #[derive(Debug, PartialEq)]
    enum MyError {
        Late(bool),
    }
    impl From<Rejected> for MyError {
        fn from(rejected: Rejected) -> Self {
            Self::Late(rejected.is_deadline_exceeded() && rejected.is_wait_timeout())
        }
    }
    impl From<Infallible> for MyError {
        fn from(never: Infallible) -> Self {
            match never {}
        }
    }
    let silent = service_fn(|_: u32| std::future::pending::<Result<String, Infallible>>());

    let layer = DeadlineLayer::new(ms(10)).reject_with_error::<MyError>();
    let service = tower::Layer::layer(&layer, silent);
    assert_eq!(service.oneshot(1).await, Err(MyError::Late(true)));

    let layer = DeadlineLayer::new(ms(10)).reject_with(|rejected: Rejected| rejected.to_string());
    let service = tower::Layer::layer(&layer, silent);
    assert_eq!(service.oneshot(1).await.unwrap(), "the deadline of the request has passed");
}

#[tokio::test(start_paused = true)]
async fn c4_dropped_call_with_a_deadline_leaves_the_queue_and_releases_its_permit() {
    let limit = ConcurrencyBackpressureLayer::new(1);
    let handle = limit.handle();
    let mut service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(secs(60)))
        .layer(limit)
        .service(Probe::answering_after(secs(30)));
    let mut first = Box::pin(service.call(1));
    let mut second = Box::pin(service.call(2));
    assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
    assert_eq!((handle.in_flight(), handle.queued()), (1, 1));
    drop(second);
    assert_eq!((handle.in_flight(), handle.queued()), (1, 0));
    drop(first);
    assert_eq!((handle.in_flight(), handle.queued()), (0, 0));
}

proptest! {
    /// The naive version: the steps of a request in order, each at its time, cut at the deadline.
    #[test]
    fn r10_call_ends_at_its_naive_time(
        timeout in 0_u64..3_000,
        attempt in 1_u64..700,
        wait in 1_u64..700,
        attempts in 1_u32..6,
    ) {
        let mut expected = 0;
        for number in 1..=attempts {
            expected += attempt;
            let is_last = number == attempts || expected + wait + 1 >= timeout;
            if expected >= timeout || is_last {
                break;
            }
            expected += wait;
        }
        let late = expected >= timeout;
        paused_runtime::run(async {
            let policy = ExponentialRetry::new(attempts).backoff(every(ms(wait)));
            let service = ServiceBuilder::new()
                .layer(DeadlineLayer::new(ms(timeout)))
                .layer(ExponentialRetryLayer::new(policy))
                .service(failing(ms(attempt)));
            let start = now();
            let error = service.oneshot(1).await.unwrap_err();
            assert_eq!(is_late(&error), late);
            assert_eq!(start.elapsed(), ms(expected.min(timeout)));
        });
    }
}

#[tokio::test(start_paused = true)]
async fn r10_service_is_not_called_at_the_deadline_of_its_request() {
    let calls = AtomicU32::new(0);
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(ms(100)))
        .layer(ConcurrencyBackpressureLayer::new(1))
        .layer(WindowRateLimitLayer::new(1_000, secs(1)))
        .service(service_fn(|_: u32| {
            calls.fetch_add(1, SeqCst);
            std::future::pending::<Result<(), Infallible>>()
        }));
    // All deadlines pass in one tick. Each late request passes its permit on to another one.
    let results = join_all((0..100).map(|n| service.clone().oneshot(n))).await;
    assert!(results.iter().all(|result| is_late(result.as_ref().unwrap_err())));
    assert_eq!(calls.load(SeqCst), 1);
}

/// A request: it arrives, and waits at most so long for its response. In steps of 4 ms; deadlines
/// are 2 ms later, so that no request arrives at one.
#[derive(Clone, Copy, Debug)]
struct Arrives {
    at: u64,
    timeout: u64,
}

/// The naive version, step by step: the time of each request's end, and whether it was late. Then
/// the number of calls.
fn naive_queue(permits: usize, takes: u64, requests: &[Arrives]) -> (Vec<(u64, bool)>, u32) {
    let mut calls = 0;
    let mut ends: Vec<Option<(u64, bool)>> = vec![None; requests.len()];
    let mut inside: Vec<(usize, u64)> = Vec::new();
    let mut queue: Vec<usize> = Vec::new();
    for now in 0_u64.. {
        for (number, request) in requests.iter().enumerate() {
            if ends[number].is_none() && now == request.at * 4 + request.timeout * 4 + 2 {
                ends[number] = Some((now, true));
            }
            if now == request.at * 4 {
                queue.push(number);
            }
        }
        for &(number, until) in &inside {
            if until == now {
                ends[number].get_or_insert((now, false));
            }
        }
        inside.retain(|&(number, _)| ends[number].is_none());
        queue.retain(|&number| ends[number].is_none());
        while inside.len() < permits && !queue.is_empty() {
            inside.push((queue.remove(0), now + takes * 4));
            calls += 1;
        }
        if ends.iter().all(Option::is_some) {
            break;
        }
    }
    (ends.into_iter().flatten().collect(), calls)
}

proptest! {
    #[test]
    fn r10_queue_with_deadlines_ends_as_the_naive_one(
        permits in 1_u32..4,
        takes in 1_u64..20,
        mut requests in prop::collection::vec((0_u64..60, 0_u64..60), 1..40),
    ) {
        requests.sort_unstable();
        let requests: Vec<_> =
            requests.into_iter().map(|(at, timeout)| Arrives { at, timeout }).collect();
        let (expected, expected_calls) = naive_queue(permits as usize, takes, &requests);
        let called = AtomicU32::new(0);
        paused_runtime::run(async {
            let limit = ConcurrencyBackpressureLayer::new(permits);
            let handle = limit.handle();
            let read = |request: &Arrives| Some(ms(request.timeout * 4 + 2));
            let service = ServiceBuilder::new()
                .layer(DeadlineLayer::from_request(read))
                .layer(limit)
                .service(service_fn(|_: Arrives| async {
                    called.fetch_add(1, SeqCst);
                    tokio::time::sleep(ms(takes * 4)).await;
                    Ok::<_, Infallible>(())
                }));
            let start = now();
            let calls = requests.iter().map(|&request| {
                let service = service.clone();
                async move {
                    tokio::time::sleep_until(start + ms(request.at * 4)).await;
                    let is_late = service.oneshot(request).await.is_err();
                    (u64::try_from(start.elapsed().as_millis()).unwrap(), is_late)
                }
            });
            assert_eq!(join_all(calls).await, expected);
            assert_eq!(called.load(SeqCst), expected_calls);
            assert_eq!((handle.in_flight(), handle.queued()), (0, 0));
        });
    }
}

/// The runtime of the first poll is gone, and with it the first timer.
#[test]
fn r10_deadline_passes_in_another_runtime_than_that_of_the_first_poll() {
    let layer = DeadlineLayer::new(ms(100));
    let silent = service_fn(|_: u32| std::future::pending::<Result<(), Infallible>>());
    let mut call = Box::pin(tower::Layer::layer(&layer, silent).oneshot(1));
    paused_runtime::run(async { assert!(futures::poll!(&mut call).is_pending()) });
    let error = paused_runtime::run(async { call.await.unwrap_err() });
    assert!(is_late(&error));
}

#[test]
fn r10_shortest_of_several_times_counts() {
    let silent = service_fn(|_: u32| std::future::pending::<Result<(), Infallible>>());
    for layer in
        [DeadlineLayer::new(ms(20)).at_most(ms(30)), DeadlineLayer::new(ms(30)).at_most(ms(20))]
    {
        paused_runtime::run(async {
            let start = now();
            tower::Layer::layer(&layer, silent).oneshot(1).await.unwrap_err();
            assert_eq!(start.elapsed(), ms(20));
        });
    }
}

#[test]
fn r10_function_reads_a_deadline() {
    let read = |call: &Call| call.timeout;
    assert_eq!(read.read_deadline(&Call { timeout: Some(ms(3)) }), Some(ms(3)));
}
