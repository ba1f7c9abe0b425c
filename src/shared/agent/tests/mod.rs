//! The decisions of the agent, and its parts against naive versions.

mod clock_watch;
mod ledger;
mod pace;
mod steps;
mod terms;

use std::{env, time::Duration};

use super::Terms;
use crate::time::Nanos;

/// Returns the number of random schedules of a test: `PROPTEST_CASES`, 64 unless set.
fn cases() -> u64 {
    env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

const SECOND: Duration = Duration::from_secs(1);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn at(time: Duration) -> Nanos {
    Nanos::ZERO.after(time)
}

fn terms(limit: u32, window: Duration) -> Terms {
    Terms { limit, window, max_share: limit, is_strict: false }
}

/// Returns a window of the range that is valid, each magnitude as likely as the others.
fn any_window(random: &mut fastrand::Rng) -> Duration {
    let longest = 30.0 * 24.0 * 3_600.0;
    let seconds = 0.1 * f64::powf(longest / 0.1, random.f64());
    Duration::from_secs_f64(seconds).min(Duration::from_secs_f64(longest))
}

/// Returns a number of up to 64 bits, each length as likely as the others.
fn any_nanos(random: &mut fastrand::Rng) -> u64 {
    random.u64(..) >> random.u32(..64)
}
