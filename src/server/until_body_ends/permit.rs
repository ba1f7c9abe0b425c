//! The permits that bodies hold, and the futures that leave them to a body.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tower_service::Service;

use super::PermitBody;
use crate::{
    backpressure::{self, InFlight, Measured, TermsLimiter},
    keyed::{self, RuleList, Rules, SettleRules},
    middleware,
    reject::{RejectPolicy, RejectPolicyFor},
    wrap_body::HttpResponse,
};

/// The permit of a request, or none, that the body of its response may hold. Sealed.
pub trait BodyPermit: Default + sealed::Sealed {
    /// Polls the body for the request of this permit.
    #[doc(hidden)]
    fn drive<T>(&self, poll: impl FnOnce() -> T) -> T;
}

/// The response future of a limited service, which may leave its permit to the body. Sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the future of a service that limits requests in flight",
    note = "`until_body_ends` stands directly around the limit"
)]
pub trait LimitedFuture: sealed::Sealed {
    /// The response of the inner service.
    type Response;
    /// The error of the limited service.
    type Error;
    /// The permit of a request.
    type Permit: BodyPermit;

    /// Polls, and keeps the permit.
    #[doc(hidden)]
    fn poll_holding(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Response, Self::Error>>;

    /// Takes the permit. A rejected request has none.
    #[doc(hidden)]
    fn take_permit(self: Pin<&mut Self>) -> Self::Permit;
}

/// The body of a response with the permit of its request.
pub(super) type Holding<R, P> = PermitBody<<R as HttpResponse>::Body, P>;

mod sealed {
    pub trait Sealed {}
}

/// A permit of a [`ConcurrencyBackpressureLayer`](crate::ConcurrencyBackpressureLayer), or none.
#[derive(Debug, Default)]
#[cfg_attr(not(debug_assertions), allow(dead_code, reason = "held for its drop"))]
pub struct ConcurrencyBodyPermit(InFlight);

impl sealed::Sealed for ConcurrencyBodyPermit {}

impl BodyPermit for ConcurrencyBodyPermit {
    #[inline]
    fn drive<T>(&self, poll: impl FnOnce() -> T) -> T {
        #[cfg(debug_assertions)]
        let _driven = self.0.driven();
        poll()
    }
}

impl<F, A: RejectPolicy> sealed::Sealed for backpressure::ResponseFuture<F, A> {}

impl<F, A, Response, Error> LimitedFuture for backpressure::ResponseFuture<F, A>
where
    F: Future<Output = Result<Response, Error>>,
    A: RejectPolicyFor<Response, Error>,
{
    type Response = Response;
    type Error = A::Error;
    type Permit = ConcurrencyBodyPermit;

    #[inline]
    fn poll_holding(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response, A::Error>> {
        self.poll_holding(cx)
    }

    #[inline]
    fn take_permit(self: Pin<&mut Self>) -> ConcurrencyBodyPermit {
        ConcurrencyBodyPermit(self.take_permit())
    }
}

/// A permit of a request with [terms](backpressure::Terms), or none.
///
/// The time in service has ended with the response: a slow reader is no slow service.
#[derive(Debug, Default)]
#[cfg_attr(not(debug_assertions), allow(dead_code, reason = "held for its drop"))]
pub struct TermsBodyPermit(Measured);

impl sealed::Sealed for TermsBodyPermit {}

impl BodyPermit for TermsBodyPermit {
    #[inline]
    fn drive<T>(&self, poll: impl FnOnce() -> T) -> T {
        #[cfg(debug_assertions)]
        let _driven = self.0.in_flight.driven();
        poll()
    }
}

/// The future of a service with terms that are set before it is ready.
type TermsFuture<F, P> = middleware::ResponseFuture<F, TermsLimiter, P>;

impl<F, P: RejectPolicy> sealed::Sealed for TermsFuture<F, P> {}

impl<F, P, Response, Error> LimitedFuture for TermsFuture<F, P>
where
    F: Future<Output = Result<Response, Error>>,
    P: RejectPolicyFor<Response, Error>,
{
    type Response = Response;
    type Error = P::Error;
    type Permit = TermsBodyPermit;

    #[inline]
    fn poll_holding(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response, P::Error>> {
        self.poll_holding(cx)
    }

    #[inline]
    fn take_permit(self: Pin<&mut Self>) -> TermsBodyPermit {
        TermsBodyPermit(self.take_permit())
    }
}

impl<S: Service<Request>, Request, P: RejectPolicy> sealed::Sealed
    for backpressure::ByRequestFuture<S, Request, P>
{
}

impl<S, Request, P> LimitedFuture for backpressure::ByRequestFuture<S, Request, P>
where
    S: Service<Request>,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = P::Error;
    type Permit = TermsBodyPermit;

    #[inline]
    fn poll_holding(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, P::Error>> {
        self.poll_holding(cx)
    }

    #[inline]
    fn take_permit(self: Pin<&mut Self>) -> TermsBodyPermit {
        TermsBodyPermit(self.take_permit())
    }
}

/// A request in flight of the keys of a [`KeyedLimitLayer`](keyed::KeyedLimitLayer), or none.
pub struct KeyedBodyPermit<R: RuleList>(Option<keyed::InFlight<R>>);

impl<R: RuleList> Default for KeyedBodyPermit<R> {
    fn default() -> Self {
        Self(None)
    }
}

impl<R: RuleList> fmt::Debug for KeyedBodyPermit<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyedBodyPermit").field(&self.0).finish()
    }
}

impl<R: RuleList> sealed::Sealed for KeyedBodyPermit<R> {}

impl<R: RuleList> BodyPermit for KeyedBodyPermit<R> {
    #[inline]
    fn drive<T>(&self, poll: impl FnOnce() -> T) -> T {
        poll()
    }
}

impl<F, R: RuleList, P: RejectPolicy> sealed::Sealed for keyed::ResponseFuture<F, R, P> {}

impl<F, R, P, Response, Error> LimitedFuture for keyed::ResponseFuture<F, R, P>
where
    F: Future<Output = Result<Response, Error>>,
    R: SettleRules<Response, Error>,
    P: RejectPolicyFor<Response, Error>,
{
    type Response = Response;
    type Error = P::Error;
    type Permit = KeyedBodyPermit<R>;

    #[inline]
    fn poll_holding(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response, P::Error>> {
        self.poll_holding(cx)
    }

    #[inline]
    fn take_permit(self: Pin<&mut Self>) -> KeyedBodyPermit<R> {
        KeyedBodyPermit(self.take_in_flight())
    }
}

impl<S: Service<Request>, Request, R: RuleList, P> sealed::Sealed
    for keyed::QueueFuture<S, Request, R, P>
{
}

impl<S, Request, R, P> LimitedFuture for keyed::QueueFuture<S, Request, R, P>
where
    S: Service<Request>,
    R: Rules<Request> + SettleRules<S::Response, S::Error>,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = P::Error;
    type Permit = KeyedBodyPermit<R>;

    #[inline]
    fn poll_holding(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, P::Error>> {
        self.poll_holding(cx)
    }

    #[inline]
    fn take_permit(self: Pin<&mut Self>) -> KeyedBodyPermit<R> {
        KeyedBodyPermit(self.take_in_flight())
    }
}
