//! The policy's settings.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    AnyError, Backoff, ByClone, Decision, DecisionHook, ExponentialRetryHandle, NoHook, Observed,
    Observer, RetryBudget, RetrySettings, SharedHook, Unobserved, Waits,
    observed::checked_attempts,
    request::RequestState,
    shared::{Random, Shared, SharedRef},
};
use crate::{
    settings::{InvalidSetting, literal},
    time::nanos,
};

/// The longest hint that is followed, unless set otherwise.
pub(crate) const MAX_HINT: Duration = Duration::from_secs(60);

/// A retry [`Policy`](tower::retry::Policy) with backoff, jitter, hints, and a budget.
///
/// | setting | default | |
/// | --- | --- | --- |
/// | `max_attempts` | | attempts of one request, the first one included |
/// | [`backoff`](Self::backoff) | 1 s, doubled up to 20 s, full jitter | the wait between attempts |
/// | [`waits`](Self::waits) | none | a list or a function of waits, in the place of the backoff |
/// | [`max_elapsed`](Self::max_elapsed) | none | no wait ends later than this after the request |
/// | [`max_hint`](Self::max_hint) | 60 s | a longer wait that a server asks for stops the request |
/// | [`budget`](Self::budget) | none | bounds the retries of all requests together |
/// | [`classify`](Self::classify) | [`AnyError`] | judges which results are retried |
/// | [`clone_with`](Self::clone_with) | [`ByClone`] | copies a request |
/// | [`on_decision`](Self::on_decision), [`on_decision_with`](Self::on_decision_with) | [`NoHook`] | the hook that sees all decisions |
/// | [`seed`](Self::seed) | random | the seed of the jitter |
/// | [`name`](Self::name) | none | counts, metrics and traces; settings that change at run time |
///
/// Clones share the budget, the random numbers, the hook, and those of a named policy its counts
/// and live settings. See the [module](crate::retry).
///
/// tower clones a policy for every request: its numbers are copied, `classify` and `clone_with` are
/// cloned. The budget, `max_elapsed`, the waits and the seed are behind one reference, which each
/// thread keeps for its next request, and so are the counts and live settings of a named policy. A
/// hook is behind a reference of its own, which is counted.
#[derive(Clone)]
pub struct ExponentialRetry<C = AnyError, D = ByClone, H = NoHook, O = Unobserved> {
    pub(super) inline: Inline,
    pub(super) shared: SharedRef,
    pub(super) classify: C,
    pub(super) clone_with: D,
    pub(super) hook: H,
    pub(super) observer: O,
}

/// The part that is copied for each request, in one piece.
///
/// Copied field by field, and then moved with the request's future as a whole, it would be read
/// back before the processor's store buffer has combined the fields.
#[derive(Clone, Copy, Debug)]
pub struct Inline {
    pub(super) request: RequestState,
    pub(super) backoff: Backoff,
    /// In nanoseconds.
    pub(super) max_hint: u64,
    pub(super) max_attempts: u32,
}

impl ExponentialRetry {
    /// Makes at most `max_attempts` attempts, the first one included.
    ///
    /// `new(u32::MAX)` does not stop for the number of attempts, of which it makes at most 4.3
    /// billion: [`max_elapsed`](Self::max_elapsed), a deadline, a budget or a drop ends them.
    ///
    /// `new(1)` never retries, and seldom
    /// [copies a request](crate::retry#when-a-request-is-copied).
    ///
    /// # Panics
    ///
    /// If `max_attempts` is 0.
    #[must_use]
    #[track_caller]
    pub fn new(max_attempts: u32) -> Self {
        literal(Self::try_new(max_attempts))
    }

    /// Does as [`new`](Self::new), for a value that is not a literal.
    ///
    /// # Errors
    ///
    /// Where `new` panics.
    pub fn try_new(max_attempts: u32) -> Result<Self, InvalidSetting> {
        let max_attempts = checked_attempts(max_attempts)?;
        Ok(Self {
            inline: Inline {
                max_attempts,
                max_hint: nanos(MAX_HINT),
                backoff: Backoff::default(),
                request: RequestState::new(max_attempts),
            },
            shared: SharedRef(None),
            classify: AnyError,
            clone_with: ByClone,
            hook: NoHook,
            observer: Unobserved,
        })
    }
}

/// Of a policy with a [name](Self::name).
impl<C, D, H> ExponentialRetry<C, D, H, Observed> {
    /// Returns a handle, which reads the counts and changes the settings of all clones.
    ///
    /// Take it from the finished policy, or from its layer. A handle of before `backoff`, `waits`,
    /// `max_hint`, `max_elapsed`, `budget` or `name` steers the policy of before. It does steer the
    /// one that `classify`, `clone_with`, `on_decision`, `on_decision_with` or `seed` returns.
    #[must_use]
    pub fn handle(&self) -> ExponentialRetryHandle {
        ExponentialRetryHandle { observation: Arc::clone(self.observer.observation()) }
    }
}

