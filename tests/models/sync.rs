//! The names that `src/sync.rs` takes from `std`, backed by loom, with orderings that can be
//! weakened one site at a time.
//!
//! Each atomic operation of a core is a site: its file, line and column. `cargo xtask orderings`
//! runs the models twice for this:
//!
//! 1. With `MODEL_ORDERINGS=list`, each model prints the sites that it passes and their orderings.
//! 2. With `MODEL_ORDERINGS="FILE:LINE:COLUMN OPERATION STRONG WEAK"`, the operation at that site
//!    runs with the ordering `WEAK` in the place of `STRONG`. At least one model has to fail.
//!
//! A new atomic operation is covered as soon as a model passes it.

use std::{
    collections::HashSet,
    env,
    panic::Location,
    sync::{LazyLock, Mutex as StdMutex},
    task::Waker,
    thread,
};

use loom::sync::MutexGuard;
/// The word of a clock. It belongs to the models, so its operations are no sites.
pub(crate) use loom::sync::atomic::AtomicU64 as ClockWord;
pub(crate) use loom::sync::atomic::Ordering;

/// Unset, `list`, or the site to weaken.
static ASKED: LazyLock<Option<String>> = LazyLock::new(|| env::var("MODEL_ORDERINGS").ok());

/// Printed sites, with the model that passed each.
static LISTED: StdMutex<Option<HashSet<String>>> = StdMutex::new(None);

/// Returns the ordering with which `operation` runs at the caller's site.
#[track_caller]
fn ordering(operation: &str, ordering: Ordering) -> Ordering {
    if let Some(asked) = &*ASKED {
        let site = Location::caller();
        let site = format!("{site} {operation} {ordering:?}");
        if asked == "list" {
            list(&site);
        } else if let Some(weaker) = asked.strip_prefix(&site) {
            return match weaker.trim() {
                "Acquire" => Ordering::Acquire,
                "Release" => Ordering::Release,
                "Relaxed" => Ordering::Relaxed,
                other => panic!("MODEL_ORDERINGS has no ordering {other:?}"),
            };
        }
    }
    ordering
}

/// Prints `site` once for each model.
fn list(site: &str) {
    let thread = thread::current();
    let model = thread.name().unwrap_or("?");
    let line = format!("ordering {model} {site}");
    let mut listed = LISTED.lock().expect("printing does not panic");
    if listed.get_or_insert_default().insert(line.clone()) {
        println!("{line}");
    }
}

/// A hint to the processor, which the models do without.
pub(crate) fn fetch(_: &AtomicU64) {}

/// Lets other threads run, until one has made a step.
pub(crate) fn wait_for_others() {
    loom::thread::yield_now();
}

/// Steps that one thread at a time makes. A model fails if one does not happen before the next.
pub(crate) struct Exclusive(loom::cell::UnsafeCell<()>);

impl Exclusive {
    pub(crate) fn new() -> Self {
        Self(loom::cell::UnsafeCell::new(()))
    }

    pub(crate) fn enter(&self) {
        self.0.with_mut(|_| {});
    }
}

macro_rules! atomic {
    ($name:ident, $value:ty) => {
        #[derive(Debug)]
        pub(crate) struct $name(loom::sync::atomic::$name);

        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            #[track_caller]
            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.0.load(ordering("load", order))
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $value, order: Ordering) {
                self.0.store(value, ordering("store", order));
            }

            #[track_caller]
            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                self.0.swap(value, ordering("swap", order))
            }

            #[track_caller]
            pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_add(value, ordering("fetch_add", order))
            }

            #[track_caller]
            pub(crate) fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_sub(value, ordering("fetch_sub", order))
            }

            #[track_caller]
            pub(crate) fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_and(value, ordering("fetch_and", order))
            }

            #[track_caller]
            pub(crate) fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_or(value, ordering("fetch_or", order))
            }

            #[track_caller]
            pub(crate) fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_max(value, ordering("fetch_max", order))
            }

            #[track_caller]
            pub(crate) fn fetch_min(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_min(value, ordering("fetch_min", order))
            }

            #[track_caller]
            pub(crate) fn compare_exchange(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                let success = ordering("success", success);
                self.0.compare_exchange(from, to, success, ordering("failure", failure))
            }

            #[track_caller]
            pub(crate) fn compare_exchange_weak(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                let success = ordering("success", success);
                self.0.compare_exchange_weak(from, to, success, ordering("failure", failure))
            }

            #[track_caller]
            pub(crate) fn fetch_update(
                &self,
                success: Ordering,
                failure: Ordering,
                update: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                let success = ordering("success", success);
                self.0.fetch_update(success, ordering("failure", failure), update)
            }
        }
    };
}

#[derive(Debug)]
pub(crate) struct AtomicBool(loom::sync::atomic::AtomicBool);

impl AtomicBool {
    pub(crate) fn new(value: bool) -> Self {
        Self(loom::sync::atomic::AtomicBool::new(value))
    }

    #[track_caller]
    pub(crate) fn load(&self, order: Ordering) -> bool {
        self.0.load(ordering("load", order))
    }

    #[track_caller]
    pub(crate) fn store(&self, value: bool, order: Ordering) {
        self.0.store(value, ordering("store", order));
    }

    #[track_caller]
    pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
        self.0.swap(value, ordering("swap", order))
    }
}

/// The task to wake, behind a lock. Neither step is lost beside the other one.
pub(crate) struct AtomicWaker(loom::sync::Mutex<Option<Waker>>);

impl AtomicWaker {
    pub(crate) fn new() -> Self {
        Self(loom::sync::Mutex::new(None))
    }

    pub(crate) fn register(&self, waker: &Waker) {
        *self.0.lock().expect("a panic ends the model") = Some(waker.clone());
    }

    pub(crate) fn wake(&self) {
        let waker = self.0.lock().expect("a panic ends the model").take();
        waker.into_iter().for_each(Waker::wake);
    }
}

atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);

pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("a panic ends the model")
    }
}
