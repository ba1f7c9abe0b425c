use std::{
    fmt,
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;
use tower::retry::Policy;

use super::{
    AnyError, Backoff, ByClone, Classify, CloneRequest, RetryBudget, Verdict, budget::Reservation,
    future::Delay,
};
use crate::{
    clock::{self, nanos},
    settings::{InvalidSetting, literal},
    spare::{self, spare},
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
/// | [`max_hint`](Self::max_hint) | 60 s | the longest wait a server can ask for: if it asks for more, the answer is handed on at once |
/// | [`budget`](Self::budget) | none | bounds the retries of all requests together |
/// | [`classify`](Self::classify) | [`AnyError`] | what is retried |
/// | [`clone_with`](Self::clone_with) | [`ByClone`] | how a request is copied |
/// | [`on_decision`](Self::on_decision) | none | the hook that is told of decisions |
/// | [`seed`](Self::seed) | random | the jitter's |
///
/// Clones share the budget, the random numbers and the hook. See the [module](crate::retry).
///
/// tower clones a policy for every request: its numbers are copied, the classifier and the way to copy a
/// request are cloned. What is shared (a budget, `max_elapsed`, a seed) is behind one reference, which each thread keeps
/// for the next request; if there is a hook, it is counted.
#[derive(Clone)]
pub struct ExponentialRetry<C = AnyError, D = ByClone> {
    numbers: Numbers,
    common: Common,
    classify: C,
    clone_with: D,
}

/// What is copied for each request, in one piece: copied field by field, and then moved with the request's
/// future as a whole, it would be read back before the processor has put it together.
#[derive(Clone, Copy)]
struct Numbers {
    session: Session,
    backoff: Backoff,
    /// In nanoseconds.
    max_hint: u64,
    max_attempts: u32,
}

/// What clones have in common, if they have anything: a reference that the threads [keep](mod@spare), unless there is
/// something of a user's behind it.
///
/// All of that is out of line, so that the way of those who have nothing in common stays short.
struct Common(Option<Arc<Shared>>);

impl Clone for Common {
    #[inline]
    fn clone(&self) -> Self {
        #[inline(never)]
        fn another(shared: &Arc<Shared>) -> Arc<Shared> {
            if shared.hook.is_none() { spare::another(shared) } else { Arc::clone(shared) }
        }
        Self(self.0.as_ref().map(another))
    }
}

impl Drop for Common {
    #[inline]
    fn drop(&mut self) {
        #[inline(never)]
        fn let_go(shared: Arc<Shared>) {
            if shared.hook.is_none() {
                spare::keep(shared);
            }
        }
        if let Some(shared) = self.0.take() {
            let_go(shared);
        }
    }
}

/// What is set too rarely to be copied for everybody.
#[derive(Clone)]
struct Shared {
    max_elapsed: Option<Duration>,
    random: Random,
    budget: Option<RetryBudget>,
    hook: Option<Hook>,
}

spare!(Shared);

impl Shared {
    const NOTHING: Self =
        Self { max_elapsed: None, random: Random::OfThread, budget: None, hook: None };
}

/// What belongs to one request.
///
/// tower clones the policy for each request, right after it has asked the shared one to clone the
/// request. So what is noted there, at the start, goes with the request's own clone; everything else
/// changes only in `retry`, which the shared policy never sees.
#[derive(Clone, Copy)]
struct Session {
    next: Next,
    retries: u32,
    /// Before the last retry, in nanoseconds.
    waited: u64,
    /// Set only if `max_elapsed` is: who doesn't need the time doesn't read it.
    started: Option<Instant>,
}

/// The place of the attempt that is sent next among those allowed. One word, so that the most
/// frequent case, the first of several attempts, is told by one comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Next {
    First,
    Middle,
    Last,
    /// The first and the last.
    Only,
}

impl Next {
    const fn of(attempt: u32, max_attempts: u32) -> Self {
        match (attempt == 1, attempt >= max_attempts) {
            (true, false) => Self::First,
            (false, false) => Self::Middle,
            (false, true) => Self::Last,
            (true, true) => Self::Only,
        }
    }
}

impl Session {
    const fn new(max_attempts: u32) -> Self {
        Self { next: Next::of(1, max_attempts), retries: 0, waited: 0, started: None }
    }

    /// The number of the attempt under way, counted from 1.
    const fn attempt(&self) -> u32 {
        self.retries.saturating_add(1)
    }
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
    /// The copy of the request can't be sent any more ([`CloneRequest::can_send`]): of its body too much went
    /// by to be kept.
    NotReplayable,
}

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AttemptsSpent => "all attempts are spent",
            Self::TimeSpent => "the wait would end too late",
            Self::BudgetSpent => "the retry budget is spent",
            Self::HintTooLong => "the server asks for too long a wait",
            Self::Forbidden => "the server forbids trying again",
            Self::NotReplayable => "the request can't be sent again",
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

/// Where jitter comes from.
#[derive(Clone, Debug)]
enum Random {
    /// The thread's own generator, seeded by the time and the thread.
    OfThread,
    /// One stream of random numbers for all clones, so that no two requests draw alike.
    ///
    /// Each draw takes the next seed of a shared sequence, in one atomic step, for a generator of its own.
    Seeded(Arc<AtomicU64>),
}

impl Random {
    fn draw(&self, span: RangeInclusive<u64>) -> u64 {
        match self {
            Self::OfThread => fastrand::u64(span),
            // The golden ratio: consecutive seeds are far apart. Relaxed: it only has to be another one.
            Self::Seeded(next) => {
                let seed = next.fetch_add(0x9E37_79B9_7F4A_7C15, Relaxed);
                fastrand::Rng::with_seed(seed).u64(span)
            }
        }
    }
}

impl ExponentialRetry {
    /// Makes at most `max_attempts` attempts, the first one too: `new(1)` never retries, and seldom
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
        Ok(Self {
            numbers: Numbers {
                max_attempts,
                max_hint: nanos(MAX_HINT),
                backoff: Backoff::default(),
                session: Session::new(max_attempts),
            },
            common: Common(None),
            classify: AnyError,
            clone_with: ByClone,
        })
    }
}

