//! The stacks: their layers, the order of these, and how they are put on the probe.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    time::{Sleep, sleep},
};
use tower::{
    BoxError, Layer as _, Service,
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer, RateLimitLayer},
    retry::{Policy, RetryLayer},
    util::BoxCloneService,
};
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, ExponentialRetry,
    ExponentialRetryLayer, WindowRateLimitLayer,
    backpressure::{Adaptive, Class, Terms, TermsBackpressure},
    reject::RejectPolicyFor,
    retry::{Backoff, Jitter, Verdict},
};

use crate::probe::{Failed, Probe};

/// The permits of every limit: two services can be ready while a third waits.
pub(crate) const PERMITS: u32 = 2;
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
/// The time between the two attempts of every retry. Only the probe's errors are retried.
pub(crate) const BACKOFF: Duration = Duration::from_secs(1);
/// The response that stands for a rejection.
pub(crate) const REJECTED: u32 = 503;

/// The kind of a layer, ours or tower's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// Bounds the requests in flight.
    Bound,
    /// Bounds the requests in a window.
    Rate,
    Retry,
}
pub(crate) use Does::{Bound, Rate, Retry};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// `ConcurrencyBackpressureLayer`, `WindowRateLimitLayer`, `ExponentialRetryLayer`.
    Ours(Does),
    /// `ConcurrencyBackpressureLayer::adaptive`: requests that take the last permit are measured.
    OursAdaptive,
    /// `ConcurrencyLimitLayer`, `RateLimitLayer`, `RetryLayer` with a policy of ours.
    Towers(Does),
    /// `GlobalConcurrencyLimitLayer`.
    TowersGlobal,
}
pub(crate) use Layer::{Ours, OursAdaptive, Towers, TowersGlobal};

/// The reject policy of our limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejects {
    Never,
    WithError,
    WithResponse,
    /// As `WithError`. The requests of the concurrency limit have terms.
    WithTerms,
}
use Rejects::{Never, WithError, WithResponse, WithTerms};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) max_queue: u32,
    pub(crate) max_wait: Duration,
}

/// Too wide to reject any request: all must be as without bounds.
pub(crate) const WIDE: Bounds = Bounds { max_queue: 10, max_wait: Duration::from_secs(3600) };

/// Layers on the probe, the outermost first.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) layers: Vec<Layer>,
    pub(crate) rejects: Rejects,
    pub(crate) bounds: Bounds,
}

/// Our layers alone, in pairs and in threes, in all fifteen orders. Then those with a concurrency
/// limit once more, with one that adapts.
fn ours(rejects: Rejects, bounds: Bounds) -> Vec<Stack> {
    let (all, mut stacks) = ([Bound, Rate, Retry], Vec::new());
    let mut put = |layers: &[Does]| {
        let layers = layers.iter().copied().map(Ours).collect();
        stacks.push(Stack { layers, rejects, bounds });
    };
    for one in all {
        put(&[one]);
        for two in all.into_iter().filter(|&two| two != one) {
            put(&[one, two]);
            for three in all.into_iter().filter(|&three| three != one && three != two) {
                put(&[one, two, three]);
            }
        }
    }
    let mut adaptive: Vec<_> = stacks.iter().filter(|stack| stack.has(Bound)).cloned().collect();
    for layer in adaptive.iter_mut().flat_map(|stack| &mut stack.layers) {
        if *layer == Ours(Bound) {
            *layer = OursAdaptive;
        }
    }
    stacks.append(&mut adaptive);
    stacks
}

/// Our stacks with a concurrency limit, whose requests have terms.
fn with_terms(bounds: Bounds) -> Vec<Stack> {
    let mut stacks = ours(WithTerms, bounds);
    stacks.retain(|stack| stack.has(Bound));
    stacks
}

/// Stacks of tower's layers, as the control.
fn towers() -> Vec<Stack> {
    let stacks: [&[Layer]; 8] = [
        &[Towers(Bound)],
        &[TowersGlobal],
        &[Towers(Rate)],
        &[Towers(Retry)],
        &[TowersGlobal, Towers(Retry)],
        &[Towers(Retry), TowersGlobal],
        &[TowersGlobal, Towers(Rate)],
        &[Towers(Rate), TowersGlobal],
    ];
    stacks.map(|layers| Stack { layers: layers.to_vec(), rejects: Never, bounds: WIDE }).to_vec()
}

/// All stacks: ours with each reject policy, and tower's.
pub(crate) fn all() -> Vec<Stack> {
    let stacks = [Never, WithError, WithResponse].map(|rejects| ours(rejects, WIDE));
    [stacks.concat(), with_terms(WIDE), towers()].concat()
}

