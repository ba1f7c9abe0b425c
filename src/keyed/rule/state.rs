//! The states of a rule, and the decision for one request.

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Relaxed},
            fence,
        },
    },
    time::Duration,
};

use super::{RuleSettings, WithoutKey, plan::Plan, terms::Terms};
use crate::{
    duration_text::AsText,
    keyed::{
        key::Key,
        lanes::LANES,
        observed::{Observed, Rejection, Stripes},
        table::{
            Freed, KeyHash, Place, Refused, Table,
            limits::{Ask, Limits, Window},
            log::{PLAN_BITS, PLANS},
            pause::Present,
            state::{Now, State},
        },
    },
    rejected::{Limit, Reason, Rejected, RuleReason, Scope},
    rule_name::RuleName,
    settings::InvalidSetting,
    time::{Clock, Nanos},
};

/// Quotas that a key may owe at least.
const DEBT: u64 = 3;

/// The states of the keys of a rule, and its settings.
pub(crate) struct RuleState {
    settings: RuleSettings,
    id: Option<RuleName>,
    /// In the place of that of the settings, because a handle changes it.
    is_dry_run: AtomicBool,
    pub(in crate::keyed) is_late: bool,
    penalty: Option<Duration>,
    table: Table,
    hasher: RandomState,
    /// Of requests that were issued, by choice.
    admitted: Option<Stripes>,
    /// In a box, whose words lie apart from those of each call.
    observed: Box<Observed>,
}

/// What a request wants of a rule.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    pub(in crate::keyed) target: Target,
    pub(in crate::keyed) ask: Ask,
}

/// The state of which a request wants permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::keyed) enum Target {
    /// The rule does not apply.
    Nothing,
    /// That of the requests without a key.
    Common,
    Key(KeyHash),
}

impl Want {
    pub(in crate::keyed) const NOTHING: Self =
        Self { target: Target::Nothing, ask: Ask { plan: 0, cost: 0 } };
}

/// What a request holds of a rule: nothing, or permits of a place.
///
/// One word, because it passes through the call in memory: fields that are written one by one, and
/// read together, wait for each other in the processor. From the top, it has the place, the plan in
/// 3 bits, and the cost in 32. Without a cost, nothing is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held(u64);

impl Held {
    pub(in crate::keyed) const NOTHING: Self = Self(0);

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

    /// Returns where permits are freed by this.
    pub(in crate::keyed) const fn freed(self) -> Freed {
        match self.get() {
            Some((place, _)) => Freed::At(place),
            None => Freed::Nothing,
        }
    }
}

impl RuleState {
    pub(in crate::keyed) fn new(
        settings: &RuleSettings,
        is_late: bool,
    ) -> Result<Self, InvalidSetting> {
        let name = &settings.name;
        if name.is_empty() {
            return Err(InvalidSetting::new("name of a rule", name, "a text that is not empty"));
        }
        let limits = limits(settings, is_late)?;
        Ok(Self {
            settings: settings.clone(),
            id: RuleName::of(name),
            is_dry_run: AtomicBool::new(settings.is_dry_run),
            is_late,
            penalty: settings.penalty,
            table: Table::new(settings.max_keys, limits, settings.when_full),
            hasher: RandomState::new(),
            admitted: settings.counts_admitted.then(Stripes::new),
            observed: Box::new(Observed::new(name, settings.is_dry_run, settings.top)),
        })
    }

    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    /// Returns the settings of the rule when its layer was made.
    pub(crate) const fn settings(&self) -> &RuleSettings {
        &self.settings
    }

    pub(in crate::keyed) fn is_dry_run(&self) -> bool {
        self.is_dry_run.load(Relaxed)
    }

    pub(in crate::keyed) fn set_dry_run(&self, is_dry_run: bool) {
        self.is_dry_run.store(is_dry_run, Relaxed);
    }

    pub(in crate::keyed) const fn table(&self) -> &Table {
        &self.table
    }

    /// Returns the plan of this index, which is valid.
    #[cfg(feature = "server")]
    pub(crate) fn plan(&self, index: usize) -> &Plan {
        &self.settings.plans[index]
    }

    pub(in crate::keyed) fn observed(&self) -> &Observed {
        &self.observed
    }

    /// Returns the number of requests that were issued, if it is counted.
    pub(in crate::keyed) fn admitted(&self) -> Option<u64> {
        self.admitted.as_ref().map(Stripes::sum)
    }

