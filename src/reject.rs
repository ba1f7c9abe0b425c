//! How a layer answers when it turns a request away.
//!
//! | the layer | answers with | error type of the service |
//! | --- | --- | --- |
//! | as made by `new` | nothing: [`NeverReject`], nobody is turned away | the inner one, untouched |
//! | bounded by `max_queue` or `max_wait` | an error: [`RejectWithBoxError`] | `BoxError` ([`Rejected::find`] finds the rejection in it) |
//! | ... then `.reject_with_error::<E>()` | an error of your own: [`RejectWithError<E>`] | `E`, made by `From` of either |
//! | ... then `.reject_with(f)` | a response: [`RejectWith<F>`] | the inner one, untouched |
//!
//! Responding suits servers: axum wants services that don't fail, and gets them without a
//! `HandleErrorLayer`. Ready-made are `server::http_rejection` and `server::grpc_rejection`, with the features `server` and `grpc`.
//!
//! Turning away is never an error of `poll_ready`, which would mean that the service is dead: the service
//! becomes ready, and `call` gives the answer, whenever it comes. So don't poll a service ready long before
//! there is a request.
//!
//! ```
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{ConcurrencyBackpressureLayer, Rejected};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), std::convert::Infallible> {
//! let layer = ConcurrencyBackpressureLayer::new(1)
//!     .max_queue(0)
//!     .reject_with(|rejected: Rejected| format!("503 {rejected}"));
//! let mut service = ServiceBuilder::new()
//!     .layer(layer)
//!     .service(service_fn(|request: &'static str| async move {
//!         Ok::<_, std::convert::Infallible>(format!("200 {request}"))
//!     }));
//!
//! let first = service.ready().await?.call("hello");
//! let second = service.ready().await?.call("world").await?;
//! assert_eq!(second, "503 too many requests in flight, and no more may wait");
//! assert_eq!(first.await?, "200 hello");
//! # Ok(())
//! # }
//! ```

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;
use tower::BoxError;

use crate::rejected::Rejected;

/// What stands for the answer in the type of a layer.
///
/// Sealed: [`NeverReject`], [`RejectWithBoxError`], [`RejectWithError`] and [`RejectWith`] are all there are.
pub trait RejectPolicy: Clone + sealed::Sealed {
    /// The answer of the same layer once it can turn requests away.
    type Bounded: RejectPolicy;
    /// [`NeverReject`] if nobody can be turned away, [`Rejected`] otherwise: the parameter of the handle.
    type Outcome;

    /// Is everybody let wait, and nobody turned away?
    #[doc(hidden)]
    const WAITS: bool = false;

    #[doc(hidden)]
    fn bounded(self) -> Self::Bounded;

    /// What the future of a request that was turned away holds. Where nobody is, there is no such thing, and
    /// futures need no room for it.
    #[doc(hidden)]
    type Rejection: fmt::Debug + Send + Sync + Unpin;

    #[doc(hidden)]
    fn hold(rejected: Rejected) -> Self::Rejection;
}

/// An answer that fits a response and an error type of an inner service.
pub trait RejectPolicyFor<Response, InnerError>: RejectPolicy {
    /// The error type of the limited service.
    type Error;

    /// The answer to a request that was turned away.
    #[doc(hidden)]
    fn answer(&self, rejection: &mut Self::Rejection) -> Result<Response, Self::Error>;

    /// An error of the inner service, passed on.
    #[doc(hidden)]
    fn pass(error: InnerError) -> Self::Error;

    /// What the inner service's future says, passed on: without being looked at where the error type is the
    /// same, for a response can be large.
    #[doc(hidden)]
    #[inline]
    fn pass_on(output: Poll<Result<Response, InnerError>>) -> Poll<Result<Response, Self::Error>> {
        output.map_err(Self::pass)
    }
}

mod sealed {
    pub trait Sealed {}
}

/// Nobody is turned away, everybody waits. The error type is the inner service's.
#[derive(Clone, Copy, Debug, Default)]
pub struct NeverReject;

/// A request that is turned away fails with a `BoxError` that holds the [`Rejected`].
#[derive(Clone, Copy, Debug, Default)]
pub struct RejectWithBoxError;

/// A request that is turned away fails with an `E`, made from [`Rejected`] by `From`, as the errors of
/// the inner service are.
///
/// ```
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_floodgate::{ConcurrencyBackpressureLayer, Rejected};
///
/// #[derive(Debug)]
/// enum MyError {
///     Overloaded,
///     Io(std::io::Error),
/// }
/// impl From<Rejected> for MyError {
///     fn from(_: Rejected) -> Self {
///         MyError::Overloaded
///     }
/// }
/// impl From<std::io::Error> for MyError {
///     fn from(error: std::io::Error) -> Self {
///         MyError::Io(error)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), MyError> {
/// let mut service = ServiceBuilder::new()
///     .layer(ConcurrencyBackpressureLayer::new(1).max_queue(0).reject_with_error::<MyError>())
///     .service(service_fn(|_: ()| async { Err::<(), _>(std::io::Error::other("no disk")) }));
///
/// let first = service.ready().await?.call(());
/// assert!(matches!(service.ready().await?.call(()).await, Err(MyError::Overloaded)));
/// assert!(matches!(first.await, Err(MyError::Io(_))));
/// # Ok(())
/// # }
/// ```
pub struct RejectWithError<E>(PhantomData<fn() -> E>);

/// A request that is turned away is answered with the response that `F` makes of the [`Rejected`].
/// The error type is the inner service's.
#[derive(Clone, Copy)]
pub struct RejectWith<F>(F);

impl<E> RejectWithError<E> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<F> RejectWith<F> {
    pub(crate) const fn new(respond: F) -> Self {
        Self(respond)
    }
}

impl<E> Clone for RejectWithError<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for RejectWithError<E> {}

impl<E> fmt::Debug for RejectWithError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RejectWithError<{}>", std::any::type_name::<E>())
    }
}