/// A setting that is changed on a policy that has clones is changed on this one only.
impl<C, D> ExponentialRetry<C, D> {
    fn share(mut self, set: impl FnOnce(&mut Shared)) -> Self {
        let mut shared = self.shared().clone();
        set(&mut shared);
        self.common = Common(Some(Arc::new(shared)));
        self
    }

    /// How long to wait between attempts.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.numbers.backoff = backoff;
        self
    }

    /// Gives up, at once, rather than wait beyond this time after the request was made. Bounds the
    /// waiting between attempts, not the attempts.
    #[must_use]
    pub fn max_elapsed(self, max_elapsed: Duration) -> Self {
        self.share(|shared| shared.max_elapsed = Some(max_elapsed))
    }

    /// Gives up, at once, if the server asks for a longer wait than this.
    #[must_use]
    pub fn max_hint(mut self, max_hint: Duration) -> Self {
        self.numbers.max_hint = nanos(max_hint);
        self
    }

    /// Bounds the retries of all requests together. Give the same budget (a clone) to several policies
    /// to bound them together.
    #[must_use]
    pub fn budget(self, budget: RetryBudget) -> Self {
        self.share(|shared| shared.budget = Some(budget))
    }

    /// Seeds the jitter, for tests and simulations: the same draws in the same order. Unless set,
    /// each thread draws from a generator of its own, which the time and the thread have seeded.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.share(|shared| shared.random = Random::Seeded(Arc::new(AtomicU64::new(seed))))
    }

    /// Calls `hook` with every decision about an attempt that could be retried, for logs and metrics. It
    /// is called in the task of the request; successes are not decided about.
    ///
    /// If the hook panics, the panic ends the request, and the budget gets back what was withdrawn.
    /// With a hook, the request of a last attempt is
    /// [copied](crate::retry#when-a-request-is-copied).
    #[must_use]
    pub fn on_decision(self, hook: impl Fn(&Decision) + Send + Sync + 'static) -> Self {
        self.share(|shared| shared.hook = Some(Arc::new(hook)))
    }

    /// Says what is retried: an `Fn(&Req, &Result<Res, E>) -> Verdict` whose arguments are both annotated,
    /// or another [`Classify`]. `Clone`, as a policy is, for each request: keep it small.
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
        let Self { numbers, common, classify, clone_with } = self;
        let (classify, clone_with) = with(classify, clone_with);
        ExponentialRetry { numbers, common, classify, clone_with }
    }

    /// Decides about an attempt that could be retried: how long to wait, or why not to.
    ///
    /// The budget is asked after all that could forbid the retry, so that nothing is withdrawn for
    /// one that is forbidden. Only then is the copy claimed, which ends what was sent before. The
    /// claim fails if the copy was lost after `can_send`; then the retry is refunded before the
    /// decision is reported.
    ///
    /// A retry is returned with its reservation. The caller commits it when the retry is certain.
    fn decide<Req>(&self, verdict: Verdict, copy: &Req) -> (Decision, Option<Reservation<'_>>)
    where
        D: CloneRequest<Req>,
    {
        let Numbers { max_attempts, max_hint, backoff, session } = &self.numbers;
        let hint = match verdict {
            Verdict::RetryAfter(hint) | Verdict::RetryExactly(hint) => Some(hint),
            Verdict::Done | Verdict::Retry | Verdict::Never => None,
        };
        let attempt = session.attempt();
        let next = if verdict == Verdict::Never {
            Err(GiveUp::Forbidden)
        } else if hint.is_some_and(|hint| nanos(hint) > *max_hint) {
            Err(GiveUp::HintTooLong)
        } else if attempt >= *max_attempts {
            Err(GiveUp::AttemptsSpent)
        } else if !self.clone_with.can_send(copy) {
            Err(GiveUp::NotReplayable)
        } else {
            let last_wait = (session.retries > 0).then(|| Duration::from_nanos(session.waited));
            let draw = |span| self.shared().random.draw(span);
            let wait = match verdict {
                Verdict::RetryExactly(wait) => wait,
                _ => backoff.wait(session.retries, last_wait, hint, draw),
            };
            if self.ends_too_late(wait) {
                Err(GiveUp::TimeSpent)
            } else {
                match self.reserve() {
                    Err(why) => Err(why),
                    Ok(_) if !self.clone_with.claim(copy) => Err(GiveUp::NotReplayable),
                    Ok(reservation) => Ok((wait, reservation)),
                }
            }
        };
        let (next, reservation) = match next {
            Ok((wait, reservation)) => (Ok(wait), reservation),
            Err(why) => (Err(why), None),
        };
        (Decision { attempt, hint, next }, reservation)
    }

    /// Withdraws a retry from the budget, if there is one.
    fn reserve(&self) -> Result<Option<Reservation<'_>>, GiveUp> {
        let Some(budget) = &self.shared().budget else { return Ok(None) };
        budget.reserve().map(Some).ok_or(GiveUp::BudgetSpent)
    }

    fn shared(&self) -> &Shared {
        static NOTHING: Shared = Shared::NOTHING;
        self.common.0.as_deref().unwrap_or(&NOTHING)
    }

    fn ends_too_late(&self, wait: Duration) -> bool {
        match (self.shared().max_elapsed, self.numbers.session.started) {
            (Some(max), Some(started)) => {
                let elapsed = clock::now().saturating_duration_since(started);
                elapsed.saturating_add(wait) > max
            }
            _ => false,
        }
    }

    /// Retries or gives up an attempt whose verdict isn't `Done`. Cold: most verdicts are.
    ///
    /// Between the withdrawal and the commit the hook and the classifier's `prepare` are called,
    /// and the timer is made, which needs a runtime. If one of them panics, the request ends and
    /// its retry isn't made. So the reservation, dropped by the panic, is refunded.
    #[cold]
    fn again<Req, Res, E>(&mut self, verdict: Verdict, request: &mut Req) -> Option<Delay>
    where
        C: Classify<Req, Res, E>,
        D: CloneRequest<Req>,
    {
        let (decision, reservation) = self.decide(verdict, request);
        self.report(&decision);
        let wait = decision.next.ok()?;
        self.classify.prepare(request, decision.attempt);
        let delay = Delay::of(wait);
        let _: Option<()> = reservation.map(Reservation::commit);
        self.numbers.session.retries = decision.attempt;
        self.numbers.session.next = Next::of(decision.attempt + 1, self.numbers.max_attempts);
        self.numbers.session.waited = nanos(wait);
        Some(delay)
    }

    /// Notes a new request, whether it can be copied or not.
    #[inline]
    fn begin(&mut self) {
        // `shared()` would choose between two addresses, which costs a policy without any of this.
        let Some(shared) = &self.common.0 else { return };
        if shared.max_elapsed.is_some() {
            self.numbers.session.started = Some(clock::now());
        }
        if let Some(budget) = &shared.budget {
            budget.deposit();
        }
    }

    /// Begins an only attempt, and returns true if a copy of the request is of use.
    ///
    /// After a last attempt no copy is sent. But tower asks `retry` about a result only if it has a
    /// copy, so the copy stays where a hook must be told that the attempts are spent, or the
    /// classifier must see the result.
    #[cold]
    fn wants_copy<Req, Res, E>(&mut self, next: Next) -> bool
    where
        C: Classify<Req, Res, E>,
    {
        if next == Next::Only {
            self.begin();
        }
        next == Next::Middle
            || self.shared().hook.is_some()
            || self.classify.needs_settled(self.numbers.session.attempt())
    }

    /// Tells those who want to know. The only place that does.
    fn report(&self, decision: &Decision) {
        if let Some(hook) = &self.shared().hook {
            hook(decision);
        }
    }
}

