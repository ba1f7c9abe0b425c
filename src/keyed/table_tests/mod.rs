//! The key table against naive versions.

mod counts;
mod flood;
mod log;
mod scenes;
mod schedule;
mod storm;
mod utilization;

use std::{cell::Cell, env, time::Duration};

use super::table::{
    Place, Table,
    limits::{Limits, Window},
};
use crate::time::{Nanos, Time};

const MS: u64 = 1_000_000;

/// A clock that is set by hand.
struct Hand(Cell<u64>);

impl Hand {
    fn at(nanos: u64) -> Self {
        Self(Cell::new(nanos))
    }
}

impl Time for Hand {
    fn now(&self) -> Nanos {
        Nanos::new(self.0.get())
    }
}

/// Returns the number of random schedules of a test: `PROPTEST_CASES`, 64 unless set.
fn cases() -> u64 {
    env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

/// Returns the limits of one plan: quotas, each in a number of milliseconds.
fn limits(windows: &[(u32, u64)]) -> Limits {
    let window = |(quota, ms): &(u32, u64)| Window::new(&[*quota], Duration::from_millis(*ms));
    Limits::new(windows.iter().map(window).collect(), Vec::new(), 0).unwrap()
}

/// Returns true if the state is that of the keys of a set without a slot.
fn is_overflow(table: &Table, place: Place) -> bool {
    table.is_shared(place) && place != table.common()
}
