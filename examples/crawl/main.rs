//! Crawls a slow and flaky HTTP API through all layers: a few pages at a time, within its quota,
//! with retries. Then it prints the course of each task, and checks the promises of the layers.
//!
//! `cargo run --example crawl` starts a server of its own. `-- --help` lists the options, and
//! `-- --url https://...` crawls that URL instead.
//!
//! ```text
//!      producer             a plain stream of tasks, polled for the next when there is room
//!         │
//!      entrance             ConcurrencyBackpressure: admits 8 tasks; the producer waits
//!         │ │ │ │ │         turn: each admitted task polls a clone of the services below
//!     concurrency           ConcurrencyBackpressure: 3 tasks in flight, so 5 are queued
//!         │ │ │
//!        retry              ExponentialRetry: up to 3 attempts, 1 s and 2 s apart
//!         │ │ │
//!      rate limit           WindowRateLimit: 2 requests in any second, and none while a hint
//!         │ │               of the server pauses it (PauseOnHint)
//!       client              reqwest
//! ```
//!
//! The promises depend on this order:
//!
//! - The *rate limit* is inside the retry, so every attempt counts against the quota.
//! - The *concurrency limit* is outside the retry, so a task keeps its permit during a backoff:
//!   while the server fails, no other task takes that permit and adds to the load.
//! - The *entrance* is outside the concurrency limit and bounds its queue. At the entrance the
//!   producer waits: the service is not ready, so the stream is not polled.
//!
//! `-- --hosts 5` crawls several hosts at once, with limits for each of them: see `hosts/mod.rs`.
//!
//! A program that needs no queue leaves out the entrance and the turns. Then the producer itself
//! waits for a permit and for the rate limit.

mod args;
mod client;
mod clock;
mod hosts;
mod log;
mod page;
mod progress;
mod recorder;
mod report;
mod site;
mod stall;
mod target;
mod turn;

use std::{
    error::Error,
    fmt::Display,
    io::{self, Write},
    pin::pin,
    process::ExitCode,
};

use clap::Parser;
use futures::{StreamExt, stream};
use humantime::format_duration;
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
    let result = match args.hosts {
        1 => {
            let layers = args.layers().unwrap_or_else(|error| error.exit());
            crawl(&args, layers).await
        }
        _ => hosts::crawl(&args).await,
    };
    match result {
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

    let Layers { entrance, concurrency, retry, backoff, rate_limit } = layers;
    let quota = rate_limit.handle();
    let queue = concurrency.handle();
    let retried = Retried::default();
    let progress = Progress::start(
        &heading(args, &target),
        args.tasks,
        {
            let queue = queue.clone();
            move || (queue.queued(), queue.in_flight())
        },
        retried.clone(),
    );

    let retry = retry
        .classify(page::verdict)
        .clone_with(Page::try_clone)
        .on_decision(move |decision| retried.note(decision));
    let crawler = ServiceBuilder::new()
        .layer(entrance)
        .layer(layer_fn(|inner| {
            let (queue, lengths) = (queue.clone(), log.clone());
            // Tasks join the queue in these polls, one task at a time, so every length is recorded.
            in_turn(inner, move || lengths.queue(queue.queued()), log.clone())
        }))
        .layer(concurrency)
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
    // Polls the producer for a page, waits until the crawler is ready for it, and so on.
    let mut ended = pin!(crawler.call_all(producer).unordered());
    while let Some(Ok(task)) = ended.next().await {
        progress.ended(&format!("task {task}"), &log.task(task));
    }
    progress.finish();

    let report = Report::of(args, &backoff, log.entries(), target.arrivals().as_deref());
    print(&report)?;
    Ok(report.exit_code())
}

fn heading(args: &Args, target: &Target) -> String {
    let Args { tasks, rate, queue, in_flight, attempts, .. } = args;
    let window = format_duration(args.window);
    format!(
        "Crawling {target}\n\
         with --tasks {tasks} --rate {rate} --window {window} --queue {queue} \
         --in-flight {in_flight} --attempts {attempts}\n"
    )
}

fn print(report: &impl Display) -> io::Result<()> {
    match io::stdout().write_all(report.to_string().as_bytes()) {
        // A reader that closes the pipe needs no more of the report.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
