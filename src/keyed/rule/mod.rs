//! A rule: the requests that share a limit, and what they share.

use std::{fmt, sync::Arc, time::Duration};

pub(super) mod list;
mod plan;
pub(super) mod settle;
pub(crate) mod state;
mod terms;

pub(super) use self::list::Look;
use self::settle::IsLate;
pub use self::{
    list::{IntoRules, RuleList, Rules, SettleRules},
    plan::Plan,
    settle::{AtCall, ByResponse, FailuresOnly, Settle},
    terms::{OnePermit, ReadTerms, Terms, WithCost, WithExemption, WithPlan, WithPlanName},
};
use super::{
    key::Everyone,
    table::{WhenFull, log::PLANS},
};
use crate::{
    quota::{Quota, Quotas},
    settings::{InvalidSetting, duration, literal},
};

/// The number of keys that a rule keeps apart by default, and the largest one: 2<sup>28</sup>.
pub(crate) const DEFAULT_MAX_KEYS: u32 = 100_000;
pub(crate) const MAX_KEYS: u32 = 1 << 28;

/// The largest number of plans of a rule.
pub(crate) const MAX_PLANS: usize = PLANS;

/// The longest list of keys that are rejected most.
pub(crate) const MAX_TOP: u32 = 100;

/// Requests without a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum WithoutKey {
    /// They share one quota, apart from those of all keys.
    #[default]
    Share,
    /// They are not limited by this rule.
    Exempt,
    /// They are rejected.
    Reject,
}

impl WithoutKey {
    /// Returns the name, as in a file.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Exempt => "exempt",
            Self::Reject => "reject",
        }
    }
}

/// A rule: a key, and the limits of each of its values.
///
/// | setting | default | |
/// | --- | --- | --- |
/// | [`at_most`](Self::at_most) | none | requests issued in any span of a window; several windows hold together |
/// | [`max_in_flight`](Self::max_in_flight) | not limited | requests of a key in flight |
/// | [`plans`](Self::plans) | one | quotas that depend on the request |
/// | [`cost`](Self::cost) | 1 | permits that a request needs |
/// | [`settle`](Self::settle), [`failures_only`](Self::failures_only) | at the call | when the cost is final |
/// | [`exempt`](Self::exempt) | none | requests that the rule does not apply to |
/// | [`without_key`](Self::without_key) | [`WithoutKey::Share`] | requests without a key |
/// | [`max_keys`](Self::max_keys) | 100,000 | keys that are kept apart |
/// | [`reject_when_full`](Self::reject_when_full) | share an overflow | new keys while the table is full |
/// | [`penalty`](Self::penalty) | none | time for which a rejected key is paused |
/// | [`dry_run`](Self::dry_run) | off | decide and count, and admit |
/// | [`count_admitted`](Self::count_admitted) | off | count admitted requests, too |
/// | [`track_top`](Self::track_top) | off | list the keys that are rejected most |
#[derive(Clone)]
pub struct Rule<K, T = OnePermit, S = AtCall> {
    pub(in crate::keyed) settings: RuleSettings,
    pub(in crate::keyed) key: K,
    pub(in crate::keyed) terms: T,
    pub(in crate::keyed) settle: S,
}

/// The settings of a rule that have no type of their own.
#[derive(Clone, Debug)]
pub(crate) struct RuleSettings {
    pub(crate) name: Arc<str>,
    pub(crate) plans: Vec<Plan>,
    /// The names of the plans behind the first one. Empty if they have none.
    pub(crate) plan_names: Arc<[String]>,
    pub(crate) max_keys: u32,
    pub(crate) when_full: WhenFull,
    pub(crate) without_key: WithoutKey,
    pub(crate) is_dry_run: bool,
    pub(crate) counts_admitted: bool,
    /// The number of keys in the list of those that are rejected most.
    pub(crate) top: u32,
    pub(crate) penalty: Option<Duration>,
}

