//! The windows under the model checker.
//!
//! The clock is an atomic that the threads tick where the model says, read with no ordering: a thread may
//! see an old time, unless something it has synchronised with has seen a newer one. In that it promises
//! less than a real clock.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use futures::task::noop_waker;
use loom::{
    future::block_on,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Relaxed},
        },
    },
};

use crate::{
    Model,
    clock::Nanos,
    gate::{Entry, Look, Ticket},
    spawn,
    window::{Shape, Window},
};

const PREEMPTIONS: usize = 2;
/// For models small enough to look further.
const DEEP: usize = 4;

/// One tick.
const TICK: Duration = Duration::from_nanos(1);
/// The finest that timers tell apart.
const TIMER: Duration = Duration::from_millis(1);

/// Where all wait unless said otherwise.
const HERE: u32 = 0;
const THERE: u32 = 1;

struct Limited {
    window: Window<u32>,
    clock: AtomicU64,
    /// Has the ringer gone?
    gone: AtomicBool,
}

impl Limited {
    fn new(shape: Shape, limit: u32, length: u32) -> Arc<Self> {
        Self::with_sizes(shape, limit, length, 4, 4)
    }

    /// With less room for times than there are places.
    fn with_sizes(
        shape: Shape,
        limit: u32,
        length: u32,
        observations: u32,
        slots: u16,
    ) -> Arc<Self> {
        let window = Window::with_sizes(shape, limit, TICK * length, observations, slots);
        Arc::new(Self { window, clock: AtomicU64::new(0), gone: AtomicBool::new(false) })
    }

    fn now(&self) -> Nanos {
        Nanos::new(self.clock.load(Relaxed))
    }

    fn tick(&self) {
        self.clock.fetch_add(1, Relaxed);
    }

    /// Lets `ticks` pass, and returns the time. As with a real clock, what a thread does before this is seen
    /// by all that see a later time.
    fn pass(&self, ticks: u64) -> Nanos {
        Nanos::new(self.clock.fetch_add(ticks, AcqRel) + ticks)
    }

    /// Issues if there is a place, and says when.
    fn try_issue(&self) -> Option<u64> {
        if !self.window.try_enter() {
            self.window.refill(&|| self.now());
            if !self.window.try_enter() {
                return None;
            }
        }
        Some(self.issue())
    }

    /// Issues on a permit that is free, without a refill before.
    fn issue_reserved(&self) -> Option<u64> {
        self.window.try_enter().then(|| self.issue())
    }

    /// The request goes out at the time that is returned.
    fn issue(&self) -> u64 {
        let at = self.now().get();
        self.window.issue(|| self.now());
        at
    }

    /// Whoever looks takes back what is due, and closes what is open.
    fn look(&self) {
        self.window.refill(&|| self.now());
    }

    /// Waits for a place, woken by others only: there are no timers here.
    async fn wait(&self) {
        let mut ticket = None;
        poll_fn(|cx: &mut Context<'_>| {
            let now = || self.now();
            let waker = cx.waker();
            ticket = match ticket.take() {
                None => match self
                    .window
                    .arrive(waker, Nanos::NEVER, &now, |_, _| Ok::<_, ()>(Nanos::NEVER))
                {
                    Entry::Waiting(ticket, _) => {
                        self.window.mind(&ticket, HERE, &now);
                        Some(ticket)
                    }
                    _ => return Poll::Ready(()),
                },
                Some(ticket) => {
                    match self.window.look(&ticket, waker, Nanos::NEVER, &now, |_, _| Nanos::NEVER)
                    {
                        Look::Waiting(_) => Some(ticket),
                        _ => return Poll::Ready(()),
                    }
                }
            };
            Poll::Pending
        })
        .await;
    }

    /// Joins the line, without waiting for anything.
    fn line_up(&self, place: u32) -> Ticket {
        let admit = |_, _: &dyn Fn() -> Nanos| Ok::<_, ()>(Nanos::NEVER);
        match self.window.arrive(&noop_waker(), Nanos::NEVER, &|| self.now(), admit) {
            Entry::Waiting(ticket, _) => {
                self.window.mind(&ticket, place, &|| self.now());
                ticket
            }
            other => unreachable!("no place is free, but: {other:?}"),
        }
    }

    fn give_up(&self, ticket: Ticket) {
        assert!(!self.window.give_up(ticket, &|| self.now()), "there was no place to be had");
    }

    /// A ringer, woken by others only: goes when nobody waits for it, or is to ring by `until`.
    fn ring(&self, place: u32, until: Nanos) {
        block_on(poll_fn(|cx| match self.window.attend(place, cx.waker(), &|| self.now()) {
            Some(at) if at > until => Poll::Pending,
            Some(_) => Poll::Ready(()),
            None => {
                self.gone.store(true, Relaxed);
                Poll::Ready(())
            }
        }));
    }

    /// Long after: every place has come back.
    fn assert_whole(&self, limit: u32) {
        // Twice, because an issue that nobody has noted the time of is noted by the first.
        for _ in 0..2 {
            self.clock.fetch_add(1000, Relaxed);
            self.window.read(&|| self.now());
        }
        assert_eq!(self.window.read(&|| self.now()).remaining, limit, "a place was lost");
    }
}

