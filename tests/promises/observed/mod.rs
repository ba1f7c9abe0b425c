//! Limits that are observed: their names, counts, metrics and traces.

mod costs;
#[cfg(feature = "metrics")]
mod metrics;
mod names;
#[cfg(feature = "metrics")]
mod recorded;
mod rules;
mod shared;
#[cfg(feature = "shared-keys")]
mod shared_keys;
#[cfg(all(feature = "metrics", feature = "tracing"))]
mod storm;
#[cfg(feature = "tracing")]
mod traced;
#[cfg(feature = "tracing")]
mod traces;

use tower_floodgate::{observe::LimitCounts, observe::Snapshot};

/// The numbers of events: admitted, unused, waited, cancelled, pauses, limit changes.
type Numbers = [u64; 6];

fn numbers(counts: LimitCounts) -> Numbers {
    let LimitCounts { admitted, unused, waited, cancelled, pauses, limit_changes, .. } = counts;
    [admitted, unused, waited, cancelled, pauses, limit_changes]
}

/// Returns the numbers of a limit that has a name.
fn counted(snapshot: impl Into<Snapshot>) -> Numbers {
    let counts = match snapshot.into() {
        Snapshot::Concurrency(snapshot) => snapshot.counts,
        Snapshot::Window(snapshot) => snapshot.counts,
        Snapshot::Shared(snapshot) => snapshot.counts,
        other => panic!("{other:?}"),
    };
    numbers(counts.expect("the limit has a name"))
}
