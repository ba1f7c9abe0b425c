//! CORE: the arithmetic of the search for the knee (pure).
//!
//! # Idea
//!
//! The *knee* is the smallest limit at which the server reaches its full throughput. Below it, one
//! more permit is used at once: throughput grows with the limit, and the time in service does not.
//! Above it, it is the reverse. By Little's law the throughput is X = L / R, with the limit L and
//! the mean time in service R. So with the *elasticity* e = Δ ln R / Δ ln L, that of the throughput
//! is 1 - e. Far below the knee e is 0, far above it e is 1.
//!
//! The search compares two neighbouring limits in turns, and asks whether e is below a threshold θ.
//! A limiter alone before its server could take θ = 1/2, which maximizes X / R: Kleinrock's *power*
//! ("Power and deterministic rules of thumb for probabilistic problems in computer communications",
//! 1979). If m equal limiters share a server, each changes the total by 1 / m as much, and measures
//! e = 1 / m at saturation. So θ = 1 / (m + 1), by which none of them grows without end.
//!
//! # Rounds
//!
//! A *half round* is a span of time with one limit. Two of them, one low and one high, make a
//! *round*; the order alternates, so that a drift of the times does not look like an elasticity. A
//! round that turned the direction is followed by a *rest* of two half rounds at the better one of
//! its two limits: close to the knee, the search would spend half of its time on the worse one.
//!
//! | stage | limit | next stage |
//! | --- | --- | --- |
//! | first | low or high, by the order | second |
//! | second | the other one | rest, if the direction turned or a bound of the range is met; else first |
//! | rest | the better one of the round before | first |
//!
//! # Steps
//!
//! A round moves L by the step, or by less if the evidence is weak: e is known no better than the
//! means, and a step that follows noise is a random walk. The *weight* of a round is the deviation
//! of the measured difference from that at the threshold, `|Δ ln R - θ Δ ln L|`, times `2 √n`, and
//! at most 1. The difference of two means has a standard deviation of `σ √(2 / n)`, so for times
//! with a σ of 0.7, a weight of 1 is half of one.
//!
//! The step grows by a half while the direction stays, and is halved by a turn. Noise turns the
//! direction every other time, so where it stays for a third time, the knee is probably far off:
//! then the step doubles. The weight scales both.
//!
//! Near the knee the step shrinks, to a least one by the rate of the measured requests: 0.8 by
//! its root, per second, within 3 and 8 %. The time in which an elasticity is known falls with the
//! rate, and with the square of the step. With 3 % at 100 requests a second, it took minutes to see
//! that the capacity has grown.
//!
//! If the mean of a half round is more than three times that of the last one, or less than a third,
//! with the ratio of the limits on top, the server has changed. Then the round begins anew, with a
//! step of a quarter at least: whether the capacity was lost or the requests are slower is known
//! after a few of them.
//!
//! # Lost requests
//!
//! A request that was *lost*, rejected by an overloaded server or abandoned by its caller, has no
//! time in service that could be compared. But it used its permit in vain: with n responses, the
//! permits yield a response per R (n + lost) / n. So ln((n + lost) / n) is added to the mean. A
//! share that is lost at both limits cancels.
//!
//! If more are lost than served although they had the time in which most are served, the server is
//! too slow, and the limit *falls* at once. If they are lost sooner, they have spent their time in
//! the queue, and the search goes on. If none is served then, there is nothing to compare: the
//! limit is too low for the queue before it, and *rises*. So while a server is down, the limit
//! settles where the requests have just that time left when they leave the queue, which is where it
//! has to be for their rate once the server is back.
//!
//! # Numbers
//!
//! No floating point, so that the same responses give the same limits on every machine: L is kept
//! in 1/256, the step and weights in 1/4096, means of logarithms in 1/2^21.

use super::log2;

/// The largest limit: with twice as many requests to measure, a half round fits its counter.
pub(crate) const MAX_LIMIT: u32 = 8_191;
/// The most requests that a half round measures.
pub(crate) const MAX_NEED: u32 = 2 * MAX_LIMIT;

/// One, in the unit of L.
const L_ONE: u64 = 1 << 8;
/// One, in the unit of the step and of weights.
const ONE: u64 = 1 << 12;
/// The step at the start: one half.
const FIRST_STEP: u64 = ONE / 2;
/// The bounds of the smallest step: 3 and 8 %.
const LEAST_STEPS: [u64; 2] = [123, 328];
/// The smallest step at one request a second, without the bounds. It falls with the root of the
/// rate.
const LEAST_STEP_OF_ONE: u64 = 3_277;
/// The difference of two means, as a binary logarithm in 1 / 2^21, by which the times have leapt: a
/// factor of three.
const LEAP: i64 = 3_323_896;
/// The smallest step after a leap: a quarter.
const STEP_OF_LEAP: u64 = ONE / 4;
/// The number of rounds in one direction, after a turn, from which the step grows faster.
const RUN: u32 = 3;
/// The smallest step of the rules for lost requests: 10 %.
const LEAST_STEP_OF_LOSS: u64 = 410;
/// The smallest number of lost requests that lowers the limit at once.
const LEAST_LOST: u64 = 8;
/// The least responses by which limits are compared.
pub(crate) const LEAST_SERVED: u32 = 4;
/// One, in the unit of an elasticity.
pub(crate) const ELASTICITY_ONE: i64 = 1 << 10;
/// ln 2 in 1 / 2^16.
const LN_2: u64 = 45_426;