/// Counts wakes.
#[derive(Default)]
struct Wakes(std::sync::atomic::AtomicUsize);

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl std::task::Wake for Wakes {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn assert_at_most(limit: usize, issued: &[u64], span: u64) {
    for from in issued {
        let inside = issued.iter().filter(|&at| (from..&(from + span)).contains(&at)).count();
        assert!(inside <= limit, "{inside} from {from} on: {issued:?}");
    }
}

/// W1: a place is issued on again only when a full window has passed.
#[test]
fn w1_sliding_window_never_exceeds_its_limit() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        let other = spawn(&limited, |limited| {
            limited.tick();
            limited.try_issue()
        });
        let mut issued: Vec<u64> = Vec::new();
        issued.extend(limited.try_issue());
        issued.extend(limited.try_issue());
        issued.extend(other.join().expect("issued"));
        assert_at_most(1, &issued, 1);
        limited.assert_whole(1);
    });
}

/// W1: whoever notes the time for the issue of another, it is no earlier than that issue.
#[test]
fn w1_checkpoint_is_later_than_every_issue_it_covers() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Sliding, 2, 1);
        assert!(limited.window.try_enter() && limited.window.try_enter());
        let late = spawn(&limited, |limited| {
            limited.tick();
            limited.issue()
        });
        let other = spawn(&limited, |limited| limited.issue());
        let mut issued: Vec<u64> = Vec::new();
        issued.extend(limited.try_issue());
        issued.push(late.join().expect("issued"));
        issued.push(other.join().expect("issued"));
        issued.extend(limited.try_issue());
        assert_at_most(2, &issued, 1);
    });
}

/// W2: in no window of the grid are more issued than the limit.
#[test]
fn w2_fixed_window_never_exceeds_its_limit() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Fixed, 1, 2);
        let one = spawn(&limited, |limited| {
            limited.tick();
            limited.tick();
            limited.try_issue()
        });
        let other = spawn(&limited, |limited| [limited.try_issue(), limited.try_issue()]);

        let mut issued: Vec<u64> = Vec::new();
        issued.extend(one.join().expect("issued"));
        issued.extend(other.join().expect("issued").into_iter().flatten());
        for window in [0, 2] {
            let inside = issued.iter().filter(|&&at| (window..window + 2).contains(&at)).count();
            assert!(inside <= 1, "{inside} in the window from {window} on: {issued:?}");
        }
        limited.assert_whole(1);
    });
}

/// W1, W8: one time for two issues holds for both, whoever of the two notes it.
#[test]
fn w1_w8_permits_of_a_stride_expire_not_before_its_last_issue() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::with_sizes(Shape::Sliding, 2, 1, 1, 2);
        let other = spawn(&limited, |limited| {
            limited.tick();
            [limited.try_issue(), limited.try_issue()]
        });
        let mut issued: Vec<u64> = Vec::new();
        issued.extend(limited.try_issue());
        issued.extend(limited.try_issue());
        issued.extend(other.join().expect("issued").into_iter().flatten());
        assert_at_most(2, &issued, 1);
        limited.assert_whole(2);
    });
}

