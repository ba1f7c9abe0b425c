//! Real threads, in real time, on a table of two sets.

use std::{collections::HashMap, hint, sync::Barrier, thread, time::Duration};

use super::{Hand, MS, is_overflow, limits};
use crate::{
    keyed::table::{KeyHash, Place, Refused, Table, WhenFull, limits::Ask, state::Now},
    time::{Clock, Time},
};

const THREADS: u64 = 8;
const KEYS: u64 = 400;
/// Keys that are asked for at a time: more than the slots.
const CROWD: u64 = 28;
const TIME: Duration = Duration::from_millis(1_500);

/// Permits that were issued.
#[derive(Clone, Copy, Debug)]
struct Issue {
    key: u64,
    place: Place,
    /// The last moment before the commit.
    at: u64,
    cost: u32,
}

fn key(key: u64) -> KeyHash {
    KeyHash::new((key + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Sends requests of random keys until the time is over, and returns those that were issued.
fn requests(table: &Table, clock: &Clock, seed: u64) -> Vec<Issue> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut issues = Vec::new();
    loop {
        let before = clock.now().get();
        if before > TIME.as_nanos() as u64 {
            return issues;
        }
        // The crowd changes every 7 ms, so that slots become idle and are claimed.
        let crowd = before / (7 * MS) * (CROWD / 2);
        let number = (crowd + random.u64(..CROWD)) % KEYS;
        let ask = Ask { plan: 0, cost: if random.u32(..4) == 0 { random.u32(1..4) } else { 1 } };
        match table.acquire(key(number), ask, &mut Now::of(clock)) {
            Ok(place) => {
                match random.u32(..20) {
                    0 => thread::yield_now(),
                    1 => (0..random.u32(..2_000)).for_each(|_| hint::spin_loop()),
                    2 => {
                        let _ = table.state(place).undo(ask);
                        continue;
                    }
                    _ => {}
                }
                let at = clock.now().get();
                table.state(place).commit(ask, &mut Now::of(clock));
                issues.push(Issue { key: number, place, at, cost: ask.cost });
            }
            Err(Refused::Full { .. } | Refused::Stalled) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// Returns the most permits that were issued in any half-open span of `length`.
fn most(issues: &[Issue], length: u64) -> u32 {
    let (mut first, mut inside, mut most) = (0, 0, 0);
    for issue in issues {
        inside += issue.cost;
        while issues[first].at + length <= issue.at {
            inside -= issues[first].cost;
            first += 1;
        }
        most = most.max(inside);
    }
    most
}

/// What happened in a storm.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    issues: usize,
    /// Admissions of keys in a slot that they did not have before.
    claims: usize,
    /// ...that came from an overflow less than a window before.
    copies: usize,
    overflowed: usize,
}

/// Runs storms until all that may happen did so many times.
fn storms(windows: &[(u32, u64)]) {
    let mut all = Seen::default();
    for _ in 0..10 {
        let seen = storm(windows);
        all.issues += seen.issues;
        all.claims += seen.claims;
        all.copies += seen.copies;
        all.overflowed += seen.overflowed;
        if all.claims > 200 && all.copies > 10 && all.overflowed > 200 {
            return;
        }
    }
    panic!("{all:?}");
}

fn storm(windows: &[(u32, u64)]) -> Seen {
    let table = Table::new(1, limits(windows), WhenFull::Share);
    let barrier = Barrier::new(THREADS as usize);
    let clock = Clock::start();
    let mut issues: Vec<Issue> = thread::scope(|scope| {
        let spawn = |seed| {
            let (table, clock, barrier) = (&table, &clock, &barrier);
            scope.spawn(move || {
                barrier.wait();
                requests(table, clock, seed)
            })
        };
        let threads: Vec<_> = (0..THREADS).map(spawn).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    issues.sort_by_key(|issue| issue.at);
    let mut of_keys: HashMap<u64, Vec<Issue>> = HashMap::new();
    let mut of_overflows: HashMap<Place, Vec<Issue>> = HashMap::new();
    for issue in &issues {
        of_keys.entry(issue.key).or_default().push(*issue);
        if is_overflow(&table, issue.place) {
            of_overflows.entry(issue.place).or_default().push(*issue);
        }
    }
    // K1, K6: in any span of each window, for each key, and for those that share an overflow.
    for (quota, ms) in windows {
        for (key, list) in &of_keys {
            let most = most(list, ms * MS);
            assert!(most <= *quota, "{most} of {quota} for key {key}");
        }
        for (place, list) in &of_overflows {
            let most = most(list, ms * MS);
            assert!(most <= *quota, "{most} of {quota} at {place:?}");
        }
    }
    // Everything is idle a window and a step after the last commit.
    let longest = windows.iter().map(|(_, ms)| ms * MS).max().unwrap();
    let later = Hand::at(clock.now().get() + 2 * longest);
    let overflows = (0..table.sets).map(|home| table.overflow_of(home));
    for place in table.slots().chain(overflows) {
        let state = table.state(place);
        while state.expire(&mut Now::of(&later)) {}
        assert!(state.is_idle(), "{place:?}");
    }
    let overflowed = of_overflows.values().map(Vec::len).sum();
    let mut seen = Seen { issues: issues.len(), overflowed, ..Seen::default() };
    for list in of_keys.values() {
        for pair in list.windows(2) {
            let (old, new) = (pair[0], pair[1]);
            let is_claimed = old.place != new.place && !is_overflow(&table, new.place);
            let was_shared = is_overflow(&table, old.place) && new.at - old.at < longest;
            seen.claims += usize::from(is_claimed);
            seen.copies += usize::from(is_claimed && was_shared);
        }
    }
    seen
}

#[test]
fn k1_storm_of_claims_and_overflow_never_exceeds_the_quota_of_any_key() {
    storms(&[(5, 5)]);
}

#[test]
fn k3_storm_on_two_windows_never_exceeds_either_quota() {
    storms(&[(7, 3), (45, 40)]);
}
