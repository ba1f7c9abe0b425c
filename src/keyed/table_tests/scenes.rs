//! Single scenes of a state and of a table.

use std::{cell::Cell, sync::atomic::Ordering::Relaxed, time::Duration};

use super::{Hand, MS, limits};
use crate::{
    keyed::table::{
        KeyHash, Place, Refused, Table, WhenFull,
        limits::{Ask, Limits, Window},
        shape::TICKS,
        state::Now,
    },
    time::{Nanos, Time},
};

const ONE: Ask = Ask { plan: 0, cost: 1 };

fn common_of(limits: Limits) -> Table {
    Table::new(0, limits, WhenFull::Share)
}

/// Acquires and commits at the time of `time`.
fn issue(table: &Table, place: Place, ask: Ask, time: &Hand) {
    assert_eq!(table.acquire_at(place, ask, &mut Now::of(time)), Ok(()));
    table.state(place).commit(ask, &mut Now::of(time));
}

fn window(quotas: &[u32]) -> Window {
    Window::new(quotas, Duration::from_secs(1))
}

fn held(table: &Table, place: Place) -> u64 {
    table.limits().layout.windows()[0].held.get(table.state(place).counts().load(Relaxed))
}

#[test]
fn k11_time_from_a_reading_before_the_last_commit_is_until_that_has_expired() {
    let table = common_of(limits(&[(1, 1_000)]));
    let (place, time) = (table.common(), Hand::at(0));
    let mut early = Now::of(&time);
    early.get();
    time.0.set(50_000 * MS);
    issue(&table, place, ONE, &time);
    let wait = table.state(place).time_until_room(0, ONE, early.get());
    assert!(wait >= Duration::from_secs(51) && wait < Duration::from_millis(51_030), "{wait:?}");
}

#[test]
fn k11_time_of_uncommitted_permits_is_that_of_a_commit_now() {
    let table = common_of(limits(&[(2, 1_000)]));
    let (place, time) = (table.common(), Hand::at(5_000 * MS));
    issue(&table, place, ONE, &time);
    time.0.set(5_001 * MS);
    assert_eq!(table.acquire_at(place, ONE, &mut Now::of(&time)), Ok(()));
    let two = Ask { plan: 0, cost: 2 };
    let wait = table.state(place).time_until_room(0, two, time.now());
    table.state(place).commit(ONE, &mut Now::of(&time));
    let room = 5_001 * MS + wait.as_nanos() as u64;
    let early = Hand::at(room - 1);
    assert!(table.acquire_at(place, two, &mut Now::of(&early)).is_err());
    assert_eq!(table.acquire_at(place, two, &mut Now::of(&Hand::at(room))), Ok(()));
}

#[test]
fn k9_permits_of_a_larger_plan_are_no_debt_of_a_smaller_one() {
    let limits = Limits::new(vec![window(&[10, 10_000])], Vec::new(), 0).unwrap();
    let table = common_of(limits);
    let (place, time) = (table.common(), Hand::at(0));
    let (small, large) = (Ask { plan: 0, cost: 1 }, Ask { plan: 1, cost: 499 });
    // The small one is admitted first, and committed last.
    assert_eq!(table.acquire_at(place, small, &mut Now::of(&time)), Ok(()));
    issue(&table, place, large, &time);
    table.state(place).commit(small, &mut Now::of(&time));
    assert_eq!(held(&table, place), 500);
    // A window and a step later.
    time.0.set(1_050 * MS);
    let ten = Ask { plan: 0, cost: 10 };
    assert_eq!(table.acquire_at(place, ten, &mut Now::of(&time)), Ok(()));
}

/// 50 permits are counted by twos, 49 by threes.
#[test]
fn k9_k11_permits_of_a_plan_with_a_larger_unit_are_no_debt_of_the_largest_quota() {
    let limits = Limits::new(vec![window(&[50, 49])], Vec::new(), 0).unwrap();
    let units = limits.windows[0].shapes.iter().map(|shape| shape.unit).collect::<Vec<_>>();
    assert_eq!(units, [2, 3]);
    let table = common_of(limits);
    let (place, time) = (table.common(), Hand::at(0));
    issue(&table, place, Ask { plan: 1, cost: 2 }, &time);
    let all = Ask { plan: 1, cost: 49 };
    let room = table.state(place).time_until_room(0, all, Nanos::new(0));
    // A window and a step of a fifteenth.
    assert!(room <= Duration::from_millis(1_067), "{room:?}");
    time.0.set(1_067 * MS);
    assert_eq!(table.acquire_at(place, all, &mut Now::of(&time)), Ok(()));
}

