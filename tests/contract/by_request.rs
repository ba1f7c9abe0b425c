//! The contract at a concurrency limit that reads the terms of its requests, and admits in `call`.

use std::time::Duration;

use tower::Layer;
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, Rejected,
    backpressure::{Adaptive, Class, ConcurrencyPermit, Terms},
};

use crate::{
    probe::{End, Failed, Mood, NOT_READY, Script},
    stacks::Boxed,
    trial::{Caller, message_of, waker},
};

/// A limit of one request in flight, and one in the queue.
struct Limit {
    handle: ConcurrencyBackpressureHandle,
    /// All but the last permit of a limit that adapts, so that the request which takes it is
    /// measured.
    held: Option<ConcurrencyPermit>,
}

impl Limit {
    fn in_flight(&self) -> u32 {
        self.handle.in_flight() - u32::from(self.held.is_some())
    }

    fn queued(&self) -> u32 {
        self.handle.queued()
    }
}

/// Runs a check at a fixed limit and at one that adapts. Requests have a deadline that is far away.
fn on_both(check: impl Fn(&Script, Boxed, Limit)) {
    let terms = |_: &u32| Terms::new().deadline(Duration::from_secs(3600)).class(Class::Critical);

    let (script, probe) = Script::new();
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(1).by_request(terms);
    let limit = Limit { handle: layer.handle(), held: None };
    check(&script, Boxed::new(layer.layer(probe)), limit);

    let (script, probe) = Script::new();
    let layer = ConcurrencyBackpressureLayer::adaptive(Adaptive::new().between(1, 2));
    let layer = layer.max_queue(1).by_request(terms);
    let handle = layer.handle();
    assert_eq!(handle.limit(), 2, "the upper one of two, for more requests than any check makes");
    let limit = Limit { held: handle.try_acquire().ok(), handle };
    check(&script, Boxed::new(layer.layer(probe)), limit);
}

#[tokio::test(start_paused = true)]
async fn c3_limit_by_request_drives_a_clone_and_calls_that() {
    on_both(|script, mut service, limit| {
        assert!(service.is_ready() && service.is_ready());
        assert_eq!(limit.in_flight(), 0, "readiness acquires nothing");
        let mut sent = service.dispatch(7);
        assert!(sent.is_pending());
        assert_eq!(limit.in_flight(), 1);
        script.end(7, End::Ok(8));
        assert_eq!(sent.result(), Ok(8));
        let mut sent = service.send(9);
        assert!(sent.is_pending());
        script.end(9, End::Err(Failed("unchanged")));
        assert_eq!(sent.result(), Err(Failed("unchanged")));
        assert_eq!((script.calls(), limit.in_flight()), (vec![7, 9], 0));
    });
}

#[tokio::test(start_paused = true)]
async fn c3_c4_limit_by_request_passes_the_readiness_error_on_and_keeps_no_permit() {
    on_both(|script, mut service, limit| {
        script.be(Mood::Failing);
        assert_eq!(service.send(1).result(), Err(NOT_READY));
        assert_eq!(limit.in_flight(), 0);
    });
}

#[tokio::test(start_paused = true)]
async fn c5_request_at_a_limit_by_request_wakes_the_task_that_polled_last() {
    on_both(|script, mut service, limit| {
        let (first, second) = (waker(), waker());
        let mut holder = service.send(1);
        assert!(holder.is_pending());
        let mut waiter = service.send(2);
        assert!(waiter.poll(&first.0).is_pending());
        for _ in 0..5 {
            assert!(waiter.poll(&second.0).is_pending());
        }
        assert_eq!((limit.queued(), script.calls().len()), (1, 1));
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
    });
}

#[tokio::test(start_paused = true)]
async fn c4_panics_around_a_limit_by_request_leak_no_permit() {
    on_both(|script, mut service, limit| {
        script.be(Mood::Panicking);
        message_of(|| service.clone().send(1).outcome());
        script.be(Mood::Ready);
        assert_eq!(limit.in_flight(), 0);
        script.panic_in_call(true);
        message_of(|| service.clone().send(2).outcome());
        script.panic_in_call(false);
        assert_eq!(limit.in_flight(), 0);
        let mut sent = service.send(3);
        assert!(sent.is_pending());
        script.end(3, End::Panic);
        message_of(|| sent.outcome());
        drop(sent);
        assert_eq!(limit.in_flight(), 0);
    });
}

#[tokio::test(start_paused = true)]
async fn c4_drop_of_a_call_at_a_limit_by_request_in_each_state_leaves_nothing() {
    on_both(|script, mut service, limit| {
        let alive = script.alive();
        drop(service.send(1)); // never polled
        let mut holder = service.send(2);
        assert!(holder.is_pending());
        let mut waiter = service.send(3);
        assert!(waiter.is_pending());
        assert_eq!((limit.in_flight(), limit.queued()), (1, 1));
        drop(waiter);
        assert_eq!(limit.queued(), 0);
        script.be(Mood::Pending);
        let mut granted = service.send(4);
        assert!(granted.is_pending());
        drop(holder); // the permit is granted to the one that is driven next
        assert!(granted.is_pending());
        assert_eq!(limit.in_flight(), 1);
        drop(granted);
        script.be(Mood::Ready);
        assert_eq!((limit.in_flight(), script.alive()), (0, alive));
    });
}

#[tokio::test(start_paused = true)]
async fn c10_rejection_by_a_limit_by_request_is_the_result_of_the_call() {
    on_both(|_, mut service, limit| {
        let mut requests: Vec<_> = (1..3).map(|request| service.send(request)).collect();
        assert!(requests.iter_mut().all(|sent| sent.is_pending()));
        assert!(service.is_ready());
        let error = service.send(3).outcome().unwrap_err();
        assert!(Rejected::find(&*error).unwrap().is_queue_full());
        assert_eq!(limit.handle.rejected().queue_full, 1);
    });
}
