//! The states of a rule, and the decision for one request.

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    key::Key,
    plan::Plan,
    rule::{RuleConfig, WithoutKey},
    rule_name::RuleName,
    table::{
        KeyHash, Place, Refused, Table,
        limits::{Ask, Limits, Window},
        log::{PLAN_BITS, PLANS},
        state::Now,
    },
    terms::Terms,
};
use crate::{
    rejected::{Limit, Reason, Rejected, RuleReason, Scope},
    settings::InvalidSetting,
    time::Clock,
};

/// The states of the keys of a rule, and its settings.
pub(crate) struct RuleState {
    name: Arc<str>,
    id: Option<RuleName>,
    plans: Vec<Plan>,
    without_key: WithoutKey,
    is_dry_run: bool,
    pub(super) is_late: bool,
    table: Table,
    hasher: RandomState,
    clock: Clock,
    rejected: AtomicU64,
}

/// What a request holds of a rule: nothing, or permits of a place.
///
/// One word, because it passes through the call in memory: fields that are written one by one, and
/// read together, wait for each other in the processor. From the top, it has the place, the plan in
/// 3 bits, and the cost in 32. Without a cost, nothing is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held(u64);

impl Held {
    pub(super) const NOTHING: Self = Self(0);

    #[inline]
    const fn new(place: Place, ask: Ask) -> Self {
        let place_and_plan = (place.number() as u64) << PLAN_BITS | ask.plan as u64;
        Self(place_and_plan << u32::BITS | ask.cost as u64)
    }

    #[inline]
    const fn get(self) -> Option<(Place, Ask)> {
        let cost = self.0 as u32;
        let plan = (self.0 >> u32::BITS) as usize & (PLANS - 1);
        let place = Place::new((self.0 >> (u32::BITS + PLAN_BITS)) as u32);
        if cost == 0 { None } else { Some((place, Ask { plan, cost })) }
    }
}

