//! The table against a log of all issues, one request after the other.

use std::{
    cell::Cell,
    collections::{HashMap, VecDeque},
    time::Duration,
};

use super::table::{
    KeyHash, Refused, Table, WhenFull,
    limits::{Ask, Limits, Window},
    state::Now,
};
use crate::time::{Nanos, Time};

struct Hand(Cell<u64>);

impl Time for Hand {
    fn now(&self) -> Nanos {
        Nanos::new(self.0.get())
    }
}

const MS: u64 = 1_000_000;

/// K1, K4, K5, K6: whatever the schedule, no key is issued more than its quota in any span.
#[test]
fn k1_issues_of_each_key_in_any_span_are_bounded() {
    let (mut admitted, mut refused) = (0, 0);
    for seed in 0..400 {
        let mut random = fastrand::Rng::with_seed(seed);
        let quotas = [random.u32(1..60), random.u32(1..300)];
        let lengths = [100 * MS, 1_000 * MS];
        let count = random.usize(1..=2);
        let windows: Vec<_> = (0..count)
            .map(|at| Window::new(&[quotas[at]], Duration::from_nanos(lengths[at])))
            .collect();
        let limits = Limits::new(windows, Vec::new(), 0).unwrap();
        let table = Table::new(random.u32(1..10), limits, WhenFull::Share);
        let time = Hand(Cell::new(0));
        let keys: Vec<_> = (0..random.usize(1..60)).map(|_| KeyHash::new(random.u64(..))).collect();
        let mut issues: HashMap<u64, VecDeque<(u64, u32)>> = HashMap::new();
        for _ in 0..2_000 {
            let step = match random.u32(0..100) {
                0 => random.u64(..3_000 * MS),
                1..10 => random.u64(..60 * MS),
                10..50 => random.u64(..MS),
                _ => 0,
            };
            time.0.set(time.0.get() + step);
            let key = keys[random.usize(..keys.len())];
            let cost = if random.bool() { 1 } else { random.u32(1..=quotas[0].min(5)) };
            let ask = Ask { plan: 0, cost };
            let mut now = Now::of(&time);
            match table.acquire(key, ask, &mut now) {
                Ok(place) if random.u32(..10) == 0 => {
                    table.state(place).undo(ask);
                }
                Ok(place) => {
                    let at = time.0.get() + random.u64(..1000);
                    time.0.set(at + random.u64(..1000));
                    table.state(place).commit(ask, &mut Now::of(&time));
                    admitted += 1;
                    let issued = issues.entry(key.get()).or_default();
                    issued.push_back((at, cost));
                    for window in 0..count {
                        let inside = issued.iter().filter(|(old, _)| old + lengths[window] > at);
                        let total: u32 = inside.map(|(_, cost)| cost).sum();
                        assert!(
                            total <= quotas[window],
                            "seed {seed}: {total} of {}",
                            quotas[window]
                        );
                    }
                    while issued.front().is_some_and(|(old, _)| *old + 1_000 * MS < at) {
                        issued.pop_front();
                    }
                }
                Err(Refused::Full { .. }) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    assert!(admitted > 100_000 && refused > 50_000, "{admitted} {refused}");
}

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

/// K11: a rest that is put back, because a commit has made it younger, fills a unit with that one.
#[test]
fn k11_rest_that_is_put_back_fills_its_unit() {
    let table = common(&[40], 0);
    issue(&table, ask(1), 0);
    acquire(&table, ask(1), 0).unwrap();
    let step = |now: Nanos| commit(&table, ask(1), now.get());
    // The first reading finds the rest old, the second one checks that.
    let hook = Hook { time: Cell::new(EXPIRED), at: 1, readings: Cell::new(0), step };
    table.state(table.common()).expire(&mut Now::of(&hook));
    assert_eq!(acquire(&table, ask(40), 2 * EXPIRED), Ok(()), "a unit has expired");
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
        table.forget(key);
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
