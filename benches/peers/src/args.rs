//! The command line.

use std::path::PathBuf;

use clap::{Parser, builder::PossibleValuesParser};

use crate::{pace::Pace, scenarios::SCENARIOS};

/// Compares the layers of tower-floodgate with those of other crates, interleaved in one process.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Runs only these scenarios, separated by commas.
    #[arg(long, value_delimiter = ',', ignore_case = true, value_parser = names())]
    only: Vec<String>,
    /// Runs fewer rounds.
    #[arg(long)]
    quick: bool,
    /// Runs each scenario once to show that it works, and prints no figures.
    #[arg(long, conflicts_with_all = ["quick", "json", "plot"])]
    once: bool,
    /// Prints a line of JSON for each figure instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// Draws the figures that depend on the number of waiters into this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) plot: Option<PathBuf>,
    /// The contender to run under valgrind.
    #[arg(long, hide = true)]
    pub(crate) count: Option<String>,
    /// The number of calls to make under valgrind.
    #[arg(long, hide = true, default_value_t = 0)]
    pub(crate) calls: u32,
}

impl Args {
    pub(crate) fn wants(&self, scenario: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only.eq_ignore_ascii_case(scenario))
    }

    pub(crate) fn pace(&self) -> Pace {
        match (self.once, self.quick) {
            (true, _) => Pace::Once,
            (false, true) => Pace::Quick,
            (false, false) => Pace::Full,
        }
    }
}

fn names() -> PossibleValuesParser {
    SCENARIOS.iter().map(|scenario| scenario.name).into()
}
