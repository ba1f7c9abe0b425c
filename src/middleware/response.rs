#![allow(private_bounds, reason = "the limiters of this crate, and no others")]

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;

use super::{Outcome, on_unwind::OnUnwind};
#[cfg(debug_assertions)]
use crate::limiter::nested::LimitId;
use crate::{
    limiter::Limiter,
    reject::{RejectPolicy, RejectPolicyFor},
    rejected::Rejected,
};

/// The response future of a service with a limit.
///
/// Resolves to the inner service's response, or to the outcome of the reject policy. A permit of a
/// concurrency limit is released when the inner future completes, or by a drop, after the inner
/// future was dropped. A request of a rate limit has been issued, whether this is polled or not.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, L: Limiter, P: RejectPolicy> {
    #[pin]
    outcome: Outcome<F, P>,
    /// Released as soon as the inner future has completed. If this is dropped before, the inner
    /// future is dropped first, because fields are dropped in order.
    permit: P::InFlight<L::InFlight>,
    /// The limit that admitted the request.
    #[cfg(debug_assertions)]
    limit: Option<LimitId>,
}

impl<F, L: Limiter, P: RejectPolicy> ResponseFuture<F, L, P> {
    pub(super) const fn admitted(future: F, permit: P::InFlight<L::InFlight>) -> Self {
        Self {
            outcome: Outcome::Admitted(future),
            permit,
            #[cfg(debug_assertions)]
            limit: None,
        }
    }

    #[cfg(debug_assertions)]
    pub(super) fn of(self, limit: LimitId) -> Self {
        Self { limit: Some(limit), ..self }
    }

    pub(super) fn rejected(policy: &P, rejected: Rejected) -> Self {
        Self {
            outcome: Outcome::rejected(policy, rejected),
            permit: P::nothing(),
            #[cfg(debug_assertions)]
            limit: None,
        }
    }

    /// Takes the permit, to keep it beyond this future. A rejected request has none.
    #[cfg(feature = "server")]
    pub(crate) fn take_permit(self: Pin<&mut Self>) -> L::InFlight {
        mem::take(P::held(self.project().permit))
    }

    /// Polls, and keeps the permit.
    #[cfg(feature = "server")]
    #[inline]
    pub(crate) fn poll_holding<Response, Error>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response, P::Error>>
    where
        F: Future<Output = Result<Response, Error>>,
        P: RejectPolicyFor<Response, Error>,
    {
        self.poll_with(cx, L::completed)
    }

    /// Polls, and calls `completed` with the permit once the inner future has completed.
    #[inline(always)]
    fn poll_with<Response, Error>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        completed: impl FnOnce(&mut L::InFlight),
    ) -> Poll<Result<Response, P::Error>>
    where
        F: Future<Output = Result<Response, Error>>,
        P: RejectPolicyFor<Response, Error>,
    {
        let this = self.project();
        #[cfg(debug_assertions)]
        let _driven = this.limit.map(LimitId::driven);
        // A caller that catches the panic drops this future later, when nothing unwinds.
        let permit = OnUnwind::new(this.permit, P::forget);
        let output = this.outcome.poll_with(cx, |result| {
            P::judge(permit.value, result);
            completed(P::held(permit.value));
        });
        permit.defuse();
        output
    }
}

impl<F, L, P, Response, Error> Future for ResponseFuture<F, L, P>
where
    F: Future<Output = Result<Response, Error>>,
    L: Limiter,
    P: RejectPolicyFor<Response, Error>,
{
    type Output = Result<Response, P::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_with(cx, |permit| {
            L::completed(permit);
            drop(mem::take(permit));
        })
    }
}

impl<F: fmt::Debug, L: Limiter, P: RejectPolicy> fmt::Debug for ResponseFuture<F, L, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outcome.fmt(f)
    }
}
