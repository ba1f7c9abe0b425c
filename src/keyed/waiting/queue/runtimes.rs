//! The runtimes with waiting requests, and their refill tasks.
//!
//! A refill task acts for all requests, those of other runtimes too: a runtime that stands still
//! delays its own requests only. So each task is due at the earliest time of the queue, and with
//! several runtimes all but the first find nothing to do.
//!
//! The life of a task is that of [`RefillTasks`](crate::rate_limit): it is spawned by the first
//! request of its runtime, attends, and ends without one. If it is dropped early, all requests of
//! its runtime are woken, and the next poll of one spawns another.

use std::{mem, task::Waker};

use tokio::runtime::Id;

use super::Wakes;
use crate::time::Nanos;

struct Runtime {
    id: Id,
    waiters: u32,
    /// The task is spawned, and has not ended.
    has_task: bool,
    /// The time at which the task polls next.
    next_poll: Nanos,
    /// The task's waker, once it has attended.
    task: Option<Waker>,
}

#[derive(Default)]
pub(super) struct Runtimes(Vec<Runtime>);

impl Runtimes {
    fn find(&mut self, id: Id) -> Option<&mut Runtime> {
        self.0.iter_mut().find(|runtime| runtime.id == id)
    }

    /// Counts a request of the runtime. Returns true if it has no task: the caller spawns it.
    pub(super) fn add_waiter(&mut self, id: Id) -> bool {
        let runtime = match self.0.iter().position(|runtime| runtime.id == id) {
            Some(index) => &mut self.0[index],
            None => {
                self.0.retain(|runtime| runtime.waiters > 0 || runtime.has_task);
                let (next_poll, task) = (Nanos::NEVER, None);
                self.0.push(Runtime { id, waiters: 0, has_task: false, next_poll, task });
                self.0.last_mut().expect("just pushed")
            }
        };
        runtime.waiters += 1;
        !mem::replace(&mut runtime.has_task, true)
    }

    /// Counts one request less. The task of the last one is woken, so that it ends.
    pub(super) fn remove_waiter(&mut self, id: Id, wakes: &mut Wakes) {
        let Some(runtime) = self.find(id) else { return };
        runtime.waiters -= 1;
        if runtime.waiters == 0 {
            runtime.task.take().into_iter().for_each(|task| wakes.push(task));
        }
    }

    /// Records that the task of a runtime polls next at `next`, and may be woken by `task` until
    /// then. Returns false without a request: the task ends.
    pub(super) fn attended(&mut self, id: Id, next: Nanos, task: &mut Option<Waker>) -> bool {
        let Some(runtime) = self.find(id) else { return false };
        if runtime.waiters == 0 {
            (runtime.has_task, runtime.next_poll) = (false, Nanos::NEVER);
            if let Some(old) = runtime.task.take() {
                *task = Some(old); // dropped after the lock
            }
            return false;
        }
        runtime.next_poll = next;
        mem::swap(&mut runtime.task, task);
        true
    }

    /// Wakes the tasks that poll later than `next`.
    pub(super) fn rearm(&mut self, next: Nanos, wakes: &mut Wakes) {
        for runtime in &mut self.0 {
            if next < runtime.next_poll {
                if let Some(task) = &runtime.task {
                    runtime.next_poll = next;
                    wakes.push(task.clone());
                }
            }
        }
    }

    /// Records that the task of a runtime is gone.
    pub(super) fn abandon(&mut self, id: Id, wakes: &mut Wakes) {
        if let Some(runtime) = self.find(id) {
            (runtime.has_task, runtime.next_poll) = (false, Nanos::NEVER);
            // Woken, and so dropped, after the lock. The task is gone.
            runtime.task.take().into_iter().for_each(|task| wakes.push(task));
        }
    }
}
