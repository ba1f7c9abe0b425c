//! The one rejection type.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use crate::{
    class::Class,
    rule_name::RuleName,
    time::{Nanos, whole_secs},
};

/// A rejection by a layer of this crate: its reason, and the time after which a retry makes sense.
///
/// The layer's [reject policy](crate::reject) decides how it reaches the caller: as an error, as an
/// error type of the user, or as a response. [`Rejected::find`] finds it behind a `BoxError`, and
/// behind wrappers that name it as their `source`.
///
/// With the feature `grpc`, the `source` of a rejection is a `tonic::Status`: `RESOURCE_EXHAUSTED`
/// of a rate limit, `UNAVAILABLE` of any other. tonic's servers and clients look for it, and would
/// make a broken stream, or `UNKNOWN`, of a rejection without it. Reports that print a chain of
/// errors print it too.
///
/// ```
/// use std::time::Duration;
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_floodgate::{Rejected, WindowRateLimitLayer};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let mut service = ServiceBuilder::new()
///     .layer(WindowRateLimitLayer::new(1, Duration::from_secs(10)).max_queue(0))
///     .service(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
///
/// service.ready().await?.call(1).await?;
/// tokio::time::advance(Duration::from_millis(8_700)).await;
///
/// let error = service.ready().await?.call(2).await.unwrap_err();
/// let rejected = Rejected::find(&*error).expect("rejected by the layer");
/// assert!(rejected.is_queue_full() && rejected.is_rate_limited());
/// assert_eq!(rejected.retry_after(), Some(Duration::from_millis(1_300)));
/// assert_eq!(rejected.retry_after_secs(), Some(2)); // for a header
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Rejected {
    limit: Limit,
    reason: Reason,
    scope: Scope,
    class: Option<Class>,
    /// [`Nanos::NEVER`] means unknown. In nanoseconds, because the futures of all requests have
    /// room for a rejection.
    retry_after: Nanos,
}

/// The limit that rejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Concurrency,
    Rate,
    /// A deadline of the request.
    Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    QueueFull,
    WaitTimeout,
    /// The request could not be done by its deadline.
    TooLate,
    Closed,
    /// The store of a shared quota is away.
    Unavailable,
    /// By a rule of a keyed limit.
    Rule(RuleReason),
}

/// The reason of a keyed limit, which counts its rejections by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleReason {
    /// No permit of the key is left, and no request waits.
    LimitReached,
    /// The cost is above the quota.
    TooLarge,
    /// A new key, while the key table is full of live ones.
    TableFull,
    NoKey,
    /// The key is paused.
    Paused,
}

/// The part of a limit that rejects: nothing, or a rule of a keyed limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) rule: Option<RuleName>,
    /// The quota is shared by several keys.
    pub(crate) is_shared: bool,
}

#[cfg(any(feature = "metrics", feature = "tracing"))]
impl Reason {
    /// Returns the name of the reason in metrics and traces.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::WaitTimeout => "wait_timeout",
            Self::TooLate => "too_late",
            Self::Closed => "closed",
            Self::Unavailable => "unavailable",
            Self::Rule(RuleReason::LimitReached) => "limit_reached",
            Self::Rule(RuleReason::TooLarge) => "too_large",
            Self::Rule(RuleReason::TableFull) => "table_full",
            Self::Rule(RuleReason::NoKey) => "no_key",
            Self::Rule(RuleReason::Paused) => "paused",
        }
    }
}

impl Rejected {
    pub(crate) fn new(limit: Limit, reason: Reason, retry_after: Option<Duration>) -> Self {
        // A wait beyond the range is as long as the range, and known all the same.
        let known = |wait| Nanos::ZERO.after(wait).min(Nanos::new(Nanos::NEVER.get() - 1));
        let retry_after = retry_after.map_or(Nanos::NEVER, known);
        Self { limit, reason, scope: Scope::default(), class: None, retry_after }
    }

    pub(crate) const fn in_scope(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }

    pub(crate) const fn of_class(self, class: Option<Class>) -> Self {
        Self { class, ..self }
    }