/// W1, W8: a stride that is open is closed by whoever looks, with a time that holds for all in it.
#[test]
fn w1_w8_open_stride_is_closed_by_any_refill() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        // Two to a time; the first of these has one of its own, the second is left open.
        let limited = Limited::with_sizes(Shape::Sliding, 2, 1, 1, 4);
        assert!(limited.window.try_enter() && limited.window.try_enter());
        let other = spawn(&limited, |limited| {
            limited.tick();
            limited.issue()
        });
        let mut issued = vec![limited.issue()];
        limited.look();
        issued.extend(limited.try_issue());
        issued.extend(limited.try_issue());
        issued.push(other.join().expect("issued"));
        assert_at_most(2, &issued, 1);
        limited.assert_whole(2);
    });
}

/// W9: a lowered limit holds for whoever comes after, whatever is reserved or issued just then.
#[test]
fn w9_lowered_limit_holds_at_once() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Sliding, 2, 1);
        let other = spawn(&limited, |limited| {
            let issued = [limited.try_issue(), limited.try_issue()];
            issued.into_iter().flatten().count()
        });
        limited.window.set_limit(1, &|| limited.now());
        let mine = limited.try_issue();
        let others = other.join().expect("issued");
        // Time stands still. Whoever found room after the change was the only one.
        assert!(mine.is_none() || others == 0, "{} in a window of 1", others + 1);
        limited.assert_whole(1);
    });
}

/// W9, W8: a limit that is raised, and with it the number of issues to a time, loses no place and gives
/// none back too early.
#[test]
fn w9_w8_raised_limit_keeps_recorded_issues() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::with_sizes(Shape::Sliding, 1, 1, 1, 2);
        let other = spawn(&limited, |limited| {
            limited.tick();
            [limited.try_issue(), limited.try_issue()]
        });
        limited.window.set_limit(2, &|| limited.now());
        let mut issued: Vec<u64> = limited.try_issue().into_iter().collect();
        issued.extend(other.join().expect("issued").into_iter().flatten());
        assert_at_most(2, &issued, 1);
        limited.assert_whole(2);
    });
}

/// W9: a longer window holds for what is issued after it was set, by those who know of it.
#[test]
fn w9_longer_window_holds_for_later_issues() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        let other = spawn(&limited, |limited| {
            limited.tick();
            limited.try_issue()
        });
        limited.window.set_length(TICK * 2, &|| limited.now());
        let mine = limited.try_issue();
        let other = other.join().expect("issued");
        if let (Some(mine), Some(other)) = (mine, other) {
            assert!(other < mine || other >= mine + 2, "issued at {mine} and at {other}");
        }
        limited.assert_whole(1);
    });
}

/// W9: a shorter window gives back at once what it no longer holds.
#[test]
fn w9_c4_shorter_window_expires_permits_at_once() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 5);
        assert!(limited.try_issue().is_some());
        limited.tick();
        let waiting = spawn(&limited, |limited| {
            block_on(limited.wait());
            limited.issue()
        });
        limited.window.set_length(TICK, &|| limited.now());
        assert_eq!(waiting.join().expect("was called"), 1);
        limited.assert_whole(1);
    });
}

/// W2: places come back at the boundary, to whoever looks first, even if others still read an older time.
#[test]
fn w2_c4_fixed_window_rolls_over_once() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Fixed, 2, 2);
        assert_eq!((limited.try_issue(), limited.try_issue()), (Some(0), Some(0)));
        // May read any time up to the boundary.
        let late = spawn(&limited, Limited::try_issue);
        limited.tick();
        limited.tick();
        let mut issued: Vec<u64> = Vec::new();
        issued.extend(limited.try_issue());
        issued.extend(late.join().expect("issued"));
        assert_at_most(2, &issued, 2);
        assert!(issued.iter().all(|&at| at >= 2), "issued in a window that was spent");
        limited.assert_whole(2);
    });
}

/// C4, W8: the ring of the log goes round while it is read and written, and no place is lost or comes
/// back twice.
#[test]
fn c4_w8_log_wraps_around_and_stays_true() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Sliding, 2, 1);
        // Three of the four slots have been used; the rest happens across the end of the ring.
        for _ in 0..3 {
            assert!(limited.try_issue().is_some());
            limited.tick();
        }
        let one = spawn(&limited, |limited| {
            limited.tick();
            limited.try_issue();
        });
        limited.try_issue();
        limited.try_issue();
        one.join().expect("issued");
        limited.assert_whole(2);
    });
}

