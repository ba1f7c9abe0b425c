//! Requests that bypass a layer.

use std::{
    future::{Ready, ready},
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{ConcurrencyBackpressureLayer, ExemptLayer, Rejected, WindowRateLimitLayer};

#[allow(clippy::trivially_copy_pass_by_ref, reason = "a predicate is given a reference")]
fn is_health(request: &u32) -> bool {
    *request == 0
}

/// Responds with the request. Ready at the second poll; a clone is not ready, and a call without
/// readiness is reported.
#[derive(Default)]
struct Probe {
    polled: usize,
    calls: Arc<AtomicUsize>,
}

impl Clone for Probe {
    fn clone(&self) -> Self {
        Self { polled: 0, calls: Arc::clone(&self.calls) }
    }
}

impl Service<u32> for Probe {
    type Response = u32;
    type Error = io::Error;
    type Future = Ready<io::Result<u32>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.polled += 1;
        if self.polled < 2 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        assert!(self.polled >= 2, "called unready");
        self.polled = 0;
        self.calls.fetch_add(1, SeqCst);
        ready(Ok(request))
    }
}

#[tokio::test]
async fn c3_exempt_calls_only_ready_services_on_both_ways() {
    let probe = Probe::default();
    let layer = ExemptLayer::new(is_health, ConcurrencyBackpressureLayer::new(1));
    let mut service = layer.layer(probe.clone());
    for request in [0, 1, 0, 1] {
        assert_eq!(service.ready().await.unwrap().call(request).await.unwrap(), request);
    }
    assert_eq!(probe.calls.load(SeqCst), 4);
}

#[tokio::test]
async fn b1_exempt_request_is_not_counted_delayed_or_rejected() {
    let limit = ConcurrencyBackpressureLayer::new(1).max_queue(0).reject_with(|_: Rejected| 503);
    let handle = limit.handle();
    let mut service = ExemptLayer::new(is_health, limit).layer(service_fn(|n: u32| async move {
        if n == 2 {
            std::future::pending::<()>().await;
        }
        Ok::<_, io::Error>(n)
    }));
    let mut slow = task::spawn(service.call(2));
    assert_pending!(slow.poll());
    assert_eq!(handle.in_flight(), 1);
    assert_eq!(service.call(1).await.unwrap(), 503);
    assert_eq!(service.call(0).await.unwrap(), 0);
    handle.close().unwrap();
    assert_eq!(service.call(0).await.unwrap(), 0);
    assert_eq!((handle.in_flight(), handle.rejected().total()), (1, 1));
    drop(slow);
    assert_eq!(handle.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn b2_calls_behind_an_exemption_wait_in_order() {
    let limit = ConcurrencyBackpressureLayer::new(1);
    let handle = limit.handle();
    let inner = service_fn(|n: u32| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok::<_, io::Error>(n)
    });
    let mut service = ExemptLayer::new(is_health, limit).layer(inner);
    let mut calls: Vec<_> = (1..=4).map(|n| task::spawn(service.call(n))).collect();
    assert_eq!(handle.queued(), 0, "nothing happens before it is polled");
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    assert_eq!((handle.in_flight(), handle.queued()), (1, 3));
    drop(calls.remove(1)); // leaves the queue
    assert_eq!((handle.in_flight(), handle.queued()), (1, 2));
    for (call, n) in calls.iter_mut().zip([1, 3, 4]) {
        assert_pending!(call.poll());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(assert_ready!(call.poll()).unwrap(), n);
    }
    assert_eq!((handle.in_flight(), handle.queued()), (0, 0));
}

/// Never ready.
#[derive(Clone)]
struct Dead;

impl Service<u32> for Dead {
    type Response = u32;
    type Error = io::Error;
    type Future = Ready<io::Result<u32>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::other("dead")))
    }

    fn call(&mut self, _: u32) -> Self::Future {
        unreachable!("called unready")
    }
}

#[tokio::test]
async fn c3_readiness_error_behind_an_exemption_is_returned_by_the_call() {
    let mut service = ExemptLayer::new(is_health, ConcurrencyBackpressureLayer::new(1)).layer(Dead);
    for request in [0, 1] {
        let service = service.ready().await.unwrap();
        assert_eq!(service.call(request).await.unwrap_err().to_string(), "dead");
    }
}

#[tokio::test(start_paused = true)]
async fn c10_errors_of_exempt_requests_become_those_of_the_layer() {
    let limit = WindowRateLimitLayer::new(1, Duration::from_secs(9)).max_queue(0);
    let service = ExemptLayer::new(is_health, limit).layer(service_fn(|n: u32| async move {
        if n == 0 { Err(io::Error::other("disk")) } else { Ok(n) }
    }));
    assert_eq!(service.clone().oneshot(1).await.unwrap(), 1);
    let error = service.clone().oneshot(0).await.unwrap_err();
    assert!(error.is::<io::Error>());
    let error = service.oneshot(1).await.unwrap_err();
    assert!(Rejected::find(&*error).is_some_and(Rejected::is_rate_limited));
}

#[test]
fn c6_exemption_allocates_nothing() {
    let limit = ConcurrencyBackpressureLayer::new(1);
    let inner = service_fn(|n: u32| ready(Ok::<_, io::Error>(n)));
    let mut service = ExemptLayer::new(is_health, limit).layer(inner);
    let mut cx = Context::from_waker(Waker::noop());
    let mut call = |n| assert!(Future::poll(pin!(service.call(n)), &mut cx).is_ready());
    call(1);
    assert_eq!(measure(|| (0..1000).for_each(|n| call(n % 2))).count_total, 0);
}
