//! The states of all rules of a layer, and the queue of the requests that wait for them.

use std::{
    fmt,
    ops::Deref,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::runtime::{self, Handle};

use super::{
    rule::{
        list::MAX_RULES,
        state::{Denial, Freed, Held, RuleState, Target, Want, Why},
    },
    table::{Place, Refused, state::Now},
    waiting::queue::{Arrival, Joined, Queue, QueueBounds, Step, WaiterId, Wakes},
};
use crate::{
    current_deadline,
    refill_task::{Refill, RefillTask},
    rejected::Rejected,
    sync::Mutex,
    time::{Clock, Nanos, Time, TimerUse},
};

/// The states of all rules of a layer, and the queue.
///
/// Each step that releases permits of a state at which requests wait [tells](Self::tell) the queue.
pub(crate) struct States {
    rules: Box<[RuleState]>,
    queue: Mutex<Queue>,
    pub(super) clock: Clock,
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

    /// Returns a reading of the time that is still to be made.
    pub(super) const fn now(&self) -> Now<'_, Clock> {
        Now::of(&self.clock)
    }

    /// Returns the index of the rule with this name.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub(super) fn index_of(&self, rule: &str) -> usize {
        self.iter().position(|state| **state.name() == *rule).unwrap_or_else(|| {
            let names: Vec<_> = self.iter().map(|state| &**state.name()).collect();
            panic!("there is no rule {rule:?}: the layer has {names:?}")
        })
    }

    /// Pauses the state of which a request wants permits, if that is of a key. A key that finds no
    /// slot is not paused.
    #[cold]
    pub(super) fn pause(&self, rule: usize, target: Target, wait: Duration) {
        let mut now = self.now();
        let until = self.clock.now().after(wait);
        self[rule].pause_target(target, until, &mut now);
        self.tell_noticed(rule, &mut now);
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
        if let Freed(Some(place)) = freed {
            self.advance(rule, place);
        }
    }

    /// Lets requests acquire what a decision about others has expired.
    pub(super) fn tell_noticed(&self, rule: usize, now: &mut Now<'_, Clock>) {
        if let Some(place) = now.noticed.take() {
            self.advance(rule, place);
        }
    }

    /// Tells the queue of a request that was denied because others wait. What it has expired may be
    /// theirs. Returns true if none waits there by then.
    pub(super) fn tell_denied(&self, denied: &Denied) -> bool {
        match denied.denial.why {
            Why::Refused(Refused::Queued(place)) => !self.advance(denied.rule, place),
            _ => false,
        }
    }

    /// Returns false if no request waits at the place.
    #[cold]
    fn advance(&self, rule: usize, place: Place) -> bool {
        self.with_queue(|queue, step| queue.advance_at(rule, place, step))
    }

    /// Returns the number of requests that wait at a rule.
    pub(super) fn queued_at(&self, rule: usize) -> usize {
        self.queue.lock().waiting_at(rule)
    }

    fn with_queue<T>(&self, step: impl FnOnce(&mut Queue, &mut Step<'_>) -> T) -> T {
        let mut wakes = Wakes::default();
        let result = {
            let mut queue = self.queue.lock();
            let mut of = Step { states: &self.rules, now: self.now(), wakes: &mut wakes };
            let result = step(&mut queue, &mut of);
            queue.rearm(&mut wakes);
            result
        };
        drop(wakes); // after the lock
        result
    }

    /// Acquires the permits of a request that rule `first` has denied, or queues it.
    ///
    /// # Panics
    ///
    /// If the request is to wait outside of a runtime.
    #[track_caller]
    pub(super) fn join(
        self: &Arc<Self>,
        wants: [Want; MAX_RULES],
        first: usize,
        bounds: &QueueBounds,
        cx: &Context<'_>,
    ) -> Result<Admission, Rejected> {
        let runtime = Handle::try_current().ok();
        let now = self.clock.now();
        let arrival = Arrival {
            wants,
            first,
            bounds,
            deadline: now.after(bounds.max_wait),
            request_end: current_deadline::current().map(|at| self.clock.read(at)),
            waker: cx.waker().clone(), // foreign code, before the lock
            runtime: runtime.as_ref().map(Handle::id),
        };
        match self.with_queue(|queue, step| queue.join(arrival, step))? {
            Joined::Acquired(held) => Ok(Admission::Acquired(held)),
            Joined::NoRuntime => TIMER.no_runtime(),
            Joined::Queued { id, is_task_missing } => {
                let waiting = Waiting { states: Arc::clone(self), id: Some(id) };
                if let (true, Some(runtime)) = (is_task_missing, runtime) {
                    RefillTask::spawn(self, &runtime);
                }
                Ok(Admission::Waiting(waiting))
            }
        }
    }
}

/// The outcome of joining the queue.
pub(super) enum Admission {
    Acquired([Held; MAX_RULES]),
    Waiting(Waiting),
}

/// A request in the queue. A drop leaves it, and releases permits that were granted meanwhile.
pub(super) struct Waiting {
    states: Arc<States>,
    id: Option<WaiterId>,
}

impl Waiting {
    /// Polls for the permits of all rules. They wake the task once.
    #[track_caller]
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<[Held; MAX_RULES], Rejected>> {
        let Some(id) = self.id else { return Poll::Pending };
        let mut waker = Some(cx.waker().clone()); // foreign code, before the lock
        let runtime = Handle::try_current().ok();
        let of = runtime.as_ref().map(Handle::id);
        let (polled, is_task_missing) =
            self.states.with_queue(|queue, step| queue.poll(id, &mut waker, of, step.wakes));
        drop(waker); // the previous one, after the lock
        match (polled, runtime) {
            (Poll::Ready(outcome), _) => {
                self.id = None;
                Poll::Ready(outcome)
            }
            (Poll::Pending, None) => TIMER.no_runtime(),
            (Poll::Pending, Some(runtime)) => {
                if is_task_missing {
                    RefillTask::spawn(&self.states, &runtime);
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let (held, _waker) = self.states.with_queue(|queue, step| queue.cancel(id, step));
        if let Some(held) = held {
            self.states.undo(&held);
        }
    }
}

const TIMER: TimerUse = TimerUse {
    what: "KeyedQueueLayer: a wait for a permit",
    otherwise: "reject what would wait, with `KeyedLimitLayer`",
};

impl Refill for States {
    const TIMER: TimerUse = TIMER;

    fn attend(&self, runtime: runtime::Id, task: &Waker) -> Option<Nanos> {
        let mut own = Some(task.clone());
        self.with_queue(|queue, step| queue.attend(runtime, &mut own, step))
    }

    fn abandon(&self, runtime: runtime::Id) {
        self.with_queue(|queue, step| queue.abandon(runtime, step.wakes));
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }
}
