//! For arbitrary responses of a server, the layers together stay within the bounds on attempts and
//! waits.

use std::{
    convert::Infallible,
    future::ready,
    ops::Range,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use http::{HeaderName, HeaderValue, Request, Response};
use proptest::{collection::vec, prelude::*, sample::select};
use tokio::time::Instant;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, PauseOnHintLayer,
    WindowRateLimitLayer, client,
    pause_on_hint::ReadHint,
    retry::{Backoff, Classify, Jitter},
};

/// All headers that are read from a response.
const NAMES: [&str; 11] = [
    "retry-after",
    "date",
    "ratelimit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-ratelimit-reset-after",
    "grpc-status",
    "grpc-retry-pushback-ms",
    "grpc-status-details-bin",
];

/// Requests one after the other, on the same client.
const REQUESTS: usize = 3;

/// The lateness of up to three timers in a row, a millisecond each: of the backoff and of the
/// pause.
const TIMERS: Duration = Duration::from_millis(3);

#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    lines: Vec<(&'static str, Vec<u8>)>,
}

#[derive(Clone, Debug)]
struct Settings {
    max_attempts: u32,
    base: Duration,
    max: Duration,
    jitter: Jitter,
    max_hint: Duration,
    max_pause: Duration,
}

fn number() -> impl Strategy<Value = u64> {
    // Equally many of each length, and dates within one minute.
    let any_length = (0_u32..64, any::<u64>()).prop_map(|(bits, number)| number >> bits);
    prop_oneof![3 => any_length, 1 => 1_700_000_000_u64..1_700_000_060]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        4 => number().prop_map(|number| number.to_string()),
        1 => any::<i32>().prop_map(|number| number.to_string()),
        1 => (number(), number()).prop_map(|(whole, part)| format!("{whole}.{part}")),
        1 => select(&["0", "14", "8", "-1", "soon", ""][..]).prop_map(str::to_owned),
        // Only dates up to the year 9999 can be written.
        2 => number().prop_map(|secs| {
            let date = SystemTime::UNIX_EPOCH + Duration::from_secs(secs % 253_402_300_800);
            httpdate::fmt_http_date(date)
        }),
        2 => (0_u8..2, number()).prop_map(|(left, time)| format!("\"p\";r={left};t={time}")),
        1 => (0_u8..2, number()).prop_map(|(left, time)| format!("remaining={left}, reset={time}")),
    ];
    prop_oneof![8 => text.prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..12)]
}

fn answer() -> impl Strategy<Value = Answer> {
    let status = prop_oneof![select(&[200, 429, 500, 503][..]), 100_u16..1000];
    let lines = vec((select(&NAMES[..]), value()), 0..5);
    let any = (status, lines).prop_map(|(status, lines)| Answer { status, lines });
    // Few random combinations have a meaning; these do.
    let told = |status: u16, lines: &'static [(&str, &str)], name: &'static str| {
        number().prop_map(move |number| {
            let lines = lines.iter().map(|&(name, value)| (name, value.as_bytes().to_vec()));
            let told = (name, number.to_string().into_bytes());
            Answer { status, lines: lines.chain([told]).collect() }
        })
    };
    prop_oneof![
        3 => any,
        1 => told(429, &[], "retry-after"),
        1 => told(200, &[("ratelimit-remaining", "0")], "ratelimit-reset"),
        1 => told(200, &[("grpc-status", "14")], "grpc-retry-pushback-ms"),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let millis = |range: Range<u64>| Strategy::prop_map(range, Duration::from_millis);
    let jitter = select(&[Jitter::Full, Jitter::Equal, Jitter::Decorrelated, Jitter::None][..]);
    (1_u32..5, millis(1..200), millis(0..2000), jitter, millis(0..9000), millis(0..9000)).prop_map(
        |(max_attempts, base, more, jitter, max_hint, max_pause)| {
            let max = base + more;
            Settings { max_attempts, base, max, jitter, max_hint, max_pause }
        },
    )
}

/// The request's number and the time of each call, and the time at which the last request ended.
async fn calls<C, H>(
    settings: &Settings,
    answers: Vec<Answer>,
    classify: C,
    hints: H,
) -> Vec<(usize, Instant)>
where
    C: Classify<Request<usize>, Response<()>, Infallible> + Clone,
    H: ReadHint<Response<()>, Infallible> + Clone,
{
    let calls = Arc::new(Mutex::new(Vec::new()));
    let logged = Arc::clone(&calls);
    let server = service_fn(move |request: Request<usize>| {
        let mut calls = logged.lock().unwrap();
        let Answer { status, lines } = answers[calls.len() % answers.len()].clone();
        calls.push((*request.body(), now()));
        let mut response = Response::builder().status(status).body(()).unwrap();
        for (name, value) in lines {
            // An invalid header value is left out.
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                response.headers_mut().append(HeaderName::from_static(name), value);
            }
        }
        ready(Ok::<_, Infallible>(response))
    });
    let backoff = Backoff::new(settings.base, settings.max).jitter(settings.jitter);
    let policy = ExponentialRetry::new(settings.max_attempts)
        .backoff(backoff)
        .max_hint(settings.max_hint)
        .classify(classify);
    let rate = WindowRateLimitLayer::new(1000, Duration::from_secs(1));
    let pause = PauseOnHintLayer::new(rate.handle(), hints).max_pause(settings.max_pause);
    let mut client = ServiceBuilder::new()
        .layer(ConcurrencyBackpressureLayer::new(1))
        .layer(ExponentialRetryLayer::new(policy))
        .layer(rate)
        .layer(pause)
        .service(server);
    for number in 0..REQUESTS {
        client.ready().await.unwrap().call(Request::new(number)).await.unwrap();
    }
    let mut calls = calls.lock().unwrap().clone();
    calls.push((REQUESTS, now()));
    calls
}

/// Checks the number of calls and the times between them.
fn verdict_of(settings: &Settings, calls: &[(usize, Instant)]) -> Result<(), TestCaseError> {
    for number in 0..REQUESTS {
        let attempts = calls.iter().filter(|(of, _)| *of == number).count();
        prop_assert!((1..=settings.max_attempts as usize).contains(&attempts), "{}", attempts);
    }
    let backoff = settings.max_hint + settings.max;
    for pair in calls.windows(2) {
        let ((before, from), (after, to)) = (pair[0], pair[1]);
        // There is no backoff between requests or after the last one.
        let allowed = match after {
            REQUESTS => Duration::ZERO,
            _ if after == before => backoff.max(settings.max_pause) + TIMERS,
            _ => settings.max_pause + TIMERS,
        };
        prop_assert!(to - from <= allowed, "{:?} of {:?}", to - from, allowed);
    }
    Ok(())
}

#[test]
fn r2_r4_arbitrary_responses_keep_attempts_and_waits_in_bounds() {
    proptest!(|(settings in settings(), answers in vec(answer(), 1..6))| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let classify = client::HttpClassifier::new();
            let calls_made =
                calls(&settings, answers.clone(), classify, client::HttpHints::new()).await;
            verdict_of(&settings, &calls_made)?;
            #[cfg(feature = "grpc")]
            {
                let classify = client::GrpcClassifier::new();
                let calls_made = calls(&settings, answers, classify, client::GrpcHints).await;
                verdict_of(&settings, &calls_made)?;
            }
            Ok::<_, TestCaseError>(())
        })?;
    });
}

#[allow(clippy::disallowed_methods, reason = "tests look at tokio's clock, too")]
fn now() -> Instant {
    Instant::now()
}
