use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;

use super::queue::{Granted, Outcome, QueueBounds, RejectedBy};
use crate::{
    keyed::{
        observed::Rejection,
        rule::{
            RuleList, Rules, SettleRules,
            state::{Held, Why},
        },
        shared::{InFlight, Issuing, Shared},
        states::{Admission, Denied, States, Waiting},
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
}

/// Acquires the permits of a request, or queues it.
#[track_caller]
fn arrive<R: Rules<Request>, Request>(
    shared: &Shared<R>,
    request: &Request,
    bounds: &QueueBounds,
    cx: &Context<'_>,
) -> Result<Result<R::Held, Waiting>, Rejected> {
    let Shared { rules, states, .. } = shared;
    let mut now = states.now();
    let denied = match rules.decide(states, request, &mut now) {
        Ok(held) => return Ok(Ok(held)),
        Err(denied) => denied,
    };
    let rejected = |denied: Denied| {
        let rule = denied.rule;
        let rejected = rules.reject(denied, states, request, &mut states.now());
        Err(RejectedBy { rule, rejected })
    };
    let outcome = match denied.denial.why {
        Why::TooLarge | Why::NoKey | Why::Refused(Refused::NoSlot) => rejected(denied),
        Why::Refused(_) => match rules.wants(states, request) {
            Err(denied) => rejected(denied),
            Ok(wants) => match states.join(wants, denied.rule, bounds, cx) {
                Ok(Admission::Waiting(waiting)) => return Ok(Err(waiting)),
                Ok(Admission::Acquired(granted)) => Ok(granted),
                Err(rejected) => Err(rejected),
            },
        },
    };
    notify(shared, request, outcome).map(Ok)
}

/// Counts and passes on what has become of a request, outside of the lock.
fn notify<R: Rules<Request>, Request>(
    shared: &Shared<R>,
    request: &Request,
    outcome: Outcome,
) -> Result<R::Held, Rejected> {
    let Shared { rules, states, .. } = shared;
    let mut now = states.now();
    match outcome {
        Ok(Granted { held, passed }) => {
            let notifying = Notifying { states, held: &held };
            for (rule, passed) in passed.into_iter().enumerate() {
                if let Some(reason) = passed {
                    let rejection = Rejection::in_dry_run(reason);
                    rules.notify_rejected(states, rule, rejection, request, &mut now);
                }
            }
            mem::forget(notifying);
            Ok(R::held(&held))
        }
        Err(RejectedBy { rule, rejected }) => {
            rules.notify_rejected(states, rule, Rejection::of(&rejected), request, &mut now);
            Err(rejected)
        }
    }
}

/// Refunds permits that were granted, if foreign code that is notified panics.
struct Notifying<'a> {
    states: &'a States,
    held: &'a [Held],
}

impl Drop for Notifying<'_> {
    fn drop(&mut self) {
        self.states.undo(self.held);
    }
}

impl<S, Request, R, P> Future for QueueFuture<S, Request, R, P>
where
    S: Service<Request>,
    R: Rules<Request> + SettleRules<S::Response, S::Error>,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    type Output = Result<S::Response, P::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let result = loop {
            match this.step.as_mut().project() {
                // Arrive => (Wait | Drive | Done)
                ProgressProj::Arrive(_, request) => {
                    let arrived = arrive(this.shared, request, this.bounds, cx);
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
                    match notify(this.shared, &request, granted) {
                        Ok(held) => this.step.set(drive(this.shared, held, service, request)),
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
                    if let Some(mut in_flight) = this.in_flight.take() {
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
