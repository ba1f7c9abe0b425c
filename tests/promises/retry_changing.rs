//! Settings of a retry that change while it runs.

use std::{
    future::{Ready, ready},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use tower::{Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    ExponentialRetry, ExponentialRetryLayer, InvalidSetting,
    retry::{Backoff, Jitter, Observed, RetryBudget, Verdict},
};

use crate::support::{ms, now, secs, settle};

fn constant(wait: Duration) -> Backoff {
    Backoff::new(wait, wait).jitter(Jitter::None)
}

/// A policy with a wait of a second.
fn named(
    max_attempts: u32,
) -> ExponentialRetry<
    tower_floodgate::retry::AnyError,
    tower_floodgate::retry::ByClone,
    tower_floodgate::retry::NoHook,
    Observed,
> {
    ExponentialRetry::new(max_attempts).backoff(constant(secs(1))).name("api")
}

fn failing(_: u32) -> Ready<Result<(), &'static str>> {
    ready(Err("no answer"))
}

/// Returns the time that a failing request takes.
async fn time_of<S: Service<u32, Error = &'static str> + Clone>(service: &S) -> Duration {
    let began = now();
    assert!(service.clone().oneshot(0).await.is_err());
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn r12_request_in_progress_keeps_the_attempts_of_its_beginning() {
    let layer = ExponentialRetryLayer::new(named(5));
    let (handle, service) = (layer.handle(), layer.layer(service_fn(failing)));
    let began = now();
    let first = tokio::spawn(service.clone().oneshot(1));
    tokio::time::sleep(ms(1500)).await;
    handle.set_max_attempts(2).unwrap();
    assert_eq!(time_of(&service).await, secs(1), "a second attempt, and no third");
    first.await.unwrap().unwrap_err();
    assert_eq!(began.elapsed(), secs(4), "five attempts");

    handle.set_max_attempts(4).unwrap();
    assert_eq!(time_of(&service).await, secs(3));
    handle.set_max_attempts(1).unwrap();
    assert_eq!(time_of(&service).await, secs(0));
    assert_eq!((handle.requests(), handle.retries()), (4, 4 + 1 + 3));
}

#[tokio::test(start_paused = true)]
async fn r12_one_attempt_can_be_raised() {
    let layer = ExponentialRetryLayer::new(named(1));
    let mut service = layer.layer(service_fn(failing));
    layer.handle().set_max_attempts(3).unwrap();
    // The same service and a clone of it.
    for _ in 0..2 {
        let began = now();
        service.ready().await.unwrap().call(0).await.unwrap_err();
        assert_eq!(began.elapsed(), secs(2));
        assert_eq!(time_of(&service).await, secs(2));
    }
}

#[tokio::test(start_paused = true)]
async fn r12_backoff_hint_and_elapsed_change_for_later_requests() {
    let policy = named(3).classify(|hint: &u32, _: &Result<(), &'static str>| match hint {
        0 => Verdict::Retry,
        hint => Verdict::RetryAfter(secs((*hint).into())),
    });
    let layer = ExponentialRetryLayer::new(policy);
    let (handle, service) = (layer.handle(), layer.layer(service_fn(failing)));

    handle.set_backoff(constant(secs(7)));
    assert_eq!(time_of(&service).await, secs(14));
    handle.set_max_elapsed(Some(secs(10)));
    assert_eq!(time_of(&service).await, secs(7), "the second wait would end after 14 s");
    handle.set_max_elapsed(None);
    assert_eq!(time_of(&service).await, secs(14));

    handle.set_max_hint(secs(9));
    let began = now();
    service.clone().oneshot(10).await.unwrap_err();
    assert_eq!(began.elapsed(), secs(0), "the hint is too long");
    handle.set_max_hint(secs(10));
    service.clone().oneshot(10).await.unwrap_err();
    assert_eq!(began.elapsed(), secs(20));
    assert_eq!((handle.give_ups().max_elapsed, handle.give_ups().max_hint), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn r12_budget_of_the_handle_changes_for_all_that_share_it() {
    let budget = RetryBudget::builder(0.0).floor_per_second(0).build();
    let layer = ExponentialRetryLayer::new(named(2).budget(budget.clone()));
    let (handle, service) = (layer.handle(), layer.layer(service_fn(failing)));
    assert_eq!(time_of(&service).await, secs(0));
    assert_eq!(handle.give_ups().budget_exhausted, 1);
    handle.budget().unwrap().set_ratio(1.0).unwrap();
    assert_eq!(budget.ratio(), 1.0);
    assert_eq!(time_of(&service).await, secs(1));

    let error = handle.budget().unwrap().set_ratio(f64::NAN).unwrap_err();
    assert_eq!(error.to_string(), "ratio is NaN: it must be between 0 and 1000");
    assert_eq!(budget.ratio(), 1.0);
    budget.set_floor_per_second(3);
    budget.set_max_saved(0);
    assert_eq!((budget.floor_per_second(), budget.max_saved(), budget.saved()), (3, 0, 0));
    assert_eq!(time_of(&service).await, secs(1), "paid from the floor");
    assert!(named(2).handle().budget().is_none());
}

#[test]
fn c7_r12_invalid_settings_are_reported_and_change_nothing() {
    let handle = named(3).handle();
    let before = handle.settings();
    let error: InvalidSetting = handle.set_max_attempts(0).unwrap_err();
    assert_eq!((error.setting(), error.value()), ("max_attempts", "0"));
    let mut settings = before;
    settings.max_attempts = 0;
    settings.max_hint = secs(1);
    assert_eq!(handle.set(settings), Err(error));
    assert_eq!(handle.settings(), before);

    let error = ExponentialRetry::new(3).try_name("").unwrap_err();
    assert_eq!(error.to_string(), "name is \"\": it must be a text that is not empty");
}

#[test]
fn r12_settings_return_as_they_were_set() {
    let handle = named(3).handle();
    for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated, Jitter::Uniform, Jitter::None]
    {
        let backoff = Backoff::new(Duration::from_nanos(3), secs(7)).factor(1.25).jitter(jitter);
        for max_elapsed in [None, Some(Duration::ZERO), Some(ms(1))] {
            let mut settings = handle.settings();
            settings.backoff = backoff;
            settings.max_attempts = u32::MAX;
            settings.max_hint = ms(5);
            settings.max_elapsed = max_elapsed;
            handle.set(settings).unwrap();
            assert_eq!(handle.settings(), settings);
        }
    }
    handle.set_max_elapsed(Some(Duration::MAX));
    assert_eq!(handle.settings().max_elapsed, None, "as long as no bound");
}