/// The settings of a search, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// At least 1.
    pub(crate) min: u32,
    /// At most [`MAX_LIMIT`].
    pub(crate) max: u32,
    /// The number of limiters before the server; at least 1.
    pub(crate) sharers: u32,
}

/// The measured requests of a half round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HalfRound {
    /// The number of measured requests.
    pub(crate) n: u32,
    /// The sum of their logarithms, as of [`log2::of_sample`].
    pub(crate) sum: u64,
    /// The number of lost requests.
    pub(crate) lost: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    None,
    Up,
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    First,
    /// With the mean of the first half round.
    Second {
        first: i64,
    },
    /// At this limit.
    Rest {
        limit: u32,
    },
}

/// The state of the search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    range: Range,
    /// L, in 1/256.
    l: u64,
    step: u64,
    /// The smallest step.
    least_step: u64,
    direction: Direction,
    /// The number of rounds that went on in the direction.
    run: u32,
    is_high_first: bool,
    /// The mean of the last half round.
    last: Option<i64>,
    stage: Stage,
}

impl Search {
    /// Starts at a limit inside the range.
    pub(crate) fn new(range: Range, start: u32) -> Self {
        Self {
            range,
            l: u64::from(start) * L_ONE,
            step: FIRST_STEP,
            least_step: LEAST_STEPS[0],
            direction: Direction::None,
            run: 0,
            is_high_first: true,
            last: None,
            stage: Stage::First,
        }
    }

    pub(crate) fn range(&self) -> Range {
        self.range
    }

    /// Begins a round anew at `limit`, clamped to the range.
    pub(crate) fn restart_at(&mut self, limit: u32) {
        let limit = limit.clamp(self.range.min, self.range.max);
        *self = Self::new(self.range, limit);
    }

    /// Returns true if the range has one limit, so that there is nothing to search.
    pub(crate) fn is_fixed(&self) -> bool {
        self.range.min == self.range.max
    }

    /// Returns the limit of this half round.
    pub(crate) fn limit(&self) -> u32 {
        let (low, high) = self.limits();
        match self.stage {
            _ if self.is_fixed() => self.range.min,
            Stage::First if self.is_high_first => high,
            Stage::Second { .. } if !self.is_high_first => high,
            Stage::First | Stage::Second { .. } => low,
            Stage::Rest { limit } => limit,
        }
    }

    /// Returns the number of measured requests that completes this half round.
    pub(crate) fn need(&self) -> u32 {
        let (low, high) = self.limits();
        // The fewer permits apart, the smaller the difference of the means.
        let by_distance = (40 * ONE / 4 / half_step(low, high)).clamp(10, 160);
        // Requests above the knee wait for one another, so their times are no independent samples.
        let by_limit = (2 * self.l).div_ceil(L_ONE);
        let need = by_distance.max(by_limit);
        let need = if let Stage::Rest { .. } = self.stage { 2 * need } else { need };
        to_u32(need).min(MAX_NEED)
    }

    /// Returns the number of lost requests that lowers the limit at once, if they are most: half of
    /// the limit, and at least 8.
    pub(crate) fn least_lost(&self) -> u32 {
        to_u32(self.l.div_ceil(2 * L_ONE).max(LEAST_LOST))
    }

    /// Follows the rate of the measured requests, per second.
    pub(crate) fn set_rate(&mut self, rate: u64) {
        let root = (rate.min(1 << 40) << 16).isqrt().max(1); // in 1/256
        let [min, max] = LEAST_STEPS;
        self.least_step = ((LEAST_STEP_OF_ONE << 8) / root).clamp(min, max);
    }

    /// A half round is complete. Returns the elasticity if it was the second one of a round.
    pub(crate) fn complete(&mut self, half: HalfRound) -> Option<i64> {
        if self.is_leap(half.mean_time()) {
            self.step = self.step.max(STEP_OF_LEAP);
            self.stage = Stage::First;
            return None;
        }
        let first = match self.stage {
            Stage::Rest { .. } => {
                self.stage = Stage::First;
                return None;
            }
            Stage::First => {
                self.stage = Stage::Second { first: half.mean() };
                return None;
            }
            Stage::Second { first } => first,
        };
        let (low, high) = self.limits();
        let second = half.mean();
        let rise = if self.is_high_first { first - second } else { second - first };
        let distance = to_i64(log2::of_count(high) - log2::of_count(low));
        // The deviation from the threshold, times the number by which that divides.
        let parts = i64::from(self.range.sharers) + 1;
        let deviation = distance - rise * parts;
        let direction = if deviation > 0 { Direction::Up } else { Direction::Down };
        let weight = weight(deviation.unsigned_abs() / parts.unsigned_abs(), half.n);
        let has_turned = self.follow(direction, weight, half_step(low, high));
        self.is_high_first = !self.is_high_first;
        self.stage = if has_turned {
            Stage::Rest { limit: if direction == Direction::Up { high } else { low } }
        } else {
            Stage::First
        };
        Some(rise * ELASTICITY_ONE / distance)
    }

