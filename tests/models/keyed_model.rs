//! The key table under the model checker.
//!
//! A set has one state, so a key has two slots and an overflow. Threads advance the clock. Its
//! readings have no ordering, unless a model asks for [one](TestClock::causal).

use std::time::Duration;

use loom::{cell::UnsafeCell, sync::Arc};

use crate::{
    Model,
    adapter::TestClock,
    join,
    keyed::table::{
        KeyHash, Place, Refused, Table, WhenFull,
        limits::{Ask, Limits, Window},
        shape::{Shape, TICKS},
        state::{Now, State},
    },
    spawn,
    time::{Nanos, Time},
};

pub(crate) const PREEMPTIONS: usize = 2;
/// For models that are small enough.
pub(crate) const DEEP: usize = 3;

/// Keys of one home set.
pub(crate) const A: KeyHash = KeyHash::new(1);
pub(crate) const B: KeyHash = KeyHash::new(2);
pub(crate) const C: KeyHash = KeyHash::new(3);
/// A key of the other home set.
pub(crate) const FAR: KeyHash = KeyHash::new(u64::MAX);
/// A key of the first home set that has no slot.
const NONE: KeyHash = KeyHash::new(4);

/// A request that was issued.
#[derive(Clone, Copy, Debug)]
struct Issue {
    key: KeyHash,
    at: u64,
    cost: u32,
}

struct Keyed {
    table: Table,
    clock: TestClock,
    /// The smallest quota of the first plan, and its window.
    quota: u32,
    length: u64,
}

/// Steps of a window. A tick is a nanosecond.
const STEPS: u32 = 3;
pub(crate) const LENGTH: Duration = Duration::from_nanos(STEPS as u64 * TICKS);

/// A window of `quota` permits, in units of `unit`.
fn shape(quota: u32, unit: u32) -> Shape {
    let mut shape = Shape::new(quota, LENGTH).with_steps(STEPS, LENGTH);
    shape.unit = unit;
    shape
}

/// The parts of a table.
pub(crate) struct Setting {
    pub(crate) max_keys: u32,
    /// Of each window, by plan.
    pub(crate) windows: Vec<Vec<Shape>>,
    pub(crate) in_flight: &'static [u32],
    pub(crate) debt: u64,
    pub(crate) clock: TestClock,
}

impl Setting {
    /// A limit of `quota` permits to each key, and two slots.
    pub(crate) fn keys(quota: u32, unit: u32) -> Self {
        let windows = vec![vec![shape(quota, unit)]];
        Self { max_keys: 1, windows, in_flight: &[], debt: 0, clock: TestClock::new() }
    }

    /// A limit of `quota` permits to requests without a key.
    pub(crate) fn common(quota: u32, unit: u32) -> Self {
        Self { max_keys: 0, ..Self::keys(quota, unit) }
    }

    /// Adds a plan.
    fn plan(mut self, quota: u32, unit: u32) -> Self {
        self.windows[0].push(shape(quota, unit));
        self
    }

    pub(crate) fn table(&self) -> Table {
        let windows = self.windows.iter().map(|shapes| Window { shapes: shapes[..].into() });
        let limits = Limits::new(windows.collect(), self.in_flight.to_vec(), self.debt);
        Table::new(self.max_keys, limits.expect("the counts fit"), WhenFull::Share)
    }

    fn build(self) -> Arc<Keyed> {
        let quota = self.windows.iter().map(|shapes| shapes[0].quota).min().expect("there is one");
        let length = u64::try_from(LENGTH.as_nanos()).expect("it is short");
        Arc::new(Keyed { table: self.table(), clock: self.clock, quota, length })
    }
}

pub(crate) fn ask(cost: u32) -> Ask {
    Ask { plan: 0, cost }
}

