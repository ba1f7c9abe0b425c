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
use loom::{
    cell::UnsafeCell,
    future::block_on,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    Model,
    clock::Nanos,
    gate::{Entry, GRACE, Gate, GivenUp, Look, Ticket},
    spawn,
};

const PREEMPTIONS: usize = 3;

/// No time passes here.
fn start() -> Nanos {
    Nanos::ZERO
}

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
                None => {
                    match self.gate.join(cx.waker(), Nanos::NEVER, |_| Ok::<_, ()>(Nanos::NEVER)) {
                        Entry::Refused(()) => unreachable!("everybody may wait"),
                        Entry::Entered => return Poll::Ready(true),
                        Entry::Closed => return Poll::Ready(false),
                        Entry::Waiting(joined, _) => joined,
                    }
                }
                Some(held) => {
                    match self.gate.look(&held, cx.waker(), Nanos::NEVER, |_| Nanos::NEVER) {
                        Look::Entered => return Poll::Ready(true),
                        Look::Closed => return Poll::Ready(false),
                        Look::Expired => unreachable!("it has no deadline"),
                        Look::Waiting(_) => held,
                    }
                }
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
        self.leave();
    }

    /// Joins the line, without waiting for anything.
    fn line_up(&self) -> Ticket {
        match self.gate.join(&noop_waker(), Nanos::NEVER, |_| Ok::<_, ()>(Nanos::NEVER)) {
            Entry::Waiting(ticket, _) => ticket,
            other => unreachable!("no place is free, but: {other:?}"),
        }
    }

    /// Waits with a ticket that another task has joined with.
    async fn wait(&self, ticket: Ticket) {
        poll_fn(|cx| match self.gate.look(&ticket, cx.waker(), Nanos::NEVER, |_| Nanos::NEVER) {
            Look::Entered => Poll::Ready(()),
            Look::Waiting(_) => Poll::Pending,
            Look::Closed | Look::Expired => unreachable!("nobody closes"),
        })
        .await;
    }

    /// Waits until nobody is inside and nobody waits.
    async fn drained(&self) {
        let mut watch = None;
        poll_fn(|cx| match self.gate.watch(watch.take(), cx.waker()) {
            None => Poll::Ready(()),
            held => {
                watch = held;
                Poll::Pending
            }
        })
        .await;
    }

    /// Leaves after having looked only, which others may do at the same time.
    fn look_and_leave(&self) {
        self.cell.with(|_| ());
        self.gate.put_back(1, &start);
    }

    fn leave(&self) {
        self.touch();
        self.gate.put_back(1, &start);
    }

    /// Comes, waits if need be, and goes away again before it is called, or with what it was given.
    fn come_and_give_up(&self) {
        match self.gate.join(&noop_waker(), Nanos::NEVER, |_| Ok::<_, ()>(Nanos::NEVER)) {
            Entry::Entered => {
                self.gate.put_back(1, &start);
            }
            Entry::Waiting(ticket, _) => {
                if self.gate.give_up(ticket) == GivenUp::Entered {
                    self.gate.put_back(1, &start);
                }
            }
            Entry::Refused(()) | Entry::Closed => {}
        }
    }

    fn assert_empty(&self, limit: i64) {
        let standing = self.gate.read(|standing| standing);
        assert_eq!((standing.room, standing.ahead), (limit, 0), "something was lost");
    }
}

/// B1, C5: one at a time, each sees what the one before did, and nobody sleeps for ever.
#[test]
fn b1_c5_permit_has_one_holder_and_every_waiter_is_served() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
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
fn b4_c4_cancelled_waiter_loses_neither_permit_nor_grant() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
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
fn b2_newcomer_never_overtakes_a_waiter() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let inside = Inside::new(1);
        assert!(inside.gate.try_enter());
        let first = inside.line_up();
        let leaving = spawn(&inside, Inside::leave);
        // The only place is the first waiter's, handed over or not yet.
        assert!(!inside.gate.try_enter());
        leaving.join().expect("left");
        assert!(matches!(
            inside.gate.look(&first, &noop_waker(), Nanos::NEVER, |_| Nanos::NEVER),
            Look::Entered
        ));
    });
}

