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
        KeyHash, Place, Table, WhenFull,
        limits::{Ask, Limits, Window},
        state::{Now, State},
    },
    spawn,
    time::Time,
};

const PREEMPTIONS: usize = 2;
/// For models that are small enough.
const DEEP: usize = 3;

/// Keys of one home set.
const A: KeyHash = KeyHash::new(1);
const B: KeyHash = KeyHash::new(2);
const C: KeyHash = KeyHash::new(3);
/// A key of the other home set.
const FAR: KeyHash = KeyHash::new(u64::MAX);
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
    /// The quota of the first plan, and its window.
    quota: u32,
    length: u64,
}

/// Returns the steps of a window of `quota`, as in `Shape`.
const fn steps(quota: u32) -> u64 {
    (40 - quota / quota.div_ceil(20)) as u64
}

/// Permits of the plans, and the clock of a table.
struct Setting {
    max_keys: u32,
    quotas: &'static [u32],
    in_flight: &'static [u32],
    debt: u64,
    clock: TestClock,
}

impl Setting {
    /// A limit of `quotas`, and two slots.
    fn keys(quotas: &'static [u32]) -> Self {
        Self { max_keys: 1, quotas, in_flight: &[], debt: 0, clock: TestClock::new() }
    }

    /// A limit of `quotas` for requests without a key.
    fn common(quotas: &'static [u32]) -> Self {
        Self { max_keys: 0, ..Self::keys(quotas) }
    }

    fn build(self) -> Arc<Keyed> {
        let quota = self.quotas[0];
        // A tick is a nanosecond.
        let length = steps(quota) * 4;
        let window = Window::new(self.quotas, Duration::from_nanos(length));
        let limits = Limits::new(vec![window], self.in_flight.to_vec(), self.debt);
        let limits = limits.expect("the counts fit");
        let table = Table::new(self.max_keys, limits, WhenFull::Share);
        Arc::new(Keyed { table, clock: self.clock, quota, length })
    }
}

fn ask(cost: u32) -> Ask {
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
        self.wait(self.length + 4);
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
            let more =
                if self.table.has_slots() { self.issue(key, cost) } else { self.issue_common(cost) };
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

    /// Asserts that everything expires in the end.
    fn assert_whole(&self) {
        // What is owed, and what is too young for its unit, expires later.
        for _ in 0..4 {
            self.wait_for_expiry();
        }
        let overflow = self.table.has_slots().then(|| self.table.place_of(NONE));
        for place in self.table.slots().chain(overflow).chain([self.table.common()]) {
            let state = self.table.state(place);
            while state.expire(&mut self.now()) {}
            assert!(state.is_idle(), "a permit is lost: {place:?}");
        }
    }

    /// Expires what has expired, as a look at the state does.
    fn expire(&self, place: Place) {
        while self.table.state(place).expire(&mut self.now()) {}
    }
}

// --- One state.

/// K1: two tasks at the last permit.
#[test]
fn k1_last_permit_is_acquired_by_one_request() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let keyed = Setting::common(&[2]).build();
        let first = keyed.issue_common(1);
        let other = spawn(&keyed, |keyed| keyed.issue_common(1));
        let own = keyed.issue_common(1);
        let other = join([other]).pop().flatten();
        assert_eq!(own.is_some(), other.is_none(), "{own:?} {other:?}");
        keyed.assert_bound(A, first.into_iter().chain(own).chain(other));
        keyed.assert_whole();
    });
}

/// K1: a permit is acquired again only a window after its issue.
#[test]
fn k1_permit_expires_a_window_after_its_issue() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let keyed = Setting::common(&[1]).build();
        let others = [
            spawn(&keyed, |keyed| {
                keyed.wait(keyed.length);
                keyed.wait(4);
                keyed.issue_common(1)
            }),
            spawn(&keyed, |keyed| keyed.issue_common(1)),
        ];
        let own = keyed.issue_common(1);
        let issued = join(others).into_iter().flatten().chain(own);
        keyed.assert_bound(A, issued);
        keyed.assert_whole();
    });
}

/// K1: two tasks expire the same unit.
#[test]
fn k1_unit_expires_once() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let keyed = Setting::common(&[2]).build();
        keyed.issue_common(2);
        keyed.wait_for_expiry();
        let other = spawn(&keyed, |keyed| keyed.expire(keyed.table.common()));
        let own = keyed.issue_common(2);
        assert!(own.is_some(), "all permits have expired");
        join([other]);
        keyed.assert_bound(A, own);
        keyed.assert_whole();
    });
}

/// K1: a permit is refunded, and acquired again, before the next one.
#[test]
fn k1_refund_happens_before_the_next_acquisition() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let keyed = Setting::common(&[1]).build();
        let holder = Arc::new(UnsafeCell::new(()));
        let hold = |keyed: &Keyed, holder: &UnsafeCell<()>| {
            if keyed.acquire_common(ask(1)).is_some() {
                holder.with_mut(|_| {});
                keyed.common().refund(1);
            }
        };
        let theirs = Arc::clone(&holder);
        let other = spawn(&keyed, move |keyed| hold(keyed, &theirs));
        hold(&keyed, &holder);
        join([other]);
        keyed.assert_whole();
    });
}

