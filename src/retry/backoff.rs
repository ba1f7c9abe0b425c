//! CORE: the wait before the next attempt. Pure: numbers in, a duration out.

use std::{fmt, ops::RangeInclusive, time::Duration};

use crate::{
    settings::{InvalidSetting, literal},
    time::nanos,
};

/// Exponential backoff: the wait before retry `k`, counted from 0, is `min(base * factor^k, max)`.
///
/// Jitter spreads the waits. [`fixed`](Self::fixed) and [`uniform`](Self::uniform) make waits that
/// do not grow; [`Waits`](super::Waits) are for lists and functions.
///
/// | setting | default | |
/// | --- | --- | --- |
/// | `base` | 1 s | the first wait, before jitter |
/// | `max` | 20 s | the longest wait, unless a server's hint asks for more |
/// | [`factor`](Self::factor) | 2 | the growth per retry |
/// | [`jitter`](Self::jitter) | [`Jitter::Full`] | the spread of the waits |
///
/// The defaults are those of the AWS SDKs. No setting overflows, and no wait is zero. Times are
/// counted in nanoseconds, and saturate at 584 years.
///
/// ```
/// use std::time::Duration;
/// use tower_floodgate::retry::{Backoff, Jitter};
///
/// let backoff =
///     Backoff::new(Duration::from_secs(1), Duration::from_secs(10)).jitter(Jitter::None);
/// let waits: Vec<_> = (0..5).map(|retry| backoff.ceiling(retry).as_secs()).collect();
/// assert_eq!(waits, [1, 2, 4, 8, 10]);
///
/// let error = Backoff::try_new(Duration::from_secs(10), Duration::from_secs(1)).unwrap_err();
/// assert_eq!(error.to_string(), "base is 10s: it must be longer than zero and at most max (1s)");
/// ```
#[derive(Clone, Copy, PartialEq)]
pub struct Backoff {
    // In nanoseconds: it is copied for every request.
    base: u64,
    max: u64,
    factor: f64,
    jitter: Jitter,
}

/// The spread of waits, which keeps requests that failed together from being retried together.
///
/// The names are those of Marc Brooker's *Exponential Backoff And Jitter* (AWS Architecture Blog,
/// 2015). With `c` for the ceiling `min(base * factor^k, max)`:
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Jitter {
    /// Between zero, exclusive, and `c`. Spreads most; the default.
    #[default]
    Full,
    /// Between `c / 2` and `c`.
    Equal,
    /// Between `base` and three times the last wait, at most `max`. The factor is not used.
    Decorrelated,
    /// Between `base` and `max`, however often the request was retried. The factor is not used.
    Uniform,
    /// Exactly `c`. Requests that failed together are retried together.
    None,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(20))
    }
}

impl Backoff {
    /// Doubles from `base` up to `max`, with full jitter.
    ///
    /// # Panics
    ///
    /// If `base` is zero or longer than `max`.
    #[must_use]
    #[track_caller]
    pub fn new(base: Duration, max: Duration) -> Self {
        literal(Self::try_new(base, max))
    }

    /// Does as [`new`](Self::new), for values that are not literals.
    ///
    /// # Errors
    ///
    /// Where `new` panics.
    pub fn try_new(base: Duration, max: Duration) -> Result<Self, InvalidSetting> {
        if base.is_zero() || base > max {
            let expected = format!("longer than zero and at most max ({max:?})");
            return Err(InvalidSetting::new("base", base, expected));
        }
        Ok(Self { base: nanos(base), max: nanos(max), factor: 2.0, jitter: Jitter::Full })
    }

    /// Waits for exactly `wait` before each retry.
    ///
    /// Without jitter, requests that failed together are retried together. It can be added:
    /// `fixed(wait).jitter(Jitter::Equal)` waits between `wait / 2` and `wait`.
    ///
    /// # Panics
    ///
    /// If `wait` is zero.
    #[must_use]
    #[track_caller]
    pub fn fixed(wait: Duration) -> Self {
        literal(Self::try_fixed(wait))
    }

    /// Does as [`fixed`](Self::fixed), for a value that is not a literal.
    ///
    /// # Errors
    ///
    /// Where `fixed` panics.
    pub fn try_fixed(wait: Duration) -> Result<Self, InvalidSetting> {
        if wait.is_zero() {
            return Err(InvalidSetting::new("wait", wait, "longer than zero"));
        }
        let wait = nanos(wait);
        Ok(Self { base: wait, max: wait, factor: 1.0, jitter: Jitter::None })
    }

    /// Waits between the two ends of `range`, uniformly distributed, before each retry.
    ///
    /// A fixed wait of 3 s and up to 2 s at random are `uniform(3 s ..= 5 s)`. A lower end of zero
    /// is one nanosecond, because no wait is zero.
    ///
    /// It is `new(base, max).jitter(Jitter::Uniform)` with the ends for `base` and `max`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_floodgate::retry::Backoff;
    ///
    /// let backoff = Backoff::uniform(Duration::from_secs(3)..=Duration::from_secs(5));
    ///
    /// let error = Backoff::try_uniform(Duration::from_secs(5)..=Duration::ZERO).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "range is 5s..=0ns: it must be a range whose end is above zero and not before its start",
    /// );
    /// # let _ = backoff;
    /// ```
    ///
    /// # Panics
    ///
    /// If the upper end of `range` is zero, or shorter than the lower one.
    #[must_use]
    #[track_caller]
    pub fn uniform(range: RangeInclusive<Duration>) -> Self {
        literal(Self::try_uniform(range))
    }

