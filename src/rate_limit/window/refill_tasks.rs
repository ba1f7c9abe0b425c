//! CORE: which refill task looks after which waiters.
//!
//! A *refill task* [refills](super#refill) for all waiters of one runtime, which need no timer of
//! their own. It exists while its runtime has a waiter. If a runtime stands still or shuts down,
//! then the waiters of other runtimes proceed by their own tasks.
//!
//! The runtimes are the [tags](Tags) of the semaphore: each waiter carries the index of its
//! [`Runtime`], and every step here is one under the lock of the wait queue. As in the queue, no
//! waker is dropped under that lock.
//!
//! A runtime is *idle* (no waiter, no task), *running* (its task has polled, and can be woken),
//! *orphaned* (waiters, no task), or in between:
//!
//! ```text
//!        first waiter: spawn           attend             the last waiter leaves: woken
//!  idle ───────────────────► spawned ─────────► running ───────────────────────────► ending
//!   ▲                          │ ▲                │  ▲                                │  │
//!   │ attend: no waiter        │ │ poll: spawn    │  │ attend: a waiter has come      │  │
//!   ├──────────────────────────┤ │                │  └────────────────────────────────┘  │
//!   │            task dropped  ▼ │  task dropped  ▼                                      │
//!   │                        orphaned ◄───────────┘                                      │
//!   └────────────────────────────────────────────────────────────────────────────────────┘
//!                                              attend: no waiter; or the task is dropped
//! ```
//!
//! # Races
//!
//! All steps hold the lock, so of two, one comes first.
//!
//! - *The last waiter leaves while another one comes.* The task is woken, and attends. If the new
//!   waiter came first, the task finds it and stays. If the task came first, its runtime is idle,
//!   and the new waiter's poll spawns another task.
//! - *A permit is due earlier while the task is between attending and setting its timer.* The task
//!   is woken, and attends again.
//! - *A permit is due earlier before the task has attended for the first time.* There is no waker
//!   to wake. Its first poll finds the first waiter.
//! - *A task is dropped early* (its runtime shuts down, or it panics). The runtime is orphaned
//!   first, and then all its waiters are woken. Each poll of one finds no task, and spawns one
//!   where it is polled now.

use std::task::Waker;

use super::Window;
use crate::{
    semaphore::{Deadlines, Tag, Tags, Turn, View, WaiterKey, Waiters},
    time::{Nanos, Time},
};

/// A runtime with waiters. `K` identifies it.
struct Runtime<K> {
    id: K,
    waiters: u32,
    /// The task is spawned, and has not ended.
    has_task: bool,
    /// The time at which the task polls next.
    next_poll: Nanos,
    /// The task's waker, once it has attended.
    task: Option<Waker>,
}

/// The runtimes with waiters: there are few.
pub(super) struct RefillTasks<K>(Vec<Runtime<K>>);

impl<K: Copy + Eq> RefillTasks<K> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns the tag of `runtime`; `None` if it has had no waiter.
    fn find(&self, runtime: K) -> Option<Tag> {
        let index = self.0.iter().position(|of| of.id == runtime)?;
        Some(Tag(u16::try_from(index).expect("fewer runtimes")))
    }

    /// Returns the tag of `runtime`, in the place of an idle one if it has none.
    fn find_or_insert(&mut self, runtime: K) -> Tag {
        if let Some(tag) = self.find(runtime) {
            return tag;
        }
        let new = Runtime {
            id: runtime,
            waiters: 0,
            has_task: false,
            next_poll: Nanos::NEVER,
            task: None,
        };
        match self.0.iter_mut().find(|of| of.waiters == 0 && !of.has_task) {
            Some(idle) => *idle = new,
            None => self.0.push(new),
        }
        self.find(runtime).expect("just inserted")
    }

    fn get(&mut self, tag: Tag) -> Option<&mut Runtime<K>> {
        self.0.get_mut(usize::from(tag.0))
    }

    fn has_task(&self, tag: Tag) -> bool {
        self.0.get(usize::from(tag.0)).is_some_and(|runtime| runtime.has_task)
    }

    /// Counts a waiter. Returns true if there is no task. It is then marked as spawned, and the
    /// caller spawns it.
    fn add_waiter(&mut self, tag: Tag) -> bool {
        self.get(tag).is_some_and(|runtime| {
            runtime.waiters += 1;
            !std::mem::replace(&mut runtime.has_task, true)
        })
    }

    /// Assigns a waiter that joins the queue to the task of `runtime`. Returns its tag, and true if
    /// there is no task: the caller spawns one.
    ///
    /// The new waiter is the last, so a task that polls in time for the others is in time for it. A
    /// task without waiters is about to poll: it has just been spawned, or woken to end.
    pub(super) fn assign_new(&mut self, runtime: K) -> (Tag, bool) {
        let tag = self.find_or_insert(runtime);
        (tag, self.add_waiter(tag))
    }

    /// Moves the next poll of the task forward to `time`. Returns the task's waker if that is
    /// earlier.
    fn bring_forward(&mut self, tag: Tag, time: Nanos) -> Option<Waker> {
        let runtime = self.get(tag).filter(|runtime| time < runtime.next_poll)?;
        let task = runtime.task.clone(); // before anything changes: it is foreign code
        runtime.next_poll = time;
        task
    }

    /// Removes the task. Returns its waker, to be dropped after the lock.
    #[must_use]
    fn remove_task(&mut self, tag: Tag) -> Option<Waker> {
        let runtime = self.get(tag)?;
        runtime.has_task = false;
        runtime.next_poll = Nanos::NEVER;
        runtime.task.take()
    }
}

