//! A stack on trial, and the steps that the checks are made of.

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
    stacks::{BACKOFF, Bound, Boxed, Does, Handles, PLACES, Rate, Retry, Stack, WIDE, WINDOW},
    wake_counter::WakeCounter,
};

/// A waker, and what it counts.
pub(crate) fn waker() -> (Waker, Arc<WakeCounter>) {
    let wakes = WakeCounter::new();
    (wakes.waker(), wakes)
}

/// What `panics` panics with. That is meant, so nothing is printed.
#[track_caller]
pub(crate) fn message_of<T>(panics: impl FnOnce() -> T) -> String {
    thread_local!(static MEANT: Cell<bool> = const { Cell::new(false) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = take_hook();
        set_hook(Box::new(move |panic| {
            if !MEANT.get() {
                print(panic);
            }
        }));
    });
    MEANT.set(true);
    let caught = catch_unwind(AssertUnwindSafe(|| drop(panics())));
    MEANT.set(false);
    text(&*caught.expect_err("it has to panic"))
}

/// The text of a panic.
pub(crate) fn text(payload: &(dyn Any + Send)) -> String {
    let literal = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    literal.or_else(|| payload.downcast_ref().cloned()).unwrap_or_default()
}

/// What is done with a service.
pub(crate) trait Customer {
    fn poll(&mut self, waker: &Waker) -> Poll<Result<(), BoxError>>;

    /// Calls it, ready or not.
    fn dispatch(&mut self, request: u32) -> Sent;

    /// Polls readiness with a waker. An error is neither of the two.
    #[track_caller]
    fn is_ready_for(&mut self, waker: &Waker) -> bool {
        match self.poll(waker) {
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
            Poll::Ready(Err(error)) => panic!("readiness failed: {error}"),
        }
    }

    /// Polls readiness for nobody in particular.
    #[track_caller]
    fn is_ready(&mut self) -> bool {
        self.is_ready_for(Waker::noop())
    }

    /// What it fails to get ready with: if it is the probe's error, untouched.
    #[track_caller]
    fn failure(&mut self) -> Option<Failed> {
        match self.poll(Waker::noop()) {
            Poll::Ready(Err(error)) => error.downcast_ref().copied(),
            other => panic!("{other:?} is no error"),
        }
    }

    /// Sends a request. It has to be ready by now.
    #[track_caller]
    fn send(&mut self, request: u32) -> Sent {
        assert!(self.is_ready(), "not ready for request {request}");
        self.dispatch(request)
    }
}

impl Customer for Boxed {
    fn poll(&mut self, waker: &Waker) -> Poll<Result<(), BoxError>> {
        self.poll_ready(&mut Context::from_waker(waker))
    }

    fn dispatch(&mut self, request: u32) -> Sent {
        Sent { request, response: self.call(request) }
    }
}

/// A request under way.
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

    /// Its answer, which has to be there by now.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Result<u32, BoxError> {
        match self.poll(Waker::noop()) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("there is no answer to request {} yet", self.request),
        }
    }

    /// The same, where only the probe's own error can be one.
    #[track_caller]
    pub(crate) fn result(&mut self) -> Result<u32, Failed> {
        self.answer().map_err(|error| *error.downcast().expect("the probe's error, untouched"))
    }
}

pub(crate) struct Trial {
    pub(crate) stack: Stack,
    pub(crate) probe: Arc<Script>,
    /// What tower's layers do otherwise.
    pub(crate) differs: Option<&'static str>,
    handles: Handles,
    /// The customers are clones of it. What can't be cloned becomes the one customer itself.
    template: Option<Boxed>,
}

impl Trial {
    pub(crate) fn of(stack: Stack) -> Self {
        let (probe, service) = Script::new();
        let (template, handles) = stack.build(service);
        Self { stack, probe, differs: None, handles, template: Some(template) }
    }

    /// Somebody who uses the service; the one who can, if it can't be cloned.
    pub(crate) fn customer(&mut self) -> Boxed {
        self.another().or_else(|| self.template.take()).expect("it has its one customer already")
    }

    fn another(&self) -> Option<Boxed> {
        self.template.as_ref().filter(|_| self.stack.is_clone()).cloned()
    }

    /// Two who use the service, unless it can't be cloned: that differs.
    pub(crate) fn two_customers(&mut self) -> Option<(Boxed, Boxed)> {
        if !self.stack.is_clone() {
            self.differs = Some("tower's rate limit is no `Clone`, and can't be shared");
        }
        Some((self.another()?, self.another()?))
    }

