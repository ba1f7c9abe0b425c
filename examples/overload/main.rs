//! Limits of requests in flight before a real server, under more load than it can serve.
//!
//! ```text
//! cargo run --release --example overload
//! cargo run --release --example overload -- --out overload.svg
//! cargo run --release --example overload -- --for 25s
//! cargo run --release --example overload -- --cpu
//! ```
//!
//! The server is an axum router on a socket (`server`). Its work needs a bottleneck (`bottleneck`):
//! one of 40 permits, for a sleep of 20 ms in the mean, or with `--cpu` a processor. The work goes
//! on if the request is dropped, as a query does in a database.
//!
//! ```text
//!                       ┌──────────────────────── server ─────────────────────────┐
//!  load generator ─────►│ axum ─► limit ─► route ─► task with the work: bottleneck │
//!  (an open loop)       │         rejects           outlives its request           │
//!                       └─────────────────────────────────────────────────────────┘
//! ```
//!
//! The load generator (`load`) follows a schedule and never waits for responses, as many clients
//! together do. The latency of a request counts from its time in the schedule. The *goodput* is the
//! rate of responses within the deadline. The capacity is measured first, and the loads of the
//! scenes (`scene`) are multiples of it: a half, one, two and five. In two scenes a part of the
//! capacity is lost: once three quarters, and once nine tenths, with clients that drop a request at
//! its deadline.
//!
//! Each candidate (`candidate` is the part to copy) meets the same requests:
//!
//! - **No limit.** Beyond the capacity the queue grows until each response is late. The server
//!   works as hard as ever, in vain.
//! - **A fixed limit that is too high.** The same, behind a bound.
//! - **A fixed limit that is right.** The goodput is the capacity, and the other requests are
//!   rejected at once. With a tenth of the capacity, this limit is too high as well.
//! - **An adaptive limit.** It finds the right one by itself, at the start and after each change.
//! - **An adaptive limit with deadlines and classes.** Its queue may be of any length, because a
//!   request that would be late is rejected on arrival. Critical requests go first.
//!
//! In the first half of each scene limits may search; the second half is compared. The run checks
//! its own figures (`claims`), as ratios of one candidate to another, or to the capacity: other
//! work on the machine slows all of them.

mod bottleneck;
mod candidate;
mod claims;
mod figures;
mod load;
mod plot;
mod run;
mod scene;
mod server;
mod table;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{CommandFactory, Parser, error::ErrorKind};
use futures::future::try_join_all;
use humantime::format_duration;
use tokio::time::Instant;
use tower::BoxError;

use self::{
    bottleneck::Kind, candidate::Candidate, figures::Figures, plot::Results, scene::DEADLINE,
};

/// Compares limits of requests in flight before an overloaded server.
#[derive(Debug, Parser)]
#[command(name = "overload", after_help = EXIT_CODES)]
struct Args {
    /// Time of the whole run, of all candidates: from 20s to 1h; below 1m with fewer scenes
    #[arg(long = "for", value_name = "TIME", default_value = "110s", value_parser = time)]
    time: Duration,

    /// Seed of the requests and of the work
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// Writes an SVG of goodput, latency and limits over time
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,

    /// The work needs one thread for a computation, in the place of one of 40 permits for a sleep
    #[arg(long)]
    cpu: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  every claim about the limits holds
  1  the server could not be started, or the plot not be written
  2  an option or its value is wrong
  3  a claim about the limits does not hold";

/// The time in which the capacity is measured.
const MEASUREMENT: Duration = Duration::from_secs(2);
/// A run of less has fewer scenes, and more candidates at the same time.
const SHORT: Duration = Duration::from_secs(60);
/// The goodput of the good fixed limit at twice the load, of the capacity, below which something
/// else than the bottleneck is too slow.
const USABLE: f64 = 0.8;

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let args = Args::parse();
    let kind = if args.cpu { Kind::Computation } else { Kind::Sleep };
    let is_short = args.time < SHORT;
    if args.cpu && is_short {
        let text = "--cpu runs one candidate after the other: give it --for 1m or more";
        Args::command().error(ErrorKind::ArgumentConflict, text).exit();
    }
    let groups = Candidate::groups(kind, is_short);
    let capacity = bottleneck::capacity(kind, args.seed, MEASUREMENT).await;
    let scenes = scene::scenes((args.time - MEASUREMENT) / groups.len() as u32, is_short);
    println!(
        "A server of {capacity:.0} requests per second. Responses are in time within {}.",
        format_duration(DEADLINE)
    );

    let schedule: Arc<[_]> = load::schedule(&scenes, capacity, args.seed).into();
    let mut runs = Vec::new();
    for group in groups {
        // Those of a group run at the same time, each with a server of its own.
        let all = group
            .iter()
            .map(|&candidate| run::run(candidate, kind, args.seed, &scenes, Arc::clone(&schedule)));
        runs.extend(try_join_all(all).await?);
    }

    let results = Results { kind, capacity, scenes: &scenes, runs: &runs };
    for scene in &scenes {
        println!("\n{}\n{}", scene.name, table::scene(scene, results));
    }
    for run in runs.iter().filter(|run| run.candidate.has_classes()) {
        println!("\n{}\n{}", run.candidate.name(kind), table::classes(&scenes, run));
    }
    if is_too_slow(results) {
        println!(
            "\nNot the bottleneck is too slow, but the machine: take an idle one, and `--release`."
        );
    }
    let broken = claims::broken(results);
    for broken in &broken {
        eprintln!("broken: {broken}");
    }
    if let Some(path) = &args.out {
        plot::draw(path, results)?;
        println!("\nWrote goodput, latency and limits over time to {}.", path.display());
    }
    println!("\nclaims broken: {}", broken.len());
    Ok(ExitCode::from(if broken.is_empty() { 0 } else { 3 }))
}

/// Whether the good fixed limit misses the capacity at twice the load.
fn is_too_slow(results: Results<'_>) -> bool {
    let fixed = results.runs.iter().find(|run| run.candidate == Candidate::Fixed);
    let scene = results.scenes.iter().find(|scene| scene.is_twice());
    fixed.zip(scene).is_some_and(|(fixed, scene)| {
        Figures::of(fixed, &scene.settled()).goodput < USABLE * results.capacity
    })
}

fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (20..=3600).contains(&time.as_secs()) {
        Ok(time)
    } else {
        Err("expected a time from 20s to 1h".to_owned())
    }
}

#[allow(clippy::disallowed_methods, reason = "the example measures time")]
fn now() -> Instant {
    Instant::now()
}