#[test]
fn k9_quota_used_by_a_smaller_plan_counts_for_the_larger_one() {
    let limits = Limits::new(vec![window(&[10, 1_000])], Vec::new(), 0).unwrap();
    let table = common_of(limits);
    let (place, time) = (table.common(), Hand::at(0));
    let (small, large) = (Ask { plan: 0, cost: 10 }, Ask { plan: 1, cost: 990 });
    issue(&table, place, small, &time);
    issue(&table, place, large, &time);
    let one = Ask { plan: 1, cost: 1 };
    let full = Err(Refused::Full { place });
    assert_eq!(table.acquire_at(place, one, &mut Now::of(&time)), full);
    assert_eq!(table.state(place).remaining(0, 0), 0);
    time.0.set(1_050 * MS);
    let all = Ask { plan: 1, cost: 1_000 };
    assert_eq!(table.acquire_at(place, all, &mut Now::of(&time)), Ok(()));
}

#[test]
fn k8_debts_and_pins_never_exceed_their_field() {
    for quota in [1, 2, 3, 6, 7, 100, 127, 128] {
        for debt in 0..4 {
            let limits = Limits::new(vec![window(&[quota])], Vec::new(), debt).unwrap();
            let table = common_of(limits);
            let (place, time) = (table.common(), Hand::at(0));
            let state = table.state(place);
            assert_eq!(table.acquire_at(place, ONE, &mut Now::of(&time)), Ok(()));
            let owed = state.owe(u32::MAX);
            assert!(u64::from(owed) + 1 >= u64::from(quota) * (1 + debt), "{quota} {debt}");
            assert_eq!(state.owe(1), 0);
            assert!(state.try_pin(), "{quota} {debt}");
            let layout = &table.limits().layout;
            let (held, unlogged) = (layout.windows()[0].held, layout.windows()[0].unlogged);
            let word = state.counts().load(Relaxed);
            assert_eq!((held.get(word), unlogged.get(word)), (held.max(), 0), "{quota} {debt}");
        }
    }
}

#[test]
fn k8_debt_of_some_quotas_is_paid_by_a_quota_in_each_window() {
    let limits = Limits::new(vec![window(&[20])], Vec::new(), 5).unwrap();
    let table = common_of(limits);
    let (place, time) = (table.common(), Hand::at(0));
    let state = table.state(place);
    assert_eq!(table.acquire_at(place, ONE, &mut Now::of(&time)), Ok(()));
    assert_eq!(state.owe(64), 64);
    state.commit(Ask { plan: 0, cost: 65 }, &mut Now::of(&time));
    // Three quotas and five more: 5 of the last round leave room at the end of the fourth window.
    let mut last = 0;
    for (cost, secs) in [(1, 3), (15, 3), (16, 4), (20, 4)] {
        let ask = Ask { plan: 0, cost };
        let wait = state.time_until_room(0, ask, time.now());
        let range = Duration::from_secs(secs)..Duration::from_millis(secs * 1_000 + 60);
        assert!(range.contains(&wait), "{cost}: {wait:?}");
        last = wait.as_nanos() as u64;
    }
    time.0.set(last);
    while state.expire(&mut Now::of(&time)) {}
    assert!(state.is_idle());
}

#[test]
fn k11_rest_of_a_debt_expires_with_its_last_round() {
    let limits = Limits::new(vec![window(&[100])], Vec::new(), 3).unwrap();
    let table = common_of(limits);
    let (place, time) = (table.common(), Hand::at(0));
    let state = table.state(place);
    assert_eq!(table.acquire_at(place, ONE, &mut Now::of(&time)), Ok(()));
    assert_eq!(state.owe(202), 202);
    // A quota in the log, a quota owed, and less than a unit.
    state.commit(Ask { plan: 0, cost: 203 }, &mut Now::of(&time));
    let all = Ask { plan: 0, cost: 100 };
    let wait = state.time_until_room(0, all, time.now());
    assert!(wait < Duration::from_millis(2_060), "{wait:?}");
    time.0.set(wait.as_nanos() as u64 - 1);
    assert_eq!(table.acquire_at(place, all, &mut Now::of(&time)), Err(Refused::Full { place }));
    time.0.set(wait.as_nanos() as u64);
    assert_eq!(table.acquire_at(place, all, &mut Now::of(&time)), Ok(()));
}