impl RuleState {
    pub(super) fn new(
        config: &RuleConfig,
        is_late: bool,
        clock: Clock,
    ) -> Result<Self, InvalidSetting> {
        let name = &config.name;
        if name.is_empty() {
            return Err(InvalidSetting::new("name of a rule", name, "a text that is not empty"));
        }
        let limits = limits(config, is_late)?;
        Ok(Self {
            name: Arc::clone(name),
            id: RuleName::of(name),
            plans: config.plans.clone(),
            without_key: config.without_key,
            is_dry_run: config.is_dry_run,
            is_late,
            table: Table::new(config.max_keys, limits, config.when_full),
            hasher: RandomState::new(),
            clock,
            rejected: AtomicU64::new(0),
        })
    }

    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) const fn table(&self) -> &Table {
        &self.table
    }

    #[cfg(feature = "server")]
    pub(super) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the plan of this index, which is valid.
    #[cfg(feature = "server")]
    pub(crate) fn plan(&self, index: usize) -> &Plan {
        &self.plans[index]
    }

    #[cfg(feature = "server")]
    pub(super) const fn without_key(&self) -> WithoutKey {
        self.without_key
    }

    #[cfg(feature = "server")]
    pub(super) const fn is_dry_run(&self) -> bool {
        self.is_dry_run
    }

    pub(super) fn rejected(&self) -> u64 {
        self.rejected.load(Relaxed)
    }

    /// Returns true if a request holds something of the rule until its response.
    pub(super) fn outlives_call(&self) -> bool {
        self.is_late || self.table.limits().layout.in_flight().is_some()
    }

    /// Returns the hash of the key of `request`, or `None` if it has none.
    #[inline]
    pub(super) fn hash_of<Request>(
        &self,
        key: &impl Key<Request>,
        request: &Request,
    ) -> Option<KeyHash> {
        let mut hasher = self.hasher.build_hasher();
        key.hash_key(request, &mut hasher).then(|| KeyHash::new(hasher.finish()))
    }

    /// Returns the hash of a key that a handle was given.
    pub(super) fn hash(&self, key: impl Hash) -> KeyHash {
        KeyHash::new(self.hasher.hash_one(key))
    }

    #[inline]
    pub(super) fn ask(&self, terms: Terms) -> Ask {
        Ask { plan: if terms.plan < self.plans.len() { terms.plan } else { 0 }, cost: terms.cost }
    }

    /// Acquires the permits of a request, or rejects it.
    #[inline]
    pub(super) fn decide<Request>(
        &self,
        key: &impl Key<Request>,
        request: &Request,
        terms: Terms,
        now: &mut Now<'_, Clock>,
    ) -> Result<Held, Rejected> {
        if terms.is_exempt || terms.cost == 0 {
            return Ok(Held::NOTHING);
        }
        let ask = self.ask(terms);
        // A quota is at least one.
        let acquired = if ask.cost > 1 && ask.cost > self.table.limits().max_cost(ask.plan) {
            Err(Denial::TooLarge)
        } else if self.table.has_slots() {
            match (self.hash_of(key, request), self.without_key) {
                (Some(key), _) => self.table.acquire(key, ask, now).map_err(Denial::Refused),
                (None, WithoutKey::Share) => self.acquire_common(ask, now),
                (None, WithoutKey::Exempt) => return Ok(Held::NOTHING),
                (None, WithoutKey::Reject) => Err(Denial::NoKey),
            }
        } else {
            self.acquire_common(ask, now)
        };
        match acquired {
            Ok(place) => Ok(Held::new(place, ask)),
            Err(denial) => self.reject(denial, ask, now),
        }
    }

    fn acquire_common(&self, ask: Ask, now: &mut Now<'_, Clock>) -> Result<Place, Denial> {
        let place = self.table.common();
        self.table.acquire_at(place, ask, now).map_err(Denial::Refused)?;
        Ok(place)
    }

    /// Counts a rejection. In a dry run, the request is admitted, and holds nothing.
    #[cold]
    fn reject(&self, denial: Denial, ask: Ask, now: &mut Now<'_, Clock>) -> Result<Held, Rejected> {
        self.rejected.fetch_add(1, Relaxed);
        if self.is_dry_run { Ok(Held::NOTHING) } else { Err(self.rejection(denial, ask, now)) }
    }

    fn rejection(&self, denial: Denial, ask: Ask, now: &mut Now<'_, Clock>) -> Rejected {
        let (limit, reason, wait, place) = match denial {
            Denial::TooLarge => (Limit::Rate, RuleReason::TooLarge, None, None),
            Denial::NoKey => (Limit::Rate, RuleReason::NoKey, None, None),
            Denial::Refused(Refused::Full { place }) => {
                let wait = self.wait(place, ask, now);
                (Limit::Rate, RuleReason::LimitReached, wait, Some(place))
            }
            Denial::Refused(Refused::Busy(place)) => {
                (Limit::Concurrency, RuleReason::LimitReached, None, Some(place))
            }
            Denial::Refused(Refused::NoSlot) => (Limit::Rate, RuleReason::TableFull, None, None),
            Denial::Refused(Refused::Stalled) => {
                (Limit::Rate, RuleReason::LimitReached, Some(Duration::from_millis(1)), None)
            }
        };
        let is_shared = place.is_some_and(|place| self.table.is_shared(place));
        Rejected::new(limit, Reason::Rule(reason), wait)
            .in_scope(Scope { rule: self.id, is_shared })
    }

    /// Returns the time until there is room for `ask` in all windows. At least a nanosecond.
    fn wait(&self, place: Place, ask: Ask, now: &mut Now<'_, Clock>) -> Option<Duration> {
        let state = self.table.state(place);
        let windows = 0..self.table.limits().windows.len();
        let now = now.get();
        let wait = windows.map(|window| state.time_until_room(window, ask, now)).max()?;
        Some(wait.max(Duration::from_nanos(1)))
    }

    /// Returns the permits that are left to a key in all windows, and the time until there is one,
    /// if there is none. Without a key, those of the requests without one.
    pub(super) fn remaining(&self, plan: usize, key: Option<KeyHash>) -> (u32, Option<Duration>) {
        let plan = if plan < self.plans.len() { plan } else { 0 };
        let mut now = Now::of(&self.clock);
        let place = match key {
            Some(key) if self.table.has_slots() => self.table.place_of(key),
            _ => self.table.common(),
        };
        let state = self.table.state(place);
        while state.expire(&mut now) {}
        let windows = 0..self.table.limits().windows.len();
        let left = windows.map(|window| state.remaining(window, plan)).min();
        let wait =
            if left == Some(0) { self.wait(place, Ask { plan, cost: 1 }, &mut now) } else { None };
        (left.unwrap_or(u32::MAX), wait)
    }

    /// Returns the number of live keys.
    pub(super) fn live_keys(&self) -> usize {
        let mut now = Now::of(&self.clock);
        let mut is_live = |place: &Place| {
            let state = self.table.state(*place);
            !state.is_idle() && {
                while state.expire(&mut now) {}
                !state.is_idle()
            }
        };
        self.table.slots().filter(|place| is_live(place)).count()
    }

    /// Returns the time until this rule would admit the request, without acquiring. `None` if it
    /// would now, or if that is not known.
    pub(super) fn look<Request>(
        &self,
        key: &impl Key<Request>,
        request: &Request,
        terms: Terms,
        now: &mut Now<'_, Clock>,
    ) -> Option<Duration> {
        let ask = self.ask(terms);
        let is_certain = terms.is_exempt || self.is_dry_run || terms.cost == 0;
        if is_certain || ask.cost > self.table.limits().max_cost(ask.plan) {
            return None;
        }
        let place = if self.table.has_slots() {
            match self.hash_of(key, request) {
                Some(key) => self.table.find(key)?,
                None if self.without_key == WithoutKey::Share => self.table.common(),
                None => return None,
            }
        } else {
            self.table.common()
        };
        while self.table.state(place).expire(now) {}
        self.wait(place, ask, now).filter(|wait| *wait > Duration::from_nanos(1))
    }

    /// Gives permits back that were not used.
    #[inline]
    pub(super) fn undo(&self, held: Held) {
        if let Some((place, ask)) = held.get() {
            self.table.state(place).undo(ask);
        }
    }

    /// Commits permits whose request was issued.
    #[inline]
    pub(super) fn commit(&self, held: Held, now: &mut Now<'_, Clock>) {
        if let Some((place, ask)) = held.get() {
            self.table.state(place).commit(ask, now);
        }
    }

    /// Commits `cost` permits in the place of those that were acquired.
    pub(super) fn settle(&self, held: Held, cost: Option<u32>, now: &mut Now<'_, Clock>) {
        let Some((place, ask)) = held.get() else { return };
        let state = self.table.state(place);
        let cost = cost.unwrap_or(ask.cost);
        let held = if cost > ask.cost {
            ask.cost + state.owe(cost - ask.cost)
        } else {
            if cost < ask.cost {
                state.refund(ask.cost - cost);
            }
            cost
        };
        if held > 0 {
            state.commit(Ask { cost: held, ..ask }, now);
        }
    }

    /// Releases a request in flight.
    pub(super) fn release(&self, held: Held) {
        if let Some((place, _)) = held.get() {
            self.table.state(place).release();
        }
    }
}