/// B2: two places that come back at once go to the first two in the line, not to the third.
#[test]
fn b2_waiters_are_served_in_order_of_arrival() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let inside = Inside::new(2);
        assert!(inside.gate.try_enter() && inside.gate.try_enter());
        let line = [inside.line_up(), inside.line_up(), inside.line_up()];
        let leaving =
            [spawn(&inside, Inside::look_and_leave), spawn(&inside, Inside::look_and_leave)];
        // Seen from the last to the first, so that a call in between can't make it look in order.
        let called = |ticket: &Ticket| {
            matches!(
                inside.gate.look(ticket, &noop_waker(), Nanos::NEVER, |_| Nanos::NEVER),
                Look::Entered
            )
        };
        let [first, second, third] = &line;
        assert!(!called(third), "there are two places");
        if called(second) {
            assert!(called(first), "the second was called before the first");
            leaving.into_iter().for_each(|thread| thread.join().expect("left"));
        } else {
            leaving.into_iter().for_each(|thread| thread.join().expect("left"));
            assert!(called(first) && called(second), "somebody was forgotten");
        }
        assert!(!called(third), "there are two places");
    });
}

/// C5: a task that moved while it waited is woken where it is now.
#[test]
fn c5_replaced_waker_is_the_one_woken() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let inside = Inside::new(1);
        assert!(inside.gate.try_enter());
        let ticket = inside.line_up();
        let leaving = spawn(&inside, Inside::leave);
        block_on(inside.wait(ticket));
        inside.leave();
        leaving.join().expect("left");
        inside.assert_empty(1);
    });
}

/// B2, C5: who was called and looks late, perhaps just as another joins, leaves alone what is the other's now.
#[test]
fn b2_c5_reused_queue_entry_belongs_to_its_new_waiter() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let inside = Inside::new(1);
        assert!(inside.gate.try_enter());
        let ticket = inside.line_up();
        let other = spawn(&inside, |inside| {
            inside.leave();
            inside.pass();
        });
        block_on(inside.wait(ticket));
        inside.leave();
        other.join().expect("passed");
        inside.assert_empty(1);
    });
}

/// B6: as many are called as a raised limit has room for, whoever else leaves just then.
#[test]
fn b6_raised_limit_grants_to_every_waiter_with_room() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let inside = Inside::new(1);
        assert!(inside.gate.try_enter());
        let waiting = [inside.line_up(), inside.line_up(), inside.line_up()];
        let leaving = spawn(&inside, Inside::look_and_leave);
        inside.gate.set_limit(3, || {}, &start);
        leaving.join().expect("left");
        let entered = waiting.map(|ticket| inside.gate.give_up(ticket) == GivenUp::Entered);
        assert_eq!(entered, [true, true, true]);
    });
}

/// B6: a raised limit admits those who wait, a lowered one is never exceeded by a newcomer.
#[test]
fn b6_changed_limit_holds_at_once() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let inside = Inside::new(1);
        assert!(inside.gate.try_enter());
        let waiting = spawn(&inside, |inside| {
            assert!(block_on(inside.enter()));
            inside.gate.put_back(1, &start);
        });
        inside.gate.set_limit(2, || {}, &start);
        waiting.join().expect("entered while the first place was still taken");

        let leaving = spawn(&inside, |inside| {
            inside.gate.put_back(1, &start);
        });
        inside.gate.set_limit(1, || {}, &start);
        let entered = inside.gate.try_enter();
        leaving.join().expect("left");
        assert_eq!(inside.gate.read(|standing| standing).taken(), u32::from(entered));
        assert!(!entered || !inside.gate.try_enter(), "two inside of a limit of 1");
    });
}

