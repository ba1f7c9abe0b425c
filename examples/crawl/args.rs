//! The options and the layers made from them.

use std::time::Duration;

use clap::{CommandFactory, Parser, ValueEnum, builder::RangedU64ValueParser, error::ErrorKind};
use reqwest::Url;
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, InvalidSetting, WindowRateLimitLayer,
    retry::{Backoff, Jitter},
};

use crate::hosts::HOSTS;

/// Crawls a slow and flaky HTTP API: a few pages at a time, within its quota, with retries.
///
/// Without --url it starts such an API on a local port and crawls that. At the end it prints
/// when each request was sent, and checks its promises.
///
/// With --hosts it starts several, which differ in speed and quota, and crawls them at once.
#[derive(Debug, Parser)]
#[command(name = "crawl", after_help = EXIT_CODES, verbatim_doc_comment, allow_negative_numbers = true)]
pub(crate) struct Args {
    /// Pages to fetch
    #[arg(long, default_value_t = 10, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) tasks: usize,

    /// Requests in any --window, retries included
    #[arg(long, value_name = "REQUESTS", default_value_t = 2)]
    pub(crate) rate: u32,

    /// Length of the span of time that --rate limits
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) window: Duration,

    /// Tasks that may be queued; the producer waits while the queue is full
    #[arg(long, value_name = "TASKS", default_value_t = 5)]
    pub(crate) queue: u32,

    /// Tasks in flight: waiting for the rate limit, for a response, or for a retry
    ///
    /// Two tasks of a second each make two requests a second; the rate limit holds back the
    /// third.
    #[arg(long, value_name = "TASKS", default_value_t = 3, verbatim_doc_comment)]
    pub(crate) in_flight: u32,

    /// Most attempts of a task, including the first
    #[arg(long, default_value_t = 3)]
    pub(crate) attempts: u32,

    /// Wait before the first retry; doubled for each later one
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) base_delay: Duration,

    /// Longest wait before a retry
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) max_delay: Duration,

    /// Jitter of the waits before retries
    ///
    /// None by default, so that the report shows waits of 1 s and 2 s. Where many clients call one
    /// server, choose full: then requests that failed together are not retried together.
    #[arg(long, value_enum, default_value_t = Spread::None, verbatim_doc_comment)]
    pub(crate) jitter: Spread,

    /// Timeout of an attempt
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,

    /// Seed of the failures of the built-in API and of the jitter
    #[arg(long, default_value_t = 9)]
    pub(crate) seed: u64,

    /// Share of requests that the built-in API fails, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, value_parser = share, conflicts_with = "url")]
    pub(crate) failures: f64,

    /// Time that the built-in API takes for a response
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1s",
        value_parser = humantime::parse_duration,
        conflicts_with = "url"
    )]
    pub(crate) delay: Duration,

    /// Hosts to crawl at once, from 1 to 5; each has limits of its own
    ///
    /// Of several hosts, one is quick, one is slow, one responds with 429 and a time, one dies, and
    /// one fails now and then. --tasks and --queue are those of each host. The values of --rate,
    /// --in-flight and --delay are multiplied for each host: the report tells the products.
    #[arg(
        long,
        default_value_t = 1,
        value_parser = number_of_hosts,
        conflicts_with = "url",
        verbatim_doc_comment
    )]
    pub(crate) hosts: usize,

    /// URL to fetch once for each task, instead of the built-in API
    ///
    /// Redirects are not followed: the rate limit would not count those requests.
    #[arg(long, value_parser = http_url)]
    pub(crate) url: Option<Url>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  every promise was kept; failed tasks are reported
  1  no task succeeded, as with a server that can't be reached
  2  an option or its value is wrong
  3  a promise was broken";

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Spread {
    None,
    Equal,
    Full,
    Decorrelated,
}

impl From<Spread> for Jitter {
    fn from(spread: Spread) -> Self {
        match spread {
            Spread::None => Self::None,
            Spread::Equal => Self::Equal,
            Spread::Full => Self::Full,
            Spread::Decorrelated => Self::Decorrelated,
        }
    }
}

/// The layers that the options describe.
pub(crate) struct Layers {
    /// Admits as many tasks as may be in flight or queued.
    pub(crate) entrance: ConcurrencyBackpressureLayer,
    /// Admits as many tasks as may be in flight. The other admitted tasks wait in its queue.
    pub(crate) concurrency: ConcurrencyBackpressureLayer,
    pub(crate) retry: ExponentialRetry,
    pub(crate) backoff: Backoff,
    pub(crate) rate_limit: WindowRateLimitLayer,
}

impl Args {
    /// Makes the layers for one host, or returns their error about a value.
    pub(crate) fn layers(&self) -> Result<Layers, clap::Error> {
        let concurrency = ConcurrencyBackpressureLayer::try_new(self.in_flight)
            .map_err(|invalid| wrong("--in-flight", &invalid))?;
        let entrance = ConcurrencyBackpressureLayer::try_new(self.max_admitted())
            .map_err(|invalid| wrong("--in-flight + --queue", &invalid))?;
        let (retry, backoff) = self.retry()?;
        let rate_limit = WindowRateLimitLayer::try_new(self.rate, self.window)
            .map_err(|invalid| wrong(option_of(&invalid), &invalid))?;
        Ok(Layers { entrance, concurrency, retry, backoff, rate_limit })
    }

    /// Makes the retry and its backoff, or returns their error about a value.
    pub(crate) fn retry(&self) -> Result<(ExponentialRetry, Backoff), clap::Error> {
        let backoff = Backoff::try_new(self.base_delay, self.max_delay)
            .map_err(|invalid| wrong("--base-delay", &invalid))?
            .jitter(self.jitter.into());
        let retry = ExponentialRetry::try_new(self.attempts)
            .map_err(|invalid| wrong("--attempts", &invalid))?
            .backoff(backoff)
            .seed(self.seed);
        Ok((retry, backoff))
    }

    /// Returns the most tasks that may be admitted and not yet ended.
    pub(crate) fn max_admitted(&self) -> u32 {
        self.in_flight.saturating_add(self.queue)
    }
}

/// Returns the option of a setting of a rate limit.
pub(crate) fn option_of(invalid: &InvalidSetting) -> &'static str {
    match invalid.setting() {
        "window" => "--window",
        "max_in_flight" => "--in-flight",
        _ => "--rate",
    }
}

pub(crate) fn wrong(option: &str, invalid: &InvalidSetting) -> clap::Error {
    let message = format!("invalid value for '{option}': {invalid}");
    Args::command().error(ErrorKind::ValueValidation, message)
}

fn number_of_hosts(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(hosts @ 1..=HOSTS) => Ok(hosts),
        _ => Err(format!("expected a number from 1 to {HOSTS}; 1 is the crawl of one host")),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err("expected a share from 0 to 1".to_owned())
    }
}

fn http_url(text: &str) -> Result<Url, String> {
    match text.parse::<Url>() {
        Ok(url) if ["http", "https"].contains(&url.scheme()) => Ok(url),
        Ok(url) => Err(format!("{} is neither http nor https", url.scheme())),
        Err(error) => Err(format!("{error}; expected a URL such as https://host/path")),
    }
}