/// W5, W6: the time of the next place is known whatever happens to the newest entries of the log.
#[test]
fn w5_w6_next_expiry_is_known_while_checkpoints_are_written() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 2, 10);
        assert!(limited.window.try_enter() && limited.window.try_enter());
        limited.issue();
        (0..5).for_each(|_| limited.tick());
        let other = spawn(&limited, Limited::issue);
        assert_eq!(limited.window.read(&|| limited.now()).wait, TICK * 5);
        other.join().expect("issued");
    });
}

/// C4: a log that is full leaves observations out; the next one covers their issues.
#[test]
fn c4_full_log_loses_no_permit() {
    Model { threads: 2, preemptions: 1 }.check(|| {
        let limited = Limited::with_sizes(Shape::Sliding, 3, 1, 4, 1);
        for _ in 0..3 {
            assert!(limited.window.try_enter());
        }
        let one = spawn(&limited, Limited::issue);
        limited.issue();
        limited.issue();
        limited.tick();
        limited.look();
        one.join().expect("issued");
        limited.assert_whole(3);
    });
}

/// W1, W8, C4: a log that is thinned out while another thread retires gives each permit back once, and not early.
#[test]
fn w1_w8_c4_log_thinned_beside_a_refill_expires_permits_once_and_not_early() {
    Model { threads: 2, preemptions: 1 }.check(|| {
        let limited = Limited::with_sizes(Shape::Sliding, 3, 2, 8, 2);
        let mut issued = vec![limited.try_issue().expect("free")];
        limited.tick();
        issued.push(limited.try_issue().expect("free"));
        // Two checkpoints fill the log, and the next issue finds no room.
        let other = spawn(&limited, Limited::issue_reserved);
        limited.tick();
        issued.extend([(); 2].into_iter().filter_map(|()| limited.try_issue()));
        issued.extend(other.join().expect("issued"));
        assert_at_most(3, &issued, 2);
        limited.assert_whole(3);
    });
}

/// W8, C4: of two threads that find the log full, each gets its checkpoint in.
#[test]
fn w8_c4_log_found_full_by_two_threads_has_room_for_both() {
    Model { threads: 2, preemptions: 1 }.check(|| {
        let limited = Limited::with_sizes(Shape::Sliding, 6, 4, 8, 4);
        for _ in 0..4 {
            assert!(limited.try_issue().is_some());
        }
        limited.tick();
        let other = spawn(&limited, Limited::issue_reserved);
        assert!(limited.issue_reserved().is_some());
        assert!(other.join().expect("issued").is_some());
        // A window after the first four: they are back, and the others are not.
        limited.clock.fetch_add(3, Relaxed);
        limited.look();
        assert_eq!(limited.window.read(&|| limited.now()).remaining, 4);
        limited.tick();
        assert_eq!(limited.window.read(&|| limited.now()).remaining, 6);
    });
}

/// W9: of two threads that change the limit, the same one leaves the limit and the stride.
#[test]
fn w9_w3_limits_changed_by_two_threads_leave_the_stride_of_the_last() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::with_sizes(Shape::Sliding, 1, 1, 1, 4);
        let other = spawn(&limited, |limited| limited.window.set_limit(2, &|| limited.now()));
        limited.window.set_limit(1, &|| limited.now());
        other.join().expect("set");
        if limited.window.settings().0 == 1 {
            // With a stride of one each issue has its own time, and its permit is back a window later.
            for _ in 0..2 {
                assert!(limited.try_issue().is_some());
                limited.tick();
                assert_eq!(limited.window.read(&|| limited.now()).remaining, 1);
            }
        }
    });
}

/// W4, C5: a reservation that is given back unissued goes to whoever waits.
#[test]
fn w4_c5_refund_reaches_the_waiter() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        assert!(limited.window.try_enter());
        let waiting = spawn(&limited, |limited| {
            block_on(limited.wait());
            limited.window.give_back(&|| limited.now());
        });
        limited.window.give_back(&|| limited.now());
        waiting.join().expect("had its turn");
        limited.assert_whole(1);
    });
}

