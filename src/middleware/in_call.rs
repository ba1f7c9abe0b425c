//! Admission in `call`: acquires a permit, drives a clone to readiness, and calls it.
//!
//! Limits that depend on the request need it. `DeadlineLayer` and `ExemptLayer` use it without a
//! permit, as [`Unlimited`].

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;

use super::on_unwind::OnUnwind;
use crate::{reject::RejectPolicyFor, rejected::Rejected};

/// The admission of one request: waits for its permit, and holds it until the call.
///
/// A drop leaves the queue, or refunds the permit.
pub(crate) trait Admit {
    /// What a request holds from its call until its response.
    type InFlight;

    /// Returns true if the request may be issued now. Otherwise the admission has ended, and is
    /// polled for again.
    ///
    /// Called right before the call, however long the service took to become ready. `is_at_once`
    /// tells that the same poll has admitted the request, and that the service was ready.
    #[inline]
    fn is_current(&mut self, is_at_once: bool) -> bool {
        let _ = is_at_once;
        true
    }

    /// Polled while the service of an admitted request is not ready. Ready ends the admission,
    /// which is polled for again.
    #[inline]
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Pending
    }

    /// Ends the measurement of a request whose service has panicked.
    #[inline]
    fn forget(in_flight: &mut Self::InFlight) {
        let _ = in_flight;
    }

    /// Issues a request that was admitted, by `call`, and commits its permit.
    fn issue<F>(self, call: impl FnOnce() -> F) -> (F, Self::InFlight);
}

/// The admission of a request to a service with this response type and error type.
pub(crate) trait AdmitFor<Request, Response, Error>: Admit {
    /// Polls for the permit. Not called after it is ready, unless it is not
    /// [current](Admit::is_current) any more.
    fn poll_acquire(
        &mut self,
        request: &Request,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Rejected>>;

    /// Is called with the result of the inner service.
    fn settle(in_flight: &mut Self::InFlight, result: &Result<Response, Error>);
}

/// Admits every request.
pub(crate) struct Unlimited;

impl Admit for Unlimited {
    type InFlight = ();

    #[inline]
    fn issue<F>(self, call: impl FnOnce() -> F) -> (F, ()) {
        (call(), ())
    }
}

impl<Request, Response, Error> AdmitFor<Request, Response, Error> for Unlimited {
    #[inline]
    fn poll_acquire(&mut self, _: &Request, _: &mut Context<'_>) -> Poll<Result<(), Rejected>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn settle((): &mut (), _: &Result<Response, Error>) {}
}

/// A response future that acquires a permit first.
///
/// It polls the admission, drives the service ready, calls it, and releases what it holds after the
/// response. If it is dropped before, the service or its response future is dropped first.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub(crate) struct CallFuture<A: Admit, S: Service<Request>, Request, P> {
    #[pin]
    step: Step<A, S, Request, S::Future>,
    /// Behind the step, because fields are dropped in order.
    in_flight: Option<A::InFlight>,
    policy: P,
}

#[pin_project(project = StepProj, project_replace = StepTaken)]
enum Step<A, S, Request, F> {
    Call {
        /// Is not polled before the request is admitted.
        service: S,
        request: Request,
        /// Behind the service, because fields are dropped in order.
        admission: A,
        is_admitted: bool,
    },
    Respond(#[pin] F),
    Done,
}

impl<A: Admit, S: Service<Request>, Request, P> CallFuture<A, S, Request, P> {
    pub(crate) const fn new(admission: A, service: S, request: Request, policy: P) -> Self {
        let step = Step::Call { service, request, admission, is_admitted: false };
        Self { step, in_flight: None, policy }
    }

    /// Takes what is held until the response, to keep it beyond this future. A rejected request has
    /// nothing.
    #[cfg(feature = "server")]
    pub(crate) fn take_in_flight(self: Pin<&mut Self>) -> Option<A::InFlight> {
        self.project().in_flight.take()
    }

    /// Returns the name of the step, for `Debug`.
    pub(crate) const fn step(&self) -> &'static str {
        match self.step {
            Step::Call { is_admitted: false, .. } => "Acquire",
            Step::Call { is_admitted: true, .. } => "Drive",
            Step::Respond(_) => "Respond",
            Step::Done => "Done",
        }
    }
}

impl<A, S, Request, P> CallFuture<A, S, Request, P>
where
    A: AdmitFor<Request, S::Response, S::Error>,
    S: Service<Request>,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    /// Polls, and keeps what is held until the response.
    pub(crate) fn poll_holding(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, P::Error>> {
        let mut this = self.project();
        let mut is_at_once = false;
        let result = loop {
            match this.step.as_mut().project() {
                // Call => (Respond | Done)
                StepProj::Call { service, request, admission, is_admitted } => {
                    if !*is_admitted {
                        if let Err(rejected) = ready!(admission.poll_acquire(request, cx)) {
                            break this.policy.reject(&mut P::hold(rejected));
                        }
                        *is_admitted = true;
                        is_at_once = true;
                    }
                    match service.poll_ready(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => break Err(P::pass(error)),
                        Poll::Pending => {
                            ready!(admission.poll_end(cx));
                            *is_admitted = false;
                            continue;
                        }
                    }
                    if !admission.is_current(is_at_once) {
                        *is_admitted = false;
                        continue;
                    }
                    if let StepTaken::Call { mut service, request, admission, .. } =
                        this.step.as_mut().project_replace(Step::Done)
                    {
                        let (future, in_flight) = admission.issue(|| service.call(request));
                        *this.in_flight = Some(in_flight);
                        this.step.set(Step::Respond(future));
                    }
                }
                // Respond => Done
                StepProj::Respond(future) => {
                    let mut held = OnUnwind::new(this.in_flight, |in_flight| {
                        if let Some(in_flight) = in_flight {
                            A::forget(in_flight);
                        }
                    });
                    let output = future.poll(cx);
                    if let (Poll::Ready(result), Some(in_flight)) = (&output, &mut held.value) {
                        A::settle(in_flight, result);
                    }
                    held.defuse();
                    break ready!(P::pass_on(output));
                }
                StepProj::Done => panic!("polled after completion"),
            }
        };
        this.step.set(Step::Done);
        Poll::Ready(result)
    }
}

impl<A, S, Request, P> Future for CallFuture<A, S, Request, P>
where
    A: AdmitFor<Request, S::Response, S::Error>,
    S: Service<Request>,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    type Output = Result<S::Response, P::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.as_mut().poll_holding(cx));
        *self.project().in_flight = None;
        Poll::Ready(result)
    }
}
