//! Batches of calls, and how one call is made.

use std::{
    any::type_name,
    future::Future,
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use tower::{BoxError, Service, ServiceExt};

use crate::service::SMALL;

/// Makes the given number of calls.
pub(crate) type Batch = Box<dyn FnMut(u32) + Send>;

/// Keeps a service alone in its cache lines, so that those of two threads do not share one.
#[repr(align(128))]
struct Apart<S>(S);

/// Calls one service, again and again.
pub(crate) fn calls<S: Service<u32> + Send + 'static>(service: S) -> Batch {
    let mut apart = Apart(service);
    Box::new(move |calls| {
        let Apart(service) = &mut apart;
        (0..calls).for_each(|request| call(service, request));
    })
}

/// Calls a new clone each time, as servers do.
pub(crate) fn clones<S: Service<u32> + Clone + Send + 'static>(service: S) -> Batch {
    Box::new(move |calls| (0..calls).for_each(|request| call(&mut service.clone(), request)))
}

/// Runs `first` before each call of a bare service.
pub(crate) fn after(mut first: impl FnMut() + Send + 'static) -> Batch {
    Box::new(move |calls| {
        let mut service = SMALL;
        for request in 0..calls {
            first();
            call(&mut service, request);
        }
    })
}

/// Calls a service that needs a runtime, because a task of its own takes part in each call.
pub(crate) fn driven<S>(make: impl FnOnce() -> S) -> Batch
where
    S: Service<u32, Error = BoxError> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime without threads or I/O");
    // The service spawns its task in this runtime, not in the one that is already entered.
    let mut service = runtime.block_on(async { make() });
    Box::new(move |calls| {
        runtime.block_on(async {
            for request in 0..calls {
                let ready = service.ready().await.expect("the service does not fail");
                let response = ready.call(black_box(request)).await;
                black_box(response.expect("the service does not fail"));
            }
        });
    })
}

/// Makes one call, which must neither wait nor fail.
pub(crate) fn call<S: Service<u32>>(service: &mut S, request: u32) {
    let service = black_box(service);
    let mut cx = Context::from_waker(Waker::noop());
    let readiness = service.poll_ready(&mut cx);
    let ready = matches!(readiness, Poll::Ready(Ok(())));
    assert!(ready, "the call must not wait: {}", type_name::<S>());
    // Read in place, as a caller would: moving the response would be charged to the layer.
    match pin!(service.call(black_box(request))).poll(&mut cx) {
        Poll::Ready(Ok(response)) => drop(black_box(&response)),
        _ => panic!("the call must succeed: {}", type_name::<S>()),
    }
}
