//! The operations of a schedule.

use std::{cell::Cell, rc::Rc, sync::atomic::Ordering::Relaxed};

use super::{Entry, Issue, Request, Schedule, step_of, window_of};
use crate::{
    keyed::{
        table::{
            Place, Refused, Table,
            counts::TAKEN,
            limits::{Ask, Window},
            state::Now,
        },
        table_tests::is_overflow,
    },
    time::Nanos,
};

impl Schedule {
    pub(super) fn pass_time(&self) {
        let window = &self.windows()[self.random(self.windows().len() as u32) as usize];
        let shape = &window.shapes[0];
        let most = match self.random(100) {
            0..40 => shape.ticks(1),
            40..80 => step_of(shape),
            80..97 => window_of(shape) / 3,
            97..99 => 3 * window_of(shape),
            _ if self.kind.wraps => {
                let wraps = 1 + u64::from(self.random(3));
                self.clock.set(self.clock.get() + shape.ticks(wraps << 21));
                2 * step_of(shape)
            }
            _ => 5 * window_of(shape),
        };
        let passed = self.random.borrow_mut().u64(..=most);
        self.clock.set(self.clock.get() + passed);
    }

    pub(super) fn ask(&self) -> Ask {
        let plans = self.windows()[0].shapes.len();
        let plan = self.random(plans as u32) as usize;
        let most = self.table.limits().max_cost(plan);
        let cost = match self.random(10) {
            0..5 => 1,
            5..8 => 1 + self.random(most.min(5)),
            8 => 1 + self.random(most),
            _ => most,
        };
        Ask { plan, cost }
    }

    pub(super) fn acquire(&self) {
        if self.requests.borrow().len() > 20 {
            return;
        }
        let (key, ask) = (self.random(self.keys.len() as u32) as usize, self.ask());
        let before = self.seen.borrow().nested;
        let mut now = Now::of(self);
        let outcome = if self.kind.keys {
            self.table.acquire(self.keys[key], ask, &mut now)
        } else {
            let common = self.table.common();
            self.table.acquire_at(common, ask, &mut now).map(|()| common)
        };
        self.sync();
        let undisturbed = before == self.seen.borrow().nested;
        if undisturbed && self.depth.get() == 0 && self.is_paused(key) {
            assert!(matches!(outcome, Err(Refused::Paused(_))), "{self}: {outcome:?} in a pause");
        }
        let mut seen = self.seen.borrow_mut();
        match outcome {
            Ok(place) => {
                seen.admitted += 1;
                assert!(!self.is_paused(key), "{self}: admitted in a pause");
                seen.overflowed += u64::from(is_overflow(&self.table, place));
                self.fly(place, 1);
                self.requests.borrow_mut().push(Request { key, place, ask, issue: None });
                drop(seen);
                self.check_admission(key, place, ask);
            }
            Err(Refused::Full { place }) => {
                seen.full += 1;
                if undisturbed && self.depth.get() == 0 && self.is_exact() {
                    let mut windows = self.windows().iter().enumerate();
                    let is_full = |(index, window): (usize, &Window)| {
                        let quota = u64::from(window.shapes[ask.plan].quota);
                        self.most(place, index) + u64::from(ask.cost) > quota
                    };
                    assert!(windows.any(is_full), "{self}: no window is full at {place:?}");
                }
            }
            Err(Refused::Busy(place)) => {
                seen.busy += 1;
                let max = self.table.limits().max_in_flight[ask.plan];
                let in_flight = self.known.borrow()[self.index(place)].in_flight;
                assert!(!undisturbed || in_flight >= max, "{self}: {in_flight} of {max}");
            }
            Err(Refused::Queued(place)) => panic!("{self}: none waits at {place:?}"),
            Err(Refused::Paused(place)) => {
                seen.paused += 1;
                assert!(!undisturbed || self.is_paused(key), "{self}: not paused at {place:?}");
            }
            Err(Refused::NoSlot) => {
                assert!(self.kind.reject, "{self}");
                seen.no_slot += 1;
                if undisturbed && self.depth.get() == 0 && self.is_exact() {
                    let sets = self.table.sets_of(self.keys[key]);
                    for place in sets.into_iter().flat_map(Table::lanes) {
                        let is_live = |window| self.most(place, window) > 0;
                        let in_flight = self.known.borrow()[self.index(place)].in_flight;
                        assert!(
                            in_flight > 0
                                || self.is_paused_at(place)
                                || (0..self.windows().len()).any(is_live),
                            "{self}: an idle slot is not used"
                        );
                    }
                }
            }
            Err(Refused::Stalled) => {
                seen.stalled += 1;
                assert!(self.depth.get() > 0, "{self}: no other operation is under way");
            }
        }
    }

    /// Returns true if a key is paused.
    pub(super) fn is_paused(&self, key: usize) -> bool {
        self.ends.borrow()[key] > self.clock.get()
    }

