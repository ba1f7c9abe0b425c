//! CORE: the permits to come, and when requests get them (pure).

use crate::time::Nanos;

/// Leases that the store has granted for later: none is delivered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// One with a greater number is newer.
    pub(crate) number: u64,
    /// The begin and the number of permits of each, in the order of their begins.
    pub(crate) leases: Vec<(Nanos, u32)>,
    /// Requests beyond the leases get no permit before, as far as is known.
    pub(crate) then: Nanos,
    /// `then` is believed until this time: other processes give permits back, too.
    pub(crate) until: Nanos,
    /// Requests beyond the leases get no permit before, whatever others do.
    pub(crate) at_least: Nanos,
}

/// A schedule with sums, by which it tells when a request gets a permit.
///
/// A look takes one step for each doubling of the leases, and one for all requests together whether
/// one may be late.
pub(super) struct Plan {
    pub(super) number: u64,
    /// The begin of each lease, and the number of requests that it and those before it cover.
    leases: Vec<(Nanos, u64)>,
    then: Nanos,
    until: Nanos,
    at_least: Nanos,
    /// The time by which all requests get a permit, as far as is known.
    last: Nanos,
}

/// The time at which a request gets a permit at the earliest.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    /// As far as is known.
    pub(super) at: Nanos,
    /// By what is believed for now.
    pub(super) believed: Nanos,
}

impl Plan {
    /// Nothing is known.
    pub(super) const NONE: Self = Self {
        number: 0,
        leases: Vec::new(),
        then: Nanos::ZERO,
        until: Nanos::ZERO,
        at_least: Nanos::ZERO,
        last: Nanos::ZERO,
    };

    pub(super) fn new(schedule: Schedule) -> Self {
        let Schedule { number, leases, then, until, at_least } = schedule;
        let (mut covered, mut last) = (0, then.max(at_least));
        let with_all_before = |(begin, count)| {
            covered += u64::from(count);
            last = last.max(begin);
            (begin, covered)
        };
        let leases = leases.into_iter().map(with_all_before).collect();
        Self { number, leases, then, until, at_least, last }
    }

    /// Returns the number of requests that the leases cover.
    pub(super) fn covered(&self) -> u64 {
        self.leases.last().map_or(0, |&(_, covered)| covered)
    }

    /// Returns true if each request gets a permit by `deadline`, as far as is known.
    pub(super) fn is_in_time(&self, deadline: Nanos) -> bool {
        self.last <= deadline
    }

    /// Returns the time at which a request with `ahead` others before it gets a permit, and not
    /// before the end of a pause.
    pub(super) fn expected(&self, ahead: u64, now: Nanos, pause_end: Nanos) -> Expected {
        let next = self.leases.partition_point(|&(_, covered)| covered <= ahead);
        let (at, believed) = match self.leases.get(next) {
            Some(&(begin, _)) => (begin, begin),
            None => (self.then, if now < self.until { self.then } else { self.at_least }),
        };
        Expected { at: at.max(pause_end), believed: believed.max(pause_end) }
    }
}