    /// Counts a request that is issued, if it holds permits of this rule.
    pub(in crate::keyed) fn count_issue(&self, held: Held) {
        if let (Some(admitted), Some((place, _))) = (&self.admitted, held.get()) {
            admitted.count(place.number() as usize / LANES);
        }
    }

    /// Returns true if a request holds something of the rule until its response.
    pub(in crate::keyed) fn outlives_call(&self) -> bool {
        self.is_late || self.table.limits().layout.in_flight().is_some()
    }

    /// Returns the hash of the key of `request`, or `None` if it has none.
    #[inline]
    pub(in crate::keyed) fn hash_of<Request>(
        &self,
        key: &impl Key<Request>,
        request: &Request,
    ) -> Option<KeyHash> {
        let mut hasher = self.hasher.build_hasher();
        key.hash_key(request, &mut hasher).then(|| KeyHash::new(hasher.finish()))
    }

    /// Returns the hash of a key that a handle was given.
    pub(in crate::keyed) fn hash(&self, key: impl Hash) -> KeyHash {
        KeyHash::new(self.hasher.hash_one(key))
    }

    #[inline]
    pub(in crate::keyed) fn ask(&self, terms: Terms) -> Ask {
        let plans = self.settings.plans.len();
        Ask { plan: if terms.plan < plans { terms.plan } else { 0 }, cost: terms.cost }
    }

    /// Returns what a request wants of this rule.
    #[inline]
    pub(in crate::keyed) fn want<Request>(
        &self,
        key: &impl Key<Request>,
        request: &Request,
        terms: Terms,
    ) -> Result<Want, Denial> {
        if terms.is_exempt || terms.cost == 0 {
            return Ok(Want::NOTHING);
        }
        let ask = self.ask(terms);
        // A quota is at least one.
        if ask.cost > 1 && ask.cost > self.table.limits().max_cost(ask.plan) {
            return Err(Denial { why: Why::TooLarge, want: Want { ask, ..Want::NOTHING } });
        }
        let no_key = Denial { why: Why::NoKey, want: Want { ask, ..Want::NOTHING } };
        let target = self.target(key, request).ok_or(no_key)?;
        Ok(Want { target, ask })
    }

    /// Returns the state in which a request counts. `None` if its like are rejected.
    #[inline]
    pub(in crate::keyed) fn target<Request>(
        &self,
        key: &impl Key<Request>,
        request: &Request,
    ) -> Option<Target> {
        if !self.table.has_slots() {
            return Some(Target::Common);
        }
        match (self.hash_of(key, request), self.settings.without_key) {
            (Some(key), _) => Some(Target::Key(key)),
            (None, WithoutKey::Share) => Some(Target::Common),
            (None, WithoutKey::Exempt) => Some(Target::Nothing),
            (None, WithoutKey::Reject) => None,
        }
    }

    /// Acquires the permits of a request.
    #[inline]
    pub(in crate::keyed) fn acquire(
        &self,
        want: Want,
        now: &mut Now<'_, Clock>,
    ) -> Result<Held, Refused> {
        let Want { target, ask } = want;
        let place = match target {
            Target::Nothing => return Ok(Held::NOTHING),
            Target::Common => {
                let place = self.table.common();
                self.table.acquire_at(place, ask, now)?;
                place
            }
            Target::Key(key) => self.table.acquire(key, ask, now)?,
        };
        Ok(Held::new(place, ask))
    }

    /// Acquires the permits of a request that waits at `place`, and whose turn it is.
    pub(in crate::keyed) fn acquire_in_turn(
        &self,
        place: Place,
        ask: Ask,
        now: &mut Now<'_, Clock>,
    ) -> Result<Held, Refused> {
        self.table.acquire_in_turn(place, ask, now)?;
        Ok(Held::new(place, ask))
    }

    /// Acquires the permits of a request, or denies it.
    #[inline]
    pub(in crate::keyed) fn decide<Request>(
        &self,
        key: &impl Key<Request>,
        request: &Request,
        terms: Terms,
        now: &mut Now<'_, Clock>,
    ) -> Result<Held, Denial> {
        self.want(key, request, terms).and_then(|want| {
            self.acquire(want, now).map_err(|refused| Denial { why: Why::Refused(refused), want })
        })
    }

