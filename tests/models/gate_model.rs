//! The gate under the model checker.
//!
//! A thread that is never woken is reported as a deadlock; two
//! that are inside at once, or one that doesn't see what the last one did, as a data race on
//! [`Inside`].

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use futures::task::noop_waker;
use loom::{cell::UnsafeCell, future::block_on, sync::Arc, thread};

use crate::{
    clock::Nanos,
    gate::{Entry, Gate, Look, Ticket},
    model,
};

const PREEMPTIONS: usize = 3;

/// What a place gives access to. Touching it from two threads, or without the first one's changes
/// being visible to the second, fails the model.
struct Inside {
    gate: Gate,
    cell: UnsafeCell<()>,
}

impl Inside {
    fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self { gate: Gate::new(limit), cell: UnsafeCell::new(()) })
    }

    /// Waits for a place. False if the gate was closed.
    async fn enter(&self) -> bool {
        let mut ticket: Option<Ticket> = None;
        poll_fn(|cx: &mut Context<'_>| {
            let entry = match ticket.take() {
                None if self.gate.try_enter() => return Poll::Ready(true),
                None => match self.gate.join(cx.waker(), |_| Ok::<_, ()>(Nanos::NEVER)) {
                    Entry::Refused(()) => unreachable!("everybody may wait"),
                    Entry::Entered => return Poll::Ready(true),
                    Entry::Closed => return Poll::Ready(false),
                    Entry::Waiting(joined, _) => joined,
                },
                Some(held) => match self.gate.look(&held, cx.waker(), |_| Nanos::NEVER) {
                    Look::Entered => return Poll::Ready(true),
                    Look::Closed => return Poll::Ready(false),
                    Look::Waiting(_) => held,
                },
            };
            ticket = Some(entry);
            Poll::Pending
        })
        .await
    }

    fn touch(&self) {
        self.cell.with_mut(|_| ());
    }

    /// Enters, is inside alone, leaves.
    fn pass(&self) {
        assert!(block_on(self.enter()));
        self.touch();
        self.gate.put_back(1);
    }

    /// Comes, waits if need be, and goes away again before it is called, or with what it was given.
    fn come_and_give_up(&self) {
        match self.gate.join(&noop_waker(), |_| Ok::<_, ()>(Nanos::NEVER)) {
            Entry::Entered => {
                self.gate.put_back(1);
            }
            Entry::Waiting(ticket, _) => {
                if self.gate.give_up(ticket) {
                    self.gate.put_back(1);
                }
            }
            Entry::Refused(()) | Entry::Closed => {}
        }
    }

    fn assert_empty(&self, limit: i64) {
        let standing = self.gate.read();
        assert_eq!((standing.room, standing.ahead), (limit, 0), "something was lost");
    }
}

fn spawn(inside: &Arc<Inside>, run: impl FnOnce(&Inside) + 'static) -> thread::JoinHandle<()> {
    let inside = Arc::clone(inside);
    thread::spawn(move || run(&inside))
}

/// B1, C5: one at a time, each sees what the one before did, and nobody sleeps for ever.
#[test]
fn a_place_is_held_by_one_at_a_time_and_nobody_is_forgotten() {
    model(PREEMPTIONS, || {
        let inside = Inside::new(1);
        let others = [spawn(&inside, Inside::pass), spawn(&inside, Inside::pass)];
        inside.pass();
        for other in others {
            other.join().expect("passed");
        }
        inside.assert_empty(1);
    });
}

/// B4, C4: whoever gives up takes nothing along, neither a place nor the call meant for the next.
#[test]
fn giving_up_loses_neither_a_place_nor_a_call() {
    model(PREEMPTIONS, || {
        let inside = Inside::new(1);
        let passing = spawn(&inside, Inside::pass);
        let giving_up = spawn(&inside, Inside::come_and_give_up);
        inside.pass();
        passing.join().expect("passed");
        giving_up.join().expect("gave up");
        inside.assert_empty(1);
    });
}

/// B2: a newcomer can't enter by the fast way while somebody waits, even while a place is on its way.
#[test]
fn a_newcomer_never_overtakes() {
    model(PREEMPTIONS, || {
        let inside = Inside::new(1);
        assert!(inside.gate.try_enter());
        let Entry::Waiting(first, _) =
            inside.gate.join(&noop_waker(), |_| Ok::<_, ()>(Nanos::NEVER))
        else {
            unreachable!("the place is taken");
        };
        let leaving = spawn(&inside, |inside| {
            inside.gate.put_back(1);
        });
        // The only place is the first waiter's, handed over or not yet.
        assert!(!inside.gate.try_enter());
        leaving.join().expect("left");
        assert!(matches!(inside.gate.look(&first, &noop_waker(), |_| Nanos::NEVER), Look::Entered));
    });
}

/// B6: a raised limit admits those who wait, a lowered one is never exceeded by a newcomer.
#[test]
fn a_changed_limit_counts_at_once() {
    model(PREEMPTIONS, || {
        let inside = Inside::new(1);
        assert!(inside.gate.try_enter());
        let waiting = spawn(&inside, |inside| {
            assert!(block_on(inside.enter()));
            inside.gate.put_back(1);
        });
        inside.gate.set_limit(2, || {});
        waiting.join().expect("entered while the first place was still taken");

        let leaving = spawn(&inside, |inside| {
            inside.gate.put_back(1);
        });
        inside.gate.set_limit(1, || {});
        let entered = inside.gate.try_enter();
        leaving.join().expect("left");
        assert_eq!(inside.gate.read().taken(), u32::from(entered));
        assert!(!entered || !inside.gate.try_enter(), "two inside of a limit of 1");
    });
}

/// B6: closing tells everybody, whether it waits, comes, or is being called.
#[test]
fn closing_tells_all_who_wait_and_come() {
    model(PREEMPTIONS, || {
        let inside = Inside::new(1);
        assert!(inside.gate.try_enter());
        let waiting = spawn(&inside, |inside| {
            if block_on(inside.enter()) {
                inside.touch();
                inside.gate.put_back(1);
            }
        });
        let leaving = spawn(&inside, |inside| {
            inside.touch();
            inside.gate.put_back(1);
        });
        inside.gate.close();
        waiting.join().expect("was called or told");
        leaving.join().expect("left");
        inside.assert_empty(1);
        assert!(!block_on(inside.enter()));
    });
}

/// B6: whoever watches hears of it when all is drained, and sees what was done by then.
#[test]
fn draining_is_told_and_seen() {
    model(PREEMPTIONS, || {
        let inside = Inside::new(2);
        assert!(inside.gate.try_enter());
        let leaving = spawn(&inside, |inside| {
            inside.touch();
            inside.gate.put_back(1);
        });
        let mut watch = None;
        block_on(poll_fn(|cx| match inside.gate.watch(watch.take(), cx.waker()) {
            None => Poll::Ready(()),
            held => {
                watch = held;
                Poll::Pending
            }
        }));
        inside.touch();
        leaving.join().expect("left");
    });
}