impl Keyed {
    fn now(&self) -> Now<'_, TestClock> {
        Now::of(&self.clock)
    }

    fn wait(&self, ticks: u64) {
        self.clock.advance(Duration::from_nanos(ticks));
    }

    /// Waits until the permits that are committed now have expired.
    fn wait_for_expiry(&self) {
        self.wait(self.length + TICKS);
    }

    fn common(&self) -> State<'_> {
        self.table.state(self.table.common())
    }

    fn acquire(&self, key: KeyHash, ask: Ask) -> Option<Place> {
        self.table.acquire(key, ask, &mut self.now()).ok()
    }

    fn acquire_common(&self, ask: Ask) -> Option<Place> {
        let place = self.table.common();
        self.table.acquire_at(place, ask, &mut self.now()).is_ok().then_some(place)
    }

    /// Issues a request on permits that are acquired.
    fn issue_at(&self, key: KeyHash, place: Place, ask: Ask) -> Issue {
        let at = self.clock.now().get();
        self.table.state(place).commit(ask, &mut self.now());
        Issue { key, at, cost: ask.cost }
    }

    fn issue(&self, key: KeyHash, cost: u32) -> Option<Issue> {
        let place = self.acquire(key, ask(cost))?;
        Some(self.issue_at(key, place, ask(cost)))
    }

    /// Issues a request without a key.
    fn issue_common(&self, cost: u32) -> Option<Issue> {
        let place = self.acquire_common(ask(cost))?;
        Some(self.issue_at(A, place, ask(cost)))
    }

    /// Issues as many permits as are left, and asserts that no span of a window has more than the
    /// quota.
    fn assert_bound(&self, key: KeyHash, issued: impl IntoIterator<Item = Issue>) {
        let mut issued: Vec<_> = issued.into_iter().filter(|issue| issue.key == key).collect();
        for cost in (1..=self.quota).rev() {
            let more = if self.table.has_slots() {
                self.issue(key, cost)
            } else {
                self.issue_common(cost)
            };
            if let Some(issue) = more {
                issued.push(issue);
                break;
            }
        }
        for from in &issued {
            let span = from.at..from.at + self.length;
            let inside = issued.iter().filter(|issue| span.contains(&issue.at));
            let total: u32 = inside.map(|issue| issue.cost).sum();
            assert!(total <= self.quota, "{total} from {} on: {issued:?}", from.at);
        }
    }

    /// Asserts that everything expires in the end, and once more after a further request.
    fn assert_whole(&self) {
        let overflow = self.table.has_slots().then(|| self.table.place_of(NONE));
        let places: Vec<_> =
            self.table.slots().chain(overflow).chain([self.table.common()]).collect();
        for _ in 0..2 {
            // What is owed, and what is too young for its unit, expires later.
            for _ in 0..4 {
                self.wait_for_expiry();
            }
            for place in &places {
                self.expire(*place);
                assert!(self.table.state(*place).is_idle(), "a permit is lost: {place:?}");
            }
            for place in &places {
                let acquired = self.table.acquire_at(*place, ask(1), &mut self.now());
                assert_eq!(acquired, Ok(()), "all permits have expired");
                self.table.state(*place).commit(ask(1), &mut self.now());
                let _ = self.table.state(*place).release();
                assert!(!self.table.state(*place).is_idle(), "a permit is dropped: {place:?}");
            }
        }
    }

    /// Expires what has expired, as a look at the state does.
    fn expire(&self, place: Place) {
        self.table.expire(place, &mut self.now());
    }
}

// --- One state.

/// K1: two tasks at the last permit.
#[test]
fn k1_last_permit_is_acquired_by_one_request() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let keyed = Setting::common(2, 1).build();
        let first = keyed.issue_common(1);
        let other = spawn(&keyed, |keyed| keyed.issue_common(1));
        let own = keyed.issue_common(1);
        let other = join([other]).pop().flatten();
        assert_eq!(own.is_some(), other.is_none(), "{own:?} {other:?}");
        keyed.assert_bound(A, first.into_iter().chain(own).chain(other));
        keyed.assert_whole();
    });
}

/// K1: a permit is acquired again only a window after its issue, by a task that has read no time.
#[test]
fn k1_permit_expires_a_window_after_its_issue() {
    // Less than a unit expires in another way.
    for (quota, unit) in [(1, 1), (1, 2)] {
        Model { threads: 2, preemptions: DEEP }.check(move || {
            let keyed = Setting::common(quota, unit).build();
            let all = keyed.quota;
            let first = keyed.issue_common(all);
            let other = spawn(&keyed, move |keyed| keyed.issue_common(all));
            keyed.wait_for_expiry();
            keyed.expire(keyed.table.common());
            let issued = join([other]).into_iter().flatten().chain(first);
            keyed.assert_bound(A, issued);
            keyed.assert_whole();
        });
    }
}

/// K1: two tasks expire the same unit.
#[test]
fn k1_unit_expires_once() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let keyed = Setting::common(2, 1).build();
        keyed.issue_common(2);
        keyed.wait_for_expiry();
        let other = spawn(&keyed, |keyed| keyed.expire(keyed.table.common()));
        let own = keyed.issue_common(2);
        join([other]);
        keyed.assert_bound(A, own);
        keyed.assert_whole();
    });
}

