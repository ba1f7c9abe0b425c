//! Checks of settings, made when they are set.

use std::{error::Error, fmt, time::Duration};

use crate::time::CENTURY;

/// The largest number of permits, and of waiters: 2<sup>31</sup> - 1 and 2<sup>29</sup> - 1. The
/// two share a word.
pub(crate) const MAX_PERMITS: u32 = i32::MAX as u32;
pub(crate) const MAX_QUEUE: u32 = (1 << 29) - 1;

/// An invalid setting: its name, its value, and the valid range.
///
/// Returned by every constructor and setter that starts with `try_`, and by the setters of handles;
/// the ones for literals panic with the same text, at the caller's line.
///
/// ```
/// use tower_floodgate::ConcurrencyBackpressureLayer;
///
/// let error = ConcurrencyBackpressureLayer::try_new(0).unwrap_err();
/// assert_eq!(error.to_string(), "max_in_flight is 0: it must be between 1 and 2147483647");
/// assert_eq!(error.setting(), "max_in_flight");
/// assert_eq!(error.value(), "0");
/// assert_eq!(error.expected(), "between 1 and 2147483647");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    setting: &'static str,
    value: String,
    expected: String,
}

impl InvalidSetting {
    pub(crate) fn new(
        setting: &'static str,
        value: impl fmt::Debug,
        expected: impl Into<String>,
    ) -> Self {
        Self { setting, value: format!("{value:?}"), expected: expected.into() }
    }

    /// The name of the setting, as the constructor or setter calls it.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// The invalid value, as `Debug` writes it.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The values that are valid, to be put behind "it must be".
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}: it must be {}", self.setting, self.value, self.expected)
    }
}

impl Error for InvalidSetting {}

/// Unwraps for constructors that take literals. Panics with the reason at the caller's line.
#[track_caller]
pub(crate) fn literal<T>(checked: Result<T, InvalidSetting>) -> T {
    match checked {
        Ok(value) => value,
        Err(invalid) => panic!("{invalid}"),
    }
}

/// Checks a number of permits: between 1 and 2^31 - 1.
pub(crate) fn permits(setting: &'static str, value: u32) -> Result<u32, InvalidSetting> {
    match value {
        1..=MAX_PERMITS => Ok(value),
        _ => Err(InvalidSetting::new(setting, value, format!("between 1 and {MAX_PERMITS}"))),
    }
}

/// Checks the length of a window: more than zero, and at most a hundred years.
pub(crate) fn window(value: Duration) -> Result<Duration, InvalidSetting> {
    duration("window", value)
}

/// Checks a time: more than zero, and at most a hundred years.
pub(crate) fn duration(setting: &'static str, value: Duration) -> Result<Duration, InvalidSetting> {
    if value.is_zero() || value > CENTURY {
        let expected = "longer than zero and at most 100 years";
        return Err(InvalidSetting::new(setting, value, expected));
    }
    Ok(value)
}

/// Returns a bound of the queue. One above the technical limit can never be reached.
pub(crate) fn queue(value: u32) -> u32 {
    value.min(MAX_QUEUE)
}