    /// Counts and passes on the rejection of a request, or one in a dry run.
    #[cold]
    pub(in crate::keyed) fn notify_rejected<Request>(
        &self,
        rejection: Rejection<'_>,
        key: &impl Key<Request>,
        request: &Request,
        terms: Terms,
        now: &mut Now<'_, Clock>,
    ) {
        self.observed.notify(rejection);
        let Some(top) = &self.observed.top else { return };
        if rejection.is_of_use() && self.table.has_slots() {
            if let Some(hash) = self.hash_of(key, request) {
                top.count(hash, self.ask(terms).plan, now.get(), || key.label(request));
            }
        }
    }

    /// Returns what a request wants, as [`want`](Self::want) does, and nothing in a dry run in
    /// which it would be denied.
    pub(in crate::keyed) fn want_or_pass<Request>(
        &self,
        key: &impl Key<Request>,
        request: &Request,
        terms: Terms,
    ) -> Result<Want, Denial> {
        match self.want(key, request, terms) {
            Err(_) if self.is_dry_run() => Ok(Want::NOTHING),
            wanted => wanted,
        }
    }

    /// Returns the rejection of a request that was denied.
    #[cold]
    pub(in crate::keyed) fn reject(&self, denial: Denial, now: &mut Now<'_, Clock>) -> Rejected {
        self.penalize(&denial, now);
        let Denial { why, want: Want { ask, .. } } = denial;
        let (limit, wait, place) = match why {
            Why::TooLarge | Why::NoKey | Why::Refused(Refused::NoSlot) => (Limit::Rate, None, None),
            Why::Refused(Refused::Full { place } | Refused::Queued(place)) => {
                let wait = self.wait(place, ask, now);
                let limit = if wait.is_some() { Limit::Rate } else { Limit::Concurrency };
                (limit, wait, Some(place))
            }
            Why::Refused(Refused::Paused(place)) => {
                (Limit::Rate, self.wait(place, ask, now), Some(place))
            }
            Why::Refused(Refused::Busy(place)) => (Limit::Concurrency, None, Some(place)),
            Why::Refused(Refused::Stalled) => (Limit::Rate, Some(Duration::from_millis(1)), None),
        };
        self.rejection(limit, Reason::Rule(why.reason()), wait, place)
    }

    /// Returns a rejection at `place`.
    pub(in crate::keyed) fn rejection(
        &self,
        limit: Limit,
        reason: Reason,
        wait: Option<Duration>,
        place: Option<Place>,
    ) -> Rejected {
        let is_shared = place.is_some_and(|place| self.table.is_shared(place));
        Rejected::new(limit, reason, wait).in_scope(Scope { rule: self.id, is_shared })
    }

    /// Pauses the key of a request that a window has refused, if the rule has a penalty.
    ///
    /// Only committed permits count: those of requests in flight may be refunded as successes.
    pub(in crate::keyed) fn penalize(&self, denial: &Denial, now: &mut Now<'_, Clock>) {
        let Denial { why: Why::Refused(Refused::Full { place }), want: Want { target, ask } } =
            *denial
        else {
            return;
        };
        let Some(penalty) = self.penalty else { return };
        // Keys share any other state.
        let key = match target {
            Target::Key(key) if !self.table.is_shared(place) => Some(key),
            Target::Common if !self.table.has_slots() => None,
            _ => return,
        };
        let state = self.table.state(place);
        let mut windows = self.table.limits().windows.iter().enumerate();
        let is_full = |(index, window): (usize, &Window)| {
            let quota = u64::from(window.shapes[ask.plan].quota);
            state.committed(index) + u64::from(ask.cost) > quota
        };
        if windows.any(is_full) {
            let until = now.get().after(penalty);
            self.table.pause_at(place, key, until, Present::Keep, now);
        }
    }

    /// Pauses a key until `until`. Returns false if it has no slot, and finds none.
    pub(in crate::keyed) fn pause(
        &self,
        key: KeyHash,
        until: Nanos,
        now: &mut Now<'_, Clock>,
    ) -> bool {
        until <= now.get() || self.table.pause(self.slot_key(key), until, now).is_some()
    }

    /// Pauses the state of which a request wants permits, as [`pause`](Self::pause) does.
    pub(in crate::keyed) fn pause_target(
        &self,
        target: Target,
        until: Nanos,
        now: &mut Now<'_, Clock>,
    ) -> bool {
        match target {
            Target::Key(key) => self.pause(key, until, now),
            Target::Common if !self.table.has_slots() => {
                until <= now.get() || self.table.pause(None, until, now).is_some()
            }
            Target::Common | Target::Nothing => false,
        }
    }

