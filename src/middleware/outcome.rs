//! The outcome of a request that was decided before its future is polled.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;

use crate::{
    reject::{RejectPolicy, RejectPolicyFor},
    rejected::Rejected,
};

/// The future of the inner service, or a rejection.
#[pin_project(project = OutcomeProj)]
pub(crate) enum Outcome<F, P: RejectPolicy> {
    Admitted(#[pin] F),
    Rejected(P, P::Rejection),
}

impl<F, P: RejectPolicy> Outcome<F, P> {
    pub(crate) fn rejected(policy: &P, rejected: Rejected) -> Self {
        Self::Rejected(policy.clone(), P::hold(rejected))
    }

    /// Polls, and calls `completed` with the result once the inner future has completed.
    ///
    /// `completed` is called before the response is passed on. A call after that would copy the
    /// response, which can be large, once more.
    #[inline(always)]
    pub(crate) fn poll_with<Response, Error>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        completed: impl FnOnce(&Result<Response, Error>),
    ) -> Poll<Result<Response, P::Error>>
    where
        F: Future<Output = Result<Response, Error>>,
        P: RejectPolicyFor<Response, Error>,
    {
        match self.project() {
            OutcomeProj::Admitted(future) => {
                let result = ready!(future.poll(cx));
                completed(&result);
                P::pass_on(Poll::Ready(result))
            }
            OutcomeProj::Rejected(policy, rejection) => Poll::Ready(policy.reject(rejection)),
        }
    }
}

/// Writes a response future.
impl<F: fmt::Debug, P: RejectPolicy> fmt::Debug for Outcome<F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("ResponseFuture");
        match self {
            Self::Admitted(future) => fields.field("admitted", future),
            Self::Rejected(_, rejection) => fields.field("rejected", rejection),
        };
        fields.finish_non_exhaustive()
    }
}