/// The limits of our stacks with bounds.
pub(crate) fn bounded(bounds: Bounds) -> Vec<(Stack, Does)> {
    let with_terms = with_terms(bounds);
    limits([ours(WithError, bounds), ours(WithResponse, bounds), with_terms].concat())
}

/// The stacks with a retry.
pub(crate) fn retries() -> Vec<Stack> {
    all().into_iter().filter(|stack| stack.has(Retry)).collect()
}

/// Each limit of each stack.
pub(crate) fn limits(stacks: Vec<Stack>) -> Vec<(Stack, Does)> {
    let limits = |stack: Stack| stack.limits().into_iter().map(move |limit| (stack.clone(), limit));
    stacks.into_iter().flat_map(limits).collect()
}

/// The limits inside of a retry, which every attempt passes.
pub(crate) fn retried(mut limits: Vec<(Stack, Does)>) -> Vec<(Stack, Does)> {
    limits.retain(|(stack, limit)| stack.outside(Retry, *limit));
    limits
}

impl Layer {
    const fn does(self) -> Does {
        match self {
            Ours(does) | Towers(does) => does,
            OursAdaptive | TowersGlobal => Bound,
        }
    }
}

impl Stack {
    pub(crate) fn has(&self, does: Does) -> bool {
        self.layers.iter().any(|layer| layer.does() == does)
    }

    /// Returns whether the stack has both, and `outer` is outside of `inner`.
    pub(crate) fn outside(&self, outer: Does, inner: Does) -> bool {
        let position = |does| self.layers.iter().position(|layer| layer.does() == does);
        matches!((position(outer), position(inner)), (Some(outer), Some(inner)) if outer < inner)
    }

    pub(crate) fn limits(&self) -> Vec<Does> {
        [Bound, Rate].into_iter().filter(|&limit| self.has(limit)).collect()
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.layers.iter().all(|layer| matches!(layer, Ours(_) | OursAdaptive))
    }

    /// Returns whether the stack is `Clone`. tower's rate limit holds its count, and is not.
    pub(crate) fn is_clone(&self) -> bool {
        !self.layers.contains(&Towers(Rate))
    }

    pub(crate) fn build(&self, probe: Probe) -> (Boxed, Handles) {
        let mut handles = Handles { bound: None, rate: None };
        let mut service = Boxed::new(probe);
        for &layer in self.layers.iter().rev() {
            service = handles.wrap(service, layer, self);
        }
        (service, handles)
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.layers.iter().map(|layer| format!("{layer:?}")).collect();
        write!(f, "{} ({:?})", names.join(" > "), self.rejects)
    }
}

/// A type-erased service.
pub(crate) type Boxed = BoxCloneService<u32, u32, BoxError>;

/// The counts of a limit, read from its handle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) taken: u32,
    pub(crate) queued: u32,
    pub(crate) rejected: u64,
}

/// The readings of the limits of a stack.
pub(crate) struct Handles {
    pub(crate) bound: Option<Box<dyn Fn() -> Counts>>,
    pub(crate) rate: Option<Box<dyn Fn() -> Counts>>,
}

/// Puts a concurrency limit of any type on a service.
macro_rules! concurrency {
    ($handles:ident, $bound:expr, $inner:ident, $stack:ident) => {{
        let (bound, Bounds { max_queue, max_wait }) = ($bound, $stack.bounds);
        match $stack.rejects {
            Never => $handles.bound(bound, $inner),
            WithError => $handles.bound(bound.max_queue(max_queue).max_wait(max_wait), $inner),
            WithResponse => {
                let bound = bound.max_queue(max_queue).max_wait(max_wait);
                $handles.bound(bound.reject_with(|_| REJECTED), $inner)
            }
            WithTerms => {
                let bound = bound.max_queue(max_queue).max_wait(max_wait);
                $handles.read_bound(bound.handle());
                Boxed::new(WithTermsAlways::new(bound.with_terms().layer($inner)))
            }
        }
    }};
}