    /// Ends the pause of a key. Returns true if it was paused.
    pub(in crate::keyed) fn resume(&self, key: KeyHash, now: &mut Now<'_, Clock>) -> (bool, Freed) {
        let resumed = self.table.resume(self.slot_key(key));
        let freed = resumed.map_or(Freed::Nothing, |(place, _, word)| Freed::by(word, place));
        (resumed.is_some_and(|(_, until, _)| until > now.get()), freed)
    }

    /// Returns the end of the pause of a key.
    pub(in crate::keyed) fn paused_until(
        &self,
        key: KeyHash,
        now: &mut Now<'_, Clock>,
    ) -> Option<Nanos> {
        self.read(Target::Key(key), now, |_, place, now| self.table.paused_until(place, now))
    }

    /// Returns `key`, or `None` if there are no slots.
    fn slot_key(&self, key: KeyHash) -> Option<KeyHash> {
        self.table.has_slots().then_some(key)
    }

    /// Returns the time until there is room for `ask` in all windows, and no pause. At least a
    /// nanosecond. `None` without windows and pause.
    pub(in crate::keyed) fn wait(
        &self,
        place: Place,
        ask: Ask,
        now: &mut Now<'_, Clock>,
    ) -> Option<Duration> {
        self.wait_behind(place, ask, 0, now)
    }

    /// Returns a time before which there is no room for `ask` behind requests for `ahead` permits.
    pub(in crate::keyed) fn wait_behind(
        &self,
        place: Place,
        ask: Ask,
        ahead: u64,
        now: &mut Now<'_, Clock>,
    ) -> Option<Duration> {
        let state = self.table.state(place);
        let until = if state.is_paused() { self.table.paused_until(place, now) } else { None };
        let now = now.get();
        let pause = until.map(|until| until.since(now));
        let windows = self.table.limits().windows.iter().enumerate();
        let wait = windows.map(|(index, window)| {
            let shape = &window.shapes[ask.plan];
            let (all, quota) = (ahead + u64::from(ask.cost), u64::from(shape.quota));
            // A permit that is issued n quotas later than another is issued n windows later.
            let rounds = (all - 1) / quota;
            let cost = u32::try_from(all - rounds * quota).unwrap_or(u32::MAX);
            let first = state.time_until_room(index, Ask { cost, ..ask }, now);
            let first = first.max(pause.unwrap_or_default());
            first.saturating_add(Duration::from_nanos(shape.window().saturating_mul(rounds)))
        });
        Some(wait.max().or(pause)?.max(Duration::from_nanos(1)))
    }

    /// Reads the state in which requests of `target` count, without what has expired there.
    pub(in crate::keyed) fn read<T>(
        &self,
        target: Target,
        now: &mut Now<'_, Clock>,
        read: impl Fn(State<'_>, Place, &mut Now<'_, Clock>) -> T,
    ) -> T {
        loop {
            let place = self.place_of(target);
            let state = self.table.state(place);
            self.table.expire(place, now);
            let read = read(state, place, now);
            // Acquire: if the counts are those of another key, which has claimed the slot between
            // the look-up and the reading, then the next look-up finds this key elsewhere.
            fence(Acquire);
            if self.place_of(target) == place {
                return read;
            }
        }
    }

    /// Returns the slot of a key, or the overflow that it shares, or the common state.
    fn place_of(&self, target: Target) -> Place {
        match target {
            Target::Key(key) if self.table.has_slots() => self.table.place_of(key),
            _ => self.table.common(),
        }
    }

    /// Returns the permits that are left to a key in all windows, and the time until there is one,
    /// if there is none.
    pub(in crate::keyed) fn remaining(
        &self,
        plan: usize,
        key: KeyHash,
        now: &mut Now<'_, Clock>,
    ) -> (u32, Option<Duration>) {
        let plan = if plan < self.settings.plans.len() { plan } else { 0 };
        self.read(Target::Key(key), now, |state, place, now| {
            let windows = 0..self.table.limits().windows.len();
            let is_paused = self.table.paused_until(place, now).is_some();
            let left = windows.map(|window| state.remaining(window, plan)).min();
            let left = if is_paused { Some(0) } else { left };
            let is_empty = left == Some(0);
            let wait = is_empty.then(|| self.wait(place, Ask { plan, cost: 1 }, now)).flatten();
            (left.unwrap_or(u32::MAX), wait)
        })
    }

