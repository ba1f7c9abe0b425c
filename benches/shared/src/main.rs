//! A shared quota beside limiters that ask the server for each request, and beside a local window.
//!
//! ```text
//! cargo run --release -p shared-quotas
//! ```
//!
//! Starts a `redis-server` of its own. `--once` runs each row for a moment, to show that it works;
//! names of rows as arguments run these only. All contenders of a row take turns in one process, in
//! a new random order each round. A ratio is the median of the ratios within the rounds.
//!
//! The server shares the processors with the callers, so that only ratios mean something.

#![allow(clippy::unwrap_used, reason = "a row that panics has failed")]
#![allow(clippy::disallowed_methods, reason = "real time is measured")]

mod limits;
mod load;
mod report;
mod rows;
#[allow(dead_code, reason = "that of the tests, which use all of it")]
#[path = "../../../redis/tests/support/mod.rs"]
mod support;

use std::{env, process::ExitCode};

/// The duration of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Full,
    /// Each row for a moment.
    Once,
}

impl Pace {
    const fn pick<T: Copy>(self, once: T, full: T) -> T {
        match self {
            Self::Once => once,
            Self::Full => full,
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (options, names): (Vec<_>, Vec<_>) = arguments.iter().partition(|t| t.starts_with('-'));
    let is_known = |name: &&String| rows::ROWS.iter().any(|(row, _)| row == name);
    if !options.iter().all(|option| *option == "--once") || !names.iter().all(is_known) {
        let known: Vec<_> = rows::ROWS.iter().map(|(name, _)| *name).collect();
        eprintln!("usage: shared-quotas [--once] [ROW]...\nrows: {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    let pace = if options.is_empty() { Pace::Full } else { Pace::Once };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for (name, row) in rows::ROWS {
        if names.is_empty() || names.contains(&&name.to_owned()) {
            let tables = runtime.block_on(row(pace));
            for table in tables {
                println!("{name} · {table}");
            }
        }
    }
    ExitCode::SUCCESS
}
