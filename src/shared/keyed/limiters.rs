//! The limiters of the keys of a process.

use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt::Write,
    hash::{BuildHasher, BuildHasherDefault, Hasher},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::SharedWindows;
use crate::{
    keyed::Key,
    shared::{
        SharedWindow,
        group::Group,
        limiter::SharedLimiter,
        observed::{Observed, Totals},
    },
    time::{Clock, Nanos, Time},
};

/// Parts of the keys, each behind a lock. Of two calls at a time, few find the same one.
const PARTS: usize = 64;
/// The parts of the keys that share a driver each.
const GROUPS: usize = 16;

/// The limiters of the keys, by a hash of the key with a random seed.
pub(super) struct Limiters {
    windows: SharedWindows,
    hasher: RandomState,
    parts: Box<[RwLock<Part>; PARTS]>,
    groups: [Arc<Group>; GROUPS],
    clock: Clock,
    observed: Arc<Observed>,
}

/// A part of the keys.
#[derive(Default)]
struct Part {
    limiters: HashMap<u64, Arc<SharedLimiter>, BuildHasherDefault<HashedAlready>>,
    /// The counts of the limiters that have gone from the map. Behind its lock, so that a reading
    /// counts each of them once.
    gone: Totals,
}

/// The readings of all keys that are kept, and the counts of those that went, too.
#[derive(Default)]
pub(super) struct Sums {
    pub(super) kept: u64,
    pub(super) queued: u64,
    pub(super) queue_age: Option<Duration>,
    pub(super) pooled: u64,
    pub(super) held: u64,
    pub(super) away: u64,
    pub(super) away_for: Option<Duration>,
    pub(super) totals: Totals,
}

impl Limiters {
    pub(super) fn new(windows: SharedWindows) -> Self {
        let clock = Clock::start();
        Self {
            observed: Arc::new(Observed::of_keys(&windows.quota.name, clock)),
            clock,
            windows,
            hasher: RandomState::new(),
            parts: Box::new(std::array::from_fn(|_| RwLock::default())),
            groups: std::array::from_fn(|_| Arc::new(Group::new(clock))),
        }
    }

    pub(super) const fn windows(&self) -> &SharedWindows {
        &self.windows
    }

    /// Returns the limiter of the key that `feed` feeds to a hasher. `None` if that returns false:
    /// the request has no key.
    #[inline]
    pub(super) fn of_key<Request>(
        &self,
        key: &impl Key<Request>,
        request: &Request,
    ) -> Option<Arc<SharedLimiter>> {
        let mut hasher = self.hasher.build_hasher();
        if !key.hash_key(request, &mut hasher) {
            return None;
        }
        let hash = hasher.finish();
        Some(self.known(hash).unwrap_or_else(|| {
            let mut digest = KeyDigest(Sha256::new());
            key.hash_key(request, &mut digest);
            self.add(hash, &digest.text())
        }))
    }

    /// Returns the limiter of the requests without a key.
    pub(super) fn without_key(&self) -> Arc<SharedLimiter> {
        // No key has this hash, but by a chance of one in 2^64 for each.
        self.known(0).unwrap_or_else(|| self.add(0, "none"))
    }

    /// Returns the limiter of a key value, if it is kept.
    pub(super) fn of_value(&self, key: &impl std::hash::Hash) -> Option<Arc<SharedLimiter>> {
        self.known(self.hasher.hash_one(key))
    }

    /// Returns the number of keys that are kept.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| read(part).limiters.len()).sum()
    }

    pub(super) fn observed(&self) -> &Observed {
        &self.observed
    }

    /// Returns the readings of this moment. A part of the keys is locked at a time, against new
    /// keys only.
    pub(super) fn sums(&self) -> Sums {
        let now = self.clock.now();
        let mut sums = Sums::default();
        for part in &self.parts[..] {
            let part = read(part);
            part.limiters.values().for_each(|limiter| sums.add(limiter, now));
            sums.totals.add(part.gone);
        }
        sums.totals.add(self.observed.gone());
        sums
    }

    #[inline]
    fn known(&self, hash: u64) -> Option<Arc<SharedLimiter>> {
        read(self.part(hash)).limiters.get(&hash).cloned()
    }

    /// Adds the limiter of a key, if there is room.
    #[cold]
    fn add(&self, hash: u64, key: &str) -> Arc<SharedLimiter> {
        let quota = &self.windows.quota;
        let quota = SharedWindow { name: format!("{}:{key}", quota.name).into(), ..quota.clone() };
        let group = &self.groups[(hash >> 32) as usize % GROUPS];
        let (group, observed) = (Arc::clone(group), Arc::clone(&self.observed));
        let made = Arc::new(SharedLimiter::new(quota, group, observed));
        let room = self.windows.keep.div_ceil(PARTS);
        let mut part = self.part(hash).write().unwrap_or_else(PoisonError::into_inner);
        let Part { limiters, gone } = &mut *part;
        if let Some(known) = limiters.get(&hash) {
            return Arc::clone(known);
        }
        let mut idle = Vec::new();
        if limiters.len() >= room {
            // A limiter is idle if only the map has it: no request does, nor a driver, which keeps
            // it while it has leases. Behind the lock, no request finds it anew.
            let now = self.clock.now();
            limiters.retain(|_, limiter| {
                let is_idle =
                    Arc::strong_count(limiter) == 1 && limiter.paused_until(now).is_none();
                if is_idle {
                    gone.add(limiter.last_totals());
                    idle.push(Arc::clone(limiter));
                }
                !is_idle
            });
        }
        if limiters.len() < room {
            limiters.insert(hash, Arc::clone(&made));
        } else {
            made.set_apart();
        }
        drop(part);
        drop(idle); // after the lock
        made
    }

    fn part(&self, hash: u64) -> &RwLock<Part> {
        &self.parts[hash as usize % PARTS]
    }
}

impl Sums {
    fn add(&mut self, limiter: &SharedLimiter, now: Nanos) {
        let away = limiter.outage().as_ref().map(|outage| now.since(outage.since));
        let pool = limiter.pool.view(now);
        let (queued, queue_age) = limiter.queue(&pool, now);
        let mut agent = limiter.agent();
        let (held, fleet) = (agent.mine(now), limiter.fleet(&pool, &agent));
        drop(agent);
        self.kept += 1;
        self.queued += u64::from(queued);
        self.queue_age = self.queue_age.max(queue_age);
        self.pooled += u64::from(pool.permits);
        self.held += held;
        self.away += u64::from(away.is_some());
        self.away_for = self.away_for.max(away);
        self.totals.add(Totals { fleet, rejected: limiter.tally.rejected() });
    }
}

fn read(part: &RwLock<Part>) -> std::sync::RwLockReadGuard<'_, Part> {
    part.read().unwrap_or_else(PoisonError::into_inner)
}

/// Passes a hash on.
#[derive(Default)]
struct HashedAlready(u64);

impl Hasher for HashedAlready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("hashes are numbers")
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// A key as the store sees it. Unlike the hash of the map, it is the same in all processes, and no
/// client can find a key with the number of another.
struct KeyDigest(Sha256);

impl KeyDigest {
    fn text(self) -> String {
        let digest = self.0.finalize();
        digest.iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl Hasher for KeyDigest {
    fn finish(&self) -> u64 {
        unreachable!("the digest is longer")
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}
