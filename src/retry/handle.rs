use std::{fmt, sync::Arc, time::Duration};

use super::{
    Backoff, GiveUpCounts, RetryBudget, RetrySettings, RetrySnapshot, observed::Observation,
};
use crate::settings::InvalidSetting;

/// Reads the counts of a named [`ExponentialRetry`](super::ExponentialRetry), and changes its
/// settings while it runs.
///
/// Returned by [`handle`](super::ExponentialRetry::handle) of the policy and of its layer. It is
/// cheap to clone. It keeps neither the policy nor its services alive, and steers all clones of the
/// policy.
///
/// A change holds for requests that begin after it: their first attempt is sent later. A request in
/// progress keeps the settings of its beginning. It reads all of them in one step, without a lock
/// unless a change is under way, so it never has a mixture of two changes. The budget has
/// [setters of its own](Self::budget), which hold for the next deposit and withdrawal of any
/// request.
///
/// ```
/// use std::time::Duration;
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_floodgate::{ExponentialRetry, ExponentialRetryLayer};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let retry = ExponentialRetryLayer::new(ExponentialRetry::new(5).name("github"));
/// let handle = retry.handle();
/// let client = retry.layer(service_fn(|_: u32| async { Err::<(), _>("no answer") }));
///
/// handle.set_max_attempts(2).unwrap();
/// assert_eq!(client.oneshot(1).await, Err("no answer"));
/// assert_eq!((handle.requests(), handle.retries()), (1, 1));
/// assert_eq!(handle.give_ups().max_attempts, 1);
///
/// let error = handle.set_max_attempts(0).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "max_attempts is 0: it must be at least 1, which is the first attempt",
/// );
/// # }
/// ```
#[derive(Clone)]
pub struct ExponentialRetryHandle {
    pub(super) observation: Arc<Observation>,
}

impl ExponentialRetryHandle {
    /// Returns the name of the policy.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.observation.name
    }

    /// Returns the settings with which a request would begin now.
    ///
    /// The backoff is returned, and not used, if the policy has
    /// [`waits`](super::ExponentialRetry::waits).
    #[must_use]
    pub fn settings(&self) -> RetrySettings {
        self.observation.settings()
    }

    /// Changes all settings in one step.
    ///
    /// The backoff is without effect on a policy with [`waits`](super::ExponentialRetry::waits),
    /// as by [`set_backoff`](Self::set_backoff).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_floodgate::{ExponentialRetry, retry::Backoff};
    ///
    /// let policy = ExponentialRetry::new(5).name("github");
    /// let handle = policy.handle();
    ///
    /// let mut settings = handle.settings();
    /// settings.max_attempts = 2;
    /// settings.backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(60));
    /// handle.set(settings)?;
    /// # assert_eq!(handle.settings(), settings);
    /// # Ok::<_, tower_floodgate::InvalidSetting>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If `max_attempts` is 0. Nothing is changed then.
    pub fn set(&self, settings: RetrySettings) -> Result<(), InvalidSetting> {
        self.observation.change(|now| *now = settings)
    }

    /// Changes the attempts of one request, the first one included.
    ///
    /// # Errors
    ///
    /// If `max_attempts` is 0. Nothing is changed then.
    pub fn set_max_attempts(&self, max_attempts: u32) -> Result<(), InvalidSetting> {
        self.observation.change(|settings| settings.max_attempts = max_attempts)
    }

    /// Changes the wait between attempts. Without effect on a policy with
    /// [`waits`](super::ExponentialRetry::waits) of its own, which come before a backoff.
    pub fn set_backoff(&self, backoff: Backoff) {
        self.change(|settings| settings.backoff = backoff);
    }

    /// Changes the longest wait that a server may ask for.
    pub fn set_max_hint(&self, max_hint: Duration) {
        self.change(|settings| settings.max_hint = max_hint);
    }

    /// Changes the time after the beginning of a request by which its waits end. `None` for no
    /// bound.
    pub fn set_max_elapsed(&self, max_elapsed: Option<Duration>) {
        self.change(|settings| settings.max_elapsed = max_elapsed);
    }

    /// Makes a change that cannot be invalid.
    fn change(&self, change: impl FnOnce(&mut RetrySettings)) {
        let result = self.observation.change(change);
        debug_assert!(result.is_ok(), "the number of attempts is unchanged");
    }

    /// Returns the budget, whose settings change by setters of its own, for all that share it.
    ///
    /// ```
    /// use tower_floodgate::{ExponentialRetry, retry::RetryBudget};
    ///
    /// let policy = ExponentialRetry::new(5).budget(RetryBudget::new(0.2)).name("github");
    /// let handle = policy.handle();
    /// handle.budget().expect("the policy has one").set_ratio(0.1)?;
    /// # Ok::<_, tower_floodgate::InvalidSetting>(())
    /// ```
    #[must_use]
    pub fn budget(&self) -> Option<&RetryBudget> {
        self.observation.budget.as_ref()
    }

    /// Returns the number of requests that have begun.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.observation.counts.requests()
    }

    /// Returns the number of retries that were decided on.
    ///
    /// A retry counts when its wait begins, and stays counted if its request is dropped meanwhile.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.observation.counts.retries()
    }

    /// Returns the numbers of failed requests that were not retried, by reason.
    ///
    /// Neither a result that the classifier judges [`Done`](super::Verdict::Done) counts, nor one
    /// of a request [without a copy](super::CloneRequest#requests-that-cannot-be-copied).
    #[must_use]
    pub fn give_ups(&self) -> GiveUpCounts {
        self.observation.counts.give_ups()
    }

    /// Returns the settings and the counts of this moment.
    ///
    /// The counts are read one after the other: the give-ups, the retries, and the requests. So
    /// there are never more give-ups than requests. The settings, read next, are of one moment.
    #[must_use]
    pub fn snapshot(&self) -> RetrySnapshot {
        RetrySnapshot::of(self)
    }

    /// Records the gauge `floodgate_retry_budget_balance`, and registers the other metrics.
    ///
    /// Call it before metrics are scraped, or every few seconds. Policies of one name share the
    /// gauge: the one recorded last sets it. A set of [`Limits`](crate::observe::Limits) adds them
    /// up. A policy without a budget has no gauge.
    ///
    /// `floodgate_retries_total` is not registered: it has no series of a class before the first
    /// retry after a failure of that class.
    #[cfg(feature = "metrics")]
    pub fn record_metrics(&self) {
        self.register_metrics();
        if let Some(budget) = self.budget() {
            self.record_balance(budget.saved().into());
        }
    }

    /// Registers the metrics that have values before their first event.
    #[cfg(feature = "metrics")]
    pub(crate) fn register_metrics(&self) {
        self.observation.metrics.register();
    }

    /// Sets the gauge of the name's budgets.
    #[cfg(feature = "metrics")]
    pub(crate) fn record_balance(&self, saved: f64) {
        self.observation.metrics.record_balance(saved);
    }
}

impl fmt::Debug for ExponentialRetryHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In the order of a snapshot.
        let give_ups = self.give_ups();
        let retries = self.retries();
        f.debug_struct("ExponentialRetryHandle")
            .field("name", &self.name())
            .field("settings", &self.settings())
            .field("budget", &self.budget())
            .field("requests", &self.requests())
            .field("retries", &retries)
            .field("give_ups", &give_ups)
            .finish()
    }
}
