//! The cost of a call through an `ExponentialRetryLayer`: `cargo bench --bench retry`.

mod support;

use std::time::Duration;

use divan::{Bencher, black_box};
use tokio::runtime::{Builder, Runtime};
use tower::{BoxError, Layer, retry::Policy};
use tower_floodgate::{ExponentialRetry, ExponentialRetryLayer, retry::RetryBudget};

use self::support::{INNER, Inner, call};

fn main() {
    divan::main();
}

const ATTEMPTS: u32 = 3;

#[divan::bench]
fn succeeds(bencher: Bencher<'_, '_>) {
    let mut service = ExponentialRetryLayer::new(ExponentialRetry::new(ATTEMPTS)).layer(INNER);
    bencher.bench_local(|| call(&mut service).is_ok());
}

/// A clone per request, as servers make it.
#[divan::bench]
fn clone_per_request(bencher: Bencher<'_, '_>) {
    let service = ExponentialRetryLayer::new(ExponentialRetry::new(ATTEMPTS)).layer(INNER);
    bencher.bench_local(|| call(&mut black_box(&service).clone()).is_ok());
}

/// The clock is read for each request.
#[divan::bench]
fn succeeds_with_max_elapsed(bencher: Bencher<'_, '_>) {
    let policy = ExponentialRetry::new(ATTEMPTS).max_elapsed(Duration::from_secs(60));
    let mut service = ExponentialRetryLayer::new(policy).layer(INNER);
    bencher.bench_local(|| call(&mut service).is_ok());
}

/// Each request makes a deposit: the budget never fills.
#[divan::bench]
fn succeeds_with_budget(bencher: Bencher<'_, '_>) {
    let budget = RetryBudget::builder(0.25).max_saved(u32::MAX).build();
    let policy = ExponentialRetry::new(ATTEMPTS).budget(budget);
    let mut service = ExponentialRetryLayer::new(policy).layer(INNER);
    bencher.bench_local(|| call(&mut service).is_ok());
}

/// The error of the only attempt is returned.
#[divan::bench]
fn fails(bencher: Bencher<'_, '_>) {
    let policy = ExponentialRetry::new(1);
    let mut service = ExponentialRetryLayer::new(policy).layer(Inner { fails: true });
    bencher.bench_local(|| assert!(call(&mut service).is_err(), "the service fails"));
}

/// The decision to retry, and the backoff, without the wait.
#[divan::bench]
fn decides_to_retry(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let policy = ExponentialRetry::new(ATTEMPTS);
    bencher.bench_local(|| decide(&policy));
}

/// The same with a withdrawal from a budget that has enough for every retry.
#[divan::bench]
fn decides_to_retry_with_budget(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let budget = RetryBudget::new(1.0);
    let policy = ExponentialRetry::new(ATTEMPTS).budget(budget.clone());
    bencher.bench_local(|| {
        budget.deposit();
        decide(&policy);
    });
}

fn decide(policy: &(impl Policy<u32, u32, BoxError> + Clone)) {
    let mut policy = black_box(policy).clone();
    let mut request = 1;
    assert!(policy.clone_request(&request).is_some(), "the request is copied");
    let mut result = Err(BoxError::from("the call fails"));
    assert!(policy.retry(&mut request, &mut result).is_some(), "the request is retried");
}

/// A retry creates its timer in this runtime.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime without I/O")
}