impl<K> Rule<K> {
    /// Creates a rule for each value of `key`, to which limits are added.
    ///
    /// The name appears in rejections, headers and metrics. A closure as the key has an annotated
    /// argument: `|request: &Request<_>| ...`.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, key: K) -> Self {
        let settings = RuleSettings {
            name: name.into(),
            plans: vec![Plan::new()],
            plan_names: Arc::default(),
            max_keys: DEFAULT_MAX_KEYS,
            when_full: WhenFull::Share,
            without_key: WithoutKey::Share,
            is_dry_run: false,
            counts_admitted: false,
            top: 0,
            penalty: None,
        };
        Self::with_settings(settings, key)
    }
}

impl<K> Rule<K> {
    /// Creates a rule with settings that were checked before.
    pub(crate) const fn with_settings(settings: RuleSettings, key: K) -> Self {
        Self { settings, key, terms: OnePermit, settle: AtCall }
    }

    /// Chooses the plan by the name that `plan` returns for a request.
    pub(crate) fn by_plan_name<F>(self, plan: F) -> Rule<K, WithPlanName<OnePermit, F>> {
        let Self { settings, key, terms, settle } = self;
        let terms = WithPlanName { terms, names: Arc::clone(&settings.plan_names), plan };
        Rule { settings, key, terms, settle }
    }
}

impl Rule<Everyone> {
    /// Creates a rule with one limit for all requests.
    #[must_use]
    pub fn global(name: impl Into<Arc<str>>) -> Self {
        let mut rule = Self::new(name, Everyone);
        rule.settings.max_keys = 0;
        rule
    }
}

impl<K, T, S> Rule<K, T, S> {
    /// Issues at most `limit` requests of a key in any half-open span of length `window`.
    ///
    /// Several windows hold together: a request that one of them rejects costs nothing in the
    /// others. A longer one with a smaller limit makes the layer an error, because the shorter one
    /// would never be reached. After [`plans`](Self::plans), the window is added to each of them.
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
    pub fn quota(self, quota: Quota) -> Self {
        self.with_plan(|plan| plan.quota(quota))
    }

    /// Adds the windows of a list, such as one that was read from a file: `10/s, 1000/h`.
    #[must_use]
    pub fn quotas(self, quotas: &Quotas) -> Self {
        self.with_plan(|plan| plan.quotas(quotas))
    }

    /// Has at most this many requests of a key in flight, from the decision until the response
    /// future has completed or is dropped, or, by choice, until the
    /// [body has ended](crate::server::until_body_ends) (feature `server`).
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
    pub fn try_max_in_flight(mut self, max_in_flight: u32) -> Result<Self, InvalidSetting> {
        self.settings.plans = (self.settings.plans.into_iter())
            .map(|plan| plan.try_max_in_flight(max_in_flight))
            .collect::<Result<_, _>>()?;
        Ok(self)
    }

    fn with_plan(mut self, change: impl FnMut(Plan) -> Plan) -> Self {
        self.settings.plans = self.settings.plans.into_iter().map(change).collect();
        self
    }

    /// Gives keys the quotas of a plan, by the index that `plan` returns for a request.
    ///
    /// All plans have windows of the same lengths, in the same order. A key keeps what it has used
    /// when its plan changes. An index beyond the plans counts as the first, which should be the
    /// strictest. Replaces the limits that were set before.
    ///
    /// # Panics
    ///
    /// If there is no plan, or more than eight.
    #[must_use]
    #[track_caller]
    pub fn plans<F>(self, plans: impl Into<Vec<Plan>>, plan: F) -> Rule<K, WithPlan<T, F>, S> {
        literal(self.try_plans(plans, plan))
    }

    /// Sets plans as [`plans`](Self::plans) does, for a list that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `plans` panics.
    pub fn try_plans<F>(
        self,
        plans: impl Into<Vec<Plan>>,
        plan: F,
    ) -> Result<Rule<K, WithPlan<T, F>, S>, InvalidSetting> {
        let Self { mut settings, key, terms, settle } = self;
        settings.plans = plans.into();
        settings.plan_names = Arc::default();
        match settings.plans.len() {
            1..=MAX_PLANS => Ok(Rule { settings, key, terms: WithPlan(terms, plan), settle }),
            count => Err(InvalidSetting::new("plans", count, "a list of 1 to 8 plans")),
        }
    }

