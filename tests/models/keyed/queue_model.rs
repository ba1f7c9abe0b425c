//! Requests that wait for their keys, under the model checker: the queue and the key table as they
//! are, with rules whose keys are hashes.
//!
//! Where a model asserts that a request is granted its permits, no time passes and no task polls:
//! the step that has released them finds the request, or the request finds the permits.

use std::{
    sync::{Arc as StdArc, LazyLock},
    task::Poll,
    time::Duration,
};

use loom::{cell::UnsafeCell, sync::Arc};
use tokio::runtime::{Builder, Id};

use super::{
    rule::{
        list::MAX_RULES,
        state::{Held, RuleState, Target, Want},
    },
    states::States,
    table::{KeyHash, Place, Refused, Table, shape::TICKS},
    waiting::queue::{Arrival, Joined, QueueBounds, WaiterId},
};
use crate::{
    Model,
    adapter::TestClock,
    join,
    keyed_model::{A, B, C, DEEP, FAR, LENGTH, PREEMPTIONS, Setting, ask},
    spawn,
    time::Nanos,
    wake_counter::WakeCounter,
};

/// A runtime that is never driven.
static RUNTIME: LazyLock<Id> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().build().expect("it needs no driver");
    runtime.handle().id()
});

const BOUNDS: QueueBounds =
    QueueBounds { max_wait: Duration::from_secs(1), max_queue_per_key: 10, max_queue: 10 };

type Permits = [Held; MAX_RULES];

/// The states of rules, and their queue.
struct Waits {
    states: States,
    clock: TestClock,
}

/// A request that has arrived: it has its permits, or waits for them.
enum Arrived {
    Acquired(Permits),
    Waits(WaiterId, StdArc<WakeCounter>),
}

/// A limit of one request in flight, without a window.
fn one_in_flight() -> Setting {
    Setting { windows: Vec::new(), in_flight: &[1], ..Setting::common(1, 1) }
}

fn common(cost: u32) -> [Want; MAX_RULES] {
    [Want { target: Target::Common, ask: ask(cost) }, Want::NOTHING]
}

fn of(key: KeyHash) -> [Want; MAX_RULES] {
    [Want { target: Target::Key(key), ask: ask(1) }, Want::NOTHING]
}

impl Waits {
    fn new(settings: impl IntoIterator<Item = Setting>) -> Arc<Self> {
        LazyLock::force(&RUNTIME);
        let clock = TestClock::new();
        let rule = |setting: Setting| RuleState { table: setting.table(), is_dry_run: false };
        let rules = settings.into_iter().map(rule).collect();
        Arc::new(Self { states: States::new(rules, clock.clone()), clock })
    }

    fn table(&self) -> &Table {
        &self.states[0].table
    }

    fn wait(&self, time: Duration) {
        self.clock.advance(time);
    }

    fn wait_for_expiry(&self) {
        self.wait(LENGTH + Duration::from_nanos(TICKS));
    }

    /// Acquires of all rules or of none, without the lock, as a layer does.
    fn decide(&self, wants: [Want; MAX_RULES]) -> Result<Permits, (usize, Refused)> {
        let mut now = self.states.now();
        let mut held = [Held::NOTHING; MAX_RULES];
        for (index, state) in self.states.iter().enumerate() {
            let acquired = state.acquire(wants[index], &mut now);
            self.states.tell(index, now.take_freed());
            match acquired {
                Ok(permits) => held[index] = permits,
                Err(refused) => {
                    self.states.undo(&held);
                    return Err((index, refused));
                }
            }
        }
        Ok(held)
    }

    fn acquire(&self, wants: [Want; MAX_RULES]) -> Permits {
        self.decide(wants).expect("there is room")
    }

    fn arrive(&self, wants: [Want; MAX_RULES]) -> Arrived {
        match self.decide(wants) {
            Ok(held) => Arrived::Acquired(held),
            Err((first, _)) => self.queue(wants, first),
        }
    }

    /// Queues a request that rule `first` has denied, unless it acquires now.
    fn queue(&self, wants: [Want; MAX_RULES], first: usize) -> Arrived {
        let wakes = WakeCounter::new();
        loop {
            let mut waker = Some(wakes.waker());
            let arrival = Arrival {
                wants,
                first,
                bounds: &BOUNDS,
                since: Nanos::ZERO,
                deadline: Nanos::NEVER,
                request_end: None,
                waker: &mut waker,
                runtime: Some(*RUNTIME),
            };
            match self.states.with_queue(|queue, step| queue.join(arrival, step)) {
                Ok(Joined::Acquired(granted)) => return Arrived::Acquired(granted.held),
                Ok(Joined::Queued { id, .. }) => return Arrived::Waits(id, wakes),
                Ok(Joined::Stalled) => loom::thread::yield_now(),
                Ok(Joined::NoRuntime) | Err(_) => unreachable!("it may wait"),
            }
        }
    }

