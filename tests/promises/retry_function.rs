//! R13 and R14: retries of plain async functions, and waits that no formula gives.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::{Future, pending, ready},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use futures::FutureExt;
use tokio::time::{advance, sleep, timeout};
use tower::{Layer, ServiceExt, service_fn};
use tower_floodgate::{
    DeadlineLayer, ExponentialRetry, ExponentialRetryLayer,
    retry::{
        Backoff, Classify, Decision, Jitter, RetryBudget, StopReason, Verdict, Waits,
        future::{RetryFuture, StatisticsFuture},
        retry,
    },
};

use crate::support::{ms, now, secs};

fn plain(max_attempts: u32) -> ExponentialRetry {
    ExponentialRetry::new(max_attempts)
        .backoff(Backoff::new(secs(1), secs(10)).jitter(Jitter::None))
}

/// Calls a function that fails its first `failures` attempts with their numbers. Returns the result
/// and the times of the attempts, in milliseconds.
async fn run(policy: ExponentialRetry, failures: u32) -> (Result<u32, u32>, Vec<u128>) {
    let (began, calls) = (now(), RefCell::new(Vec::new()));
    let result = retry(policy, || {
        let mut calls = calls.borrow_mut();
        calls.push(began.elapsed().as_millis());
        let attempt = calls.len() as u32;
        ready(if attempt <= failures { Err(attempt) } else { Ok(attempt) })
    });
    let result = result.await;
    (result, calls.into_inner())
}

#[tokio::test(start_paused = true)]
async fn r13_function_is_called_until_it_succeeds_or_the_attempts_are_spent() {
    assert_eq!(run(plain(3), 0).await, (Ok(1), vec![0]));
    assert_eq!(run(plain(3), 2).await, (Ok(3), vec![0, 1000, 3000]));
    assert_eq!(run(plain(3), 9).await, (Err(3), vec![0, 1000, 3000]), "the last error as it is");
    assert_eq!(run(plain(1), 9).await, (Err(1), vec![0]));
    let endless = plain(u32::MAX).backoff(Backoff::fixed(ms(1)));
    assert_eq!(run(endless, 5000).await.0, Ok(5001));
}

#[tokio::test(start_paused = true)]
async fn r13_no_wait_ends_past_max_elapsed_counted_from_the_first_poll() {
    let future = retry(plain(u32::MAX).max_elapsed(secs(6)), || ready(Err::<(), _>(7)));
    advance(secs(100)).await;
    let began = now();
    assert_eq!(future.await, Err(7));
    assert_eq!(began.elapsed(), secs(3), "after 1 s and 2 s; 4 s more would be past 6 s");
}

#[tokio::test(start_paused = true)]
async fn r13_async_function_and_async_closure_are_operations() {
    async fn fails() -> Result<(), &'static str> {
        sleep(secs(1)).await;
        Err("no answer")
    }
    let began = now();
    assert_eq!(retry(plain(2), fails).await, Err("no answer"));
    assert_eq!(began.elapsed(), secs(3), "two attempts of a second, and a wait");

    let calls = Cell::new(0);
    let result = retry(plain(3), async || {
        sleep(secs(1)).await;
        calls.set(calls.get() + 1);
        if calls.get() < 3 { Err(calls.get()) } else { Ok("borrowed from outside") }
    });
    assert_eq!(result.await, Ok("borrowed from outside"));
}

/// As a layer does with a request that cannot be copied.
#[tokio::test(start_paused = true)]
async fn r7_r13_function_is_called_once_if_the_policy_copies_nothing() {
    let policy = plain(3).clone_with(|(): &()| None);
    assert_eq!(retry(policy, || ready(Err::<(), _>(7))).with_statistics().await.1.attempts(), 1);
}

/// By the result, with a hint; by the error; and a failure that is not retried.
#[tokio::test(start_paused = true)]
async fn r13_classifier_judges_results_and_errors() {
    fn classify((): &(), result: &Result<u16, &'static str>) -> Verdict {
        match result {
            Ok(429) => Verdict::RetryAfter(secs(5)),
            Ok(503) => Verdict::RetryExactly(secs(7)),
            Err("reset") => Verdict::Retry,
            _ => Verdict::Done,
        }
    }
    let began = now();
    let mut results = [Ok(429), Ok(503), Err("reset"), Err("forbidden"), Ok(200)].into_iter();
    let policy = plain(9).classify(classify);
    let result = retry(policy, || ready(results.next().unwrap())).await;
    assert_eq!(result, Err("forbidden"));
    assert_eq!(began.elapsed(), secs(5 + 7 + 4));
}

