//! Quotas as values, and as text. Pure.

mod error;
mod list;
#[cfg(feature = "serde")]
mod of_serde;

use std::{fmt, str::FromStr, time::Duration};

use self::list::DELIMITERS;
pub use self::{error::ParseQuotaError, list::Quotas};
use crate::{
    duration_text::{AsText, Fault, Scanner},
    settings::{self, InvalidSetting, literal},
};

/// A number of requests in a window of time, such as `100/1m`.
///
/// The settings of a [`WindowRateLimitLayer`](crate::WindowRateLimitLayer) as one value, which is
/// valid: a limit between 1 and 2<sup>31</sup> - 1, and a window that is longer than zero and at
/// most 100 years.
///
/// # As text
///
/// A quota is parsed from a limit, a `/` or the word `per`, and a window. The window is a unit of
/// time, or numbers with units, which are added. So these are all the same quota:
///
/// `100/1m`, `100/m`, `100 per minute`, `100 per 60 seconds`, `100 / 1min`, `100/59s1000ms`
///
/// The names of the units are those of the crate `humantime`:
///
/// | unit | short | words |
/// | --- | --- | --- |
/// | nanosecond, microsecond, millisecond | `ns`, `us`, `ms` | `nanos`, `usec`, `millis` |
/// | second | `s` | `sec`, `secs`, `second`, `seconds` |
/// | minute | `m` | `min`, `mins`, `minute`, `minutes` |
/// | hour | `h` | `hr`, `hrs`, `hour`, `hours` |
/// | day, week | `d`, `w` | `day`, `days`, `week`, `weeks` |
/// | month, of 30.44 days | `M` | `month`, `months` |
/// | year, of 365.25 days | `y` | `yr`, `yrs`, `year`, `years` |
///
/// `m` is a minute and `M` a month; the case of words does not matter. A month of a calendar may
/// have 31 days: to obey a server that counts by it, write `31d`. The strings of Python's `limits`
/// and of its users (Flask-Limiter, slowapi) are valid, too. Their month has 30 days and their year
/// 360, so a quota by a month or a year is stricter here.
///
/// `Display` writes the limit, a `/`, and the window in the largest units, without spaces.
///
/// ```
/// use std::time::Duration;
/// use tower_floodgate::Quota;
///
/// let quota: Quota = "100 per 90 minutes".parse().unwrap();
/// assert_eq!(quota, Quota::new(100, Duration::from_secs(5400)));
/// assert_eq!(quota.to_string(), "100/1h30m");
///
/// let error = "100/0s".parse::<Quota>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"invalid quota "100/0s": expected a window longer than zero and at most 100 years, found "0s" at byte 4"#,
/// );
/// ```
///
/// # With serde
///
/// With the feature `serde`, a quota is serialized as its text. It is deserialized from its text,
/// or from a map of a `limit` and a `window`: `{ limit = 100, window = "1m" }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    limit: u32,
    window: Duration,
}

impl Quota {
    /// Creates a quota of `limit` requests in each `window`.
    ///
    /// # Panics
    ///
    /// If `limit` is 0 or above 2<sup>31</sup> - 1, or `window` is zero or longer than 100 years.
    #[must_use]
    #[track_caller]
    pub fn new(limit: u32, window: Duration) -> Self {
        literal(Self::try_new(limit, window))
    }

    /// Creates a quota as [`new`](Self::new) does, for values that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `new` panics.
    pub fn try_new(limit: u32, window: Duration) -> Result<Self, InvalidSetting> {
        let limit = settings::permits("limit", limit)?;
        Ok(Self { limit, window: settings::window(window)? })
    }

    /// Creates a quota of settings that were checked before.
    pub(crate) const fn checked(limit: u32, window: Duration) -> Self {
        Self { limit, window }
    }

    /// Returns the number of requests.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// Returns the length of the window.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// Reads a quota, and the space around it.
    fn read(scanner: &mut Scanner<'_>) -> Result<Self, Fault> {
        scanner.skip_space();
        let start = scanner.at();
        let digits = scanner.digits();
        if digits.is_empty() {
            return Err(scanner.fault("a number of requests, as in 100/1m"));
        }
        // A number that does not fit is out of range as any other.
        let limit = settings::permits("limit", digits.parse().unwrap_or(u32::MAX));
        let limit = limit.map_err(|invalid| {
            scanner.fault_since(start, format!("a limit {}", invalid.expected()))
        })?;
        scanner.skip_space();
        if !scanner.eat('/') {
            let fault = scanner.fault("`/` or `per`, and a window, as in 100/1m");
            if !scanner.word().eq_ignore_ascii_case("per") {
                return Err(fault);
            }
        }
        scanner.skip_space();
        let start = scanner.at();
        let window = scanner.duration("a window, such as 1m, 15m or 1h30m", true)?;
        let window = settings::window(window).map_err(|invalid| {
            let expected = format!("a window {}", invalid.expected());
            scanner.fault_since(start, expected)
        })?;
        Ok(Self { limit, window })
    }
}

/// Parses the [text](Quota#as-text) of a quota.
impl FromStr for Quota {
    type Err = ParseQuotaError;

    fn from_str(text: &str) -> Result<Self, ParseQuotaError> {
        let mut scanner = Scanner::new(text);
        let quota = Self::read(&mut scanner);
        let is_list = scanner.peek().is_some_and(|c| DELIMITERS.contains(&c) || c.is_ascii_digit());
        let end = if is_list {
            "the end of the quota: several in one text are `Quotas`"
        } else {
            "the end of the quota"
        };
        let quota = quota.and_then(|quota| scanner.end(end).map(|()| quota));
        quota.map_err(|fault| ParseQuotaError::new(text, fault))
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, window } = self;
        write!(f, "{limit}/{}", AsText(*window))
    }
}