#[tokio::test(start_paused = true)]
async fn r12_handle_steers_the_policy_and_its_clones() {
    let policy = named(5);
    let handle = policy.handle();
    let clone = policy.clone();
    // These return the same policy, with another hook, classifier, copy and seed.
    let hooked = policy
        .on_decision(|_| {})
        .classify(|_: &u32, _: &Result<(), &'static str>| Verdict::Retry)
        .clone_with(|request: &u32| Some(*request))
        .seed(1);
    handle.set_max_attempts(2).unwrap();
    let clone = ExponentialRetryLayer::new(clone).layer(service_fn(failing));
    let hooked = ExponentialRetryLayer::new(hooked).layer(service_fn(failing));
    assert_eq!((time_of(&clone).await, time_of(&hooked).await), (secs(1), secs(1)));
    assert_eq!(handle.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn r12_policy_configured_after_its_handle_is_one_of_its_own() {
    let policy = named(3);
    let handle = policy.handle();
    handle.set_max_attempts(2).unwrap();
    let others = [
        policy.clone().backoff(constant(secs(1))),
        policy.clone().max_hint(secs(1)),
        policy.clone().max_elapsed(secs(60)),
        policy.clone().budget(RetryBudget::new(1.0)),
        policy.clone().name("other"),
    ];
    for other in others {
        let layer = ExponentialRetryLayer::new(other);
        assert_eq!(time_of(&layer.layer(service_fn(failing))).await, secs(2), "three attempts");
        assert_eq!((layer.handle().requests(), handle.requests()), (1, 0));
    }
    assert_eq!(
        time_of(&ExponentialRetryLayer::new(policy).layer(service_fn(failing))).await,
        secs(1)
    );
}

/// Settings that are set together are read together, on real threads.
#[test]
fn r12_settings_of_two_changes_are_not_mixed() {
    let handle = named(1).handle();
    let settings = |n: u32| {
        let mut settings = handle.settings();
        settings.max_attempts = n;
        settings.max_hint = secs(n.into());
        settings.max_elapsed = Some(secs(n.into()));
        settings.backoff = constant(secs(n.into()));
        settings
    };
    handle.set(settings(1)).unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (1..5_000).for_each(|n| handle.set(settings(n)).unwrap()));
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    let read = handle.settings();
                    assert_eq!(read, settings(read.max_attempts));
                }
            });
        }
    });
}

/// The terms of a request are those of its first attempt, also if it waits long for its retry.
#[tokio::test(start_paused = true)]
async fn r12_request_that_waits_keeps_its_terms() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let layer = ExponentialRetryLayer::new(named(3));
    let service = layer.layer(service_fn(move |_: u32| {
        seen.lock().unwrap().push(now());
        ready(Err::<(), _>("no answer"))
    }));
    let request = tokio::spawn(service.oneshot(0));
    settle().await;
    layer.handle().set_backoff(constant(secs(9)));
    layer.handle().set_max_elapsed(Some(ms(1)));
    request.await.unwrap().unwrap_err();
    let calls = calls.lock().unwrap();
    let waits: Vec<_> = calls.windows(2).map(|two| two[1] - two[0]).collect();
    assert_eq!(waits, [secs(1), secs(1)]);
}

#[test]
fn r12_debug_of_a_named_policy_shows_its_live_settings() {
    let policy = ExponentialRetry::new(3).name("api");
    policy.handle().set_max_attempts(7).unwrap();
    policy.handle().set_max_hint(secs(99));
    let shown = format!("{:?}", ExponentialRetryLayer::new(policy));
    assert!(shown.contains("max_attempts: 7") && shown.contains("max_hint: 99s"), "{shown}");
}