/// B6: who waits while a limit is lowered goes when what is over it has drained, and not before.
#[test]
fn b6_lowered_limit_drains_before_the_next_grant() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let inside = Inside::new(2);
        assert!(inside.gate.try_enter() && inside.gate.try_enter());
        inside.gate.set_limit(1, || {}, &start);
        let leaving =
            [spawn(&inside, Inside::look_and_leave), spawn(&inside, Inside::look_and_leave)];
        assert!(block_on(inside.enter()));
        inside.touch(); // both have left, and what they did is seen
        for thread in leaving {
            thread.join().expect("left");
        }
        assert_eq!(
            (
                inside.gate.read(|standing| standing).taken(),
                inside.gate.read(|standing| standing).room
            ),
            (1, 0)
        );
    });
}

/// B6: closing tells everybody, whether it waits, comes, or is being called.
#[test]
fn b6_close_ends_queued_and_later_waits() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let inside = Inside::new(1);
        assert!(inside.gate.try_enter());
        let waiting = spawn(&inside, |inside| {
            if block_on(inside.enter()) {
                inside.leave();
            }
        });
        let leaving = spawn(&inside, Inside::leave);
        inside.gate.close(&start);
        waiting.join().expect("was called or told");
        leaving.join().expect("left");
        inside.assert_empty(1);
        assert!(!block_on(inside.enter()));
    });
}

/// B6, C4: of closing and giving up at once, the line counts right, and a place that was handed over
/// just before comes back.
#[test]
fn b6_c4_close_beside_cancel_loses_nothing() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let inside = Inside::new(1);
        assert!(inside.gate.try_enter());
        let leaving = spawn(&inside, Inside::leave);
        let giving_up = spawn(&inside, Inside::come_and_give_up);
        inside.gate.close(&start);
        leaving.join().expect("left");
        giving_up.join().expect("gave up");
        inside.assert_empty(1);
    });
}

/// B6: whoever watches hears of it when all is drained, and sees what was done by then, by all.
#[test]
fn b6_drained_sees_writes_made_before_release() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let inside = Inside::new(2);
        assert!(inside.gate.try_enter() && inside.gate.try_enter());
        let leaving =
            [spawn(&inside, Inside::look_and_leave), spawn(&inside, Inside::look_and_leave)];
        block_on(inside.drained());
        inside.touch();
        for thread in leaving {
            thread.join().expect("left");
        }
    });
}

/// B6: whoever reads that nobody is inside sees what was done there.
#[test]
fn b6_reading_sees_writes_made_before_release() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let inside = Inside::new(2);
        assert!(inside.gate.try_enter() && inside.gate.try_enter());
        let leaving =
            [spawn(&inside, Inside::look_and_leave), spawn(&inside, Inside::look_and_leave)];
        if inside.gate.read(|standing| standing).taken() == 0 {
            inside.touch();
        }
        for thread in leaving {
            thread.join().expect("left");
        }
    });
}

/// B6: it isn't drained while somebody waits, even if just then nobody is inside.
#[test]
fn b6_waiter_keeps_the_limit_from_being_drained() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let inside = Inside::new(1);
        assert!(inside.gate.try_enter());
        let waiting = inside.line_up();
        let leaving = spawn(&inside, Inside::leave);
        let watch = inside.gate.watch(None, &noop_waker());
        assert!(watch.is_some(), "somebody waits, or has been called");
        leaving.join().expect("left");
        let watch = inside.gate.watch(watch, &noop_waker());
        assert!(watch.is_some(), "somebody has been called");
        let given_up = inside.gate.give_up(waiting);
        assert_eq!(given_up, GivenUp::Entered, "the place was handed over");
        inside.gate.put_back(1, &start);
        assert!(inside.gate.watch(watch, &noop_waker()).is_none(), "now it is drained");
    });
}

/// B6: whoever watches hears of it, too, if the last of the line gives up, called or not.
#[test]
fn b6_drained_completes_when_the_last_waiter_is_cancelled() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let inside = Inside::new(1);
        assert!(inside.gate.try_enter());
        let leaving = spawn(&inside, Inside::leave);
        let giving_up = spawn(&inside, Inside::come_and_give_up);
        block_on(inside.drained());
        leaving.join().expect("left");
        giving_up.join().expect("gave up");
        inside.assert_empty(1);
    });
}

