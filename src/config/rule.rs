use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use super::{
    ApplyError,
    plan::{PlanConfig, Windows},
};
use crate::{
    duration_text::AsText,
    keyed::{
        Everyone, OnePermit, Plan, Rule, RuleHandle, WithPlanName, WithoutKey,
        rule::{DEFAULT_MAX_KEYS, MAX_KEYS, MAX_PLANS, MAX_TOP, RuleSettings, state::limits_of},
        table::{WhenFull, limits::Limits},
    },
    quota::Quotas,
    settings::{InvalidSetting, duration},
};

/// Why only a dry run begins and ends at run time.
const FIXED: &str = "another one needs a new layer";

/// The settings of a keyed [`Rule`], without its name, its key and its functions.
///
/// | field | default | |
/// | --- | --- | --- |
/// | `quotas` | none | windows that hold together, such as `10/s; 1000/h` |
/// | `max_in_flight` | none | requests of a key in flight |
/// | `plans` | none | limits of other keys, by the name of a plan |
/// | `max_keys` | 100,000 | keys that are kept apart |
/// | `reject_when_full` | false | rejects new keys while the table is full |
/// | `without_key` | share | `share`, `exempt` or `reject`: requests without a key |
/// | `penalty` | none | time for which a key that a window rejects is paused, such as `15m` |
/// | `dry_run` | false | decide and count, and admit |
/// | `count_admitted` | false | count admitted requests, too |
/// | `track_top` | none | length of the list of keys that are rejected most |
///
/// A rule has `quotas`, `max_in_flight` or both.
///
/// ```
/// use tower_floodgate::{
///     Quotas,
///     config::RuleConfig,
///     keyed::{KeyedLimitLayer, Rule},
/// };
///
/// struct Order { customer: u64 }
///
/// # fn main() -> Result<(), tower::BoxError> {
/// let quotas: Quotas = "10/s; 1000/h".parse()?;
/// let mut config = RuleConfig::new(quotas);
/// config.max_in_flight = Some(4);
/// config.dry_run = true;
/// let customer = config.try_rule("customer", |order: &Order| Some(order.customer))?;
/// let layer = KeyedLimitLayer::try_new(customer)?;
///
/// config.dry_run = false;
/// config.apply(&layer.handle("customer"))?;
/// # Ok(())
/// # }
/// ```
///
/// # Plans
///
/// The limits of the rule itself are those of requests without a plan, or with one that the
/// settings do not have. So they should be the strictest.
///
/// With the feature `serde`, a plan is the text of its quotas, a list of them, or a map with
/// `quotas` and `max_in_flight`. A limit that the map leaves out is that of the rule.
///
/// ```toml
/// quotas = "100/h"
/// max_in_flight = 2
///
/// [plans]
/// paid = "5000/h"
/// partner = { quotas = "50000/h", max_in_flight = 50 }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleConfig {
    /// The windows, of which a longer one has no smaller limit; `None` for a rule with
    /// `max_in_flight` only.
    pub quotas: Option<Quotas>,
    /// The largest number of requests of a key in flight, between 1 and 2<sup>31</sup> - 1; `None`
    /// without a bound.
    pub max_in_flight: Option<u32>,
    /// The number of keys that are kept apart, between 1 and 2<sup>28</sup>. Without effect on a
    /// rule for all requests.
    pub max_keys: u32,
    /// Rejects new keys while the table is full.
    pub reject_when_full: bool,
    /// Requests without a key.
    pub without_key: WithoutKey,
    /// The time for which a key that a window rejects is paused, of up to 100 years; `None` without
    /// a penalty. See [`Rule::penalty`].
    pub penalty: Option<Duration>,
    /// Decides and counts, and admits every request. The only setting that changes at run time.
    pub dry_run: bool,
    /// Counts admitted requests, too. See [`Rule::count_admitted`].
    pub count_admitted: bool,
    /// The number of keys in the list of those that are rejected most, between 1 and 100; `None`
    /// without a list. See [`Rule::track_top`].
    pub track_top: Option<u32>,
    /// The [plans](Self#plans), up to seven.
    pub plans: BTreeMap<String, PlanConfig>,
}

