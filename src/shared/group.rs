//! The quotas of a process that share one driver, and their news for it.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
    task::{Poll, Waker},
};

use futures_util::task::AtomicWaker;

use super::{limiter::SharedLimiter, observed::Reports};
use crate::time::Clock;

/// The quotas that share one driver: a single one, or a part of those of a key.
///
/// The driver is told of each limiter at which something has changed, and looks at no other one.
/// Whether there is a driver is a state behind the lock of the news. So either the driver that ends
/// finds the news, or the request that brings them finds no driver, and spawns one.
pub(super) struct Group {
    news: Mutex<News>,
    /// The pool of a limiter has [run low](SharedLimiter::take_low). The calls that find a permit
    /// take no lock for it. Set by a Release and read by an Acquire: the driver looks at the
    /// limiters next.
    is_low: AtomicBool,
    task: AtomicWaker,
    pub(super) clock: Clock,
    /// Of this group, or of all groups of the keys.
    pub(super) reports: Arc<Reports>,
}

#[derive(Default)]
struct News {
    /// Each limiter is listed once.
    limiters: Vec<Arc<SharedLimiter>>,
    has_driver: bool,
}

impl Group {
    pub(super) fn new(clock: Clock, reports: Arc<Reports>) -> Self {
        Self {
            news: Mutex::default(),
            is_low: AtomicBool::new(false),
            task: AtomicWaker::new(),
            clock,
            reports,
        }
    }

    /// Each step leaves the news whole, whatever panics.
    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the driver of a change at `limiter`. Returns true if there is no driver: the caller
    /// spawns one.
    pub(super) fn tell(&self, limiter: &Arc<SharedLimiter>) -> bool {
        let mut news = self.news();
        news.list(limiter);
        let has_driver = mem::replace(&mut news.has_driver, true);
        drop(news);
        self.task.wake();
        !has_driver
    }

    /// Tells the driver of a change at `limiter`, if there is one.
    pub(super) fn notify(&self, limiter: &Arc<SharedLimiter>) {
        let mut news = self.news();
        if news.has_driver {
            news.list(limiter);
            drop(news);
            self.task.wake();
        }
    }

    /// Tells the driver that the pool of a limiter has run low.
    pub(super) fn notify_low(&self) {
        self.is_low.store(true, Release);
        self.task.wake();
    }

    /// Returns the limiters at which something has changed.
    pub(super) fn take_news(&self) -> Vec<Arc<SharedLimiter>> {
        let limiters = mem::take(&mut self.news().limiters);
        limiters.iter().for_each(|limiter| limiter.unlist());
        limiters
    }

    /// Returns true if the pool of a limiter has run low.
    pub(super) fn take_low(&self) -> bool {
        self.is_low.swap(false, Acquire)
    }

    /// Waits for news.
    pub(super) fn poll_news(&self, waker: &Waker) -> Poll<()> {
        self.task.register(waker);
        let has_news = self.is_low.load(Acquire) || !self.news().limiters.is_empty();
        if has_news { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Records that the driver ends, unless there are news.
    pub(super) fn end(&self) -> bool {
        let mut news = self.news();
        news.has_driver = !news.limiters.is_empty();
        !news.has_driver
    }

    /// Records that the driver is gone before its end. Returns the limiters that it was told of.
    pub(super) fn abandon(&self) -> Vec<Arc<SharedLimiter>> {
        self.news().has_driver = false;
        self.take_news()
    }
}

impl News {
    fn list(&mut self, limiter: &Arc<SharedLimiter>) {
        if limiter.list() {
            self.limiters.push(Arc::clone(limiter));
        }
    }
}
