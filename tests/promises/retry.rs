use std::{
    collections::HashSet,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{Ready, join_all, ready},
};
use tokio::time::advance;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, retry::RetryLayer, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, PauseOnHintLayer,
    Rejected, WindowRateLimitLayer, find_cause,
    retry::{
        AnyError, Backoff, ByClone, Classify, CloneRequest, Decision, Jitter, OnDecision,
        RetryBudget, StopReason, Verdict,
    },
};

use crate::support::{ms, now, secs, settle};

#[derive(Clone, Copy, Debug, PartialEq)]
struct Flaky(u32);

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attempt {} failed", self.0)
    }
}

impl std::error::Error for Flaky {}

/// Fails the first `failures` calls with the number of the attempt, and records their times.
#[derive(Clone, Default)]
struct Unstable {
    failures: u32,
    calls: Arc<Mutex<Vec<Duration>>>,
    started: Option<tokio::time::Instant>,
    ready: bool,
}

impl Unstable {
    fn failing(failures: u32) -> Self {
        Self { failures, started: Some(now()), ..Self::default() }
    }

    fn calls_ms(&self) -> Vec<u128> {
        self.calls.lock().unwrap().iter().map(Duration::as_millis).collect()
    }
}

impl Service<u32> for Unstable {
    type Response = u32;
    type Error = Flaky;
    type Future = Ready<Result<u32, Flaky>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Flaky>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called unready");
        let mut calls = self.calls.lock().unwrap();
        calls.push(self.started.expect("made by `failing`").elapsed());
        let attempt = u32::try_from(calls.len()).unwrap();
        ready(if attempt <= self.failures { Err(Flaky(attempt)) } else { Ok(request) })
    }
}

fn plain(max_attempts: u32) -> ExponentialRetry {
    ExponentialRetry::new(max_attempts)
        .backoff(Backoff::new(secs(1), secs(10)).jitter(Jitter::None))
}

#[tokio::test(start_paused = true)]
async fn r1_policy_works_in_towers_own_layer() {
    let unstable = Unstable::failing(2);
    let ours = ExponentialRetryLayer::new(plain(3)).layer(unstable.clone());
    let _: &tower::retry::Retry<ExponentialRetry, Unstable> = &ours;
    assert_eq!(ours.oneshot(7).await, Ok(7));
    assert_eq!(unstable.calls_ms(), [0, 1000, 3000]);

    let unstable = Unstable::failing(2);
    let towers = RetryLayer::new(plain(3)).layer(unstable.clone());
    assert_eq!(towers.oneshot(7).await, Ok(7));
    assert_eq!(unstable.calls_ms(), [0, 1000, 3000]);
}

#[tokio::test(start_paused = true)]
async fn r2_max_attempts_counts_the_first_attempt_and_the_last_error_passes() {
    for attempts in 1..=5 {
        let unstable = Unstable::failing(u32::MAX);
        let service = ExponentialRetryLayer::new(plain(attempts)).layer(unstable.clone());
        assert_eq!(service.oneshot(7).await, Err(Flaky(attempts)));
        assert_eq!(unstable.calls_ms(), [0, 1000, 3000, 7000, 15_000][..attempts as usize]);

        // With a hook the last attempt is copied, and ends with the decision.
        let unstable = Unstable::failing(u32::MAX);
        let layer = ExponentialRetryLayer::new(plain(attempts).on_decision(|_| {}));
        assert_eq!(layer.layer(unstable.clone()).oneshot(7).await, Err(Flaky(attempts)));
    }
}

#[tokio::test(start_paused = true)]
async fn r2_no_wait_ends_past_max_elapsed() {
    let unstable = Unstable::failing(u32::MAX);
    let policy = plain(10).max_elapsed(secs(6));
    let mut service = ExponentialRetryLayer::new(policy).layer(unstable.clone());
    advance(secs(100)).await; // the time counts from the request
    for _ in 0..2 {
        let began = now();
        service.ready().await.unwrap().call(7).await.unwrap_err();
        assert_eq!(began.elapsed(), secs(3), "after 1 s and 2 s; 4 s more would be past 6 s");
    }
    assert_eq!(unstable.calls_ms().len(), 6);
}

#[test]
fn c8_r3_ceiling_doubles_up_to_max_and_saturates() {
    let backoff = Backoff::new(ms(100), secs(5));
    let waits: Vec<_> = (0..8).map(|retry| backoff.ceiling(retry).as_millis()).collect();
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    assert_eq!(Backoff::new(ms(100), secs(5)).factor(3.0).ceiling(3), ms(2700));
    assert_eq!(Backoff::new(ms(100), secs(5)).factor(1.0).ceiling(1000), ms(100));
    for retry in [31, 32, 63, 64, 1023, 1024, u32::MAX] {
        assert_eq!(backoff.ceiling(retry), secs(5));
        let longest = Backoff::new(Duration::from_nanos(1), Duration::MAX);
        assert!(longest.ceiling(retry) >= Duration::from_nanos(1 << 31));
    }
}

