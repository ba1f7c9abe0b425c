//! CORE: searches for the limit at which a server reaches its full throughput.
//!
//! The [search] is arithmetic; the [samples] are shared by the threads. A request
//! is *measured* if all of these hold:
//!
//! 1. It took the last permit of the limit.
//! 2. Its half round is still the present one when it completes. The number is read before the
//!    permit is taken: see [`present`](Knee::present).
//! 3. It was served.
//!
//! The first condition takes the place of every guard for times in which the limit does not bind:
//! without such a request there is no sample, and no step. The second excludes requests that began
//! under another limit.
//!
//! # Steps
//!
//! The request that completes a half round *claims* its step. All that changes the search runs
//! under the lock of the limiter under which its limit changes, in this order:
//!
//! | | step | hold | adapt |
//! | --- | --- | --- | --- |
//! | before the permits change | [`step`](Knee::step) returns the next limit | [`hold`](Knee::hold) | [`adapt`](Knee::adapt) returns the next limit |
//! | after it | [`begin`](Knee::begin) | – | [`begin`](Knee::begin) |
//!
//! No foreign code runs in between: wakers are woken, and the observer is told, after the lock.
//!
//! # Races
//!
//! - *Hold against step.* Both hold the lock. If the hold comes between a claim and its step, then
//!   the step finds another half round than the claimed one, and has no effect. If the step comes
//!   first, its limit is replaced.
//! - *Acquire against step.* A request that reads the number of a half round before it takes the
//!   last permit has taken one of the limit of that half round, or of a later one. If it is of a
//!   later one, the request is not measured, because the number it carries has passed.

mod begun;
mod log2;
mod samples;
mod search;

use std::fmt;

pub(crate) use self::{
    begun::Begun,
    samples::{Claim, Stamp},
    search::{ELASTICITY_ONE, MAX_LIMIT, Range},
};
use self::{
    samples::{Samples, Step},
    search::Search,
};
use crate::{
    sync::{AtomicU64, Mutex, Ordering::Relaxed},
    time::Nanos,
};

/// The most requests that are measured in a second, once the rate is known.
const MAX_RATE: u128 = 20_000;
/// The largest stride. No server is called more often than 5,000,000 times a second.
const MAX_STRIDE: u32 = 256;

/// In `last`, the number of rounds stands above the elasticity of the last one.
const ROUND: u64 = 1 << ELASTICITY_BITS;
const ELASTICITY_BITS: u32 = 24;
/// The largest elasticity that is shown: 8,191.
const MAX_ELASTICITY: i64 = (1 << (ELASTICITY_BITS - 1)) - 1;

/// The result of the rounds until now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rounds {
    pub(crate) number: u64,
    /// Of the last round.
    pub(crate) elasticity: Option<f64>,
}

pub(crate) struct Knee {
    start: u32,
    samples: Samples,
    /// The number of rounds, and the elasticity of the last one. A reading of its own moment, so
    /// all of its orderings are `Relaxed`.
    last: AtomicU64,
    /// Locked inside the lock of the limiter, by the steps, and alone by readings.
    state: Mutex<State>,
}

struct State {
    search: Search,
    /// The limit that is pinned.
    held: Option<u32>,
    /// The start of this half round; `None` before the first step.
    since: Option<Nanos>,
    stride: u32,
}

impl Knee {
    /// Creates a search that starts at a limit inside the range.
    pub(crate) fn new(range: Range, start: u32) -> Self {
        let search = Search::new(range, start);
        let state = State { search, held: None, since: None, stride: 1 };
        Self {
            start,
            samples: Samples::new(&search),
            last: AtomicU64::new(0),
            state: Mutex::new(state),
        }
    }

    /// Creates a search of the same settings: held at the same limit, or at its start.
    pub(crate) fn separate(&self) -> Self {
        let state = self.state.lock();
        let separate = Self::new(state.search.range(), self.start);
        if let Some(limit) = state.held {
            separate.hold(limit);
        }
        separate
    }

    /// Returns the limit to begin with, or to go on with.
    pub(crate) fn limit(&self) -> u32 {
        let state = self.state.lock();
        state.held.unwrap_or_else(|| state.search.limit())
    }

    pub(crate) fn range(&self) -> Range {
        self.state.lock().search.range()
    }

    /// Returns the half round of a request that is about to take a permit. It is carried by the
    /// request if that permit was the last one, and the request [is chosen](Self::is_chosen).
    #[inline]
    pub(crate) fn present(&self) -> Option<Stamp> {
        self.samples.present()
    }

