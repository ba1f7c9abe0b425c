//! The keys that a rule rejects most, in bounded memory.
//!
//! The algorithm is *Space-Saving* (A. Metwally, D. Agrawal, A. El Abbadi: *Efficient Computation
//! of Frequent and Top-k Elements in Data Streams*, 2005). A fixed number of counters belongs to
//! keys. The rejection of a key without one takes over the counter with the lowest count, and
//! counts on from there: the new key may have been rejected that often before. So a count is never
//! too low, and the part that was taken over bounds the error.
//!
//! Counts halve once a minute, so that a key that stopped long ago makes room. Lower bounds are
//! rounded down and upper bounds up.
//!
//! # Labels
//!
//! The label of a key is read at its second rejection while it has a counter. A flood of keys that
//! are rejected once each reads and allocates none. A label is foreign code, so it is read without
//! the lock.
//!
//! # The lock
//!
//! A rejection tries the lock a few times, and is *missed* if another thread keeps it: rejections
//! do not wait for each other. Missed ones widen the bounds.

use std::{
    hash::{BuildHasher, RandomState},
    hint,
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{keyed::table::KeyHash, time::Nanos};

/// Counters for each key that is listed.
const COUNTERS: usize = 8;

/// The time in which counts halve.
pub(super) const HALF_LIFE: Duration = Duration::from_secs(60);

/// Attempts to take the lock, within some hundred nanoseconds. It is held for about as long.
const ATTEMPTS: u32 = 16;

/// The longest label, in bytes.
const LONGEST: usize = 200;

/// The counts of the rejections of some keys.
pub(crate) struct Top {
    listed: usize,
    /// Of the numbers that stand for keys.
    ids: RandomState,
    missed: AtomicU64,
    counters: Mutex<Counters>,
}

/// A key that is rejected often.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) key: KeyHash,
    pub(crate) id: u32,
    pub(crate) label: Option<String>,
    pub(crate) plan: usize,
    /// Bounds of its rejections, each of which counts half after a [`HALF_LIFE`].
    pub(crate) at_least: u64,
    pub(crate) at_most: u64,
}

/// As many counters as keys, apart from them so that a search reads little.
struct Counters {
    room: usize,
    keys: Vec<KeyHash>,
    counts: Vec<Count>,
    halved: u64,
}

struct Count {
    at_least: u64,
    at_most: u64,
    plan: usize,
    label: Label,
}

enum Label {
    Unread,
    Absent,
    Text(Box<str>),
}

impl Top {
    /// Creates counters for a list of `listed` keys.
    pub(crate) fn new(listed: u32) -> Self {
        let listed = listed as usize;
        let room = listed * COUNTERS;
        let (keys, counts) = (Vec::with_capacity(room), Vec::with_capacity(room));
        Self {
            listed,
            ids: RandomState::new(),
            missed: AtomicU64::new(0),
            counters: Mutex::new(Counters { room, keys, counts, halved: 0 }),
        }
    }

    /// Counts a rejection of a key. `label` is called if it is not known.
    pub(crate) fn count(
        &self,
        key: KeyHash,
        plan: usize,
        now: Nanos,
        label: impl FnOnce() -> Option<String>,
    ) {
        let Some(mut counters) = self.try_lock() else {
            self.missed.fetch_add(1, Relaxed);
            return;
        };
        self.halve(&mut counters, now);
        let is_unread = counters.count(key, plan);
        drop(counters);
        if is_unread {
            let label = label().map_or(Label::Absent, |text| Label::Text(shortened(&text)));
            // Otherwise at the next rejection.
            if let Some(mut counters) = self.try_lock() {
                counters.set_label(key, label);
            }
        }
    }

    /// Returns the keys with the greatest lower bounds, the greatest first.
    pub(crate) fn list(&self, now: Nanos) -> Vec<Listed> {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        self.halve(&mut counters, now);
        let missed = self.missed.load(Relaxed);
        let mut by_count: Vec<_> = (counters.keys.iter().zip(&counters.counts))
            .filter(|(_, count)| count.at_least > 0)
            .collect();
        by_count.sort_by_key(|(_, count)| std::cmp::Reverse((count.at_least, count.at_most)));
        by_count.truncate(self.listed);
        let listed = |(key, count): (&KeyHash, &Count)| Listed {
            key: *key,
            id: self.ids.hash_one(key) as u32,
            label: if let Label::Text(text) = &count.label { Some((**text).into()) } else { None },
            plan: count.plan,
            at_least: count.at_least,
            at_most: count.at_most + missed,
        };
        by_count.into_iter().map(listed).collect()
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Counters>> {
        for _ in 0..ATTEMPTS {
            match self.counters.try_lock() {
                Ok(counters) => return Some(counters),
                // Only an allocation could have panicked, before a change.
                Err(TryLockError::Poisoned(counters)) => return Some(counters.into_inner()),
                Err(TryLockError::WouldBlock) => hint::spin_loop(),
            }
        }
        None
    }

    /// Halves the counts once for each half-life that has ended.
    fn halve(&self, counters: &mut Counters, now: Nanos) {
        let ended = now.since(Nanos::ZERO).as_nanos() / HALF_LIFE.as_nanos();
        let ended = u64::try_from(ended).unwrap_or(u64::MAX);
        let times = ended.saturating_sub(counters.halved);
        if times == 0 {
            return;
        }
        counters.halved = ended;
        for _ in 0..times.min(64) {
            for Count { at_least, at_most, .. } in &mut counters.counts {
                (*at_least, *at_most) = (*at_least / 2, at_most.div_ceil(2));
            }
            // The rest is rounded up.
            self.missed.fetch_sub(self.missed.load(Relaxed) / 2, Relaxed);
        }
    }
}

impl Counters {
    /// Returns true if the label of the key is to be read.
    fn count(&mut self, key: KeyHash, plan: usize) -> bool {
        let Self { room, keys, counts, .. } = self;
        if let Some(at) = keys.iter().position(|it| *it == key) {
            let count = &mut counts[at];
            count.at_least += 1;
            count.at_most += 1;
            count.plan = plan;
            return matches!(count.label, Label::Unread);
        }
        let first = |before| Count { at_least: 1, at_most: before + 1, plan, label: Label::Unread };
        if keys.len() < *room {
            keys.push(key);
            counts.push(first(0));
        } else if let Some(at) = (0..counts.len()).min_by_key(|at| counts[*at].at_most) {
            keys[at] = key;
            counts[at] = first(counts[at].at_most);
        }
        false
    }

    fn set_label(&mut self, key: KeyHash, label: Label) {
        if let Some(at) = self.keys.iter().position(|it| *it == key) {
            self.counts[at].label = label;
        }
    }
}

/// Returns the text, cut to a bounded length.
fn shortened(text: &str) -> Box<str> {
    if text.len() <= LONGEST {
        return text.into();
    }
    let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end]).into()
}