#[test]
fn k5_slot_with_a_request_in_flight_is_never_claimed() {
    let limits = Limits::new(vec![window(&[1])], vec![1], 0).unwrap();
    let table = Table::new(1, limits, WhenFull::Share);
    let time = Hand::at(0);
    let key = |key: u64| KeyHash::new(key.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let in_flight = table.acquire(key(1), ONE, &mut Now::of(&time)).unwrap();
    table.state(in_flight).commit(ONE, &mut Now::of(&time));
    let mut claimed = 0;
    for round in 1..50 {
        time.0.set(2_000 * MS * round);
        for other in 3..40 {
            if let Ok(place) = table.acquire(key(other * round), ONE, &mut Now::of(&time)) {
                table.state(place).commit(ONE, &mut Now::of(&time));
                let _ = table.state(place).release();
                assert!(place != in_flight);
                claimed += 1;
            }
        }
    }
    assert!(claimed > 500, "{claimed}");
    assert_eq!(table.find(key(1)), Some(in_flight));
    assert_eq!(table.acquire(key(1), ONE, &mut Now::of(&time)), Err(Refused::Busy(in_flight)));
}

#[test]
fn k13_forget_of_a_key_clears_its_committed_permits_and_no_other() {
    let table = Table::new(100, limits(&[(10, 1_000), (100, 10_000)]), WhenFull::Share);
    let time = Hand::at(0);
    let [a, b, never] = [1 << 60, 2 << 60, 3 << 60].map(KeyHash::new);
    let places = [a, b].map(|key| {
        let place = table.acquire(key, Ask { plan: 0, cost: 7 }, &mut Now::of(&time)).unwrap();
        table.state(place).commit(Ask { plan: 0, cost: 7 }, &mut Now::of(&time));
        assert_eq!(table.acquire(key, ONE, &mut Now::of(&time)), Ok(place));
        place
    });
    let _ = table.forget(a);
    let _ = table.forget(never);
    assert_eq!(table.find(never), None);
    // One is not committed.
    for (place, left) in [(places[0], [9, 99]), (places[1], [2, 92])] {
        let remaining = |at| table.state(place).remaining(at, 0);
        assert_eq!([0, 1].map(remaining), left);
    }
}

/// A clock that lets another task go on after each reading.
struct Stalling<'a>(&'a Hand, &'a dyn Fn());

impl Time for Stalling<'_> {
    fn now(&self) -> Nanos {
        let now = self.0.now();
        self.1();
        now
    }
}

#[test]
fn k9_plan_that_takes_over_with_an_early_reading_expires_no_permit_early() {
    let limits = Limits::new(vec![window(&[600, 1_000])], Vec::new(), 0).unwrap();
    let table = common_of(limits);
    let (place, time) = (table.common(), Hand::at(0));
    let tick = table.limits().windows[0].shapes[0].ticks(1);
    issue(&table, place, ONE, &time);
    // Near the end of the step of that one, which need not change for the next.
    let late = TICKS * tick - 1;
    let once = Cell::new(true);
    let other = || {
        if once.take() {
            time.0.set(late);
            issue(&table, place, ONE, &time);
        }
    };
    let large = Ask { plan: 1, cost: 1 };
    assert_eq!(table.acquire_at(place, large, &mut Now::of(&time)), Ok(()));
    table.state(place).commit(large, &mut Now::of(&Stalling(&time, &other)));
    assert!(!once.get());
    time.0.set(late + 1_000 * MS - 1);
    while table.state(place).expire(&mut Now::of(&time)) {}
    assert!(held(&table, place) >= 1);
}

#[test]
fn k13_forget_inside_of_a_commit_keeps_the_counts_exact() {
    for quota in [5, 50] {
        let table = common_of(limits(&[(quota, 1_000), (100, 2_000)]));
        let (place, time) = (table.common(), Hand::at(0));
        let forget = || {
            if table.state(place).try_pin() {
                table.state(place).forget();
                let _ = table.state(place).refund(1);
            }
        };
        let stalling = Stalling(&time, &forget);
        for step in 0..200 {
            let ask = Ask { plan: 0, cost: 1 + step % 3 };
            assert_eq!(table.acquire_at(place, ask, &mut Now::of(&stalling)), Ok(()));
            table.state(place).commit(ask, &mut Now::of(&stalling));
            time.0.set(time.0.get() + 7 * MS);
        }
        time.0.set(10_000 * MS);
        while table.state(place).expire(&mut Now::of(&time)) {}
        assert!(table.state(place).is_idle());
    }
}