impl RuleConfig {
    /// Creates the settings of a rule with these windows and the defaults.
    #[must_use]
    pub fn new(quotas: impl Into<Quotas>) -> Self {
        Self {
            quotas: Some(quotas.into()),
            max_in_flight: None,
            max_keys: DEFAULT_MAX_KEYS,
            reject_when_full: false,
            without_key: WithoutKey::Share,
            penalty: None,
            dry_run: false,
            count_admitted: false,
            track_top: None,
            plans: BTreeMap::new(),
        }
    }

    /// Creates a rule for each value of `key`, with these settings.
    ///
    /// The name appears in rejections, headers and metrics. The methods of the rule add what is not
    /// in a file: costs, exemptions, settlements.
    ///
    /// # Errors
    ///
    /// If a setting is invalid, or there are [plans](Self#plans): none of them would be chosen.
    pub fn try_rule<K>(
        &self,
        name: impl Into<Arc<str>>,
        key: K,
    ) -> Result<Rule<K>, InvalidSetting> {
        self.without_plans()?;
        Ok(Rule::with_settings(self.settings(name.into())?, key))
    }

    /// Creates a rule as [`try_rule`](Self::try_rule) does, whose keys have the plan with the name
    /// that `plan` returns for a request.
    ///
    /// `None`, and a name that is not in the settings, mean the limits of the rule itself. A key
    /// keeps what it has used when its plan changes. Without plans, all keys have those limits.
    ///
    /// A closure is written in the call, so that its result may borrow from the request.
    ///
    /// ```
    /// use tower_floodgate::{
    ///     Quota,
    ///     config::{PlanConfig, RuleConfig},
    ///     keyed::KeyedLimitLayer,
    /// };
    ///
    /// struct Order { customer: u64, plan: Option<String> }
    ///
    /// # fn main() -> Result<(), tower::BoxError> {
    /// let mut config = RuleConfig::new("100/h".parse::<Quota>()?);
    /// config.plans.insert("paid".to_owned(), PlanConfig::new("10000/h".parse::<Quota>()?));
    /// let customer = config.try_rule_with_plans(
    ///     "customer",
    ///     |order: &Order| Some(order.customer),
    ///     |order: &Order| order.plan.as_deref(),
    /// )?;
    /// let handle = KeyedLimitLayer::try_new(customer)?.handle("customer");
    /// assert_eq!(handle.remaining_in(config.plan_index("paid"), 7_u64), 10_000);
    /// assert_eq!(handle.remaining_in(config.plan_index("none"), 7_u64), 100);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If a setting is invalid.
    pub fn try_rule_with_plans<K, F, Request>(
        &self,
        name: impl Into<Arc<str>>,
        key: K,
        plan: F,
    ) -> Result<Rule<K, WithPlanName<OnePermit, F>>, InvalidSetting>
    where
        F: Fn(&Request) -> Option<&str>,
    {
        Ok(Rule::with_settings(self.settings(name.into())?, key).by_plan_name(plan))
    }

    /// Creates a rule with one limit for all requests, as [`Rule::global`] does.
    ///
    /// `max_keys`, `reject_when_full`, `without_key` and `track_top` are without effect.
    ///
    /// # Errors
    ///
    /// If a setting is invalid, or there are [plans](Self#plans).
    pub fn try_global(&self, name: impl Into<Arc<str>>) -> Result<Rule<Everyone>, InvalidSetting> {
        self.without_plans()?;
        let settings = RuleSettings { max_keys: 0, ..self.settings(name.into())? };
        Ok(Rule::with_settings(settings, Everyone))
    }