/// K1: a permit is refunded, and acquired again, before the next one.
#[test]
fn k1_refund_happens_before_the_next_acquisition() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let keyed = Setting::common(1, 1).build();
        let holder = Arc::new(UnsafeCell::new(()));
        let hold = |keyed: &Keyed, holder: &UnsafeCell<()>| {
            let is_acquired = keyed.acquire_common(ask(1)).is_some();
            if is_acquired {
                holder.with_mut(|_| {});
            }
            is_acquired
        };
        let theirs = Arc::clone(&holder);
        let other = spawn(&keyed, move |keyed| {
            if hold(keyed, &theirs) {
                let _ = keyed.common().undo(ask(1));
            }
        });
        if hold(&keyed, &holder) {
            let _ = keyed.common().refund(1);
        }
        join([other]);
        keyed.assert_whole();
    });
}

/// K16: one request in flight ends before the next one.
#[test]
fn k16_request_in_flight_ends_before_the_next() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let keyed = Setting { in_flight: &[1], ..Setting::common(2, 1) }.build();
        let in_flight = Arc::new(UnsafeCell::new(()));
        let serve = |keyed: &Keyed, in_flight: &UnsafeCell<()>| {
            let place = keyed.acquire_common(ask(1))?;
            in_flight.with_mut(|_| {});
            let issue = keyed.issue_at(A, place, ask(1));
            in_flight.with_mut(|_| {});
            let _ = keyed.common().release();
            Some(issue)
        };
        let theirs = Arc::clone(&in_flight);
        let other = spawn(&keyed, move |keyed| serve(keyed, &theirs));
        let own = serve(&keyed, &in_flight);
        join([other]);
        assert!(
            own.is_some()
                || keyed.acquire_common(ask(1)).is_some_and(|_| {
                    let _ = keyed.common().undo(ask(1));
                    true
                })
        );
        keyed.assert_whole();
    });
}

// --- Units of several permits.

/// K1: the rest of a unit is old when a commit makes it younger.
#[test]
fn k1_rest_of_a_unit_expires_no_younger_than_a_window() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let keyed = Setting::common(4, 2).build();
        let first = keyed.issue_common(1);
        let place = keyed.acquire_common(ask(1)).expect("more are left");
        keyed.wait_for_expiry();
        let other = spawn(&keyed, |keyed| keyed.expire(keyed.table.common()));
        let own = keyed.issue_at(A, place, ask(1));
        join([other]);
        keyed.assert_bound(A, first.into_iter().chain([own]));
        keyed.assert_whole();
    });
}

/// K1: two commits fill a unit.
#[test]
fn k1_two_commits_fill_one_unit() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let keyed = Setting::common(4, 2).build();
        keyed.issue_common(1);
        let other = spawn(&keyed, |keyed| keyed.issue_common(1));
        let own = keyed.issue_common(1);
        let issued = join([other]).into_iter().flatten().chain(own);
        keyed.wait_for_expiry();
        keyed.assert_bound(A, issued);
        keyed.assert_whole();
    });
}

/// K1: a unit that is filled late is as young as its youngest permit.
#[test]
fn k1_unit_is_as_young_as_its_youngest_permit() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let keyed = Setting::common(4, 2).build();
        let first = keyed.issue_common(1);
        let other = spawn(&keyed, |keyed| {
            let issue = keyed.issue_common(1);
            keyed.wait(keyed.length);
            issue
        });
        keyed.wait(TICKS);
        let own = keyed.issue_common(1);
        let issued = join([other]).into_iter().flatten().chain(own).chain(first);
        keyed.assert_bound(A, issued);
        keyed.assert_whole();
    });
}

/// K9: a plan with a larger quota takes the log over while the old plan fills a unit.
#[test]
fn k9_change_of_plan_keeps_the_permits_of_a_carry() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let keyed = Setting::common(6, 2).plan(9, 3).build();
        let first = keyed.issue_common(3);
        let other = spawn(&keyed, |keyed| keyed.issue_common(1));
        let large = Ask { plan: 1, cost: 1 };
        let place = keyed.acquire_common(large).expect("more are left");
        let own = keyed.issue_at(A, place, large);
        let issued = join([other]).into_iter().flatten().chain([own]).chain(first);
        keyed.assert_bound(A, issued);
        keyed.assert_whole();
    });
}

