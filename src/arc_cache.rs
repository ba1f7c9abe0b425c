//! A thread-local cache of one `Arc` per type.
//!
//! Every call clones a reference to the state that it shares, and drops it at its end. Counting
//! that takes two atomic steps on memory that all processors write to, as many again as the
//! decision to admit. So a thread that drops a reference keeps it, and the next clone of the same
//! value on that thread takes it. The idea is that of deferred reference counting (L. P. Deutsch
//! and D. G. Bobrow, 1976): an increment soon after a decrement cancels out.
//!
//! A thread may keep one value of each type alive that is no longer used, until it uses another or
//! ends. So only values that hold nothing of a user's are cached, but for handles of metrics: their
//! drop may come late.

use std::{cell::Cell, fmt, ops::Deref, sync::Arc, thread::LocalKey};

/// A type of which each thread caches a reference. Implemented by [`arc_cache!`].
pub(crate) trait Cached: Sized + 'static {
    fn slot() -> &'static LocalKey<Slot<Self>>;
}

/// Implements [`Cached`] for a type.
macro_rules! arc_cache {
    ($type:ty) => {
        impl crate::arc_cache::Cached for $type {
            #[inline]
            fn slot() -> &'static std::thread::LocalKey<crate::arc_cache::Slot<Self>> {
                std::thread_local! {
                    static SLOT: crate::arc_cache::Slot<$type> =
                        const { crate::arc_cache::Slot::new() };
                }
                &SLOT
            }
        }
    };
}

pub(crate) use arc_cache;

/// The cache of one thread: a reference, and its address, to compare without taking it out.
pub(crate) struct Slot<T> {
    address: Cell<usize>,
    value: Cell<Option<Arc<T>>>,
}

impl<T> Slot<T> {
    pub(crate) const fn new() -> Self {
        Self { address: Cell::new(0), value: Cell::new(None) }
    }

    #[inline]
    fn take(&self, value: &Arc<T>) -> Option<Arc<T>> {
        if self.address.get() != Arc::as_ptr(value).addr() {
            return None;
        }
        self.address.set(0);
        self.value.take()
    }

    /// Returns the surplus reference, to be dropped.
    #[inline]
    fn put(&self, value: Arc<T>) -> Option<Arc<T>> {
        let address = Arc::as_ptr(&value).addr();
        if self.address.replace(address) == address {
            Some(value)
        } else {
            self.value.replace(Some(value))
        }
    }
}

/// Clones a reference, from the cache of the thread if that has it.
#[inline]
pub(crate) fn clone_cached<T: Cached>(value: &Arc<T>) -> Arc<T> {
    // Without a cache in a thread that ends.
    let cached = T::slot().try_with(|slot| slot.take(value)).ok().flatten();
    cached.unwrap_or_else(|| Arc::clone(value))
}

/// Drops a reference into the cache of the thread.
#[inline(always)]
pub(crate) fn drop_cached<T: Cached>(value: Arc<T>) {
    let _surplus = T::slot().try_with(|slot| slot.put(value));
}

/// A reference like an `Arc`, which is cloned from the cache of the thread and dropped into it.
pub(crate) struct CachedArc<T: Cached>(
    /// `None` only while it is dropped.
    Option<Arc<T>>,
);

impl<T: Cached> CachedArc<T> {
    pub(crate) const fn new(value: Arc<T>) -> Self {
        Self(Some(value))
    }

    #[inline]
    pub(crate) fn arc(&self) -> &Arc<T> {
        self.0.as_ref().expect("not dropped")
    }
}

impl<T: Cached> Clone for CachedArc<T> {
    #[inline]
    fn clone(&self) -> Self {
        Self::new(clone_cached(self.arc()))
    }
}

impl<T: Cached> Drop for CachedArc<T> {
    #[inline]
    fn drop(&mut self) {
        /// Out of line, so that the drop of each service type is short.
        #[inline(never)]
        fn release<T: Cached>(value: Arc<T>) {
            drop_cached(value);
        }
        if let Some(value) = self.0.take() {
            release(value);
        }
    }
}

impl<T: Cached> Deref for CachedArc<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.arc()
    }
}

impl<T: Cached + fmt::Debug> fmt::Debug for CachedArc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.arc().fmt(f)
    }
}
