//! A fleet of processes that share the quota of an API through Redis. One of them is killed and
//! started again, and so is Redis. Then it prints their course, and checks the promises of the
//! quota.
//!
//! `cargo run -p tower-floodgate-redis --example fleet` starts a Redis of its own, which needs
//! `redis-server` on this machine. `-- --help` lists the options, and `-- --redis redis://...`
//! shares the quota through another one.
//!
//! ```text
//!  saturating ┐   each a process of its own:
//!  bursty     ┤
//!  steady     ┼─► retry ─► shared rate limit ─► reqwest ─► API, which counts by itself
//!  mortal     ┘                   │
//!                                 └─► Redis
//! ```
//!
//! - *saturating* takes all it can get, up to half of the quota: it has a `max_share`.
//! - *bursty* makes a burst of requests, and is quiet for a time.
//! - *steady* makes a request at regular times.
//! - *mortal* takes all it can get, is killed, and is started again.
//!
//! `member.rs` is the part to copy: the client of one process.

mod api;
mod args;
mod clock;
mod member;
mod process;
mod report;
mod spans;
mod store;
mod timeline;

use std::{error::Error, io::Write, process::ExitCode, time::Duration};

use clap::Parser;
use humantime::format_duration;
use tokio::time::sleep_until;

use self::{
    api::Api,
    args::{Appetite, Args},
    process::Process,
    report::{Course, Report},
    store::OwnRedis,
};

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    args.check().unwrap_or_else(|error| error.exit());
    let result = match args.member {
        Some(appetite) => member::run(&args, appetite).await.map(|()| ExitCode::SUCCESS),
        None => lead(args).await,
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(1)
    })
}

/// Starts the processes, and plays their course.
async fn lead(mut args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let mut own = None;
    let url = match &args.redis {
        Some(url) => url.clone(),
        None => own.insert(OwnRedis::start(args.persist).await?).url(),
    };
    store::ping(&url).await?;
    args.redis = Some(url.clone());
    let api = Api::open(args.rate, args.window).await?;
    args.api = Some(api.url());
    let window = format_duration(args.window);
    let length = args.length;
    eprintln!(
        "Four processes share {} requests in any {window} through {url}, for {}\n",
        args.rate,
        format_duration(length)
    );

    let begin = clock::instant();
    let at = |share: f64| sleep_until(begin + length.mul_f64(share));
    let mut course = Course { begin: clock::now(), ..Course::default() };
    let start = |appetite| Process::start(&args, appetite);
    let mut fleet = Appetite::ALL.into_iter().map(start).collect::<Result<Vec<_>, _>>()?;
    at(0.3).await;
    let mortal = fleet.pop().expect("it was started last");
    course.died = clock::now();
    let dead = mortal.kill().await?;
    at(0.45).await;
    fleet.push(start(Appetite::Mortal)?);
    course.reborn = clock::now();
    if let Some(own) = &mut own {
        at(0.6).await;
        let gone = clock::now();
        own.kill().await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        own.start_again().await?;
        course.redis_away = Some((gone, clock::now()));
    }
    at(1.0).await;
    course.end = clock::now();

    let mut logs = Vec::new();
    for process in fleet {
        logs.push(process.end().await?);
    }
    let mortal = logs.last_mut().expect("has four");
    mortal.join(dead);
    let report = Report::new(&args, course, logs, api.arrivals());
    std::io::stdout().write_all(report.to_string().as_bytes())?;
    Ok(report.exit_code())
}