    /// Returns the index of the plan of a request with this name, for
    /// [`RuleHandle::remaining_in`]: 0, that of the limits of the rule itself, if there is none.
    #[must_use]
    pub fn plan_index(&self, name: &str) -> usize {
        self.plans.keys().position(|plan| plan == name).map_or(0, |index| index + 1)
    }

    /// Checks whether [`apply`](Self::apply) may change a running rule to these settings, and
    /// changes nothing.
    ///
    /// # Errors
    ///
    /// Those of `apply`.
    pub fn check(&self, handle: &RuleHandle) -> Result<(), ApplyError> {
        let running = handle.state().settings();
        let new = self.settings(Arc::clone(&running.name))?;
        let fixed = |setting, new: &dyn fmt::Debug, running: &dyn fmt::Display| {
            let expected = format!("{running}, as that of the running rule: {FIXED}");
            Err(InvalidSetting::new(setting, new, expected).into())
        };
        let (plan, running_plan) = (&new.plans[0], &running.plans[0]);
        if plan.windows() != running_plan.windows() {
            return fixed("quotas", &Windows(plan), &Windows(running_plan));
        }
        if plan.in_flight() != running_plan.in_flight() {
            let [new, running] = [plan, running_plan].map(|plan| OrAbsent(plan.in_flight()));
            return fixed("max_in_flight", &new, &running);
        }
        if new.plan_names != running.plan_names || new.plans != running.plans {
            let expected =
                format!("{:?} with the limits of the running rule: {FIXED}", running.plan_names);
            return Err(InvalidSetting::new("plans", &new.plan_names, expected).into());
        }
        if new.penalty != running.penalty {
            let [new, running] =
                [new.penalty, running.penalty].map(|penalty| OrAbsent(penalty.map(AsText)));
            return fixed("penalty", &new, &running);
        }
        if new.counts_admitted != running.counts_admitted {
            return fixed("count_admitted", &new.counts_admitted, &running.counts_admitted);
        }
        if new.top != running.top {
            let running = OrAbsent(Some(running.top).filter(|top| *top > 0));
            return fixed("track_top", &OrAbsent(self.track_top), &running);
        }
        if running.max_keys == 0 {
            return Ok(()); // for all requests
        }
        if new.max_keys != running.max_keys {
            return fixed("max_keys", &new.max_keys, &running.max_keys);
        }
        let is_rejecting = running.when_full == WhenFull::Reject;
        if self.reject_when_full != is_rejecting {
            return fixed("reject_when_full", &self.reject_when_full, &is_rejecting);
        }
        if self.without_key != running.without_key {
            let [new, running] = [self.without_key, running.without_key].map(WithoutKey::name);
            return fixed("without_key", &OrAbsent(Some(new)), &running);
        }
        Ok(())
    }

    /// Begins or ends the dry run of a running rule, as
    /// [`set_dry_run`](RuleHandle::set_dry_run) does. No other setting changes at run time.
    ///
    /// The state of a key counts in units of its quotas and in steps of its windows, in words that
    /// are divided by the largest of them, and the table has as many states as keys. All of this is
    /// fixed when the layer is made. Other limits need a new layer, in which all keys begin anew.
    /// Limits among which a running program is to choose are [plans](Self#plans).
    ///
    /// # Errors
    ///
    /// If a setting is invalid, or is not that of the running rule. Nothing is changed then.
    pub fn apply(&self, handle: &RuleHandle) -> Result<(), ApplyError> {
        self.check(handle)?;
        handle.set_dry_run(self.dry_run);
        Ok(())
    }

    fn without_plans(&self) -> Result<(), InvalidSetting> {
        if self.plans.is_empty() {
            return Ok(());
        }
        let expected = "absent, because the program chooses none for its requests";
        let names: Vec<_> = self.plans.keys().collect();
        Err(InvalidSetting::new("plans", names, expected))
    }

