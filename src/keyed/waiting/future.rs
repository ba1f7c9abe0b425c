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

use super::{
    queue::{Granted, Outcome, QueueBounds, RejectedBy},
    wait::{Admission, Waiting},
};
use crate::{
    keyed::{
        observed::Rejection,
        rule::{
            Look, RuleList, Rules, SettleRules,
            state::{Held, Why},
        },
        shared::{InFlight, Shared},
        states::{Denied, States},
        table::Refused,
    },
    middleware::{Admit, AdmitFor, CallFuture},
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
    call: CallFuture<Turn<R>, S, Request, P>,
}

/// A request that waits brings no penalty.
const FIRST_LOOK: Look = Look { notified: 0, brings_penalties: false };

/// The admission of a request in its turn. A drop leaves the queue, and refunds its permits.
struct Turn<R: RuleList> {
    shared: Arc<Shared<R>>,
    bounds: QueueBounds,
    step: Step<R::Held>,
}

enum Step<H> {
    Arrive(Look),
    Wait(Waiting),
    /// Has the permits of all rules.
    Admitted(H),
    /// Holds nothing any more.
    Issued,
}

impl<R: RuleList> Drop for Turn<R> {
    fn drop(&mut self) {
        if let Step::Admitted(held) = self.step {
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
        let turn = Turn { shared, bounds, step: Step::Arrive(FIRST_LOOK) };
        Self { call: CallFuture::new(turn, service, request, policy) }
    }

    /// Takes the request in flight, to keep it beyond this future. A rejected request has none.
    #[cfg(feature = "server")]
    pub(crate) fn take_in_flight(self: Pin<&mut Self>) -> Option<InFlight<R>> {
        self.project().call.take_in_flight().flatten()
    }
}

impl<R: RuleList> Turn<R> {
    /// Acquires the permits of a request, or queues it.
    ///
    /// Pending if another task stalls while it makes a slot for the key: the request is to arrive
    /// once more.
    fn arrive<Request>(
        &mut self,
        look: Look,
        request: &Request,
        cx: &Context<'_>,
    ) -> Poll<Result<Result<R::Held, Waiting>, Rejected>>
    where
        R: Rules<Request>,
    {
        let Shared { rules, states, .. } = &*self.shared;
        let mut now = states.now();
        let denied = match rules.decide(states, request, look, &mut now) {
            Ok(held) => return Poll::Ready(Ok(Ok(held))),
            Err(denied) => denied,
        };
        let again = look.after(&denied);
        let rejected = |denied: Denied| {
            let rule = denied.rule;
            let rejected = rules.reject(denied, states, request, &mut states.now());
            Err(RejectedBy { rule, rejected })
        };
        let outcome = match denied.denial.why {
            Why::TooLarge | Why::NoKey | Why::Refused(Refused::NoSlot) => rejected(denied),
            Why::Refused(_) => match rules.wants(states, request) {
                Err(denied) => rejected(denied),
                Ok(wants) => match states.join(wants, denied.rule, &self.bounds, cx) {
                    Ok(Admission::Acquired(granted)) => Ok(granted),
                    Ok(Admission::Waiting(waiting)) => return Poll::Ready(Ok(Err(waiting))),
                    Ok(Admission::Stalled) => {
                        cx.waker().wake_by_ref();
                        self.step = Step::Arrive(again);
                        return Poll::Pending;
                    }
                    Err(rejected) => Err(rejected),
                },
            },
        };
        Poll::Ready(notify(&self.shared, request, outcome).map(Ok))
    }
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

impl<R: RuleList> Admit for Turn<R> {
    type InFlight = Option<InFlight<R>>;

    #[inline]
    fn issue<F>(mut self, call: impl FnOnce() -> F) -> (F, Option<InFlight<R>>) {
        let Step::Admitted(held) = mem::replace(&mut self.step, Step::Issued) else {
            unreachable!("it is admitted")
        };
        self.shared.issue(held, call)
    }
}

impl<Request, Response, Error, R> AdmitFor<Request, Response, Error> for Turn<R>
where
    R: Rules<Request> + SettleRules<Response, Error>,
{
    fn poll_acquire(
        &mut self,
        request: &Request,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Rejected>> {
        let held = match &mut self.step {
            // Arrive => (Arrive | Wait | Admitted)
            Step::Arrive(look) => match ready!({
                let look = *look;
                self.arrive(look, request, cx)
            })? {
                Ok(held) => held,
                Err(waiting) => {
                    self.step = Step::Wait(waiting);
                    return Poll::Pending;
                }
            },
            // Wait => Admitted
            Step::Wait(waiting) => {
                let outcome = ready!(waiting.poll(cx));
                notify(&self.shared, request, outcome)?
            }
            Step::Admitted(_) | Step::Issued => unreachable!("it waits"),
        };
        self.step = Step::Admitted(held);
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn settle(in_flight: &mut Option<InFlight<R>>, result: &Result<Response, Error>) {
        if let Some(in_flight) = in_flight {
            in_flight.settle(result.as_ref());
        }
    }
}

#[cfg(feature = "server")]
impl<S, Request, R, P> QueueFuture<S, Request, R, P>
where
    S: Service<Request>,
    R: Rules<Request> + SettleRules<S::Response, S::Error>,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    /// Polls, settles the costs, and keeps the request in flight.
    #[inline]
    pub(crate) fn poll_holding(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, P::Error>> {
        self.project().call.poll_holding(cx)
    }
}

impl<S, Request, R, P> Future for QueueFuture<S, Request, R, P>
where
    S: Service<Request>,
    R: Rules<Request> + SettleRules<S::Response, S::Error>,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    type Output = Result<S::Response, P::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().call.poll(cx)
    }
}

impl<S: Service<Request>, Request, R: RuleList, P> fmt::Debug for QueueFuture<S, Request, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueFuture").field("step", &self.call.step()).finish_non_exhaustive()
    }
}
