//! CORE: how long to wait before the next attempt. Pure: numbers in, a duration out.

use std::{fmt, ops::RangeInclusive, time::Duration};

use crate::{
    clock::nanos,
    settings::{InvalidSetting, literal},
};

/// Exponential backoff: the wait before the (k + 1)-th retry is `min(base * factor^k, max)`, and jitter
/// spreads it.
///
/// | setting | default | |
/// | --- | --- | --- |
/// | `base` | 1 s | the first wait, before jitter |
/// | `max` | 20 s | no wait is longer, unless a server's hint asks for it |
/// | [`factor`](Self::factor) | 2 | |
/// | [`jitter`](Self::jitter) | [`Jitter::Full`] | |
///
/// The defaults are those of the AWS SDKs. No setting overflows, and no wait is zero. Times are counted in
/// nanoseconds, up to 584 years; what is longer is as long as that.
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

/// How waits are spread, so that those who failed together don't come back together.
///
/// The names are those of Marc Brooker's *Exponential Backoff And Jitter* (AWS Architecture Blog, 2015).
/// With `c` for the ceiling `min(base * factor^k, max)`:
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    /// Anything up to `c` (but not zero). Spreads most; the default.
    #[default]
    Full,
    /// Between `c / 2` and `c`.
    Equal,
    /// Between `base` and three times the last wait, at most `max`. The factor plays no part.
    Decorrelated,
    /// `c` itself. Those who failed together come back together.
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

    /// [`new`](Self::new) for values that are read from somewhere.
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

    /// What each wait is multiplied by for the next.
    ///
    /// # Panics
    ///
    /// If `factor` is less than 1, infinite, or not a number.
    #[must_use]
    #[track_caller]
    pub fn factor(self, factor: f64) -> Self {
        literal(self.try_factor(factor))
    }

    /// [`factor`](Self::factor) for a value that is read from somewhere.
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

    /// How waits are spread.
    #[must_use]
    pub const fn jitter(self, jitter: Jitter) -> Self {
        Self { jitter, ..self }
    }

    /// `min(base * factor^retry, max)`: the longest wait before the retry with this number, counted
    /// from 0, unless a server asks for a longer one. ([`Jitter::Decorrelated`] doesn't use it.)
    #[must_use]
    pub fn ceiling(&self, retry: u32) -> Duration {
        let exponent = i32::try_from(retry).unwrap_or(i32::MAX);
        // What is whole in it is multiplied in whole numbers, so that no digit gets lost; at its largest it
        // is infinite, and saturates.
        let scale = self.factor.powi(exponent);
        let Self { base, max, .. } = *self;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and the fraction of infinity is nothing"
        )]
        let (whole, part) = (scale as u64, (base as f64 * scale.fract()) as u64);
        Duration::from_nanos(base.saturating_mul(whole).saturating_add(part).clamp(base, max))
    }

    /// The wait before the retry with this number, counted from 0, after a last wait of `last`; at least
    /// the server's `hint`.
    ///
    /// The hint is a floor: the span that jitter draws from is moved up until nothing in it is below
    /// the hint, so that those who were told the same are still spread, each above what it was told.
    ///
    /// `draw` picks a number, evenly.
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
            Jitter::None => (ceiling, ceiling),
        };
        let floor = hint.map_or(low, |hint| nanos(hint).max(low));
        let spread = high.saturating_sub(low);
        Duration::from_nanos(draw(floor..=floor.saturating_add(spread)))
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
