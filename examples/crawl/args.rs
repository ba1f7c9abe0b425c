//! The options, and the layers they make.

use std::time::Duration;

use clap::{CommandFactory, Parser, ValueEnum, builder::RangedU64ValueParser, error::ErrorKind};
use reqwest::Url;
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, InvalidSetting, WindowRateLimitLayer,
    retry::{Backoff, Jitter},
};

/// Fetches pages of a slow and flaky HTTP API: a few at a time, within its quota, again if need be.
///
/// Without --url it starts such an API itself, on a port of this machine, and crawls that. At
/// the end it prints when each request went out, and checks what it promised.
#[derive(Debug, Parser)]
#[command(name = "crawl", after_help = EXIT_CODES, verbatim_doc_comment, allow_negative_numbers = true)]
pub(crate) struct Args {
    /// Pages to fetch
    #[arg(long, default_value_t = 10, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) tasks: usize,

    /// Requests in any --window, those of retries included
    #[arg(long, value_name = "REQUESTS", default_value_t = 2)]
    pub(crate) rate: u64,

    /// The span of time that --rate is about, wherever it begins
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) window: Duration,

    /// Tasks that may wait in line; the producer waits while the line is full
    #[arg(long, value_name = "TASKS", default_value_t = 5)]
    pub(crate) queue: usize,

    /// Tasks under way at a time: sending, awaiting an answer, or waiting to try again
    ///
    /// Two that take a second each make two requests a second; the third is there for the rate
    /// limit to hold back.
    #[arg(long, value_name = "TASKS", default_value_t = 3, verbatim_doc_comment)]
    pub(crate) in_flight: usize,

    /// Attempts of a task at most, the first one included
    #[arg(long, default_value_t = 3)]
    pub(crate) attempts: u32,

    /// The wait before the first retry; doubled for each one after it
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) base_delay: Duration,

    /// The longest wait before a retry
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) max_delay: Duration,

    /// How the waits before retries are spread
    ///
    /// Not at all by default, so that the 1 s and 2 s can be read off the report. Where many call
    /// one server, choose full: then those that failed together don't come back together.
    #[arg(long, value_enum, default_value_t = Spread::None, verbatim_doc_comment)]
    pub(crate) jitter: Spread,

    /// How long an attempt may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,

    /// Decides which requests the built-in API fails, and how the jitter falls
    #[arg(long, default_value_t = 9)]
    pub(crate) seed: u64,

    /// The share of requests that the built-in API fails, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, value_parser = share, conflicts_with = "url")]
    pub(crate) failures: f64,

    /// How long the built-in API takes for an answer
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1s",
        value_parser = humantime::parse_duration,
        conflicts_with = "url"
    )]
    pub(crate) delay: Duration,

    /// Fetches this instead of the built-in API, once for each task
    ///
    /// Redirects are not followed: the rate limit would not see those requests.
    #[arg(long, value_parser = http_url)]
    pub(crate) url: Option<Url>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  every promise was kept; tasks that failed for good are reported
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

/// The layers, as the options want them.
pub(crate) struct Layers {
    /// Lets in as many tasks as may be under way or in line.
    pub(crate) entrance: ConcurrencyBackpressureLayer,
    /// Lets as many be under way; the others are the line.
    pub(crate) line: ConcurrencyBackpressureLayer,
    pub(crate) retry: ExponentialRetry,
    pub(crate) backoff: Backoff,
    pub(crate) rate_limit: WindowRateLimitLayer,
}

impl Args {
    /// The layers have the last word on what is a right value.
    pub(crate) fn layers(&self) -> Result<Layers, clap::Error> {
        let line = ConcurrencyBackpressureLayer::try_new(self.in_flight)
            .map_err(|invalid| wrong("--in-flight", &invalid))?;
        let entrance = ConcurrencyBackpressureLayer::try_new(self.most_let_in())
            .map_err(|invalid| wrong("--in-flight + --queue", &invalid))?;
        let backoff = Backoff::try_new(self.base_delay, self.max_delay)
            .map_err(|invalid| wrong("--base-delay", &invalid))?
            .jitter(self.jitter.into());
        let retry = ExponentialRetry::try_new(self.attempts)
            .map_err(|invalid| wrong("--attempts", &invalid))?
            .backoff(backoff)
            .seed(self.seed);
        let rate_limit =
            WindowRateLimitLayer::try_new(self.rate, self.window).map_err(|invalid| {
                let option = if invalid.setting() == "window" { "--window" } else { "--rate" };
                wrong(option, &invalid)
            })?;
        Ok(Layers { entrance, line, retry, backoff, rate_limit })
    }

    /// How many tasks may be let in and not yet ended.
    pub(crate) fn most_let_in(&self) -> usize {
        self.in_flight.saturating_add(self.queue)
    }
}

fn wrong(option: &str, invalid: &InvalidSetting) -> clap::Error {
    let message = format!("invalid value for '{option}': {invalid}");
    Args::command().error(ErrorKind::ValueValidation, message)
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err("a share is between 0 and 1".to_owned())
    }
}

fn http_url(text: &str) -> Result<Url, String> {
    match text.parse::<Url>() {
        Ok(url) if ["http", "https"].contains(&url.scheme()) => Ok(url),
        Ok(url) => Err(format!("{} is neither http nor https", url.scheme())),
        Err(error) => Err(format!("{error}; it should look like https://host/path")),
    }
}