    /// Acquires as many permits of each window as `cost` returns for a request.
    ///
    /// A cost of 0 is admitted, and acquires nothing. One that is larger than a quota is rejected
    /// as [too large](crate::Rejected::is_too_large).
    #[must_use]
    pub fn cost<F>(self, cost: F) -> Rule<K, WithCost<T, F>, S> {
        let Self { settings, key, terms, settle } = self;
        Rule { settings, key, terms: WithCost(terms, cost), settle }
    }

    /// Exempts the requests for which `exempt` returns true from this rule.
    #[must_use]
    pub fn exempt<F>(self, exempt: F) -> Rule<K, WithExemption<T, F>, S> {
        let Self { settings, key, terms, settle } = self;
        Rule { settings, key, terms: WithExemption(terms, exempt), settle }
    }

    /// Settles the cost when the response is known: `settle` returns it, or `None` for the
    /// [`cost`](Self::cost) that was acquired.
    ///
    /// What was acquired too much is refunded. What is missing is *owed*: no request of the key is
    /// admitted until it has been paid by the quotas of further windows. At least three quotas can
    /// be owed; what would be more than the counts hold is forgiven. An error, and a response
    /// future that is dropped, cost what was acquired. The permits count from the settlement, not
    /// from the issue.
    ///
    /// The counts need two bits more for each limit, so with one window its limit is at most
    /// 2<sup>28</sup> - 1. The same goes for [`failures_only`](Self::failures_only).
    #[must_use]
    pub fn settle<F>(self, settle: F) -> Rule<K, T, ByResponse<F>> {
        let Self { settings, key, terms, settle: _ } = self;
        Rule { settings, key, terms, settle: ByResponse(settle) }
    }

    /// Counts only failures: the permits of a response for which `is_failure` returns false are
    /// refunded. An error is a failure, and so is a response future that is dropped.
    ///
    /// Permits are acquired first, so parallel attempts cannot exceed the quota before the first
    /// response.
    #[must_use]
    pub fn failures_only<F>(self, is_failure: F) -> Rule<K, T, FailuresOnly<F>> {
        let Self { settings, key, terms, settle: _ } = self;
        Rule { settings, key, terms, settle: FailuresOnly(is_failure) }
    }

    /// Treats requests without a key like this. By default, they share one quota.
    #[must_use]
    pub const fn without_key(mut self, without_key: WithoutKey) -> Self {
        self.settings.without_key = without_key;
        self
    }

    /// Keeps this many keys apart, at about 34 bytes each for one window and 11 for each further
    /// one. The memory is allocated when the layer is made, and never grows.
    ///
    /// A key takes room while one of its permits is held: a window long, after a request. See
    /// [a full table](crate::keyed#a-full-table).
    ///
    /// # Panics
    ///
    /// If the number is 0 or above 2<sup>28</sup>.
    #[must_use]
    #[track_caller]
    pub fn max_keys(self, max_keys: u32) -> Self {
        literal(self.try_max_keys(max_keys))
    }

    /// Sets the number of keys as [`max_keys`](Self::max_keys) does, for one that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `max_keys` panics.
    pub fn try_max_keys(mut self, max_keys: u32) -> Result<Self, InvalidSetting> {
        if !(1..=MAX_KEYS).contains(&max_keys) {
            return Err(InvalidSetting::new("max_keys", max_keys, "between 1 and 268435456"));
        }
        self.settings.max_keys = max_keys;
        Ok(self)
    }

    /// Rejects new keys while the table is full, as
    /// [table full](crate::Rejected::is_table_full). By default, they share an overflow.
    #[must_use]
    pub const fn reject_when_full(mut self) -> Self {
        self.settings.when_full = WhenFull::Reject;
        self
    }

