//! The service behind every contender, and what a call is.

use std::{
    any::type_name,
    future::{Future, Pending, pending},
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use tower::{BoxError, Service, ServiceExt};

use crate::race::Batch;

/// Always ready, and answers at once with so many words.
///
/// Out of line, as a client or a handler would be: no layer can be compiled in the knowledge that it
/// doesn't fail.
#[derive(Clone)]
pub(crate) struct Bare<const WORDS: usize>;

pub(crate) struct Answer<const WORDS: usize>(u32);

/// A response that fits into a register.
pub(crate) const SMALL: Bare<1> = Bare;

impl<const WORDS: usize> Service<u32> for Bare<WORDS> {
    type Response = [u64; WORDS];
    type Error = BoxError;
    type Future = Answer<WORDS>;

    #[inline(never)]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        black_box(self);
        Poll::Ready(Ok(()))
    }

    #[inline(never)]
    fn call(&mut self, request: u32) -> Self::Future {
        Answer(black_box(request))
    }
}

impl<const WORDS: usize> Future for Answer<WORDS> {
    type Output = Result<[u64; WORDS], BoxError>;

    #[inline(never)]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok([black_box(self.0).into(); WORDS]))
    }
}

/// Never answers.
#[derive(Clone)]
pub(crate) struct Stuck;

impl Service<u32> for Stuck {
    type Response = ();
    type Error = BoxError;
    type Future = Pending<Result<(), Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u32) -> Self::Future {
        pending()
    }
}

/// Alone in its cache lines: two threads' services don't disturb each other by where they lie.
#[repr(align(128))]
struct Apart<S>(S);

/// Calls of one service, one after the other.
pub(crate) fn calls<S: Service<u32> + Send + 'static>(service: S) -> Batch {
    let mut apart = Apart(service);
    Box::new(move |calls| {
        let Apart(service) = &mut apart;
        (0..calls).for_each(|request| call(service, request));
    })
}

/// Calls, each of a new clone, as servers do it.
pub(crate) fn clones<S: Service<u32> + Clone + Send + 'static>(service: S) -> Batch {
    Box::new(move |calls| (0..calls).for_each(|request| call(&mut service.clone(), request)))
}

/// Calls of a bare service, each after something else.
pub(crate) fn after(mut first: impl FnMut() + Send + 'static) -> Batch {
    Box::new(move |calls| {
        let mut service = SMALL;
        for request in 0..calls {
            first();
            call(&mut service, request);
        }
    })
}

/// Calls that a runtime must drive, because somebody else's task takes part in them.
pub(crate) fn driven<S>(make: impl FnOnce() -> S) -> Batch
where
    S: Service<u32, Error = BoxError> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime without threads or I/O");
    // Within this runtime, and not the one that is entered already.
    let mut service = runtime.block_on(async { make() });
    Box::new(move |calls| {
        runtime.block_on(async {
            for request in 0..calls {
                let ready = service.ready().await.expect("it doesn't fail");
                black_box(ready.call(black_box(request)).await.expect("it doesn't fail"));
            }
        });
    })
}

pub(crate) fn call<S: Service<u32>>(service: &mut S, request: u32) {
    let service = black_box(service);
    let mut cx = Context::from_waker(Waker::noop());
    let readiness = service.poll_ready(&mut cx);
    let waited = !matches!(readiness, Poll::Ready(Ok(())));
    assert!(!waited, "a call had to wait, and measures nothing: {}", type_name::<S>());
    // Read where it is, as a caller would: moved on, it would be paid for again.
    match pin!(service.call(black_box(request))).poll(&mut cx) {
        Poll::Ready(Ok(response)) => drop(black_box(&response)),
        _ => panic!("a call was not answered: {}", type_name::<S>()),
    }
}
