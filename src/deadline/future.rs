//! The future of [`Deadline`](super::Deadline).

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    current_deadline::Scope,
    middleware::{CallFuture, Unlimited},
    reject::{NeverReject, RejectPolicy, RejectPolicyFor},
    rejected::Rejected,
    time::{self, RuntimeTimer, TICK, TimerUse},
};

const WAITING: TimerUse = TimerUse {
    what: "DeadlineLayer: the wait until its `timeout`",
    otherwise: "do without the layer",
};

/// Drives a clone to readiness, calls it, and resolves to its response, or to the outcome of the
/// [reject policy](crate::reject) once the deadline has passed.
///
/// Dropping it drops the clone, or the clone's response future, with all that it holds.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<Request>, Request, P: RejectPolicy> {
    /// `None` once it has completed or is too late. The limits are inside.
    #[pin]
    call: Option<CallFuture<Unlimited, S, Request, NeverReject>>,
    deadline: Option<Instant>,
    /// Started by the first poll that has to wait.
    timer: Option<RuntimeTimer>,
    policy: P,
}

impl<S: Service<Request>, Request, P: RejectPolicy> ResponseFuture<S, Request, P> {
    pub(super) fn new(inner: S, request: Request, deadline: Option<Instant>, policy: P) -> Self {
        let call = CallFuture::new(Unlimited, inner, request, NeverReject);
        Self { call: Some(call), deadline, timer: None, policy }
    }
}

impl<S, Request, P> Future for ResponseFuture<S, Request, P>
where
    S: Service<Request>,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    type Output = Result<S::Response, P::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let deadline = *this.deadline;
        // The drop of the inside and the policy, below, are in the scope, too.
        let _scope = Scope::enter(deadline);
        let call = this.call.as_mut().as_pin_mut().expect("polled after completion");
        // The inside of a late request is not polled, because it might call its service: of waiters
        // with one deadline, each passes its permit on to the next, which is late as well.
        let result = if deadline.is_some_and(|at| at <= time::now()) {
            None
        } else {
            match (call.poll(cx), deadline) {
                (Poll::Ready(Err(_)), Some(at)) if at < time::now() + TICK => None,
                (Poll::Ready(result), _) => Some(result),
                (Poll::Pending, None) => return Poll::Pending,
                (Poll::Pending, Some(at)) => {
                    ready!(WAITING.poll_until(this.timer, at, cx));
                    None
                }
            }
        };
        // Its permits are released before the caller goes on.
        this.call.set(None);
        match result {
            Some(result) => P::pass_on(Poll::Ready(result)),
            None => Poll::Ready(this.policy.reject(&mut P::hold(Rejected::by_deadline()))),
        }
    }
}

impl<S: Service<Request>, Request, P: RejectPolicy> fmt::Debug for ResponseFuture<S, Request, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
