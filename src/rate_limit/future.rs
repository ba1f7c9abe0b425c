//! The future of [`WindowRateLimit`](super::WindowRateLimit).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;

#[cfg(debug_assertions)]
use crate::nested::LimitId;
use crate::{
    reject::{RejectPolicy, RejectPolicyFor, Admission},
    rejected::Rejected,
};

/// The response of the inner service, or the answer to a request that was turned away.
///
/// Holds nothing of the limit: the request has been issued, whether this is polled or dropped.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, A: RejectPolicy> {
    #[pin]
    answered: Admission<F, A>,
    /// The limit that the request was issued under.
    #[cfg(debug_assertions)]
    limit: Option<LimitId>,
}

impl<F, A: RejectPolicy> ResponseFuture<F, A> {
    pub(super) const fn issued(future: F) -> Self {
        Self {
            answered: Admission::Inner(future),
            #[cfg(debug_assertions)]
            limit: None,
        }
    }

    #[cfg(debug_assertions)]
    pub(super) fn of(self, limit: LimitId) -> Self {
        Self { limit: Some(limit), ..self }
    }

    pub(super) fn turned_away(answer: &A, rejected: Rejected) -> Self {
        Self {
            answered: Admission::turned_away(answer, rejected),
            #[cfg(debug_assertions)]
            limit: None,
        }
    }
}

impl<F, A, Response, Error> Future for ResponseFuture<F, A>
where
    F: Future<Output = Result<Response, Error>>,
    A: RejectPolicyFor<Response, Error>,
{
    type Output = Result<Response, A::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        #[cfg(debug_assertions)]
        let _driven = this.limit.map(LimitId::driven);
        this.answered.poll(cx)
    }
}
