//! Compares this crate's layers with those of other crates, interleaved in one process.
//!
//! ```text
//! cargo run --release -p peers                      everything, as tables
//! cargo run --release -p peers -- --only s1,s6      some scenarios
//! cargo run --release -p peers -- --quick           fewer rounds
//! cargo run --release -p peers -- --json            a line of JSON for each figure
//! cargo run --release -p peers -- --plot DIR        two SVGs besides
//! cargo run -p peers -- --once                      every contender works; no figures
//! ```
//!
//! Each file of [`scenarios`] measures one thing and says how the peers are set up. The contenders
//! of a comparison take turns, in a new random order each round. A figure is the median over the
//! rounds. A ratio is the median of the ratios within the rounds, so that a disturbance of a whole
//! round cancels out. The time of an empty service is subtracted. A time by itself means nothing
//! on another machine; a ratio does. Ratios are
//!
//! - to the *best* peer that does the same job: with the same guarantee, shared by clones;
//! - to *governor*, where it takes part: shared, but up to 2 N pass in a window;
//! - to the *floor*, which does less for each call than any limit has to.
//!
//! Contenders that do less than the job (not shared, or not exact) are in the tables. They are the
//! reference of the ratio only where no peer does the job.
//!
//! Peers are built as their documentation says, and shared where they can be: tower-resilience by
//! `build_with_handle`, without listeners, metrics or tracing; governor with its default clock and
//! without middleware; tower's `RateLimit` behind a `Buffer` of 1,024.
//!
//! The allocator counts only on request. While time is measured, it costs one read of a
//! thread-local.

#![allow(clippy::disallowed_methods, reason = "the benchmarks measure real time")]

mod args;
mod batch;
mod contenders;
mod measure;
mod pace;
mod report;
mod scenarios;
mod service;

use std::{
    panic,
    process::{self, ExitCode},
};

use clap::Parser;

use self::{
    args::Args,
    measure::instructions,
    pace::Pace,
    report::{plot, render},
    scenarios::{SCENARIOS, Scenario},
};

fn main() -> ExitCode {
    // Threads that meet at a barrier would wait for the one that has panicked.
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        print(panic);
        process::exit(101);
    }));
    let args = Args::parse();
    let pace = args.pace();
    if cfg!(debug_assertions) && pace != Pace::Once {
        eprintln!("error: a build without optimizations measures nothing: use --release or --once");
        return ExitCode::from(2);
    }
    // Some peers create timers, which need a runtime.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime without threads or I/O");
    let _inside = runtime.enter();

    if let Some(path) = &args.count {
        instructions::child(&scenarios::counted(), path, args.calls);
        return ExitCode::SUCCESS;
    }
    for Scenario { name, run, plot } in SCENARIOS.iter().filter(|one| args.wants(one.name)) {
        let sections = run(pace);
        let text = (if args.json { render::lines } else { render::tables })(name, &sections);
        match pace {
            Pace::Once => println!("{name}: every contender works"),
            Pace::Quick | Pace::Full => print!("{text}"),
        }
        if let (Some(directory), Some((file, title, figure))) = (&args.plot, plot) {
            let path = directory.join(file);
            plot::over_waiters(&path, title, *figure, &sections).expect("the plot is written");
        }
    }
    ExitCode::SUCCESS
}