    /// Returns the plans, that of the rule itself first. Checks the settings as a whole.
    pub(super) fn all_plans(&self) -> Result<Vec<Plan>, InvalidSetting> {
        let Self { quotas, max_in_flight, plans, .. } = self;
        if quotas.is_none() && max_in_flight.is_none() {
            let of = if plans.is_empty() { "" } else { ": the limits of requests without a plan" };
            let expected = format!("present, or max_in_flight{of}");
            return Err(InvalidSetting::new("quotas", OrAbsent::<u32>(None), expected));
        }
        if plans.len() >= MAX_PLANS {
            let expected = format!("a map of at most {} plans", MAX_PLANS - 1);
            return Err(InvalidSetting::new("plans", plans.len(), expected));
        }
        let own = PlanConfig { quotas: quotas.clone(), max_in_flight: *max_in_flight };
        let first = own.try_plan(&own)?;
        let of_keys = plans.iter().map(|(name, plan)| {
            let plan = plan.try_plan(&own)?;
            if !Windows(&plan).have_lengths_of(&first) {
                let expected =
                    format!("quotas by {:#} in this order in plan {name:?}", Windows(&first));
                return Err(InvalidSetting::new("quotas", Windows(&plan), expected));
            }
            if plan.in_flight().is_some() && max_in_flight.is_none() {
                let expected = format!("present, because it is in plan {name:?}");
                return Err(InvalidSetting::new(
                    "max_in_flight",
                    OrAbsent(*max_in_flight),
                    expected,
                ));
            }
            Ok(plan)
        });
        let all: Vec<Plan> =
            std::iter::once(Ok(first.clone())).chain(of_keys).collect::<Result<_, _>>()?;
        if let Some((plan, [useless, other])) =
            all.iter().find_map(|plan| Some((plan, plan.useless_window()?)))
        {
            let expected = format!(
                "a list in which a longer window has no smaller limit: {other} is reached before \
                 {useless}"
            );
            return Err(InvalidSetting::new("quotas", Windows(plan), expected));
        }
        match limits_of(&all, 0) {
            Ok(_) => Ok(all),
            Err(bits) => {
                let is_alone = first.windows().len() == 1 && max_in_flight.is_none();
                let expected = if is_alone {
                    format!("at most {} requests in a window", Limits::max_quota(0))
                } else {
                    format!(
                        "a list whose counts, with max_in_flight and those of all plans, fit into \
                         a word, which has {bits} bits too few: make them rules of their own, by \
                         the same key"
                    )
                };
                Err(InvalidSetting::new("quotas", Windows(&first), expected))
            }
        }
    }

    /// Checks all settings.
    fn settings(&self, name: Arc<str>) -> Result<RuleSettings, InvalidSetting> {
        if !(1..=MAX_KEYS).contains(&self.max_keys) {
            let expected = format!("between 1 and {MAX_KEYS}");
            return Err(InvalidSetting::new("max_keys", self.max_keys, expected));
        }
        if let Some(keys) = self.track_top.filter(|keys| !(1..=MAX_TOP).contains(keys)) {
            return Err(InvalidSetting::new("track_top", keys, format!("between 1 and {MAX_TOP}")));
        }
        Ok(RuleSettings {
            name,
            plans: self.all_plans()?,
            plan_names: self.plans.keys().cloned().collect(),
            max_keys: self.max_keys,
            when_full: if self.reject_when_full { WhenFull::Reject } else { WhenFull::Share },
            without_key: self.without_key,
            penalty: self.penalty.map(|penalty| duration("penalty", penalty)).transpose()?,
            is_dry_run: self.dry_run,
            counts_admitted: self.count_admitted,
            top: self.track_top.unwrap_or(0),
        })
    }
}

/// A value as text without quotes, or that it is absent.
struct OrAbsent<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for OrAbsent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("absent"),
        }
    }
}

impl<T: fmt::Display> fmt::Debug for OrAbsent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
