//! The function beside the layer: one policy, one script of results, and the same course.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::sleep;
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_floodgate::{
    DeadlineLayer, ExponentialRetry, ExponentialRetryLayer, Rejected,
    retry::{Backoff, ByClone, Decision, DecisionHook, Jitter, RetryBudget, Verdict, Waits, retry},
};

use super::hold;
use crate::support::{ms, now};

/// The result of an attempt, which says how it is to be judged.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Outcome(Verdict, bool);

impl Outcome {
    fn result(self) -> Result<Self, Failed> {
        if self.1 { Ok(self) } else { Err(Failed(self)) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Failed(Outcome);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Failed {}

type Judge = fn(&(), &Result<Outcome, Failed>) -> Verdict;

fn judge((): &(), result: &Result<Outcome, Failed>) -> Verdict {
    match *result {
        Ok(Outcome(verdict, _)) | Err(Failed(Outcome(verdict, _))) => verdict,
    }
}

#[derive(Clone, Debug)]
enum Kind {
    Backoff(Backoff),
    Chain(Vec<u64>, Jitter),
    /// Grows by this many milliseconds per retry.
    Linear(u32, Jitter),
}

/// Times are in milliseconds.
#[derive(Clone, Debug)]
struct Case {
    max_attempts: u32,
    kind: Kind,
    max_elapsed: Option<u64>,
    max_hint: u64,
    /// The retries that a request pays for, in hundredths.
    budget: Option<u32>,
    has_hook: bool,
    seed: u64,
    timeout: Option<u64>,
    /// The duration and the result of each attempt. The last one repeats.
    script: Vec<(u64, Outcome)>,
}

fn kind() -> impl Strategy<Value = Kind> {
    let jitter = proptest::sample::select(vec![
        Jitter::Full,
        Jitter::Equal,
        Jitter::Decorrelated,
        Jitter::Uniform,
        Jitter::None,
    ]);
    let simple = proptest::sample::select(vec![Jitter::Full, Jitter::Equal, Jitter::None]);
    let exponential =
        (1..500_u64, 0..5000_u64, 1.0..4.0, jitter).prop_map(|(base, more, factor, jitter)| {
            Backoff::new(ms(base), ms(base + more)).factor(factor).jitter(jitter)
        });
    let flat = prop_oneof![
        (1..2000_u64).prop_map(|wait| Backoff::fixed(ms(wait))),
        (0..500_u64, 1..2000_u64)
            .prop_map(|(low, more)| Backoff::uniform(ms(low)..=ms(low + more))),
    ];
    prop_oneof![
        exponential.prop_map(Kind::Backoff),
        flat.prop_map(Kind::Backoff),
        (proptest::collection::vec(1..3000_u64, 1..5), simple.clone())
            .prop_map(|(waits, jitter)| Kind::Chain(waits, jitter)),
        (0..1000_u32, simple).prop_map(|(step, jitter)| Kind::Linear(step, jitter)),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let verdict = prop_oneof![
        1 => Just(Verdict::Done),
        8 => Just(Verdict::Retry),
        3 => (0..4000_u64).prop_map(|wait| Verdict::RetryAfter(ms(wait))),
        2 => (0..4000_u64).prop_map(|wait| Verdict::RetryExactly(ms(wait))),
        1 => Just(Verdict::Never),
    ];
    (verdict, any::<bool>()).prop_map(|(verdict, is_ok)| Outcome(verdict, is_ok))
}

fn case() -> impl Strategy<Value = Case> {
    let attempts = prop_oneof![1..12_u32, Just(u32::MAX)];
    let bounds = (
        proptest::option::of(0..20_000_u64),
        500..5000_u64,
        proptest::option::of(0..300_u32),
        // Ends every case: without a bound the last result could be retried forever.
        prop_oneof![Just(Some(30_000)), (0..20_000_u64).prop_map(Some)],
    );
    let script = proptest::collection::vec((0..800_u64, outcome()), 1..14);
    (attempts, kind(), bounds, any::<bool>(), any::<u64>(), script).prop_map(
        |(max_attempts, kind, bounds, has_hook, seed, script)| {
            let (max_elapsed, max_hint, budget, timeout) = bounds;
            // A bounded number of attempts ends a case without a deadline.
            let timeout = timeout.filter(|_| max_attempts == u32::MAX || seed % 2 == 0);
            Case {
                max_attempts,
                kind,
                max_elapsed,
                max_hint,
                budget,
                has_hook,
                seed,
                timeout,
                script,
            }
        },
    )
}

/// The course of a request: the times of its attempts, the decisions, the result, and its time.
type Course = (Vec<Duration>, Vec<Decision>, Result<Outcome, String>, Duration);

impl Case {
    /// A policy that shares nothing with those made before.
    fn policy(&self, decisions: &Arc<Mutex<Vec<Decision>>>) -> Policy {
        let Self { max_attempts, max_elapsed, max_hint, budget, has_hook, seed, .. } = *self;
        let policy = ExponentialRetry::new(max_attempts).max_hint(ms(max_hint)).seed(seed);
        let policy = match &self.kind {
            Kind::Backoff(backoff) => policy.backoff(*backoff),
            Kind::Chain(waits, jitter) => {
                policy.waits(Waits::chain(waits.iter().copied().map(ms)).jitter(*jitter))
            }
            &Kind::Linear(step, jitter) => {
                policy.waits(Waits::from_fn(move |retry| ms((step * retry).into())).jitter(jitter))
            }
        };
        let policy = match max_elapsed {
            Some(max) => policy.max_elapsed(ms(max)),
            None => policy,
        };
        let policy = match budget {
            Some(ratio) => policy
                .budget(RetryBudget::builder(f64::from(ratio) / 100.0).floor_per_second(1).build()),
            None => policy,
        };
        let policy = policy.classify(judge as Judge);
        if has_hook {
            let noted = Arc::clone(decisions);
            Policy::Hooked(
                policy.on_decision(move |decision| noted.lock().unwrap().push(*decision)),
            )
        } else {
            Policy::Plain(policy)
        }
    }

    /// Sends a request three times over, so that jitter and budget go on.
    async fn course(&self, by_function: bool) -> Vec<Course> {
        let decisions = Arc::default();
        let policy = self.policy(&decisions);
        let mut courses = Vec::new();
        for _ in 0..3 {
            let (began, times) = (now(), Mutex::new(Vec::new()));
            let attempt = || {
                let mut times = times.lock().unwrap();
                let (takes, outcome) = self.script[times.len().min(self.script.len() - 1)];
                times.push(began.elapsed());
                async move {
                    sleep(ms(takes)).await;
                    outcome.result()
                }
            };
            let result = match (policy.clone(), by_function) {
                (Policy::Plain(policy), true) => self.bounded(retry(policy, attempt)).await,
                (Policy::Hooked(policy), true) => self.bounded(retry(policy, attempt)).await,
                (Policy::Plain(policy), false) => {
                    let layer = ExponentialRetryLayer::new(policy);
                    self.bounded(layer.layer(service_fn(|()| attempt())).oneshot(())).await
                }
                (Policy::Hooked(policy), false) => {
                    let layer = ExponentialRetryLayer::new(policy);
                    self.bounded(layer.layer(service_fn(|()| attempt())).oneshot(())).await
                }
            };
            let elapsed = began.elapsed();
            let decided = std::mem::take(&mut *decisions.lock().unwrap());
            courses.push((times.into_inner().unwrap(), decided, result, elapsed));
        }
        courses
    }

    /// Awaits `future` in a request with the deadline, if there is one.
    async fn bounded(
        &self,
        future: impl Future<Output = Result<Outcome, Failed>>,
    ) -> Result<Outcome, String> {
        let Some(timeout) = self.timeout else {
            return future.await.map_err(|error| error.to_string());
        };
        let service = DeadlineLayer::new(ms(timeout)).layer(service_fn(|future| future));
        let result: Result<_, BoxError> = service.oneshot(future).await;
        result.map_err(|error| match Rejected::find(&*error) {
            Some(_) => "too late".to_owned(),
            None => error.to_string(),
        })
    }
}

#[derive(Clone)]
enum Policy {
    Plain(ExponentialRetry<Judge>),
    Hooked(ExponentialRetry<Judge, ByClone, DecisionHook>),
}

/// Attempts begin at the same times, decisions are equal, and so are the results.
#[test]
fn r13_r14_function_takes_the_course_of_the_layer() {
    hold(file!(), case(), |case| async move {
        let (function, layer) = (case.course(true).await, case.course(false).await);
        prop_assert_eq!(&function, &layer);
        Ok(function.iter().map(|(times, ..)| times.len()).sum())
    });
}
