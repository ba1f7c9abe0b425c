use std::fmt;

use crate::{
    duration_text::AsText,
    keyed::Plan,
    quota::{Quota, Quotas},
    settings::InvalidSetting,
};

/// The limits of a [`Plan`] that keys may have in the place of those of their rule.
///
/// See [`RuleConfig`](super::RuleConfig#plans).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanConfig {
    /// The windows, with the lengths of those of the rule in the same order, of which a longer one
    /// has no smaller limit; `None` for the quotas of the rule.
    pub quotas: Option<Quotas>,
    /// The largest number of requests of a key in flight; `None` for that of the rule.
    pub max_in_flight: Option<u32>,
}

impl PlanConfig {
    /// Creates the settings of a plan with these windows, and the requests in flight of the rule.
    #[must_use]
    pub fn new(quotas: impl Into<Quotas>) -> Self {
        Self { quotas: Some(quotas.into()), max_in_flight: None }
    }

    /// Creates the plan, with the limits of `rule` in the place of absent ones.
    pub(super) fn try_plan(&self, rule: &Self) -> Result<Plan, InvalidSetting> {
        let mut plan = Plan::new();
        if let Some(quotas) = self.quotas.as_ref().or(rule.quotas.as_ref()) {
            plan = plan.quotas(quotas);
        }
        match self.max_in_flight.or(rule.max_in_flight) {
            Some(max_in_flight) => plan.try_max_in_flight(max_in_flight),
            None => Ok(plan),
        }
    }
}

/// The windows of a plan as text: quotas, or, in the alternate form, lengths.
pub(super) struct Windows<'a>(pub(super) &'a Plan);

impl Windows<'_> {
    pub(super) fn have_lengths_of(&self, other: &Plan) -> bool {
        let [own, other] = [self.0, other].map(|plan| plan.windows().iter().map(Quota::window));
        own.eq(other)
    }
}

impl fmt::Display for Windows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut delimiter = "";
        for quota in self.0.windows() {
            f.write_str(delimiter)?;
            if f.alternate() {
                AsText(quota.window()).fmt(f)?;
            } else {
                quota.fmt(f)?;
            }
            delimiter = if f.alternate() { " and " } else { "; " };
        }
        if self.0.windows().is_empty() { f.write_str("no window") } else { Ok(()) }
    }
}

/// In quotes, as text of a file.
impl fmt::Debug for Windows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
