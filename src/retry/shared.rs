//! Settings that the clones of a policy share behind one reference.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{RetryBudget, Waits};
use crate::arc_cache::{self, arc_cache};

/// The settings that are too rare to be copied for every request.
#[derive(Clone, Debug)]
pub struct Shared {
    pub(super) max_elapsed: Option<Duration>,
    pub(super) random: Random,
    pub(super) budget: Option<RetryBudget>,
    /// Take the place of the backoff. A user's function in them is `Copy`, so it has no drop.
    pub(super) waits: Option<Waits>,
}

arc_cache!(Shared);

impl Shared {
    const DEFAULT: Self =
        Self { max_elapsed: None, random: Random::OfThread, budget: None, waits: None };
}

/// A reference to the shared settings, or `None` while all of them have their defaults.
///
/// Each thread [caches](crate::arc_cache) its last reference for the next request. So nothing of a
/// user's is among the settings, whose drop may be delayed: the hook is a field of the policy.
///
/// The work is out of line, which keeps the code short for policies without a reference.
pub(super) struct SharedRef(pub(super) Option<Arc<Shared>>);

impl SharedRef {
    /// Returns the settings.
    pub(super) fn get(&self) -> &Shared {
        static DEFAULT: Shared = Shared::DEFAULT;
        self.0.as_deref().unwrap_or(&DEFAULT)
    }
}

impl Clone for SharedRef {
    #[inline]
    fn clone(&self) -> Self {
        #[inline(never)]
        fn another(shared: &Arc<Shared>) -> Arc<Shared> {
            arc_cache::clone_cached(shared)
        }
        Self(self.0.as_ref().map(another))
    }
}

impl Drop for SharedRef {
    #[inline]
    fn drop(&mut self) {
        #[inline(never)]
        fn release(shared: Arc<Shared>) {
            arc_cache::drop_cached(shared);
        }
        if let Some(shared) = self.0.take() {
            release(shared);
        }
    }
}

/// The source of jitter.
#[derive(Clone, Debug)]
pub(super) enum Random {
    /// The thread's own generator, seeded by the time and the thread.
    OfThread,
    /// One sequence of seeds for all clones, so that no two requests draw alike.
    ///
    /// Each draw takes the next seed, in one atomic step, for a generator of its own.
    Seeded(Arc<AtomicU64>),
}

impl Random {
    pub(super) fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(AtomicU64::new(seed)))
    }

    pub(super) fn draw(&self, span: RangeInclusive<u64>) -> u64 {
        match self {
            Self::OfThread => fastrand::u64(span),
            // The golden ratio keeps consecutive seeds far apart. Relaxed: the seeds only have to
            // be distinct.
            Self::Seeded(next) => {
                let seed = next.fetch_add(0x9E37_79B9_7F4A_7C15, Relaxed);
                fastrand::Rng::with_seed(seed).u64(span)
            }
        }
    }
}
