//! CORE: notices that the store's clock was set forward (pure).
//!
//! The store cannot see such a step by itself, nor a failover to a server whose clock is ahead. The
//! marks of all leases come too early then, and their permits are leased once more while they are
//! still in use.
//!
//! Let `o` be the difference between the store's clock and that of the process. The store reads its
//! time `now` between the moments `sent` and `recv` of the process, so `now - recv <= o <= now -
//! sent`. If a later reply has a larger `now - recv` than an earlier one has `now - sent`, then `o`
//! has grown: the clock was set forward, or the process was suspended with its clock. Between the
//! two, the clocks may drift.
//!
//! A step that is smaller than a round trip is not seen. The comparison is with the smallest `now -
//! sent` of the last two windows: with the reply before alone, a clock that is set forward slowly
//! would hide in each round trip anew.

use std::time::Duration;

use super::terms::{drift, signed};
use crate::{shared::wire::Micros, time::Nanos};

/// An upper bound of the difference between the clocks, as of a moment of the process.
#[derive(Clone, Copy, Debug)]
struct Bound {
    at: Nanos,
    /// In nanoseconds.
    difference: i128,
}

/// The smallest bounds of this half of two windows, and of the half before.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockWatch {
    /// The begin of this half, and the latest reply.
    begin: Nanos,
    last: Nanos,
    halves: [Option<Bound>; 2],
}

impl ClockWatch {
    pub(super) const fn new() -> Self {
        Self { begin: Nanos::ZERO, last: Nanos::ZERO, halves: [None; 2] }
    }

    /// Compares a reply with the earlier ones. Returns the time by which the store's clock is ahead
    /// of them, at least; zero if it is not.
    ///
    /// After a step, the comparison begins anew.
    pub(super) fn check(
        &mut self,
        sent: Nanos,
        recv: Nanos,
        now: Micros,
        window: Duration,
    ) -> Duration {
        let now = i128::from(now) * 1_000;
        if recv.since(self.begin) >= window {
            // By the latest reply, and not by the bound, which may be of an earlier one.
            let is_recent = recv.since(self.last) < window * 2;
            self.halves = [None, self.halves[0].filter(|_| is_recent)];
            self.begin = recv;
        }
        self.last = recv;
        let least = now - signed(recv);
        let ahead = |bound: &Bound| {
            let drift = drift(recv.since(bound.at)).as_nanos();
            least - bound.difference - i128::try_from(drift).unwrap_or(i128::MAX)
        };
        let step = self.halves.iter().flatten().map(ahead).max().unwrap_or(0).max(0);
        // The store's time has whole microseconds, rounded down.
        let bound = Bound { at: sent, difference: now + 1_000 - signed(sent) };
        if step > 0 {
            self.halves = [Some(bound), None];
            self.begin = recv;
        } else if self.halves[0].is_none_or(|least| bound.difference < least.difference) {
            self.halves[0] = Some(bound);
        }
        Duration::from_nanos(u64::try_from(step).unwrap_or(u64::MAX))
    }
}
