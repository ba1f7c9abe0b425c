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
    queue::QueueBounds,
    wait::{Admission, Waiting},
};
use crate::{
    keyed::{
        rule::{RuleList, Rules, SettleRules, state::Why},
        shared::{InFlight, Issuing, Shared},
        states::Denied,
        table::Refused,
    },
    reject::RejectPolicyFor,
    rejected::Rejected,
};

/// The response future of a service at whose limits requests wait.
///
/// The request arrives at the first poll. It waits for the permits of all rules, drives a clone of
/// the inner service ready, calls it, and resolves to its response, or to the outcome of the reject
/// policy. A drop leaves the queue, refunds permits that are not issued, and releases the request
/// in flight.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct QueueFuture<S: Service<Request>, Request, R: RuleList, P> {
    #[pin]
    step: Progress<S, Request, S::Future, R>,
    /// Behind the step, because fields are dropped in order.
    in_flight: Option<InFlight<R>>,
    shared: Arc<Shared<R>>,
    policy: P,
    bounds: QueueBounds,
}

#[pin_project(project = ProgressProj, project_replace = ProgressTaken)]
enum Progress<S, Request, F, R: RuleList> {
    /// Not polled yet.
    Arrive(S, Request),
    /// In the queue. The service is not polled.
    Wait(Waiting, S, Request),
    /// Has permits of all rules, and drives the service ready. The permits are behind the service.
    Drive(S, Request, Unissued<R>),
    Respond(#[pin] F),
    Done,
}

/// Permits of a request that is not issued yet. A drop refunds them.
struct Unissued<R: RuleList> {
    shared: Arc<Shared<R>>,
    held: Option<R::Held>,
}

impl<R: RuleList> Drop for Unissued<R> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.shared.states.undo(held.as_ref());
        }
    }
}

impl<S: Service<Request>, Request, R: RuleList, P> QueueFuture<S, Request, R, P> {
    pub(in crate::keyed) const fn new(
        service: S,
        request: Request,
        shared: Arc<Shared<R>>,
        policy: P,
        bounds: QueueBounds,
    ) -> Self {
        let step = Progress::Arrive(service, request);
        Self { step, in_flight: None, shared, policy, bounds }
    }

    /// Takes the request in flight, to keep it beyond this future. A rejected request has none.
    #[cfg(feature = "server")]
    pub(crate) fn take_in_flight(self: Pin<&mut Self>) -> Option<InFlight<R>> {
        self.project().in_flight.take()
    }
}

/// Acquires the permits of a request, or queues it.
///
/// Pending if another task stalls while it makes a slot for the key: the request is to arrive once
/// more.
fn arrive<R: Rules<Request>, Request>(
    shared: &Shared<R>,
    request: &Request,
    bounds: &QueueBounds,
    cx: &Context<'_>,
) -> Poll<Result<Result<R::Held, Waiting>, Rejected>> {
    let Shared { rules, states, .. } = shared;
    let mut now = states.now();
    let denied = match rules.decide(states, request, &mut now) {
        Ok(held) => return Poll::Ready(Ok(Ok(held))),
        Err(denied) => denied,
    };
    let reject = |denied: Denied| rules.reject(denied, states, request, &mut states.now());
    match denied.denial.why {
        Why::TooLarge | Why::NoKey | Why::Refused(Refused::NoSlot) => {
            return Poll::Ready(Err(reject(denied)));
        }
        Why::Refused(_) => {}
    }
    let wants = rules.wants(states, request).map_err(reject)?;
    Poll::Ready(Ok(match states.join(wants, denied.rule, bounds, cx)? {
        Admission::Acquired(held) => Ok(R::held(&held)),
        Admission::Waiting(waiting) => Err(waiting),
        Admission::Stalled => {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
    }))
}

impl<S, Request, R, P> QueueFuture<S, Request, R, P>
where
    S: Service<Request>,
    R: Rules<Request> + SettleRules<S::Response, S::Error>,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    /// Polls, and keeps the request in flight, whose costs are settled once the inner future has
    /// completed.
    pub(crate) fn poll_holding(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, P::Error>> {
        let mut this = self.project();
        let result = loop {
            match this.step.as_mut().project() {
                // Arrive => (Arrive | Wait | Drive | Done)
                ProgressProj::Arrive(_, request) => {
                    let arrived = ready!(arrive(this.shared, request, this.bounds, cx));
                    let ProgressTaken::Arrive(service, request) =
                        this.step.as_mut().project_replace(Progress::Done)
                    else {
                        unreachable!("it arrives")
                    };
                    match arrived {
                        Ok(Ok(held)) => this.step.set(drive(this.shared, held, service, request)),
                        Ok(Err(waiting)) => {
                            this.step.set(Progress::Wait(waiting, service, request));
                            return Poll::Pending;
                        }
                        Err(rejected) => break this.policy.reject(&mut P::hold(rejected)),
                    }
                }
                // Wait => (Drive | Done)
                ProgressProj::Wait(waiting, ..) => {
                    let granted = ready!(waiting.poll(cx));
                    let ProgressTaken::Wait(_, service, request) =
                        this.step.as_mut().project_replace(Progress::Done)
                    else {
                        unreachable!("it waits")
                    };
                    match granted {
                        Ok(held) => {
                            this.step.set(drive(this.shared, R::held(&held), service, request));
                        }
                        Err(rejected) => break this.policy.reject(&mut P::hold(rejected)),
                    }
                }
                // Drive => (Respond | Done)
                ProgressProj::Drive(service, ..) => {
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        break Err(P::pass(error));
                    }
                    let ProgressTaken::Drive(mut service, request, mut permits) =
                        this.step.as_mut().project_replace(Progress::Done)
                    else {
                        unreachable!("it is driven")
                    };
                    if let Some(held) = permits.held.take() {
                        *this.in_flight = InFlight::new(this.shared, held);
                        let issuing = Issuing::new(this.shared, &held);
                        let future = service.call(request);
                        drop(issuing);
                        this.step.set(Progress::Respond(future));
                    }
                }
                // Respond => Done
                ProgressProj::Respond(future) => {
                    let result = ready!(future.poll(cx));
                    if let Some(in_flight) = this.in_flight {
                        in_flight.settle(result.as_ref());
                    }
                    let Poll::Ready(result) = P::pass_on(Poll::Ready(result)) else {
                        unreachable!("it is ready")
                    };
                    break result;
                }
                ProgressProj::Done => panic!("polled after completion"),
            }
        };
        this.step.set(Progress::Done);
        Poll::Ready(result)
    }
}

impl<S, Request, R, P> Future for QueueFuture<S, Request, R, P>
where
    S: Service<Request>,
    R: Rules<Request> + SettleRules<S::Response, S::Error>,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    type Output = Result<S::Response, P::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.as_mut().poll_holding(cx));
        *self.project().in_flight = None;
        Poll::Ready(result)
    }
}

fn drive<S, Request, F, R: RuleList>(
    shared: &Arc<Shared<R>>,
    held: R::Held,
    service: S,
    request: Request,
) -> Progress<S, Request, F, R> {
    Progress::Drive(service, request, Unissued { shared: Arc::clone(shared), held: Some(held) })
}

impl<S: Service<Request>, Request, R: RuleList, P> fmt::Debug for QueueFuture<S, Request, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.step {
            Progress::Arrive(..) => "Arrive",
            Progress::Wait(..) => "Wait",
            Progress::Drive(..) => "Drive",
            Progress::Respond(..) => "Respond",
            Progress::Done => "Done",
        };
        f.debug_struct("QueueFuture").field("step", &step).finish_non_exhaustive()
    }
}
