//! The scenarios, each in a file of its own.

mod adaptive;
mod cancelled;
mod growth;
mod issues;
mod keyed;
mod memory;
mod rate_limited;
mod rejected;
mod saturated;
mod two_threads;
mod uncontended;

use crate::{
    contenders::Comparison,
    pace::Pace,
    report::{Figure, Section},
};

/// A scenario: its name on the command line, its comparisons, its plot.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Pace) -> Vec<Section>,
    /// File, title, and the figure drawn over the number of waiters.
    pub(crate) plot: Option<(&'static str, &'static str, Figure)>,
}

impl Scenario {
    const fn new(name: &'static str, run: fn(Pace) -> Vec<Section>) -> Self {
        Self { name, run, plot: None }
    }

    const fn plotted(self, file: &'static str, title: &'static str, figure: Figure) -> Self {
        Self { plot: Some((file, title, figure)), ..self }
    }
}

pub(crate) static SCENARIOS: [Scenario; 11] = [
    Scenario::new("s1", uncontended::run),
    Scenario::new("s2", two_threads::run),
    Scenario::new("s3", saturated::run).plotted(
        "throughput.svg",
        "Calls through a full limit",
        saturated::CALLS,
    ),
    Scenario::new("s4", rate_limited::run),
    Scenario::new("s5", memory::run).plotted("memory.svg", "Memory of a waiter", memory::IN_ALL),
    Scenario::new("s6", rejected::run),
    Scenario::new("s7", cancelled::run),
    Scenario::new("s8", keyed::run),
    Scenario::new("s9", keyed::flood::run),
    Scenario::new("s10", adaptive::run),
    Scenario::new("growth", growth::run),
];

/// Returns the comparisons that count instructions, for this program run again under valgrind.
pub(crate) fn counted() -> Vec<Comparison> {
    uncontended::comparisons().into_iter().chain(growth::comparisons()).collect()
}
