//! What retries do to a server that is down: five strategies, each through the same outage.
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

use crate::simulation::{LENGTH, Run, Traffic};

/// What retries do to a server that is down.
#[derive(Debug, Parser)]
struct Args {
    /// Where to draw the load over time, as an SVG
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Makes another run of the same kind
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut columns = Vec::new();
    for (t, traffic) in [("closed", Traffic::Closed), ("open", Traffic::Open)] {
    let mut runs = vec![];
    let retry = ExponentialRetry::new(5).seed(args.seed);
    let backoff = Backoff::default();
    let budget = RetryBudget::new(0.1);
    let ms = Duration::from_millis(1);
    for (name, policy) in [
        ("no retries", ExponentialRetry::new(1)),
        ("at once", retry.clone().backoff(Backoff::new(ms, ms).jitter(Jitter::None))),
        ("exp", retry.clone().backoff(backoff.jitter(Jitter::None))),
        ("exp, jitter", retry.clone().backoff(backoff)),
        ("exp, jitter, budget", retry.backoff(backoff).budget(budget)),
    ] {
        let run = simulation::run(traffic, policy, args.seed).await;
        let off = run.offered();
        println!("{name:>20} {:?} requests {} attempts {} amp {:.2} peak {} after {} ok {:.2} %", run.recovery(), run.requests.len(), run.attempts.len(), run.amplification(), off.iter().max().unwrap(), run.peak_after(), 100.0*run.answered());
        runs.push((name, run));
    }
    columns.push((t.to_owned(), runs));
    }
    if let Some(path) = &args.out { plot::draw(path, &columns)?; }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "a simulation has a clock")]
fn now() -> Instant {
    Instant::now()
}