impl Handles {
    fn wrap(&mut self, inner: Boxed, layer: Layer, stack: &Stack) -> Boxed {
        let Bounds { max_queue, max_wait } = stack.bounds;
        let rate = WindowRateLimitLayer::new(PERMITS, WINDOW);
        match (layer, stack.rejects) {
            (Ours(Bound), _) => {
                concurrency!(self, ConcurrencyBackpressureLayer::new(PERMITS), inner, stack)
            }
            (OursAdaptive, _) => {
                // The search begins with the upper one of two limits, for more requests than any
                // check makes.
                let adaptive = Adaptive::new().between(PERMITS - 1, PERMITS);
                let bound = ConcurrencyBackpressureLayer::adaptive(adaptive);
                assert_eq!(bound.handle().limit(), PERMITS);
                concurrency!(self, bound, inner, stack)
            }
            (Ours(Rate), Never) => self.rate(rate, inner),
            (Ours(Rate), WithError | WithTerms) => {
                self.rate(rate.max_queue(max_queue).max_wait(max_wait), inner)
            }
            (Ours(Rate), WithResponse) => {
                let rate = rate.max_queue(max_queue).max_wait(max_wait);
                self.rate(rate.reject_with(|_| REJECTED), inner)
            }
            (Ours(Retry), _) => {
                let policy = ExponentialRetry::new(2)
                    .backoff(Backoff::new(BACKOFF, BACKOFF).jitter(Jitter::None))
                    .classify(|_: &u32, result: &Result<u32, BoxError>| match result {
                        Err(error) if error.is::<Failed>() => Verdict::Retry,
                        _ => Verdict::Done,
                    });
                Boxed::new(ExponentialRetryLayer::new(policy).layer(inner))
            }
            (Towers(Bound), _) => {
                Boxed::new(ConcurrencyLimitLayer::new(PERMITS as usize).layer(inner))
            }
            (TowersGlobal, _) => {
                let semaphore = Arc::new(Semaphore::new(PERMITS as usize));
                let layer = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&semaphore));
                self.bound = Some(Box::new(move || Counts {
                    taken: PERMITS - u32::try_from(semaphore.available_permits()).unwrap(),
                    ..Counts::default()
                }));
                Boxed::new(layer.layer(inner))
            }
            (Towers(Rate), _) => {
                Boxed::new(Single(RateLimitLayer::new(PERMITS.into(), WINDOW).layer(inner)))
            }
            (Towers(Retry), _) => Boxed::new(RetryLayer::new(Once(true)).layer(inner)),
        }
    }

    fn bound<A>(&mut self, layer: ConcurrencyBackpressureLayer<A>, inner: Boxed) -> Boxed
    where
        A: RejectPolicyFor<u32, BoxError, Error = BoxError> + Send + 'static,
    {
        self.read_bound(layer.handle());
        Boxed::new(layer.layer(inner))
    }

    fn read_bound(&mut self, handle: ConcurrencyBackpressureHandle) {
        self.bound = Some(Box::new(move || Counts {
            taken: handle.in_flight(),
            queued: handle.queued(),
            rejected: handle.rejected().total(),
        }));
    }

    fn rate<A>(&mut self, layer: WindowRateLimitLayer<A>, inner: Boxed) -> Boxed
    where
        A: RejectPolicyFor<u32, BoxError, Error = BoxError> + Send + 'static,
    {
        let handle = layer.handle();
        self.rate = Some(Box::new(move || Counts {
            taken: PERMITS - handle.remaining(),
            queued: handle.queued(),
            rejected: handle.rejected().total(),
        }));
        Boxed::new(layer.layer(inner))
    }
}

/// Sets terms for each request before it polls: a deadline that is far away, and a class.
struct WithTermsAlways<P> {
    inner: TermsBackpressure<Boxed, P>,
    is_set: bool,
}

impl<P> WithTermsAlways<P> {
    const fn new(inner: TermsBackpressure<Boxed, P>) -> Self {
        Self { inner, is_set: false }
    }
}

impl<P: Clone> Clone for WithTermsAlways<P> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone())
    }
}

impl<P> Service<u32> for WithTermsAlways<P>
where
    P: RejectPolicyFor<u32, BoxError, Error = BoxError>,
{
    type Response = u32;
    type Error = BoxError;
    type Future = <TermsBackpressure<Boxed, P> as Service<u32>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if !std::mem::replace(&mut self.is_set, true) {
            let terms = Terms::new().deadline(24 * 60 * WINDOW).class(Class::Critical);
            self.inner.terms(terms);
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: u32) -> Self::Future {
        self.is_set = false;
        self.inner.call(request)
    }
}

/// A policy for tower's retry that retries once.
#[derive(Clone)]
struct Once(bool);

impl Policy<u32, u32, BoxError> for Once {
    type Future = Sleep;

    fn retry(&mut self, _: &mut u32, result: &mut Result<u32, BoxError>) -> Option<Sleep> {
        let failed = matches!(result, Err(error) if error.is::<Failed>());
        (failed && std::mem::take(&mut self.0)).then(|| sleep(BACKOFF))
    }

    fn clone_request(&mut self, request: &u32) -> Option<u32> {
        Some(*request)
    }
}

/// Makes a service that is not `Clone` fit the box. Its clone panics.
struct Single<S>(S);

impl<S> Clone for Single<S> {
    fn clone(&self) -> Self {
        panic!("not `Clone`")
    }
}

impl<S: Service<u32>> Service<u32> for Single<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: u32) -> S::Future {
        self.0.call(request)
    }
}
