//! The naive version: lists of issues.

use std::sync::atomic::Ordering::Relaxed;

use super::{Entry, Issue, Known, Request, Schedule, step_of, window_of};
use crate::keyed::table::{KeyHash, Place, counts::TAKEN};

impl Schedule {
    /// Counts a request in flight, if they are limited.
    pub(super) fn fly(&self, place: Place, more: i32) {
        if self.kind.in_flight {
            let in_flight = &mut self.known.borrow_mut()[self.index(place)].in_flight;
            *in_flight = in_flight.checked_add_signed(more).expect("it is in flight");
        }
    }

    /// Notes the issues of the overflow, if the present operation claims a slot.
    pub(super) fn note_claims(&self) {
        let (mut known, depth) = (self.known.borrow_mut(), self.depth.get());
        for place in self.table.slots() {
            let at = self.index(place);
            // After the claim, the note stays until `sync` has seen what became of it.
            let is_taken = self.table.state(place).counts().load(Relaxed) & TAKEN != 0;
            if is_taken && known[at].claimed.as_ref().is_none_or(|(owner, _)| *owner == depth) {
                let copied = self.overflow_of(self.table.tag(place).load(Relaxed));
                known[at].claimed = Some((depth, known[copied].issues.clone()));
            }
        }
    }

    /// Returns the index of the overflow of a key.
    pub(super) fn overflow_of(&self, key: u64) -> usize {
        let [home, _] = self.table.sets_of(KeyHash::new(key));
        self.index(self.table.overflow_of(home))
    }

    /// Finds the slots that were given to other keys, with a copy of the overflow.
    pub(super) fn sync(&self) {
        let mut known = self.known.borrow_mut();
        for place in self.table.slots() {
            let at = self.index(place);
            let word = self.table.state(place).counts().load(Relaxed);
            let tag = self.table.tag(place).load(Relaxed);
            let key = (tag != 0 && word & TAKEN == 0).then_some(tag);
            if known[at].key == key {
                if word & TAKEN == 0 {
                    known[at].claimed = None; // in vain
                }
                continue;
            }
            // K5: the key of before has nothing left.
            let now = self.clock.get();
            let issues = &known[at].issues;
            for length in &self.lengths {
                let live = |entry: &&Entry| !entry.forgotten && entry.issue.at + *length > now;
                assert_eq!(issues.iter().find(live).map(|_| ()), None, "{self}: was forgotten");
            }
            assert_eq!(known[at].in_flight, 0, "{self}: was forgotten in flight");
            let of_slot = self.keys.iter().position(|key| known[at].key == Some(key.get()));
            assert!(!of_slot.is_some_and(|key| self.is_paused(key)), "{self}: lost its pause");
            let claimed = known[at].claimed.take();
            known[at] = Known { key, ..Known::default() };
            if word & TAKEN != 0 {
                known[at].claimed = claimed;
            } else if let Some(key) = key {
                let present = || known[self.overflow_of(key)].issues.clone();
                let copied = claimed.map_or_else(present, |(_, copied)| copied);
                assert!(copied.iter().all(|entry| entry.issue.committed.get().is_some()), "{self}");
                let mut seen = self.seen.borrow_mut();
                seen.claims += 1;
                let is_live =
                    |entry: &Entry| self.lengths.iter().any(|length| entry.issue.at + length > now);
                seen.copies += u64::from(copied.iter().any(is_live));
                known[at].issues = copied;
            }
        }
    }

    /// Returns the permits of `place` that are not issued.
    pub(super) fn not_issued_of(&self, is_of: impl Fn(&Request) -> bool) -> u64 {
        let requests = self.requests.borrow();
        let open = requests.iter().filter(|request| request.issue.is_none() && is_of(request));
        open.map(|request| u64::from(request.ask.cost)).sum()
    }

    /// Returns the permits that `place` must hold at least.
    pub(super) fn least(&self, place: Place, window: usize) -> u64 {
        let (now, length) = (self.clock.get(), self.lengths[window]);
        let known = self.known.borrow();
        let live = known[self.index(place)]
            .issues
            .iter()
            .filter(|entry| !entry.forgotten && entry.issue.at + length > now);
        let issued: u64 = live.map(|entry| u64::from(entry.issue.cost)).sum();
        issued + self.not_issued_of(|request| request.place == place)
    }

    /// Returns true if permits expire by the lateness of one log.
    pub(super) fn is_exact(&self) -> bool {
        !self.kind.plans && !self.kind.debts && !self.kind.wraps
    }

    /// Returns the permits that `place` may hold at most, after an expiry.
    pub(super) fn most(&self, place: Place, window: usize) -> u64 {
        let shape = &self.windows()[window].shapes[0];
        let (now, late) = (self.clock.get(), window_of(shape) + step_of(shape));
        let known = self.known.borrow();
        let is_late = |issue: &Issue| issue.committed.get().is_some_and(|at| at + late <= now);
        let live = known[self.index(place)].issues.iter().filter(|entry| !is_late(&entry.issue));
        let issued: u64 = live.map(|entry| u64::from(entry.issue.cost)).sum();
        let open = self.not_issued_of(|request| request.place == place);
        // The first of a unit expire with the last.
        let rest = if issued + open > 0 { u64::from(shape.unit) - 1 } else { 0 };
        issued + open + rest
    }
}
