//! Whether a policy is observed, as a part of its type.
//!
//! A policy without a name is [`Unobserved`]: each event is a method that does nothing, and costs
//! no instruction. [`name`](super::ExponentialRetry::name) makes it [`Observed`]: events then go to
//! counts, to the facade `metrics` and to `tracing`, and each request reads the live settings when
//! it begins.

mod counts;
#[cfg(feature = "metrics")]
mod metrics;
mod settings;
#[cfg(feature = "tracing")]
mod traces;

use std::{fmt, sync::Arc};

#[cfg(feature = "metrics")]
pub use self::metrics::{RETRY_ATTEMPTS_BUCKETS, RETRY_BACKOFF_BUCKETS};
pub(super) use self::settings::checked_attempts;
use self::{counts::Counts, sealed::Sealed, settings::WORDS};
pub use self::{counts::GiveUpCounts, settings::RetrySettings};
use super::{
    Decision, ErrorType, RetryBudget, config::Inline, live_words::LiveWords, request::Position,
    shared::Shared,
};
use crate::{
    arc_cache::{CachedArc, arc_cache},
    settings::InvalidSetting,
    time::{self, nanos},
};

/// Whether an [`ExponentialRetry`](super::ExponentialRetry) is observed: [`Unobserved`] or
/// [`Observed`]. Sealed.
pub trait Observer: Sealed {}

/// A policy without a name, whose events nothing sees.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

/// A policy with a [name](super::ExponentialRetry::name), with counts, and with a
/// [handle](super::ExponentialRetryHandle). Clones share them.
#[derive(Clone)]
pub struct Observed(CachedArc<Observation>);

arc_cache!(Observation);

pub(super) mod sealed {
    use super::{Decision, ErrorType, Inline, RetrySettings, Shared};

    /// The events of a policy. Each default does nothing.
    pub trait Sealed {
        /// True if the result of each attempt must be seen.
        const OBSERVES: bool = false;

        /// The policy was configured: its settings have changed.
        #[must_use]
        fn configured(self, inline: &Inline, shared: &Shared) -> Self
        where
            Self: Sized,
        {
            let _ = (inline, shared);
            self
        }

        /// Returns the settings that are live, if they are.
        fn live_settings(&self) -> Option<RetrySettings> {
            None
        }

        /// A request begins. Its settings, and the state that depends on them, are set.
        #[inline]
        fn begin(&self, inline: &mut Inline) {
            let _ = inline;
        }

        /// A decision was made, and will be carried out.
        #[inline]
        fn decided(&self, decision: &Decision, error_type: impl FnOnce() -> ErrorType) {
            let _ = (decision, error_type);
        }

        /// A request has ended, in view of the policy, after this number of attempts.
        #[inline]
        fn ended(&self, attempts: u32) {
            let _ = attempts;
        }
    }
}

impl Sealed for Unobserved {}
impl Observer for Unobserved {}
impl Observer for Observed {}

/// The state that the clones of a named policy share with its handles.
pub(super) struct Observation {
    pub(super) name: Arc<str>,
    pub(super) settings: LiveWords<WORDS>,
    pub(super) budget: Option<RetryBudget>,
    /// True if the waits are not those of the live backoff.
    pub(super) has_waits: bool,
    pub(super) counts: Counts,
    #[cfg(feature = "metrics")]
    pub(super) metrics: metrics::Metrics,
}

impl Observation {
    fn new(name: Arc<str>, inline: &Inline, shared: &Shared) -> Self {
        let settings = RetrySettings::built(inline, shared);
        Self {
            settings: LiveWords::new(settings.to_words()),
            budget: shared.budget.clone(),
            has_waits: shared.waits.is_some(),
            counts: Counts::default(),
            #[cfg(feature = "metrics")]
            metrics: metrics::Metrics::new(&name),
            name,
        }
    }

    pub(super) fn settings(&self) -> RetrySettings {
        RetrySettings::from_words(self.settings.read())
    }

    /// Changes the settings in one step.
    ///
    /// # Errors
    ///
    /// If they are invalid. Nothing is changed then.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&mut RetrySettings),
    ) -> Result<(), InvalidSetting> {
        let changed = self.settings.change(|words| {
            let mut settings = RetrySettings::from_words(*words);
            change(&mut settings);
            checked_attempts(settings.max_attempts)?;
            *words = settings.to_words();
            Ok(RetrySettings::from_words(*words))
        })?;
        // Not under the lock: a subscriber is foreign code.
        #[cfg(feature = "tracing")]
        traces::changed(&self.name, &changed);
        #[cfg(not(feature = "tracing"))]
        let _ = changed;
        Ok(())
    }
}

impl Observed {
    /// # Errors
    ///
    /// If the name is empty.
    pub(super) fn new(
        name: Arc<str>,
        inline: &Inline,
        shared: &Shared,
    ) -> Result<Self, InvalidSetting> {
        if name.is_empty() {
            return Err(InvalidSetting::new("name", name, "a text that is not empty"));
        }
        Ok(Self::of(Observation::new(name, inline, shared)))
    }

    fn of(observation: Observation) -> Self {
        Self(CachedArc::new(Arc::new(observation)))
    }

    pub(super) fn observation(&self) -> &Arc<Observation> {
        self.0.arc()
    }
}

impl Sealed for Observed {
    const OBSERVES: bool = true;

    /// The policy has counts and settings of its own: those before belong to the clones and the
    /// handles made before.
    fn configured(self, inline: &Inline, shared: &Shared) -> Self {
        Self::of(Observation::new(Arc::clone(&self.0.name), inline, shared))
    }

    fn live_settings(&self) -> Option<RetrySettings> {
        Some(self.0.settings())
    }

    fn begin(&self, inline: &mut Inline) {
        self.0.counts.begun();
        let settings = self.0.settings();
        inline.max_attempts = settings.max_attempts;
        inline.backoff = settings.backoff;
        inline.max_hint = nanos(settings.max_hint);
        inline.request.position = Position::of(1, settings.max_attempts);
        inline.request.no_wait_after =
            settings.max_elapsed.and_then(|max| time::now().checked_add(max));
    }

    fn decided(&self, decision: &Decision, error_type: impl FnOnce() -> ErrorType) {
        // Before anything counts: it calls the user's classifier, which may panic.
        #[cfg(any(feature = "metrics", feature = "tracing"))]
        let error_type = error_type();
        self.0.counts.decided(decision);
        #[cfg(feature = "metrics")]
        self.0.metrics.decided(&self.0.name, decision, error_type);
        #[cfg(feature = "tracing")]
        traces::decided(&self.0.name, decision, error_type);
        #[cfg(not(any(feature = "metrics", feature = "tracing")))]
        let _ = error_type;
    }

    fn ended(&self, attempts: u32) {
        #[cfg(feature = "metrics")]
        self.0.metrics.ended(attempts);
        #[cfg(not(feature = "metrics"))]
        let _ = attempts;
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observed").field(&self.0.name).finish()
    }
}
