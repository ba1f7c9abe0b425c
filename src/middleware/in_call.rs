//! Admission in `call`: acquires a permit, drives a clone to readiness, and calls it.
//!
//! `DeadlineLayer` and `ExemptLayer` use it without a permit; limits that depend on the request
//! need one.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;

use crate::{reject::RejectPolicyFor, rejected::Rejected};

/// A response future that acquires a permit first.
///
/// It awaits `A`, drives the service ready, calls it, and drops the permit after the response. If
/// it is dropped before, the service or its response future is dropped first, and then the permit.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub(crate) struct CallFuture<A, T, S: Service<Request>, Request, P> {
    #[pin]
    step: Step<A, S, Request, S::Future>,
    /// Behind the step, because fields are dropped in order.
    permit: Option<T>,
    policy: P,
}

#[pin_project(project = StepProj, project_replace = StepTaken)]
enum Step<A, S, Request, F> {
    /// Waits for a permit. The service is not polled.
    Acquire(#[pin] A, S, Request),
    /// Has a permit, and drives the service ready.
    Drive(S, Request),
    Respond(#[pin] F),
    Done,
}

impl<A, T, S: Service<Request>, Request, P> CallFuture<A, T, S, Request, P> {
    pub(crate) const fn new(acquire: A, service: S, request: Request, policy: P) -> Self {
        Self { step: Step::Acquire(acquire, service, request), permit: None, policy }
    }
}

impl<A, T, S, Request, P> Future for CallFuture<A, T, S, Request, P>
where
    A: Future<Output = Result<T, Rejected>>,
    S: Service<Request>,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    type Output = Result<S::Response, P::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let result = loop {
            match this.step.as_mut().project() {
                // Acquire => (Drive | Done)
                StepProj::Acquire(acquire, ..) => match ready!(acquire.poll(cx)) {
                    Ok(permit) => {
                        *this.permit = Some(permit);
                        if let StepTaken::Acquire(_, service, request) =
                            this.step.as_mut().project_replace(Step::Done)
                        {
                            this.step.set(Step::Drive(service, request));
                        }
                    }
                    Err(rejected) => break this.policy.reject(&mut P::hold(rejected)),
                },
                // Drive => (Respond | Done)
                StepProj::Drive(service, _) => {
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        break Err(P::pass(error));
                    }
                    if let StepTaken::Drive(mut service, request) =
                        this.step.as_mut().project_replace(Step::Done)
                    {
                        this.step.set(Step::Respond(service.call(request)));
                    }
                }
                // Respond => Done
                StepProj::Respond(future) => break ready!(P::pass_on(future.poll(cx))),
                StepProj::Done => panic!("polled after completion"),
            }
        };
        this.step.set(Step::Done);
        drop(mem::take(this.permit));
        Poll::Ready(result)
    }
}