/// The hook sees all decisions, the last one too; the classifier notes the attempts in the result.
#[tokio::test(start_paused = true)]
async fn r8_r13_hook_and_classifier_see_every_result() {
    #[derive(Clone)]
    struct Noting;
    impl Classify<(), u32, u32> for Noting {
        fn classify(&self, (): &(), result: &Result<u32, u32>) -> Verdict {
            if result.is_ok() { Verdict::Done } else { Verdict::Retry }
        }
        fn settled(&self, (): &(), attempts: u32, result: &mut Result<u32, u32>) {
            *result = Err(100 + attempts);
        }
    }

    let told = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&told);
    let hook = move |decision: &Decision, (): &(), result: &Result<u32, u32>| {
        noted.lock().unwrap().push((decision.attempt(), decision.retry_in(), *result));
    };
    let policy = plain(2).on_decision_with(hook);
    assert_eq!(retry(policy.clone(), || ready(Err::<u32, u32>(7))).await, Err(7));
    let expected = [(1, Ok(secs(1)), Err(7)), (2, Err(StopReason::MaxAttempts), Err(7))];
    assert_eq!(*told.lock().unwrap(), expected);
    assert_eq!(retry(policy.classify(Noting), || ready(Err::<u32, u32>(7))).await, Err(102));
    assert_eq!(retry(plain(1).classify(Noting), || ready(Ok::<u32, u32>(7))).await, Err(101));
}

/// Requests of a layer and calls of a function withdraw from one budget.
#[tokio::test(start_paused = true)]
async fn r5_r13_budget_is_shared_with_a_layer() {
    let budget = RetryBudget::builder(0.5).floor_per_second(0).build();
    let policy = plain(3).budget(budget.clone());
    let layer = ExponentialRetryLayer::new(policy.clone());
    let service = layer.layer(service_fn(|_: u32| ready(Ok::<_, u32>(()))));
    for n in 0..2 {
        service.clone().oneshot(n).await.unwrap();
    }
    assert_eq!(budget.saved(), 1);
    assert_eq!(run(policy.clone(), 9).await.0, Err(2), "its own deposit pays half a retry");
    assert_eq!(run(policy.clone(), 9).await.0, Err(2), "two halves");
    assert_eq!(run(policy, 9).await.0, Err(1));
}

/// The deadline is that of the request that a handler serves.
#[tokio::test(start_paused = true)]
async fn r10_r13_retry_that_could_not_end_before_the_deadline_is_not_begun() {
    let began = now();
    let handler = service_fn(move |(): ()| async move {
        let result = run(plain(9), u32::MAX).await;
        Ok::<_, Infallible>((result, began.elapsed()))
    });
    let service = DeadlineLayer::new(secs(6)).layer(handler);
    let ((result, calls), elapsed) = service.oneshot(()).await.unwrap();
    assert_eq!((result, calls, elapsed), (Err(3), vec![0, 1000, 3000], secs(3)));
}

#[tokio::test(start_paused = true)]
async fn r13_statistics_tell_attempts_waits_and_time() {
    let mut attempt = 0;
    let slow = retry(plain(4), || {
        attempt += 1;
        async move {
            sleep(secs(1)).await;
            if attempt < 3 { Err(attempt) } else { Ok(attempt) }
        }
    });
    let slow = slow.with_statistics();
    advance(secs(100)).await; // before the first poll
    let (result, statistics) = slow.await;
    assert_eq!(result, Ok(3));
    assert_eq!(statistics.attempts(), 3);
    assert_eq!(statistics.waited(), secs(1 + 2));
    assert_eq!(statistics.elapsed(), secs(3 + 3));

    let (result, statistics) = retry(plain(1), || ready(Err::<(), _>(7))).with_statistics().await;
    assert_eq!((result, statistics.attempts()), (Err(7), 1));
    assert_eq!((statistics.waited(), statistics.elapsed()), (secs(0), secs(0)));
}

struct CountsDrops(Arc<AtomicUsize>);

