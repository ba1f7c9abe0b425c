//! CORE: which refill task looks after which waiters.
//!
//! Permits of a window expire with time, so something has to run when the time has come. A *refill
//! task* does so for all waiters of one runtime: they need no timer of their own. It exists while
//! its runtime has a waiter.
//!
//! There is one task for each runtime and not one for the queue, because a runtime may stand still
//! or shut down. The waiters of other runtimes proceed by their own tasks.
//!
//! The tasks' records are the [tags](Tags) of the semaphore: each waiter carries the index of its
//! record, and every step here is one under the lock of the wait queue. As in the queue, no waker
//! is dropped under that lock.
//!
//! A record is *idle* (no waiter, no task), *running* (the task has polled, and can be woken), or
//! in between:
//!
//! ```text
//!          assign: spawn            attend              the last waiter leaves: woken
//!  idle ───────────────► spawned ───────────► running ───────────────────────► ending
//!    ▲                      │                  │   ▲                              │ attend
//!    │        abandon       │     abandon      │   │        a waiter has come     ├─────► running
//!    └──────────────────────┴──────────────────┘   └──────────────────────────────┘
//!    ▲                                                       no waiter            │
//!    └────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! # Races
//!
//! All steps hold the lock, so of two, one comes first.
//!
//! - *The last waiter leaves while another one comes.* The task is woken, and attends. If the new
//!   waiter came first, the task finds it and stays. If the task came first, it has marked its
//!   record idle, and the new waiter's `assign` says that a task is to be spawned.
//! - *A permit is due earlier while the task is between attending and setting its timer.* The task
//!   is woken, and attends again.
//! - *A permit is due earlier before the task has attended for the first time.* There is no waker
//!   to wake. Its first poll finds the first waiter.
//! - *A task is dropped early* (its runtime shuts down, or it panics). The record becomes idle
//!   first, and then all its waiters are woken. Each poll of one finds no task, and spawns one
//!   where it is polled now.

use std::task::Waker;

use crate::{
    semaphore::{Deadlines, Semaphore, Tag, Tags, View, WaiterKey},
    time::Nanos,
};

struct Record<K> {
    runtime: K,
    /// The number of waiters in this runtime.
    waiters: u32,
    /// The task is spawned, and has not ended.
    is_spawned: bool,
    /// The time at which the task polls next.
    due: Nanos,
    /// The task's waker, once it has attended.
    task: Option<Waker>,
}

/// One record for each runtime with waiters: there are few. `K` identifies a runtime.
pub(super) struct RefillTasks<K>(Vec<Record<K>>);

impl<K: Copy + Eq> RefillTasks<K> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns the tag of `runtime`, in an idle record if it has none.
    fn tag_of(&mut self, runtime: K) -> Tag {
        let known = self.0.iter().position(|record| record.runtime == runtime);
        let idle = || self.0.iter().position(|record| record.waiters == 0 && !record.is_spawned);
        let new = Record { runtime, waiters: 0, is_spawned: false, due: Nanos::NEVER, task: None };
        let index = match (known, known.is_none().then(idle).flatten()) {
            (Some(index), _) => index,
            (None, Some(index)) => {
                self.0[index] = new;
                index
            }
            (None, None) => {
                self.0.push(new);
                self.0.len() - 1
            }
        };
        Tag(u16::try_from(index).expect("fewer runtimes"))
    }

    fn get(&mut self, tag: Tag) -> Option<&mut Record<K>> {
        self.0.get_mut(usize::from(tag.0))
    }

    /// Counts a waiter of `tag`. Returns true if the task is missing, and marks it as spawned: the
    /// caller does that.
    fn join(&mut self, tag: Tag) -> bool {
        self.get(tag).is_some_and(|record| {
            record.waiters += 1;
            !std::mem::replace(&mut record.is_spawned, true)
        })
    }

    /// Assigns a waiter that joins the queue to the task of `runtime`. Returns its tag, and true if
    /// the task is missing: the caller spawns it.
    ///
    /// The waiter is the last, so the task polls in time for it if it does for the others. A task
    /// without waiters is about to poll: it has just been spawned, or woken to end.
    pub(super) fn assign_last(&mut self, runtime: K) -> (Tag, bool) {
        let tag = self.tag_of(runtime);
        (tag, self.join(tag))
    }

    /// Moves the next poll of the task forward to `due`. Returns the waker if that is earlier.
    fn bring_forward(&mut self, tag: Tag, due: Nanos) -> Option<Waker> {
        let record = self.get(tag).filter(|record| due < record.due)?;
        let task = record.task.clone(); // before anything changes: it is foreign code
        record.due = due;
        task
    }

    /// Records the task's next poll and waker. Returns the old waker, to be dropped after the lock.
    #[must_use]
    fn attend(&mut self, tag: Tag, due: Nanos, task: Waker) -> Option<Waker> {
        let record = self.get(tag)?;
        record.due = due;
        record.task.replace(task)
    }

    /// Marks the record as one without a task. Returns its waker, to be dropped after the lock.
    #[must_use]
    fn end(&mut self, tag: Tag) -> Option<Waker> {
        let record = self.get(tag)?;
        record.is_spawned = false;
        record.due = Nanos::NEVER;
        record.task.take()
    }
}

