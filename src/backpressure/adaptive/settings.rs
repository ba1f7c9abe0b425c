use std::fmt;

use super::super::knee::{MAX_LIMIT, Range};
use crate::{
    judge::ServedIfOk,
    settings::{InvalidSetting, literal},
};

/// The limit at which a search starts.
const START: u32 = 20;
/// The largest limit, by default.
const MAX: u32 = 1_000;

/// The settings of a concurrency limit that
/// [adapts](super::super::ConcurrencyBackpressureLayer::adaptive). The defaults suit most servers.
#[derive(Clone, Copy)]
pub struct Adaptive<J = ServedIfOk> {
    range: Range,
    start: Option<u32>,
    judge: J,
}

impl Adaptive {
    /// Creates the default settings: from 20, between 1 and 1,000, shared by 2, and a response is
    /// served, an error ignored.
    #[must_use]
    pub const fn new() -> Self {
        let range = Range { min: 1, max: MAX, sharers: 2 };
        Self { range, start: None, judge: ServedIfOk }
    }
}

impl Default for Adaptive {
    fn default() -> Self {
        Self::new()
    }
}

impl<J> Adaptive<J> {
    /// Keeps the limit between `min` and `max`, always. By default, between 1 and 1,000.
    ///
    /// With `between(n, n)`, the limit is fixed.
    ///
    /// # Panics
    ///
    /// If `min` is 0, or above `max`, or `max` is above 8,191.
    #[must_use]
    #[track_caller]
    pub fn between(self, min: u32, max: u32) -> Self {
        literal(self.try_between(min, max))
    }

    /// Sets the range as [`between`](Self::between) does, for values that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `between` panics.
    pub fn try_between(mut self, min: u32, max: u32) -> Result<Self, InvalidSetting> {
        limit("max", max, 1, MAX_LIMIT)?;
        limit("min", min, 1, max)?;
        (self.range.min, self.range.max) = (min, max);
        Ok(self)
    }

    /// Starts the search at `limit`. By default at 20, or at the bound of the range next to it.
    ///
    /// The first two limits that the search compares are half as much again, and two thirds of it.
    ///
    /// The layer is not made if the limit is outside the range.
    ///
    /// # Panics
    ///
    /// If `limit` is 0 or above 8,191.
    #[must_use]
    #[track_caller]
    pub fn start_at(self, limit: u32) -> Self {
        literal(self.try_start_at(limit))
    }

    /// Sets the start as [`start_at`](Self::start_at) does, for a value that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `start_at` panics.
    pub fn try_start_at(mut self, start: u32) -> Result<Self, InvalidSetting> {
        limit("start_at", start, 1, MAX_LIMIT)?;
        self.start = Some(start);
        Ok(self)
    }

    /// Says that up to `limiters` equal limiters share the server, such as the processes of a
    /// client. By default 2.
    ///
    /// With more limiters than that, their limits may grow without end. With a larger number than
    /// there are, the limit stays a little lower. A limiter that is alone for certain may say 1.
    ///
    /// # Panics
    ///
    /// If `limiters` is 0 or above 1,000.
    #[must_use]
    #[track_caller]
    pub fn shared_by(self, limiters: u32) -> Self {
        literal(self.try_shared_by(limiters))
    }

    /// Sets the number as [`shared_by`](Self::shared_by) does, for a value that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `shared_by` panics.
    pub fn try_shared_by(mut self, limiters: u32) -> Result<Self, InvalidSetting> {
        self.range.sharers = limit("shared_by", limiters, 1, 1_000)?;
        Ok(self)
    }

    /// Tells by `judge` which results are measured. By default, `Ok` is served, and `Err` is
    /// [ignored](crate::backpressure::Outcome).
    ///
    /// A timeout inside the limit is an `Err`, too. A judge that takes it for an
    /// [overload](crate::backpressure::Outcome::Overload) lets it count against the limit, as the
    /// drop by a timeout outside the limit does:
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tower::{BoxError, ServiceBuilder, timeout::error::Elapsed};
    /// use tower_floodgate::{
    ///     ConcurrencyBackpressureLayer,
    ///     backpressure::{Adaptive, Outcome},
    /// };
    ///
    /// let judge = |result: &Result<String, BoxError>| match result {
    ///     Ok(_) => Outcome::Served,
    ///     Err(error) if error.is::<Elapsed>() => Outcome::Overload,
    ///     Err(_) => Outcome::Ignored,
    /// };
    /// let client = ServiceBuilder::new()
    ///     .layer(ConcurrencyBackpressureLayer::adaptive(Adaptive::new().judge(judge)))
    ///     .timeout(Duration::from_secs(1))
    ///     .service_fn(|name: String| async { Ok::<_, BoxError>(name) });
    /// # let _ = client;
    /// ```
    ///
    /// The [`HttpClassifier`](crate::client::HttpClassifier) and the
    /// [`GrpcClassifier`](crate::client::GrpcClassifier) are judges, too, with their features.
    #[must_use]
    pub fn judge<K>(self, judge: K) -> Adaptive<K> {
        Adaptive { range: self.range, start: self.start, judge }
    }

    /// Returns the range, the start and the judge.
    pub(super) fn check(self) -> Result<(Range, u32, J), InvalidSetting> {
        let Range { min, max, .. } = self.range;
        let start = match self.start {
            Some(start) => limit("start_at", start, min, max)?,
            None => START.clamp(min, max),
        };
        Ok((self.range, start, self.judge))
    }
}

impl<J> fmt::Debug for Adaptive<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { min, max, sharers } = self.range;
        f.debug_struct("Adaptive")
            .field("between", &(min, max))
            .field("start_at", &self.start.unwrap_or(START.clamp(min, max)))
            .field("shared_by", &sharers)
            .finish_non_exhaustive()
    }
}

/// Checks a limit of a range.
pub(super) fn limit(
    setting: &'static str,
    value: u32,
    min: u32,
    max: u32,
) -> Result<u32, InvalidSetting> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(InvalidSetting::new(setting, value, format!("between {min} and {max}")))
}
