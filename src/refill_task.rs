//! The task that refills windows for the waiters of one runtime.
//!
//! # Independence of any one task
//!
//! A worker of tokio's multi-thread scheduler runs the task that was woken or spawned last next,
//! from its LIFO slot, from which no other worker takes tasks. If the running task computes for a
//! second after that, the task in the slot waits a second while other workers idle. It must not be
//! the refill task, nor a waiter while no worker drives the timers. So an empty task is spawned
//! behind each. It takes the slot, which moves the task before it to the worker's queue, and it
//! wakes another worker, which takes tasks from that queue, and drives the timers when it finds
//! none.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use futures_util::{FutureExt, task::AtomicWaker};
use tokio::runtime::{Handle, Id, RuntimeFlavor};

use crate::time::{Clock, Nanos, Timer, TimerUse};

/// A limiter, or a set of them, whose permits expire with time.
pub(crate) trait Refill: Send + Sync + 'static {
    /// Its use of timers, for messages.
    const TIMER: TimerUse;

    /// Refills for the task of `runtime`, which `task` wakes. Returns the time of its next poll, or
    /// `None` without a waiter: then the task ends.
    fn attend(&self, runtime: Id, task: &Waker) -> Option<Nanos>;

    /// Wakes the waiters of `runtime`, whose task is gone before its end.
    fn abandon(&self, runtime: Id);

    fn clock(&self) -> &Clock;
}

/// Exists while its runtime has a waiter, with the one timer that they need.
///
/// It is a task of its own, because the task of a waiter may not be polled again. If it is dropped
/// early (the runtime shuts down, or a waker panics in it), its waiters are woken, and the next
/// poll of one spawns another.
pub(crate) struct RefillTask<L: Refill> {
    limiter: Arc<L>,
    wakes: Arc<Wakes>,
    timer: Option<Timer>,
    has_polled: bool,
    is_done: bool,
}

impl<L: Refill> RefillTask<L> {
    /// Spawns the task of a runtime that has none.
    ///
    /// # Panics
    ///
    /// If the runtime has no timer, or is shut down.
    #[track_caller]
    pub(crate) fn spawn(limiter: &Arc<L>, runtime: &Handle) {
        let limiter = Arc::clone(limiter);
        let wakes = Arc::new(Wakes { task: AtomicWaker::new(), runtime: runtime.clone() });
        // Complete before its timer is created: if that panics, the drop lets the next poll try.
        let mut task = Self { limiter, wakes, timer: None, has_polled: false, is_done: false };
        task.timer = Some(task.limiter.clock().timer(Nanos::NEVER, &L::TIMER));
        let is_refused = runtime
            .spawn(task)
            .now_or_never()
            .is_some_and(|ended| ended.is_err_and(|error| error.is_cancelled()));
        assert!(
            !is_refused,
            "{} needs a Tokio runtime, and this one is shut down: wait inside one that runs, or {}",
            L::TIMER.what,
            L::TIMER.otherwise,
        );
        free_lifo_slot(runtime);
    }
}

/// Wakes a refill task, and lets another worker run it if this one is busy.
struct Wakes {
    task: AtomicWaker,
    runtime: Handle,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.task.wake();
        free_lifo_slot(&self.runtime);
    }
}

/// Moves the task that was spawned or woken last to the worker's queue, and wakes another worker.
pub(crate) fn free_lifo_slot(runtime: &Handle) {
    if runtime.runtime_flavor() != RuntimeFlavor::CurrentThread {
        drop(runtime.spawn(async {}));
    }
}

impl<L: Refill> Future for RefillTask<L> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { limiter, wakes, timer, has_polled, is_done } = &mut *self;
        wakes.task.register(cx.waker());
        let waker = Waker::from(Arc::clone(wakes));
        loop {
            let Some(due) = limiter.attend(wakes.runtime.id(), &waker) else {
                *is_done = true;
                return Poll::Ready(());
            };
            let timer = timer.as_mut().expect("set when the task is spawned");
            limiter.clock().set(timer, due);
            if timer.poll(cx).is_pending() {
                // The waiters that were granted permits are woken: one of them is in the LIFO slot.
                if std::mem::replace(has_polled, true) {
                    free_lifo_slot(&wakes.runtime);
                }
                return Poll::Pending;
            }
        }
    }
}

impl<L: Refill> Drop for RefillTask<L> {
    fn drop(&mut self) {
        if !self.is_done {
            self.limiter.abandon(self.wakes.runtime.id());
        }
    }
}
