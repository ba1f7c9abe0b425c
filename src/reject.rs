//! Reject policies: the form in which a rejection reaches the caller.
//!
//! | the layer | a rejected request | error type of the service |
//! | --- | --- | --- |
//! | as created by `new` | none: by [`NeverReject`] all requests wait | the inner one, untouched |
//! | bounded by `max_queue` or `max_wait`, or with the terms of requests | fails, by [`RejectWithBoxError`] | `BoxError`, in which [`Rejected::find`] finds the rejection |
//! | with `.reject_with_error::<E>()` | fails, by [`RejectWithError<E>`] | `E`, made from either error by `From` |
//! | with `.reject_with(f)` | gets a response, by [`RejectWith<F>`] | the inner one, untouched |
//!
//! The methods may be called in any order. A layer without a bound rejects only after its limit was
//! closed.
//!
//! Responses suit servers: axum requires services that do not fail, and gets them without a
//! `HandleErrorLayer`. `server::http_rejection`, `server::problem_rejection` and
//! `server::grpc_rejection` make such responses, with the features `server` and `grpc`. With
//! `axum`, `server::into_response` makes one of any type that a handler may return.
//!
//! A rejection is never an error of `poll_ready`, which would mean that the service is dead. The
//! service becomes ready, and `call` rejects the request, or passes it on if a permit is free by
//! then. Reason and time of a rejection are those of the moment of `call`, however long ago the
//! service became ready. Two reasons are older: a request that has waited for `max_wait` is
//! rejected for that, if it is called within 100 ms; and one that would wait by the time of its
//! call is rejected for the reason of its readiness, because a call does not wait.
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
//! assert_eq!(second, "503 too many requests in flight, and the queue is full");
//! assert_eq!(first.await?, "200 hello");
//! # Ok(())
//! # }
//! ```

use std::{convert::Infallible, fmt, marker::PhantomData, task::Poll};

use tower::BoxError;

use crate::{judge::Measure, rejected::Rejected};

/// A reject policy, the type parameter of a limiting layer.
///
/// Sealed. It is implemented by [`NeverReject`], [`RejectWithBoxError`], [`RejectWithError`] and
/// [`RejectWith`], and by [`Judged`](crate::backpressure::Judged) around one of them.
pub trait RejectPolicy: Clone + sealed::Sealed {
    /// The policy of the same layer once it has a bound.
    type Bounded: RejectPolicy;

    /// True if all requests wait, and none can be rejected.
    #[doc(hidden)]
    const NEVER_REJECTS: bool = false;

    #[doc(hidden)]
    fn bounded(self) -> Self::Bounded;

    /// The rejection in the future of a rejected request. Uninhabited if no request can be
    /// rejected, so that futures need no room for it.
    #[doc(hidden)]
    type Rejection: fmt::Debug + Send + Sync + Unpin;

    #[doc(hidden)]
    fn hold(rejected: Rejected) -> Self::Rejection;

    /// The policy of the same layer once it rejects by `Q`.
    type With<Q: RejectPolicy>: RejectPolicy;

    #[doc(hidden)]
    fn with<Q: RejectPolicy>(self, policy: Q) -> Self::With<Q>;

    /// What a request in flight holds: `I`, and for some requests of a limit that adapts a
    /// measurement.
    #[doc(hidden)]
    type InFlight<I: Measure>: Send + Sync;

    /// The measurement of a request from its call on, or none.
    #[doc(hidden)]
    type Measurement<I: Measure>;

    /// Begins the measurement of a request that is about to be called, if `begin` returns one.
    #[doc(hidden)]
    fn begin<I: Measure>(&self, begin: impl FnOnce() -> Option<I::Begun>) -> Self::Measurement<I>;

    /// Returns what a request in flight holds, once it was called.
    #[doc(hidden)]
    fn in_flight<I: Measure>(held: I, measurement: Self::Measurement<I>) -> Self::InFlight<I>;

    /// A rejected request holds nothing.
    #[doc(hidden)]
    fn nothing<I: Measure>() -> Self::InFlight<I>;

    /// Returns what the request holds beside the measurement, to be released or to be kept beyond
    /// its response future.
    #[doc(hidden)]
    fn held<I: Measure>(in_flight: &mut Self::InFlight<I>) -> &mut I;

    /// Ends the measurement of a request that says nothing, because its service has panicked.
    #[doc(hidden)]
    #[inline]
    fn forget<I: Measure>(in_flight: &mut Self::InFlight<I>) {
        Self::held(in_flight).forget();
    }
}

