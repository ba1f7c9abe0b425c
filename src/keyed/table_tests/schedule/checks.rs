//! The state and its readings against the naive version.

use std::sync::atomic::Ordering::Relaxed;

use super::{Entry, Request, Schedule, step_of, window_of};
use crate::{
    keyed::{
        table::{
            KeyHash, Place, Refused,
            counts::{PAUSED, TAKEN},
            limits::Ask,
            state::{Now, State},
        },
        table_tests::Hand,
    },
    time::Nanos,
};

impl Schedule {
    /// K1, K9: with this request, its key has at most the quota of its plan.
    pub(super) fn check_admission(&self, key: usize, place: Place, ask: Ask) {
        let now = self.clock.get();
        for (index, window) in self.windows().iter().enumerate() {
            let quota = u64::from(window.shapes[ask.plan].quota);
            let issued = &self.issued.borrow()[key];
            let live = issued.iter().filter(|issue| issue.at + self.lengths[index] > now);
            let of_key = live.map(|issue| u64::from(issue.cost)).sum::<u64>()
                + self.not_issued_of(|request| request.key == key);
            assert!(of_key <= quota, "{self}: {of_key} of {quota} for a key");
            let of_place = self.least(place, index);
            assert!(of_place <= quota, "{self}: {of_place} of {quota} at a place");
        }
        if let Some(max) = self.table.limits().max_in_flight.get(ask.plan) {
            let in_flight = self.known.borrow()[self.index(place)].in_flight;
            assert!(in_flight <= *max, "{self}: {in_flight} of {max} in flight");
        }
    }

    /// Copies a state to a mirror.
    pub(super) fn copy(&self, place: Place) -> State<'_> {
        let (from, to) = (self.table.state(place), self.mirror.state(self.mirror.common()));
        to.counts().store(from.counts().load(Relaxed) & !(TAKEN | PAUSED), Relaxed);
        for window in 0..self.windows().len() {
            to.log(window).store(from.log(window).load(Relaxed), Relaxed);
        }
        to
    }

    pub(super) fn a_place(&self) -> Place {
        self.places[self.random(self.places.len() as u32) as usize]
    }

    /// K1, K5: a state holds what was issued in a window, and little more.
    pub(super) fn check_states(&self) {
        for place in [self.a_place(), self.a_place()] {
            self.check_state(place);
        }
    }

    pub(super) fn check_state(&self, place: Place) {
        let state = self.copy(place);
        let time = Hand::at(self.clock.get());
        while state.expire(&mut Now::of(&time)) {}
        let word = state.counts().load(Relaxed);
        for (window, fields) in self.table.limits().layout.windows().iter().enumerate() {
            let held = fields.held.get(word);
            let least = self.least(place, window);
            assert!(held >= least, "{self}: held {held}, issued {least} at {place:?}");
            if self.depth.get() == 0 && self.is_exact() {
                let most = self.most(place, window);
                assert!(held <= most, "{self}: held {held}, issued {most} at {place:?}");
            }
        }
        if let Some(field) = self.table.limits().layout.in_flight() {
            let in_flight = self.known.borrow()[self.index(place)].in_flight;
            if self.depth.get() == 0 {
                assert_eq!(field.get(word), u64::from(in_flight), "{self}");
            }
        }
        if let Some(key) = self.known.borrow()[self.index(place)].key {
            if word != 0 && self.depth.get() == 0 {
                assert_eq!(self.table.find(KeyHash::new(key)), Some(place), "{self}");
            }
        }
    }

    /// K11, K13: readings of a state tell what an acquisition finds.
    pub(super) fn check_times(&self) {
        if self.depth.get() > 0 {
            return;
        }
        let place = self.a_place();
        let now = self.clock.get();
        let of_place = |request: &Request| request.place == place;
        let is_committed = !self.requests.borrow().iter().any(of_place);
        let (plan, windows) = (self.ask().plan, 0..self.windows().len());
        // What remains, in the window that has least.
        let state = self.copy(place);
        let word = state.counts().load(Relaxed);
        let in_flight = self.table.limits().layout.in_flight().map_or(0, |field| field.get(word));
        for _ in 0..in_flight {
            let _ = state.release();
        }
        let time = Hand::at(now);
        while state.expire(&mut Now::of(&time)) {}
        let remaining = windows.clone().map(|at| state.remaining(at, plan)).min();
        let remaining = remaining.expect("there is a window");
        let try_acquire = |cost, at: u64| {
            let time = Hand::at(at);
            let mirror = &self.mirror;
            let got = mirror.acquire_at(mirror.common(), Ask { plan, cost }, &mut Now::of(&time));
            if got.is_ok() {
                let _ = state.undo(Ask { plan, cost });
            }
            got
        };
        let got = try_acquire(remaining + 1, now);
        assert!(matches!(got, Err(Refused::Full { .. })), "{self}: more than {remaining} remain");
        if remaining > 0 {
            assert_eq!(try_acquire(remaining, now), Ok(()), "{self}: remaining {remaining}");
        }
        // The time until there is room.
        let most = self.table.limits().max_cost(plan);
        if remaining >= most {
            return;
        }
        let cost = remaining + 1 + self.random(most - remaining);
        let ask = Ask { plan, cost };
        let waits = windows.clone().map(|at| state.time_until_room(at, ask, Nanos::new(now)));
        let wait = waits.max().expect("there is a window").as_nanos() as u64;
        assert!(wait > 0, "{self}: no time");
        if !is_committed {
            return;
        }
        self.seen.borrow_mut().times += 1;
        let got = try_acquire(cost, now + wait - 1);
        assert!(got.is_err(), "{self}: there is room before {wait}");
        let got = try_acquire(cost, now + wait);
        assert_eq!(got, Ok(()), "{self}: there is no room after {wait}");
        if self.is_exact() {
            let exact = windows.map(|window| self.latest(place, window, ask)).max();
            assert!(Some(now + wait) <= exact, "{self}: {} {exact:?}", now + wait);
        }
    }

    /// Returns the time at which a list of the issues has room at the latest, with the lateness of
    /// a log.
    pub(super) fn latest(&self, place: Place, window: usize, ask: Ask) -> u64 {
        let shape = &self.windows()[window].shapes[0];
        let mut commits: Vec<u64> = Vec::new();
        for Entry { issue, .. } in &self.known.borrow()[self.index(place)].issues {
            let at = issue.committed.get().expect("all are committed");
            commits.extend((0..issue.cost).map(|_| at));
        }
        commits.sort_unstable();
        // The newest that has to expire, and the last of its unit.
        let kept = (shape.quota - ask.cost) as usize;
        let count = commits.len() + shape.unit as usize;
        let Some(last) = count.checked_sub(kept + 2) else { return 0 };
        let last = last.min(commits.len() - 1);
        commits[last] + window_of(shape) + step_of(shape)
    }
}
