//! Numbers at their edges: the smallest, the largest, those beside them, and any in between.
//!
//! The source files of the cores are compiled once more, to test clocks near their end. Every
//! property tries `PROPTEST_CASES` cases, 256 unless set.

#![allow(dead_code, unreachable_pub, reason = "the cores, without their users")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

// The name by which the sources know it.
extern crate futures as futures_util;

#[path = "../../src/retry/backoff.rs"]
mod backoff;
#[path = "../../src/retry/budget.rs"]
mod budget;
#[path = "../../src/cause.rs"]
mod cause;
#[path = "../../src/class.rs"]
mod class;
#[cfg(feature = "grpc")]
#[path = "../../src/grpc_status.rs"]
mod grpc_status;
#[cfg(feature = "grpc")]
#[path = "../../src/headers/mod.rs"]
mod headers;
#[path = "../support/hold.rs"]
mod hold;
#[allow(unused_imports, reason = "the range of its settings")]
#[path = "../../src/backpressure/knee/mod.rs"]
mod knee;
#[path = "../../src/retry/waits.rs"]
mod listed_waits;
#[path = "../../src/backpressure/pace.rs"]
mod pace;
#[path = "../support/paused_runtime.rs"]
mod paused_runtime;
#[path = "../../src/rejected.rs"]
mod rejected;
#[path = "../../src/rule_name.rs"]
mod rule_name;
#[path = "../../src/semaphore/mod.rs"]
mod semaphore;
#[path = "../../src/seq48.rs"]
mod seq48;
#[path = "../../src/backpressure/service_times.rs"]
mod service_times;
#[path = "../../src/settings.rs"]
mod settings;
#[allow(unused_imports, reason = "the cores here need some of them")]
#[path = "../../src/sync.rs"]
mod sync;
#[path = "../../src/time.rs"]
mod time;
#[path = "../support/wake_counter.rs"]
mod wake_counter;
#[path = "../../src/rate_limit/window/mod.rs"]
mod window;

mod deadlines;
mod layers;
mod limits;
mod measurements;
mod paces;
mod refill;
mod times;
mod waits;

use std::{cell::Cell, rc::Rc, time::Duration};

use proptest::prelude::*;

use crate::{
    hold::{hold, name_of},
    time::{Nanos, Time},
};

/// A clock that a test sets.
#[derive(Clone)]
struct TestClock(Rc<Cell<Nanos>>);

impl TestClock {
    fn at(time: Nanos) -> Self {
        Self(Rc::new(Cell::new(time)))
    }

    fn set(&self, time: Nanos) {
        self.0.set(time);
    }
}

impl Time for TestClock {
    fn now(&self) -> Nanos {
        self.0.get()
    }
}

/// Tries random cases.
fn holds<S: Strategy>(
    file: &'static str,
    cases: S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    hold(file, name_of(&test), cases, |case| test(case).map(|()| 1));
}

/// A number at or beside an edge, or any number.
fn number() -> impl Strategy<Value = u64> {
    let edges = vec![0, 1, 1 << 30, 1 << 31, 1 << 32, 1 << 63, u64::MAX];
    let beside = (proptest::sample::select(edges), 0..3_u64, any::<bool>());
    prop_oneof![
        beside.prop_map(|(edge, by, up)| if up {
            edge.saturating_add(by)
        } else {
            edge.saturating_sub(by)
        }),
        any::<u64>(),
        // Every magnitude alike.
        (any::<u64>(), 0..64_u32).prop_map(|(number, by)| number >> by),
    ]
}

/// The low half of a [`number`], which keeps its edges.
fn half() -> impl Strategy<Value = u32> {
    number().prop_map(|number| number as u32)
}

/// A duration from nothing to the longest there is.
fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        number().prop_map(Duration::from_nanos),
        number().prop_map(Duration::from_secs),
        Just(Duration::MAX),
        Just(Duration::MAX - Duration::from_nanos(1)),
    ]
}

/// The permits of a limit.
fn permits() -> impl Strategy<Value = u32> {
    number()
        .prop_map(|number| u32::try_from(number.clamp(1, settings::MAX_PERMITS.into())).unwrap())
}