    /// Returns how far a key uses the limit that is nearest to its bound.
    pub(in crate::keyed) fn usage(
        &self,
        plan: usize,
        key: KeyHash,
        now: &mut Now<'_, Clock>,
    ) -> Usage {
        self.read(Target::Key(key), now, |state, place, _| {
            let is_shared = self.table.is_shared(place);
            let of_windows =
                self.settings.plans[plan].windows().iter().enumerate().map(|(at, quota)| {
                    let limit = quota.limit();
                    let used = limit - state.remaining(at, plan);
                    Usage { used, limit, window: Some(quota.window()), is_shared }
                });
            let of_flight = self.settings.plans[plan].in_flight().map(|limit| {
                let field = self.table.limits().layout.in_flight();
                // Relaxed: a reading.
                let used = field.map_or(0, |field| field.get(state.counts().load(Relaxed)));
                Usage { used: used as u32, limit, window: None, is_shared }
            });
            let nearest = of_windows.chain(of_flight).max_by(|one, other| {
                let product = |a: u32, b: u32| u64::from(a) * u64::from(b);
                product(one.used, other.limit).cmp(&product(other.used, one.limit))
            });
            nearest.expect("a rule has a limit")
        })
    }

    /// Returns the number of live keys.
    pub(in crate::keyed) fn live_keys(&self, now: &mut Now<'_, Clock>) -> usize {
        let mut is_live = |place: &Place| {
            let state = self.table.state(*place);
            !state.is_idle() && {
                // Requests that wait see to the expiry.
                while !state.is_queued() && state.expire(now) {}
                if state.is_paused() {
                    self.table.paused_until(*place, now);
                }
                !state.is_idle()
            }
        };
        self.table.slots().filter(|place| is_live(place)).count()
    }

    /// Returns the time until this rule would admit the request, without acquiring. `None` if it
    /// would now, or if that is not known.
    pub(in crate::keyed) fn look(&self, want: Want, now: &mut Now<'_, Clock>) -> Option<Duration> {
        let place = match want.target {
            _ if self.is_dry_run() => return None,
            Target::Nothing => return None,
            Target::Common => self.table.common(),
            Target::Key(key) => self.table.find(key)?,
        };
        let state = self.table.state(place);
        // Requests that wait see to the expiry.
        while !state.is_queued() && state.expire(now) {}
        self.wait(place, want.ask, now).filter(|wait| *wait > Duration::from_nanos(1))
    }

    /// Makes newcomers at `place` wait: see [`Table::set_queued`].
    pub(in crate::keyed) fn set_queued(&self, place: Place, target: Target) -> bool {
        let key = if let Target::Key(key) = target { Some(key) } else { None };
        self.table.set_queued(place, key)
    }

    /// Lets newcomers at `place` acquire again.
    pub(in crate::keyed) fn clear_queued(&self, place: Place) {
        self.table.state(place).clear_queued();
    }

    /// Gives permits back that were not used.
    pub(in crate::keyed) fn undo(&self, held: Held) -> Freed {
        let Some((place, ask)) = held.get() else { return Freed::Nothing };
        Freed::by(self.table.state(place).undo(ask), place)
    }

    /// Commits permits whose request was issued.
    #[inline]
    pub(in crate::keyed) fn commit(&self, held: Held, now: &mut Now<'_, Clock>) -> Freed {
        let Some((place, ask)) = held.get() else { return Freed::Nothing };
        self.committed(place, ask, now)
    }

    /// Commits `cost` permits in the place of those that were acquired.
    pub(in crate::keyed) fn settle(
        &self,
        held: Held,
        cost: Option<u32>,
        now: &mut Now<'_, Clock>,
    ) -> Freed {
        let Some((place, ask)) = held.get() else { return Freed::Nothing };
        let state = self.table.state(place);
        let cost = cost.unwrap_or(ask.cost);
        let held = if cost > ask.cost {
            ask.cost + state.owe(cost - ask.cost)
        } else {
            if cost < ask.cost {
                let _ = state.refund(ask.cost - cost); // told with the commit
            }
            cost
        };
        self.committed(place, Ask { cost: held, ..ask }, now)
    }

    /// Commits permits at `place`, if any. Returns what it and the steps before may have freed.
    #[inline]
    fn committed(&self, place: Place, ask: Ask, now: &mut Now<'_, Clock>) -> Freed {
        let state = self.table.state(place);
        if ask.cost > 0 {
            state.commit(ask, now); // and expires others
            let _ = now.take_freed(); // at `place`
        }
        // The time of the line counts with commits of before, so it is told of each.
        if state.is_queued() { Freed::At(place) } else { Freed::Nothing }
    }

