//! The contract behind a `Buffer`, which shares tower's rate limit, and without one.
//!
//! The worker of the `Buffer` is the only caller of tower's limit. Ours runs through the same
//! script.

use std::sync::Arc;

use tower::{ServiceBuilder, buffer::Buffer};
use tower_floodgate::{WindowRateLimitLayer, find_cause};

use crate::{
    paused_time::settle,
    probe::{Failed, Mood, NOT_READY, Script},
    stacks::{Boxed, PERMITS, WINDOW},
    trial::Caller,
};

fn buffered() -> (Arc<Script>, Boxed) {
    let (probe, service) = Script::new();
    let limited = ServiceBuilder::new().rate_limit(PERMITS.into(), WINDOW).service(service);
    (probe, Boxed::new(Buffer::new(limited, PERMITS as usize)))
}

fn ours() -> (Arc<Script>, Boxed) {
    let (probe, service) = Script::new();
    let layer = WindowRateLimitLayer::new(PERMITS, WINDOW);
    (probe, Boxed::new(ServiceBuilder::new().layer(layer).service(service)))
}

#[tokio::test(start_paused = true)]
async fn c3_buffer_is_ready_while_the_inner_service_is_not() {
    for ((probe, mut service), ready) in [(buffered(), true), (ours(), false)] {
        probe.be(Mood::Pending);
        assert_eq!(service.is_ready(), ready);
    }
}

/// The response is an error that wraps the readiness error, as are all later responses.
#[tokio::test(start_paused = true)]
async fn c3_buffer_fails_for_good_after_one_readiness_error() {
    let (probe, mut service) = buffered();
    let mut other = service.clone();
    probe.be(Mood::Failing);
    let mut sent = service.send(1);
    settle().await;
    let error = sent.outcome().unwrap_err();
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

/// No difference: both limits count calls of the inner service.
#[tokio::test(start_paused = true)]
async fn c3_buffer_loses_no_permit_to_dropped_ready_clones() {
    for (probe, mut service) in [buffered(), ours()] {
        for _ in 0..10 {
            assert!(service.clone().is_ready());
            settle().await;
        }
        let mut sent = Vec::new();
        for request in 1..=PERMITS {
            sent.push(service.send(request));
            settle().await;
        }
        assert_eq!(probe.calls(), [1, 2], "the whole window can be used");
    }
}