/// Each setter changes this policy and none of its clones.
///
/// Of a named policy, [`backoff`](Self::backoff), [`waits`](Self::waits),
/// [`max_hint`](Self::max_hint), [`max_elapsed`](Self::max_elapsed) and [`budget`](Self::budget)
/// return one of the same name with settings, counts and handles of its own: the handles and counts
/// of before belong to the clones. Settings that a handle has changed are back at those of the
/// policy then.
impl<C, D, H, O: Observer> ExponentialRetry<C, D, H, O> {
    /// Names the policy: its requests are counted, and it has a [handle](Self::handle).
    ///
    /// The name is the label `limiter` of its metrics (feature `metrics`) and a field of its events
    /// (feature `tracing`): see the [module](crate::retry#observation-and-control). A policy
    /// without a name has none of these, and takes no instruction for them. With a name, the
    /// request of a last attempt is [copied](crate::retry#when-a-request-is-copied).
    ///
    /// A name that is given again makes a policy of its own, with counts and settings of its own.
    ///
    /// ```
    /// use tower_floodgate::ExponentialRetry;
    ///
    /// let policy = ExponentialRetry::new(3).name("github");
    /// let handle = policy.handle();
    /// assert_eq!((handle.name(), handle.settings().max_attempts), ("github", 3));
    /// ```
    ///
    /// # Panics
    ///
    /// If the name is empty.
    #[must_use]
    #[track_caller]
    pub fn name(self, name: impl Into<Arc<str>>) -> ExponentialRetry<C, D, H, Observed> {
        literal(self.try_name(name))
    }

    /// Does as [`name`](Self::name), for a value that is not a literal.
    ///
    /// # Errors
    ///
    /// Where `name` panics.
    pub fn try_name(
        self,
        name: impl Into<Arc<str>>,
    ) -> Result<ExponentialRetry<C, D, H, Observed>, InvalidSetting> {
        let observer = Observed::new(name.into(), &self.inline, self.shared.get())?;
        let Self { inline, shared, classify, clone_with, hook, .. } = self;
        Ok(ExponentialRetry { inline, shared, classify, clone_with, hook, observer })
    }

    /// Notes that settings which are live in a named policy were configured.
    fn configured(mut self) -> Self {
        self.observer = self.observer.configured(&self.inline, self.shared.get());
        self
    }

    fn share(mut self, set: impl FnOnce(&mut Shared)) -> Self {
        let mut shared = self.shared.get().clone();
        set(&mut shared);
        self.shared = SharedRef(Some(Arc::new(shared)));
        self
    }