    /// Releases a request in flight.
    pub(in crate::keyed) fn release(&self, held: Held) -> Freed {
        let Some((place, _)) = held.get() else { return Freed::Nothing };
        Freed::by(self.table.state(place).release(), place)
    }
}

/// How far a key uses a limit.
#[derive(Clone, Copy, Debug)]
pub(in crate::keyed) struct Usage {
    pub(in crate::keyed) used: u32,
    pub(in crate::keyed) limit: u32,
    /// `None` for requests in flight.
    pub(in crate::keyed) window: Option<Duration>,
    pub(in crate::keyed) is_shared: bool,
}

/// A request that a rule denies.
pub(in crate::keyed) struct Denial {
    pub(in crate::keyed) why: Why,
    pub(in crate::keyed) want: Want,
}

/// Why a rule denies a request.
#[derive(Clone, Copy)]
pub(in crate::keyed) enum Why {
    TooLarge,
    NoKey,
    Refused(Refused),
}

impl Why {
    pub(in crate::keyed) const fn reason(self) -> RuleReason {
        match self {
            Self::TooLarge => RuleReason::TooLarge,
            Self::NoKey => RuleReason::NoKey,
            Self::Refused(Refused::NoSlot) => RuleReason::TableFull,
            Self::Refused(Refused::Paused(_)) => RuleReason::Paused,
            Self::Refused(_) => RuleReason::LimitReached,
        }
    }
}

impl fmt::Debug for RuleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleState").field("name", self.name()).finish_non_exhaustive()
    }
}

/// Checks the limits of a rule.
fn limits(settings: &RuleSettings, is_late: bool) -> Result<Limits, InvalidSetting> {
    let RuleSettings { name, plans, .. } = settings;
    let lengths = |plan: &Plan| plan.windows().iter().map(|it| it.window()).collect::<Vec<_>>();
    let first = &plans[0];
    if let Some(other) = plans.iter().find(|plan| lengths(plan) != lengths(first)) {
        let expected = format!("{:?}, as in the first plan of rule {name:?}", lengths(first));
        return Err(InvalidSetting::new("windows of a plan", lengths(other), expected));
    }
    if let Some([useless, other]) = plans.iter().find_map(Plan::useless_window) {
        let (limit, window) = (other.limit(), AsText(useless.window()));
        let expected =
            format!("at most {limit}/{window} in rule {name:?}, whose {other} is reached before");
        return Err(InvalidSetting::new("quota", format_args!("{useless}"), expected));
    }
    let in_flight: Vec<u32> = plans.iter().filter_map(Plan::in_flight).collect();
    if !in_flight.is_empty() && in_flight.len() < plans.len() {
        let expected = format!("set in all plans of rule {name:?}, or in none");
        return Err(InvalidSetting::new("max_in_flight of a plan", None::<u32>, expected));
    }
    if first.windows().is_empty() && in_flight.is_empty() {
        let expected = "one with a limit, by at_most or max_in_flight";
        return Err(InvalidSetting::new("rule", name, expected));
    }
    let debt = if is_late { DEBT } else { 0 };
    let largest = plans.iter().flat_map(Plan::windows).map(|quota| quota.limit()).max();
    let alone = first.windows().len() == 1 && in_flight.is_empty();
    limits_of(plans, debt).map_err(|bits| match largest {
        Some(largest) if alone => {
            let expected = format!("at most {} in rule {name:?}", Limits::max_quota(debt));
            InvalidSetting::new("limit", largest, expected)
        }
        _ => {
            let expected = format!(
                "one whose counts fit into a word, which has {bits} bits too few: make its windows \
                 rules of their own, by the same key"
            );
            InvalidSetting::new("rule", name, expected)
        }
    })
}

/// Returns the limits of plans whose windows have the same lengths, or the number of bits that are
/// missing for their counts.
pub(crate) fn limits_of(plans: &[Plan], debt: u64) -> Result<Limits, u32> {
    let first = plans[0].windows();
    let windows = first.iter().enumerate().map(|(at, quota)| {
        let quotas: Vec<u32> = plans.iter().map(|plan| plan.windows()[at].limit()).collect();
        Window::new(&quotas, quota.window())
    });
    Limits::new(windows.collect(), plans.iter().filter_map(Plan::in_flight).collect(), debt)
}
