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
        shared::{InFlight, Shared},
        states::Denied,
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

/// The admission of a request in its turn.
struct Turn<R> {
    shared: Arc<Shared<R>>,
    bounds: QueueBounds,
    /// In the queue. `None` until the request has arrived.
    waiting: Option<Waiting>,
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
        let turn = Turn { shared, bounds, waiting: None };
        Self { call: CallFuture::new(turn, service, request, policy) }
    }

    /// Takes the request in flight, to keep it beyond this future. A rejected request has none.
    #[cfg(feature = "server")]
    pub(crate) fn take_in_flight(self: Pin<&mut Self>) -> Option<InFlight<R>> {
        self.project().call.take_in_flight().flatten()
    }
}

impl<R> Turn<R> {
    /// Acquires the permits of a request, or queues it.
    ///
    /// Pending if another task stalls while it makes a slot for the key: the request is to arrive
    /// once more.
    fn arrive<Request>(
        &self,
        request: &Request,
        cx: &Context<'_>,
    ) -> Poll<Result<Result<R::Held, Waiting>, Rejected>>
    where
        R: Rules<Request>,
    {
        let Shared { rules, states, .. } = &*self.shared;
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
        Poll::Ready(Ok(match states.join(wants, denied.rule, &self.bounds, cx)? {
            Admission::Acquired(held) => Ok(R::held(&held)),
            Admission::Waiting(waiting) => Err(waiting),
            Admission::Stalled => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }))
    }
}

impl<R: RuleList> Admit for Turn<R> {
    type Permit = Unissued<R>;
    type InFlight = Option<InFlight<R>>;

    fn issue<F>(mut permit: Unissued<R>, call: impl FnOnce() -> F) -> (F, Option<InFlight<R>>) {
        let held = permit.held.take().expect("it is not issued yet");
        permit.shared.issue(held, call)
    }
}

impl<Request, Response, Error, R> AdmitFor<Request, Response, Error> for Turn<R>
where
    R: Rules<Request> + SettleRules<Response, Error>,
{
    fn poll_acquire(
        mut self: Pin<&mut Self>,
        request: &Request,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Unissued<R>, Rejected>> {
        let held = match &mut self.waiting {
            Some(waiting) => R::held(&ready!(waiting.poll(cx))?),
            None => match ready!(self.arrive(request, cx))? {
                Ok(held) => held,
                Err(waiting) => {
                    self.waiting = Some(waiting);
                    return Poll::Pending;
                }
            },
        };
        Poll::Ready(Ok(Unissued { shared: Arc::clone(&self.shared), held: Some(held) }))
    }

    fn settle(in_flight: &mut Option<InFlight<R>>, result: Result<&Response, &Error>) {
        if let Some(in_flight) = in_flight {
            in_flight.settle(result);
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