    /// Returns the permits of a request that has them. It was woken for them, once.
    fn granted(&self, arrived: Arrived) -> Option<Permits> {
        let (id, wakes) = match arrived {
            Arrived::Acquired(held) => return Some(held),
            Arrived::Waits(id, wakes) => (id, wakes),
        };
        let mut waker = Some(wakes.waker());
        let (polled, _) = self
            .states
            .with_queue(|queue, step| queue.poll(id, &mut waker, Some(*RUNTIME), step.wakes));
        let Poll::Ready(outcome) = polled else { return None };
        assert_eq!(wakes.count(), 1, "it is woken once");
        Some(outcome.ok().expect("it is not rejected").held)
    }

    fn cancel(&self, arrived: Arrived) {
        let held = match arrived {
            Arrived::Acquired(held) => Some(held),
            Arrived::Waits(id, _) => {
                let (granted, _) = self.states.with_queue(|queue, step| queue.cancel(id, step));
                granted.map(|granted| granted.held)
            }
        };
        held.into_iter().for_each(|held| self.states.undo(&held));
    }

    fn commit(&self, held: &Permits) {
        self.states.free(held, |state, held| state.commit(held, &mut self.states.now()));
    }

    fn release(&self, held: &Permits) {
        self.states.free(held, |state, held| state.release(held));
    }

    fn issue(&self, wants: [Want; MAX_RULES]) -> Permits {
        let held = self.acquire(wants);
        self.commit(&held);
        held
    }

    /// Expires what has expired at a place, as a reading of a handle does.
    fn read(&self, place: Place) {
        let mut now = self.states.now();
        while self.table().state(place).expire(&mut now) {}
        self.states.tell(0, now.take_freed());
    }

    /// Expires what has expired in all slots, and in the overflow of the first home set.
    fn read_all(&self) -> Vec<Place> {
        let overflow = self.table().overflow_of(0);
        let places: Vec<_> = self.table().slots().chain([overflow]).collect();
        places.iter().for_each(|place| self.read(*place));
        places
    }

    fn place(held: &Permits) -> Place {
        held[0].0.expect("it is held").0
    }

    /// Asserts that the request has its permits, refunds them, and that nothing is left.
    fn assert_granted(&self, arrived: Arrived) {
        let held = self.granted(arrived).expect("it is granted its permits");
        self.states.undo(&held);
        for (rule, state) in self.states.iter().enumerate() {
            assert_eq!(self.states.queued_at(rule), (0, None));
            assert!(state.table.state(state.table.common()).is_idle(), "a permit is lost");
        }
    }

    /// Asserts that the request has its permits where its key has its state, once all of before
    /// have expired.
    fn assert_granted_at_home(&self, key: KeyHash, arrived: Arrived) {
        let held = match arrived {
            Arrived::Acquired(held) => held,
            waits @ Arrived::Waits(..) => {
                self.wait_for_expiry();
                self.read_all();
                self.granted(waits).expect("there is room by now")
            }
        };
        assert_eq!(Self::place(&held), self.table().place_of(key), "the key has its state there");
        self.states.undo(&held);
        self.wait_for_expiry();
        for place in self.read_all() {
            assert!(self.table().state(place).is_idle(), "a permit or a flag is left: {place:?}");
        }
    }
}

// --- A release, and the beginning of a wait.

/// K16, K17: a request in flight ends while another one begins to wait.
#[test]
fn k17_request_that_begins_to_wait_finds_a_release_or_is_found() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let waits = Waits::new([one_in_flight()]);
        let held = waits.acquire(common(1));
        let other = spawn(&waits, move |waits| waits.release(&held));
        let own = waits.arrive(common(1));
        join([other]);
        waits.assert_granted(own);
    });
}

/// K17: permits are refunded while a request that wants several begins to wait.
#[test]
fn k17_request_that_begins_to_wait_finds_a_refund_or_is_found() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let waits = Waits::new([Setting::common(2, 1)]);
        let held = waits.acquire(common(1));
        let other = spawn(&waits, move |waits| waits.states.undo(&held));
        let own = waits.arrive(common(2));
        join([other]);
        waits.assert_granted(own);
    });
}