/// C5: who looks while a place is on its way is not told to look again at once, which would be a busy loop.
#[test]
fn c5_next_look_is_at_least_a_timer_tick_away() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        assert!(limited.window.try_enter());
        let now = || limited.now();
        let waker = noop_waker();
        let ticket = limited.line_up(HERE);
        let refunding = spawn(&limited, |limited| limited.window.give_back(&|| limited.now()));
        let again = limited.window.attend(HERE, &waker, &now);
        assert!(again.is_none_or(|again| again > limited.now()));
        let looked =
            limited.window.look(&ticket, &waker, Nanos::NEVER, &now, |_, earliest| earliest());
        assert!(!matches!(looked, Look::Waiting(again) if again <= limited.now()));
        refunding.join().expect("gave back");
    });
}

/// C5: when the last who waits for it has gone, the ringer is told to go.
#[test]
fn c5_refill_task_ends_without_waiters() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        assert!(limited.try_issue().is_some());
        let ticket = limited.line_up(HERE);
        let ringing = spawn(&limited, |limited| limited.ring(HERE, Nanos::ZERO));
        limited.give_up(ticket);
        ringing.join().expect("was told to go");
    });
}

/// C5: whoever comes when the ringer is about to go keeps it, or is told that there is none.
#[test]
fn c5_waiter_arriving_as_the_refill_task_ends_has_one_or_spawns_one() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        assert!(limited.try_issue().is_some());
        let first = limited.line_up(HERE);
        let ringing = spawn(&limited, |limited| limited.ring(HERE, Nanos::ZERO));
        limited.give_up(first);
        let second = limited.line_up(THERE);
        if limited.window.mind(&second, HERE, &|| limited.now()) {
            // There is none, so it has gone, and nobody has to tell it to.
            ringing.join().expect("was told to go");
            limited.give_up(second);
        } else {
            assert!(!limited.gone.load(Relaxed), "it is taken to be there, and has gone");
            limited.give_up(second);
            ringing.join().expect("was told to go");
        }
    });
}

/// C5: one ringer is sent, and woken only if it would look too late.
#[test]
fn c5_refill_task_is_spawned_once_and_woken_only_for_an_earlier_time() {
    Model { threads: 1, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 5);
        assert!(limited.try_issue().is_some());
        let now = || limited.now();
        let wakes = std::sync::Arc::<Wakes>::default();
        let first = limited.line_up(THERE);
        assert!(limited.window.mind(&first, HERE, &now), "nobody has been sent yet");
        assert!(limited.window.attend(HERE, &wakes.clone().into(), &now).is_some());
        let second = limited.line_up(THERE);
        assert!(!limited.window.mind(&second, HERE, &now), "one has been sent");
        let woken = || wakes.count();
        assert_eq!(woken(), 0, "its time is before that of the second");
        limited.give_up(second);
        assert_eq!(woken(), 0, "it still has somebody to ring for");
        limited.give_up(first);
        assert_eq!(woken(), 1, "nobody is left");
    });
}

/// C5, B5: when the head gives up, the ringer of the next learns that its place comes sooner.
#[test]
fn c5_b5_refill_task_is_woken_for_an_earlier_time() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let millisecond = 1_000_000;
        let limited = Limited::new(Shape::Sliding, 1, 10 * millisecond);
        assert!(limited.try_issue().is_some());
        let head = limited.line_up(THERE);
        let next = limited.line_up(HERE);
        let until = Nanos::new(u64::from(10 * millisecond));
        let ringing = spawn(&limited, move |limited| limited.ring(HERE, until));
        limited.give_up(head);
        ringing.join().expect("was told of an earlier time");
        limited.give_up(next);
    });
}

/// C5: a thread held up across a boundary before it notes the time of an issue does not make the refill task
/// a window late.
#[test]
fn c5_refill_task_is_in_time_for_an_issue_recorded_late() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let millisecond = 1_000_000;
        let limited = Limited::new(Shape::Fixed, 1, 10 * millisecond);
        assert!(limited.window.try_enter());
        let ticket = limited.line_up(HERE);
        let boundary = u64::from(10 * millisecond);
        limited.clock.store(boundary - 1, Relaxed);
        let issuing = spawn(&limited, |limited| limited.window.issue(|| limited.pass(0)));
        limited.pass(1);
        let again = limited.window.attend(HERE, &noop_waker(), &|| limited.pass(0));
        issuing.join().expect("issued");
        limited.look();
        if limited.window.read(&|| limited.now()).waiting == 0 {
            // The permit expired at the boundary.
            let in_time = Nanos::new(boundary).after(TIMER);
            assert!(again.is_none_or(|again| again <= in_time), "{again:?} is too late");
        }
        drop(ticket); // not before: it waits
    });
}

