//! Deadlines and classes at a server in overload: a seeded queue under paused time.
//!
//! The times are a hundred times those of a fast server: 20 permits, and 1 s in service. Paused time
//! costs nothing, and a timer's millisecond is small beside them.

mod queue;

mod classes;
mod deadlines;

/// Returns a time in seconds.
const fn secs(secs: u64) -> std::time::Duration {
    std::time::Duration::from_secs(secs)
}