/// B6: of two who watch, one may leave, and the other still hears of it.
#[test]
fn b6_cancelled_drain_takes_no_wake_along() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let inside = Inside::new(1);
        assert!(inside.gate.try_enter());
        let leaving = spawn(&inside, Inside::leave);
        let other = spawn(&inside, |inside| {
            if let Some(ticket) = inside.gate.watch(None, &noop_waker()) {
                inside.gate.unwatch(ticket);
            }
        });
        block_on(inside.drained());
        leaving.join().expect("left");
        other.join().expect("went away");
        inside.assert_empty(1);
    });
}

/// A gate with a clock, whose only permit is held.
struct Timed {
    inside: Arc<Inside>,
    clock: AtomicU64,
}

const DEADLINE: Nanos = Nanos::new(1);

impl Timed {
    fn new() -> Arc<Self> {
        let inside = Inside::new(1);
        assert!(inside.gate.try_enter());
        Arc::new(Self { inside, clock: AtomicU64::new(0) })
    }

    fn now(&self) -> Nanos {
        Nanos::new(self.clock.load(Relaxed))
    }

    fn set(&self, to: Nanos) {
        self.clock.store(to.get(), Relaxed);
    }

    fn release(&self) {
        self.inside.gate.put_back(1, &|| self.now());
    }

    fn expire(&self) {
        self.inside.gate.expire(&|| self.now());
    }

    fn line_up(&self, deadline: Nanos) -> Ticket {
        match self.inside.gate.join(&noop_waker(), deadline, |_| Ok::<_, ()>(deadline)) {
            Entry::Waiting(ticket, _) => ticket,
            other => unreachable!("no permit is free, but: {other:?}"),
        }
    }

    /// Polls once, and cancels if it has to wait on. True if the waiter has a permit.
    fn poll(&self, ticket: Ticket) -> bool {
        let gate = &self.inside.gate;
        match gate.look(&ticket, &noop_waker(), DEADLINE, |_| DEADLINE) {
            Look::Entered => true,
            Look::Waiting(_) | Look::Expired => gate.give_up(ticket) == GivenUp::Entered,
            Look::Closed => unreachable!("nobody closes"),
        }
    }
}

/// C12, C4: of a grant and a deadline at once one comes first, and the permit is the waiter's or free.
#[test]
fn c12_c4_permit_granted_as_the_deadline_passes_is_not_lost() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let timed = Timed::new();
        let ticket = timed.line_up(DEADLINE);
        let releasing = spawn(&timed, Timed::release);
        let expiring = spawn(&timed, |timed| {
            timed.set(DEADLINE);
            timed.expire();
        });
        if timed.poll(ticket) {
            timed.release();
        }
        releasing.join().expect("released");
        expiring.join().expect("expired");
        timed.inside.assert_empty(1);
    });
}

/// C12, B5: a permit that its waiter doesn't acquire goes to the next one, unless the waiter was faster.
#[test]
fn c12_b5_permit_taken_back_from_a_waiter_goes_to_the_next() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let timed = Timed::new();
        let (first, second) = (timed.line_up(DEADLINE), timed.line_up(Nanos::NEVER));
        timed.release();
        let late = spawn(&timed, |timed| {
            timed.set(DEADLINE.after(GRACE));
            timed.expire();
        });
        let has_first = timed.poll(first);
        late.join().expect("expired");
        let gate = &timed.inside.gate;
        let has_second = matches!(
            gate.look(&second, &noop_waker(), Nanos::NEVER, |_| Nanos::NEVER),
            Look::Entered
        );
        assert_ne!(has_first, has_second, "the permit is at one of them");
        if has_first {
            assert_eq!(gate.give_up(second), GivenUp::Head);
        }
        timed.release();
        timed.inside.assert_empty(1);
    });
}
