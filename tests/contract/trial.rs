//! A stack under test, and the steps of the checks.

use std::{
    any::Any,
    cell::Cell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    pin::Pin,
    sync::{Arc, Once},
    task::{Context, Poll, Waker},
};

use tower::{BoxError, Service};

use crate::{
    paused_time::pass,
    probe::{End, Failed, Mood, Script},
    stacks::{BACKOFF, Bound, Boxed, Does, Handles, PERMITS, Rate, Retry, Stack, WIDE, WINDOW},
    wake_counter::WakeCounter,
};

/// Returns a waker and its counter.
pub(crate) fn waker() -> (Waker, Arc<WakeCounter>) {
    let wakes = WakeCounter::new();
    (wakes.waker(), wakes)
}

/// Returns the message of the panic of `panics`, and prints nothing.
#[track_caller]
pub(crate) fn message_of<T>(panics: impl FnOnce() -> T) -> String {
    thread_local!(static EXPECTED: Cell<bool> = const { Cell::new(false) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = take_hook();
        set_hook(Box::new(move |panic| {
            if !EXPECTED.get() {
                print(panic);
            }
        }));
    });
    EXPECTED.set(true);
    let caught = catch_unwind(AssertUnwindSafe(|| drop(panics())));
    EXPECTED.set(false);
    text(&*caught.expect_err("a panic"))
}

/// The text of a panic.
pub(crate) fn text(payload: &(dyn Any + Send)) -> String {
    let literal = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    literal.or_else(|| payload.downcast_ref().cloned()).unwrap_or_default()
}

/// The calls of a user of a service.
pub(crate) trait Caller {
    fn poll(&mut self, waker: &Waker) -> Poll<Result<(), BoxError>>;

    /// Calls it, ready or not.
    fn dispatch(&mut self, request: u32) -> Sent;

    /// Polls readiness with a waker.
    ///
    /// # Panics
    ///
    /// If readiness fails.
    #[track_caller]
    fn is_ready_for(&mut self, waker: &Waker) -> bool {
        match self.poll(waker) {
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
            Poll::Ready(Err(error)) => panic!("readiness failed: {error}"),
        }
    }

    /// Polls readiness without a task to wake.
    #[track_caller]
    fn is_ready(&mut self) -> bool {
        self.is_ready_for(Waker::noop())
    }

    /// Returns the readiness error, if it is the probe's, unchanged.
    #[track_caller]
    fn failure(&mut self) -> Option<Failed> {
        match self.poll(Waker::noop()) {
            Poll::Ready(Err(error)) => error.downcast_ref().copied(),
            other => panic!("{other:?} is no error"),
        }
    }

    /// Sends a request to a service that is ready.
    #[track_caller]
    fn send(&mut self, request: u32) -> Sent {
        assert!(self.is_ready(), "not ready for request {request}");
        self.dispatch(request)
    }
}

impl Caller for Boxed {
    fn poll(&mut self, waker: &Waker) -> Poll<Result<(), BoxError>> {
        self.poll_ready(&mut Context::from_waker(waker))
    }

    fn dispatch(&mut self, request: u32) -> Sent {
        Sent { request, response: self.call(request) }
    }
}

/// A request in flight.
pub(crate) struct Sent {
    request: u32,
    response: Pin<Box<dyn Future<Output = Result<u32, BoxError>> + Send>>,
}

impl Sent {
    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<Result<u32, BoxError>> {
        self.response.as_mut().poll(&mut Context::from_waker(waker))
    }

    pub(crate) fn is_pending(&mut self) -> bool {
        self.poll(Waker::noop()).is_pending()
    }

    /// Returns the result of a response that is complete.
    #[track_caller]
    pub(crate) fn outcome(&mut self) -> Result<u32, BoxError> {
        match self.poll(Waker::noop()) {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("the response to request {} is pending", self.request),
        }
    }

    /// The same, where the only error is the probe's.
    #[track_caller]
    pub(crate) fn result(&mut self) -> Result<u32, Failed> {
        self.outcome().map_err(|error| *error.downcast().expect("the probe's error, unchanged"))
    }
}

pub(crate) struct Trial {
    pub(crate) stack: Stack,
    pub(crate) probe: Arc<Script>,
    /// The reason for which tower's layers differ.
    pub(crate) differs: Option<&'static str>,
    handles: Handles,
    /// The callers are clones of it. If it is not `Clone`, it is the only caller.
    template: Option<Boxed>,
}

impl Trial {
    pub(crate) fn of(stack: Stack) -> Self {
        let (probe, service) = Script::new();
        let (template, handles) = stack.build(service);
        Self { stack, probe, differs: None, handles, template: Some(template) }
    }

    /// Returns a caller: a clone, or the only service if it is not `Clone`.
    pub(crate) fn caller(&mut self) -> Boxed {
        self.another().or_else(|| self.template.take()).expect("the only caller exists already")
    }

    fn another(&self) -> Option<Boxed> {
        self.template.as_ref().filter(|_| self.stack.is_clone()).cloned()
    }

    /// Returns two callers, unless the stack is not `Clone`: then it differs.
    pub(crate) fn two_callers(&mut self) -> Option<(Boxed, Boxed)> {
        if !self.stack.is_clone() {
            self.differs = Some("tower's rate limit is not `Clone`, and cannot be shared");
        }
        Some((self.another()?, self.another()?))
    }