    /// [Pauses](crate::keyed#pauses) a key for `penalty` when a window rejects one of its requests.
    ///
    /// Requests that are rejected during the pause do not prolong it, and the first one that finds
    /// a window full after it begins the next. Requests in flight do not fill a window, so logins
    /// that succeed at the same time are not mistaken for [failures](Self::failures_only). A
    /// request that is rejected for others in flight, or that [waits](crate::keyed#waiting), brings
    /// no penalty. Keys that share an [overflow](crate::keyed#a-full-table), and requests without a
    /// key, are not paused.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_floodgate::keyed::Rule;
    ///
    /// struct Login { user: u64 }
    ///
    /// // Five failures within an hour, then none for a quarter of an hour after the next attempt.
    /// let logins = Rule::new("login", |login: &Login| Some(login.user))
    ///     .at_most(5, Duration::from_secs(3600))
    ///     .failures_only(|succeeded: &bool| !succeeded)
    ///     .penalty(Duration::from_secs(900));
    /// # let _ = logins;
    /// ```
    ///
    /// # Panics
    ///
    /// If `penalty` is zero or longer than 100 years.
    #[must_use]
    #[track_caller]
    #[doc(alias = "block_duration")]
    #[doc(alias = "ban")]
    pub fn penalty(self, penalty: Duration) -> Self {
        literal(self.try_penalty(penalty))
    }

    /// Sets the penalty as [`penalty`](Self::penalty) does, for a time that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `penalty` panics.
    pub fn try_penalty(mut self, penalty: Duration) -> Result<Self, InvalidSetting> {
        self.settings.penalty = Some(duration("penalty", penalty)?);
        Ok(self)
    }

    /// Decides and counts as configured, and admits every request. A
    /// [handle](super::RuleHandle::set_dry_run) turns it off, and on.
    #[must_use]
    pub const fn dry_run(mut self) -> Self {
        self.settings.is_dry_run = true;
        self
    }

    /// Counts the requests that are issued with permits of this rule, for
    /// [snapshots](super::RuleHandle::snapshot) and metrics. By default, only rejections are
    /// counted.
    ///
    /// Costs each such request an atomic step, on one of 64 lines of the cache, 4 KiB in all.
    /// Requests of different keys rarely share one, so they do not wait for each other. A request
    /// that costs nothing, is exempt, or is let pass by a dry run does not count.
    #[must_use]
    pub const fn count_admitted(mut self) -> Self {
        self.settings.counts_admitted = true;
        self
    }

    /// Lists the `keys` keys that are rejected most, for
    /// [`RuleHandle::top`](super::RuleHandle::top) and [the page](crate::observe). By default, none
    /// is listed.
    ///
    /// An admitted request pays nothing for it. A rejected one searches `8 * keys` counters behind
    /// a lock, for which it does not wait, and allocates nothing but the label of a key that is new
    /// in the list, which [`Key::label`](super::Key::label) returns. A label is cut after 200
    /// bytes, so the memory is bounded.
    ///
    /// Without effect on a rule for all requests.
    ///
    /// The labels show what clients send: an address, a header, a path. No ready-made key shows a
    /// token.
    ///
    /// # Panics
    ///
    /// If the number is 0 or above 100.
    #[must_use]
    #[track_caller]
    pub fn track_top(self, keys: u32) -> Self {
        literal(self.try_track_top(keys))
    }

    /// Lists keys as [`track_top`](Self::track_top) does, for a number that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `track_top` panics.
    pub fn try_track_top(mut self, keys: u32) -> Result<Self, InvalidSetting> {
        if !(1..=MAX_TOP).contains(&keys) {
            return Err(InvalidSetting::new("track_top", keys, "between 1 and 100"));
        }
        self.settings.top = keys;
        Ok(self)
    }

    /// Returns true if permits are settled with the response.
    pub(in crate::keyed) const fn is_late(&self) -> bool
    where
        S: IsLate,
    {
        S::IS_LATE
    }
}

impl<K, T, S> fmt::Debug for Rule<K, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RuleSettings { name, plans, plan_names, max_keys, when_full, without_key, .. } =
            &self.settings;
        let RuleSettings { is_dry_run, counts_admitted, top, penalty, .. } = &self.settings;
        f.debug_struct("Rule")
            .field("name", name)
            .field("plans", plans)
            .field("plan_names", plan_names)
            .field("max_keys", max_keys)
            .field("when_full", when_full)
            .field("without_key", without_key)
            .field("is_dry_run", is_dry_run)
            .field("counts_admitted", counts_admitted)
            .field("top", top)
            .field("penalty", penalty)
            .finish_non_exhaustive()
    }
}