/// The waits of one request that fails at each attempt.
async fn waits(policy: ExponentialRetry) -> Vec<Duration> {
    let unstable = Unstable::failing(u32::MAX);
    ExponentialRetryLayer::new(policy).layer(unstable.clone()).oneshot(0).await.unwrap_err();
    let calls = unstable.calls.lock().unwrap().clone();
    calls.windows(2).map(|two| two[1] - two[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn r3_jitter_stays_in_its_span_and_persists_at_max() {
    /// The shortest and the longest wait, from the ceiling and the last wait.
    type Span = fn(Duration, Duration) -> (Duration, Duration);
    let spans: [(Jitter, Span); 3] = [
        (Jitter::Full, |ceiling, _| (Duration::ZERO, ceiling)),
        (Jitter::Equal, |ceiling, _| (ceiling / 2, ceiling)),
        (Jitter::Decorrelated, |_, last| (secs(1), (last * 3).min(secs(10)))),
    ];
    for (jitter, span) in spans {
        let backoff = Backoff::new(secs(1), secs(10)).jitter(jitter);
        let waits = waits(ExponentialRetry::new(200).backoff(backoff).seed(3)).await;
        let mut last = secs(1);
        for (retry, &wait) in waits.iter().enumerate() {
            let (low, high) = span(backoff.ceiling(u32::try_from(retry).unwrap()), last);
            // tokio's timer rounds up to the next millisecond.
            assert!(
                wait >= low && wait <= high + ms(1),
                "{jitter:?}: {wait:?} not in {low:?} to {high:?}"
            );
            assert!(!wait.is_zero());
            last = wait;
        }
        let at_max: HashSet<_> = waits[10..].iter().collect();
        assert!(at_max.len() > 150, "{jitter:?} at max: {} distinct waits", at_max.len());
    }
}

#[tokio::test(start_paused = true)]
async fn r3_requests_draw_independently_and_a_seed_repeats_them() {
    async fn firsts(seed: u64) -> Vec<Duration> {
        let layer = ExponentialRetryLayer::new(ExponentialRetry::new(2).seed(seed));
        let service = layer.layer(service_fn(|_: u32| ready(Err::<(), _>(Flaky(0)))));
        let began = now();
        let calls = (0..50).map(|n| {
            let service = service.clone();
            async move {
                service.oneshot(n).await.unwrap_err();
                began.elapsed()
            }
        });
        join_all(calls).await
    }
    let one = firsts(1).await;
    let distinct: HashSet<_> = one.iter().collect();
    assert!(distinct.len() > 40, "{} distinct waits of 50", distinct.len());
    assert_eq!(one, firsts(1).await);
    assert_ne!(one, firsts(2).await);
}

/// A service that responds with a `hint` (`None`: never), and the decisions about its requests.
#[allow(clippy::type_complexity, reason = "once")]
fn hinted(
    hint: Option<Duration>,
    policy: ExponentialRetry,
) -> (
    impl Service<u32, Response = u16, Error = Flaky, Future: Send> + Clone + Send,
    Arc<Mutex<Vec<Decision>>>,
) {
    let decisions = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&decisions);
    let policy = policy.on_decision(move |decision| seen.lock().unwrap().push(*decision)).classify(
        move |_: &u32, _: &Result<u16, Flaky>| hint.map_or(Verdict::Never, Verdict::RetryAfter),
    );
    let service = ServiceBuilder::new()
        .layer(ExponentialRetryLayer::new(policy))
        .service(service_fn(|_| ready(Ok(429))));
    (service, decisions)
}

#[tokio::test(start_paused = true)]
async fn r4_hint_is_a_floor_with_jitter_on_top() {
    for jitter in [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Decorrelated] {
        let backoff = Backoff::new(secs(1), secs(10)).jitter(jitter);
        let policy = ExponentialRetry::new(2).backoff(backoff).seed(5);
        let (service, decisions) = hinted(Some(secs(30)), policy);
        assert_eq!(join_all((0..50).map(|n| service.clone().oneshot(n))).await, [Ok(429); 50]);
        let decisions = decisions.lock().unwrap();
        let waits: HashSet<_> =
            decisions.iter().filter_map(|decision| decision.retry_in().ok()).collect();
        assert!(waits.iter().all(|&wait| wait >= secs(30) && wait <= secs(33)), "{waits:?}");
        assert_eq!(waits.len(), if jitter == Jitter::None { 1 } else { 50 });
    }
    // A hint below the backoff changes nothing.
    let (service, decisions) = hinted(Some(ms(1)), plain(2));
    service.oneshot(0).await.unwrap();
    assert_eq!(decisions.lock().unwrap()[0].retry_in(), Ok(secs(1)));
}

#[tokio::test(start_paused = true)]
async fn r4_hint_that_is_too_long_or_never_returns_the_response_at_once() {
    let cases = [
        (Some(Duration::from_secs(9_999_999_999)), plain(5), StopReason::MaxHint),
        (
            Some(Duration::MAX),
            plain(5).max_hint(Duration::MAX).max_elapsed(secs(5)),
            StopReason::MaxElapsed,
        ),
        (Some(secs(61)), plain(5), StopReason::MaxHint),
        (Some(secs(6)), plain(5).max_elapsed(secs(5)), StopReason::MaxElapsed),
        (None, plain(5), StopReason::RetryForbidden),
    ];
    for (hint, policy, why) in cases {
        let began = now();
        let (service, decisions) = hinted(hint, policy);
        assert_eq!(service.oneshot(0).await, Ok(429), "the response is returned");
        assert_eq!(began.elapsed(), Duration::ZERO);
        let decisions = decisions.lock().unwrap();
        assert_eq!((decisions.len(), decisions[0].retry_in()), (1, Err(why)));
        assert_eq!(decisions[0].hint(), hint);
    }
}

#[tokio::test(start_paused = true)]
async fn c1_r5_budget_is_shared_by_clones_and_exact() {
    for (ratio, requests, retries) in
        [(0.1, 100, 10), (0.3, 1000, 300), (0.6, 10, 6), (1.0, 7, 7), (2.5, 4, 10)]
    {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let budget = RetryBudget::builder(ratio).floor_per_second(0).max_saved(1000).build();
        let layer = ExponentialRetryLayer::new(plain(100).budget(budget.clone()));
        let services: Vec<_> = (0..2)
            .map(|_| {
                let counted = Arc::clone(&counted);
                layer.layer(service_fn(move |_: u32| {
                    counted.fetch_add(1, SeqCst);
                    ready(Err::<(), _>(Flaky(0)))
                }))
            })
            .collect();
        let all = (0..requests).map(|n| services[n as usize % 2].clone().oneshot(n));
        join_all(all).await;
        assert_eq!(calls.load(SeqCst), requests + retries, "{ratio} of {requests}");
        assert_eq!(budget.saved(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn r5_floor_lets_a_quiet_client_retry() {
    let budget = RetryBudget::builder(0.0).floor_per_second(3).build();
    let mut paid = Vec::new();
    for _ in 0..30 {
        paid.push((0..1000).take_while(|_| budget.withdraw()).count());
        advance(ms(100)).await;
    }
    assert_eq!(paid[0], 3);
    let total: usize = paid.iter().sum();
    assert!((11..=12).contains(&total), "three at once, and three a second: {total}");
}

#[test]
fn r5_savings_are_bounded() {
    let budget = RetryBudget::builder(1.0).floor_per_second(0).max_saved(5).build();
    for _ in 0..100 {
        budget.deposit();
    }
    assert_eq!(budget.saved(), 5);
    assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 5);
}

#[test]
fn r5_many_threads_never_overdraw_the_budget() {
    let budget = RetryBudget::builder(0.25).floor_per_second(0).max_saved(1_000_000).build();
    let withdrawn: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..10_000)
                        .filter(|_| {
                            budget.deposit();
                            budget.withdraw()
                        })
                        .count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(withdrawn as u64 + u64::from(budget.saved()), 10_000);
}

#[tokio::test(start_paused = true)]
async fn r6_cause_is_found_down_the_source_chain() {
    #[derive(Debug)]
    struct Wrapped(Flaky);
    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("wrapped")
        }
    }
    impl std::error::Error for Wrapped {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let policy = plain(3).classify(|_: &u32, result: &Result<(), tower::BoxError>| match result {
        Err(error) if find_cause::<Flaky>(&**error).is_some() => Verdict::Retry,
        _ => Verdict::Done,
    });
    let service = ExponentialRetryLayer::new(policy).layer(service_fn(move |n: u32| {
        counted.fetch_add(1, SeqCst);
        let error: tower::BoxError =
            if n == 0 { Box::new(Wrapped(Flaky(1))) } else { "something else".into() };
        ready(Err(error))
    }));
    service.clone().oneshot(0).await.unwrap_err();
    assert_eq!(calls.swap(0, SeqCst), 3);
    service.oneshot(1).await.unwrap_err();
    assert_eq!(calls.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn r7_request_that_cannot_be_cloned_is_sent_once_and_its_response_passes() {
    struct Body(&'static str);

    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let budget = RetryBudget::builder(1.0).floor_per_second(0).build();
    let policy = plain(3)
        .budget(budget.clone())
        .clone_with(|body: &Body| (body.0 != "stream").then_some(Body(body.0)));
    let service = ExponentialRetryLayer::new(policy).layer(service_fn(move |_: Body| {
        counted.fetch_add(1, SeqCst);
        ready(Err::<(), _>(Flaky(9)))
    }));
    assert_eq!(service.clone().oneshot(Body("stream")).await, Err(Flaky(9)));
    assert_eq!(calls.swap(0, SeqCst), 1);
    assert_eq!(budget.saved(), 1, "a request that cannot be retried deposits, too");
    service.oneshot(Body("bytes")).await.unwrap_err();
    assert_eq!(calls.load(SeqCst), 3, "paid by the deposits of two requests");
}

#[tokio::test(start_paused = true)]
async fn r8_hook_sees_every_decision() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let policy = plain(3).on_decision(move |decision| {
        noted.lock().unwrap().push((decision.attempt(), decision.retry_in()));
    });
    let service = ExponentialRetryLayer::new(policy).layer(Unstable::failing(4));
    service.clone().oneshot(0).await.unwrap_err(); // attempts 1 to 3
    service.oneshot(0).await.unwrap(); // 4 fails, 5 succeeds
    assert_eq!(
        *seen.lock().unwrap(),
        [(1, Ok(secs(1))), (2, Ok(secs(2))), (3, Err(StopReason::MaxAttempts)), (1, Ok(secs(1))),]
    );
}

/// The request is the copy before it is prepared, the result that of the attempt.
#[tokio::test(start_paused = true)]
async fn r8_hook_sees_the_request_and_the_result() {
    #[derive(Clone)]
    struct Changing;
    impl Classify<u32, u32, Flaky> for Changing {
        fn classify(&self, _: &u32, result: &Result<u32, Flaky>) -> Verdict {
            match result {
                Ok(200) => Verdict::Done,
                Ok(_) => Verdict::Never,
                Err(_) => Verdict::RetryExactly(secs(3)),
            }
        }
        fn prepare(&self, request: &mut u32, _: u32) {
            *request += 100;
        }
        fn settled(&self, _: &u32, _: u32, result: &mut Result<u32, Flaky>) {
            *result = Ok(0);
        }
    }
    for (failures, answer, decisions) in [
        (0, 200, vec![]),
        (0, 500, vec![(Err(StopReason::RetryForbidden), 200, Ok(500))]),
        (1, 200, vec![(Ok(secs(3)), 200, Err(Flaky(1)))]),
        (
            9,
            200,
            vec![
                (Ok(secs(3)), 200, Err(Flaky(1))),
                (Ok(secs(3)), 300, Err(Flaky(2))),
                (Err(StopReason::MaxAttempts), 400, Err(Flaky(3))),
            ],
        ),
    ] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        // The setters may come in any order.
        let policy = plain(3)
            .on_decision_with(
                move |decision: &Decision, request: &u32, result: &Result<u32, Flaky>| {
                    noted.lock().unwrap().push((decision.retry_in(), *request, *result));
                },
            )
            .clone_with(|request: &u32| Some(*request))
            .classify(Changing)
            .seed(1);
        let service = ExponentialRetryLayer::new(policy)
            .layer(Unstable::failing(failures).map_response(move |_| answer));
        assert_eq!(service.oneshot(200).await, Ok(0));
        assert_eq!(*seen.lock().unwrap(), decisions);
    }
}

/// One type for requests and results of any kind.
#[tokio::test(start_paused = true)]
async fn r8_hook_of_one_type_serves_different_services() {
    #[derive(Clone, Default)]
    struct Failures(Arc<Mutex<Vec<String>>>);
    impl<Req: fmt::Debug, Res, E: fmt::Display> OnDecision<Req, Res, E> for Failures {
        fn on_decision(&self, _: &Decision, request: &Req, result: &Result<Res, E>) {
            let Err(error) = result else { return };
            self.0.lock().unwrap().push(format!("{request:?}: {error}"));
        }
    }
    let failures = Failures::default();
    let policy = plain(1).on_decision_with(failures.clone());
    let numbers = ExponentialRetryLayer::new(policy.clone()).layer(Unstable::failing(1));
    assert_eq!(numbers.oneshot(7).await, Err(Flaky(1)));
    let texts = ExponentialRetryLayer::new(policy)
        .layer(service_fn(|_: &'static str| ready(Err::<(), _>("no answer"))));
    assert_eq!(texts.oneshot("hello").await, Err("no answer"));
    assert_eq!(*failures.0.lock().unwrap(), ["7: attempt 1 failed", "\"hello\": no answer"]);
}

/// A copy that is never sent lets the hook see the failure of a request that can't be copied. A
/// request without a copy is told to no hook.
#[tokio::test(start_paused = true)]
async fn r7_r8_hook_sees_that_a_request_cannot_be_copied() {
    /// Even numbers can be copied.
    #[derive(Clone)]
    struct EvenNumbers;
    impl CloneRequest<u32> for EvenNumbers {
        fn clone_request(&self, request: &u32) -> Option<u32> {
            Some(*request)
        }
        fn can_send(&self, copy: &u32) -> bool {
            copy % 2 == 0
        }
    }
    let (told, noted) = decisions();
    let policy = plain(2).clone_with(EvenNumbers).on_decision(noted);
    let unstable = Unstable::failing(9);
    let service = ExponentialRetryLayer::new(policy).layer(unstable.clone());
    assert_eq!(service.oneshot(7).await, Err(Flaky(1)));
    assert_eq!(unstable.calls_ms(), [0]);
    assert_eq!(*told.lock().unwrap(), [Err(StopReason::NotReplayable)]);

    let (told, noted) = decisions();
    let policy = plain(2).clone_with(|_: &u32| None).on_decision(noted);
    let service = ExponentialRetryLayer::new(policy).layer(Unstable::failing(9));
    assert_eq!(service.oneshot(7).await, Err(Flaky(1)));
    assert_eq!(*told.lock().unwrap(), []);
}

type Told = Arc<Mutex<Vec<Result<Duration, StopReason>>>>;

/// A hook, and the decisions that it sees.
fn decisions() -> (Told, impl Fn(&Decision) + Send + Sync + 'static) {
    let told = Told::default();
    let noted = Arc::clone(&told);
    (told, move |decision| noted.lock().unwrap().push(decision.retry_in()))
}

#[test]
fn c7_policy_debug_shows_durations_and_absent_settings() {
    let policy = ExponentialRetryLayer::new(plain(3));
    assert_eq!(
        format!("{policy:?}"),
        "ExponentialRetryLayer { policy: ExponentialRetry { max_attempts: 3, backoff: Backoff { \
         base: 1s, max: 10s, factor: 2.0, jitter: None }, waits: None, max_elapsed: None, max_hint: 60s, budget: \
         None, classify: AnyError, clone_with: ByClone, on_decision: NoHook, observer: Unobserved, \
         .. } }"
    );
    let budget = RetryBudget::builder(0.3).floor_per_second(7).max_saved(20).build();
    (0..4).for_each(|_| budget.deposit());
    let policy = plain(3).max_elapsed(secs(30)).budget(budget).on_decision(|_| {});
    let shown = format!("{policy:?}");
    for setting in [
        "max_elapsed: Some(30s)",
        "RetryBudget { ratio: 0.3, floor_per_second: 7, max_saved: 20, saved: 1 }",
        "on_decision: DecisionHook(..)",
    ] {
        assert!(shown.contains(setting), "{setting} is missing from {shown}");
    }
    let shown = format!("{:?}", plain(3).on_decision_with(()));
    assert!(shown.contains("on_decision: SharedHook(..)"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn r8_hook_sees_a_spent_budget() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let policy = plain(3)
        .budget(RetryBudget::builder(0.0).floor_per_second(0).build())
        .on_decision(move |decision| noted.lock().unwrap().push(decision.retry_in()));
    let service = ExponentialRetryLayer::new(policy).layer(Unstable::failing(4));
    assert_eq!(service.oneshot(0).await, Err(Flaky(1)));
    assert_eq!(*seen.lock().unwrap(), [Err(StopReason::BudgetExhausted)]);
}

#[tokio::test(start_paused = true)]
async fn r8_caller_learns_the_number_of_attempts() {
    #[derive(Clone)]
    struct Noting;
    impl Classify<u32, (u32, u32), Flaky> for Noting {
        fn classify(&self, _: &u32, result: &Result<(u32, u32), Flaky>) -> Verdict {
            if result.is_err() { Verdict::Retry } else { Verdict::Done }
        }

        fn settled(&self, _: &u32, attempts: u32, result: &mut Result<(u32, u32), Flaky>) {
            match result {
                Ok(response) => response.1 = attempts,
                Err(error) => error.0 = 100 + attempts,
            }
        }
    }
    for (failures, answer) in [(0, Ok((7, 1))), (2, Ok((7, 3))), (9, Err(Flaky(104)))] {
        let unstable = Unstable::failing(failures).map_response(|n| (n, 0));
        let layer = ExponentialRetryLayer::new(plain(4).classify(Noting));
        assert_eq!(layer.layer(unstable).oneshot(7).await, answer);
    }
    // By default a classifier sees a single attempt, too.
    let unstable = Unstable::failing(9).map_response(|n| (n, 0));
    let layer = ExponentialRetryLayer::new(plain(1).classify(Noting));
    assert_eq!(layer.layer(unstable).oneshot(7).await, Err(Flaky(101)));
}

#[tokio::test(start_paused = true)]
async fn w7_r9_hint_pauses_all_callers() {
    let rate = WindowRateLimitLayer::new(100, secs(1));
    let handle = rate.handle();
    let hint = |result: &Result<u16, Flaky>| match result {
        Ok(429) => Some(secs(20)),
        Ok(430) => Some(Duration::from_secs(1 << 40)),
        _ => None,
    };
    let policy = plain(2).classify(|_: &u32, result: &Result<u16, Flaky>| match result {
        Ok(429) => Verdict::Retry,
        _ => Verdict::Done,
    });
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (noted, began) = (Arc::clone(&calls), now());
    let service = ServiceBuilder::new()
        .layer(ExponentialRetryLayer::new(policy))
        .layer(rate)
        .layer(PauseOnHintLayer::new(handle.clone(), hint))
        .service(service_fn(move |status: u32| {
            let mut calls = noted.lock().unwrap();
            calls.push(began.elapsed().as_secs());
            let first = calls.len() == 1;
            ready(Ok(if first || status == 430 { u16::try_from(status).unwrap() } else { 200 }))
        }));

    let first = tokio::spawn(service.clone().oneshot(429));
    settle().await;
    join_all((0..5).map(|_| service.clone().oneshot(200))).await;
    first.await.unwrap().unwrap();
    assert_eq!(*calls.lock().unwrap(), [0, 20, 20, 20, 20, 20, 20]);

    // An absurd hint pauses for `max_pause`, by default a minute.
    service.oneshot(430).await.unwrap();
    assert_eq!(handle.estimated_wait(), secs(60));
}

/// With any outcome of the request. A response that is never polled pauses nothing.
#[tokio::test(start_paused = true)]
async fn r9_every_awaited_response_pauses_for_at_most_max_pause() {
    let nano = Duration::from_nanos(1);
    for (hint, paused) in [(secs(5) - nano, secs(5) - nano), (secs(5) + nano, secs(5))] {
        for answer in [Ok(()), Err(Flaky(1))] {
            let rate = WindowRateLimitLayer::new(100, secs(1));
            let handle = rate.handle();
            let read = move |result: &Result<(), Flaky>| {
                assert_eq!(*result, answer);
                Some(hint)
            };
            let mut service = ServiceBuilder::new()
                .layer(rate)
                .layer(PauseOnHintLayer::new(handle.clone(), read).max_pause(secs(5)))
                .service(service_fn(|(): ()| ready(answer)));
            drop(service.ready().await.unwrap().call(()));
            assert_eq!(handle.estimated_wait(), secs(0));
            assert_eq!(service.ready().await.unwrap().call(()).await, answer);
            assert_eq!(handle.estimated_wait(), paused);
        }
    }
}

/// An exact hint has neither jitter nor backoff, and is bounded like every hint.
#[tokio::test(start_paused = true)]
async fn r4_exact_hint_is_kept_exactly() {
    for (hint, attempts) in [(secs(7), 3), (secs(0), 3), (secs(61), 1)] {
        let policy = ExponentialRetry::new(3)
            .classify(move |_: &u32, _: &Result<u32, Flaky>| Verdict::RetryExactly(hint));
        let unstable = Unstable::failing(9);
        let (began, layer) = (now(), ExponentialRetryLayer::new(policy));
        assert_eq!(layer.layer(unstable).oneshot(7).await, Err(Flaky(attempts)));
        assert_eq!(began.elapsed(), hint * (attempts - 1));
    }
}

/// A copy that can no longer be sent ends the retry, and one that is sent can be changed before.
#[tokio::test(start_paused = true)]
async fn r7_copy_is_prepared_and_dropped_if_it_cannot_be_sent() {
    #[derive(Clone)]
    struct Counting;
    impl Classify<u32, u32, Flaky> for Counting {
        fn classify(&self, _: &u32, _: &Result<u32, Flaky>) -> Verdict {
            Verdict::Retry
        }
        fn prepare(&self, request: &mut u32, attempts: u32) {
            assert!(*request == 100 + attempts - 1);
            *request += 1;
        }
    }
    #[derive(Clone)]
    struct UpTo(u32);
    impl CloneRequest<u32> for UpTo {
        fn clone_request(&self, request: &u32) -> Option<u32> {
            Some(*request)
        }
        fn can_send(&self, copy: &u32) -> bool {
            *copy < self.0
        }
    }
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&reasons);
    let budget = RetryBudget::new(1.0);
    let policy = plain(5)
        .classify(Counting)
        .clone_with(UpTo(102))
        .budget(budget)
        .on_decision(move |decision| told.lock().unwrap().extend(decision.retry_in().err()));
    let sent = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&sent);
    let service = ExponentialRetryLayer::new(policy).layer(service_fn(move |request: u32| {
        noted.lock().unwrap().push(request);
        ready(Err::<u32, _>(Flaky(1)))
    }));
    assert_eq!(service.oneshot(100).await, Err(Flaky(1)));
    assert_eq!(*sent.lock().unwrap(), [100, 101, 102]);
    assert_eq!(*reasons.lock().unwrap(), [StopReason::NotReplayable]);
}

/// The copy is claimed only for a retry that is made, and none is made without.
#[tokio::test(start_paused = true)]
async fn r7_copy_is_claimed_after_all_else_is_decided() {
    #[derive(Clone)]
    struct Claimed(Arc<AtomicU32>, bool);
    impl CloneRequest<u32> for Claimed {
        fn clone_request(&self, request: &u32) -> Option<u32> {
            Some(*request)
        }
        fn claim(&self, _: &u32) -> bool {
            self.0.fetch_add(1, SeqCst);
            self.1
        }
    }
    for (claimable, affordable, claims, why) in [
        (true, 2.0, 2, StopReason::BudgetExhausted),
        (true, 9.0, 3, StopReason::MaxAttempts),
        (false, 2.0, 1, StopReason::NotReplayable),
    ] {
        let claimed = Arc::new(AtomicU32::new(0));
        let reasons = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&reasons);
        let policy = plain(4)
            .clone_with(Claimed(Arc::clone(&claimed), claimable))
            .budget(RetryBudget::builder(affordable).floor_per_second(0).build())
            .on_decision(move |decision| noted.lock().unwrap().extend(decision.retry_in().err()));
        let service = ExponentialRetryLayer::new(policy)
            .layer(service_fn(|_: u32| ready(Err::<u32, _>(Flaky(1)))));
        assert_eq!(service.oneshot(0).await, Err(Flaky(1)));
        assert_eq!(claimed.load(SeqCst), claims);
        assert_eq!(*reasons.lock().unwrap(), [why]);
    }
}

/// Arc caches hold the shared state of policies, but nothing that belongs to a user.
#[tokio::test(start_paused = true)]
async fn r8_hook_is_dropped_with_the_last_of_its_policies() {
    async fn used<H>(policy: ExponentialRetry<AnyError, ByClone, H>)
    where
        H: OnDecision<u32, u32, Flaky> + Clone,
    {
        let service = ExponentialRetryLayer::new(policy).layer(Unstable::failing(1));
        assert_eq!(service.clone().oneshot(7).await, Ok(7));
        assert_eq!(service.oneshot(8).await, Ok(8));
    }
    for policy in [plain(2), plain(2).budget(RetryBudget::new(1.0))] {
        let hooked = Arc::new(());
        let (held, typed) = (Arc::clone(&hooked), Arc::clone(&hooked));
        used(policy.clone().on_decision(move |_| {
            let _ = &held;
        }))
        .await;
        used(policy.on_decision_with(move |_: &Decision, _: &u32, _: &Result<u32, Flaky>| {
            let _ = &typed;
        }))
        .await;
        assert_eq!(Arc::strong_count(&hooked), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn r5_policies_used_in_turns_on_one_thread_keep_their_own_budgets() {
    let spendthrift = || RetryBudget::builder(0.0).floor_per_second(0).build();
    let policies =
        [plain(2).budget(spendthrift()), plain(2).budget(RetryBudget::new(1.0)), plain(2)];
    for turn in 0..30 {
        let unstable = Unstable::failing(1);
        let layer = ExponentialRetryLayer::new(policies[turn % 3].clone());
        let answer = layer.layer(unstable).oneshot(7).await;
        assert_eq!(answer, if turn % 3 == 0 { Err(Flaky(1)) } else { Ok(7) });
    }
}

/// Budgets that pay for one retry of one request: from the balance, and from the floor.
fn of_one_retry() -> [RetryBudget; 2] {
    let saved = RetryBudget::builder(1.0).floor_per_second(0).build();
    [saved, RetryBudget::builder(0.0).floor_per_second(1).build()]
}

/// The number of retries that are left.
fn left(budget: &RetryBudget) -> usize {
    (0..10).filter(|_| budget.withdraw()).count()
}

/// The hook sees the retry, and its panic reaches the caller.
#[tokio::test(start_paused = true)]
async fn r5_panicking_hook_costs_no_budget() {
    // Both requests deposit, the second one after the refund of the first one's retry.
    for (budget, retries) in of_one_retry().into_iter().zip([2, 1]) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&told);
        let policy = plain(2).budget(budget.clone()).on_decision(move |decision| {
            noted.lock().unwrap().push(decision.retry_in());
            panic!("the hook panics");
        });
        let service = ExponentialRetryLayer::new(policy).layer(Unstable::failing(9));
        for _ in 0..2 {
            let answer = AssertUnwindSafe(service.clone().oneshot(7)).catch_unwind().await;
            assert!(answer.is_err());
        }
        assert_eq!(*told.lock().unwrap(), [Ok(secs(1)), Ok(secs(1))]);
        assert_eq!(left(&budget), retries);
    }
}

/// A copy that cannot be claimed, and panics in calls that follow the withdrawal.
#[tokio::test(start_paused = true)]
async fn r5_retry_that_is_not_made_costs_no_budget() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fault {
        Unclaimed,
        PanicInClaim,
        PanicInPrepare,
    }
    #[derive(Clone)]
    struct Failing(Fault);
    impl CloneRequest<u32> for Failing {
        fn clone_request(&self, request: &u32) -> Option<u32> {
            Some(*request)
        }
        fn claim(&self, _: &u32) -> bool {
            assert_ne!(self.0, Fault::PanicInClaim);
            self.0 != Fault::Unclaimed
        }
    }
    impl Classify<u32, u32, Flaky> for Failing {
        fn classify(&self, _: &u32, _: &Result<u32, Flaky>) -> Verdict {
            Verdict::Retry
        }
        fn prepare(&self, _: &mut u32, _: u32) {
            assert_ne!(self.0, Fault::PanicInPrepare);
        }
    }
    for fault in [Fault::Unclaimed, Fault::PanicInClaim, Fault::PanicInPrepare] {
        for budget in of_one_retry() {
            let (seen, told) = (budget.clone(), Arc::new(Mutex::new(Vec::new())));
            let noted = Arc::clone(&told);
            let policy = plain(2)
                .budget(budget.clone())
                .classify(Failing(fault))
                .clone_with(Failing(fault))
                .on_decision(move |decision| {
                    noted.lock().unwrap().push((decision.retry_in(), seen.saved()));
                });
            let unstable = Unstable::failing(9);
            let service = ExponentialRetryLayer::new(policy).layer(unstable.clone());
            let answer = AssertUnwindSafe(service.oneshot(7)).catch_unwind().await;
            assert_eq!(answer.ok(), (fault == Fault::Unclaimed).then_some(Err(Flaky(1))));
            assert_eq!(unstable.calls_ms(), [0]);
            let saved = budget.saved();
            let decisions = match fault {
                Fault::Unclaimed => vec![(Err(StopReason::NotReplayable), saved)],
                Fault::PanicInClaim => Vec::new(),
                Fault::PanicInPrepare => vec![(Ok(secs(1)), 0)],
            };
            assert_eq!(*told.lock().unwrap(), decisions, "{fault:?}");
            assert_eq!(left(&budget), 1, "{fault:?}");
        }
    }
}

#[test]
fn r5_retry_without_a_timer_costs_no_budget() {
    for budget in of_one_retry() {
        let service = ExponentialRetryLayer::new(plain(2).budget(budget.clone()))
            .layer(service_fn(|_: u32| ready(Err::<u32, _>(Flaky(1)))));
        let call = || futures::executor::block_on(service.oneshot(7));
        assert!(catch_unwind(AssertUnwindSafe(call)).is_err(), "there is no runtime");
        assert_eq!(left(&budget), 1);
    }
}

/// Copies requests, and counts the copies.
#[derive(Clone, Default)]
struct Copying(Arc<AtomicU32>);

impl CloneRequest<u32> for Copying {
    fn clone_request(&self, request: &u32) -> Option<u32> {
        self.0.fetch_add(1, SeqCst);
        Some(*request)
    }
}

#[tokio::test(start_paused = true)]
async fn r7_last_attempt_that_is_not_observed_is_not_copied() {
    for attempts in 1..=4 {
        let (copying, closures) = (Copying::default(), Copying::default());
        let budget = RetryBudget::new(1.0);
        let policy = plain(attempts).budget(budget.clone()).max_elapsed(secs(60));
        let closure = |_: &u32, _: &Result<u32, Flaky>| Verdict::Retry;
        let unstable = Unstable::failing(9);
        let errors = ExponentialRetryLayer::new(policy.clone().clone_with(copying.clone()))
            .layer(unstable.clone());
        let all = ExponentialRetryLayer::new(policy.clone_with(closures.clone()).classify(closure))
            .layer(unstable.clone());
        assert_eq!(errors.oneshot(7).await, Err(Flaky(attempts)));
        assert_eq!(all.oneshot(7).await, Err(Flaky(2 * attempts)));
        assert_eq!(copying.0.load(SeqCst), attempts - 1);
        assert_eq!(closures.0.load(SeqCst), attempts - 1);
        if attempts == 1 {
            assert_eq!(budget.saved(), 2, "a request that is not copied deposits all the same");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn r7_last_attempt_is_not_copied_for_a_hook_that_is_disabled() {
    struct Switched(bool);
    impl OnDecision<u32, u32, Flaky> for Switched {
        fn on_decision(&self, _: &Decision, _: &u32, _: &Result<u32, Flaky>) {}
        fn is_enabled(&self) -> bool {
            self.0
        }
    }
    for enabled in [true, false] {
        for attempts in 1..=3 {
            let copying = Copying::default();
            let policy = plain(attempts).clone_with(copying.clone());
            let policy = policy.on_decision_with(Switched(enabled));
            let service = ExponentialRetryLayer::new(policy).layer(Unstable::failing(9));
            assert_eq!(service.oneshot(7).await, Err(Flaky(attempts)));
            assert_eq!(copying.0.load(SeqCst), attempts - u32::from(!enabled));
        }
    }
}

/// A hook sees that the attempts are spent, and a classifier that sees results sees the last one.
#[tokio::test(start_paused = true)]
async fn r7_last_attempt_that_is_observed_is_copied() {
    /// Sees results of at least the given number of attempts.
    #[derive(Clone)]
    struct Seeing(Option<u32>, Arc<Mutex<Vec<u32>>>);
    impl Classify<u32, u32, Flaky> for Seeing {
        fn classify(&self, _: &u32, _: &Result<u32, Flaky>) -> Verdict {
            Verdict::Retry
        }
        fn settled(&self, _: &u32, attempts: u32, _: &mut Result<u32, Flaky>) {
            self.1.lock().unwrap().push(attempts);
        }
        fn needs_settled(&self, attempts: u32) -> bool {
            self.0.is_some_and(|least| attempts >= least)
        }
    }
    for attempts in 1..=3 {
        let (copying, told) = (Copying::default(), Arc::new(Mutex::new(Vec::new())));
        let noted = Arc::clone(&told);
        let policy = plain(attempts).clone_with(copying.clone()).on_decision(move |decision| {
            noted
                .lock()
                .unwrap()
                .extend(decision.retry_in().err().map(|why| (decision.attempt(), why)));
        });
        let service = ExponentialRetryLayer::new(policy).layer(Unstable::failing(9));
        assert_eq!(service.oneshot(7).await, Err(Flaky(attempts)));
        assert_eq!(*told.lock().unwrap(), [(attempts, StopReason::MaxAttempts)]);
        assert_eq!(copying.0.load(SeqCst), attempts);

        for least in [None, Some(1), Some(2)] {
            let (copying, seen) = (Copying::default(), Arc::default());
            let seeing = Seeing(least, Arc::clone(&seen));
            let policy = plain(attempts).clone_with(copying.clone()).classify(seeing);
            let service = ExponentialRetryLayer::new(policy).layer(Unstable::failing(9));
            assert_eq!(service.oneshot(7).await, Err(Flaky(attempts)));
            let sees = least.is_some_and(|least| attempts >= least);
            assert_eq!(copying.0.load(SeqCst), attempts - u32::from(!sees));
            assert_eq!(*seen.lock().unwrap(), if sees { vec![attempts] } else { Vec::new() });
        }
    }
}

/// Readiness is driven before every attempt, and its error ends the retry.
#[tokio::test(start_paused = true)]
async fn c3_readiness_is_driven_before_every_attempt() {
    #[derive(Clone)]
    struct Dying {
        ready: bool,
        polled: Arc<AtomicU32>,
    }
    impl Service<u32> for Dying {
        type Response = ();
        type Error = Flaky;
        type Future = Ready<Result<(), Flaky>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Flaky>> {
            self.ready = true;
            match self.polled.fetch_add(1, SeqCst) {
                2 => Poll::Ready(Err(Flaky(1000))),
                _ => Poll::Ready(Ok(())),
            }
        }
        fn call(&mut self, _: u32) -> Self::Future {
            assert!(std::mem::take(&mut self.ready), "called unready");
            ready(Err(Flaky(1)))
        }
    }
    let polled = Arc::new(AtomicU32::new(0));
    let service = ExponentialRetryLayer::new(plain(10))
        .layer(Dying { ready: false, polled: Arc::clone(&polled) });
    assert_eq!(service.oneshot(0).await, Err(Flaky(1000)));
    assert_eq!(polled.load(SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn b1_permit_is_held_through_a_backoff_only_if_the_limit_is_outside() {
    let limit = ConcurrencyBackpressureLayer::new(1);
    let handle = limit.handle();
    let retry = ExponentialRetryLayer::new(plain(2));
    let outside =
        ServiceBuilder::new().layer(limit).layer(retry.clone()).service(Unstable::failing(1));
    let running = tokio::spawn(outside.oneshot(0));
    settle().await;
    assert_eq!(handle.in_flight(), 1, "held through the backoff");
    running.await.unwrap().unwrap();

    let limit = ConcurrencyBackpressureLayer::new(1);
    let handle = limit.handle();
    let inside = ServiceBuilder::new().layer(retry).layer(limit).service(Unstable::failing(1));
    let running = tokio::spawn(inside.oneshot(0));
    settle().await;
    assert_eq!(handle.in_flight(), 0, "free for other requests during the backoff");
    running.await.unwrap().unwrap();
}

/// The retry is outside of the rate limit, so each attempt is issued.
#[tokio::test(start_paused = true)]
async fn w1_retries_count_against_the_quota() {
    let unstable = Unstable::failing(3);
    let service = ServiceBuilder::new()
        .layer(ExponentialRetryLayer::new(
            ExponentialRetry::new(4).backoff(Backoff::new(ms(1), ms(1)).jitter(Jitter::None)),
        ))
        .layer(WindowRateLimitLayer::new(1, secs(1)))
        .service(unstable.clone());
    service.oneshot(0).await.unwrap();
    assert_eq!(unstable.calls_ms(), [0, 1000, 2000, 3000]);
}

/// The rejection of an inner limit is an error with a time that can be the hint.
#[tokio::test(start_paused = true)]
async fn r6_rejection_can_be_retried_after_its_time() {
    let policy = plain(2).classify(|_: &u32, result: &Result<u32, tower::BoxError>| {
        let rejected = result.as_ref().err().and_then(|error| Rejected::find(&**error));
        match rejected.and_then(Rejected::retry_after) {
            Some(wait) => Verdict::RetryAfter(wait),
            None => Verdict::Done,
        }
    });
    let service = ServiceBuilder::new()
        .layer(ExponentialRetryLayer::new(policy))
        .layer(WindowRateLimitLayer::new(1, secs(7)).max_queue(0))
        .service(Unstable::failing(0));
    let began = now();
    service.clone().oneshot(1).await.unwrap();
    service.oneshot(2).await.unwrap();
    assert_eq!(began.elapsed(), secs(7));
}