    /// Others use the limit up, so that it is this one at which the next waits; or only so many of its places.
    /// (`service` is used for it if it can't be cloned.) Returned are those that are still in flight.
    /// The places in a window come back one by one, a `BACKOFF` apart.
    pub(crate) async fn occupy(
        &mut self,
        service: &mut Boxed,
        limit: Does,
        places: usize,
    ) -> Vec<Sent> {
        let mut in_flight = Vec::new();
        for request in (100..).take(places) {
            // No other limit is to be in the way.
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

    /// The same during the backoff of a request, which ends meanwhile.
    pub(crate) async fn occupy_in_backoff(&mut self, limit: Does) -> Vec<Sent> {
        // In the window, its first attempt has a place already.
        let places = if limit == Rate { PLACES - 1 } else { PLACES };
        let mut other = self.customer();
        self.occupy(&mut other, limit, places).await
    }

    /// One place of what was occupied comes back; of a window, the oldest.
    pub(crate) async fn free(&mut self, limit: Does, in_flight: &mut Vec<Sent>) {
        match limit {
            Bound => drop(in_flight.remove(0)),
            _ => pass(WINDOW - BACKOFF).await,
        }
    }

    /// Fails the attempt that is under way. The retry waits.
    #[track_caller]
    pub(crate) fn fail_once(&self, sent: &mut Sent) {
        self.probe.end(sent.request, End::Err(Failed("once")));
        assert!(sent.is_pending(), "a failure is retried");
    }

    /// Asserts how many places in flight are taken, how many of the window, and how many wait; of the
    /// limits that the stack has.
    ///
    /// By their handles. And, if nobody waits, by trial: so many more can be ready.
    #[track_caller]
    pub(crate) fn stands(&self, in_flight: usize, spent: usize, waiting: usize) {
        let Handles { bound, rate } = &self.handles;
        let (bound, rate) = (bound.as_ref().map(|read| read()), rate.as_ref().map(|read| read()));
        assert_eq!(bound.map_or(in_flight, |bound| bound.taken), in_flight, "in flight");
        assert_eq!(rate.map_or(spent, |rate| rate.taken), spent, "spent of the window");
        let limits = self.stack.limits();
        if self.stack.is_ours() && !limits.is_empty() {
            let in_line: usize = bound.into_iter().chain(rate).map(|limit| limit.waiting).sum();
            assert_eq!(in_line, waiting, "in line");
        }
        // Where the bounds are narrow everybody is ready, if only to be turned away.
        if waiting == 0 && self.stack.is_clone() && self.stack.bounds == WIDE {
            let taken = |limit: &Does| if *limit == Bound { in_flight } else { spent };
            let free = limits.iter().map(|limit| PLACES - taken(limit)).min();
            let free = free.unwrap_or(usize::MAX).min(PLACES + 1);
            let mood = self.probe.be_unnoticed(Mood::Ready);
            let mut more: Vec<_> = (0..=PLACES).filter_map(|_| self.another()).collect();
            let ready = more.iter_mut().map(Customer::is_ready).filter(|&ready| ready).count();
            self.probe.be_unnoticed(mood);
            assert_eq!(ready, free, "so many more can be ready");
        }
    }

    /// Asserts how it stands when `limit` is used up, and `customers` have come as far as to it, of whom so
    /// many wait. They hold what they got of a limit further out.
    #[track_caller]
    pub(crate) fn stands_at(&self, limit: Does, customers: usize, waiting: usize) {
        let taken = |of| match of {
            _ if of == limit => PLACES,
            _ if self.stack.outside(of, limit) => customers,
            _ => 0,
        };
        self.stands(taken(Bound), taken(Rate), waiting);
    }

    /// The same, when it is its second attempt that has brought one customer there, and the first was long ago.
    #[track_caller]
    pub(crate) fn retry_stands_at(&self, limit: Does, waiting: usize) {
        let stack = &self.stack;
        let again = stack.outside(Retry, Rate) && stack.outside(Rate, limit);
        let spent = if limit == Rate { PLACES } else { usize::from(again) };
        let held = usize::from(stack.outside(Bound, limit) && waiting > 0);
        self.stands(if limit == Bound { PLACES } else { held }, spent, waiting);
    }

    /// How many requests our `limit` has turned away.
    pub(crate) fn turned_away(&self, limit: Does) -> u64 {
        let handle = if limit == Bound { &self.handles.bound } else { &self.handles.rate };
        handle.as_ref().map_or(0, |read| read().rejected)
    }

    /// How many places of the window a request has taken by its second call.
    pub(crate) fn spent_by_two_attempts(&self) -> usize {
        if self.stack.outside(Retry, Rate) { 2 } else { 1 }
    }

    /// What has to be at the end of every check: a window later, nothing is left of anything.
    pub(crate) async fn leaves_nothing(&self) {
        pass(WINDOW).await;
        self.stands(0, 0, 0);
        let template = usize::from(self.template.is_some());
        assert_eq!(self.probe.alive(), template, "inner services and responses alive");
    }
}