/// K1, K9: a plan takes the log over by an old reading of the time, while a request of the other
/// plan is issued later in the same step.
#[test]
fn k9_change_of_plan_makes_no_permit_older() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let keyed = Setting::common(4, 2).plan(6, 3).build();
        let first = keyed.issue_common(1);
        let large = Ask { plan: 1, cost: 1 };
        let place = keyed.acquire_common(large).expect("more are left");
        let other = spawn(&keyed, |keyed| {
            keyed.wait(TICKS - 1);
            keyed.issue_common(1)
        });
        let own = keyed.issue_at(A, place, large);
        let issued = join([other]).into_iter().flatten().chain([own]).chain(first);
        keyed.wait(keyed.length - 1);
        keyed.assert_bound(A, issued);
        keyed.assert_whole();
    });
}

/// K8: what is owed enters the log while a permit of before is committed.
#[test]
fn k8_debt_is_logged_once_beside_a_commit() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let keyed = Setting { debt: 3, ..Setting::common(2, 1) }.build();
        let place = keyed.acquire_common(ask(2)).expect("two are left");
        assert_eq!(keyed.common().owe(2), 2);
        keyed.issue_at(A, place, ask(3));
        keyed.wait_for_expiry();
        let other = spawn(&keyed, |keyed| keyed.expire(keyed.table.common()));
        let own = keyed.issue_at(A, place, ask(1));
        join([other]);
        keyed.assert_bound(A, [own]);
        keyed.assert_whole();
    });
}

// --- Slots.

/// K1: two tasks make a slot for one key.
#[test]
fn k1_key_has_one_slot() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let keyed = Setting::keys(1, 1).build();
        let other = spawn(&keyed, |keyed| keyed.issue(A, 1));
        let own = keyed.issue(A, 1);
        let issued = join([other]).into_iter().flatten().chain(own);
        keyed.assert_bound(A, issued);
        keyed.assert_whole();
    });
}

impl Keyed {
    /// Has a live key in one slot, and a key in the other, whose permit has expired.
    fn with_an_expired_key(setting: Setting) -> (Arc<Self>, Issue) {
        let keyed = setting.build();
        let expired = keyed.issue(A, 1).expect("the table is empty");
        keyed.wait_for_expiry();
        keyed.issue(FAR, 1).expect("a slot is idle");
        (keyed, expired)
    }
}

/// K1, K5: a slot is claimed for a key while the key of before acquires in it.
#[test]
fn k1_claimed_slot_is_not_acquired_by_the_key_of_before() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let (keyed, expired) = Keyed::with_an_expired_key(Setting::keys(1, 1));
        let other = spawn(&keyed, |keyed| keyed.issue(B, 1));
        let own = keyed.issue(A, 1);
        let issued: Vec<_> =
            join([other]).into_iter().flatten().chain(own).chain([expired]).collect();
        keyed.assert_bound(A, issued.clone());
        keyed.assert_bound(B, issued);
        keyed.assert_whole();
    });
}

/// K1, K5: the permit of a key expires by the clock of the task that claims its slot.
#[test]
fn k1_key_without_its_slot_is_issued_only_after_a_window() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let keyed = Setting::keys(1, 1).build();
        keyed.issue(FAR, 1).expect("the table is empty");
        keyed.wait(TICKS);
        let first = keyed.issue(A, 1);
        let other = spawn(&keyed, |keyed| {
            keyed.wait_for_expiry();
            keyed.issue(B, 1);
            keyed.issue(C, 1)
        });
        let own = keyed.issue(A, 1);
        let issued = join([other]).into_iter().flatten().chain(own).chain(first);
        keyed.assert_bound(A, issued);
        keyed.assert_whole();
    });
}

/// K1, K6: two keys at one idle slot.
#[test]
fn k6_idle_slot_is_claimed_by_one_key() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let (keyed, _) = Keyed::with_an_expired_key(Setting::keys(1, 1));
        let other = spawn(&keyed, |keyed| keyed.issue(B, 1));
        let own = keyed.issue(C, 1);
        let issued: Vec<_> = join([other]).into_iter().flatten().chain(own).collect();
        assert!(!issued.is_empty(), "one finds the slot");
        keyed.assert_bound(B, issued.clone());
        keyed.assert_bound(C, issued);
        keyed.assert_whole();
    });
}