/// The result of [`assign`](Semaphore::assign).
pub(super) struct Assigned {
    /// The task is missing: the caller spawns it.
    pub(super) is_missing: bool,
    /// The waiter was polled in another runtime before. The task of this one may poll too late for
    /// it.
    pub(super) has_moved: bool,
}

/// The last waiter of a runtime wakes the task, which ends.
impl<K: Copy + Eq> Tags for RefillTasks<K> {
    fn left(&mut self, tag: Tag) -> Option<Waker> {
        let record = self.get(tag)?;
        record.waiters -= 1;
        if record.waiters == 0 { record.task.take() } else { None }
    }
}

impl<D: Deadlines, K: Copy + Eq> Semaphore<D, RefillTasks<K>> {
    /// Assigns a queued waiter to the refill task of `runtime`, in which it is polled now.
    pub(super) fn assign(&self, key: &WaiterKey, runtime: K) -> Assigned {
        let (assigned, idle) = self.with_waiters(|waiters| {
            if !waiters.is_queued(key) {
                return (Assigned { is_missing: false, has_moved: false }, None);
            }
            let tag = waiters.tags().tag_of(runtime);
            let before = waiters.set_tag(key, tag);
            let tasks = waiters.tags();
            let is_missing = tasks.join(tag);
            let idle = tasks.left(before);
            (Assigned { is_missing, has_moved: before != tag }, idle)
        });
        idle.into_iter().for_each(Waker::wake);
        assigned
    }

    /// Records a poll of the refill task of `runtime`. Returns the time of its next poll, or `None`
    /// without a waiter: then the task ends.
    pub(super) fn attend(
        &self,
        runtime: K,
        task: &Waker,
        due: impl FnOnce(View) -> Nanos,
    ) -> Option<Nanos> {
        let mut own = Some(task.clone()); // before anything changes: it is foreign code
        let (due, _old) = self.with_waiters(|waiters| {
            let tag = waiters.tags().tag_of(runtime);
            let Some(view) = waiters.first_with(tag) else {
                return (None, waiters.tags().end(tag));
            };
            let due = due(view);
            let old = own.take().and_then(|task| waiters.tags().attend(tag, due, task));
            (Some(due), old)
        });
        due // both wakers are dropped after the lock
    }

    /// Records that the refill task of `runtime` is gone before its end, and wakes its waiters.
    pub(super) fn abandon(&self, runtime: K) {
        /// A waker that panics must not keep the others from being woken.
        struct Rest(Vec<Waker>);
        impl Rest {
            fn wake(mut self) {
                while let Some(waker) = self.0.pop() {
                    waker.wake();
                }
            }
        }
        impl Drop for Rest {
            fn drop(&mut self) {
                if !self.0.is_empty() {
                    Self(std::mem::take(&mut self.0)).wake();
                }
            }
        }

        let mut old = None; // dropped after the lock
        let rest = self.with_waiters(|waiters| {
            let tag = waiters.tags().tag_of(runtime);
            // Before foreign code (a waker's `clone`): each poll from now on spawns a task.
            old = waiters.tags().end(tag);
            Rest(waiters.wakers_with(tag))
        });
        drop(old);
        rest.wake();
    }

    /// Wakes the refill task of `runtime` if the permit of its first waiter is due before its next
    /// poll.
    pub(super) fn reschedule_in(&self, runtime: K, due: impl FnOnce(View) -> Nanos) {
        let task = self.with_waiters(|waiters| {
            let tag = waiters.tags().tag_of(runtime);
            let view = waiters.first_with(tag)?;
            waiters.tags().bring_forward(tag, due(view))
        });
        task.into_iter().for_each(Waker::wake);
    }

    /// Wakes the refill task of the first waiter if the waiter's permit is due before its next
    /// poll.
    pub(super) fn reschedule(&self, due: impl FnOnce(View) -> Nanos) {
        let task = self.with_waiters(|waiters| {
            let (tag, view) = waiters.first()?;
            waiters.tags().bring_forward(tag, due(view))
        });
        task.into_iter().for_each(Waker::wake);
    }
}
