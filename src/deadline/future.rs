//! The future of [`Deadline`](super::Deadline).

use std::{
    fmt,
    future::{Future, Ready, ready},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    current_deadline::Scope,
    middleware::CallFuture,
    reject::{RejectPolicy, RejectPolicyFor},
    rejected::Rejected,
    time::{self, Timer, TimerUse},
};

const WAITING: TimerUse = TimerUse {
    what: "DeadlineLayer: the wait until its `timeout`",
    otherwise: "do without the layer",
};

/// The resolution of a timer.
const TICK: Duration = Duration::from_millis(1);

/// Drives a clone to readiness, calls it, and resolves to its response, or to the outcome of the
/// [reject policy](crate::reject) once the deadline has passed.
///
/// Dropping it drops the clone, or the clone's response future, with all that it holds.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<Request>, Request, P: RejectPolicy> {
    /// `None` once it has completed or is too late.
    #[pin]
    call: Option<CallFuture<Admitted, (), S, Request, P>>,
    deadline: Option<Instant>,
    /// Started by the first poll that has to wait.
    timer: Option<Timer>,
    policy: P,
}

/// No permit is needed here: the limits are inside.
type Admitted = Ready<Result<(), Rejected>>;

impl<S: Service<Request>, Request, P: RejectPolicy> ResponseFuture<S, Request, P> {
    pub(super) fn new(inner: S, request: Request, deadline: Option<Instant>, policy: P) -> Self {
        let call = CallFuture::new(ready(Ok(())), inner, request, policy.clone());
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
        // Also the drop of the inside, below, is in the scope.
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
                    ready!(this.timer.get_or_insert_with(|| WAITING.timer(at)).poll(cx));
                    None
                }
            }
        };
        // Its permits are released before the caller goes on.
        this.call.set(None);
        let late = || this.policy.reject(&mut P::hold(Rejected::by_deadline()));
        Poll::Ready(result.unwrap_or_else(late))
    }
}

impl<S: Service<Request>, Request, P: RejectPolicy> fmt::Debug for ResponseFuture<S, Request, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