    /// Creates the rejection of a request whose deadline has passed.
    pub(crate) fn by_deadline() -> Self {
        Self::new(Limit::Time, Reason::WaitTimeout, None)
    }

    #[cfg(feature = "grpc")]
    pub(crate) const fn limit(&self) -> Limit {
        self.limit
    }

    pub(crate) const fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns true if the queue was full.
    #[must_use]
    pub fn is_queue_full(&self) -> bool {
        self.reason == Reason::QueueFull
    }

    /// Returns true if the wait was longer than allowed, or known to become so.
    #[must_use]
    pub fn is_wait_timeout(&self) -> bool {
        self.reason == Reason::WaitTimeout
    }

    /// Returns true if the request could not be done by its deadline, and was not sent: see
    /// [deadlines](crate::backpressure#deadlines) of a concurrency limit.
    ///
    /// On arrival, [`retry_after`](Self::retry_after) is the time after which it would fit, if no
    /// other request arrives. It has none if the time in service alone exceeds the deadline.
    #[must_use]
    pub fn is_too_late(&self) -> bool {
        self.reason == Reason::TooLate
    }

    /// Returns true if the deadline of the request has passed: see
    /// [`DeadlineLayer`](crate::DeadlineLayer). The request may have reached the server.
    ///
    /// [`is_wait_timeout`](Self::is_wait_timeout) is true as well.
    #[must_use]
    pub fn is_deadline_exceeded(&self) -> bool {
        self.limit == Limit::Time
    }

    /// Returns true if the limit of the request's key was reached: see [`keyed`](crate::keyed).
    #[must_use]
    pub fn is_limit_reached(&self) -> bool {
        self.reason == Reason::Rule(RuleReason::LimitReached)
    }

