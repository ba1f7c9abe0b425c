use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;
use tower::retry::Policy;

use super::{
    AnyError, Backoff, ByClone, Classify, CloneRequest, RetryBudget, Verdict, future::Delay,
};
use crate::{
    clock,
    rate_limit::WindowRateLimitHandle,
    settings::{InvalidSetting, literal},
};

/// A server's hint is followed up to this, unless set otherwise.
const MAX_HINT: Duration = Duration::from_secs(60);

/// Retries with exponential backoff, an attempt cap, jitter, the server's hints, and a budget: a
/// [`tower::retry::Policy`].
///
/// | setting | default | |
/// | --- | --- | --- |
/// | `max_attempts` | | attempts of one request, the first one included |
/// | [`backoff`](Self::backoff) | 1 s, doubled up to 20 s, full jitter | how long to wait |
/// | [`max_elapsed`](Self::max_elapsed) | none | no wait ends later than this after the request |
/// | [`max_hint`](Self::max_hint) | 60 s | the longest wait a server can ask for |
/// | [`budget`](Self::budget) | none | bounds the retries of all requests together |
/// | [`classify`](Self::classify) | [`AnyError`] | what is retried |
/// | [`clone_with`](Self::clone_with) | [`ByClone`] | how a request is copied |
/// | [`pause_on_hint`](Self::pause_on_hint) | none | a rate limit that hints pause |
/// | [`on_decision`](Self::on_decision) | none | who is told of decisions |
/// | [`seed`](Self::seed) | random | the jitter's |
///
/// Clones share the budget, the random numbers and the hook. See the [module](crate::retry).
pub struct ExponentialRetry<C = AnyError, D = ByClone> {
    /// Behind one reference count, because tower clones a policy for every request.
    settings: Arc<Settings<C, D>>,
    session: Session,
}

#[derive(Clone)]
struct Settings<C, D> {
    max_attempts: u32,
    max_elapsed: Option<Duration>,
    max_hint: Duration,
    backoff: Backoff,
    random: Random,
    budget: Option<RetryBudget>,
    pauses: Option<WindowRateLimitHandle>,
    hook: Option<Hook>,
    classify: C,
    clone_with: D,
}

/// What belongs to one request.
///
/// tower clones the policy for each request, right after it has asked the shared one to clone the
/// request. So what is noted there, at the start, goes with the request's own clone; everything else
/// changes only in `retry`, which the shared policy never sees.
#[derive(Clone, Copy, Debug, Default)]
struct Session {
    retries: u32,
    /// Set only if `max_elapsed` is: who doesn't need the time doesn't read it.
    started: Option<Instant>,
    last_wait: Option<Duration>,
}

type Hook = Arc<dyn Fn(&Decision) + Send + Sync>;

/// What was decided after an attempt that could have been retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    attempt: u32,
    hint: Option<Duration>,
    next: Result<Duration, GiveUp>,
}

/// Why an attempt that could have been retried was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GiveUp {
    /// It was the last of `max_attempts`.
    AttemptsSpent,
    /// The wait would have ended after `max_elapsed`.
    TimeSpent,
    /// The budget has no retry left.
    BudgetSpent,
    /// The server asks for a longer wait than `max_hint`.
    HintTooLong,
    /// The server forbids trying again.
    Forbidden,
}

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AttemptsSpent => "all attempts are spent",
            Self::TimeSpent => "the wait would end too late",
            Self::BudgetSpent => "the retry budget is spent",
            Self::HintTooLong => "the server asks for too long a wait",
            Self::Forbidden => "the server forbids trying again",
        })
    }
}

impl Decision {
    /// Which attempt it was, counted from 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How long it waits before the next attempt, or why there is none.
    ///
    /// # Errors
    ///
    /// With the reason, if it gave up.
    pub const fn next(&self) -> Result<Duration, GiveUp> {
        self.next
    }

    /// The wait the server asked for, if it did.
    #[must_use]
    pub const fn hint(&self) -> Option<Duration> {
        self.hint
    }
}

/// One stream of random numbers for all clones, so that no two requests draw alike.
///
/// Each draw takes the next seed of a shared sequence, in one atomic step, for a generator of its own.
#[derive(Clone, Debug)]
struct Random(Arc<AtomicU64>);

impl Random {
    fn seeded(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    fn draw(&self) -> fastrand::Rng {
        // The golden ratio: consecutive seeds are far apart. Relaxed: it only has to be another one.
        fastrand::Rng::with_seed(self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Relaxed))
    }
}