/// Why a rule denies a request.
enum Denial {
    TooLarge,
    NoKey,
    Refused(Refused),
}

impl fmt::Debug for RuleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleState").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Checks the limits of a rule.
fn limits(config: &RuleConfig, is_late: bool) -> Result<Limits, InvalidSetting> {
    let name = &config.name;
    let lengths = |plan: &Plan| plan.windows().iter().map(|it| it.window()).collect::<Vec<_>>();
    let first = &config.plans[0];
    if let Some(other) = config.plans.iter().find(|plan| lengths(plan) != lengths(first)) {
        let expected = format!("windows of {:?}, as those of the first plan", lengths(first));
        return Err(InvalidSetting::new("a plan of a rule", (name, lengths(other)), expected));
    }
    let in_flight: Vec<u32> = config.plans.iter().filter_map(Plan::in_flight).collect();
    if !in_flight.is_empty() && in_flight.len() < config.plans.len() {
        let expected = "a rule in which all plans have a max_in_flight, or none";
        return Err(InvalidSetting::new("a plan of a rule", name, expected));
    }
    if first.windows().is_empty() && in_flight.is_empty() {
        let expected = "a rule with at_most or max_in_flight";
        return Err(InvalidSetting::new("a rule", name, expected));
    }
    let windows: Vec<Window> = (0..first.windows().len())
        .map(|at| {
            let quotas: Vec<u32> =
                config.plans.iter().map(|plan| plan.windows()[at].limit()).collect();
            Window::new(&quotas, first.windows()[at].window())
        })
        .collect();
    let debt = if is_late { 3 } else { 0 };
    Limits::new(windows, in_flight, debt).map_err(|bits| {
        let expected = format!(
            "a rule whose counts fit into one word: {bits} bits are missing, so make its windows \
             rules of their own, by the same key"
        );
        InvalidSetting::new("a rule", name, expected)
    })
}
