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
