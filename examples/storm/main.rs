//! What retries do to a server that is down: five strategies, each through the same outage.
//!
//! ```text
//! cargo run --example storm
//! cargo run --example storm -- --out storm.svg
//! ```
//!
//! A thousand clients ask for 70 % of what a server can do. For ten seconds it stands still, and its
//! queue fills up. What then decides whether it ever comes back is the load: it works off its queue in
//! order, and a request that had to wait for longer than its client did is work done in vain. If clients
//! keep on asking for more than the server can do, the queue stays full, everything comes too late, and
//! the failures make for more retries. The outage is over, and the server is still down: a
//! *metastable failure*.
//!
//! Every strategy makes up to five attempts. They differ in the waits between them, and it depends on
//! the clients what these are good for:
//!
//! - **Closed** traffic: a client waits for its answer before it asks for anything else, so whoever
//!   backs off takes load away. Backoff saves the server; jitter keeps the load from coming back in waves.
//! - **Open** traffic: requests come whatever becomes of those before them, so backing off only puts
//!   the load off. What saves the server is a budget, which takes retries away. (Its price is that hardly
//!   a request outlasts the outage, just as without retries.)
//!
//! See Marc Brooker's [*What is Backoff For?*](https://brooker.co.za/blog/2022/08/11/backoff.html).
//!
//! The clock is tokio's, paused, and the dice are seeded: the same seed gives the same numbers.

mod plot;
mod server;
mod simulation;

use std::{error::Error, path::PathBuf, time::Duration};

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use tokio::time::Instant;
use tower_floodgate::{
    ExponentialRetry,
    retry::{Backoff, Jitter, RetryBudget},
};

use crate::{
    server::{CAPACITY, OUTAGE},
    simulation::{CLIENTS, LENGTH, Run, Traffic, USUAL},
};

const ATTEMPTS: u32 = 5;
/// The budget: retries per request, and retries a second that come free.
const RATIO: f64 = 0.1;
const FLOOR: u32 = 10;

/// What retries do to a server that is down.
#[derive(Debug, Parser)]
struct Args {
    /// Draw the load over time, too, as an SVG
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Seed of the clients' and the jitter's dice
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    println!(
        "{CLIENTS} clients, {USUAL} requests per second, for {LENGTH:?}. The server can do {CAPACITY} \
         and stands still from {:?} to {:?}.",
        OUTAGE.start, OUTAGE.end
    );
    let mut columns = Vec::new();
    for (traffic, title) in [
        (Traffic::Closed, "closed traffic: clients wait for their answers"),
        (Traffic::Open, "open traffic: requests come whatever happens"),
    ] {
        let mut runs = Vec::new();
        for (strategy, policy) in strategies(args.seed) {
            runs.push((strategy, simulation::run(traffic, policy, args.seed).await));
        }
        println!("\n{title}\n{}", table(&runs));
        check(traffic, &runs);
        columns.push((title, runs));
    }
    if let Some(path) = &args.out {
        plot::draw(path, &columns)?;
        println!("\nThe load over time is drawn in {}.", path.display());
    }
    Ok(())
}

fn strategies(seed: u64) -> [(&'static str, ExponentialRetry); 5] {
    let retry = ExponentialRetry::new(ATTEMPTS).seed(seed);
    // No wait is zero, but a millisecond comes close.
    let at_once = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
    let exponential = Backoff::new(Duration::from_secs(1), Duration::from_secs(20));
    // All clients share it, as the tasks of one process do.
    let budget = RetryBudget::new(RATIO).floor_per_second(FLOOR);
    [
        ("none", ExponentialRetry::new(1)),
        ("at once", retry.clone().backoff(at_once.jitter(Jitter::None))),
        ("exponential", retry.clone().backoff(exponential.jitter(Jitter::None))),
        ("exponential, jitter", retry.clone().backoff(exponential.jitter(Jitter::Full))),
        (
            "exponential, jitter, budget",
            retry.backoff(exponential.jitter(Jitter::Full)).budget(budget),
        ),
    ]
}

fn table(runs: &[(&str, Run)]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header([
        "retries",
        "recovered after",
        "attempts",
        "per request",
        "peak per second",
        "after the outage",
        "requests answered",
    ]);
    for (strategy, run) in runs {
        let recovery = match run.recovery() {
            Some(time) => format!("{:.1} s", time.as_secs_f64()),
            None => format!("not in {:?}", LENGTH - OUTAGE.end),
        };
        table.add_row([
            (*strategy).to_owned(),
            recovery,
            run.attempts.len().to_string(),
            format!("{:.2}", run.amplification()),
            run.peak().to_string(),
            run.peak_after_outage().to_string(),
            format!("{:.1} %", 100.0 * run.answered()),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// What is claimed above holds in the numbers.
fn check(traffic: Traffic, runs: &[(&str, Run)]) {
    let [(_, none), (_, at_once), (_, exponential), (_, jitter), (_, budget)] = runs else {
        panic!("there are five strategies")
    };
    assert!(none.recovery().is_some(), "the outage alone does no lasting harm");
    assert_eq!(at_once.recovery(), None);
    match traffic {
        Traffic::Closed => {
            let recovery = |run: &Run| run.recovery().expect("backoff saves the server");
            assert!(recovery(jitter) < recovery(exponential));
            assert!(exponential.peak_after_outage() > CAPACITY, "the load comes back in waves");
            assert!(jitter.peak_after_outage() < CAPACITY);
            assert!(at_once.answered() < none.answered(), "worse than no retries at all");
        }
        Traffic::Open => {
            assert_eq!(exponential.recovery(), None);
            assert_eq!(jitter.recovery(), None);
        }
    }
    assert!(budget.recovery().is_some());
    let retries = (budget.attempts.len() - budget.requests.len()) as f64;
    let seconds = LENGTH.as_secs_f64() + 1.0;
    let most = RATIO * budget.requests.len() as f64 + f64::from(FLOOR) * seconds;
    assert!(retries <= most, "{retries} retries where the budget has {most}");
}

#[allow(clippy::disallowed_methods, reason = "a simulation has a clock")]
fn now() -> Instant {
    Instant::now()
}
