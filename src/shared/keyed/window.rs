//! The settings of a quota for each key.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    settings::{InvalidSetting, literal},
    shared::{Away, SharedWindow, Store},
};

/// The keys that are kept, by default.
const KEEP: usize = 10_000;

/// A quota for each key, such as a tenant, that many processes share through a
/// [store](crate::shared::Store): at most `limit` requests of a key in any span of `window`, over
/// all processes.
///
/// Each key has a state of its own in the store, under the name of the quota and a hash of the key
/// (SHA-256, of 128 bits). So keys of any length, and secret ones, are no more than a number there.
/// The value of a key is fed to the hash as [`Key`](crate::keyed::Key) does. The processes of a
/// quota are built by one version of Rust, for processors of one byte order and pointer width: with
/// others, the same key may be another number, with a quota of its own.
///
/// The store has a state of each key that has asked, of about 100 bytes to 4.5 KB, for three to
/// four windows and a minute. The number of keys there is not bounded. Use keys that clients cannot
/// invent, such as a tenant that is authenticated, or put a local [keyed](crate::keyed) limit in
/// front.
#[derive(Clone)]
pub struct SharedKeyedWindow {
    pub(super) quota: SharedWindow,
    pub(super) keep: usize,
}

impl SharedKeyedWindow {
    /// Creates the quotas `name` of a store, and states the behaviour while the store is away.
    ///
    /// # Panics
    ///
    /// As [`SharedWindow::new`] does. The name has up to 160 bytes.
    #[must_use]
    #[track_caller]
    pub fn new(
        store: impl Store,
        name: impl Into<Arc<str>>,
        limit: u32,
        window: Duration,
        away: Away,
    ) -> Self {
        literal(Self::try_new(store, name, limit, window, away))
    }

    /// Creates quotas as [`new`](Self::new) does, for values that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `new` panics.
    pub fn try_new(
        store: impl Store,
        name: impl Into<Arc<str>>,
        limit: u32,
        window: Duration,
        away: Away,
    ) -> Result<Self, InvalidSetting> {
        let quota = SharedWindow::try_new(store, name, limit, window, away)?;
        // The hash of the key comes behind it.
        if quota.name.len() > 160 {
            return Err(InvalidSetting::new("name", quota.name, "a text of 1 to 160 bytes"));
        }
        Ok(Self { quota, keep: KEEP })
    }

    /// Keeps the state of up to about `keys` keys in this process. By default, 10,000.
    ///
    /// A key takes about a kibibyte, from its first request on, and the queue of its requests. Of
    /// more keys, those go that have neither a request nor a lease nor a pause, and with them the
    /// changes of their handles. If all have one, the limit of a further key is made anew for each
    /// request: each asks the store, and its requests are not in one queue. The limit holds all the
    /// same. While the store is away, such a key has no [share](Away::Share): its requests wait, as
    /// those of a [closed](Away::Closed) quota do.
    ///
    /// # Panics
    ///
    /// If `keys` is 0.
    #[must_use]
    #[track_caller]
    pub fn keep(self, keys: usize) -> Self {
        literal(self.try_keep(keys))
    }

    /// Sets the number as [`keep`](Self::keep) does, for a value that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `keep` panics.
    pub fn try_keep(mut self, keys: usize) -> Result<Self, InvalidSetting> {
        if keys == 0 {
            return Err(InvalidSetting::new("keep", keys, "at least 1"));
        }
        self.keep = keys;
        Ok(self)
    }

    /// Waits up to `timeout` for a reply of the store. See [`SharedWindow::store_timeout`].
    ///
    /// # Panics
    ///
    /// If `timeout` is zero or longer than 10 s.
    #[must_use]
    #[track_caller]
    pub fn store_timeout(self, timeout: Duration) -> Self {
        literal(self.try_store_timeout(timeout))
    }

    /// Sets the timeout as [`store_timeout`](Self::store_timeout) does, for a value that may be
    /// invalid.
    ///
    /// # Errors
    ///
    /// Where `store_timeout` panics.
    pub fn try_store_timeout(self, timeout: Duration) -> Result<Self, InvalidSetting> {
        Ok(Self { quota: self.quota.try_store_timeout(timeout)?, ..self })
    }
}

impl fmt::Debug for SharedKeyedWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKeyedWindow")
            .field("quota", &self.quota)
            .field("keep", &self.keep)
            .finish()
    }
}
