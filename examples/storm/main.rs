//! What retries do to a server that is down: seven strategies, each through the same outage.
//!
//! ```text
//! cargo run --example storm
//! cargo run --example storm -- --out storm.svg
//! cargo run --release --example storm -- --outage 10m --after 10m --amplification outage.svg
//! cargo run --release --example storm -- --seeds 20
//! ```
//!
//! A thousand clients ask for 70 % of what a server can do. For ten seconds it stands still, and its
//! queue fills up. What then decides whether it ever comes back is the load: it works off its queue in
//! order, and a request that had to wait for longer than its client did is work done in vain. If clients
//! keep on asking for more than the server can do, the queue stays full, everything comes too late, and
//! the failures make for more retries. The outage is over, and the server is still down: a
//! *metastable failure*.
//!
//! Every strategy makes up to five attempts. They differ in the waits between them and in whether there
//! is a budget, and it depends on the clients what these are good for:
//!
//! - **Closed** traffic: a client waits for its answer before it asks for anything else, so whoever
//!   backs off takes load away. Backoff saves the server; jitter keeps the load from coming back in waves.
//! - **Open** traffic: requests come whatever becomes of those before them, so backing off only puts
//!   the load off. What saves the server is a budget, which takes retries away. (Its price is that hardly
//!   a request outlasts the outage, just as without retries.)
//!
//! See Marc Brooker's [*What is Backoff For?*](https://brooker.co.za/blog/2022/08/11/backoff.html).
//!
//! Every run is held against what is promised of a budget, in every span of whole seconds (`bound`), and
//! against what is said here (`claims`). `docs/outage.md` has the results.
//!
//! The clock is tokio's, paused, and the dice are seeded: the same seed gives the same numbers.

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

/// What retries do to a server that is down.
#[derive(Debug, Parser)]
#[command(name = "storm", after_help = EXIT_CODES)]
struct Args {
    /// How long the server stands still: whole seconds, from 10s to 1h
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = |text: &str| seconds(10, text))]
    outage: Duration,

    /// How long it is watched after that: whole seconds, from 20s to 1h
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = |text: &str| seconds(20, text))]
    after: Duration,

    /// Seed of the clients' and the jitter's dice
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u32,

    /// So many seeds, from --seed on: the tables then show medians
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = RangedU64ValueParser::<u32>::new().range(1..=1000))]
    seeds: u32,

    /// Draw the load over time, too, as an SVG; of the first seed
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,

    /// Draw the attempts per request over time, too, as an SVG; of the first seed
    #[arg(long, value_name = "PATH")]
    amplification: Option<PathBuf>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  the budgets were kept, and what is said of the strategies is true
  1  a plot could not be written
  2  an option or its value is wrong
  3  a budget was overdrawn, or what is said of the strategies is not true";

/// What strategies have lived through, in the order of the seeds.
struct Lived {
    traffic: Traffic,
    strategies: Vec<(Strategy, Vec<Figures>)>,
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> ExitCode {
    let args = Args::parse();
    let times = Times::new(args.outage, args.after);
    println!(
        "{CLIENTS} clients, {USUAL} requests per second, for {}. The server can do {CAPACITY} and stands \
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
        let lived = live(&args, &times, traffic).await;
        println!("\n{}\n{}", traffic.title(), table::outcomes(&lived.strategies));
        all.push(lived);
    }

    let broken = match held(&all) {
        Ok(budgets) => {
            println!(
                "\nThe budgets: a retry for {REQUESTS_PER_RETRY} requests, {FLOOR} a second on top, and at \
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

async fn live(args: &Args, times: &Times, traffic: Traffic) -> Lived {
    let mut strategies = Vec::new();
    for strategy in STRATEGIES {
        let mut runs = Vec::new();
        for seed in (u64::from(args.seed)..).take(args.seeds as usize) {
            let run = simulation::run(times, traffic, strategy.policy(seed), seed).await;
            runs.push(Figures::of(&run));
        }
        strategies.push((strategy, runs));
    }
    Lived { traffic, strategies }
}

/// Every budget of every run, or the first that was overdrawn.
fn held(all: &[Lived]) -> Result<Vec<(String, Vec<Spans>)>, String> {
    let mut held = Vec::new();
    for lived in all {
        for (strategy, runs) in lived.strategies.iter().filter(|(strategy, _)| strategy.budget) {
            let name = format!("{}, {}", lived.traffic.name(), strategy.name);
            let spans = runs.iter().map(bound::check).collect::<Result<_, _>>();
            held.push((name.clone(), spans.map_err(|overdrawn| format!("{name}: {overdrawn}"))?));
        }
    }
    Ok(held)
}

fn draw(args: &Args, all: &[Lived]) -> Result<(), Box<dyn Error>> {
    let columns: Vec<plot::Column<'_>> = all
        .iter()
        .map(|Lived { traffic, strategies }| {
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
        println!("\nThe load over time is drawn in {}.", path.display());
    }
    if let Some(path) = &args.amplification {
        plot::amplification(
            path,
            &format!("Attempts per request through an outage of {outage}"),
            &columns,
        )?;
        println!("\nThe attempts per request are drawn in {}.", path.display());
    }
    Ok(())
}

fn seconds(least: u64, text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time.subsec_nanos() == 0 && (least..=3600).contains(&time.as_secs()) {
        Ok(time)
    } else {
        Err(format!("it takes whole seconds, from {least}s to 1h"))
    }
}

#[allow(clippy::disallowed_methods, reason = "a simulation has a clock")]
fn now() -> Instant {
    Instant::now()
}