/// K1, K5: the permit of a key expires, and its slot is claimed by a task that has read no time.
#[test]
fn k1_key_of_an_idle_slot_is_issued_only_after_a_window() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let keyed = Setting::keys(1, 1).build();
        let first = keyed.issue(A, 1);
        keyed.wait(TICKS);
        keyed.issue(FAR, 1).expect("a slot is idle");
        let slot = keyed.table.place_of(A);
        let other = spawn(&keyed, |keyed| {
            keyed.issue(B, 1);
            keyed.issue(A, 1)
        });
        keyed.wait(keyed.length);
        keyed.expire(slot);
        let issued = join([other]).into_iter().flatten().chain(first);
        keyed.assert_bound(A, issued);
        keyed.assert_whole();
    });
}

/// K1, K5: the slot of a key is claimed in vain, by a task that has expired its permits.
#[test]
fn k1_key_of_a_slot_claimed_in_vain_is_issued_only_after_a_window() {
    Model { threads: 2, preemptions: 1 }.check(|| {
        let keyed = Setting::keys(3, 1).build();
        let first = keyed.issue(A, 3);
        keyed.wait(TICKS);
        keyed.issue(FAR, 1).expect("a slot is idle");
        keyed.acquire(B, ask(1)).expect("the overflow is empty");
        let other = spawn(&keyed, |keyed| keyed.issue(A, 1));
        keyed.wait(keyed.length);
        let place = keyed.acquire(B, ask(1));
        let issued = join([other]).into_iter().flatten().chain(first);
        keyed.assert_bound(A, issued);
        let place = place.expect("two are left in the overflow, one of which A may acquire");
        let _ = keyed.table.state(place).undo(ask(2));
        keyed.assert_whole();
    });
}

// --- Overflow.

/// K1, K6: a key acquires in the overflow while a slot is made for it.
#[test]
fn k1_key_acquires_in_its_slot_or_in_the_overflow() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let keyed = Setting::keys(1, 1).build();
        keyed.issue(FAR, 1).expect("the table is empty");
        keyed.wait(TICKS);
        keyed.issue(C, 1).expect("a slot is idle");
        keyed.wait(keyed.length);
        // One reading finds both slots live, the next one does not.
        let other = spawn(&keyed, |keyed| {
            keyed.wait(TICKS);
            keyed.issue(A, 1)
        });
        let own = keyed.issue(A, 1);
        let issued = join([other]).into_iter().flatten().chain(own);
        keyed.assert_bound(A, issued);
        keyed.assert_whole();
    });
}

impl Keyed {
    /// Has two live keys in the slots, one of which expires in a step, and a permit of `key` in
    /// the overflow.
    fn with_a_key_in_the_overflow(setting: Setting, key: KeyHash) -> (Arc<Self>, Issue) {
        let keyed = setting.build();
        keyed.issue(C, 1).expect("the table is empty");
        keyed.wait(keyed.length);
        keyed.issue(FAR, 1).expect("a slot is idle");
        let issue = keyed.issue(key, 1).expect("the overflow is empty");
        assert!(keyed.table.find(key).is_none(), "both slots are live");
        (keyed, issue)
    }
}

/// K1, K6: a key that moves to a slot has there what it acquired in the overflow.
#[test]
fn k1_key_moves_to_a_slot_with_its_permits_of_the_overflow() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let (keyed, first) = Keyed::with_a_key_in_the_overflow(Setting::keys(2, 1), A);
        keyed.wait(TICKS);
        let other = spawn(&keyed, |keyed| keyed.issue(A, 1));
        let own = keyed.issue(A, 1);
        let issued = join([other]).into_iter().flatten().chain(own).chain([first]);
        keyed.assert_bound(A, issued);
        keyed.assert_whole();
    });
}

/// K1, K6: another key commits in the overflow while it is copied.
#[test]
fn k1_copy_of_the_overflow_waits_for_commits() {
    for unit in [1, 2] {
        Model { threads: 2, preemptions: PREEMPTIONS }.check(move || {
            let (keyed, first) = Keyed::with_a_key_in_the_overflow(Setting::keys(4, unit), A);
            let place = keyed.acquire(A, ask(1)).expect("more are left");
            keyed.wait(TICKS);
            let other = spawn(&keyed, move |keyed| keyed.issue_at(A, place, ask(1)));
            let own = keyed.issue(A, 1);
            let issued = join([other]).into_iter().chain(own).chain([first]);
            keyed.assert_bound(A, issued);
            keyed.assert_whole();
        });
    }
}

