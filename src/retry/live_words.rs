//! CORE: a few words that are changed together, and read together without a lock.
//!
//! A handle changes several settings in one step, and each request reads all of them once, when it
//! begins. A request must not see a mixture, such as the attempts of one change and the backoff of
//! another.
//!
//! # Protocol
//!
//! A seqlock of one reader step. `version` counts the changes twice: it is odd while one is under
//! way. Changes exclude each other by a lock.
//!
//! | step | does |
//! | --- | --- |
//! | change | locks; makes `version` odd; stores the words; makes `version` even |
//! | read | loads `version`, the words, and `version` again |
//!
//! A read is valid if both loads of `version` return the same even number. If it is not, because a
//! change is under way, then the reader reads under the lock: it neither spins nor reads a second
//! time without the lock, so it waits for one change at most.
//!
//! # Races
//!
//! - If a word is stored between the two loads of `version`, then the second load returns another
//!   number, because the load of the word acquires what its store released: the odd `version`.
//! - If the first load returns the number of a finished change, then all words are of that change
//!   or of a later one, because the load acquires what the last store of the change released.

use crate::sync::{
    AtomicU64, Mutex,
    Ordering::{Acquire, Relaxed, Release},
};

pub(crate) struct LiveWords<const N: usize> {
    version: AtomicU64,
    words: [AtomicU64; N],
    changing: Mutex<()>,
}

impl<const N: usize> LiveWords<N> {
    pub(crate) fn new(words: [u64; N]) -> Self {
        Self {
            version: AtomicU64::new(0),
            words: words.map(AtomicU64::new),
            changing: Mutex::new(()),
        }
    }

    /// Returns the words of one change.
    #[inline]
    pub(crate) fn read(&self) -> [u64; N] {
        self.try_read().unwrap_or_else(|| self.read_locked())
    }

    #[inline]
    fn try_read(&self) -> Option<[u64; N]> {
        // Acquire: the words are no older than this version.
        let version = self.version.load(Acquire);
        let words = self.load();
        // Relaxed: a word of a later change has acquired the odd version before it.
        let is_same = self.version.load(Relaxed) == version;
        (is_same && version % 2 == 0).then_some(words)
    }

    #[cold]
    fn read_locked(&self) -> [u64; N] {
        let _changing = self.changing.lock();
        self.load()
    }

    fn load(&self) -> [u64; N] {
        // Acquire: the odd version that was stored before a word is seen after it.
        std::array::from_fn(|index| self.words[index].load(Acquire))
    }

    /// Changes the words by `change`, which must not change them again.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut [u64; N]) -> R) -> R {
        let _changing = self.changing.lock();
        let mut words = self.load();
        // Before the version is odd: if it panics, nothing has changed.
        let result = change(&mut words);
        // Relaxed: only changes store it, and the lock orders them.
        let version = self.version.load(Relaxed);
        self.version.store(version.wrapping_add(1), Relaxed);
        for (word, value) in self.words.iter().zip(words) {
            // Release: a reader of this value sees the odd version.
            word.store(value, Release);
        }
        // Release: a reader of this version sees all words.
        self.version.store(version.wrapping_add(2), Release);
        result
    }
}
