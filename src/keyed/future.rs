use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;

use super::{
    rule::{RuleList, SettleRules},
    shared::InFlight,
};
use crate::{
    middleware::Outcome,
    reject::{RejectPolicy, RejectPolicyFor},
    rejected::Rejected,
};

/// The response future of a service with limits for each key.
///
/// Resolves to the inner service's response, or to the outcome of the reject policy. A request in
/// flight is released when the inner future completes, or by a drop. A cost that is settled by the
/// response is that which was acquired, if this is dropped before.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, R: RuleList, P: RejectPolicy> {
    #[pin]
    outcome: Outcome<F, P>,
    /// Behind the inner future, because fields are dropped in order.
    in_flight: Option<InFlight<R>>,
}

impl<F, R: RuleList, P: RejectPolicy> ResponseFuture<F, R, P> {
    pub(super) const fn admitted(future: F, in_flight: Option<InFlight<R>>) -> Self {
        Self { outcome: Outcome::Admitted(future), in_flight }
    }

    pub(super) fn rejected(policy: &P, rejected: Rejected) -> Self {
        Self { outcome: Outcome::rejected(policy, rejected), in_flight: None }
    }
}

impl<F, R: RuleList, P: RejectPolicy> ResponseFuture<F, R, P> {
    /// Takes the request in flight, to keep it beyond this future. A rejected request has none.
    #[cfg(feature = "server")]
    pub(crate) fn take_in_flight(self: Pin<&mut Self>) -> Option<InFlight<R>> {
        self.project().in_flight.take()
    }

    /// Polls, settles the costs, and keeps the request in flight.
    #[cfg(feature = "server")]
    #[inline]
    pub(crate) fn poll_holding<Response, Error>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response, P::Error>>
    where
        F: Future<Output = Result<Response, Error>>,
        R: SettleRules<Response, Error>,
        P: RejectPolicyFor<Response, Error>,
    {
        self.poll_with(cx, |_| {})
    }

    /// Polls, and calls `completed` once the inner future has completed and the costs are settled.
    #[inline(always)]
    fn poll_with<Response, Error>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        completed: impl FnOnce(&mut Option<InFlight<R>>),
    ) -> Poll<Result<Response, P::Error>>
    where
        F: Future<Output = Result<Response, Error>>,
        R: SettleRules<Response, Error>,
        P: RejectPolicyFor<Response, Error>,
    {
        let this = self.project();
        this.outcome.poll_with(cx, |result| {
            if let Some(in_flight) = this.in_flight {
                in_flight.settle(result.as_ref());
            }
            completed(this.in_flight);
        })
    }
}

impl<F, R, P, Response, Error> Future for ResponseFuture<F, R, P>
where
    F: Future<Output = Result<Response, Error>>,
    R: SettleRules<Response, Error>,
    P: RejectPolicyFor<Response, Error>,
{
    type Output = Result<Response, P::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_with(cx, |in_flight| *in_flight = None)
    }
}

impl<F: fmt::Debug, R: RuleList, P: RejectPolicy> fmt::Debug for ResponseFuture<F, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outcome.fmt(f)
    }
}
