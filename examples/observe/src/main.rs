//! A client and a server with limits, observed by Prometheus and OpenTelemetry.
//!
//! ```text
//! cargo run -p floodgate-observe
//! cargo run -p floodgate-observe -- --load 10m --stay --otlp http://127.0.0.1:4318
//! ```
//!
//! Sixty callers share a reqwest client with all three layers. Its server, axum's, has limits too,
//! tries a quota of each team of callers in a dry run, and fails from time to time. Some requests
//! are rejected, some are cancelled, some are retried. In the middle third of the time the client's
//! rate is above the quota of the server, which then pauses it.
//!
//! The metrics are for Prometheus to scrape, at the address that is printed. `docs/grafana.json` is
//! a dashboard for them, and `docs/observability.md` tells what its panels answer.
//!
//! At the end, the counts of the metrics and of the handles are compared with those of the callers
//! and of the server.

mod admin;
mod args;
mod client;
mod exposition;
mod load;
mod report;
mod server;
mod tally;
mod telemetry;

use std::{fs, io::Read, process::ExitCode};

use clap::Parser;
use tower::BoxError;
use tower_floodgate::observe::Limits;

use crate::{args::Args, exposition::Samples, load::CALLERS, report::Printed, telemetry::Export};

/// The names of the limits: those of each side.
const CLIENT: &str = "client";
const SERVER: &str = "server";
/// The name of the server's rule.
const TEAM: &str = "team";

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("counts differ: see the last column");
            ExitCode::from(3)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns true if all counts agree.
async fn run(args: Args) -> Result<bool, BoxError> {
    // Before the limits, so that their metrics begin at zero.
    let metrics = telemetry::record_metrics()?;
    let traces = telemetry::trace(args.log, args.otlp.as_deref())?;
    let limits = Limits::new();
    let server = server::start(&limits, args.seed).await?;
    let (address, mut scrapes) = admin::start(args.admin, limits.clone(), metrics.clone()).await?;
    println!("metrics: http://{address}/metrics");
    if args.wait {
        scrapes.wait_for(|scrapes| *scrapes == 2).await?;
    }

    println!("{CALLERS} callers for {}", humantime::format_duration(args.load));
    let (of_load, seed) = (server.clone(), args.seed);
    let in_load = limits.clone();
    let (observed, seen) = tokio::task::spawn_blocking(move || {
        let (client, observed) = client::client(&in_load, seed)?;
        let seen = load::run(&client, &observed, &of_load, args.load, seed)?;
        Ok::<_, BoxError>((observed, seen))
    })
    .await??;
    server.at_rest().await;

    let exported = tokio::task::spawn_blocking(|| traces.map_or(Ok(()), Export::end)).await?;
    limits.record_metrics();
    let samples = Samples::read(&metrics.render());
    let rows = report::rows(&samples, &observed, &server, &seen);
    println!("{}", Printed(&rows));
    println!(
        "{} requests: {} succeeded, {} failed, {} rejected, {} left the queue, {} dropped in flight",
        seen.requests, seen.succeeded, seen.failed, seen.rejected, seen.impatient, seen.dropped
    );
    if let Some(path) = &args.report {
        fs::write(path, serde_json::to_vec_pretty(&rows)?)?;
    }
    exported?;
    if args.stay {
        println!("serving the metrics until the standard input ends");
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    }
    Ok(rows.iter().all(report::Row::agrees))
}