/// K17: the release of a permit happens before its grant.
#[test]
fn k17_release_happens_before_the_grant() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let waits = Waits::new([one_in_flight()]);
        let used = Arc::new(UnsafeCell::new(()));
        let held = waits.acquire(common(1));
        let theirs = Arc::clone(&used);
        let other = spawn(&waits, move |waits| {
            theirs.with_mut(|_| {});
            waits.release(&held);
        });
        let own = waits.arrive(common(1));
        if let Some(held) = waits.granted(own) {
            used.with_mut(|_| {});
            waits.release(&held);
        }
        join([other]);
    });
}

// --- An expiry by others.

/// K17: a reading expires a permit while a request begins to wait for it.
#[test]
fn k17_request_that_begins_to_wait_finds_an_expiry_or_is_found() {
    // Less than a unit expires in another way.
    for unit in [1, 2] {
        Model { threads: 2, preemptions: PREEMPTIONS }.check(move || {
            let waits = Waits::new([Setting::common(1, unit)]);
            waits.issue(common(1));
            waits.wait_for_expiry();
            let other = spawn(&waits, |waits| waits.read(waits.table().common()));
            let own = waits.arrive(common(1));
            join([other]);
            waits.assert_granted(own);
        });
    }
}

/// K17: the commit of a request expires permits of before, while another one begins to wait.
#[test]
fn k17_request_that_begins_to_wait_finds_what_a_commit_expires_or_is_found() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let waits = Waits::new([Setting::common(2, 1)]);
        let first = waits.acquire(common(1));
        waits.issue(common(1));
        waits.wait_for_expiry();
        let other = spawn(&waits, move |waits| waits.commit(&first));
        let own = waits.arrive(common(1));
        join([other]);
        let held = waits.granted(own).expect("it is granted its permit");
        waits.states.undo(&held);
    });
}

/// K13, K17: a key is forgotten while a request of it begins to wait.
#[test]
fn k13_k17_request_that_begins_to_wait_is_granted_what_is_forgotten() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let waits = Waits::new([Setting::keys(1, 1)]);
        waits.issue(of(A));
        let other = spawn(&waits, |waits| waits.states.tell(0, waits.table().forget(A)));
        let own = waits.arrive(of(A));
        join([other]);
        let held = waits.granted(own).expect("it is granted its permit");
        waits.states.undo(&held);
    });
}

/// K7, K17: a task that looks for a slot expires the permit of another key, a request of which
/// begins to wait.
#[test]
fn k17_request_that_begins_to_wait_finds_what_a_claim_expires_or_is_found() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let waits = Waits::new([Setting::keys(1, 1)]);
        waits.issue(of(A));
        waits.wait_for_expiry();
        waits.issue(of(FAR));
        let other = spawn(&waits, |waits| waits.decide(of(B)).ok());
        let own = waits.arrive(of(A));
        let of_b = join([other]).pop().flatten();
        let own = waits.granted(own).map(|held| Waits::place(&held));
        // If B has the slot, then A has the overflow.
        assert!(own.is_some() && own != of_b.map(|held| Waits::place(&held)), "{own:?}");
    });
}

// --- Slots and overflows.

/// K1, K17: the slot of a key is claimed for another one while a request begins to wait there.
#[test]
fn k17_request_waits_at_the_slot_of_its_key() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let waits = Waits::new([Setting::keys(1, 1)]);
        waits.issue(of(FAR));
        waits.wait(Duration::from_nanos(TICKS));
        waits.issue(of(A));
        assert!(waits.decide(of(A)).is_err(), "no permit is left");
        let other = spawn(&waits, |waits| {
            waits.wait_for_expiry();
            waits.decide(of(B)).ok()
        });
        let own = waits.queue(of(A), 0);
        join([other]).into_iter().flatten().for_each(|of_b| waits.states.undo(&of_b));
        waits.assert_granted_at_home(A, own);
    });
}

/// K6, K17: an overflow is copied to a slot while a request begins to wait there.
#[test]
fn k17_request_waits_where_its_key_is_after_a_copy() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let waits = Waits::new([Setting::keys(1, 1)]);
        waits.issue(of(C));
        waits.wait(LENGTH);
        waits.issue(of(FAR));
        waits.issue(of(A)); // in the overflow
        assert!(waits.decide(of(A)).is_err(), "no permit is left");
        let other = spawn(&waits, |waits| {
            waits.wait(Duration::from_nanos(TICKS));
            waits.decide(of(A)).ok()
        });
        let own = waits.queue(of(A), 0);
        join([other]).into_iter().flatten().for_each(|of_a| waits.states.undo(&of_a));
        waits.assert_granted_at_home(A, own);
    });
}

