use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use tracing_subscriber::filter::Targets;

/// Puts a client and a server with limits under load, and exports their metrics and traces.
#[derive(Debug, Parser)]
#[command(name = "observe", after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Time under load, from 5s to 1h
    #[arg(long, value_name = "TIME", default_value = "12s", value_parser = load)]
    pub(crate) load: Duration,

    /// Address of the admin server, with the metrics for Prometheus
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    pub(crate) admin: SocketAddr,

    /// Exports traces to this collector (OTLP, protobuf over HTTP), such as http://127.0.0.1:4318
    #[arg(long, value_name = "URL")]
    pub(crate) otlp: Option<String>,

    /// Prints events of this level, such as tower_floodgate=debug
    #[arg(long, value_name = "FILTER", default_value = "error")]
    pub(crate) log: Targets,

    /// Writes the counts as JSON
    #[arg(long, value_name = "PATH")]
    pub(crate) report: Option<PathBuf>,

    /// Begins the load with the second scrape, so that rates are known from its beginning
    #[arg(long)]
    pub(crate) wait: bool,

    /// Serves the metrics after the load, until the standard input ends (Ctrl-D)
    #[arg(long)]
    pub(crate) stay: bool,

    /// Seed of the callers and of the server's failures
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  all counts agree
  1  an address is in use, the collector takes no traces, or a file cannot be written
  2  an option or its value is wrong
  3  counts do not agree";

fn load(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(5)..=Duration::from_secs(3600)).contains(&time) {
        Ok(time)
    } else {
        Err("expected a time from 5s to 1h".to_owned())
    }
}
