use std::time::Duration;

use super::ApplyError;
#[cfg(feature = "serde")]
use super::fields;
use crate::{
    retry::{
        Backoff, ExponentialRetry, ExponentialRetryHandle, FLOOR_PER_SECOND, MAX_HINT, MAX_SAVED,
        RetryBudget,
    },
    settings::InvalidSetting,
};

/// The settings of an [`ExponentialRetry`], without its classifier and its hook.
///
/// | field | default | |
/// | --- | --- | --- |
/// | `max_attempts` | | attempts of one request, the first one included |
/// | `backoff` | 1 s, doubled up to 20 s, full jitter | the wait between attempts |
/// | `max_elapsed` | none | no wait ends later than this after the request |
/// | `max_hint` | 60 s | a longer wait that a server asks for stops the request |
/// | `budget` | none | bounds the retries of all requests together |
///
/// ```
/// use tower_floodgate::config::{BudgetConfig, RetryConfig};
///
/// # fn main() -> Result<(), tower_floodgate::InvalidSetting> {
/// let mut config = RetryConfig::new(5);
/// config.budget = Some(BudgetConfig::new(0.2));
/// let policy = config.try_policy()?; // .classify(...)
/// # let _ = policy;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct RetryConfig {
    /// The largest number of attempts of one request, the first one included. At least 1.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::max_attempts"))]
    pub max_attempts: u32,
    /// No wait ends later than this after the request was made; `None` without a bound.
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "fields::max_elapsed"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_fields::optional_text"))]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_elapsed: Option<Duration>,
    /// The longest wait that a server may ask for.
    #[cfg_attr(feature = "serde", serde(default = "max_hint"))]
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::max_hint"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_fields::text"))]
    pub max_hint: Duration,
    /// The wait between attempts.
    #[cfg_attr(feature = "serde", serde(default))]
    pub backoff: Backoff,
    /// The bound on the retries of all requests together; `None` without one.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub budget: Option<BudgetConfig>,
}

/// The settings of a [`RetryBudget`].
///
/// | field | default | |
/// | --- | --- | --- |
/// | `ratio` | | retries per request |
/// | `floor_per_second` | 10 | retries per second that need no deposit |
/// | `max_saved` | 100 | bound of the balance, in retries |
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct BudgetConfig {
    /// The number of retries per request, between 0 and 1000.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::ratio"))]
    pub ratio: f64,
    /// The number of retries per second that need no deposit.
    #[cfg_attr(feature = "serde", serde(default = "floor_per_second"))]
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::floor_per_second"))]
    pub floor_per_second: u32,
    /// The largest number of retries that are saved for later.
    #[cfg_attr(feature = "serde", serde(default = "max_saved"))]
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::max_saved"))]
    pub max_saved: u32,
}

#[cfg(feature = "serde")]
const fn max_hint() -> Duration {
    MAX_HINT
}

#[cfg(feature = "serde")]
const fn floor_per_second() -> u32 {
    FLOOR_PER_SECOND
}

#[cfg(feature = "serde")]
const fn max_saved() -> u32 {
    MAX_SAVED
}

impl RetryConfig {
    /// Creates the settings of a policy with the defaults.
    #[must_use]
    pub fn new(max_attempts: u32) -> Self {
        Self {
            max_attempts,
            max_elapsed: None,
            max_hint: MAX_HINT,
            backoff: Backoff::default(),
            budget: None,
        }
    }

    /// Creates a policy with these settings, and a budget of its own.
    ///
    /// # Errors
    ///
    /// If `max_attempts` is 0, or the ratio of the budget is not between 0 and 1000.
    pub fn try_policy(&self) -> Result<ExponentialRetry, InvalidSetting> {
        let Self { max_attempts, max_elapsed, max_hint, backoff, budget } = *self;
        let mut policy =
            ExponentialRetry::try_new(max_attempts)?.backoff(backoff).max_hint(max_hint);
        if let Some(max_elapsed) = max_elapsed {
            policy = policy.max_elapsed(max_elapsed);
        }
        if let Some(budget) = budget {
            policy = policy.budget(budget.try_budget()?);
        }
        Ok(policy)
    }

    /// Checks whether [`apply`](Self::apply) may change a running policy to these settings, and
    /// changes nothing.
    ///
    /// Where several are changed together, each is checked before the first one is applied: see
    /// [settings of a file](crate::guide::settings).
    ///
    /// # Errors
    ///
    /// Those of `apply`.
    pub fn check(&self, handle: &ExponentialRetryHandle) -> Result<(), ApplyError> {
        ExponentialRetry::try_new(self.max_attempts)?;
        if let Some(budget) = &self.budget {
            budget.try_budget()?;
        }
        let (value, running, keeps) = match (&self.budget, handle.budget()) {
            (Some(_), None) => ("present", "absent", "a running policy takes no budget"),
            (None, Some(_)) => ("absent", "present", "a running policy keeps its budget"),
            (Some(_), Some(_)) | (None, None) => return Ok(()),
        };
        let expected = format!("{running}, as that of the running policy: {keeps}");
        // `Debug` of arguments is their text, without quotes.
        Err(InvalidSetting::new("budget", format_args!("{value}"), expected).into())
    }

    /// Changes a running policy to these settings.
    ///
    /// Those of a request change in one step, as by [`set`](ExponentialRetryHandle::set), and hold
    /// for requests that begin later. Those of the budget change next, for all that share it. The
    /// backoff is without effect on a policy with [`waits`](ExponentialRetry::waits).
    ///
    /// ```
    /// use tower_floodgate::config::RetryConfig;
    ///
    /// # fn main() -> Result<(), tower::BoxError> {
    /// let mut config = RetryConfig::new(5);
    /// let policy = config.try_policy()?.name("github");
    /// let handle = policy.handle();
    ///
    /// config.max_attempts = 2;
    /// config.apply(&handle)?;
    /// assert_eq!(handle.settings().max_attempts, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If a setting is invalid, or if only one of policy and settings has a budget: a budget cannot
    /// be added or removed. Nothing is changed then.
    pub fn apply(&self, handle: &ExponentialRetryHandle) -> Result<(), ApplyError> {
        let Self { max_attempts, max_elapsed, max_hint, backoff, budget } = *self;
        self.check(handle)?;
        let mut settings = handle.settings();
        settings.max_attempts = max_attempts;
        settings.max_elapsed = max_elapsed;
        settings.max_hint = max_hint;
        settings.backoff = backoff;
        handle.set(settings)?;
        if let (Some(new), Some(running)) = (budget, handle.budget()) {
            running.set_ratio(new.ratio)?;
            running.set_floor_per_second(new.floor_per_second);
            running.set_max_saved(new.max_saved);
        }
        Ok(())
    }
}

impl BudgetConfig {
    /// Creates the settings of a budget with the defaults.
    #[must_use]
    pub const fn new(ratio: f64) -> Self {
        Self { ratio, floor_per_second: FLOOR_PER_SECOND, max_saved: MAX_SAVED }
    }

    /// Creates a budget with these settings.
    ///
    /// # Errors
    ///
    /// If `ratio` is not between 0 and 1000.
    pub fn try_budget(&self) -> Result<RetryBudget, InvalidSetting> {
        let Self { ratio, floor_per_second, max_saved } = *self;
        let builder = RetryBudget::try_builder(ratio)?;
        Ok(builder.floor_per_second(floor_per_second).max_saved(max_saved).build())
    }
}
