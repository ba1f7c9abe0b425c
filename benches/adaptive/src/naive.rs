//! The search in floating point, step by step as it is described: the oracle of the core.

use crate::algorithm::{Algorithm, End, Number, Stamp};

/// The search, without a word of it packed.
#[derive(Clone, Debug)]
pub struct Naive {
    min: f64,
    max: f64,
    threshold: f64,
    /// L.
    pub middle: f64,
    step: f64,
    least_step: f64,
    /// The end of the last half round.
    since: Option<u64>,
    direction: i32,
    /// The number of rounds that went on in the direction.
    run: u32,
    is_high_first: bool,
    half_round: u32,
    n: f64,
    sum: f64,
    lost: f64,
    /// Of the lost ones, those that took as long as most that are served.
    long: f64,
    /// The mean of the latest half round that was completed by responses.
    typical: Option<f64>,
    /// The mean of the last half round.
    last: Option<f64>,
    /// The longest time of an abandoned request, as a logarithm.
    longest: f64,
    first: Option<f64>,
    rest_at: Option<f64>,
    /// The elasticity of the last round.
    pub elasticity: Option<f64>,
}

impl Naive {
    /// Creates a search with these settings of `Adaptive`.
    pub fn new(min: u32, max: u32, start: u32, sharers: u32) -> Self {
        Self {
            min: f64::from(min),
            max: f64::from(max),
            threshold: 1.0 / (f64::from(sharers) + 1.0),
            middle: f64::from(start),
            step: 0.5,
            least_step: 0.03,
            since: None,
            direction: 0,
            run: 0,
            is_high_first: true,
            half_round: 1,
            n: 0.0,
            sum: 0.0,
            lost: 0.0,
            long: 0.0,
            typical: None,
            last: None,
            longest: 0.0,
            first: None,
            rest_at: None,
            elasticity: None,
        }
    }

    fn limits(&self) -> (f64, f64) {
        let low = (self.middle / (1.0 + self.step)).round().max(self.min);
        let high = (self.middle * (1.0 + self.step)).round().max(low + 1.0).min(self.max);
        (low.min(high - 1.0).max(self.min), high)
    }

    fn half_step(&self) -> f64 {
        let (low, high) = self.limits();
        (high / low).sqrt() - 1.0
    }

    fn need(&self) -> f64 {
        let by_distance = (40.0 * 0.25 / self.half_step()).floor().clamp(10.0, 160.0);
        let need = by_distance.max((2.0 * self.middle).ceil());
        (if self.rest_at.is_some() { 2.0 * need } else { need }).min(16_382.0)
    }

    fn begin(&mut self) {
        self.half_round += 1;
        (self.n, self.sum, self.lost, self.long) = (0.0, 0.0, 0.0, 0.0);
    }

    fn complete(&mut self) {
        let n = self.n;
        let mean = (self.sum + n * ((n + self.lost) / n).ln()) / n;
        let (low, high) = self.limits();
        let most = 3.0_f64.ln() + (high / low).ln();
        let time = self.sum / n;
        if self.last.replace(time).is_some_and(|last| (time - last).abs() > most) {
            self.step = self.step.max(0.25);
            (self.first, self.rest_at) = (None, None);
            return;
        }
        if self.rest_at.take().is_some() {
            return;
        }
        let Some(first) = self.first.take() else {
            self.first = Some(mean);
            return;
        };
        let (low, high) = self.limits();
        let (of_high, of_low) = if self.is_high_first { (first, mean) } else { (mean, first) };
        let distance = (high / low).ln();
        let elasticity = (of_high - of_low) / distance;
        self.elasticity = Some(elasticity);
        let deviation = (self.threshold - elasticity) * distance;
        let direction = if deviation > 0.0 { 1 } else { -1 };
        let weight = (deviation.abs() * 2.0 * n.sqrt()).min(1.0);
        let factor = 1.0 + self.step.max(self.half_step()) * weight;
        let moved = if direction > 0 { self.middle * factor } else { self.middle / factor };
        self.middle = moved.clamp(self.min, self.max);
        let has_turned = self.direction == -direction || self.middle != moved;
        self.run = if self.direction == direction { self.run + 1 } else { 0 };
        if has_turned {
            self.shrink();
            self.rest_at = Some(if direction > 0 { high } else { low });
        } else if self.direction == direction {
            let growth = if self.run < 3 { weight / 2.0 } else { weight };
            self.step = (self.step * (1.0 + growth)).min(1.0);
        }
        self.direction = direction;
        self.is_high_first = !self.is_high_first;
    }

    /// Follows the rate of a half round, one without a stride.
    fn follow_rate(&mut self, now: u64) {
        let since = self.since.replace(now);
        if let Some(nanos) = since.map(|since| now - since).filter(|nanos| *nanos > 0) {
            let rate = (self.n + self.lost) * 1e9 / nanos as f64;
            self.least_step = (0.8 / rate.floor().sqrt()).clamp(0.03, 0.08);
        }
    }

    fn shrink(&mut self) {
        self.step = (self.step / 2.0).max(self.least_step);
    }

    fn jump(&mut self, direction: i32) {
        let step = self.step.max(0.1);
        let factor = 1.0 + step;
        let moved = if direction > 0 { self.middle * factor } else { self.middle / factor };
        self.middle = moved.clamp(self.min, self.max);
        if self.middle == moved {
            self.step = (1.5 * step).min(1.0);
        } else {
            self.shrink();
        }
        self.direction = direction;
        self.run = 0;
        self.is_high_first = direction > 0;
        (self.first, self.rest_at) = (None, None);
    }
}

impl Algorithm for Naive {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a limit")]
    fn limit(&self) -> u32 {
        let (low, high) = self.limits();
        let is_high = self.is_high_first == self.first.is_none();
        let of_round = if is_high { high } else { low };
        self.rest_at.unwrap_or(of_round) as u32
    }

    fn stamp(&mut self) -> Option<Stamp> {
        (self.min < self.max).then_some(Stamp(Number::Naive(self.half_round)))
    }

    fn ended(&mut self, stamp: Stamp, end: End, nanos: u64, now: u64) {
        let Stamp(Number::Naive(half_round)) = stamp else { return };
        if half_round != self.half_round {
            return;
        }
        match end {
            End::Ignored => {}
            End::Served => {
                self.n += 1.0;
                self.sum += (nanos.max(1) as f64).ln();
                if self.n >= self.need() {
                    self.typical = Some(self.sum / self.n);
                    self.follow_rate(now);
                    self.complete();
                    self.begin();
                }
            }
            End::Abandoned | End::Overload => {
                let log = (nanos.max(1) as f64).ln();
                if end == End::Abandoned {
                    self.longest = self.longest.max(log);
                }
                let is_late = match self.typical {
                    None => log >= self.longest - 2.0_f64.ln(),
                    Some(typical) => log > typical,
                };
                let is_long = end == End::Overload || is_late;
                self.lost += 1.0;
                self.long += f64::from(u8::from(is_long));
                let is_fall = self.long > self.n && self.long >= (self.middle / 2.0).max(8.0);
                let is_enough = self.n + self.lost >= self.need();
                let is_enough = is_enough && (self.n == 0.0 || self.n >= 4.0);
                if is_fall || is_enough {
                    self.follow_rate(now);
                    match self.n {
                        _ if is_fall => self.jump(-1),
                        4.0.. => self.complete(),
                        _ => self.jump(1),
                    }
                    self.begin();
                }
            }
        }
    }
}