impl<C, D, Req, Res, E> Policy<Req, Res, E> for ExponentialRetry<C, D>
where
    C: Classify<Req, Res, E>,
    D: CloneRequest<Req>,
{
    type Future = Delay;

    #[inline]
    fn retry(&mut self, request: &mut Req, result: &mut Result<Res, E>) -> Option<Delay> {
        let delay = match self.classify.classify(request, result) {
            Verdict::Done => None,
            verdict => self.again(verdict, request),
        };
        if delay.is_none() {
            self.classify.settled(request, self.numbers.session.attempt(), result);
        }
        delay
    }

    #[inline]
    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        let next = self.numbers.session.next;
        if next == Next::First {
            self.begin();
        } else if !self.wants_copy::<Req, Res, E>(next) {
            return None;
        }
        self.clone_with.clone_request(request)
    }
}

impl<C: fmt::Debug, D: fmt::Debug> fmt::Debug for ExponentialRetry<C, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExponentialRetry")
            .field("max_attempts", &self.numbers.max_attempts)
            .field("max_elapsed", &self.shared().max_elapsed)
            .field("max_hint", &Duration::from_nanos(self.numbers.max_hint))
            .field("backoff", &self.numbers.backoff)
            .field("budget", &self.shared().budget)
            .field("classify", &self.classify)
            .field("clone_with", &self.clone_with)
            .finish_non_exhaustive()
    }
}
