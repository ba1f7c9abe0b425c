//! Shared values whose references are kept for the next who needs one.
//!
//! Every call takes a reference to the state it shares with others, and lets go of it when it is done. Counting
//! that is two atomic steps on memory that all processors write to: as many again as the decision to admit
//! takes. So a thread that lets go of a reference keeps it, and hands it to whoever needs one of the same value
//! next, on the same thread. (The idea is that of deferred reference counting, L. P. Deutsch and D. G. Bobrow,
//! 1976: what goes up soon after it went down need not be counted.)
//!
//! The price: a thread may keep a value alive that nobody uses any more, one of a kind, until it uses
//! another or ends. So only values are shared like this that hold nothing of a user's, whose drop could be
//! waited for.

use std::{cell::Cell, ops::Deref, sync::Arc, thread::LocalKey};

/// A kind of values of which threads keep references.
pub(crate) trait Spare: Sized + 'static {
    /// Those of this thread. Declared by [`spare!`].
    fn kept() -> &'static LocalKey<Kept<Self>>;
}

/// Declares where the threads keep their references to values of a type.
macro_rules! spare {
    ($type:ty) => {
        impl crate::spare::Spare for $type {
            #[inline]
            fn kept() -> &'static std::thread::LocalKey<crate::spare::Kept<Self>> {
                std::thread_local! {
                    static KEPT: crate::spare::Kept<$type> = const { crate::spare::Kept::new() };
                }
                &KEPT
            }
        }
    };
}

pub(crate) use spare;

/// What a thread keeps: a reference, and whose it is, so that others need not take it out to see.
pub(crate) struct Kept<T> {
    address: Cell<usize>,
    spare: Cell<Option<Arc<T>>>,
}

impl<T> Kept<T> {
    pub(crate) const fn new() -> Self {
        Self { address: Cell::new(0), spare: Cell::new(None) }
    }

    #[inline]
    fn take(&self, value: &Arc<T>) -> Option<Arc<T>> {
        if self.address.get() != Arc::as_ptr(value).addr() {
            return None;
        }
        self.address.set(0);
        self.spare.take()
    }

    /// Returns what is to be let go of.
    #[inline]
    fn keep(&self, value: Arc<T>) -> Option<Arc<T>> {
        let address = Arc::as_ptr(&value).addr();
        if self.address.replace(address) == address {
            Some(value)
        } else {
            self.spare.replace(Some(value))
        }
    }
}

/// Another reference: the one that this thread keeps, if it is of this value.
#[inline]
pub(crate) fn another<T: Spare>(value: &Arc<T>) -> Arc<T> {
    // A thread that ends keeps nothing.
    let spare = T::kept().try_with(|kept| kept.take(value)).ok().flatten();
    spare.unwrap_or_else(|| Arc::clone(value))
}

/// Lets go of a reference, which this thread keeps for the next. Out of line: what drops something is everywhere.
#[inline(never)]
pub(crate) fn keep<T: Spare>(value: Arc<T>) {
    let _surplus = T::kept().try_with(|kept| kept.keep(value));
}

/// A reference to a shared value, like an `Arc`.
pub(crate) struct Shared<T: Spare>(
    /// `None` only while it is dropped.
    Option<Arc<T>>,
);

impl<T: Spare> Shared<T> {
    pub(crate) const fn new(value: Arc<T>) -> Self {
        Self(Some(value))
    }

    #[inline]
    pub(crate) fn arc(&self) -> &Arc<T> {
        self.0.as_ref().expect("not dropped")
    }
}

impl<T: Spare> Clone for Shared<T> {
    #[inline]
    fn clone(&self) -> Self {
        Self::new(another(self.arc()))
    }
}

impl<T: Spare> Drop for Shared<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            keep(value);
        }
    }
}

impl<T: Spare> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.arc()
    }
}

impl<T: Spare + std::fmt::Debug> std::fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.arc().fmt(f)
    }
}