/// K1, K6: the overflow expires while it is copied, and has the same counter word again.
#[test]
fn k1_copy_of_the_overflow_is_of_one_moment() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let (keyed, first) = Keyed::with_a_key_in_the_overflow(Setting::keys(1, 2), A);
        let (slot, overflow) = (keyed.table.place_of(C), keyed.table.place_of(NONE));
        keyed.wait(TICKS);
        keyed.expire(slot);
        let other = spawn(&keyed, |keyed| keyed.issue(A, 1));
        keyed.wait_for_expiry();
        keyed.expire(overflow);
        let own = keyed.issue(A, 1);
        let issued = join([other]).into_iter().flatten().chain(own).chain([first]);
        keyed.assert_bound(A, issued);
        keyed.assert_whole();
    });
}

/// K1, K6: the overflow expires while a key moves to a slot, by a task that has read no time.
#[test]
fn k1_expired_overflow_is_left_only_after_a_window() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let (keyed, first) = Keyed::with_a_key_in_the_overflow(Setting::keys(1, 1), A);
        let (slot, overflow) = (keyed.table.place_of(C), keyed.table.place_of(NONE));
        keyed.wait(TICKS);
        keyed.expire(slot);
        let other = spawn(&keyed, |keyed| keyed.issue(A, 1));
        keyed.wait_for_expiry();
        keyed.expire(overflow);
        let issued = join([other]).into_iter().flatten().chain([first]);
        keyed.assert_bound(A, issued);
        keyed.assert_whole();
    });
}

/// K1, K3: a key is refunded in the overflow while it moves to a slot.
#[test]
fn k3_refund_in_the_overflow_is_exact() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let (keyed, first) = Keyed::with_a_key_in_the_overflow(Setting::keys(2, 1), A);
        let place = keyed.acquire(A, ask(1)).expect("one is left");
        keyed.wait(TICKS);
        let other = spawn(&keyed, move |keyed| {
            let _ = keyed.table.state(place).undo(ask(1));
        });
        let own = keyed.issue(A, 1);
        join([other]);
        keyed.assert_bound(A, own.into_iter().chain([first]));
        keyed.assert_whole();
    });
}

/// K5: a slot is claimed in vain, because a permit of the overflow is not committed.
#[test]
fn k5_slot_claimed_in_vain_is_left_empty() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let (keyed, _) = Keyed::with_a_key_in_the_overflow(Setting::keys(2, 1), A);
        let place = keyed.acquire(A, ask(1)).expect("one is left");
        keyed.wait(TICKS);
        let other = spawn(&keyed, move |keyed| {
            let _ = keyed.table.state(place).undo(ask(1));
        });
        if let Some(place) = keyed.acquire(A, ask(1)) {
            let _ = keyed.table.state(place).undo(ask(1));
        }
        join([other]);
        keyed.assert_whole();
    });
}

/// K1, K5: a slot with a copy is published while a task expires the log of the key of before, which
/// has the same units.
#[test]
fn k5_copied_units_are_not_taken_for_those_of_the_key_of_before() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let setting = Setting { clock: TestClock::causal(), ..Setting::keys(1, 1) };
        let keyed = setting.build();
        keyed.issue(FAR, 1).expect("the table is empty");
        keyed.issue(C, 1).expect("a slot is idle");
        let first = keyed.issue(A, 1).expect("the overflow is empty");
        let slot = keyed.table.place_of(C);
        let other = spawn(&keyed, move |keyed| {
            keyed.wait_for_expiry();
            keyed.expire(slot);
        });
        let mut now = keyed.now();
        now.get();
        let _ = keyed.table.forget(C);
        let own = keyed.table.acquire(A, ask(1), &mut now).ok();
        let own = own.map(|place| keyed.issue_at(A, place, ask(1)));
        join([other]);
        keyed.assert_bound(A, own.into_iter().chain([first]));
        keyed.assert_whole();
    });
}

// --- Forgetting.

/// K5, K13: a key is forgotten while its slot is claimed for another one, with permits.
#[test]
fn k5_forgotten_key_leaves_the_permits_of_the_next_one() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let (keyed, first) = Keyed::with_a_key_in_the_overflow(Setting::keys(1, 1), A);
        keyed.wait(TICKS);
        let other = spawn(&keyed, |keyed| keyed.table.forget(C));
        let own = keyed.issue(A, 1);
        join([other]);
        keyed.assert_bound(A, own.into_iter().chain([first]));
        keyed.assert_whole();
    });
}

/// K13: a key is forgotten while a permit of it is committed.
#[test]
fn k13_forget_leaves_what_is_committed_later() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let keyed = Setting::keys(4, 2).build();
        keyed.issue(A, 3);
        let place = keyed.acquire(A, ask(1)).expect("more are left");
        let other = spawn(&keyed, |keyed| keyed.table.forget(A));
        keyed.issue_at(A, place, ask(1));
        join([other]);
        keyed.assert_bound(A, []);
        keyed.assert_whole();
    });
}

