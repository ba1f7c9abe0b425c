//! Admission in the call, on terms that are read from the request.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;

use super::{
    ArrivalTerms, READYING, Terms,
    limiter::{Measured, TermsLimiter},
};
#[cfg(debug_assertions)]
use crate::limiter::nested::{Driven, LimitId, report};
use crate::{
    arc_cache::CachedArc,
    backpressure::ConcurrencyBackpressureHandle,
    limiter::{Acquiring, Limiter, QueueLimits, Unissued},
    macros::inner_access,
    middleware::{Admit, AdmitFor, CallFuture},
    reject::{RejectPolicy, RejectPolicyFor},
    rejected::Rejected,
    time::{Nanos, RuntimeTimer},
};

/// Reads the terms of a request: any `Fn(&Request) -> Terms` with an annotated argument.
#[diagnostic::on_unimplemented(
    message = "`{Self}` reads no terms from a `{Request}`",
    label = "can't read terms of these",
    note = "a function `|request: &Request| -> Terms` does"
)]
pub trait ReadTerms<Request> {
    /// Returns the terms of a request that arrives now.
    fn read_terms(&self, request: &Request) -> Terms;
}

#[diagnostic::do_not_recommend]
impl<F, Request> ReadTerms<Request> for F
where
    F: Fn(&Request) -> Terms,
{
    fn read_terms(&self, request: &Request) -> Terms {
        self(request)
    }
}

/// A service with a bound on the requests in flight, which reads the terms of each request. See
/// [`by_request`](crate::ConcurrencyBackpressureLayer::by_request).
///
/// Always ready: a request waits in its call, and drives a clone of the inner service ready then.
pub struct ByRequest<S, F, P> {
    inner: S,
    read: F,
    limiter: CachedArc<TermsLimiter>,
    limits: QueueLimits,
    policy: P,
}

impl<S, F, P> ByRequest<S, F, P> {
    pub(super) const fn new(
        inner: S,
        read: F,
        limiter: CachedArc<TermsLimiter>,
        limits: QueueLimits,
        policy: P,
    ) -> Self {
        Self { inner, read, limiter, limits, policy }
    }

    /// Returns a handle that reads and changes the limit.
    #[must_use]
    pub fn handle(&self) -> ConcurrencyBackpressureHandle {
        ConcurrencyBackpressureHandle::new(Arc::clone(self.limiter.shared()), self.limits)
    }

    inner_access!();
}

impl<S, F, P, Request> Service<Request> for ByRequest<S, F, P>
where
    S: Service<Request> + Clone,
    F: ReadTerms<Request>,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = P::Error;
    type Future = ByRequestFuture<S, Request, P>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), P::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let terms = self.read.read_terms(&request).of_arrival(self.limiter.clock());
        let acquiring = Acquiring::on_terms(self.limiter.arc(), self.limits, 1, terms);
        let limiter = self.limiter.clone();
        let admission = Admission {
            acquiring,
            permit: None,
            limiter,
            limits: self.limits,
            policy: self.policy.clone(),
            terms,
            timer: None,
        };
        ByRequestFuture {
            call: CallFuture::new(admission, self.inner.clone(), request, self.policy.clone()),
            #[cfg(debug_assertions)]
            nesting: Nesting::Arriving(Arc::clone(self.limiter.arc())),
        }
    }
}

impl<S: Clone, F: Clone, P: Clone> Clone for ByRequest<S, F, P> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            read: self.read.clone(),
            limiter: self.limiter.clone(),
            limits: self.limits,
            policy: self.policy.clone(),
        }
    }
}

impl<S: fmt::Debug, F, P: fmt::Debug> fmt::Debug for ByRequest<S, F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByRequest")
            .field("inner", &self.inner)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// The response future of [`ByRequest`].
///
/// The request arrives at the first poll; its deadline counts from the call. It waits for a permit,
/// drives a clone of the inner service ready, calls it, and resolves to its response, or to the
/// outcome of the reject policy. A drop leaves the queue, or releases the permit.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ByRequestFuture<S: Service<Request>, Request, P: RejectPolicy> {
    #[pin]
    call: CallFuture<Admission<P>, S, Request, P>,
    #[cfg(debug_assertions)]
    nesting: Nesting,
}

/// Finds a request that acquires a second permit of one limit: see `limiter::nested`.
#[cfg(debug_assertions)]
enum Nesting {
    /// Not polled yet.
    Arriving(Arc<TermsLimiter>),
    Of(LimitId),
}

