//! CORE: whether the store is gone for all quotas of a group (pure).
//!
//! ```text
//!            FAILED quotas in turn                 a good reply of any quota
//!   open ---------------------------> closed ------------------------------> open
//!                                      |  ^
//!                                      +--+ a probe fails: backoff
//! ```
//!
//! One failure may be that of one quota alone: its node of a cluster is gone, or its state is
//! broken. So the gate closes once requests of several quotas have failed, and none had a good
//! reply since these were sent. It opens with the first good reply, or once no quota is left that
//! could probe.
//!
//! A closed gate lets one probe out at a time, for all quotas that have failed, and a few requests
//! of quotas that have not: their nodes may be there. Others wait for the end of one of these.

use std::{collections::HashSet, hash::Hash};

use super::away::Backoff;
use crate::time::Nanos;

/// The number of quotas whose requests have to fail in turn. Each of a few quotas probes for
/// itself; many of them would be a storm.
const FAILED: usize = 4;

/// The requests of quotas that have not failed that may be in flight while the gate is closed.
const UNTRIED: usize = 4;

/// The meaning of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing for other quotas.
    Own,
    /// Those that wait for a request of another one need not wait any longer.
    Untried,
    /// The gate has closed, or a probe for all has failed: this is the time of the next one.
    Gate(Nanos),
}

/// The gate of the requests of a group.
#[derive(Debug)]
pub(super) struct Gate<Id> {
    /// The quotas whose requests have failed since the latest good reply.
    failed: HashSet<Id>,
    good_at: Nanos,
    /// Of a closed gate.
    closed: Option<Backoff>,
    /// The quota whose probe is in flight, for all.
    prober: Option<Id>,
    /// The quotas that have not failed, and whose requests are in flight.
    untried: Vec<Id>,
}

impl<Id: Copy + Eq + Hash> Gate<Id> {
    pub(super) fn new() -> Self {
        let (failed, untried) = (HashSet::new(), Vec::with_capacity(UNTRIED));
        Self { failed, good_at: Nanos::ZERO, closed: None, prober: None, untried }
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Returns the time of the next probe for all. `None` if the gate is open.
    pub(super) fn next_probe(&self) -> Option<Nanos> {
        self.closed.as_ref().map(Backoff::next_probe)
    }

    /// Returns the time at which a quota is to be chosen for the next probe, unless one is in
    /// flight.
    pub(super) fn due(&self) -> Nanos {
        match (&self.closed, &self.prober) {
            (Some(backoff), None) => backoff.next_probe(),
            _ => Nanos::NEVER,
        }
    }

    /// Returns true if a quota that has not failed may ask.
    pub(super) fn may_try(&self) -> bool {
        !self.is_closed() || self.untried.len() < UNTRIED
    }

    /// Records that a request of `id` leaves, which has not failed.
    pub(super) fn tries(&mut self, id: Id) {
        if self.is_closed() {
            self.untried.push(id);
        }
    }

    /// Records that the probe of `id` leaves, for all.
    pub(super) fn probes(&mut self, id: Id) {
        self.prober = Some(id);
    }

    /// Records a good reply. Returns true if it opens the gate.
    pub(super) fn replied(&mut self, now: Nanos) -> bool {
        self.good_at = now;
        self.open()
    }

    /// Opens the gate. Returns true if it was closed.
    pub(super) fn open(&mut self) -> bool {
        self.failed.clear();
        self.prober = None;
        self.untried.clear();
        self.closed.take().is_some()
    }

    /// Records that a request of `id` has failed, which was sent at `sent`.
    pub(super) fn failed(&mut self, id: Id, sent: Nanos, now: Nanos) -> Failure {
        if let Some(backoff) = &mut self.closed {
            if self.prober.take_if(|prober| *prober == id).is_some() {
                backoff.failed(now);
                return Failure::Gate(backoff.next_probe());
            }
            let tries = self.untried.len();
            self.untried.retain(|untried| *untried != id);
            // Requests that were in flight before tell nothing new.
            return if self.untried.len() < tries { Failure::Untried } else { Failure::Own };
        }
        if sent < self.good_at {
            return Failure::Own; // the store has replied to others since
        }
        self.failed.insert(id);
        if self.failed.len() < FAILED {
            return Failure::Own;
        }
        let backoff = self.closed.insert(Backoff::default());
        backoff.failed(now);
        Failure::Gate(backoff.next_probe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(nanos: u64) -> Nanos {
        Nanos::new(nanos)
    }

    fn closed() -> Gate<u8> {
        let mut gate = Gate::new();
        for id in 0..4 {
            gate.failed(id, at(1), at(2));
        }
        assert!(gate.is_closed());
        gate
    }

    fn gate_failed(gate: &mut Gate<u8>, id: u8, sent: u64, now: u64) -> Nanos {
        match gate.failed(id, at(sent), at(now)) {
            Failure::Gate(next_probe) => next_probe,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn d11_gate_closes_when_several_quotas_fail_in_turn() {
        let mut gate = Gate::new();
        for _ in 0..100 {
            assert_eq!(gate.failed(0, at(1), at(2)), Failure::Own);
        }
        for id in [1, 2] {
            assert_eq!(gate.failed(id, at(1), at(2)), Failure::Own);
        }
        assert!(!gate.replied(at(3)));
        for id in 0..3 {
            assert_eq!(gate.failed(id, at(3), at(4)), Failure::Own);
        }
        assert!(!gate.is_closed());
        let next_probe = gate_failed(&mut gate, 3, 3, 4);
        assert!(next_probe > at(4));
        assert_eq!((gate.next_probe(), gate.due()), (Some(next_probe), next_probe));
    }

    #[test]
    fn d11_gate_stays_open_when_requests_of_before_a_good_reply_fail() {
        let mut gate = Gate::new();
        gate.replied(at(10));
        for id in 0..100 {
            assert_eq!(gate.failed(id, at(9), at(11)), Failure::Own);
        }
        assert!(!gate.is_closed());
    }

    #[test]
    fn d11_closed_gate_lets_one_probe_out_at_a_time() {
        let mut gate = closed();
        gate.probes(7);
        assert_eq!(gate.due(), Nanos::NEVER);
        assert_eq!(gate.failed(8, at(1), at(3)), Failure::Own, "of a request of before");
        assert_eq!(gate.due(), Nanos::NEVER);
        let next_probe = gate_failed(&mut gate, 7, 2, 3);
        assert!(next_probe > at(3));
        assert_eq!(gate.due(), next_probe);
    }

    #[test]
    fn d11_closed_gate_lets_a_few_quotas_try() {
        let mut gate = closed();
        for id in 10..14 {
            assert!(gate.may_try());
            gate.tries(id);
        }
        assert!(!gate.may_try());
        assert_eq!(gate.failed(12, at(2), at(3)), Failure::Untried);
        assert!(gate.may_try());
    }

    #[test]
    fn d11_gate_opens_with_any_good_reply() {
        let mut gate = closed();
        gate.probes(7);
        assert!(gate.replied(at(3)));
        assert_eq!((gate.is_closed(), gate.due()), (false, Nanos::NEVER));
        assert!(!gate.replied(at(4)));
    }
}