    /// Returns true if the mean differs from that of the last half round by a factor of three, and
    /// that of their limits.
    fn is_leap(&mut self, mean: i64) -> bool {
        let (low, high) = self.limits();
        let most = LEAP + to_i64(log2::of_count(high) - log2::of_count(low));
        self.last.replace(mean).is_some_and(|last| (mean - last).abs() > most)
    }

    /// More requests of a half round were lost than served, although they had time: the limit is
    /// too high.
    pub(crate) fn fall(&mut self) {
        self.jump(Direction::Down);
    }

    /// No request of a half round was served, because they had too little time left: the limit is
    /// too low.
    pub(crate) fn rise(&mut self) {
        self.jump(Direction::Up);
    }

    /// Moves L by a whole step, and begins a round on the far side of it.
    fn jump(&mut self, direction: Direction) {
        let step = self.step.max(LEAST_STEP_OF_LOSS);
        if self.go(direction, step) {
            self.step = (step * 3 / 2).min(ONE);
        } else {
            self.shrink();
        }
        self.direction = direction;
        self.run = 0;
        self.is_high_first = direction == Direction::Up;
        self.stage = Stage::First;
    }

    /// Moves L by a part of the step, and adapts the step. Returns true if the search turned, or
    /// met a bound of the range.
    fn follow(&mut self, direction: Direction, weight: u64, half_step: u64) -> bool {
        let step = self.step.max(half_step) * weight / ONE;
        let is_absorbed = !self.go(direction, step);
        let is_turn = self.direction != Direction::None && self.direction != direction;
        self.run = if self.direction == direction { self.run.saturating_add(1) } else { 0 };
        if is_absorbed || is_turn {
            self.shrink();
        } else if self.direction == direction {
            let growth = if self.run < RUN { weight / 2 } else { weight };
            self.step = (self.step + divide(self.step * growth, ONE)).min(ONE);
        }
        self.direction = direction;
        is_absorbed || is_turn
    }

    /// Moves L by the step. Returns false if a bound of the range absorbs a part of it: a step that
    /// grew there would make every other half round one of a limit far off.
    fn go(&mut self, direction: Direction, step: u64) -> bool {
        let moved = match direction {
            Direction::Up => divide(self.l * (ONE + step), ONE),
            _ => divide(self.l * ONE, ONE + step),
        };
        let [min, max] = [self.range.min, self.range.max].map(|bound| u64::from(bound) * L_ONE);
        self.l = moved.clamp(min, max);
        self.l == moved
    }

    /// Halves the step.
    fn shrink(&mut self) {
        self.step = (self.step / 2).max(self.least_step);
    }

    /// Returns the two limits of a round: different, and inside the range, unless that has one.
    fn limits(&self) -> (u32, u32) {
        let Range { min, max, .. } = self.range;
        let low = round(self.l * ONE / (ONE + self.step)).max(min);
        let high = round(self.l * (ONE + self.step) / ONE).max(low + 1).min(max);
        (low.min(high - 1).max(min), high)
    }
}

impl HalfRound {
    /// Returns the mean of the logarithms, in 1 / 2^21.
    fn mean_time(&self) -> i64 {
        to_i64((self.sum << (log2::COUNT_BITS - log2::SAMPLE_BITS)) / u64::from(self.n.max(1)))
    }

    /// Returns the mean of the logarithms, in 1 / 2^21, with the permits that were used in vain.
    fn mean(&self) -> i64 {
        let n = self.n.max(1);
        let in_vain = log2::of_count(n + self.lost) - log2::of_count(n);
        self.mean_time() + to_i64(in_vain)
    }
}

/// Returns the weight of a round, by its deviation as a binary logarithm in 1 / 2^21.
fn weight(deviation: u64, n: u32) -> u64 {
    let root = (u64::from(n) << 16).isqrt(); // in 1/256
    // A deviation of more than 1 has the full weight.
    let deviation = deviation.min(1 << log2::COUNT_BITS);
    ((deviation * root * LN_2) >> (log2::COUNT_BITS + 8 + 16 - 12 - 1)).min(ONE)
}

/// Returns half of the distance of two limits as a ratio, less one: that of each to their middle.
fn half_step(low: u32, high: u32) -> u64 {
    (((u64::from(high)) << 24) / u64::from(low)).isqrt().saturating_sub(ONE).max(1)
}

/// Divides, and rounds to the nearest.
const fn divide(value: u64, by: u64) -> u64 {
    (value + by / 2) / by
}

/// Returns a limit of 1/256.
fn round(l: u64) -> u32 {
    to_u32(divide(l, L_ONE))
}

#[allow(clippy::cast_possible_truncation, reason = "bounded by the callers")]
const fn to_u32(value: u64) -> u32 {
    value as u32
}

#[allow(clippy::cast_possible_wrap, reason = "bounded by the callers")]
const fn to_i64(value: u64) -> i64 {
    value as i64
}
