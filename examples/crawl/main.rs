//! The whole story: a slow and flaky HTTP API is crawled, a few pages at a time, within its quota, and
//! again if need be. Then what happened is printed, and held against what was promised.
//!
//! `cargo run --example crawl` needs nothing else: it starts a server of its own. `-- --help` tells what can
//! be set, `-- --url https://...` crawls another.
//!
//! ```text
//!      producer             a plain stream of tasks; is asked for the next when there is room
//!         │
//!      entrance             ConcurrencyBackpressure: 8 tasks are let in, the producer waits
//!         │ │ │ │ │         in turn: those let in ask for the rest of the way side by side
//!        line               ConcurrencyBackpressure: 3 are under way, so 5 stand in line
//!         │ │ │
//!        retry              ExponentialRetry: up to 3 attempts, 1 s and 2 s apart
//!         │ │ │
//!      rate limit           WindowRateLimit: 2 requests in any second, and none for as long as
//!         │ │               a server says so (PauseOnHint)
//!       client              reqwest
//! ```
//!
//! The order is what makes it true:
//!
//! - The *rate limit* is inside the retry, so every attempt counts against the quota, the first or not.
//! - The *line* is outside the retry, so a task keeps its place through a backoff: while the server
//!   is in trouble, no others take its place and add to that.
//! - The *entrance* is outside the line, because the line by itself would take in whoever comes. Who
//!   waits at the entrance is the producer: it isn't ready, so nothing more is asked of the stream.
//!
//! A program that needs no line leaves out the entrance and the turns: then the producer itself is
//! the one who waits, for a place as well as for its turn at the rate limit.

mod args;
mod client;
mod clock;
mod log;
mod page;
mod progress;
mod recorder;
mod report;
mod site;
mod target;
mod turn;

use std::{
    error::Error,
    io::{self, Write},
    pin::pin,
    process::ExitCode,
};

use clap::Parser;
use futures::{StreamExt, stream};
use tower::{ServiceBuilder, ServiceExt, layer::layer_fn};
use tower_floodgate::{ExponentialRetryLayer, PauseOnHintLayer};

use self::{
    args::{Args, Layers},
    client::client,
    clock::Clock,
    log::Log,
    page::Page,
    progress::{Progress, Retried},
    recorder::Recorder,
    report::Report,
    target::Target,
    turn::in_turn,
};

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let layers = args.layers().unwrap_or_else(|error| error.exit());
    match crawl(&args, layers).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(1)
        }
    }
}

async fn crawl(args: &Args, layers: Layers) -> Result<ExitCode, Box<dyn Error>> {
    let client = client(args)?;
    let clock = Clock::start();
    let log = Log::new(clock);
    let target = Target::of(args, clock).await?;

    let Layers { entrance, line, retry, backoff, rate_limit } = layers;
    let quota = rate_limit.handle();
    let queue = line.handle();
    let retried = Retried::default();
    let progress = Progress::start(args, &target, queue.clone(), retried.clone());

    let retry =
        retry.classify(page::verdict).clone_with(Page::try_clone).on_decision(move |decision| {
            if decision.retry_in().is_ok() {
                retried.add_one();
            }
        });
    let crawler = ServiceBuilder::new()
        .layer(entrance)
        .layer(layer_fn(|inner| in_turn(inner, queue.clone(), log.clone())))
        .layer(line)
        .layer(ExponentialRetryLayer::new(retry))
        .layer(rate_limit)
        .layer(PauseOnHintLayer::new(quota, page::hint))
        .layer(layer_fn(|inner| Recorder::new(inner, log.clone())))
        .map_request(Page::into_request)
        .and_then(page::read)
        .service(client);

    let producer = stream::iter(0..args.tasks).map(|_| {
        let task = log.made();
        Page { task, request: target.request(task) }
    });
    // Asks the producer for a page, waits until the crawler is ready for it, and so on.
    let mut ended = pin!(crawler.call_all(producer).unordered());
    while let Some(Ok(task)) = ended.next().await {
        progress.ended(task, &log.task(task));
    }
    progress.finish();

    let report = Report::of(args, &backoff, log.entries(), target.arrivals().as_deref());
    match io::stdout().write_all(report.to_string().as_bytes()) {
        // Whoever closed the pipe has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(report.exit_code()),
    }
}
