//! The demands of a response, and their precedence.

use std::{
    cell::Cell,
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, HeaderName,
    header::{AGE, DATE},
};

use super::{
    names::{self, Meaning, Quota},
    resets::Resets,
    structured,
    values::{self, Remaining, Time, Unit},
};

/// The meaning of a header that the user has named.
#[derive(Clone, Debug)]
pub(super) enum Named {
    Wait(Unit),
    Remaining,
    /// The reset of the quota whose rest is in the header `remaining`.
    Reset {
        remaining: HeaderName,
        unit: Unit,
    },
    MayRetry,
}

impl Named {
    fn meaning<'a>(&'a self, name: &'a HeaderName) -> Meaning<'a> {
        let quota = |remaining: &'a HeaderName| Quota { before: remaining.as_str(), behind: "" };
        match self {
            Self::Wait(unit) => Meaning::Wait(*unit),
            Self::Remaining => Meaning::Remaining(quota(name)),
            Self::Reset { remaining, unit } => Meaning::Reset(quota(remaining), *unit),
            Self::MayRetry => Meaning::MayRetry,
        }
    }
}

/// The demands of a response.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::client) struct Demands {
    /// Whether the request may be repeated. A refusal counts before a permission.
    pub(in crate::client) may_retry: Option<bool>,
    /// `Retry-After`.
    pub(in crate::client) wait: Option<Duration>,
    pub(in crate::client) resets: Resets,
}

impl Demands {
    /// Reads all demands in one pass.
    pub(super) fn read(
        headers: &HeaderMap,
        named: &[(HeaderName, Named)],
        now: impl Fn() -> SystemTime,
    ) -> Self {
        let server_time = ServerTime { headers, now, read: Cell::new(None) };
        let longest = |longest: &mut Option<Duration>, time: Time| {
            *longest = (*longest).max(Some(time.wait(|| server_time.get())));
        };
        let mut demands = Self::default();
        let mut waits = ByPrecision::default();
        let mut quotas = None;
        let mut rate_limit = None;
        for (name, value) in headers {
            let by_user = named.iter().find(|(known, _)| known == name);
            let meaning = match by_user {
                Some((name, named)) => Some(named.meaning(name)),
                None => names::meaning(name.as_str()),
            };
            match meaning {
                None => {}
                Some(Meaning::Wait(unit)) => {
                    let wait = waits.of(matches!(unit, Unit::Millis | Unit::Micros));
                    values::times(value, unit).for_each(|time| longest(wait, time));
                }
                Some(Meaning::ScopedWaits) => {
                    let wait = waits.of(false);
                    values::times_before_colons(value).for_each(|time| longest(wait, time));
                }
                Some(Meaning::Remaining(quota)) => {
                    if let Some(state) = quotas.get_or_insert_with(Quotas::default).state(quota) {
                        state.remaining = state.remaining.max(Some(values::remaining(value)));
                    }
                }
                Some(Meaning::Reset(quota, unit)) => {
                    if let Some(state) = quotas.get_or_insert_with(Quotas::default).state(quota) {
                        let reset = state.reset.of(unit != Unit::BySize);
                        values::times(value, unit).for_each(|time| longest(reset, time));
                    }
                }
                // Its lines are read together.
                Some(Meaning::RateLimit) if rate_limit != Some(name) => {
                    rate_limit = Some(name);
                    let wait = |time| values::from_now(time).wait(|| server_time.get());
                    demands.resets.merge(structured::read(headers, name).map(wait));
                }
                Some(Meaning::RateLimit) => {}
                Some(Meaning::MayRetry) => {
                    let flag = values::flag(value);
                    demands.may_retry = match (demands.may_retry, flag) {
                        (Some(false), _) | (_, None) => demands.may_retry,
                        _ => flag,
                    };
                }
            }
        }
        demands.wait = waits.get();
        if let Some(quotas) = quotas {
            quotas.add_to(&mut demands.resets);
        }
        demands
    }
}

/// Two readings of one demand.
#[derive(Clone, Copy, Default)]
struct ByPrecision {
    /// In seconds.
    coarse: Option<Duration>,
    /// In a finer unit, or counted from now while the other is a date.
    precise: Option<Duration>,
}

impl ByPrecision {
    fn of(&mut self, precise: bool) -> &mut Option<Duration> {
        if precise { &mut self.precise } else { &mut self.coarse }
    }

    fn get(&self) -> Option<Duration> {
        self.precise.or(self.coarse)
    }
}

/// The quotas of a response with separate headers for rest and reset. Large; few responses have
/// one.
#[derive(Default)]
struct Quotas<'a> {
    len: usize,
    states: [State<'a>; MAX_QUOTAS],
}

/// More quotas in one response are not read: memory and time are bounded.
const MAX_QUOTAS: usize = 16;

#[derive(Clone, Copy, Default)]
struct State<'a> {
    quota: Quota<'a>,
    remaining: Option<Remaining>,
    reset: ByPrecision,
}

impl<'a> Quotas<'a> {
    fn get(&self) -> &[State<'a>] {
        &self.states[..self.len]
    }

    /// Returns the state of `quota`, or `None` if there is no room for another one.
    fn state(&mut self, quota: Quota<'a>) -> Option<&mut State<'a>> {
        let known = self.get().iter().position(|state| state.quota == quota);
        let index = known.unwrap_or(self.len);
        let state = self.states.get_mut(index)?;
        if known.is_none() {
            state.quota = quota;
            self.len += 1;
        }
        Some(state)
    }

    fn add_to(&self, resets: &mut Resets) {
        for state in self.get() {
            if let Some(reset) = state.reset.get() {
                resets.add(state.remaining.or_else(|| self.remaining_of(&state.quota)), reset);
            }
        }
    }

    /// The rest of a quota that has no header of its own name for it.
    fn remaining_of(&self, quota: &Quota<'_>) -> Option<Remaining> {
        let related = self.get().iter().filter(|other| quota.is_related_to(&other.quota));
        related.filter_map(|other| other.remaining).max()
    }
}

/// The server's time, read once.
struct ServerTime<'a, F> {
    headers: &'a HeaderMap,
    now: F,
    read: Cell<Option<Duration>>,
}

impl<F: Fn() -> SystemTime> ServerTime<'_, F> {
    /// Returns the time since 1970: `Date` and the `Age` of a stored response (RFC 9111, 5.1), or
    /// else the local clock. The earliest of several dates leads to the longest wait.
    fn get(&self) -> Duration {
        if let Some(time) = self.read.get() {
            return time;
        }
        let date = self.headers.get_all(DATE).into_iter().flat_map(values::dates).min();
        let age = || self.headers.get(AGE).and_then(values::seconds).unwrap_or_default();
        let time = match date {
            Some(date) => date.saturating_add(age()),
            None => values::since_1970((self.now)()),
        };
        self.read.set(Some(time));
        time
    }
}
