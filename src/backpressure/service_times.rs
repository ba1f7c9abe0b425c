//! CORE: the 95th percentile of the last times in service.
//!
//! A request with a deadline is admitted if its wait and this time fit into the time that is left.
//! A mean would be too short for half of the requests, and each of those would be served too late.
//!
//! All orderings are `Relaxed`: a time is a number that nothing else depends on. A percentile over
//! a mixture of older and newer times is one of recent times, too.

use std::time::Duration;

use crate::{
    sync::{AtomicU64, Ordering::Relaxed},
    time::nanos,
};

/// The times that are kept.
const KEPT: usize = 128;
/// The percentile is computed once in so many times.
const STRIDE: u64 = 16;

/// The last times in service, in nanoseconds, and their 95th percentile.
pub(crate) struct ServiceTimes {
    /// The number of times that were recorded.
    count: AtomicU64,
    times: [AtomicU64; KEPT],
    p95: AtomicU64,
}

impl ServiceTimes {
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self { count: zero(), times: std::array::from_fn(|_| zero()), p95: zero() }
    }

    /// Returns the 95th percentile; zero with fewer than 16 times.
    pub(crate) fn p95(&self) -> Duration {
        Duration::from_nanos(self.p95.load(Relaxed))
    }

    /// Records the time of a request that was done.
    pub(crate) fn record(&self, time: Duration) {
        let before = self.count.fetch_add(1, Relaxed);
        let index = usize::try_from(before % KEPT as u64).expect("below 128");
        self.times[index].store(nanos(time).max(1), Relaxed);
        if (before + 1) % STRIDE == 0 {
            let known = (before + 1).min(KEPT as u64);
            self.p95.store(self.percentile(usize::try_from(known).expect("at most 128")), Relaxed);
        }
    }

    /// Records the time of a request that was abandoned. It would have taken longer, so a time
    /// below the percentile tells nothing.
    pub(crate) fn record_abandoned(&self, time: Duration) {
        if time > self.p95() {
            self.record(time);
        }
    }

    /// Returns the 95th percentile of the first `known` times, of which there is at least one.
    fn percentile(&self, known: usize) -> u64 {
        let mut times = [0; KEPT];
        for (copy, time) in times.iter_mut().zip(&self.times) {
            *copy = time.load(Relaxed);
        }
        let index = (known * 95).div_ceil(100) - 1;
        *times[..known].select_nth_unstable(index).1
    }
}