/// C5: the same if the head of the queue leaves, and the refill task of the next is told.
#[test]
fn c5_next_head_is_in_time_for_an_issue_recorded_late() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let millisecond = 1_000_000;
        let limited = Limited::new(Shape::Fixed, 1, 10 * millisecond);
        assert!(limited.window.try_enter());
        let boundary = u64::from(10 * millisecond);
        limited.clock.store(boundary - 1, Relaxed);
        let (head, next) = (limited.line_up(HERE), limited.line_up(THERE));
        let wakes = std::sync::Arc::<Wakes>::default();
        let waker = wakes.clone().into();
        let again = limited.window.attend(THERE, &waker, &|| limited.now());
        assert_eq!(again, Some(Nanos::new(2 * boundary)), "behind the head");
        let issuing = spawn(&limited, |limited| limited.window.issue(|| limited.pass(0)));
        limited.pass(1);
        assert!(!limited.window.give_up(head, &|| limited.pass(0)), "nothing has been granted");
        issuing.join().expect("issued");
        let told = wakes.count() > 0; // later it is told that nobody waits
        limited.look();
        if limited.window.read(&|| limited.now()).waiting == 0 {
            assert!(told, "the permit expired at the boundary, and nobody looks");
        }
        drop(next); // not before: it waits
    });
}

/// W7, C5: who waits through a pause is called when somebody looks after it.
#[test]
fn w7_c5_waiter_is_granted_a_permit_after_a_pause() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        limited.window.pause(Nanos::new(1), &|| limited.now());
        let waiting = spawn(&limited, |limited| {
            block_on(limited.wait());
            limited.issue()
        });
        limited.tick();
        limited.look();
        assert_eq!(waiting.join().expect("was called"), 1);
        limited.assert_whole(1);
    });
}

/// W7: a pause that is over is not lifted over the head of a newer one, nor shortened by an earlier one.
#[test]
fn w7_pause_moves_only_forward() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        limited.window.pause(Nanos::new(1), &|| limited.now());
        limited.tick();
        let newer = spawn(&limited, |limited| {
            limited.window.pause(Nanos::new(5), &|| limited.now());
            limited.window.pause(Nanos::new(3), &|| limited.now());
        });
        limited.look();
        newer.join().expect("paused");
        assert_eq!(limited.try_issue(), None, "issued in a pause");
        limited.tick();
        limited.tick();
        assert_eq!(limited.try_issue(), None, "issued in a pause");
        limited.assert_whole(1);
    });
}

/// W7, W4: a place that is given back in a pause goes to whoever waits when the pause ends, not before.
#[test]
fn w7_w4_refund_in_a_pause_grants_nothing() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        assert!(limited.window.try_enter());
        limited.window.pause(Nanos::new(2), &|| limited.now());
        let waiting = spawn(&limited, |limited| {
            block_on(limited.wait());
            limited.issue()
        });
        let refunding = spawn(&limited, |limited| limited.window.give_back(&|| limited.now()));
        limited.tick();
        limited.look();
        limited.tick();
        refunding.join().expect("gave back");
        limited.look();
        assert_eq!(waiting.join().expect("was called"), 2);
        limited.assert_whole(1);
    });
}

/// Thinning moves a checkpoint into a slot whose last one had more issues and a later time. A
/// refill at the same time reads both words of one of them.
#[test]
fn w1_w8_log_thinned_beside_a_refill_pairs_no_count_with_an_earlier_time() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let limited = Limited::with_sizes(Shape::Sliding, 5, 8, 8, 4);
        assert!((0..5).all(|_| limited.window.try_enter()));
        let mut issued = Vec::new();
        // The first checkpoint is two ticks before the others.
        for pass in [0, 2, 1, 1] {
            (0..pass).for_each(|_| limited.tick());
            issued.push(limited.issue());
        }
        (4..8).for_each(|_| limited.tick());
        // The log is full, and the first permit has expired.
        let refilling = spawn(&limited, Limited::look);
        issued.push(limited.issue());
        refilling.join().expect("refilled");
        issued.extend([(); 5].into_iter().filter_map(|()| limited.try_issue()));
        assert_at_most(5, &issued, 8);
        limited.assert_whole(5);
    });
}
