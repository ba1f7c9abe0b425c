//! Seven strategies of retries, each in the same outage of a server.
//!
//! ```text
//! cargo run --example storm
//! cargo run --example storm -- --out storm.svg
//! cargo run --release --example storm -- --outage 10m --after 10m --amplification outage.svg
//! cargo run --release --example storm -- --seeds 20
//! ```
//!
//! A thousand clients use 70 % of a server's capacity. For ten seconds the server stands still, and
//! its queue fills up. The load then decides whether the server recovers: it works off its queue in
//! order, and work on a request that its client has cancelled is wasted. If the load stays above
//! the capacity, the queue stays full, every response is too late, and the failures cause more
//! retries. The outage is over, and the server is still down: a *metastable failure*.
//!
//! Every strategy makes up to five attempts. The strategies differ in the waits between attempts
//! and in the budget. Their effect depends on the clients:
//!
//! - **Closed** traffic: a client waits for its response before it makes the next request, so a
//!   client that backs off reduces the load. With backoff the server recovers; jitter keeps the
//!   load from returning in waves.
//! - **Open** traffic: requests arrive at the same rate during failures, so backoff only postpones
//!   the load. With a budget, which reduces the number of retries, the server recovers. Its price
//!   is that hardly a request outlasts the outage, as without retries.
//!
//! See Marc Brooker's [article on backoff](https://brooker.co.za/blog/2022/08/11/backoff.html).
//!
//! Every run is checked against the promise of a budget in every span of whole seconds (`bound`)
//! and against the claims above (`claims`). `docs/outage.md` has the results.
//!
//! The clock is tokio's, paused, and the random numbers are seeded: the same seed gives the same
//! figures.

mod bound;
mod claims;
mod figures;
mod plot;
mod server;
mod simulation;
mod strategy;
mod table;

use std::{error::Error, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, builder::RangedU64ValueParser};
use humantime::format_duration;
use tokio::time::Instant;

use crate::{
    bound::Spans,
    figures::Figures,
    server::CAPACITY,
    simulation::{CLIENTS, Times, Traffic, USUAL},
    strategy::{FLOOR, REQUESTS_PER_RETRY, SAVED, STRATEGIES, Strategy},
};

/// Simulates an outage of a server under seven strategies of retries.
#[derive(Debug, Parser)]
#[command(name = "storm", after_help = EXIT_CODES)]
struct Args {
    /// Time for which the server stands still: whole seconds, from 10s to 1h
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = |text: &str| seconds(10, text))]
    outage: Duration,

    /// Time simulated after the outage: whole seconds, from 20s to 1h
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = |text: &str| seconds(20, text))]
    after: Duration,

    /// Seed of the clients' requests and of the jitter
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u32,

    /// Number of seeds, from --seed on; with several, the tables show medians
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = RangedU64ValueParser::<u32>::new().range(1..=1000))]
    seeds: u32,

    /// Writes an SVG of the load over time, of the first seed
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,

    /// Writes an SVG of the attempts per request over time, of the first seed
    #[arg(long, value_name = "PATH")]
    amplification: Option<PathBuf>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  every budget was kept, and every claim about the strategies holds
  1  a plot could not be written
  2  an option or its value is wrong
  3  a budget was exceeded, or a claim about the strategies does not hold";

/// The runs of each strategy in one kind of traffic, in the order of the seeds.
struct Results {
    traffic: Traffic,
    strategies: Vec<(Strategy, Vec<Figures>)>,
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> ExitCode {
    let args = Args::parse();
    let times = Times::new(args.outage, args.after);
    println!(
        "{CLIENTS} clients, {USUAL} requests per second, for {}. The server's capacity is {CAPACITY}; it stands \
         still from {} to {}.",
        format_duration(times.length),
        format_duration(times.outage.start),
        format_duration(times.outage.end),
    );
    if args.seeds > 1 {
        println!("{} seeds, from {} on: medians.", args.seeds, args.seed);
    }

    let mut all = Vec::new();
    for traffic in [Traffic::Closed, Traffic::Open] {
        let results = live(&args, &times, traffic).await;
        println!("\n{}\n{}", traffic.title(), table::outcomes(&results.strategies));
        all.push(results);
    }

    let broken = match held(&all) {
        Ok(budgets) => {
            println!(
                "\nThe budgets: one retry per {REQUESTS_PER_RETRY} requests, {FLOOR} more per second, and at \
                 most {SAVED} saved up\n{}",
                table::budgets(&budgets)
            );
            all.iter().flat_map(claims::broken).collect()
        }
        Err(overdrawn) => vec![overdrawn],
    };
    for broken in &broken {
        eprintln!("broken: {broken}");
    }
    let drawn = draw(&args, &all);
    if let Err(error) = &drawn {
        eprintln!("error: {error}");
    }
    ExitCode::from(match (broken.is_empty(), drawn.is_ok()) {
        (false, _) => 3,
        (true, false) => 1,
        (true, true) => 0,
    })
}

async fn live(args: &Args, times: &Times, traffic: Traffic) -> Results {
    let mut strategies = Vec::new();
    for strategy in STRATEGIES {
        let mut runs = Vec::new();
        for seed in (u64::from(args.seed)..).take(args.seeds as usize) {
            let run = simulation::run(times, traffic, strategy.policy(seed), seed).await;
            runs.push(Figures::of(&run));
        }
        strategies.push((strategy, runs));
    }
    Results { traffic, strategies }
}

/// Returns the spans of every run with a budget, or the first budget that was exceeded.
fn held(all: &[Results]) -> Result<Vec<(String, Vec<Spans>)>, String> {
    let mut held = Vec::new();
    for results in all {
        for (strategy, runs) in results.strategies.iter().filter(|(strategy, _)| strategy.budget) {
            let name = format!("{}, {}", results.traffic.name(), strategy.name);
            let spans = runs.iter().map(bound::check).collect::<Result<_, _>>();
            held.push((name.clone(), spans.map_err(|overdrawn| format!("{name}: {overdrawn}"))?));
        }
    }
    Ok(held)
}

fn draw(args: &Args, all: &[Results]) -> Result<(), Box<dyn Error>> {
    let columns: Vec<plot::Column<'_>> = all
        .iter()
        .map(|Results { traffic, strategies }| {
            let first = strategies.iter().map(|(strategy, runs)| (*strategy, &runs[0]));
            (traffic.title(), first.collect())
        })
        .collect();
    let outage = format_duration(args.outage);
    if let Some(path) = &args.out {
        plot::load(
            path,
            &format!("What retries do to a server that stands still for {outage}"),
            &columns,
        )?;
        println!("\nWrote the load over time to {}.", path.display());
    }
    if let Some(path) = &args.amplification {
        plot::amplification(
            path,
            &format!("Attempts per request through an outage of {outage}"),
            &columns,
        )?;
        println!("\nWrote the attempts per request to {}.", path.display());
    }
    Ok(())
}

fn seconds(least: u64, text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time.subsec_nanos() == 0 && (least..=3600).contains(&time.as_secs()) {
        Ok(time)
    } else {
        Err(format!("expected whole seconds, from {least}s to 1h"))
    }
}

#[allow(clippy::disallowed_methods, reason = "the simulation measures time")]
fn now() -> Instant {
    Instant::now()
}