/// K16: one request in flight ends before the next one.
#[test]
fn k16_request_in_flight_ends_before_the_next() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let keyed = Setting { in_flight: &[1], ..Setting::common(&[2]) }.build();
        let in_flight = Arc::new(UnsafeCell::new(()));
        let serve = |keyed: &Keyed, in_flight: &UnsafeCell<()>| {
            let place = keyed.acquire_common(ask(1))?;
            in_flight.with_mut(|_| {});
            let issue = keyed.issue_at(A, place, ask(1));
            in_flight.with_mut(|_| {});
            keyed.common().release();
            Some(issue)
        };
        let theirs = Arc::clone(&in_flight);
        let other = spawn(&keyed, move |keyed| serve(keyed, &theirs));
        let own = serve(&keyed, &in_flight);
        join([other]);
        assert!(own.is_some() || keyed.acquire_common(ask(1)).is_some_and(|_| {
            keyed.common().undo(ask(1));
            true
        }));
        keyed.assert_whole();
    });
}

// --- Units of several permits.

/// K1: the rest of a unit is old when a commit makes it younger.
#[test]
fn k1_rest_of_a_unit_expires_no_younger_than_a_window() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let keyed = Setting::common(&[21]).build();
        let first = keyed.issue_common(1);
        let place = keyed.acquire_common(ask(1)).expect("20 are left");
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
        let keyed = Setting::common(&[21]).build();
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
        let keyed = Setting::common(&[21]).build();
        let first = keyed.issue_common(1);
        let other = spawn(&keyed, |keyed| {
            let issue = keyed.issue_common(1);
            keyed.wait(keyed.length);
            issue
        });
        keyed.wait(4);
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
        let keyed = Setting::common(&[21, 41]).build();
        let first = keyed.issue_common(3);
        let other = spawn(&keyed, |keyed| keyed.issue_common(1));
        let large = Ask { plan: 1, cost: 1 };
        let place = keyed.acquire_common(large).expect("40 are left");
        let own = keyed.issue_at(A, place, large);
        let issued = join([other]).into_iter().flatten().chain([own]).chain(first);
        keyed.assert_bound(A, issued);
        keyed.assert_whole();
    });
}

/// K8: what is owed enters the log while a permit of before is committed.
#[test]
fn k8_debt_is_logged_once_beside_a_commit() {
    Model { threads: 2, preemptions: DEEP }.check(|| {
        let keyed = Setting { debt: 3, ..Setting::common(&[2]) }.build();
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
        let keyed = Setting::keys(&[1]).build();
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
        let (keyed, expired) = Keyed::with_an_expired_key(Setting::keys(&[1]));
        let other = spawn(&keyed, |keyed| keyed.issue(B, 1));
        let own = keyed.issue(A, 1);
        let other = join([other]).pop().flatten();
        assert!(own.is_some() || other.is_some(), "a slot is idle, and the overflow");
        let issued: Vec<_> = own.into_iter().chain(other).chain([expired]).collect();
        keyed.assert_bound(A, issued.clone());
        keyed.assert_bound(B, issued);
        keyed.assert_whole();
    });
}

/// K1, K5: the permit of a key expires by the clock of the task that claims its slot.
#[test]
fn k1_key_without_its_slot_is_issued_only_after_a_window() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let keyed = Setting::keys(&[1]).build();
        keyed.issue(FAR, 1).expect("the table is empty");
        keyed.wait(4);
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
        let (keyed, _) = Keyed::with_an_expired_key(Setting::keys(&[1]));
        let other = spawn(&keyed, |keyed| keyed.issue(B, 1));
        let own = keyed.issue(C, 1);
        let issued: Vec<_> = join([other]).into_iter().flatten().chain(own).collect();
        assert!(!issued.is_empty(), "one finds the slot");
        keyed.assert_bound(B, issued.clone());
        keyed.assert_bound(C, issued);
        keyed.assert_whole();
    });
}

// --- Overflow.

/// K1, K6: a key acquires in the overflow while a slot is made for it.
#[test]
fn k1_key_acquires_in_its_slot_or_in_the_overflow() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let keyed = Setting::keys(&[1]).build();
        keyed.issue(FAR, 1).expect("the table is empty");
        keyed.wait(4);
        keyed.issue(C, 1).expect("a slot is idle");
        keyed.wait(keyed.length);
        // One reading finds both slots live, the next one does not.
        let other = spawn(&keyed, |keyed| {
            keyed.wait(4);
            keyed.issue(A, 1)
        });
        let own = keyed.issue(A, 1);
        let issued = join([other]).into_iter().flatten().chain(own);
        keyed.assert_bound(A, issued);
        keyed.assert_whole();
    });
}
