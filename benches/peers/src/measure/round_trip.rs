//! The round trip of a cache line between two threads.

use std::{
    hint::{black_box, spin_loop},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use crate::report::stats::median;

const TRIPS: u64 = 500;
const BLOCKS: u64 = 40;

/// Returns the nanoseconds of a round trip: the median, because both threads must be running.
pub(super) fn ping(word: &AtomicU64) -> f64 {
    let from = word.load(Ordering::Acquire);
    let trips = |block: u64| {
        let begin = Instant::now();
        for trip in block * TRIPS..(block + 1) * TRIPS {
            word.store(from + 2 * trip + 1, Ordering::Release);
            wait_for(word, from + 2 * trip + 2);
        }
        begin.elapsed().as_nanos() as f64 / TRIPS as f64
    };
    median(&(0..BLOCKS).map(trips).collect::<Vec<_>>()).unwrap_or_default()
}

/// Answers a [`ping`] of the other thread.
pub(super) fn pong(word: &AtomicU64) {
    let from = word.load(Ordering::Acquire) & !1;
    for trip in 0..TRIPS * BLOCKS {
        wait_for(word, from + 2 * trip + 1);
        word.store(from + 2 * trip + 2, Ordering::Release);
    }
}

/// Yields now and then: on one processor, the other thread may not be running.
fn wait_for(word: &AtomicU64, value: u64) {
    let mut looks = 0_u32;
    while black_box(word.load(Ordering::Acquire)) != value {
        looks += 1;
        if looks % 1_000 == 0 {
            thread::yield_now();
        } else {
            spin_loop();
        }
    }
}
