//! The hook, which sees the decisions.

use std::{fmt, sync::Arc};

use super::Decision;

/// Sees each decision about an attempt, for logs and metrics.
///
/// Implemented for any `Fn(&Decision, &Req, &Result<Res, E>)`; [`NoHook`] is the default. A hook is
/// set by [`on_decision_with`](super::ExponentialRetry::on_decision_with), or by
/// [`on_decision`](super::ExponentialRetry::on_decision) if it sees the decision alone.
///
/// Counts, metrics and traces need no hook: see [`name`](super::ExponentialRetry::name).
///
/// Not seen are results that the classifier judges [`Done`](super::Verdict::Done), failures among
/// them; attempts and backoffs that are cut off by a drop or a deadline; and waits for permits,
/// which the handles of the limits count.
///
/// One type can be the hook of many policies, whatever they send:
///
/// ```
/// use std::{
///     fmt,
///     sync::atomic::{AtomicU64, Ordering::Relaxed},
/// };
/// use tower_floodgate::retry::{Decision, ExponentialRetry, OnDecision};
///
/// #[derive(Default)]
/// struct Metrics {
///     retried: AtomicU64,
///     given_up: AtomicU64,
/// }
///
/// impl<Req, Res, E: fmt::Display> OnDecision<Req, Res, E> for Metrics {
///     fn on_decision(&self, decision: &Decision, _: &Req, result: &Result<Res, E>) {
///         let counter = if decision.retry_in().is_ok() { &self.retried } else { &self.given_up };
///         counter.fetch_add(1, Relaxed);
///         if let Err(error) = result {
///             eprintln!("attempt {}: {error}", decision.attempt());
///         }
///     }
/// }
///
/// let policy = ExponentialRetry::new(3).on_decision_with(Metrics::default());
/// # let _ = policy;
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no hook for the outcome `Result<{Res}, {E}>` of a `{Req}`",
    label = "can't see these",
    note = "`on_decision_with` takes an `Fn(&Decision, &{Req}, &Result<{Res}, {E}>)` whose arguments are all annotated; \
            `on_decision` takes an `Fn(&Decision)`"
)]
pub trait OnDecision<Req, Res, E> {
    /// Sees the `decision` about an attempt with this `result`.
    ///
    /// `request` is the copy that would be sent next, before
    /// [`prepare`](super::Classify::prepare). `result` is that of the attempt, before
    /// [`settled`](super::Classify::settled).
    fn on_decision(&self, decision: &Decision, request: &Req, result: &Result<Res, E>);

    /// Returns true if decisions are seen.
    ///
    /// Called before the last attempt allowed: if false, its request is not
    /// [copied](crate::retry#when-a-request-is-copied) for the hook, which is then not called for
    /// it, unless the classifier needs a copy. By default true.
    fn is_enabled(&self) -> bool {
        true
    }
}

#[diagnostic::do_not_recommend]
impl<F, Req, Res, E> OnDecision<Req, Res, E> for F
where
    F: Fn(&Decision, &Req, &Result<Res, E>),
{
    fn on_decision(&self, decision: &Decision, request: &Req, result: &Result<Res, E>) {
        self(decision, request, result);
    }
}

/// Sees nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHook;

impl<Req, Res, E> OnDecision<Req, Res, E> for NoHook {
    #[inline]
    fn on_decision(&self, _: &Decision, _: &Req, _: &Result<Res, E>) {}

    #[inline]
    fn is_enabled(&self) -> bool {
        false
    }
}

/// A hook that sees the decision alone: that of
/// [`on_decision`](super::ExponentialRetry::on_decision).
///
/// Its type does not name the closure, so that a policy with it has a type that can be written out.
/// Clones share the closure.
#[derive(Clone)]
pub struct DecisionHook(Arc<dyn Fn(&Decision) + Send + Sync>);

impl DecisionHook {
    pub(super) fn new(hook: impl Fn(&Decision) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }
}

impl<Req, Res, E> OnDecision<Req, Res, E> for DecisionHook {
    fn on_decision(&self, decision: &Decision, _: &Req, _: &Result<Res, E>) {
        (self.0)(decision);
    }
}

impl fmt::Debug for DecisionHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DecisionHook(..)")
    }
}

/// A hook that the clones of a policy share: that of
/// [`on_decision_with`](super::ExponentialRetry::on_decision_with).
pub struct SharedHook<N>(Arc<N>);

impl<N> SharedHook<N> {
    pub(super) fn new(hook: N) -> Self {
        Self(Arc::new(hook))
    }
}

impl<N: OnDecision<Req, Res, E>, Req, Res, E> OnDecision<Req, Res, E> for SharedHook<N> {
    fn on_decision(&self, decision: &Decision, request: &Req, result: &Result<Res, E>) {
        self.0.on_decision(decision, request, result);
    }

    fn is_enabled(&self) -> bool {
        self.0.is_enabled()
    }
}

/// For any `N`.
impl<N> Clone for SharedHook<N> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Leaves out the hook, which is the user's.
impl<N> fmt::Debug for SharedHook<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedHook(..)")
    }
}