    /// Returns true if the cost of the request is above the quota of its key, so that waiting does
    /// not help.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.reason == Reason::Rule(RuleReason::TooLarge)
    }

    /// Returns true if the key of the request is new, while the key table is full of live ones: see
    /// [`Rule::reject_when_full`](crate::keyed::Rule::reject_when_full).
    #[must_use]
    pub fn is_table_full(&self) -> bool {
        self.reason == Reason::Rule(RuleReason::TableFull)
    }

    /// Returns true if the request has no key, and its rule
    /// [rejects](crate::keyed::WithoutKey::Reject) such requests.
    #[must_use]
    pub fn is_without_key(&self) -> bool {
        self.reason == Reason::Rule(RuleReason::NoKey)
    }

    /// Returns true if the key of the request is paused: see [`keyed`](crate::keyed#pauses). The
    /// [time](Self::retry_after) is no shorter than until the end of the pause.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.reason == Reason::Rule(RuleReason::Paused)
    }

    /// Returns the name of the [rule](crate::keyed::Rule) that has rejected. `None` for another
    /// layer.
    ///
    /// Takes a lock that the making of a keyed layer takes too, as does the text of the rejection.
    #[must_use]
    pub fn rule(&self) -> Option<Arc<str>> {
        self.scope.rule.map(RuleName::name)
    }

    /// Returns true if the quota that was reached is shared by several keys: by those without a
    /// slot of a full key table, or by the requests without a key.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.scope.is_shared
    }

    /// Returns the rejection with the time of `wait`, if that is longer than its own.
    pub(crate) fn at_least(self, wait: Option<Duration>) -> Self {
        match (self.retry_after(), wait) {
            (Some(own), Some(wait)) if wait > own => {
                Self::new(self.limit, self.reason, Some(wait)).in_scope(self.scope)
            }
            _ => self,
        }
    }

    /// Returns the [class](crate::backpressure#classes) of the request, if it has one.
    #[must_use]
    pub const fn class(&self) -> Option<Class> {
        self.class
    }

    /// Returns true if the limit was closed by its handle.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.reason == Reason::Closed
    }

    /// Returns true if the store of a shared quota was away for longer than the request could wait:
    /// see [`Away::Closed`](crate::shared::Away::Closed). The [time](Self::retry_after) is that of
    /// the next probe of the store.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.reason == Reason::Unavailable
    }

    /// Returns true for a rate limit and for the limits of a key (HTTP's 429). Returns false for a
    /// concurrency limit of all requests, for any limit that is closed, for a key table that is
    /// full, for a store that is away (HTTP's 503), and for a deadline (HTTP's 504).
    #[must_use]
    pub fn is_rate_limited(&self) -> bool {
        match self.reason {
            Reason::TooLate
            | Reason::Closed
            | Reason::Unavailable
            | Reason::Rule(RuleReason::TableFull) => false,
            Reason::Rule(_) => self.limit == Limit::Rate || !self.scope.is_shared,
            Reason::QueueFull | Reason::WaitTimeout => {
                self.limit == Limit::Rate || self.is_of_key_in_flight()
            }
        }
    }

    /// Returns true for requests in flight of a key, which other keys do not share.
    fn is_of_key_in_flight(&self) -> bool {
        let Scope { rule, is_shared } = self.scope;
        self.limit == Limit::Concurrency && rule.is_some() && !is_shared
    }

    /// Returns the reason by which a status is chosen: requests in flight of a key have one status,
    /// whether or not the request could wait.
    #[cfg(feature = "grpc")]
    pub(crate) fn status_reason(&self) -> Reason {
        match self.reason {
            Reason::QueueFull | Reason::WaitTimeout if self.is_of_key_in_flight() => {
                Reason::Rule(RuleReason::LimitReached)
            }
            reason => reason,
        }
    }

    /// Returns the time from the rejection until there is room for this request. `None` if it is
    /// unknown, as at a closed limit, and at a concurrency limit that has not predicted the wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        (self.retry_after != Nanos::NEVER).then(|| self.retry_after.since(Nanos::ZERO))
    }

    /// Returns [`retry_after`](Self::retry_after) in whole seconds for a header: rounded up, and
    /// never 0.
    #[must_use]
    pub fn retry_after_secs(&self) -> Option<u64> {
        self.retry_after().map(whole_secs)
    }

    fn fmt_unavailable(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store of the shared quota is away")?;
        match self.retry_after() {
            Some(wait) => write!(f, "; it is asked again in {wait:?}"),
            None => Ok(()),
        }
    }

    /// Finds a rejection in `error` and its chain of sources.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        crate::cause::find_cause(error)
    }
}

impl fmt::Debug for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected")
            .field("limit", &self.limit)
            .field("reason", &self.reason)
            .field("rule", &self.rule())
            .field("retry_after", &self.retry_after())
            .finish()
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rule) = self.rule() {
            write!(f, "rule {rule}: ")?;
        }
        f.write_str(match (self.limit, self.reason) {
            (_, Reason::Closed) => return f.write_str("limiter is closed"),
            (_, Reason::Rule(RuleReason::TooLarge)) => {
                return f.write_str("the request costs more than the quota");
            }
            (_, Reason::Rule(RuleReason::TableFull)) => {
                return f.write_str("too many keys at once");
            }
            (_, Reason::Rule(RuleReason::NoKey)) => return f.write_str("the request has no key"),
            (_, Reason::Rule(RuleReason::Paused)) => "the key is paused",
            (_, Reason::Unavailable) => return self.fmt_unavailable(f),
            (Limit::Concurrency, _) => "too many requests in flight",
            (Limit::Rate, _) => "too many requests in this window",
            (Limit::Time, _) => return f.write_str("the deadline of the request has passed"),
        })?;
        f.write_str(match self.reason {
            Reason::QueueFull => ", and the queue is full",
            Reason::TooLate => ", and the request could not be done by its deadline",
            Reason::Rule(RuleReason::LimitReached | RuleReason::Paused) => "",
            _ => ", and the wait is too long",
        })?;
        match self.retry_after() {
            Some(wait) => write!(f, "; there is room in {wait:?}"),
            None => Ok(()),
        }
    }
}

/// With gRPC, the source is a status: see `grpc_status`.
#[cfg(not(feature = "grpc"))]
impl Error for Rejected {}
