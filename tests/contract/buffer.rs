//! tower's rate limit is shared through a `Buffer`, whose worker is its one customer. What becomes of the
//! contract behind it, and what ours does on the same script.

use std::sync::Arc;

use tower::{ServiceBuilder, buffer::Buffer};
use tower_floodgate::{WindowRateLimitLayer, caused_by};

use crate::{
    paused_time::settle,
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

#[tokio::test(start_paused = true)]
async fn c3_buffer_is_ready_while_the_inner_service_is_not() {
    for ((probe, mut service), ready) in [(buffered(), true), (ours(), false)] {
        probe.be(Mood::Pending);
        assert_eq!(service.is_ready(), ready);
    }
}

/// The caller is told by the answer, which wraps the error. All others are told the same, from then on.
#[tokio::test(start_paused = true)]
async fn c3_buffer_fails_for_good_after_one_readiness_error() {
    let (probe, mut service) = buffered();
    let mut other = service.clone();
    probe.be(Mood::Failing);
    let mut sent = service.send(1);
    settle().await;
    let error = sent.answer().unwrap_err();
    assert!(!error.is::<Failed>());
    assert_eq!(caused_by(&*error), Some(&NOT_READY));
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
async fn c3_buffer_loses_no_permit_to_dropped_ready_clones() {
    for (probe, mut service) in [buffered(), ours()] {
        for _ in 0..10 {
            assert!(service.clone().is_ready());
            settle().await;
        }
        let mut sent = Vec::new();
        for request in (1..).take(PLACES) {
            sent.push(service.send(request));
            settle().await;
        }
        assert_eq!(probe.calls(), [1, 2], "the whole window is there");
    }
}