    /// Uses up `permits` of the limit, so that the next request waits at this one if none is left.
    ///
    /// `service` sends the requests if it is not `Clone`. Returns the requests still in flight. The
    /// permits of a window expire one by one, a `BACKOFF` apart.
    pub(crate) async fn occupy(
        &mut self,
        service: &mut Boxed,
        limit: Does,
        permits: u32,
    ) -> Vec<Sent> {
        let mut in_flight = Vec::new();
        for request in 100..100 + permits {
            // All permits of the other limit are free.
            pass(if limit == Bound { WINDOW } else { BACKOFF }).await;
            let mut sent = self.another().as_mut().unwrap_or(service).send(request);
            if limit == Bound {
                in_flight.push(sent);
            } else {
                self.probe.end(request, End::Ok(0));
                sent.result().unwrap();
            }
        }
        if limit == Bound {
            pass(WINDOW).await;
        }
        in_flight
    }

    /// The same during the backoff of a request, which ends in the meantime.
    pub(crate) async fn occupy_in_backoff(&mut self, limit: Does) -> Vec<Sent> {
        // The first attempt of the request has spent a permit of the window.
        let permits = if limit == Rate { PERMITS - 1 } else { PERMITS };
        let mut other = self.caller();
        self.occupy(&mut other, limit, permits).await
    }

    /// Releases one of the occupied permits; of a window, the oldest expires.
    pub(crate) async fn free(&mut self, limit: Does, in_flight: &mut Vec<Sent>) {
        match limit {
            Bound => drop(in_flight.remove(0)),
            _ => pass(WINDOW - BACKOFF).await,
        }
    }

    /// Fails the attempt in flight. The retry waits.
    #[track_caller]
    pub(crate) fn fail_once(&self, sent: &mut Sent) {
        self.probe.end(sent.request, End::Err(Failed("once")));
        assert!(sent.is_pending(), "a failure is retried");
    }

    /// Asserts the permits in flight, the permits spent of the window, and the waiters, as far as
    /// the stack has these limits.
    ///
    /// They are read from the handles. If no waiter is queued, they are also tried: the number of
    /// clones that can be ready is that of the free permits.
    #[track_caller]
    pub(crate) fn assert_counts(&self, in_flight: u32, spent: u32, queued: u32) {
        let Handles { bound, rate } = &self.handles;
        let (bound, rate) = (bound.as_ref().map(|read| read()), rate.as_ref().map(|read| read()));
        assert_eq!(bound.map_or(in_flight, |bound| bound.taken), in_flight, "in flight");
        assert_eq!(rate.map_or(spent, |rate| rate.taken), spent, "spent of the window");
        let limits = self.stack.limits();
        if self.stack.is_ours() && !limits.is_empty() {
            let read: u32 = bound.into_iter().chain(rate).map(|limit| limit.queued).sum();
            assert_eq!(read, queued, "queued");
        }
        // With narrow bounds every clone is ready, if only to be rejected.
        if queued == 0 && self.stack.is_clone() && self.stack.bounds == WIDE {
            let taken = |limit: &Does| if *limit == Bound { in_flight } else { spent };
            let free = limits.iter().map(|limit| PERMITS - taken(limit)).min();
            let free = free.unwrap_or(u32::MAX).min(PERMITS + 1);
            let mood = self.probe.be_unnoticed(Mood::Ready);
            let mut more: Vec<_> = (0..=PERMITS).filter_map(|_| self.another()).collect();
            let ready: u32 = more.iter_mut().map(|clone| u32::from(clone.is_ready())).sum();
            self.probe.be_unnoticed(mood);
            assert_eq!(ready, free, "clones that can be ready");
        }
    }

    /// Asserts the counts while `limit` is used up and `callers` requests have come as far as to
    /// it, `queued` of them in its queue. They hold permits of an outer limit.
    #[track_caller]
    pub(crate) fn assert_counts_at(&self, limit: Does, callers: u32, queued: u32) {
        let taken = |of| match of {
            _ if of == limit => PERMITS,
            _ if self.stack.outside(of, limit) => callers,
            _ => 0,
        };
        self.assert_counts(taken(Bound), taken(Rate), queued);
    }

    /// The same, for the second attempt of one request, more than a window after the first.
    #[track_caller]
    pub(crate) fn assert_retry_counts_at(&self, limit: Does, queued: u32) {
        let stack = &self.stack;
        let again = stack.outside(Retry, Rate) && stack.outside(Rate, limit);
        let spent = if limit == Rate { PERMITS } else { u32::from(again) };
        let held = u32::from(stack.outside(Bound, limit) && queued > 0);
        self.assert_counts(if limit == Bound { PERMITS } else { held }, spent, queued);
    }

    /// The number of requests that our `limit` has rejected.
    pub(crate) fn rejections(&self, limit: Does) -> u64 {
        let handle = if limit == Bound { &self.handles.bound } else { &self.handles.rate };
        handle.as_ref().map_or(0, |read| read().rejected)
    }

    /// The permits of the window that a request has spent by its second attempt.
    pub(crate) fn spent_by_two_attempts(&self) -> u32 {
        if self.stack.outside(Retry, Rate) { 2 } else { 1 }
    }

    /// Asserts that a window later no permit, inner service or response is left.
    pub(crate) async fn leaves_nothing(&self) {
        pass(WINDOW).await;
        self.assert_counts(0, 0, 0);
        let template = usize::from(self.template.is_some());
        assert_eq!(self.probe.alive(), template, "inner services and responses that are left");
    }
}
