//! The states of all rules of a layer, and the lock of the queue.
//!
//! Each step that releases permits of a state at which requests wait [tells](States::tell) the
//! queue.

use std::{fmt, ops::Deref};

use super::{
    Clock,
    rule::state::{Denial, Held, RuleState, Why},
    table::{Freed, Refused, state::Now},
    waiting::queue::{Queue, Step, Wakes},
};
use crate::sync::Mutex;

/// The states of all rules of a layer, and the queue of the requests that wait for them.
pub(crate) struct States {
    rules: Box<[RuleState]>,
    queue: Mutex<Queue>,
    clock: Clock,
}

/// A request that a rule denies.
pub(crate) struct Denied {
    pub(super) rule: usize,
    pub(super) denial: Denial,
}

impl Deref for States {
    type Target = [RuleState];

    fn deref(&self) -> &[RuleState] {
        &self.rules
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.fmt(f)
    }
}

impl States {
    pub(super) fn new(rules: Vec<RuleState>, clock: Clock) -> Self {
        Self { rules: rules.into(), queue: Mutex::new(Queue::default()), clock }
    }

    pub(super) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns a reading of the time that is still to be made.
    pub(super) const fn now(&self) -> Now<'_, Clock> {
        Now::of(&self.clock)
    }

    /// Undoes the acquisitions of a request.
    pub(super) fn undo(&self, held: &[Held]) {
        for (index, (state, held)) in self.rules.iter().zip(held).enumerate() {
            self.tell(index, state.undo(*held));
        }
    }

    /// Lets requests acquire what was freed of a rule.
    #[inline]
    pub(super) fn tell(&self, rule: usize, freed: Freed) {
        if freed != Freed::Nothing {
            self.advance(rule, freed);
        }
    }

    /// Returns true if a request was denied because others waited, and none waits there by now.
    pub(super) fn is_worth_another_try(&self, denied: &Denied) -> bool {
        match denied.denial.why {
            Why::Refused(Refused::Queued(place)) => !self.advance(denied.rule, Freed::At(place)),
            _ => false,
        }
    }

    /// Returns false if no request waits there.
    #[cold]
    fn advance(&self, rule: usize, freed: Freed) -> bool {
        self.with_queue(|queue, step| queue.advance_at(rule, freed, step))
    }

    /// Returns the number of requests that wait at a rule.
    pub(super) fn queued_at(&self, rule: usize) -> usize {
        self.queue.lock().waiting_at(rule)
    }

    /// Takes a step on the queue, behind its lock.
    pub(super) fn with_queue<T>(&self, step: impl FnOnce(&mut Queue, &mut Step<'_>) -> T) -> T {
        let mut wakes = Wakes::default();
        let result = {
            let mut queue = self.queue.lock();
            let mut of = Step { states: &self.rules, now: self.now(), wakes: &mut wakes };
            let result = step(&mut queue, &mut of);
            queue.finish(&mut of);
            result
        };
        drop(wakes); // after the lock
        result
    }
}
