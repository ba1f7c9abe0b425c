//! The course of a run: loads, and losses of capacity.

use std::{ops::Range, time::Duration};

/// Clients wait this long for a response, ...
const PATIENCE: Duration = Duration::from_secs(1);
/// ...and a response is in time within this.
pub(crate) const DEADLINE: Duration = Duration::from_millis(250);

/// A span of a run with one load and one capacity.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// Requests per second, as a multiple of the full capacity.
    pub(crate) load: f64,
    /// The share of the capacity that is left, in percent.
    pub(crate) left: usize,
    /// Whether the scene begins with an empty queue, as after a restart of the bottleneck.
    pub(crate) restart: bool,
    /// The time after which clients drop a request.
    pub(crate) patience: Duration,
    pub(crate) time: Range<Duration>,
}

impl Scene {
    /// Returns the span whose figures are compared: the second half, since limits may still search
    /// in the first one, without requests that the next scene can meet.
    pub(crate) fn settled(&self) -> Range<Duration> {
        (self.time.start + self.time.end) / 2..self.time.end - DEADLINE
    }

    /// Returns the share of the capacity that is left.
    pub(crate) fn share(&self) -> f64 {
        self.left as f64 / 100.0
    }

    pub(crate) const fn is_loss(&self) -> bool {
        self.left < 100
    }

    /// Whether the load is twice the capacity, and all of that is there.
    pub(crate) fn is_twice(&self) -> bool {
        self.load == 2.0 && !self.is_loss()
    }

    /// Whether clients drop a request at its deadline, as an outer timeout does.
    pub(crate) fn has_outer_timeout(&self) -> bool {
        self.patience == DEADLINE
    }
}

/// The part of a run that becomes a scene.
#[derive(Clone, Copy)]
struct Part {
    name: &'static str,
    load: f64,
    left: usize,
    restart: bool,
    patience: Duration,
    /// The length in units.
    length: f64,
}

const LONG: &[Part] = &[
    part("half the load", 0.5, 1.0).anew(),
    part("full load", 1.0, 1.5).anew(),
    part("twice the load", 2.0, 2.5).anew(),
    part("...with a quarter of the capacity", 2.0, 2.5).left(25),
    part("...with the capacity back", 2.0, 3.5),
    part("five times the load", 5.0, 1.5).anew(),
    part("a tenth of the capacity, and an outer timeout", 1.0, 3.5).anew().left(10).impatient(),
    part("...with the capacity back", 1.0, 3.5).impatient(),
];

/// The scenes that show most, each with the time that a limit needs to settle.
const SHORT: &[Part] = &[
    part("twice the load", 2.0, 2.5).anew(),
    part("a tenth of the capacity, and an outer timeout", 1.0, 4.0).anew().left(10).impatient(),
    part("...with the capacity back", 1.0, 4.0).impatient(),
];

const fn part(name: &'static str, load: f64, length: f64) -> Part {
    Part { name, load, left: 100, restart: false, patience: PATIENCE, length }
}

impl Part {
    const fn anew(self) -> Self {
        Self { restart: true, ..self }
    }

    const fn left(self, left: usize) -> Self {
        Self { left, ..self }
    }

    const fn impatient(self) -> Self {
        Self { patience: DEADLINE, ..self }
    }
}

/// Returns the scenes of a run of this length: all of them, or those of a short run.
pub(crate) fn scenes(length: Duration, is_short: bool) -> Vec<Scene> {
    let parts = if is_short { SHORT } else { LONG };
    let units: f64 = parts.iter().map(|part| part.length).sum();
    let mut from = Duration::ZERO;
    let mut scenes = Vec::new();
    for &Part { name, load, left, restart, patience, length: own } in parts {
        let to = from + length.mul_f64(own / units);
        scenes.push(Scene { name, load, left, restart, patience, time: from..to });
        from = to;
    }
    scenes
}