    /// Waits by `backoff` between attempts, unless there are [`waits`](Self::waits).
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.inline.backoff = backoff;
        self.configured()
    }

    /// Waits by a list or a function between attempts, in the place of the
    /// [`backoff`](Self::backoff).
    #[must_use]
    pub fn waits(self, waits: Waits) -> Self {
        self.share(|shared| shared.waits = Some(waits)).configured()
    }

    /// Stops, at once, before a wait that would end later than this after the request was made.
    ///
    /// Bounds the waiting between attempts, not the attempts. A
    /// [`DeadlineLayer`](crate::DeadlineLayer) bounds both.
    #[must_use]
    pub fn max_elapsed(self, max_elapsed: Duration) -> Self {
        self.share(|shared| shared.max_elapsed = Some(max_elapsed)).configured()
    }

    /// Stops, at once, if the server asks for a longer wait than this.
    #[must_use]
    pub fn max_hint(mut self, max_hint: Duration) -> Self {
        self.inline.max_hint = nanos(max_hint);
        self.configured()
    }

    /// Bounds the retries of all requests together.
    ///
    /// Several policies are bounded together by clones of one budget.
    #[must_use]
    pub fn budget(self, budget: RetryBudget) -> Self {
        self.share(|shared| shared.budget = Some(budget)).configured()
    }

    /// Seeds the jitter, for tests and simulations: the same draws in the same order.
    ///
    /// Unless set, each thread draws from a generator of its own, seeded by the time and the
    /// thread.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.share(|shared| shared.random = Random::seeded(seed))
    }

    /// Calls `hook` with every [`Decision`], for logs and metrics.
    ///
    /// The hook is called in the task of the request, for each attempt that the classifier does not
    /// judge [`Done`](super::Verdict::Done). It replaces a hook set before. With a hook, the
    /// request of a last attempt is [copied](crate::retry#when-a-request-is-copied).
    ///
    /// If the hook panics, the panic ends the request, and the withdrawn retry is refunded to the
    /// budget.
    #[must_use]
    pub fn on_decision(
        self,
        hook: impl Fn(&Decision) + Send + Sync + 'static,
    ) -> ExponentialRetry<C, D, DecisionHook, O> {
        self.with(|classify, clone_with, _| (classify, clone_with, DecisionHook::new(hook)))
    }

    /// Calls `hook` with every [`Decision`], the request, and the result of the attempt.
    ///
    /// Takes an `Fn(&Decision, &Req, &Result<Res, E>)` whose arguments are all annotated, or
    /// another [`OnDecision`](super::OnDecision). It is called as the hook of
    /// [`on_decision`](Self::on_decision) is, and either replaces the other.
    ///
    /// ```
    /// use tower::BoxError;
    /// use tower_floodgate::retry::{Decision, ExponentialRetry, Verdict};
    ///
    /// let policy = ExponentialRetry::new(3)
    ///     .classify(|_: &String, result: &Result<u16, BoxError>| match result {
    ///         Ok(503) | Err(_) => Verdict::Retry,
    ///         Ok(_) => Verdict::Done,
    ///     })
    ///     .on_decision_with(
    ///         |decision: &Decision, request: &String, result: &Result<u16, BoxError>| {
    ///             let cause = match result {
    ///                 Ok(status) => format!("status {status}"),
    ///                 Err(error) => error.to_string(),
    ///             };
    ///             match decision.retry_in() {
    ///                 Ok(wait) => println!("{request}: {cause}, retry in {wait:?}"),
    ///                 Err(reason) => println!("{request}: {cause}, {reason}"),
    ///             }
    ///         },
    ///     );
    /// # let _ = policy;
    /// ```
    ///
    /// The request is of the type that the policy retries: in a `client::HttpRetryLayer`, an
    /// `http::Request` with a `client::ReplayBody`, or a `client::ReplayRequest` of reqwest's.
    #[must_use]
    pub fn on_decision_with<N>(self, hook: N) -> ExponentialRetry<C, D, SharedHook<N>, O> {
        self.with(|classify, clone_with, _| (classify, clone_with, SharedHook::new(hook)))
    }

    /// Judges results by `classify`.
    ///
    /// Takes an `Fn(&Req, &Result<Res, E>) -> Verdict` whose arguments are both annotated, or
    /// another [`Classify`](super::Classify). It is cloned for each request, as the policy is: keep
    /// it small.
    ///
    /// ```
    /// use tower::BoxError;
    /// use tower_floodgate::retry::{ExponentialRetry, Verdict};
    ///
    /// let policy = ExponentialRetry::new(3).classify(
    ///     |_: &String, result: &Result<u16, BoxError>| match result {
    ///         Ok(503) | Err(_) => Verdict::Retry,
    ///         Ok(_) => Verdict::Done,
    ///     },
    /// );
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn classify<N>(self, classify: N) -> ExponentialRetry<N, D, H, O> {
        self.with(|_, clone_with, hook| (classify, clone_with, hook))
    }

    /// Copies requests by `clone_with`.
    ///
    /// Takes an `Fn(&Req) -> Option<Req>`, such as `reqwest::Request::try_clone`, or another
    /// [`CloneRequest`](super::CloneRequest). Where a function returns `None`, as `try_clone` does
    /// for a streamed body, the hook is not told; a `client::HttpRetryLayer` tells it.
    #[must_use]
    pub fn clone_with<N>(self, clone_with: N) -> ExponentialRetry<C, N, H, O> {
        self.with(|classify, _, hook| (classify, clone_with, hook))
    }

    fn with<C2, D2, H2>(
        self,
        with: impl FnOnce(C, D, H) -> (C2, D2, H2),
    ) -> ExponentialRetry<C2, D2, H2, O> {
        let Self { inline, shared, classify, clone_with, hook, observer } = self;
        let (classify, clone_with, hook) = with(classify, clone_with, hook);
        ExponentialRetry { inline, shared, classify, clone_with, hook, observer }
    }
}

/// Shows the settings with which a request would begin now: those of a named policy are live.
impl<C, D, H, O> fmt::Debug for ExponentialRetry<C, D, H, O>
where
    C: fmt::Debug,
    D: fmt::Debug,
    H: fmt::Debug,
    O: Observer + fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared @ Shared { budget, waits, .. } = self.shared.get();
        let built = || RetrySettings::built(&self.inline, shared);
        let RetrySettings { max_attempts, backoff, max_hint, max_elapsed } =
            self.observer.live_settings().unwrap_or_else(built);
        f.debug_struct("ExponentialRetry")
            .field("max_attempts", &max_attempts)
            .field("backoff", &backoff)
            .field("waits", waits)
            .field("max_elapsed", &max_elapsed)
            .field("max_hint", &max_hint)
            .field("budget", budget)
            .field("classify", &self.classify)
            .field("clone_with", &self.clone_with)
            .field("on_decision", &self.hook)
            .field("observer", &self.observer)
            .finish_non_exhaustive()
    }
}