impl ExponentialRetry {
    /// Makes at most `max_attempts` attempts, the first one too: `new(1)` never retries.
    ///
    /// # Panics
    ///
    /// If `max_attempts` is 0.
    #[must_use]
    #[track_caller]
    pub fn new(max_attempts: u32) -> Self {
        literal(Self::try_new(max_attempts))
    }

    /// [`new`](Self::new) for a value that is read from somewhere.
    ///
    /// # Errors
    ///
    /// Where `new` panics.
    pub fn try_new(max_attempts: u32) -> Result<Self, InvalidSetting> {
        if max_attempts == 0 {
            let expected = "at least 1, which is the first attempt";
            return Err(InvalidSetting::new("max_attempts", max_attempts, expected));
        }
        let settings = Settings {
            max_attempts,
            max_elapsed: None,
            max_hint: MAX_HINT,
            backoff: Backoff::default(),
            random: Random::seeded(fastrand::u64(..)),
            budget: None,
            pauses: None,
            hook: None,
            classify: AnyError,
            clone_with: ByClone,
        };
        Ok(Self { settings: Arc::new(settings), session: Session::default() })
    }
}

/// A setting that is changed on a policy that has clones is changed on this one only.
impl<C: Clone, D: Clone> ExponentialRetry<C, D> {
    fn set(mut self, set: impl FnOnce(&mut Settings<C, D>)) -> Self {
        set(Arc::make_mut(&mut self.settings));
        self
    }

    /// How long to wait between attempts.
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.set(|settings| settings.backoff = backoff)
    }

    /// Gives up, at once, rather than wait beyond this time after the request was made. Bounds the
    /// waiting between attempts, not the attempts.
    #[must_use]
    pub fn max_elapsed(self, max_elapsed: Duration) -> Self {
        self.set(|settings| settings.max_elapsed = Some(max_elapsed))
    }

    /// Gives up, at once, if the server asks for a longer wait than this.
    #[must_use]
    pub fn max_hint(self, max_hint: Duration) -> Self {
        self.set(|settings| settings.max_hint = max_hint)
    }

    /// Bounds the retries of all requests together. Give the same budget (a clone) to several policies
    /// to bound them together.
    #[must_use]
    pub fn budget(self, budget: RetryBudget) -> Self {
        self.set(|settings| settings.budget = Some(budget))
    }

    /// Seeds the jitter, for tests and simulations: the same draws in the same order. From the operating
    /// system's randomness unless set.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.set(|settings| settings.random = Random::seeded(seed))
    }

    /// Lets a hint of the server's pause the rate limit of `handle`, so that one "too many requests"
    /// holds back everybody. Hints above [`max_hint`](Self::max_hint) don't.
    ///
    /// For hints that come from the server. If the classifier makes one of a [`Rejected`](crate::Rejected)
    /// of that same limit, every rejection pauses those who could go.
    #[must_use]
    pub fn pause_on_hint(self, handle: WindowRateLimitHandle) -> Self {
        self.set(|settings| settings.pauses = Some(handle))
    }

    /// Calls `hook` with every decision about an attempt that could be retried, for logs and metrics. It
    /// is called in the task of the request; successes are not decided about.
    #[must_use]
    pub fn on_decision(self, hook: impl Fn(&Decision) + Send + Sync + 'static) -> Self {
        self.set(|settings| settings.hook = Some(Arc::new(hook)))
    }

    /// Says what is retried: an `Fn(&Req, &Result<Res, E>) -> Verdict` whose arguments are both annotated,
    /// or another [`Classify`]. `Clone`, as a policy is.
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
    pub fn classify<N>(self, classify: N) -> ExponentialRetry<N, D> {
        self.with(|_, clone_with| (classify, clone_with))
    }

    /// Says how a request is copied: an `Fn(&Req) -> Option<Req>`, such as
    /// `reqwest::Request::try_clone`, or another [`CloneRequest`].
    #[must_use]
    pub fn clone_with<N>(self, clone_with: N) -> ExponentialRetry<C, N> {
        self.with(|classify, _| (classify, clone_with))
    }

    fn with<C2, D2>(self, with: impl FnOnce(C, D) -> (C2, D2)) -> ExponentialRetry<C2, D2> {
        let settings = Arc::unwrap_or_clone(self.settings);
        let (classify, clone_with) = with(settings.classify, settings.clone_with);
        let settings = Settings {
            max_attempts: settings.max_attempts,
            max_elapsed: settings.max_elapsed,
            max_hint: settings.max_hint,
            backoff: settings.backoff,
            random: settings.random,
            budget: settings.budget,
            pauses: settings.pauses,
            hook: settings.hook,
            classify,
            clone_with,
        };
        ExponentialRetry { settings: Arc::new(settings), session: self.session }
    }
}

