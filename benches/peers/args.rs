//! What can be said on the command line.

use std::path::PathBuf;

use clap::Parser;

const SCENARIOS: [&str; 8] = ["s1", "s2", "s3", "s4", "s5", "s6", "s7", "growth"];

/// This crate's layers beside their neighbours.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Only these scenarios, separated by commas.
    #[arg(long, value_delimiter = ',', ignore_case = true, value_parser = SCENARIOS)]
    only: Vec<String>,
    /// Fewer rounds.
    #[arg(long)]
    quick: bool,
    /// A line of JSON for each figure instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw the figures that grow with the waiters into this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) plot: Option<PathBuf>,
    /// What cargo says; without it each scenario only shows that it works.
    #[arg(long, hide = true)]
    bench: bool,
    /// Under valgrind: run this contender only.
    #[arg(long, hide = true)]
    pub(crate) count: Option<String>,
    /// Under valgrind: so many calls.
    #[arg(long, hide = true, default_value_t = 0)]
    pub(crate) calls: u32,
}

impl Args {
    pub(crate) fn wants(&self, scenario: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only.eq_ignore_ascii_case(scenario))
    }

    pub(crate) fn pace(&self) -> Pace {
        match (self.bench, self.quick) {
            (false, _) => Pace::Once,
            (true, true) => Pace::Quick,
            (true, false) => Pace::Full,
        }
    }
}

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// To see that it works.
    Once,
    Quick,
    Full,
}

impl Pace {
    pub(crate) fn pick<T>(self, once: T, quick: T, full: T) -> T {
        match self {
            Self::Once => once,
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}
