//! A demand, written in a random dialect among distractions, is obeyed: never early, never longer.
//!
//! The demand comes first, and is then written, so that the expected wait needs no parser.

#[path = "../support/paused_runtime.rs"]
mod paused_runtime;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use proptest::{collection::vec, prelude::*, sample::select};
use tokio::time::Instant;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    ExponentialRetry, ExponentialRetryLayer, PauseOnHintLayer, WindowRateLimitLayer,
    client::{HttpClassifier, HttpHints},
    retry::Backoff,
};

use crate::hold;

/// The form of a value.
#[derive(Clone, Copy, Debug)]
enum Form {
    Seconds,
    Decimal,
    Millis,
    UnixSeconds,
    UnixDecimal,
    UnixMillis,
    HttpDate,
    /// Hours east of Greenwich.
    Rfc3339(i8),
    Units,
    MillisWithUnit,
    /// A duration of ISO 8601.
    Iso8601,
    /// Days, and a clock behind this separator.
    Clock(&'static str),
}

impl Form {
    /// Writes a wait that ends at `now` and `millis`, and returns its length as written: some forms
    /// have whole seconds, and round up.
    fn write(self, millis: u64, now: u64) -> (String, u64) {
        let (seconds, rest) = (millis / 1000, millis % 1000);
        let whole = millis.div_ceil(1000);
        let date = |millis: u64| UNIX_EPOCH + Duration::from_millis(now * 1000 + millis);
        match self {
            Self::Seconds => (whole.to_string(), whole * 1000),
            Self::Decimal => (format!("{seconds}.{rest:03}"), millis),
            Self::Millis => (millis.to_string(), millis),
            Self::UnixSeconds => ((now + whole).to_string(), whole * 1000),
            Self::UnixDecimal => (format!("{}.{rest:03}", now + seconds), millis),
            Self::UnixMillis => ((now * 1000 + millis).to_string(), millis),
            Self::HttpDate => (httpdate::fmt_http_date(date(whole * 1000)), whole * 1000),
            Self::Rfc3339(east) => {
                let hour = Duration::from_secs(3600) * u32::from(east.unsigned_abs());
                let local = if east < 0 { date(millis) - hour } else { date(millis) + hour };
                let local = humantime::format_rfc3339_millis(local).to_string();
                let sign = if east < 0 { '-' } else { '+' };
                let offset = format!("{sign}{:02}:00", east.unsigned_abs());
                (local.replace('Z', &offset), millis)
            }
            Self::Units => {
                let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
                (format!("{hours}h{minutes}m{}.{rest:03}s", seconds % 60), millis)
            }
            Self::MillisWithUnit => (format!("{millis}ms"), millis),
            Self::Iso8601 => {
                let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
                (format!("PT{hours}H{minutes}M{}.{rest:03}S", seconds % 60), millis)
            }
            Self::Clock(separator) => {
                let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
                let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
                let clock = format!("{hours:02}:{minutes:02}:{seconds:02}.{rest:03}");
                (format!("{days}{separator}{clock}"), millis)
            }
        }
    }
}

/// Forms that have a unit of their own.
fn explicit() -> impl Strategy<Value = Form> {
    prop_oneof![
        Just(Form::HttpDate),
        (-12..=14_i8).prop_map(Form::Rfc3339),
        Just(Form::Units),
        Just(Form::MillisWithUnit),
        Just(Form::Iso8601),
        select(vec![".", " days ", " days, "]).prop_map(Form::Clock),
    ]
}

type Lines = Vec<(String, String)>;

/// A demand: the headers for a wait and a time, and the length of the wait as written.
#[derive(Clone, Debug)]
enum Demand {
    RetryAfter { name: &'static str, form: Form },
    Quota { remaining: String, reset: String, zero: Option<&'static str>, form: Form },
    RateLimit { name: &'static str, stated: bool, in_a_dictionary: bool },
}

impl Demand {
    fn write(&self, millis: u64, now: u64) -> (Lines, u64) {
        match self {
            Self::RetryAfter { name, form } => {
                let (value, millis) = form.write(millis, now);
                (vec![((*name).to_owned(), value)], millis)
            }
            Self::Quota { remaining, reset, zero, form } => {
                let (value, millis) = form.write(millis, now);
                let mut lines = vec![(reset.clone(), value)];
                lines.extend(zero.map(|zero| (remaining.clone(), zero.to_owned())));
                (lines, millis)
            }
            Self::RateLimit { name, stated, in_a_dictionary } => {
                let seconds = millis.div_ceil(1000);
                let value = match (in_a_dictionary, stated) {
                    (false, true) => format!("\"a\";r=9;t=99, \"b\";r=0;t={seconds}"),
                    (false, false) => format!("b;t={seconds}"),
                    (true, true) => format!("limit=9, remaining=0, reset={seconds}"),
                    (true, false) => format!("limit=9, reset={seconds}"),
                };
                (vec![((*name).to_owned(), value)], seconds * 1000)
            }
        }
    }

    /// Returns true if the server says that nothing remains.
    fn is_of_spent_quota(&self) -> bool {
        match self {
            Self::RetryAfter { .. } => false,
            Self::Quota { zero, .. } => zero.is_some(),
            Self::RateLimit { stated, .. } => *stated,
        }
    }
}

fn retry_after() -> impl Strategy<Value = Demand> {
    let seconds = select(vec![Form::Seconds, Form::Decimal, Form::UnixSeconds]);
    let names = ["retry-after", "x-retry-after", "x-acme-retry-after", "x-ratelimit-retry-after"];
    let in_millis = ["retry-after-ms", "x-ms-retry-after-ms"];
    prop_oneof![
        (select(names.to_vec()).boxed(), prop_oneof![seconds, explicit()]),
        (select(in_millis.to_vec()).boxed(), prop_oneof![Just(Form::Millis), explicit()]),
    ]
    .prop_map(|(name, form)| Demand::RetryAfter { name, form })
}

fn quota() -> impl Strategy<Value = Demand> {
    use Form::{Decimal, Millis, Seconds, UnixDecimal, UnixMillis, UnixSeconds};

    let by_size = select(vec![Seconds, Decimal, UnixSeconds, UnixDecimal, UnixMillis]);
    let reset = prop_oneof![
        (select(vec!["-reset", "-reset-at", "-resettime", "-reset-timestamp"]), by_size),
        (
            select(vec!["-reset-after", "-resets-in", "-reset-seconds"]),
            select(vec![Seconds, Decimal])
        ),
        (select(vec!["-reset-ms", "-reset-after-ms"]), Just(Millis)),
        (select(vec!["-reset", "-reset-at", "-reset-after", "-reset-ms"]), explicit()),
    ];
    let words = [
        "ratelimit",
        "x-ratelimit",
        "x-rate-limit",
        "acme-ratelimit",
        "x-app-limit",
        "x-acme-quota",
    ];
    let qualifiers = ["", "-tokens", "-requests-day", "-minute", "-v2"];
    let zeros = [None, Some("0"), Some("00"), Some("0.0"), Some("0;w=60"), Some("7, 0")];
    (
        reset,
        select(words.to_vec()),
        select(qualifiers.to_vec()),
        any::<bool>(),
        select(zeros.to_vec()),
    )
        .prop_map(|((reset, form), word, qualifier, in_front, zero)| {
            let name = |role: &str| {
                if in_front {
                    format!("{word}{qualifier}{role}")
                } else {
                    format!("{word}{role}{qualifier}")
                }
            };
            Demand::Quota { remaining: name("-remaining"), reset: name(reset), zero, form }
        })
}

fn rate_limit() -> impl Strategy<Value = Demand> {
    (select(vec!["ratelimit", "beta-ratelimit", "x-ratelimit"]), any::<bool>(), any::<bool>())
        .prop_map(|(name, stated, in_a_dictionary)| Demand::RateLimit {
            name,
            stated,
            in_a_dictionary,
        })
}

/// Headers that demand nothing, or less.
#[derive(Clone, Debug)]
enum Distraction {
    /// A quota with this rest, whatever its reset.
    Quota(&'static str, u64),
    /// A spent quota with a reset at this fraction of the demand.
    Shorter(f64),
    Line(&'static str, &'static str),
}

fn distraction() -> impl Strategy<Value = Distraction> {
    let rests = ["1", "598.0", "76;w=21600", "5, 7", "0.5", "none", "", "-1", "unlimited", "5, ?"];
    let lines = [
        ("content-type", "text/html"),
        ("x-request-id", "0"),
        ("x-ratelimit-limit", "10, 10;w=1"),
        ("ratelimit-policy", "\"default\";q=0;w=60"),
        ("x-ratelimit-bucket", "0"),
        ("x-ratelimit-used", "9000"),
        ("x-retry-count", "9000"),
        ("expires", "Tue, 14 Nov 2034 22:13:20 GMT"),
        ("x-password-reset-after", "9000"),
        ("other-retry-after", "soon"),
    ];
    prop_oneof![
        (select(rests.to_vec()), any::<u64>())
            .prop_map(|(rest, reset)| Distraction::Quota(rest, reset)),
        (0.0..=1.0).prop_map(Distraction::Shorter),
        select(lines.to_vec()).prop_map(|(name, value)| Distraction::Line(name, value)),
    ]
}

impl Distraction {
    fn write(&self, number: usize, millis: u64) -> Lines {
        let quota = |rest: &str, reset: u64| {
            let name = |role| format!("x-distraction{number}-ratelimit-{role}");
            vec![(name("remaining"), rest.to_owned()), (name("reset"), reset.to_string())]
        };
        match self {
            Self::Quota(rest, reset) => quota(rest, *reset),
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            Self::Shorter(fraction) => quota("0", (millis as f64 / 1000.0 * fraction) as u64),
            Self::Line(name, value) => vec![((*name).to_owned(), (*value).to_owned())],
        }
    }
}

#[derive(Clone, Debug)]
struct Case {
    demand: Demand,
    millis: u64,
    distractions: Vec<Distraction>,
    status: u16,
    date: u64,
    age: Option<u64>,
    reversed: bool,
    max_pause: Duration,
    max_hint: Duration,
}

fn case() -> impl Strategy<Value = Case> {
    let seconds = || (1..120_u64).prop_map(Duration::from_secs);
    (
        prop_oneof![retry_after(), quota(), rate_limit()],
        prop_oneof![4 => 1..200_000_u64, 1 => 1..400_000_000_u64],
        vec(distraction(), 0..6),
        select(vec![200, 301, 403, 404, 418, 420, 429, 500, 502, 503, 529]),
        1_500_000_000..1_900_000_000_u64,
        proptest::option::of(0..1_000_u64),
        any::<bool>(),
        (seconds(), seconds()),
    )
        .prop_map(|(demand, millis, distractions, status, date, age, reversed, bounds)| Case {
            demand,
            millis,
            distractions,
            status,
            date,
            age,
            reversed,
            max_pause: bounds.0,
            max_hint: bounds.1,
        })
}

impl Case {
    /// Returns the headers, and the demand as written.
    fn write(&self) -> (HeaderMap, Duration) {
        let (mut lines, millis) =
            self.demand.write(self.millis, self.date + self.age.unwrap_or_default());
        for (number, distraction) in self.distractions.iter().enumerate() {
            lines.extend(distraction.write(number, millis));
        }
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(self.date));
        lines.push(("date".to_owned(), date));
        lines.extend(self.age.map(|age| ("age".to_owned(), age.to_string())));
        if self.reversed {
            lines.reverse();
        }
        let line = |(name, value): (String, String)| {
            (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines.into_iter().map(line) {
            headers.append(name, value);
        }
        (headers, Duration::from_millis(millis))
    }

    /// Returns true if the demand counts on the status, as the page has it.
    fn counts(&self) -> bool {
        match (&self.demand, self.status) {
            (_, 429 | 503 | 529) => true,
            (Demand::RetryAfter { .. }, 403 | 418 | 420) => true,
            (demand, _) => demand.is_of_spent_quota(),
        }
    }

    /// Returns the longest spent quota among the distractions.
    fn shorter(&self, millis: u64) -> Option<Duration> {
        let shorter = self.distractions.iter().filter_map(|distraction| match distraction {
            Distraction::Shorter(_) => distraction.write(0, millis).pop(),
            _ => None,
        });
        shorter.map(|(_, seconds)| Duration::from_secs(seconds.parse().unwrap())).max()
    }
}

/// Checks a property for random cases.
fn holds(test: impl Fn(Case) -> Result<usize, TestCaseError>) {
    hold::hold(file!(), hold::name_of(&test), case(), &test);
}

fn local_clock() -> SystemTime {
    panic!("the response has a `Date`")
}

#[test]
fn r4_r9_demand_in_any_dialect_is_the_wait() {
    holds(|case| {
        let (headers, demand) = case.write();
        let status = StatusCode::from_u16(case.status).unwrap();
        let millis = u64::try_from(demand.as_millis()).unwrap();
        // The distractions are shorter, so without the demand they are what is left.
        let expected = if case.counts() { Some(demand) } else { case.shorter(millis) };
        let read = HttpHints::new().read(status, &headers, local_clock);
        prop_assert_eq!(read, expected, "{:?}", headers);
        Ok(1)
    });
}

#[test]
fn r4_r9_pause_and_retry_keep_to_demand_and_bounds() {
    holds(|case| {
        let (headers, demand) = case.write();
        if !case.counts() {
            return Ok(0);
        }
        paused_runtime::run(async {
            let limit = WindowRateLimitLayer::new(1_000, Duration::from_secs(1));
            let handle = limit.handle();
            let calls = Arc::new(Mutex::new(Vec::new()));
            let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(10));
            let policy = ExponentialRetry::new(2)
                .backoff(backoff)
                .max_hint(case.max_hint)
                .classify(HttpClassifier::new());
            let pause =
                PauseOnHintLayer::new(handle.clone(), HttpHints::new()).max_pause(case.max_pause);
            let log = Arc::clone(&calls);
            let server = service_fn(move |_: Request<()>| {
                let mut calls = log.lock().unwrap();
                calls.push(now());
                let mut response = Response::new(());
                if calls.len() == 1 {
                    *response.status_mut() = StatusCode::from_u16(case.status).unwrap();
                    *response.headers_mut() = headers.clone();
                }
                std::future::ready(Ok::<_, Infallible>(response))
            });
            let mut paused =
                ServiceBuilder::new().layer(limit).layer(pause).service(server.clone());
            paused.ready().await.unwrap().call(Request::new(())).await.unwrap();
            prop_assert_eq!(handle.estimated_wait(), demand.min(case.max_pause));

            calls.lock().unwrap().clear();
            let retried =
                ServiceBuilder::new().layer(ExponentialRetryLayer::new(policy)).service(server);
            retried.oneshot(Request::new(())).await.unwrap();
            let calls = calls.lock().unwrap();
            let is_retried = !matches!(case.status, 200 | 301 | 404) && demand <= case.max_hint;
            prop_assert_eq!(calls.len(), if is_retried { 2 } else { 1 });
            if is_retried {
                let wait = calls[1] - calls[0];
                // tokio's timer adds up to 1 ms.
                let longest = demand + Duration::from_millis(11);
                prop_assert!(demand <= wait && wait <= longest, "{:?} of {:?}", wait, demand);
            }
            Ok(1)
        })
    });
}

#[allow(clippy::disallowed_methods, reason = "tests look at tokio's clock, too")]
fn now() -> Instant {
    Instant::now()
}
