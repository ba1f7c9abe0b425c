//! Reports a request that acquires a second permit of one limit, in debug builds.
//!
//! A layer that is put on a service and on one inside it makes each request acquire two permits of
//! one limit. Once the requests at the outer service hold all permits, each of them waits at the
//! inner one for a permit of another, and none proceeds.
//!
//! Each thread keeps a stack of the limits of the requests it is driving. A limit is pushed while
//! the inner service or the response of a request with a permit of it is polled or called, and
//! popped afterwards, by unwinding too. A service that is polled ready while its own limit is on
//! the stack is nested.
//!
//! The report is a line on standard error and not a panic, because a program that calls itself
//! through a limit with room is legitimate. It is written past the capture of the test harness,
//! which never shows the output of a test that hangs.
//!
//! A task that a request spawns is driven by no request, and is not reported. An
//! executor that polls unrelated tasks inside the poll of a request is taken for that request:
//! while it runs, the request holds its permit and makes no progress either.

use std::{
    cell::Cell,
    fmt,
    io::{self, Write},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use super::Limiter;

/// The limits on a stack. Those deeper than that are counted and not remembered.
const DEPTH: usize = 16;

struct Stack {
    depth: Cell<usize>,
    limits: [Cell<LimitId>; DEPTH],
}

thread_local! {
    // Without a destructor, so that it is there as long as the thread, and never allocated.
    static STACK: Stack = const {
        Stack { depth: Cell::new(0), limits: [const { Cell::new(LimitId(0)) }; DEPTH] }
    };
}

/// Identifies a limit. Never used again, unlike the address of a limit that is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitId(usize);

impl LimitId {
    /// Marks the limit as that of the request being driven, until the guard is dropped.
    pub(crate) fn driven(self) -> Driven {
        STACK.with(|stack| {
            let depth = stack.depth.get();
            if let Some(limit) = stack.limits.get(depth) {
                limit.set(self);
            }
            stack.depth.set(depth + 1);
        });
        Driven(())
    }

    fn is_driven(self) -> bool {
        STACK.with(|stack| {
            let depth = stack.depth.get().min(DEPTH);
            stack.limits[..depth].iter().any(|limit| limit.get() == self)
        })
    }
}

/// A guard that pops a limit. Never moved off its thread: it lives for one poll or call.
pub(crate) struct Driven(());

impl Drop for Driven {
    fn drop(&mut self) {
        STACK.with(|stack| stack.depth.set(stack.depth.get() - 1));
    }
}

/// The part of a limiter that reports its nested requests.
pub(crate) struct Nested {
    id: LimitId,
    reported: AtomicBool,
}

impl Nested {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        // Relaxed: the numbers differ, and order nothing.
        Self { id: LimitId(NEXT.fetch_add(1, Relaxed)), reported: AtomicBool::new(false) }
    }

    pub(crate) const fn id(&self) -> LimitId {
        self.id
    }
}

/// Reports once that a service of `limiter` is polled ready by a request with a permit of it.
pub(crate) fn report<L: Limiter>(limiter: &L) -> LimitId {
    let nested = limiter.nested();
    if nested.id.is_driven() && !nested.reported.swap(true, Relaxed) {
        // A closed standard error is no fault of the request.
        let _ = writeln!(
            io::stderr(),
            "tower-floodgate: {:?}: a request with a permit acquires another of the same limit. {}. \
             Put the layer on once, or give each service a limit of its own: by another layer, or by \
             `per_service()`. (Reported once per limit, in debug builds only.)",
            Settings(limiter),
            L::NESTED,
        );
    }
    nested.id
}

/// Prints the layer and the settings of a limiter.
struct Settings<'a, L>(&'a L);

impl<L: Limiter> fmt::Debug for Settings<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct(L::LAYER);
        self.0.fmt_settings(&mut fields);
        fields.finish()
    }
}