/// A reject policy for inner services with this response type and error type.
pub trait RejectPolicyFor<Response, InnerError>: RejectPolicy {
    /// The error type of the limited service.
    type Error;

    /// Returns the result of a rejected request.
    #[doc(hidden)]
    fn reject(&self, rejection: &mut Self::Rejection) -> Result<Response, Self::Error>;

    /// Converts an error of the inner service.
    #[doc(hidden)]
    fn pass(error: InnerError) -> Self::Error;

    /// Converts the output of the inner service's future. Policies that keep the error type
    /// override this to return the output as it is, because a response can be large.
    #[doc(hidden)]
    #[inline]
    fn pass_on(output: Poll<Result<Response, InnerError>>) -> Poll<Result<Response, Self::Error>> {
        output.map_err(Self::pass)
    }

    /// Ends the measurement of a request, and keeps the rest of what it holds.
    #[doc(hidden)]
    #[inline]
    fn judge<I: Measure>(in_flight: &mut Self::InFlight<I>, result: &Result<Response, InnerError>) {
        let _ = (in_flight, result);
    }
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// The items of a policy that measures nothing.
macro_rules! unmeasured {
    () => {
        type With<Q: RejectPolicy> = Q;

        fn with<Q: RejectPolicy>(self, policy: Q) -> Q {
            policy
        }

        type InFlight<I: Measure> = I;

        type Measurement<I: Measure> = ();

        #[inline]
        fn begin<I: Measure>(&self, _: impl FnOnce() -> Option<I::Begun>) {}

        #[inline]
        fn in_flight<I: Measure>(held: I, (): ()) -> I {
            held
        }

        #[inline]
        fn nothing<I: Measure>() -> I {
            I::default()
        }

        #[inline]
        fn held<I: Measure>(in_flight: &mut I) -> &mut I {
            in_flight
        }
    };
}

/// Rejects no request: all of them wait. The error type is the inner service's.
#[derive(Clone, Copy, Debug, Default)]
pub struct NeverReject;

/// Fails a rejected request with a `BoxError` that holds the [`Rejected`].
#[derive(Clone, Copy, Debug, Default)]
pub struct RejectWithBoxError;

/// Fails a rejected request with an `E`, made from [`Rejected`] by `From`.
///
/// Errors of the inner service are converted to `E`, too.
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

/// Responds to a rejected request with the response that `F` makes of the [`Rejected`].
///
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
    const NEVER_REJECTS: bool = true;

    fn bounded(self) -> RejectWithBoxError {
        RejectWithBoxError
    }

    type Rejection = Infallible;

    fn hold(rejected: Rejected) -> Infallible {
        // A queue without a policy has no bound and no time limit, and its limit cannot be closed.
        unreachable!("rejected ({rejected}) by a layer without a reject policy")
    }

    unmeasured!();
}

impl RejectPolicy for RejectWithBoxError {
    type Bounded = Self;

    fn bounded(self) -> Self {
        self
    }

    type Rejection = Option<Rejected>;

    fn hold(rejected: Rejected) -> Option<Rejected> {
        Some(rejected)
    }

    unmeasured!();
}

impl<E> RejectPolicy for RejectWithError<E> {
    type Bounded = Self;

    fn bounded(self) -> Self {
        self
    }

    type Rejection = Option<Rejected>;

    fn hold(rejected: Rejected) -> Option<Rejected> {
        Some(rejected)
    }

    unmeasured!();
}

impl<F: Clone> RejectPolicy for RejectWith<F> {
    type Bounded = Self;

    fn bounded(self) -> Self {
        self
    }

    type Rejection = Option<Rejected>;

    fn hold(rejected: Rejected) -> Option<Rejected> {
        Some(rejected)
    }

    unmeasured!();
}

impl<Response, InnerError> RejectPolicyFor<Response, InnerError> for NeverReject {
    type Error = InnerError;

    fn reject(&self, rejection: &mut Infallible) -> Result<Response, InnerError> {
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

impl<Response, InnerError: Into<BoxError>> RejectPolicyFor<Response, InnerError>
    for RejectWithBoxError
{
    type Error = BoxError;

    fn reject(&self, rejection: &mut Option<Rejected>) -> Result<Response, BoxError> {
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

    fn reject(&self, rejection: &mut Option<Rejected>) -> Result<Response, E> {
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

    fn reject(&self, rejection: &mut Option<Rejected>) -> Result<Response, InnerError> {
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

fn once(rejection: &mut Option<Rejected>) -> Rejected {
    rejection.take().expect("polled after it was ready")
}