    /// Returns true if the key of a slot is paused.
    pub(super) fn is_paused_at(&self, place: Place) -> bool {
        let of_slot = self.known.borrow()[self.index(place)].key;
        let key = self.keys.iter().position(|key| of_slot == Some(key.get()));
        key.is_some_and(|key| self.is_paused(key))
    }

    /// Pauses a key, or ends its pause.
    pub(super) fn pause(&self) {
        let key = self.random(self.keys.len() as u32) as usize;
        let hash = self.kind.keys.then(|| self.keys[key]);
        if self.chance(15) {
            self.table.resume(hash);
            self.ends.borrow_mut()[key] = 0;
            return;
        }
        let most = 2 * window_of(&self.windows()[0].shapes[0]);
        let until = self.clock.get() + 1 + self.random.borrow_mut().u64(..most);
        match self.table.pause(hash, Nanos::new(until), &mut Now::of(self)) {
            Some(_) => {
                self.seen.borrow_mut().pauses += 1;
                let end = &mut self.ends.borrow_mut()[key];
                *end = until.max(*end);
            }
            None => self.seen.borrow_mut().no_pause += 1,
        }
        self.sync();
    }

    /// Removes a random request, of those that are issued or not.
    pub(super) fn take(&self) -> Option<Request> {
        let count = self.requests.borrow().len() as u32;
        (count > 0).then(|| self.requests.borrow_mut().swap_remove(self.random(count) as usize))
    }

    pub(super) fn issue_now(&self, request: &mut Request) -> Rc<Issue> {
        let issue = request.issue.get_or_insert_with(|| {
            let (at, cost) = (self.clock.get(), request.ask.cost);
            let issue = Rc::new(Issue { at, cost, committed: Cell::new(None) });
            let entry = Entry { issue: issue.clone(), forgotten: false };
            self.known.borrow_mut()[self.index(request.place)].issues.push(entry);
            self.issued.borrow_mut()[request.key].push(issue.clone());
            issue
        });
        issue.clone()
    }

    /// Issues a request, whose task stalls then.
    pub(super) fn issue(&self) {
        if let Some(mut request) = self.take() {
            self.issue_now(&mut request);
            self.requests.borrow_mut().push(request);
        }
    }

    pub(super) fn commit(&self) {
        if let Some(mut request) = self.take() {
            let issue = self.issue_now(&mut request);
            self.table.state(request.place).commit(request.ask, &mut Now::of(self));
            issue.committed.set(Some(self.clock.get()));
            self.flying.borrow_mut().push(request.place);
            if self.chance(70) {
                self.release();
            }
        }
    }

    pub(super) fn not_issued(&self) -> Option<Request> {
        let mut requests = self.requests.borrow_mut();
        let at = requests.iter().position(|request| request.issue.is_none())?;
        Some(requests.swap_remove(at))
    }

    pub(super) fn undo(&self) {
        if let Some(request) = self.not_issued() {
            let _ = self.table.state(request.place).undo(request.ask);
            self.fly(request.place, -1);
        }
    }

    pub(super) fn refund(&self) {
        if let Some(mut request) = self.not_issued() {
            let permits = self.random(request.ask.cost);
            let _ = self.table.state(request.place).refund(permits);
            request.ask.cost -= permits;
            self.requests.borrow_mut().push(request);
        }
    }

    pub(super) fn owe(&self) {
        if let Some(mut request) = self.not_issued() {
            let permits = 1 + self.random(3 * request.ask.cost);
            let owed = self.table.state(request.place).owe(permits);
            assert!(owed <= permits);
            request.ask.cost += owed;
            self.requests.borrow_mut().push(request);
            self.seen.borrow_mut().debts += u64::from(owed > 0);
        }
    }

    pub(super) fn release(&self) {
        let count = self.flying.borrow().len() as u32;
        if count > 0 {
            let place = self.flying.borrow_mut().swap_remove(self.random(count) as usize);
            let _ = self.table.state(place).release();
            self.fly(place, -1);
        }
    }

    pub(super) fn forget(&self) {
        let key = self.random(self.keys.len() as u32) as usize;
        let place = if self.kind.keys {
            let _ = self.table.forget(self.keys[key]);
            let Some(place) = self.table.find(self.keys[key]) else { return };
            if self.table.state(place).counts().load(Relaxed) & TAKEN != 0 {
                return;
            }
            place
        } else {
            let state = self.table.state(self.table.common());
            if state.try_pin() {
                state.forget();
                let _ = state.refund(1);
            }
            self.table.common()
        };
        // Those whose commit is under way may be forgotten in part.
        let list = &mut self.known.borrow_mut()[self.index(place)].issues;
        list.retain(|entry| entry.issue.committed.get().is_none());
        list.iter_mut().for_each(|entry| entry.forgotten = true);
        self.issued.borrow_mut()[key].clear();
    }
}