impl<C, D> ExponentialRetry<C, D> {
    /// Decides about an attempt that could be retried: how long to wait, or why not to.
    ///
    /// The budget is asked last, so that nothing is withdrawn for a retry that isn't made.
    fn decide(&self, verdict: Verdict) -> Option<Decision> {
        let settings = &*self.settings;
        let hint = match verdict {
            Verdict::Done => return None,
            Verdict::Retry | Verdict::Never => None,
            Verdict::RetryAfter(hint) => Some(hint),
        };
        let attempt = self.session.retries.saturating_add(1);
        let next = if verdict == Verdict::Never {
            Err(GiveUp::Forbidden)
        } else if hint.is_some_and(|hint| hint > settings.max_hint) {
            Err(GiveUp::HintTooLong)
        } else if attempt >= settings.max_attempts {
            Err(GiveUp::AttemptsSpent)
        } else {
            let Session { retries, last_wait, .. } = self.session;
            let wait = settings
                .backoff
                .wait(retries, last_wait, hint, |span| settings.random.draw().u64(span));
            if self.ends_too_late(wait) {
                Err(GiveUp::TimeSpent)
            } else if settings.budget.as_ref().is_some_and(|budget| !budget.withdraw()) {
                Err(GiveUp::BudgetSpent)
            } else {
                Ok(wait)
            }
        };
        Some(Decision { attempt, hint, next })
    }

    fn ends_too_late(&self, wait: Duration) -> bool {
        match (self.settings.max_elapsed, self.session.started) {
            (Some(max), Some(started)) => {
                let elapsed = clock::now().saturating_duration_since(started);
                elapsed.saturating_add(wait) > max
            }
            _ => false,
        }
    }

    /// Tells those who want to know. The only place that does.
    fn report(&self, decision: &Decision) {
        if let Some(hook) = &self.settings.hook {
            hook(decision);
        }
        if let (Some(handle), Some(hint)) = (&self.settings.pauses, decision.hint) {
            if hint <= self.settings.max_hint {
                handle.pause_for(hint);
            }
        }
    }
}

impl<C, D, Req, Res, E> Policy<Req, Res, E> for ExponentialRetry<C, D>
where
    C: Classify<Req, Res, E>,
    D: CloneRequest<Req>,
{
    type Future = Delay;

    fn retry(&mut self, request: &mut Req, result: &mut Result<Res, E>) -> Option<Delay> {
        let decision = self.decide(self.settings.classify.classify(request, result));
        if let Some(decision) = &decision {
            self.report(decision);
        }
        match decision.and_then(|decision| decision.next.ok()) {
            Some(wait) => {
                self.session.retries += 1;
                self.session.last_wait = Some(wait);
                Some(Delay::of(wait))
            }
            None => {
                let attempts = self.session.retries.saturating_add(1);
                self.settings.classify.settled(request, attempts, result);
                None
            }
        }
    }

    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        if self.session.retries == 0 {
            // A new request, whether it can be cloned or not.
            self.session.started = self.settings.max_elapsed.map(|_| clock::now());
            if let Some(budget) = &self.settings.budget {
                budget.deposit();
            }
        }
        self.settings.clone_with.clone_request(request)
    }
}

impl<C, D> Clone for ExponentialRetry<C, D> {
    fn clone(&self) -> Self {
        Self { settings: Arc::clone(&self.settings), session: self.session }
    }
}

impl<C: fmt::Debug, D: fmt::Debug> fmt::Debug for ExponentialRetry<C, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExponentialRetry")
            .field("max_attempts", &self.settings.max_attempts)
            .field("max_elapsed", &self.settings.max_elapsed)
            .field("max_hint", &self.settings.max_hint)
            .field("backoff", &self.settings.backoff)
            .field("budget", &self.settings.budget)
            .field("classify", &self.settings.classify)
            .field("clone_with", &self.settings.clone_with)
            .finish_non_exhaustive()
    }
}
