//! The contract at limits of keys, which are decided in `call`: those that reject, and those at
//! which requests wait.

use std::time::Duration;

use tower::Layer;
use tower_floodgate::{
    Rejected,
    keyed::{KeyedLimitLayer, Rule, RuleHandle},
};

use crate::{
    probe::{CALLED_UNREADY, End, Failed, Mood, NOT_READY, Probe, Script},
    stacks::Boxed,
    trial::{Caller, message_of, waker},
};

const WINDOW: Duration = Duration::from_secs(3600);

/// All requests are of one key: two in a window, and one in flight.
fn rule() -> Rule<fn(&u32) -> Option<u32>> {
    fn key(request: &u32) -> Option<u32> {
        (*request < u32::MAX).then_some(1)
    }
    Rule::new("one", key as fn(&u32) -> Option<u32>).at_most(2, WINDOW).max_in_flight(1)
}

/// Returns a service that rejects, one at which requests wait, and handles of both.
fn both(probe: &Probe) -> [(Boxed, RuleHandle); 2] {
    let rejects = KeyedLimitLayer::new(rule());
    let waits = KeyedLimitLayer::new(rule()).wait(10 * WINDOW);
    let handles = [rejects.handle("one"), waits.handle("one")];
    let services =
        [Boxed::new(rejects.layer(probe.clone())), Boxed::new(waits.layer(probe.clone()))];
    let mut both = services.into_iter().zip(handles);
    std::array::from_fn(|_| both.next().unwrap())
}

#[tokio::test(start_paused = true)]
async fn c3_keyed_limit_calls_the_instance_that_was_polled_ready() {
    let (script, probe) = Script::new();
    for (mut service, handle) in both(&probe) {
        assert!(service.is_ready() && service.is_ready());
        let mut sent = service.dispatch(7);
        assert!(sent.is_pending());
        assert_eq!((handle.remaining(1_u32), handle.live_keys()), (1, 1), "one permit");
        script.end(7, End::Ok(8));
        assert_eq!(sent.result(), Ok(8));
        let mut sent = service.send(9);
        assert!(sent.is_pending());
        script.end(9, End::Err(Failed("unchanged")));
        assert_eq!(sent.result(), Err(Failed("unchanged")));
        assert_eq!(handle.remaining(1_u32), 0);
    }
    assert_eq!(script.calls(), [7, 9, 7, 9]);
}

#[tokio::test(start_paused = true)]
async fn c3_keyed_limit_passes_the_readiness_error_on_and_keeps_no_permit() {
    let (script, probe) = Script::new();
    let [(mut rejects, _), (mut waits, handle)] = both(&probe);
    script.be(Mood::Failing);
    assert_eq!(rejects.failure(), Some(NOT_READY));
    // That of a service which is always ready is an error of the call.
    let mut sent = waits.send(1);
    assert_eq!(sent.result(), Err(NOT_READY));
    assert_eq!((handle.remaining(1_u32), handle.live_keys()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn c3_call_of_a_keyed_limit_that_is_not_ready_panics_or_waits() {
    let (script, probe) = Script::new();
    let [(rejects, _), (waits, _)] = both(&probe);
    assert!(message_of(|| rejects.clone().dispatch(1)).contains(CALLED_UNREADY));
    let mut sent = waits.clone().dispatch(2);
    assert!(sent.is_pending(), "a clone is driven ready");
    script.end(2, End::Ok(2));
    assert_eq!(sent.result(), Ok(2));
}

#[tokio::test(start_paused = true)]
async fn c5_request_at_a_keyed_queue_wakes_the_task_that_polled_last() {
    let (script, probe) = Script::new();
    let [_, (mut service, handle)] = both(&probe);
    let (first, second) = (waker(), waker());
    let mut holder = service.send(1);
    assert!(holder.is_pending());
    let mut waiter = service.send(2);
    assert!(waiter.poll(&first.0).is_pending());
    for _ in 0..5 {
        assert!(waiter.poll(&second.0).is_pending());
    }
    assert_eq!((handle.queued(), script.calls().len()), (1, 1));
    // The clone of the waiter is not ready when its turn comes.
    script.be(Mood::Pending);
    drop(holder);
    assert_eq!((first.1.count(), second.1.count()), (0, 1));
    assert!(waiter.poll(&second.0).is_pending());
    script.be(Mood::Ready);
    assert_eq!((first.1.count(), second.1.count()), (0, 2));
    assert!(waiter.poll(&second.0).is_pending());
    script.end(2, End::Ok(5));
    assert_eq!(second.1.count(), 3);
    assert_eq!(waiter.result(), Ok(5));
}

#[tokio::test(start_paused = true)]
async fn c4_panics_around_a_keyed_limit_leak_no_permit() {
    let (script, probe) = Script::new();
    for (mut service, handle) in both(&probe) {
        assert!(service.is_ready());
        script.be(Mood::Panicking);
        message_of(|| service.clone().send(1).outcome());
        script.be(Mood::Ready);
        assert_eq!((handle.remaining(1_u32), handle.live_keys()), (2, 0));
        script.panic_in_call(true);
        message_of(|| service.clone().send(2).outcome());
        script.panic_in_call(false);
        assert_eq!(handle.remaining(1_u32), 1, "it may have been issued");
        let mut sent = service.send(3);
        assert!(sent.is_pending());
        script.end(3, End::Panic);
        message_of(|| sent.outcome());
        drop(sent);
        handle.forget(1_u32);
        assert_eq!(handle.live_keys(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn c4_drop_of_a_call_at_a_keyed_limit_in_each_state_leaves_nothing() {
    let (script, probe) = Script::new();
    let alive = script.alive();
    for (mut service, handle) in both(&probe) {
        drop(service.send(1)); // rejecting: issued; waiting: never polled
        handle.forget(1_u32);
        let mut in_flight = service.send(2);
        assert!(in_flight.is_pending());
        drop(in_flight);
        handle.forget(1_u32);
        assert_eq!((handle.remaining(1_u32), handle.queued(), handle.live_keys()), (2, 0, 0));
    }
    assert_eq!(script.alive(), alive);
}

#[tokio::test(start_paused = true)]
async fn c10_rejection_by_a_keyed_limit_is_the_result_of_the_call() {
    let (_script, probe) = Script::new();
    let [(rejects, handle), _] = both(&probe);
    let waits = KeyedLimitLayer::new(rule()).wait(Duration::ZERO).layer(probe);
    for mut service in [rejects, Boxed::new(waits)] {
        let mut holder = service.send(1);
        assert!(holder.is_pending());
        let error = service.send(2).outcome().unwrap_err();
        assert!(Rejected::find(&*error).is_some());
        assert!(service.is_ready());
    }
    assert_eq!(handle.rejected(), 1);
}