impl<F> fmt::Debug for RejectWith<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RejectWith<{}>", std::any::type_name::<F>())
    }
}

impl sealed::Sealed for NeverReject {}
impl sealed::Sealed for RejectWithBoxError {}
impl<E> sealed::Sealed for RejectWithError<E> {}
impl<F> sealed::Sealed for RejectWith<F> {}

impl RejectPolicy for NeverReject {
    type Bounded = RejectWithBoxError;
    type Outcome = NeverReject;
    const WAITS: bool = true;

    fn bounded(self) -> RejectWithBoxError {
        RejectWithBoxError
    }

    type Rejection = Infallible;

    fn hold(rejected: Rejected) -> Infallible {
        // The line of such a layer has no bound, no time limit, and can't be closed.
        unreachable!("turned away ({rejected}) by a layer that lets everybody wait")
    }
}

impl RejectPolicy for RejectWithBoxError {
    type Bounded = Self;
    type Outcome = Rejected;

    fn bounded(self) -> Self {
        self
    }

    type Rejection = Option<Rejected>;

    fn hold(rejected: Rejected) -> Option<Rejected> {
        Some(rejected)
    }
}

impl<E> RejectPolicy for RejectWithError<E> {
    type Bounded = Self;
    type Outcome = Rejected;

    fn bounded(self) -> Self {
        self
    }

    type Rejection = Option<Rejected>;

    fn hold(rejected: Rejected) -> Option<Rejected> {
        Some(rejected)
    }
}

impl<F: Clone> RejectPolicy for RejectWith<F> {
    type Bounded = Self;
    type Outcome = Rejected;

    fn bounded(self) -> Self {
        self
    }

    type Rejection = Option<Rejected>;

    fn hold(rejected: Rejected) -> Option<Rejected> {
        Some(rejected)
    }
}

impl<Response, InnerError> RejectPolicyFor<Response, InnerError> for NeverReject {
    type Error = InnerError;

    fn answer(&self, rejection: &mut Infallible) -> Result<Response, InnerError> {
        match *rejection {}
    }

    fn pass(error: InnerError) -> InnerError {
        error
    }

    #[inline]
    fn pass_on(output: Poll<Result<Response, InnerError>>) -> Poll<Result<Response, InnerError>> {
        output
    }
}

impl<Response, InnerError: Into<BoxError>> RejectPolicyFor<Response, InnerError> for RejectWithBoxError {
    type Error = BoxError;

    fn answer(&self, rejection: &mut Option<Rejected>) -> Result<Response, BoxError> {
        Err(once(rejection).into())
    }

    fn pass(error: InnerError) -> BoxError {
        error.into()
    }
}

impl<Response, InnerError, E> RejectPolicyFor<Response, InnerError> for RejectWithError<E>
where
    InnerError: Into<E>,
    E: From<Rejected>,
{
    type Error = E;

    fn answer(&self, rejection: &mut Option<Rejected>) -> Result<Response, E> {
        Err(once(rejection).into())
    }

    fn pass(error: InnerError) -> E {
        error.into()
    }
}

impl<Response, InnerError, F> RejectPolicyFor<Response, InnerError> for RejectWith<F>
where
    F: Fn(Rejected) -> Response + Clone,
{
    type Error = InnerError;

    fn answer(&self, rejection: &mut Option<Rejected>) -> Result<Response, InnerError> {
        Ok((self.0)(once(rejection)))
    }

    fn pass(error: InnerError) -> InnerError {
        error
    }

    #[inline]
    fn pass_on(output: Poll<Result<Response, InnerError>>) -> Poll<Result<Response, InnerError>> {
        output
    }
}

/// The inner service's future, or the answer to a request that was turned away.
#[pin_project(project = AnsweredProj)]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub(crate) enum Admission<F, A: RejectPolicy> {
    Inner(#[pin] F),
    TurnedAway(A, A::Rejection),
}

fn once(rejection: &mut Option<Rejected>) -> Rejected {
    rejection.take().expect("polled after it was ready")
}

impl<F, A: RejectPolicy> Admission<F, A> {
    pub(crate) fn turned_away(answer: &A, rejected: Rejected) -> Self {
        Self::TurnedAway(answer.clone(), A::hold(rejected))
    }
}

impl<F, A, Response, InnerError> Future for Admission<F, A>
where
    F: Future<Output = Result<Response, InnerError>>,
    A: RejectPolicyFor<Response, InnerError>,
{
    type Output = Result<Response, A::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnsweredProj::Inner(future) => A::pass_on(future.poll(cx)),
            AnsweredProj::TurnedAway(answer, rejection) => Poll::Ready(answer.answer(rejection)),
        }
    }
}