/// K16, K17: a request acquires in a slot that was claimed for another key, and undoes it, while a
/// request of that key begins to wait for it.
#[test]
fn k17_request_that_waits_beside_one_in_the_wrong_slot_is_found() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let waits = Waits::new([Setting { max_keys: 1, ..one_in_flight() }]);
        let before = waits.acquire(of(A));
        waits.release(&before);
        let other = spawn(&waits, |waits| waits.arrive(of(A)));
        let own = waits.arrive(of(B));
        // Both may be in the overflow, one after the other.
        let mut arrived = [own].into_iter().chain(join([other])).collect::<Vec<_>>();
        arrived.sort_by_key(|arrived| matches!(arrived, Arrived::Waits(..)));
        for arrived in arrived {
            let held = waits.granted(arrived).expect("no other request is in flight there");
            waits.states.undo(&held);
        }
    });
}

// --- Order.

/// K17: a newcomer decides while a permit is released for a request that waits.
#[test]
fn k17_newcomer_acquires_nothing_that_is_released_for_a_waiter() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let waits = Waits::new([one_in_flight()]);
        let held = waits.acquire(common(1));
        let waiter = waits.arrive(common(1));
        let other = spawn(&waits, move |waits| waits.release(&held));
        assert!(waits.decide(common(1)).is_err(), "it overtakes");
        join([other]);
        waits.assert_granted(waiter);
    });
}

/// K17: a request leaves the queue while a permit is released for it.
#[test]
fn c4_k17_permit_of_a_waiter_that_leaves_is_granted_to_the_next() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let waits = Waits::new([one_in_flight()]);
        let held = waits.acquire(common(1));
        let (first, next) = (waits.arrive(common(1)), waits.arrive(common(1)));
        let other = spawn(&waits, move |waits| waits.release(&held));
        waits.cancel(first);
        join([other]);
        waits.assert_granted(next);
    });
}

/// K17: a request for all permits leaves the queue while a newcomer joins those behind it.
#[test]
fn c4_k17_requests_behind_a_large_one_proceed_when_it_leaves() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let waits = Waits::new([Setting::common(3, 1)]);
        let held = waits.acquire(common(1));
        let (large, next) = (waits.arrive(common(3)), waits.arrive(common(1)));
        let other = spawn(&waits, |waits| waits.arrive(common(1)));
        waits.cancel(large);
        let newcomer = join([other]).pop().expect("a request");
        let granted = [next, newcomer].map(|it| waits.granted(it).expect("there is room"));
        granted.iter().chain([&held]).for_each(|held| waits.states.undo(held));
        assert!(waits.table().state(waits.table().common()).is_idle(), "a permit is lost");
    });
}

/// K17: the last request leaves the queue, and a permit is released, while a newcomer finds the
/// flag.
#[test]
fn c4_k17_newcomer_is_granted_what_is_released_when_the_queue_empties() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let waits = Waits::new([one_in_flight()]);
        let held = waits.acquire(common(1));
        let waiter = waits.arrive(common(1));
        let other = spawn(&waits, |waits| waits.arrive(common(1)));
        waits.cancel(waiter);
        waits.release(&held);
        for newcomer in join([other]) {
            waits.assert_granted(newcomer);
        }
    });
}

// --- Several rules.

/// K3, K17: two requests acquire of two rules while they may wait at either.
#[test]
fn k3_k17_two_rules_admit_one_request_after_the_other() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let waits = Waits::new([one_in_flight(), one_in_flight()]);
        let both = [common(1)[0]; MAX_RULES];
        let other = spawn(&waits, move |waits| waits.arrive(both));
        let own = waits.arrive(both);
        let other = join([other]).pop().expect("a request");
        let (first, second) = match own {
            Arrived::Acquired(held) => (held, other),
            waits @ Arrived::Waits(..) => match other {
                Arrived::Acquired(held) => (held, waits),
                Arrived::Waits(..) => unreachable!("one of them acquires"),
            },
        };
        waits.release(&first);
        waits.assert_granted(second);
    });
}

/// K3, K17: a request that waits for the second rule is refused by the first in its turn.
#[test]
fn k3_k17_waiter_moves_between_rules_while_both_are_released() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let waits = Waits::new([one_in_flight(), one_in_flight()]);
        let [first, second] = [0, 1].map(|rule| {
            let mut wants = [Want::NOTHING; MAX_RULES];
            wants[rule] = common(1)[0];
            wants
        });
        let of_second = waits.acquire(second);
        let waiter = waits.arrive([common(1)[0]; MAX_RULES]);
        let of_first = waits.acquire(first);
        let other = spawn(&waits, move |waits| waits.release(&of_first));
        waits.release(&of_second);
        join([other]);
        waits.assert_granted(waiter);
    });
}
