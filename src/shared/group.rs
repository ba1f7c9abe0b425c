//! CORE: the quotas of a process that share one driver, and their news for it.
//!
//! # Races
//!
//! - *A request queues while the driver ends.* Behind the lock, the driver finds the news and goes
//!   on, or the request finds no driver and spawns one.
//! - *A request queues while the driver takes the news.* Behind the lock, its limiter is taken with
//!   them, and the driver looks at it after that, or it is listed anew.
//! - *A driver is gone, and a request spawns another while the news are taken.* The limiters of
//!   these news are abandoned, so the request arrives again.
//!
//! # Memory ordering
//!
//! The lock orders the news, and each change before its news. Pools that run low are told of
//! without a lock, by a flag of the limiter and then one of the group, each set by a Release and
//! cleared by an Acquire. Of two limiters, one after the other sets that of the group. It is a
//! read-modify-write each time, so that a driver that clears the flag finds those of both limiters.

use std::{
    mem,
    sync::Arc,
    task::{Poll, Waker},
};

use super::limiter::SharedLimiter;
use crate::{
    sync::{
        AtomicBool, AtomicWaker, Mutex,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::Clock,
};

/// The quotas that share one driver: a single one, or a part of those of a key.
///
/// The driver is told of each limiter at which something has changed, and looks at no other one.
/// Whether there is a driver is a state behind the lock of the news. So either the driver that ends
/// finds the news, or the request that brings them finds no driver, and spawns one.
pub(super) struct Group {
    news: Mutex<News>,
    /// The pool of a limiter has [run low](SharedLimiter::take_low). The calls that find a permit
    /// take no lock for it.
    is_low: Flag,
    task: AtomicWaker,
    pub(super) clock: Clock,
}

#[derive(Default)]
struct News {
    /// Each limiter is listed once.
    limiters: Vec<Arc<SharedLimiter>>,
    has_driver: bool,
}

impl Group {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            news: Mutex::new(News::default()),
            is_low: Flag::new(),
            task: AtomicWaker::new(),
            clock,
        }
    }

    /// Tells the driver of a change at `limiter`. Returns true if there is no driver: the caller
    /// spawns one.
    pub(super) fn tell(&self, limiter: &Arc<SharedLimiter>) -> bool {
        let mut news = self.news.lock();
        news.list(limiter);
        let has_driver = mem::replace(&mut news.has_driver, true);
        drop(news);
        self.task.wake();
        !has_driver
    }

    /// Tells the driver of a change at `limiter`, if there is one.
    pub(super) fn notify(&self, limiter: &Arc<SharedLimiter>) {
        let mut news = self.news.lock();
        if news.has_driver {
            news.list(limiter);
            drop(news);
            self.task.wake();
        }
    }

    /// Tells the driver that the pool of a limiter has run low.
    pub(super) fn notify_low(&self) {
        self.is_low.set();
        self.task.wake();
    }

    /// Returns the limiters at which something has changed.
    pub(super) fn take_news(&self) -> Vec<Arc<SharedLimiter>> {
        let mut news = self.news.lock();
        news.limiters.iter().for_each(|limiter| limiter.unlist());
        mem::take(&mut news.limiters)
    }

    /// Returns true if the pool of a limiter has run low.
    pub(super) fn take_low(&self) -> bool {
        self.is_low.take()
    }

    /// Waits for news.
    pub(super) fn poll_news(&self, waker: &Waker) -> Poll<()> {
        self.task.register(waker);
        let has_news = self.is_low.is_set() || !self.news.lock().limiters.is_empty();
        if has_news { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Records that the driver ends, unless there are news.
    pub(super) fn end(&self) -> bool {
        let mut news = self.news.lock();
        news.has_driver = !news.limiters.is_empty();
        !news.has_driver
    }

    /// Records that the driver is gone before its end. Returns the limiters that it was told of.
    pub(super) fn abandon(&self) -> Vec<Arc<SharedLimiter>> {
        self.news.lock().has_driver = false;
        self.take_news()
    }
}

/// Tells of steps before, which are to be looked at after it is taken.
pub(super) struct Flag(AtomicBool);

impl Flag {
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(super) fn set(&self) {
        self.0.swap(true, Release);
    }

    /// A hint.
    fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }

    pub(super) fn take(&self) -> bool {
        self.is_set() && self.0.swap(false, Acquire)
    }
}

impl News {
    fn list(&mut self, limiter: &Arc<SharedLimiter>) {
        if limiter.list() {
            self.limiters.push(Arc::clone(limiter));
        }
    }
}
