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
//! - to the *floor*, which does the least for each call, and less than is needed.
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
mod crowd;
mod field;
mod floor;
mod giving_up;
mod growth;
mod instructions;
mod memory;
mod neighbours;
mod plot;
mod policies;
mod race;
mod rate_limited;
mod render;
mod report;
mod saturated;
mod service;
mod turned_away;
mod two_threads;
mod uncontended;
mod waiters;

use std::{panic, process};

use clap::Parser;

use self::{
    args::{Args, Pace},
    report::{Figure, Section},
};

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
        let fields: Vec<_> = uncontended::fields().into_iter().chain(growth::fields()).collect();
        return instructions::child(&fields, path, args.calls);
    }
    let pace = args.pace();
    for Scenario { name, run, plot } in &SCENARIOS {
        if args.wants(name) {
            let sections = run(pace);
            let text = (if args.json { render::lines } else { render::tables })(name, &sections);
            // What was run once, and perhaps without optimizations, is no measurement.
            if pace != Pace::Once {
                print!("{text}");
            }
            if let (Some(directory), Some((file, title, figure))) = (&args.plot, plot) {
                let path = directory.join(file);
                plot::over_waiters(&path, title, *figure, &sections).expect("a plot is written");
            }
        }
    }
}

struct Scenario {
    name: &'static str,
    run: fn(Pace) -> Vec<Section>,
    /// File, title, and what is drawn over the number of waiters.
    plot: Option<(&'static str, &'static str, Figure)>,
}

impl Scenario {
    const fn new(name: &'static str, run: fn(Pace) -> Vec<Section>) -> Self {
        Self { name, run, plot: None }
    }

    const fn plotted(self, file: &'static str, title: &'static str, figure: Figure) -> Self {
        Self { plot: Some((file, title, figure)), ..self }
    }
}

const SCENARIOS: [Scenario; 8] = [
    Scenario::new("s1", uncontended::run),
    Scenario::new("s2", two_threads::run),
    Scenario::new("s3", saturated::run).plotted(
        "throughput.svg",
        "Calls through a full limit",
        saturated::CALLS,
    ),
    Scenario::new("s4", rate_limited::run),
    Scenario::new("s5", memory::run).plotted("memory.svg", "Memory of a waiter", memory::IN_ALL),
    Scenario::new("s6", turned_away::run),
    Scenario::new("s7", giving_up::run),
    Scenario::new("growth", growth::run),
];
