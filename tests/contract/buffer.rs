//! tower's rate limit is shared through a `Buffer`, whose worker is its one customer. What becomes of the
//! contract behind it, and what ours does on the same script.

use std::sync::Arc;

use tower::{ServiceBuilder, buffer::Buffer};
use tower_floodgate::{WindowRateLimitLayer, find_cause};

use crate::{
    probe::{Failed, Mood, NOT_READY, Script},
    stacks::{Boxed, PLACES, WINDOW},
    trial::Customer,
};

fn buffered() -> (Arc<Script>, Boxed) {
    let (probe, service) = Script::new();
    let limited = ServiceBuilder::new().rate_limit(PLACES as u64, WINDOW).service(service);
    (probe, Boxed::new(Buffer::new(limited, PLACES)))
}

fn ours() -> (Arc<Script>, Boxed) {
    let (probe, service) = Script::new();
    let layer = WindowRateLimitLayer::new(PLACES as u64, WINDOW);
    (probe, Boxed::new(ServiceBuilder::new().layer(layer).service(service)))
}

/// Lets the worker go on as far as it can.
async fn work() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_buffer_is_ready_though_the_inner_service_is_not() {
    for ((probe, mut service), ready) in [(buffered(), true), (ours(), false)] {
        probe.be(Mood::Pending);
        assert_eq!(service.is_ready(), ready);
    }
}

/// The caller is told by the answer, which wraps the error. All others are told the same, from then on.
#[tokio::test(start_paused = true)]
async fn a_buffer_dies_of_one_error_of_readiness() {
    let (probe, mut service) = buffered();
    let mut other = service.clone();
    probe.be(Mood::Failing);
    let mut sent = service.send(1);
    work().await;
    let error = sent.answer().unwrap_err();
    assert!(!error.is::<Failed>());
    assert_eq!(find_cause(&*error), Some(&NOT_READY));
    probe.be(Mood::Ready);
    assert_eq!(other.failure(), None, "an error, and not the probe's");

    let (probe, mut service) = ours();
    let mut other = service.clone();
    probe.be(Mood::Failing);
    assert_eq!(service.failure(), Some(NOT_READY));
    probe.be(Mood::Ready);
    drop(other.send(1));
}

/// No difference here: both count a place when the inner service is called.
#[tokio::test(start_paused = true)]
async fn a_buffer_loses_no_place_to_who_is_ready_and_dropped() {
    for (probe, mut service) in [buffered(), ours()] {
        for _ in 0..10 {
            assert!(service.clone().is_ready());
            work().await;
        }
        let mut sent = Vec::new();
        for request in (1..).take(PLACES) {
            sent.push(service.send(request));
            work().await;
        }
        assert_eq!(probe.calls(), [1, 2], "the whole window is there");
    }
}