/// K13: a key is forgotten while its permits expire.
#[test]
fn k13_forgotten_permits_are_released_once() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let keyed = Setting::keys(4, 2).build();
        keyed.issue(A, 3);
        keyed.wait_for_expiry();
        let place = keyed.table.place_of(A);
        let other = spawn(&keyed, |keyed| keyed.table.forget(A));
        keyed.expire(place);
        join([other]);
        keyed.assert_bound(A, []);
        keyed.assert_whole();
    });
}

// --- Pauses.

impl Keyed {
    /// Allocates the ends of pauses, which the threads share from then on.
    fn allocate_ends(&self) {
        self.table.pause(None, Nanos::new(u64::MAX), &mut self.now());
        self.table.resume(None);
    }

    fn pause(&self, key: KeyHash, until: u64) {
        let paused = self.table.pause(Some(key), Nanos::new(until), &mut self.now());
        assert!(paused.is_some(), "a slot is idle, or that of the key");
    }

    fn refused(&self, key: KeyHash) -> Option<Refused> {
        let acquired = self.table.acquire(key, ask(1), &mut self.now());
        acquired.map(|place| self.table.state(place).undo(ask(1))).err()
    }

    /// Asserts that the key is paused until `until`, and not after.
    fn assert_paused_until(&self, key: KeyHash, until: u64) {
        let place = self.table.place_of(key);
        let paused = self.table.paused_until(place, &mut self.now());
        assert_eq!(paused, Some(Nanos::new(until)));
        assert_eq!(self.refused(key), Some(Refused::Paused(place)));
        self.clock.set(Nanos::new(until));
        assert_eq!(self.refused(key), None);
        assert!(!self.table.state(place).is_paused());
    }
}

/// K21: a key is paused while a request of it acquires, and another task waits for the end.
#[test]
fn k21_pause_refuses_all_later_requests() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let keyed = Setting::keys(2, 1).build();
        keyed.allocate_ends();
        keyed.issue(A, 1).expect("the table is empty");
        let other = spawn(&keyed, |keyed| keyed.refused(A));
        keyed.pause(A, 5);
        let place = keyed.table.place_of(A);
        assert_eq!(keyed.refused(A), Some(Refused::Paused(place)));
        let other = join([other]).pop().expect("it has an outcome");
        let is_known = matches!(other, None | Some(Refused::Paused(_) | Refused::Stalled));
        assert!(is_known, "{other:?}");
        keyed.assert_paused_until(A, 5);
        keyed.assert_whole();
    });
}

/// K21: a longer pause begins while a request ends the one of before.
#[test]
fn k21_end_of_a_pause_ends_no_later_one() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let keyed = Setting::common(2, 1).build();
        keyed.allocate_ends();
        let pause = |keyed: &Keyed, until| {
            keyed.table.pause(None, Nanos::new(until), &mut keyed.now());
        };
        let place = keyed.table.common();
        pause(&keyed, 5);
        keyed.wait(5);
        let other = spawn(&keyed, |keyed| {
            keyed.acquire_common(ask(1)).map(|_| {
                let _ = keyed.common().undo(ask(1));
            })
        });
        pause(&keyed, 9);
        let acquired = keyed.table.acquire_at(place, ask(1), &mut keyed.now());
        assert_eq!(acquired, Err(Refused::Paused(place)));
        join([other]);
        assert_eq!(keyed.table.paused_until(place, &mut keyed.now()), Some(Nanos::new(9)));
        assert!(keyed.common().is_paused());
        keyed.wait(4);
        assert_eq!(keyed.table.paused_until(place, &mut keyed.now()), None);
        keyed.assert_whole();
    });
}

/// K21: of two pauses at once, the longer one holds.
#[test]
fn k21_pause_moves_only_forward() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let keyed = Setting::common(2, 1).build();
        keyed.allocate_ends();
        let pause = |keyed: &Keyed, until| {
            keyed.table.pause(None, Nanos::new(until), &mut keyed.now());
        };
        let place = keyed.table.common();
        let other = spawn(&keyed, move |keyed| pause(keyed, 9));
        pause(&keyed, 5);
        join([other]);
        assert_eq!(keyed.table.paused_until(place, &mut keyed.now()), Some(Nanos::new(9)));
        keyed.wait(9);
        assert_eq!(keyed.table.paused_until(place, &mut keyed.now()), None);
        keyed.assert_whole();
    });
}