impl<K: Copy + Eq> Tags for RefillTasks<K> {
    /// Returns the waker of a task whose last waiter leaves, so that it ends.
    fn waiter_left(&mut self, tag: Tag) -> Option<Waker> {
        let runtime = self.get(tag)?;
        runtime.waiters -= 1;
        if runtime.waiters == 0 { runtime.task.take() } else { None }
    }
}

impl<T: Time + Clone, K: Copy + Eq> Window<T, K> {
    /// Assigns a queued waiter to the refill task of `runtime`, in which it is polled now. Returns
    /// true if there is no task: the caller spawns one.
    pub(crate) fn assign(&self, key: &WaiterKey, runtime: K) -> bool {
        let (before, idle, tag, is_missing) = self.semaphore.with_waiters(|waiters| {
            if !waiters.is_queued(key) {
                return (Tag::NONE, None, Tag::NONE, false);
            }
            let (tag, is_missing) = waiters.tags().assign_new(runtime);
            let before = waiters.set_tag(key, tag);
            (before, waiters.tags().waiter_left(before), tag, is_missing)
        });
        idle.into_iter().for_each(Waker::wake);
        if before != tag && !is_missing {
            // The waiter is not the last, so the task may poll too late for it.
            let moment = self.settle();
            let task = self.semaphore.with_waiters(|waiters| {
                let first = waiters.first_with(tag)?;
                let time = self.next_poll(waiters, first, moment);
                waiters.tags().bring_forward(tag, time)
            });
            task.into_iter().for_each(Waker::wake);
        }
        is_missing
    }

    /// Refills for the task of `runtime`. Returns the time of its next poll, or `None` without a
    /// waiter: then the task ends.
    pub(crate) fn attend(&self, runtime: K, task: &Waker) -> Option<Nanos> {
        let moment = self.refill();
        let mut own = Some(task.clone()); // before anything changes: it is foreign code
        let (time, _old) = self.semaphore.with_waiters(|waiters| {
            let Some(tag) = waiters.tags().find(runtime) else { return (None, None) };
            let Some(first) = waiters.first_with(tag) else {
                return (None, waiters.tags().remove_task(tag));
            };
            let time = self.next_poll(waiters, first, moment);
            let old = waiters.tags().get(tag).and_then(|runtime| {
                runtime.next_poll = time;
                std::mem::replace(&mut runtime.task, own.take())
            });
            (Some(time), old)
        });
        // The wakers are dropped after the lock.
        time.map(|time| time.max(moment.after(super::TICK)))
    }

    /// Records that the refill task of `runtime` is gone before its end, and wakes its waiters.
    pub(crate) fn abandon(&self, runtime: K) {
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
        let rest = self.semaphore.with_waiters(|waiters| {
            let Some(tag) = waiters.tags().find(runtime) else { return Rest(Vec::new()) };
            // Before foreign code (a waker's `clone`): each poll from now on spawns a task.
            old = waiters.tags().remove_task(tag);
            Rest(waiters.wakers_with(tag))
        });
        drop(old);
        rest.wake();
    }

    /// Wakes the refill task of the first waiter if its next poll is too late for that waiter, and
    /// drains that are over. At `moment` the log was settled.
    ///
    /// Orphaned waiters are skipped: those behind them proceed by their own tasks.
    pub(super) fn reschedule(&self, moment: Nanos) {
        let task = self.semaphore.with_waiters(|waiters| {
            let (tag, view, turn) = waiters.first_such(RefillTasks::has_task)?;
            let time = self.next_poll(waiters, (view, turn), moment);
            waiters.tags().bring_forward(tag, time)
        });
        task.into_iter().for_each(Waker::wake);
        self.wake_drains();
    }

    /// Returns the time at which the permits of a waiter with this view and turn are expected, or
    /// another waiter may leave it permits by its deadline.
    fn next_poll<D: Deadlines>(
        &self,
        waiters: &Waiters<'_, D, RefillTasks<K>>,
        (view, turn): (View, Turn),
        moment: Nanos,
    ) -> Nanos {
        self.expected(view, turn, moment).min(Nanos::new(waiters.earliest_end().get()))
    }
}
