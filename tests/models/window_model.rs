//! The window under the model checker.
//!
//! The clock is an atomic that a thread of its own ticks, read
//! with no ordering: a thread may see an old time, unless something it has synchronised with has seen
//! a newer one. That is less than a real clock promises, so what holds here holds there.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use loom::{
    future::block_on,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use crate::{
    clock::Nanos,
    gate::{Entry, Look},
    model,
    window::{Shape, Window},
};

const PREEMPTIONS: usize = 2;

/// One tick.
const TICK: Duration = Duration::from_nanos(1);

struct Limited {
    window: Window,
    clock: AtomicU64,
}

impl Limited {
    fn new(shape: Shape, limit: u32, length: u32) -> Arc<Self> {
        Self::with_slots(shape, limit, length, 4)
    }

    fn with_slots(shape: Shape, limit: u32, length: u32, slots: u32) -> Arc<Self> {
        let window = Window::with_slots(shape, limit, TICK * length, slots);
        Arc::new(Self { window, clock: AtomicU64::new(0) })
    }

    fn now(&self) -> Nanos {
        Nanos::new(self.clock.load(Relaxed))
    }

    fn tick(&self) {
        self.clock.fetch_add(1, Relaxed);
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

    /// The request goes out at the time that is returned.
    fn issue(&self) -> u64 {
        let at = self.now().get();
        self.window.issue(|| self.now());
        at
    }

    /// Long after: every place has come back.
    fn assert_whole(&self, limit: u32) {
        // Twice, because an issue that nobody has noted the time of is noted by the first.
        for _ in 0..2 {
            self.clock.fetch_add(1000, Relaxed);
            self.window.read(|| self.now());
        }
        assert_eq!(self.window.read(|| self.now()).remaining, limit, "a place was lost");
    }
}

fn spawn<T: 'static>(
    limited: &Arc<Limited>,
    run: impl FnOnce(&Limited) -> T + 'static,
) -> thread::JoinHandle<T> {
    let limited = Arc::clone(limited);
    thread::spawn(move || run(&limited))
}

fn assert_at_most(limit: usize, issued: &[u64], span: u64) {
    for from in issued {
        let inside = issued.iter().filter(|&at| (from..&(from + span)).contains(&at)).count();
        assert!(inside <= limit, "{inside} from {from} on: {issued:?}");
    }
}

/// W1: a place is issued on again only when a full window has passed.
#[test]
fn a_sliding_window_never_issues_too_many() {
    model(PREEMPTIONS, || {
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
fn a_time_is_noted_after_all_it_covers() {
    model(PREEMPTIONS, || {
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
fn a_fixed_window_never_issues_too_many() {
    model(PREEMPTIONS, || {
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

/// C4, W8: the ring of the log goes round while it is read and written, and no place is lost or comes
/// back twice.
#[test]
fn the_log_goes_round() {
    model(PREEMPTIONS, || {
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
fn the_next_place_is_known_while_others_are_noted() {
    model(PREEMPTIONS, || {
        let limited = Limited::new(Shape::Sliding, 2, 10);
        assert!(limited.window.try_enter() && limited.window.try_enter());
        limited.issue();
        (0..5).for_each(|_| limited.tick());
        let other = spawn(&limited, Limited::issue);
        assert_eq!(limited.window.read(|| limited.now()).wait, TICK * 5);
        other.join().expect("issued");
    });
}

/// C4: a log that is full leaves observations out; the next one covers their issues.
#[test]
fn a_full_log_loses_no_place() {
    model(PREEMPTIONS, || {
        let limited = Limited::with_slots(Shape::Sliding, 3, 1, 1);
        for _ in 0..3 {
            assert!(limited.window.try_enter());
        }
        let one = spawn(&limited, Limited::issue);
        let other = spawn(&limited, Limited::issue);
        limited.issue();
        limited.tick();
        limited.window.refill(&|| limited.now());
        one.join().expect("issued");
        other.join().expect("issued");
        limited.assert_whole(3);
    });
}

/// W4, C5: a reservation that is given back unissued goes to whoever waits.
#[test]
fn a_refund_reaches_the_one_who_waits() {
    model(PREEMPTIONS, || {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        assert!(limited.window.try_enter());
        let waiting = spawn(&limited, |limited| {
            let mut ticket = None;
            block_on(poll_fn(|cx: &mut Context<'_>| {
                let now = || limited.now();
                let waker = cx.waker();
                ticket = match ticket.take() {
                    None => match limited.window.arrive(waker, now, |_, at| Ok::<_, ()>(at)) {
                        Entry::Waiting(ticket, _) => Some(ticket),
                        _ => return Poll::Ready(()),
                    },
                    Some(ticket) => {
                        match limited.window.look(&ticket, waker, now, |_, at| at.latest) {
                            Look::Waiting(_) => Some(ticket),
                            _ => return Poll::Ready(()),
                        }
                    }
                };
                Poll::Pending
            }));
            limited.window.give_back(|| limited.now());
        });
        limited.window.give_back(|| limited.now());
        waiting.join().expect("had its turn");
        limited.assert_whole(1);
    });
}

/// W7: a pause that is over is not lifted over the head of a newer one.
#[test]
fn a_pause_moves_only_forward() {
    model(PREEMPTIONS, || {
        let limited = Limited::new(Shape::Sliding, 1, 1);
        limited.window.pause(Nanos::new(1));
        limited.tick();
        let newer = spawn(&limited, |limited| limited.window.pause(Nanos::new(5)));
        limited.window.refill(&|| limited.now());
        newer.join().expect("paused");
        assert_eq!(limited.try_issue(), None, "issued in a pause");
        limited.assert_whole(1);
    });
}
