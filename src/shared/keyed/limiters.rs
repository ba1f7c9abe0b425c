//! The limiters of the keys of a process.

use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt::Write,
    hash::{BuildHasher, BuildHasherDefault, Hasher},
    sync::{Arc, PoisonError, RwLock},
};

use sha2::{Digest, Sha256};

use super::SharedWindows;
use crate::{
    keyed::Key,
    shared::{SharedWindow, group::Group, limiter::SharedLimiter, observed::Reports},
    time::Clock,
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
    reports: Arc<Reports>,
}

type Part = HashMap<u64, Arc<SharedLimiter>, BuildHasherDefault<HashedAlready>>;

impl Limiters {
    pub(super) fn new(windows: SharedWindows) -> Self {
        let clock = Clock::start();
        Self {
            reports: Arc::new(Reports::of_keys(&windows.quota.name, clock)),
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
        self.parts.iter().map(|part| read(part).len()).sum()
    }

    #[inline]
    fn known(&self, hash: u64) -> Option<Arc<SharedLimiter>> {
        read(self.part(hash)).get(&hash).cloned()
    }

    /// Adds the limiter of a key, if there is room.
    #[cold]
    fn add(&self, hash: u64, key: &str) -> Arc<SharedLimiter> {
        let quota = &self.windows.quota;
        let quota = SharedWindow { name: format!("{}:{key}", quota.name).into(), ..quota.clone() };
        let group = &self.groups[(hash >> 32) as usize % GROUPS];
        let (group, reports) = (Arc::clone(group), Arc::clone(&self.reports));
        let made = Arc::new(SharedLimiter::new(quota, group, reports));
        let room = self.windows.keep.div_ceil(PARTS);
        let mut part = self.part(hash).write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = part.get(&hash) {
            return Arc::clone(known);
        }
        let mut idle = Vec::new();
        if part.len() >= room {
            // A limiter is idle if only the map has it: no request does, nor a driver, which keeps
            // it while it has leases. Behind the lock, no request finds it anew.
            part.retain(|_, limiter| {
                let is_idle = Arc::strong_count(limiter) == 1;
                if is_idle {
                    idle.push(Arc::clone(limiter));
                }
                !is_idle
            });
        }
        if part.len() < room {
            part.insert(hash, Arc::clone(&made));
        }
        drop(part);
        drop(idle); // after the lock
        made
    }

    fn part(&self, hash: u64) -> &RwLock<Part> {
        &self.parts[hash as usize % PARTS]
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
