//! One request that waits: its entry in the queue, and the refill task of its runtime.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tokio::runtime::{self, Handle};

use super::queue::{Arrival, Joined, QueueBounds, WaiterId};
use crate::{
    current_deadline,
    keyed::{
        rule::{
            list::MAX_RULES,
            state::{Held, Want},
        },
        states::States,
    },
    refill_task::{Refill, RefillTask},
    rejected::Rejected,
    time::{Clock, Nanos, Time, TimerUse},
};

impl States {
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
        let now = self.clock().now();
        let mut waker = Some(cx.waker().clone()); // foreign code, before the lock
        let arrival = Arrival {
            wants,
            first,
            bounds,
            deadline: now.after(bounds.max_wait),
            request_end: current_deadline::current().map(|at| self.clock().read(at)),
            waker: &mut waker,
            runtime: runtime.as_ref().map(Handle::id),
        };
        match self.with_queue(|queue, step| queue.join(arrival, step))? {
            Joined::Acquired(held) => Ok(Admission::Acquired(held)),
            Joined::NoRuntime => TIMER.no_runtime(),
            Joined::Stalled => Ok(Admission::Stalled),
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
    /// To be tried again, after other tasks.
    Stalled,
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
        self.clock()
    }
}
