//! The counts of the quotas of all keys that no quota has.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{Observed, Totals};
use crate::{
    limiter::{Event, Kind},
    rejected::Rejected,
    shared::SharedKeysSnapshot,
};

pub(super) const KIND: Kind =
    Kind { name: SharedKeysSnapshot::KIND, can_pause: true, has_store: true, has_keys: true };

#[derive(Debug, Default)]
pub(super) struct Keys {
    no_key: AtomicU64,
    /// Of quotas that are gone, and were kept by no map.
    gone: Mutex<Totals>,
}

impl Observed {
    /// The quota is one of many, which have a name and events together.
    pub(in crate::shared) fn is_of_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// Counts a rejection because of a missing key, and passes it on.
    pub(in crate::shared) fn rejected_without_key(&self, rejected: &Rejected) {
        if let Some(keys) = &self.keys {
            keys.no_key.fetch_add(1, Relaxed); // orders nothing
        }
        self.observer.notify(|| Event::Rejected(rejected));
    }

    pub(in crate::shared) fn no_key(&self) -> u64 {
        self.keys.as_ref().map_or(0, |keys| keys.no_key.load(Relaxed))
    }

    /// Adds the counts of a quota that is gone.
    pub(in crate::shared) fn add_gone(&self, totals: Totals) {
        if let Some(keys) = &self.keys {
            keys.gone.lock().unwrap_or_else(PoisonError::into_inner).add(totals);
        }
    }

    pub(in crate::shared) fn gone(&self) -> Totals {
        let gone = |keys: &Keys| *keys.gone.lock().unwrap_or_else(PoisonError::into_inner);
        self.keys.as_deref().map_or_else(Totals::default, gone)
    }
}
