//! A server with a quota of its own, by hyper, speaking HTTP/1.1 and HTTP/2.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderValue, Request, Response, Version, header::RETRY_AFTER, response::Builder};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};

use super::{Listening, date, now};

/// A limit for each window of a grid that begins with the server, and the headers that report it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    pub(crate) quota: u32,
    pub(crate) window: Duration,
    pub(crate) tells: Tells,
    pub(crate) retry_after: RetryAfter,
}

/// The headers that report the rest of the quota and of the window.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tells {
    Nothing,
    /// `RateLimit: "quota";r=5;t=1`, with `RateLimit-Policy`
    /// (draft-ietf-httpapi-ratelimit-headers-10).
    RateLimit,
    /// `RateLimit-Limit`, `-Remaining` and `-Reset` in seconds from now (the same draft up to 06).
    Separately,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset` in seconds from now.
    XSeconds,
    /// The same, `-Reset` in seconds of Unix time.
    XUnixTime,
}

/// The form of `Retry-After` (RFC 9110, 10.2.3). Rounded up: never before the end of the window.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RetryAfter {
    Seconds,
    Date,
}

/// A received request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) version: Version,
    pub(crate) answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 200.
    Granted,
    /// 429: rejected until this time.
    Refused { until: Instant },
}

#[derive(Debug)]
pub(crate) struct QuotaServer {
    listening: Listening,
    counter: Arc<Mutex<Counter>>,
}

#[derive(Debug)]
struct Counter {
    began: Instant,
    /// The window of the grid, and the number of requests in it.
    window: u128,
    used: u32,
    arrivals: Vec<Arrival>,
}

impl QuotaServer {
    pub(crate) async fn start(quota: Quota) -> Self {
        let counter = Counter { began: now(), window: 0, used: 0, arrivals: Vec::new() };
        let counter = Arc::new(Mutex::new(counter));
        let shared = Arc::clone(&counter);
        let listening = Listening::start(move |stream| {
            let counter = Arc::clone(&shared);
            async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = counter.lock().unwrap().answer(&quota, request.version());
                    async move { Ok::<_, Infallible>(answer) }
                });
                let server = auto::Builder::new(TokioExecutor::new());
                // Errors of a connection are the client's to report.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            }
        })
        .await;
        Self { listening, counter }
    }

    pub(crate) fn url(&self) -> String {
        self.listening.url("/")
    }

    /// All requests in the order of their arrival; the first is number 0.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.counter.lock().unwrap().arrivals.clone()
    }

    /// The time named by the first 429, and the requests after it.
    pub(crate) fn after_refusal(&self) -> Option<(Instant, Vec<Arrival>)> {
        let arrivals = self.arrivals();
        arrivals.iter().enumerate().find_map(|(number, arrival)| match arrival.answer {
            Answer::Refused { until } => Some((until, arrivals[number + 1..].to_vec())),
            Answer::Granted => None,
        })
    }
}

impl Counter {
    fn answer(&mut self, quota: &Quota, version: Version) -> Response<String> {
        let at = now();
        let elapsed = at.duration_since(self.began).as_nanos();
        let window = elapsed / quota.window.as_nanos();
        if window != self.window {
            (self.window, self.used) = (window, 0);
        }
        let left = quota.window.as_nanos() - elapsed % quota.window.as_nanos();
        let left = Duration::from_nanos(u64::try_from(left).unwrap());
        let granted = self.used < quota.quota;
        self.used += u32::from(granted);

        let response = quota.tell(Response::builder(), quota.quota - self.used, left);
        let (answer, response) = if granted {
            (Answer::Granted, response.status(200))
        } else {
            let (value, wait) = quota.retry_after.after(left);
            (Answer::Refused { until: at + wait }, response.status(429).header(RETRY_AFTER, value))
        };
        self.arrivals.push(Arrival { at, version, answer });
        response.body(format!("{answer:?}")).unwrap()
    }
}

impl Quota {
    /// Adds the headers of each response.
    fn tell(&self, response: Builder, remaining: u32, left: Duration) -> Builder {
        let (quota, window) = (self.quota, self.window.as_secs());
        let seconds = round_up(left);
        let three = |response: Builder, prefix: &str, reset: u64| {
            response
                .header(format!("{prefix}-limit"), quota)
                .header(format!("{prefix}-remaining"), remaining)
                .header(format!("{prefix}-reset"), reset)
        };
        match self.tells {
            Tells::Nothing => response,
            Tells::RateLimit => response
                .header("ratelimit-policy", format!("\"quota\";q={quota};w={window}"))
                .header("ratelimit", format!("\"quota\";r={remaining};t={seconds}")),
            Tells::Separately => three(response, "ratelimit", seconds),
            Tells::XSeconds => three(response, "x-ratelimit", seconds),
            Tells::XUnixTime => three(response, "x-ratelimit", round_up(since_1970(date()) + left)),
        }
    }
}

impl RetryAfter {
    /// The value for a wait of at least `left`, and the exact wait that it means.
    fn after(self, left: Duration) -> (HeaderValue, Duration) {
        match self {
            Self::Seconds => {
                let seconds = round_up(left);
                (HeaderValue::from(seconds), Duration::from_secs(seconds))
            }
            Self::Date => {
                let today = since_1970(date());
                let until = Duration::from_secs(round_up(today + left));
                let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + until);
                (HeaderValue::try_from(text).unwrap(), until - today)
            }
        }
    }
}

fn since_1970(date: SystemTime) -> Duration {
    date.duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

/// Rounds up to whole seconds.
fn round_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
