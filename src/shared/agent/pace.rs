//! CORE: how long leases are, and how many permits are asked for in advance (pure).

use std::time::Duration;

use super::terms::Terms;
use crate::time::Nanos;

/// The round trip that is assumed until one is measured.
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(1);

/// The shortest lease: a timer resolves a millisecond, and a task may be polled late.
const MIN_LENGTH: Duration = Duration::from_millis(3);

/// Of granted permits, those that may lapse before their requests run, before leases grow: 1/16.
const LAPSED_SHARE: u64 = 16;

/// Measures of a process, from which the next request follows.
#[derive(Debug)]
pub(super) struct Pace {
    /// The smoothed round trip (RFC 6298, 2).
    round_trip: Option<Duration>,
    /// Arrivals per second, an exponential average with the time constant `W / 8`.
    rate: f64,
    measured_at: Nanos,
    arrivals: u64,
    /// The latest reply with few free permits.
    scarce_at: Option<Nanos>,
    /// The latest reply had free permits.
    has_free: bool,
    /// Doubles the length of leases this many times, because permits lapsed.
    stretch: u32,
    granted: u64,
    lapsed: u64,
}

impl Pace {
    pub(super) const fn new(now: Nanos) -> Self {
        Self {
            round_trip: None,
            rate: 0.0,
            measured_at: now,
            arrivals: 0,
            scarce_at: None,
            has_free: false,
            stretch: 0,
            granted: 0,
            lapsed: 0,
        }
    }

    /// Returns the smoothed round trip.
    pub(super) fn round_trip(&self) -> Duration {
        self.round_trip.unwrap_or(FIRST_ROUND_TRIP)
    }

    /// Records a round trip, and the free permits after it.
    pub(super) fn replied(&mut self, sent: Nanos, recv: Nanos, free: u32, terms: &Terms) {
        let took = recv.since(sent);
        self.round_trip = Some(self.round_trip.map_or(took, |smooth| smooth * 7 / 8 + took / 8));
        self.has_free = free > 0;
        if free < terms.limit / 2 {
            self.scarce_at = Some(recv);
        }
    }

    /// Records the number of requests that have ever arrived.
    pub(super) fn arrived(&mut self, arrivals: u64, now: Nanos, terms: &Terms) {
        let elapsed = now.since(self.measured_at).as_secs_f64();
        if elapsed <= 0.0 {
            return;
        }
        #[allow(clippy::cast_precision_loss, reason = "an estimate")]
        let rate = arrivals.saturating_sub(self.arrivals) as f64 / elapsed;
        let constant = terms.max_length().as_secs_f64();
        self.rate += (rate - self.rate) * -(-elapsed / constant).exp_m1();
        (self.arrivals, self.measured_at) = (arrivals, now);
    }

    /// Records that a permit was granted to a waiter, and whether it lapsed before the request ran.
    ///
    /// Leases grow while permits lapse, and shrink again while none does.
    pub(super) fn served(&mut self, granted: u64, lapsed: u64) {
        self.granted += granted;
        self.lapsed += lapsed;
        if self.lapsed * LAPSED_SHARE > self.granted {
            self.stretch = (self.stretch + 1).min(16);
            (self.granted, self.lapsed) = (0, 0);
        } else if self.granted >= 256 {
            self.stretch = self.stretch.saturating_sub(u32::from(self.lapsed == 0));
            (self.granted, self.lapsed) = (0, 0);
        }
    }

    /// Returns true if permits are plenty: the last reply has left some, and no reply of the last
    /// two windows left fewer than half of the limit.
    ///
    /// Over one window, or by the permits that are free now, this would oscillate: a burst expires
    /// all at once, looks plenty, and the next burst is leased for long.
    pub(super) fn is_plenty(&self, now: Nanos, terms: &Terms) -> bool {
        let is_scarce = |at| now.since(at) <= terms.window * 2;
        self.has_free && !self.scarce_at.is_some_and(is_scarce)
    }

    /// Returns the length of the next leases.
    pub(super) fn length(&self, now: Nanos, terms: &Terms) -> Duration {
        let short = (terms.window / 128).max(self.round_trip() * 4).max(MIN_LENGTH);
        let short = short.saturating_mul(1 << self.stretch);
        let length = if self.is_plenty(now, terms) { short.max(terms.window / 16) } else { short };
        length.min(terms.max_length())
    }

    /// Returns the number of permits that are wanted beyond those of the queue, for a lease of
    /// `length`.
    pub(super) fn in_advance(&self, free: u32, length: Duration, now: Nanos, terms: &Terms) -> u32 {
        if !self.is_plenty(now, terms) {
            return 0;
        }
        as_count(self.rate * length.as_secs_f64()).min(free / 8)
    }

    /// Returns the number of permits at hand at which more are asked for: 0 if none are prefetched.
    pub(super) fn low_mark(&self, now: Nanos, terms: &Terms) -> u32 {
        if !self.is_plenty(now, terms) {
            return 0;
        }
        as_count(self.rate * self.round_trip().as_secs_f64() * 2.0)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn as_count(number: f64) -> u32 {
    number.ceil() as u32
}
