//! A policy whose settings change between requests, against the settings of each beginning.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use proptest::prelude::*;
use tokio::{task::JoinHandle, time::Instant};
use tower::{Layer, ServiceExt, service_fn};
use tower_floodgate::{
    ExponentialRetry, ExponentialRetryLayer,
    retry::{Backoff, Jitter, Verdict},
};

use super::hold;
use crate::support::{ms, now, settle};

#[derive(Clone, Debug)]
enum Step {
    /// A request whose attempts have these outcomes, and succeed then.
    Request(Vec<Outcome>),
    SetMaxAttempts(u32),
    /// In milliseconds.
    SetBackoff(u64),
    SetMaxHint(u64),
    SetMaxElapsed(Option<u64>),
    /// All but the longest elapsed time, in one step.
    Set(u32, u64, u64),
    Advance(u64),
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Retry,
    /// In milliseconds.
    RetryAfter(u64),
    Never,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Retry),
        1 => (1..3_000_u64).prop_map(Outcome::RetryAfter),
        1 => Just(Outcome::Never),
    ];
    let (attempts, millis) = (1..6_u32, 1..2_000_u64);
    let step = prop_oneof![
        4 => proptest::collection::vec(outcome, 0..8).prop_map(Step::Request),
        1 => attempts.clone().prop_map(Step::SetMaxAttempts),
        1 => millis.clone().prop_map(Step::SetBackoff),
        1 => millis.clone().prop_map(Step::SetMaxHint),
        1 => proptest::option::of(millis.clone()).prop_map(Step::SetMaxElapsed),
        1 => (attempts, millis.clone(), millis.clone()).prop_map(|(a, b, h)| Step::Set(a, b, h)),
        3 => millis.prop_map(Step::Advance),
    ];
    proptest::collection::vec(step, 1..60)
}

/// The settings, in milliseconds.
#[derive(Clone, Copy)]
struct Terms {
    max_attempts: u32,
    backoff: u64,
    max_hint: u64,
    max_elapsed: Option<u64>,
}

/// Returns the times of the attempts, in milliseconds since the first.
fn expected(terms: Terms, outcomes: &[Outcome]) -> Vec<u64> {
    let mut attempts = vec![0];
    for outcome in outcomes {
        let wait = match *outcome {
            Outcome::Never => break,
            Outcome::RetryAfter(hint) if hint > terms.max_hint => break,
            Outcome::RetryAfter(hint) => hint.max(terms.backoff),
            Outcome::Retry => terms.backoff,
        };
        let next = attempts[attempts.len() - 1] + wait;
        let is_spent = attempts.len() == terms.max_attempts as usize;
        if is_spent || terms.max_elapsed.is_some_and(|max| next > max) {
            break;
        }
        attempts.push(next);
    }
    attempts
}

/// Constant, so that each wait is known.
fn backoff(millis: u64) -> Backoff {
    Backoff::new(ms(millis), ms(millis)).jitter(Jitter::None)
}

type Outcomes = Arc<Mutex<VecDeque<Outcome>>>;
type Times = Arc<Mutex<Vec<Instant>>>;

/// Each request is carried out by the settings of its beginning, whatever is changed meanwhile, and
/// is counted once.
#[test]
fn o5_r12_requests_among_changed_settings_agree_with_the_naive_policy() {
    hold(file!(), steps(), |steps| async move {
        let mut terms =
            Terms { max_attempts: 3, backoff: 100, max_hint: 60_000, max_elapsed: None };
        let policy = ExponentialRetry::new(3)
            .backoff(backoff(100))
            .classify(|_: &(Outcomes, Times), result: &Result<Outcome, ()>| match result {
                Ok(Outcome::Retry) => Verdict::Retry,
                Ok(Outcome::RetryAfter(hint)) => Verdict::RetryAfter(ms(*hint)),
                Ok(Outcome::Never) => Verdict::Never,
                Err(()) => Verdict::Done,
            })
            .name("oracle");
        let handle = policy.handle();
        let service = ExponentialRetryLayer::new(policy).layer(service_fn(
            |(outcomes, times): (Outcomes, Times)| async move {
                times.lock().unwrap().push(now());
                outcomes.lock().unwrap().pop_front().ok_or(())
            },
        ));

        let mut requests: Vec<(Vec<u64>, Times, JoinHandle<_>)> = Vec::new();
        let taken = steps.len();
        for step in steps {
            match step {
                Step::Request(outcomes) => {
                    let times = Times::default();
                    let expected = expected(terms, &outcomes);
                    let outcomes = Arc::new(Mutex::new(outcomes.into()));
                    let call = service.clone().oneshot((outcomes, Arc::clone(&times)));
                    requests.push((expected, times, tokio::spawn(call)));
                    settle().await;
                }
                Step::SetMaxAttempts(to) => {
                    terms.max_attempts = to;
                    prop_assert!(handle.set_max_attempts(to).is_ok());
                }
                Step::SetBackoff(to) => {
                    terms.backoff = to;
                    handle.set_backoff(backoff(to));
                }
                Step::SetMaxHint(to) => {
                    terms.max_hint = to;
                    handle.set_max_hint(ms(to));
                }
                Step::SetMaxElapsed(to) => {
                    terms.max_elapsed = to;
                    handle.set_max_elapsed(to.map(ms));
                }
                Step::Set(max_attempts, millis, max_hint) => {
                    terms = Terms { max_attempts, backoff: millis, max_hint, ..terms };
                    let mut settings = handle.settings();
                    settings.max_attempts = max_attempts;
                    settings.backoff = backoff(millis);
                    settings.max_hint = ms(max_hint);
                    prop_assert!(handle.set(settings).is_ok());
                }
                Step::Advance(millis) => tokio::time::sleep(ms(millis)).await,
            }
        }
        let (begun, mut retried) = (requests.len() as u64, 0);
        for (expected, times, request) in requests {
            let _: Result<Outcome, ()> = request.await.unwrap();
            let times = times.lock().unwrap();
            let since_first: Vec<_> =
                times.iter().map(|time| (*time - times[0]).as_millis() as u64).collect();
            retried += expected.len() as u64 - 1;
            prop_assert_eq!(since_first, expected);
        }
        prop_assert_eq!((handle.requests(), handle.retries()), (begun, retried));
        Ok(taken)
    });
}
