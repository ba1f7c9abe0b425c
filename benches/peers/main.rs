//! This crate's layers beside their neighbours, all run side by side in one process.
//!
//! ```text
//! cargo bench --bench peers                        everything, as tables
//! cargo bench --bench peers -- --only s1,s6        some scenarios
//! cargo bench --bench peers -- --quick             fewer rounds
//! cargo bench --bench peers -- --json              a line of JSON for each figure
//! cargo bench --bench peers -- --plot DIR          two SVGs besides
//! ```
//!
//! Each file has one scenario, and says what it measures and how the neighbours are set up. In all of them
//! contenders run in turns, in a new random order each round. A figure is the median over the rounds; a
//! ratio is the median of the rounds' ratios, so that what slows a whole round cancels out. Times have an
//! empty service's taken off. By themselves they say nothing: they are others on another machine. What
//! says something is the ratio
//!
//! - to the *best* neighbour that does the same job: with the same guarantee, shared by clones;
//! - to *governor*, where it takes part: shared, but up to 2 N pass in a window;
//! - to the *floor*, which does the least that any solution must, and less than is needed.
//!
//! Contenders that do less than the job (a limit that isn't shared, one that isn't exact) are in the tables, and
//! are not what the ratio is to, unless nobody does the job.
//!
//! Everywhere neighbours are built as their documentation says, and shared where they can be:
//! tower-resilience by `build_with_handle`, without listeners, metrics, or tracing; governor with its default
//! clock and without middleware; tower's `RateLimit` behind a `Buffer` of 1,024.
//!
//! The allocator counts when it is asked to; while time is taken it isn't, and then costs a look at a
//! thread-local.

#![allow(clippy::disallowed_methods, reason = "what is measured is real time")]

mod args;
mod field;
mod floor;
mod instructions;
mod neighbours;
mod policies;
mod race;
mod report;
mod service;
mod turned_away;
mod two_threads;
mod uncontended;

use std::{panic, process};

use clap::Parser;

use self::args::Args;

fn main() {
    // Others would wait for a thread that has panicked.
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        print(panic);
        process::exit(101);
    }));
    let args = Args::parse();
    // Some neighbours make timers, which need a runtime around them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime without threads or I/O");
    let _inside = runtime.enter();

    if let Some(path) = &args.count {
        return instructions::child(&uncontended::fields(), path, args.calls);
    }
    let pace = args.pace();
    for (name, run) in SCENARIOS {
        if args.wants(name) {
            report::show(name, &run(pace), &args);
        }
    }
}

type Scenario = fn(args::Pace) -> Vec<report::Section>;

const SCENARIOS: &[(&str, Scenario)] =
    &[("s1", uncontended::run), ("s2", two_threads::run), ("s6", turned_away::run)];