/// K5, K21: a slot is claimed for another key while the key of before is paused in it.
#[test]
fn k21_pause_is_that_of_its_key_beside_a_claim_of_the_slot() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let (keyed, _) = Keyed::with_an_expired_key(Setting::keys(1, 1));
        keyed.allocate_ends();
        let other = spawn(&keyed, |keyed| keyed.issue(B, 1));
        let paused = keyed.table.pause(Some(A), Nanos::new(1_000), &mut keyed.now());
        let issued = join([other]).pop().flatten();
        // One finds the slot.
        match (paused, issued) {
            (Some(place), issued) => {
                assert_eq!(keyed.table.find(A), Some(place));
                assert_eq!(keyed.refused(A), Some(Refused::Paused(place)));
                assert_eq!(issued.map(|_| keyed.table.find(B)), issued.map(|_| None));
            }
            (None, _) => {
                let slots = keyed.table.slots();
                let is_paused = |place| keyed.table.state(place).is_paused();
                assert_eq!(slots.filter(|place| is_paused(*place)).count(), 0);
            }
        }
        keyed.wait(1_000);
        keyed.assert_whole();
    });
}

/// K5, K21: a slot whose pause has ended is claimed while its key is paused again.
#[test]
fn k21_slot_of_a_key_that_is_paused_again_is_not_claimed() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let keyed = Setting::keys(1, 1).build();
        keyed.allocate_ends();
        keyed.issue(FAR, 1).expect("the table is empty");
        keyed.pause(A, 1);
        keyed.wait(1);
        let other = spawn(&keyed, |keyed| keyed.refused(B));
        let paused = keyed.table.pause(Some(A), Nanos::new(1_000), &mut keyed.now());
        join([other]);
        if let Some(place) = paused {
            assert_eq!(keyed.table.find(A), Some(place));
            assert_eq!(keyed.refused(A), Some(Refused::Paused(place)));
        }
        keyed.wait(1_000);
        keyed.assert_whole();
    });
}

/// K21: a resume happens before the request that it admits.
#[test]
fn k21_resume_happens_before_the_next_acquisition() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let keyed = Setting::common(1, 1).build();
        keyed.allocate_ends();
        let place = keyed.table.common();
        let written = Arc::new(UnsafeCell::new(()));
        keyed.table.pause(None, Nanos::new(5), &mut keyed.now());
        let theirs = Arc::clone(&written);
        let other = spawn(&keyed, move |keyed| {
            theirs.with_mut(|_| {});
            assert!(keyed.table.resume(None).is_some(), "it was paused");
        });
        if keyed.table.acquire_at(place, ask(1), &mut keyed.now()).is_ok() {
            written.with(|_| {});
            let _ = keyed.common().undo(ask(1));
        }
        join([other]);
        assert!(!keyed.common().is_paused());
        keyed.assert_whole();
    });
}

/// K21: a key is resumed while its pause is prolonged, or its slot is that of another key.
#[test]
fn k21_resume_ends_a_pause_as_a_whole() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let keyed = Setting::common(2, 1).build();
        keyed.allocate_ends();
        let place = keyed.table.common();
        keyed.table.pause(None, Nanos::new(5), &mut keyed.now());
        let other = spawn(&keyed, |keyed| keyed.table.resume(None).map(|(_, until, _)| until));
        keyed.table.pause(None, Nanos::new(9), &mut keyed.now());
        let resumed = join([other]).pop().flatten().expect("it was paused");
        let until = keyed.table.paused_until(place, &mut keyed.now());
        let expected = if resumed == Nanos::new(5) { Some(Nanos::new(9)) } else { None };
        assert_eq!(until, expected, "{resumed:?}");
        assert_eq!(keyed.common().is_paused(), expected.is_some());
        keyed.wait(9);
        assert_eq!(keyed.table.paused_until(place, &mut keyed.now()), None);
        keyed.assert_whole();
    });
}

// --- Two windows.

/// K1, K3: a reading of the time is shared by two windows, of which another task advances one.
#[test]
fn k3_two_windows_share_a_reading() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let mut setting = Setting::common(3, 1);
        setting.windows.push(vec![shape(2, 1)]);
        let keyed = setting.build();
        let other = spawn(&keyed, |keyed| {
            keyed.wait_for_expiry();
            keyed.issue_common(1)
        });
        let own = keyed.issue_common(1);
        let issued = join([other]).into_iter().flatten().chain(own);
        keyed.assert_bound(A, issued);
        keyed.assert_whole();
    });
}
