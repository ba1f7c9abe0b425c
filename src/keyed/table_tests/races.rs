//! One task takes a step between two of another.

use std::{cell::Cell, time::Duration};

use super::{
    super::table::{
        KeyHash, Refused, Table, WhenFull,
        limits::{Ask, Limits, Window},
        state::Now,
    },
    Hand, MS,
};
use crate::time::{Nanos, Time};

/// A clock at which another task takes a step at one reading, counted from 0.
struct Hook<F> {
    time: Cell<u64>,
    at: usize,
    readings: Cell<usize>,
    step: F,
}

impl<F: Fn(Nanos)> Time for Hook<F> {
    fn now(&self) -> Nanos {
        let reading = self.readings.replace(self.readings.get() + 1);
        let now = Nanos::new(self.time.get());
        if reading == self.at {
            (self.step)(now);
        }
        now
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// A table for requests without a key.
fn common(quotas: &[u32], debt: u64) -> Table {
    let limits = Limits::new(vec![Window::new(quotas, SECOND)], Vec::new(), debt).unwrap();
    Table::new(0, limits, WhenFull::Share)
}

fn at(time: u64) -> Hand {
    Hand(Cell::new(time))
}

fn acquire(table: &Table, ask: Ask, time: u64) -> Result<(), Refused> {
    table.acquire_at(table.common(), ask, &mut Now::of(&at(time)))
}

fn commit(table: &Table, ask: Ask, time: u64) {
    table.state(table.common()).commit(ask, &mut Now::of(&at(time)));
}

fn issue(table: &Table, ask: Ask, time: u64) {
    acquire(table, ask, time).unwrap();
    commit(table, ask, time);
}

fn ask(cost: u32) -> Ask {
    Ask { plan: 0, cost }
}

/// Later than a window and two steps.
const EXPIRED: u64 = 1_200 * MS;

/// K2: a request is not rejected for permits that another task expires meanwhile.
#[test]
fn k2_request_acquires_what_another_task_expires() {
    let table = common(&[1], 0);
    issue(&table, ask(1), 0);
    let expire = |now: Nanos| {
        let time = at(now.get());
        while table.state(table.common()).expire(&mut Now::of(&time)) {}
    };
    let hook = Hook { time: Cell::new(EXPIRED), at: 0, readings: Cell::new(0), step: expire };
    let acquired = table.acquire_at(table.common(), ask(1), &mut Now::of(&hook));
    assert_eq!(acquired, Ok(()));
}

/// K8, K11: what is owed is put back, because a commit is first, and enters the log beside that
/// one.
#[test]
fn k8_debt_that_is_put_back_enters_the_log() {
    let table = common(&[2], 3);
    acquire(&table, ask(2), 0).unwrap();
    assert_eq!(table.state(table.common()).owe(2), 2);
    commit(&table, ask(3), 0);
    let step = |now: Nanos| commit(&table, ask(1), now.get());
    // The first reading finds the log old, the second one checks that.
    let hook = Hook { time: Cell::new(EXPIRED), at: 1, readings: Cell::new(0), step };
    table.state(table.common()).expire(&mut Now::of(&hook));
    assert_eq!(acquire(&table, ask(2), 2 * EXPIRED), Ok(()), "both have expired");
}

/// K9, K11: a plan with a smaller unit takes over less than a unit of before.
#[test]
fn k9_rest_of_a_larger_plan_expires_with_the_smaller_one() {
    let table = common(&[1_000, 3], 0);
    issue(&table, ask(1), 0);
    issue(&table, Ask { plan: 1, cost: 1 }, 0);
    assert_eq!(acquire(&table, Ask { plan: 1, cost: 3 }, EXPIRED), Ok(()));
}

/// K9: the plans of a window have the same steps, so a stamp is the same time in all of them.
#[test]
fn k9_plans_of_a_window_share_their_steps() {
    let window = Window::new(&[1, 7, 150, 1_000, 1_000_000], SECOND);
    let times = [0, 1, 12_345_678, u64::MAX];
    for shape in &window.shapes {
        assert_eq!(shape.steps, window.shapes[0].steps);
        for time in times.map(Nanos::new) {
            assert_eq!(shape.tick_of(time), window.shapes[0].tick_of(time));
        }
    }
}

/// K8, K13: debt leaves room for the pin of a forgetting task.
#[test]
fn k8_forgotten_debt_of_the_largest_size_is_released() {
    for quota in 1..20 {
        let limits = Limits::new(vec![Window::new(&[quota], SECOND)], Vec::new(), 0).unwrap();
        let table = Table::new(4, limits, WhenFull::Share);
        let (key, time) = (KeyHash::new(1), at(0));
        let place = table.acquire(key, ask(quota), &mut Now::of(&time)).unwrap();
        let owed = table.state(place).owe(1_000);
        table.state(place).commit(ask(quota + owed), &mut Now::of(&time));
        let _ = table.forget(key);
        assert!(table.state(place).is_idle(), "{quota}");
    }
}

/// K11: the time until there is room is that of a reading, even if the log is newer.
#[test]
fn k11_old_reading_gives_no_time_that_is_too_early() {
    let table = common(&[1], 0);
    issue(&table, ask(1), 5 * EXPIRED);
    let state = table.state(table.common());
    for early in [0, 1, 100 * MS] {
        let now = Nanos::new(5 * EXPIRED - early);
        assert!(state.time_until_room(0, ask(1), now) >= SECOND, "{early}");
    }
}