impl Drop for CountsDrops {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn r13_drop_ends_the_attempt_or_the_wait() {
    let (calls, drops) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    // The first attempt fails after a second, the second one hangs.
    let call = || {
        let (guard, call) = (CountsDrops(Arc::clone(&drops)), calls.fetch_add(1, SeqCst));
        async move {
            let _guard = guard;
            sleep(secs(1)).await;
            if call > 0 {
                pending::<()>().await;
            }
            Err::<(), _>(())
        }
    };
    drop(retry(plain(3), call));
    assert_eq!(calls.swap(0, SeqCst), 0, "lazy");
    for (after, begun, dropped) in [(ms(500), 1, 1), (ms(1500), 1, 1), (ms(2500), 2, 2)] {
        timeout(after, retry(plain(3), call)).await.unwrap_err();
        sleep(secs(60)).await;
        assert_eq!((calls.swap(0, SeqCst), drops.swap(0, SeqCst)), (begun, dropped));
    }
}

/// The future of a failed attempt, and all that it holds, is gone before the wait.
#[tokio::test(start_paused = true)]
async fn r13_failed_attempt_is_dropped_before_the_wait() {
    struct Fails(#[allow(dead_code, reason = "held")] CountsDrops);
    impl Future for Fails {
        type Output = Result<(), ()>;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Ready(Err(()))
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let mut future = pin!(retry(plain(2), || Fails(CountsDrops(Arc::clone(&drops)))));
    assert!(future.as_mut().now_or_never().is_none());
    assert_eq!(drops.load(SeqCst), 1);
    assert_eq!(future.await, Err(()));
    assert_eq!(drops.load(SeqCst), 2);
}

#[test]
fn c6_r13_attempt_that_succeeds_at_once_allocates_nothing() {
    let policy = ExponentialRetry::new(3).budget(RetryBudget::new(0.1)).max_elapsed(secs(60));
    let call = || {
        let mut cx = Context::from_waker(Waker::noop());
        let future = pin!(retry(policy.clone(), || ready(Ok::<_, ()>(1))));
        assert_eq!(future.poll(&mut cx), Poll::Ready(Ok(1)));
        let future = pin!(retry(policy.clone(), || ready(Ok::<_, ()>(1))).with_statistics());
        assert!(future.poll(&mut cx).is_ready());
    };
    call();
    assert_eq!(measure(|| (0..100).for_each(|_| call())).count_total, 0);
}

#[test]
fn c6_r13_future_is_send_and_unpin_if_those_of_the_operation_are() {
    static_assertions::assert_impl_all!(RetryFuture<fn(), ()>: Send, Sync, Unpin);
    static_assertions::assert_impl_all!(StatisticsFuture<fn(), ()>: Send, Sync, Unpin);
    static_assertions::assert_not_impl_any!(RetryFuture<fn(), std::rc::Rc<()>>: Send);
    static_assertions::assert_not_impl_any!(
        RetryFuture<fn(), std::marker::PhantomPinned>: Unpin
    );
    fn is_send<T: Send>(_: &T) {}
    let client = String::from("borrowed");
    is_send(&retry(plain(3), async || Err::<(), _>(client.len())));
}

/// The policy of a test of the times, seeded where they are random.
fn waiting(waits: Waits) -> ExponentialRetry {
    // The backoff has no effect beside the waits, set before or after it.
    plain(6).waits(waits).backoff(Backoff::fixed(secs(77)))
}

#[tokio::test(start_paused = true)]
async fn r14_fixed_wait_does_not_grow() {
    let policy = plain(5).backoff(Backoff::fixed(secs(3)));
    assert_eq!(run(policy, 9).await.1, [0, 3000, 6000, 9000, 12_000]);
}

/// Of many waits, the shortest and the longest are near the ends, and half are in each half.
#[tokio::test(start_paused = true)]
async fn r14_random_waits_are_spread_evenly_over_their_range() {
    let policy = plain(4001).backoff(Backoff::uniform(secs(3)..=secs(5))).seed(7);
    let (_, calls) = run(policy, 4000).await;
    // Timers round up to a millisecond.
    let waits: Vec<_> = calls.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.iter().all(|wait| (3000..=5001).contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|&wait| wait < 3010) && waits.iter().any(|&wait| wait > 4990));
    let below = waits.iter().filter(|&&wait| wait < 4000).count();
    assert!((1900..=2100).contains(&below), "{below} of 4000");
}

#[tokio::test(start_paused = true)]
async fn r14_chained_waits_follow_the_list_and_repeat_the_last() {
    let chain = Waits::chain([secs(1), secs(5), ms(10)]);
    assert_eq!(run(waiting(chain), 9).await.1, [0, 1000, 6000, 6010, 6020, 6030]);
    let one = Waits::chain([secs(2)]);
    assert_eq!(run(waiting(one), 9).await.1, [0, 2000, 4000, 6000, 8000, 10_000]);
}

#[tokio::test(start_paused = true)]
async fn r14_own_function_gives_the_wait_by_the_number_of_the_retry() {
    let step = secs(2);
    let linear = Waits::from_fn(move |retry| step * (retry + 1));
    assert_eq!(run(waiting(linear), 9).await.1, [0, 2000, 6000, 12_000, 20_000, 30_000]);
    let zero = Waits::from_fn(|_| Duration::ZERO);
    assert_eq!(run(waiting(zero), 9).await.1, [0, 1, 2, 3, 4, 5], "timers resolve a millisecond");
}

/// Each wait is between its half and itself, and no two requests draw alike.
#[tokio::test(start_paused = true)]
async fn r14_jitter_spreads_chained_waits() {
    let policy = waiting(Waits::chain([secs(2), secs(8)]).jitter(Jitter::Equal)).seed(7);
    let (_, one) = run(policy.clone(), 9).await;
    let (_, other) = run(policy, 9).await;
    for calls in [&one, &other] {
        for (pair, whole) in calls.windows(2).zip([2000, 8000, 8000, 8000, 8000]) {
            let wait = pair[1] - pair[0];
            assert!((whole / 2..=whole + 1).contains(&wait), "{wait} of {whole}");
        }
    }
    assert_ne!(one, other);
}

/// A hint, the time and a deadline bound waits of any kind.
#[tokio::test(start_paused = true)]
async fn r4_r14_hint_is_a_floor_of_every_kind_of_wait() {
    let kinds = [
        plain(2).backoff(Backoff::fixed(secs(3))),
        plain(2).waits(Waits::chain([secs(3)])),
        plain(2).waits(Waits::from_fn(|_| secs(3))),
    ];
    for policy in kinds {
        for (hint, waited) in [(secs(2), secs(3)), (secs(8), secs(8))] {
            let classify = move |(): &(), _: &Result<(), ()>| Verdict::RetryAfter(hint);
            let hinted = policy.clone().classify(classify);
            let (_, statistics) = retry(hinted, || ready(Err(()))).with_statistics().await;
            assert_eq!((statistics.attempts(), statistics.waited()), (2, waited));
        }
        assert_eq!(run(policy.clone().max_elapsed(ms(2999)), 9).await.1, [0]);
        assert_eq!(run(policy.clone().max_elapsed(secs(3)), 9).await.1, [0, 3000]);
        let handler = service_fn(move |(): ()| {
            let policy = policy.clone();
            async move { Ok::<_, Infallible>(run(policy, 9).await.1) }
        });
        let early = DeadlineLayer::new(secs(3)).layer(handler.clone());
        assert_eq!(early.oneshot(()).await.unwrap(), [0]);
        let late = DeadlineLayer::new(ms(3002)).layer(handler);
        assert_eq!(late.oneshot(()).await.unwrap(), [0, 3000]);
    }
}

#[tokio::test(start_paused = true)]
async fn r14_uniform_waits_lie_above_a_hint() {
    let classify = |(): &(), _: &Result<(), ()>| Verdict::RetryAfter(secs(10));
    let policy = plain(100).backoff(Backoff::uniform(secs(3)..=secs(5))).seed(7).classify(classify);
    let (_, statistics) = retry(policy, || ready(Err(()))).with_statistics().await;
    let waited = statistics.waited();
    assert!(waited > 99 * secs(10) + secs(50) && waited < 99 * secs(12) - secs(50), "{waited:?}");
}

/// A panic of the user's function withdraws nothing.
#[tokio::test(start_paused = true)]
async fn r5_r14_own_function_that_panics_ends_the_request_and_spends_no_retry() {
    let budget = RetryBudget::builder(1.0).floor_per_second(0).build();
    let policy = plain(3).waits(Waits::from_fn(|_| panic!("no wait"))).budget(budget.clone());
    let call = std::panic::AssertUnwindSafe(retry(policy, || ready(Err::<(), _>(()))));
    assert!(call.catch_unwind().await.is_err());
    assert_eq!(budget.saved(), 1);
}

#[test]
fn r14_waits_of_a_layer_are_those_of_the_policy() {
    let layer = ExponentialRetryLayer::new(waiting(Waits::chain([secs(1), secs(2)])));
    let shown = format!("{layer:?}");
    assert!(shown.contains("waits: Some(Waits { chain: [1s, 2s], jitter: None })"), "{shown}");
    let own = Waits::from_fn(|_| secs(1)).jitter(Jitter::Full);
    assert_eq!(format!("{own:?}"), "Waits { from_fn: .., jitter: Full }");
}
