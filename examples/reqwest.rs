//! A client behind all the layers, and a server with a quota of 5 requests a second.
//!
//! ```text
//! cargo run --example reqwest --features reqwest
//! ```
//!
//! Twelve tasks share the client, which doesn't know the quota: its own limit is far above. The first who is told
//! `429`, with a `Retry-After`, holds back all of them, and each has its answer in the end.
//!
//! The server is axum's, behind this crate's layers, too. Both talk over a port of 127.0.0.1, in real time.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing::get};
use reqwest::{Client, Method, Request, Response, StatusCode, Url, redirect, retry};
use tokio::{net::TcpListener, task::JoinSet, time::Instant};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, PauseOnHintLayer,
    WindowRateLimitLayer,
    client::{Attempts, HttpClassifier, HttpHints},
    retry::Backoff,
    server::http_rejection,
};

const QUOTA: u64 = 5;
const SECOND: Duration = Duration::from_secs(1);
const TASKS: u32 = 12;
const IN_FLIGHT: usize = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let start = now();
    let url: Url = serve().await?.parse()?;
    let events = Arc::new(Mutex::new(Vec::new()));
    let client = client(start, Arc::clone(&events))?;

    let mut tasks = JoinSet::new();
    for task in 1..=TASKS {
        let call = client.clone().oneshot(Request::new(Method::GET, url.clone()));
        tasks.spawn(async move {
            let response = call.await?;
            let (status, attempts) = (response.status(), Attempts::from_response(&response).get());
            let text = response.text().await?;
            let at = start.elapsed().as_secs_f64();
            println!("{at:>7.2} s  task {task:>2} has {text:?}, attempts: {attempts}");
            Ok::<_, BoxError>((status, attempts))
        });
    }
    let mut attempts = 0;
    while let Some(task) = tasks.join_next().await {
        let (status, took) = task??;
        assert_eq!(status, StatusCode::OK, "each has its answer in the end");
        attempts += took;
    }

    let events = events.lock().expect("nobody panicked");
    let refusals = events.iter().filter(|event| matches!(event, Event::Refused(_))).count();
    println!("{TASKS} answers, {attempts} attempts, {refusals} of them refused");
    assert_eq!(attempts as usize, TASKS as usize + refusals);
    for (number, event) in events.iter().enumerate() {
        if let Event::Refused(told) = event {
            // The server's second, counted from when it was heard.
            let early = |event: &Event| matches!(event, Event::Request(at) if *at < *told + SECOND);
            assert!(!events[number..].iter().any(early), "one refusal holds back everybody");
        }
    }
    Ok(())
}

/// What the client did, and when.
enum Event {
    Request(Instant),
    Refused(Instant),
}

/// What a user would write, but for the two places where it prints.
fn client(
    start: Instant,
    events: Arc<Mutex<Vec<Event>>>,
) -> Result<
    impl Service<Request, Response = Response, Error = reqwest::Error, Future: Send> + Clone,
    reqwest::Error,
> {
    // reqwest's own retries would be counted by nobody, and after a redirect it isn't known which request failed.
    let reqwest =
        Client::builder().retry(retry::never()).redirect(redirect::Policy::none()).build()?;
    let policy = ExponentialRetry::new(5)
        .backoff(Backoff::new(Duration::from_millis(100), Duration::from_secs(2)))
        .classify(HttpClassifier::new().assume_no_redirects())
        .clone_with(Request::try_clone);
    let rate = WindowRateLimitLayer::new(100, SECOND);
    let pause = PauseOnHintLayer::new(rate.handle(), HttpHints);

    let refusals = Arc::clone(&events);
    Ok(ServiceBuilder::new()
        .layer(ConcurrencyBackpressureLayer::new(IN_FLIGHT))
        .layer(ExponentialRetryLayer::new(policy))
        .layer(rate)
        .layer(pause)
        .map_response(move |response: Response| {
            if response.status() == StatusCode::TOO_MANY_REQUESTS {
                let hint = response.headers()["retry-after"].to_str().unwrap_or("strange");
                println!("{:>7.2} s  refused: Retry-After {hint}", start.elapsed().as_secs_f64());
                refusals.lock().expect("nobody panicked").push(Event::Refused(now()));
            }
            response
        })
        .map_request(move |request| {
            events.lock().expect("nobody panicked").push(Event::Request(now()));
            request
        })
        .service(reqwest))
}

/// A server that answers `QUOTA` requests in any second. Returns its address.
async fn serve() -> Result<String, BoxError> {
    let quota = WindowRateLimitLayer::new(QUOTA, SECOND).max_wait(Duration::ZERO);
    let app: Router =
        Router::new().route("/", get(|| async { "hello" })).layer(quota.respond(http_rejection));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(url)
}

#[allow(clippy::disallowed_methods, reason = "the demonstration shows times")]
fn now() -> Instant {
    Instant::now()
}