    /// Does as [`uniform`](Self::uniform), for a range that is not a literal.
    ///
    /// # Errors
    ///
    /// Where `uniform` panics.
    pub fn try_uniform(range: RangeInclusive<Duration>) -> Result<Self, InvalidSetting> {
        let base = (*range.start()).max(Duration::from_nanos(1));
        match Self::try_new(base, *range.end()) {
            Ok(backoff) => Ok(backoff.jitter(Jitter::Uniform)),
            Err(_) => {
                let expected = "a range whose end is above zero and not before its start";
                Err(InvalidSetting::new("range", range, expected))
            }
        }
    }

    /// Returns `base`, `max`, the factor and the jitter.
    #[cfg(feature = "serde")]
    pub(crate) const fn settings(&self) -> (Duration, Duration, f64, Jitter) {
        let Self { base, max, factor, jitter } = *self;
        (Duration::from_nanos(base), Duration::from_nanos(max), factor, jitter)
    }

    /// Multiplies each wait by `factor` for the next.
    ///
    /// # Panics
    ///
    /// If `factor` is less than 1, infinite, or not a number.
    #[must_use]
    #[track_caller]
    pub fn factor(self, factor: f64) -> Self {
        literal(self.try_factor(factor))
    }

    /// Does as [`factor`](Self::factor), for a value that is not a literal.
    ///
    /// # Errors
    ///
    /// Where `factor` panics.
    pub fn try_factor(self, factor: f64) -> Result<Self, InvalidSetting> {
        if !(factor >= 1.0 && factor.is_finite()) {
            return Err(InvalidSetting::new("factor", factor, "a finite number, 1 or above"));
        }
        Ok(Self { factor, ..self })
    }

    /// Spreads the waits by `jitter`.
    #[must_use]
    pub const fn jitter(self, jitter: Jitter) -> Self {
        Self { jitter, ..self }
    }

    /// Returns `min(base * factor^retry, max)`, where `retry` counts from 0.
    ///
    /// It is the longest wait before that retry, unless a server asks for a longer one.
    /// [`Jitter::Decorrelated`] and [`Jitter::Uniform`] do not use it.
    #[must_use]
    pub fn ceiling(&self, retry: u32) -> Duration {
        let exponent = i32::try_from(retry).unwrap_or(i32::MAX);
        // The whole part is multiplied in integers, so that no digit is lost. An infinite scale
        // saturates.
        let scale = self.factor.powi(exponent);
        let Self { base, max, .. } = *self;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and the fraction of infinity is NaN, which casts to 0"
        )]
        let (whole, part) = (scale as u64, (base as f64 * scale.fract()) as u64);
        Duration::from_nanos(base.saturating_mul(whole).saturating_add(part).clamp(base, max))
    }

    /// Returns the wait before a retry, at least the server's `hint`.
    ///
    /// `retry` counts from 0, and `last` is the wait before the previous retry. The hint is a
    /// floor: the span that jitter draws from is moved up until its lower end is at least the hint,
    /// so that requests with the same hint are still spread, each above the hint.
    ///
    /// `draw` returns a number of the span, uniformly distributed.
    pub(crate) fn wait(
        &self,
        retry: u32,
        last: Option<Duration>,
        hint: Option<Duration>,
        draw: impl FnOnce(RangeInclusive<u64>) -> u64,
    ) -> Duration {
        let ceiling = nanos(self.ceiling(retry));
        let (low, high) = match self.jitter {
            Jitter::Full => (1, ceiling),
            Jitter::Equal => (ceiling.div_ceil(2), ceiling),
            Jitter::Decorrelated => {
                let Self { base, max, .. } = *self;
                (base, last.map_or(base, nanos).saturating_mul(3).min(max))
            }
            Jitter::Uniform => (self.base, self.max),
            Jitter::None => (ceiling, ceiling),
        };
        let floor = hint.map_or(low, |hint| nanos(hint).max(low));
        let spread = high.saturating_sub(low);
        Duration::from_nanos(draw(floor..=floor.saturating_add(spread)))
    }

    /// Returns the first wait, before jitter.
    #[must_use]
    pub const fn base(&self) -> Duration {
        Duration::from_nanos(self.base)
    }

    /// Returns the longest wait, unless a server asks for a longer one.
    #[must_use]
    pub const fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// Returns the settings as words, which a handle changes in one step.
    pub(crate) fn to_words(self) -> [u64; 4] {
        let Self { base, max, factor, jitter } = self;
        let jitter = match jitter {
            Jitter::Full => 0,
            Jitter::Equal => 1,
            Jitter::Decorrelated => 2,
            Jitter::Uniform => 3,
            Jitter::None => 4,
        };
        [base, max, factor.to_bits(), jitter]
    }

    /// Returns the backoff of these words.
    pub(crate) fn from_words([base, max, factor, jitter]: [u64; 4]) -> Self {
        let jitter = match jitter {
            0 => Jitter::Full,
            1 => Jitter::Equal,
            2 => Jitter::Decorrelated,
            3 => Jitter::Uniform,
            _ => Jitter::None,
        };
        Self { base, max, factor: f64::from_bits(factor), jitter }
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff")
            .field("base", &Duration::from_nanos(self.base))
            .field("max", &Duration::from_nanos(self.max))
            .field("factor", &self.factor)
            .field("jitter", &self.jitter)
            .finish()
    }
}
