use std::time::Duration;

use crate::{
    quota::{Quota, Quotas},
    settings::{InvalidSetting, literal, permits},
};

/// The quotas of a group of keys, such as the customers of one price: see
/// [`Rule::plans`](super::Rule::plans). In a file, they have
/// [names](crate::config::RuleConfig#plans).
///
/// ```
/// use std::time::Duration;
/// use tower_floodgate::keyed::Plan;
///
/// let paid = Plan::new().at_most(10, Duration::from_secs(1)).max_in_flight(4);
/// # let _ = paid;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    quotas: Vec<Quota>,
    max_in_flight: Option<u32>,
}

impl Plan {
    /// Creates a plan without limits, to which they are added.
    #[must_use]
    pub const fn new() -> Self {
        Self { quotas: Vec::new(), max_in_flight: None }
    }

    /// Issues permits for at most `limit` requests in any half-open span of length `window`.
    ///
    /// Several windows hold together. A longer one with a smaller limit makes the layer an error.
    ///
    /// # Panics
    ///
    /// If `limit` is 0 or above 2<sup>31</sup> - 1, or `window` is zero or longer than 100 years.
    #[must_use]
    #[track_caller]
    pub fn at_most(self, limit: u32, window: Duration) -> Self {
        self.quota(literal(Quota::try_new(limit, window)))
    }

    /// Adds a window as [`at_most`](Self::at_most) does, with the limit and the length of `quota`.
    #[must_use]
    pub fn quota(mut self, quota: Quota) -> Self {
        self.quotas.push(quota);
        self
    }

    /// Adds the windows of a list, such as one that was read from a file.
    #[must_use]
    pub fn quotas(mut self, quotas: &Quotas) -> Self {
        self.quotas.extend(quotas.iter().copied());
        self
    }

    /// Has at most this many requests of a key in flight. By default, they are not limited.
    ///
    /// # Panics
    ///
    /// If the number is 0 or above 2<sup>31</sup> - 1.
    #[must_use]
    #[track_caller]
    pub fn max_in_flight(self, max_in_flight: u32) -> Self {
        literal(self.try_max_in_flight(max_in_flight))
    }

    /// Bounds the requests in flight as [`max_in_flight`](Self::max_in_flight) does, for a number
    /// that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `max_in_flight` panics.
    pub fn try_max_in_flight(self, max_in_flight: u32) -> Result<Self, InvalidSetting> {
        let max_in_flight = Some(permits("max_in_flight", max_in_flight)?);
        Ok(Self { max_in_flight, ..self })
    }

    pub(crate) fn windows(&self) -> &[Quota] {
        &self.quotas
    }

    /// Returns a window whose limit is never reached, and the other one that is reached before.
    pub(crate) fn useless_window(&self) -> Option<[Quota; 2]> {
        let is_useless = |one: &Quota, other: &Quota| {
            one.window() <= other.window() && one.limit() > other.limit()
        };
        self.quotas.iter().find_map(|one| {
            let other = self.quotas.iter().find(|other| is_useless(one, other))?;
            Some([*one, *other])
        })
    }

    pub(crate) const fn in_flight(&self) -> Option<u32> {
        self.max_in_flight
    }
}