#[cfg(debug_assertions)]
impl Nesting {
    /// Marks the limit as that of the request being driven. While the request waits, it drives
    /// nothing.
    fn driven(&mut self) -> Driven {
        if let Self::Arriving(limiter) = self {
            *self = Self::Of(report(&**limiter));
        }
        match self {
            Self::Of(limit) => limit.driven(),
            Self::Arriving(_) => unreachable!("it has arrived"),
        }
    }
}

impl<S: Service<Request>, Request, P: RejectPolicy> ByRequestFuture<S, Request, P> {
    /// Takes the permit, to keep it beyond this future. A rejected request has none.
    #[cfg(feature = "server")]
    pub(crate) fn take_permit(self: Pin<&mut Self>) -> Measured {
        self.project()
            .call
            .take_in_flight()
            .map(|mut in_flight| std::mem::take(P::held(&mut in_flight)))
            .unwrap_or_default()
    }
}

#[cfg(feature = "server")]
impl<S, Request, P> ByRequestFuture<S, Request, P>
where
    S: Service<Request>,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    /// Polls, and keeps the permit.
    pub(crate) fn poll_holding(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, P::Error>> {
        let this = self.project();
        #[cfg(debug_assertions)]
        let _driven = this.nesting.driven();
        this.call.poll_holding(cx)
    }
}

impl<S, Request, P> Future for ByRequestFuture<S, Request, P>
where
    S: Service<Request>,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    type Output = Result<S::Response, P::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        #[cfg(debug_assertions)]
        let _driven = this.nesting.driven();
        this.call.poll(cx)
    }
}

impl<S: Service<Request>, Request, P: RejectPolicy> fmt::Debug for ByRequestFuture<S, Request, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByRequestFuture").field("step", &self.call.step()).finish_non_exhaustive()
    }
}

/// The admission of a request on its terms.
struct Admission<P> {
    acquiring: Acquiring<TermsLimiter>,
    permit: Option<Unissued<TermsLimiter>>,
    limiter: CachedArc<TermsLimiter>,
    limits: QueueLimits,
    policy: P,
    terms: ArrivalTerms,
    /// Wakes the task at the deadline, while the inner service is not ready.
    timer: Option<RuntimeTimer>,
}

impl<P> Admission<P> {
    fn is_late(&self) -> bool {
        let done_by = self.terms.done_by;
        done_by != Nanos::NEVER && self.limiter.clock().has_come(done_by)
    }

    /// Releases the permit of a late request, whose next poll rejects it.
    fn end(&mut self) {
        self.permit = None;
        let limiter = self.limiter.arc();
        self.acquiring = Acquiring::on_terms(limiter, self.limits, 1, self.terms);
    }
}

impl<P: RejectPolicy> Admit for Admission<P> {
    type InFlight = P::InFlight<Measured>;

    /// Looks at the deadline at once, too: the task may be polled long after it was granted a
    /// permit.
    fn is_current(&mut self, _: bool) -> bool {
        let is_late = self.is_late();
        if is_late {
            self.end();
        }
        !is_late
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let done_by = self.terms.done_by;
        if done_by == Nanos::NEVER {
            return Poll::Pending;
        }
        let at = self.limiter.clock().instant(done_by);
        ready!(READYING.poll_until(&mut self.timer, at, cx));
        self.end();
        Poll::Ready(())
    }

    fn forget(in_flight: &mut P::InFlight<Measured>) {
        P::forget(in_flight);
    }

    fn issue<F>(self, call: impl FnOnce() -> F) -> (F, P::InFlight<Measured>) {
        let mut permit = self.permit.expect("it is admitted").take();
        let measurement = self.policy.begin(|| TermsLimiter::measure(&self.limiter, &mut permit));
        let (future, held) = TermsLimiter::call(&self.limiter, &self.terms, call);
        (future, P::in_flight(held, measurement))
    }
}

impl<P, Request, Response, Error> AdmitFor<Request, Response, Error> for Admission<P>
where
    P: RejectPolicyFor<Response, Error>,
{
    fn poll_acquire(&mut self, _: &Request, cx: &mut Context<'_>) -> Poll<Result<(), Rejected>> {
        self.permit = Some(ready!(self.acquiring.poll_unissued(cx))?);
        Poll::Ready(Ok(()))
    }

    fn settle(in_flight: &mut P::InFlight<Measured>, result: &Result<Response, Error>) {
        P::judge(in_flight, result);
        TermsLimiter::completed(P::held(in_flight));
    }
}
