//! Tests of admission in `call`, with a limit that depends on the request.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture, poll};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tower::{BoxError, ServiceExt, util::service_fn};
use tower_service::Service;

use super::{Admit, AdmitFor, CallFuture};
use crate::{
    reject::{RejectPolicyFor, RejectWithBoxError},
    rejected::{Limit, Reason, Rejected},
};

/// A request of a class. The response waits for the channel.
struct Request {
    class: usize,
    end: oneshot::Receiver<()>,
}

fn request(class: usize) -> (oneshot::Sender<()>, Request) {
    let (sender, end) = oneshot::channel();
    (sender, Request { class, end })
}

/// A limiter with permits for each class of requests. A class without a semaphore is rejected.
#[derive(Clone)]
struct PerClass(Vec<Arc<Semaphore>>);

impl PerClass {
    fn new<const N: usize>(permits: [usize; N]) -> Self {
        Self(permits.map(|permits| Arc::new(Semaphore::new(permits))).to_vec())
    }

    fn available(&self, class: usize) -> usize {
        self.0[class].available_permits()
    }

    fn acquire(&self, request: &Request) -> Acquire {
        let semaphore = self.0.get(request.class).cloned();
        let acquire = async move {
            let semaphore =
                semaphore.ok_or_else(|| Rejected::new(Limit::Rate, Reason::QueueFull, None))?;
            Ok(semaphore.acquire_owned().await.expect("is not closed"))
        };
        Acquire { future: acquire.boxed(), permit: None }
    }
}

struct Acquire {
    future: BoxFuture<'static, Result<OwnedSemaphorePermit, Rejected>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Admit for Acquire {
    type InFlight = OwnedSemaphorePermit;

    fn issue<F>(self, call: impl FnOnce() -> F) -> (F, OwnedSemaphorePermit) {
        (call(), self.permit.expect("is admitted"))
    }
}

impl<R, Response, Error> AdmitFor<R, Response, Error> for Acquire {
    fn poll_acquire(&mut self, _: &R, cx: &mut Context<'_>) -> Poll<Result<(), Rejected>> {
        let Self { future, permit } = self;
        future.poll_unpin(cx).map_ok(|acquired| *permit = Some(acquired))
    }

    fn settle(_: &mut OwnedSemaphorePermit, _: &Result<Response, Error>) {}
}

/// The service under test: admits in `call`.
#[derive(Clone)]
struct Limited<S> {
    inner: S,
    limiter: PerClass,
}

impl<S> Service<Request> for Limited<S>
where
    S: Service<Request, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    RejectWithBoxError: RejectPolicyFor<S::Response, BoxError, Error = BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let acquire = self.limiter.acquire(&request);
        CallFuture::new(acquire, self.inner.clone(), request, RejectWithBoxError).boxed()
    }
}

/// Responds with the class when the request's channel ends.
fn echo()
-> impl Service<Request, Response = usize, Error = BoxError, Future: Send> + Clone + Send + 'static
{
    service_fn(|request: Request| async move {
        let _ = request.end.await;
        Ok(request.class)
    })
}

#[tokio::test]
async fn b1_requests_in_flight_are_bounded_for_each_class() {
    let limiter = PerClass::new([1, 2]);
    let mut service = Limited { inner: echo(), limiter: limiter.clone() };
    let (end, slow) = request(0);
    let mut first = pin!(service.call(slow));
    assert!(poll!(&mut first).is_pending());
    assert_eq!((limiter.available(0), limiter.available(1)), (0, 2));

    let (second_end, behind) = request(0);
    let mut second = pin!(service.call(behind));
    assert!(poll!(&mut second).is_pending(), "its class has no permit left");
    let (other_end, other) = request(1);
    drop(other_end);
    assert_eq!(service.call(other).await.unwrap(), 1, "another class has");

    drop(second_end);
    assert!(poll!(&mut second).is_pending(), "still waits for a permit");
    drop(end);
    assert_eq!(first.await.unwrap(), 0);
    assert_eq!(second.await.unwrap(), 0);
    assert_eq!((limiter.available(0), limiter.available(1)), (1, 2));
}

#[tokio::test]
async fn b4_dropped_call_releases_its_permit_or_leaves_its_queue() {
    let limiter = PerClass::new([1]);
    let mut service = Limited { inner: echo(), limiter: limiter.clone() };
    let (_end, slow) = request(0);
    let mut holder = service.call(slow);
    assert!(poll!(&mut holder).is_pending());
    let (_end, behind) = request(0);
    let mut waiter = service.call(behind);
    assert!(poll!(&mut waiter).is_pending());
    drop(waiter);
    drop(holder);
    assert_eq!(limiter.available(0), 1);

    let (_end, request) = request(0);
    drop(service.call(request)); // never polled
    assert_eq!(limiter.available(0), 1);
}

/// The poll of the inner service would reserve a connection, for example.
#[tokio::test]
async fn c3_inner_service_is_not_driven_while_the_request_waits() {
    let polls = Arc::new(AtomicUsize::new(0));
    let inner = Polled { inner: echo(), polls: Arc::clone(&polls) };
    let mut service = Limited { inner, limiter: PerClass::new([1]) };
    let (end, slow) = request(0);
    let mut first = pin!(service.call(slow));
    assert!(poll!(&mut first).is_pending());
    let (_end, behind) = request(0);
    let mut second = pin!(service.call(behind));
    assert!(poll!(&mut second).is_pending());
    assert_eq!(polls.load(Relaxed), 1);
    drop(end);
    first.await.unwrap();
    assert!(poll!(&mut second).is_pending());
    assert_eq!(polls.load(Relaxed), 2);
}

#[tokio::test]
async fn c10_rejected_request_gets_the_outcome_of_its_policy() {
    let service = Limited { inner: echo(), limiter: PerClass::new([1]) };
    let (_end, unknown) = request(7);
    let error = service.oneshot(unknown).await.unwrap_err();
    assert!(Rejected::find(&*error).is_some_and(Rejected::is_queue_full));
}

#[tokio::test]
async fn c3_c4_error_of_readiness_is_an_error_of_the_call_and_releases_the_permit() {
    let limiter = PerClass::new([1]);
    let service = Limited { inner: Dead, limiter: limiter.clone() };
    let (_end, request) = request(0);
    assert_eq!(service.oneshot(request).await.unwrap_err().to_string(), "no connection");
    assert_eq!(limiter.available(0), 1);
}

/// Counts the polls of its readiness.
#[derive(Clone)]
struct Polled<S> {
    inner: S,
    polls: Arc<AtomicUsize>,
}

impl<S: Service<Request>> Service<Request> for Polled<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.polls.fetch_add(1, Relaxed);
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> S::Future {
        self.inner.call(request)
    }
}

/// Fails to become ready.
#[derive(Clone)]
struct Dead;

impl Service<Request> for Dead {
    type Response = Infallible;
    type Error = BoxError;
    type Future = std::future::Pending<Result<Infallible, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Err("no connection".into()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        unreachable!("it is never ready")
    }
}