    /// Returns true if a request that has taken the last permit is measured.
    pub(crate) fn is_chosen(&self) -> bool {
        self.samples.is_chosen()
    }

    /// A request of `stamp` was served in `nanos`. Returns the claim of a step that is due.
    pub(crate) fn served(&self, stamp: Stamp, nanos: u64) -> Option<Claim> {
        self.samples.measure(stamp, nanos)
    }

    /// A request of `stamp` was abandoned after `nanos`. Returns the claim of a step that is due.
    pub(crate) fn abandoned(&self, stamp: Stamp, nanos: u64) -> Option<Claim> {
        self.samples.abandon(stamp, nanos)
    }

    /// A request of `stamp` was rejected by an overloaded server. Returns the claim of a step that
    /// is due.
    pub(crate) fn overloaded(&self, stamp: Stamp) -> Option<Claim> {
        self.samples.reject(stamp)
    }

    /// Makes the step of a claim. Returns the next limit, or `None` if the search was held since.
    pub(crate) fn step(&self, claim: &Claim, now: Nanos) -> Option<u32> {
        let mut state = self.state.lock();
        if !self.samples.is_current(claim) {
            return None;
        }
        let half = claim.half();
        state.follow_rate(half.n.saturating_add(half.lost), now);
        let elasticity = match claim.step() {
            Step::Complete => state.search.complete(half),
            Step::Fall => {
                state.search.fall();
                None
            }
            Step::Rise => {
                state.search.rise();
                None
            }
        };
        if let Some(elasticity) = elasticity {
            self.note(elasticity);
        }
        Some(state.search.limit())
    }

    /// Begins the next half round, once its limit is set.
    pub(crate) fn begin(&self) {
        let state = self.state.lock();
        if state.search.is_fixed() {
            self.samples.stop();
        } else {
            self.samples.begin(&state.search, state.stride);
        }
    }

    /// Pins `limit`: nothing is measured any more.
    pub(crate) fn hold(&self, limit: u32) {
        let mut state = self.state.lock();
        state.held = Some(limit);
        state.search.restart_at(limit);
        self.samples.stop();
    }

    /// Resumes the search. Returns its next limit, or `None` if it is not held.
    pub(crate) fn adapt(&self) -> Option<u32> {
        let mut state = self.state.lock();
        state.held.take()?;
        state.since = None;
        Some(state.search.limit())
    }

    pub(crate) fn is_held(&self) -> bool {
        self.state.lock().held.is_some()
    }

    /// Returns the rounds until now.
    pub(crate) fn rounds(&self) -> Rounds {
        let last = self.last.load(Relaxed);
        let number = last / ROUND;
        let elasticity = (number > 0).then(|| of_bits(last) as f64 / ELASTICITY_ONE as f64);
        Rounds { number, elasticity }
    }

    /// Writes the fields of the settings.
    pub(crate) fn fmt_settings(&self, f: &mut fmt::DebugStruct<'_, '_>) {
        let Range { min, max, sharers } = self.range();
        f.field("between", &(min, max)).field("shared_by", &sharers);
    }

    /// Notes a round. Called under the lock.
    fn note(&self, elasticity: i64) {
        let number = self.last.load(Relaxed) / ROUND + 1;
        let elasticity = elasticity.clamp(-MAX_ELASTICITY, MAX_ELASTICITY);
        #[allow(clippy::cast_sign_loss, reason = "the low bits, in two's complement")]
        let bits = elasticity as u64 & (ROUND - 1);
        self.last.store(number.wrapping_mul(ROUND) | bits, Relaxed);
    }
}

impl State {
    /// Chooses the next stride, and tells the search, by the rate of the measured requests in this
    /// half round.
    fn follow_rate(&mut self, n: u32, now: Nanos) {
        let since = self.since.replace(now);
        let Some(since) = since else { return };
        let nanos = now.since(since).as_nanos();
        if nanos == 0 {
            return; // the clock does not tell a rate
        }
        let rate = u128::from(n) * u128::from(self.stride) * 1_000_000_000 / nanos;
        let stride = u32::try_from(rate.div_ceil(MAX_RATE)).unwrap_or(MAX_STRIDE);
        self.stride = stride.clamp(1, MAX_STRIDE).next_power_of_two();
        self.search.set_rate(u64::try_from(rate).unwrap_or(u64::MAX));
    }
}

/// Returns the elasticity in the low bits of a word.
#[allow(clippy::cast_possible_wrap, reason = "two's complement")]
const fn of_bits(word: u64) -> i64 {
    ((word << (64 - ELASTICITY_BITS)) as i64) >> (64 - ELASTICITY_BITS)
}
