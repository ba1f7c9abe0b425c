//! A client behind all the layers, and a server with a quota of 5 requests a second.
//!
//! ```text
//! cargo run --example reqwest --features reqwest
//! ```
//!
//! Twelve tasks share the client, with its own limit far above the quota. The first `429` with a
//! `Retry-After` holds back all of them, and each request succeeds in the end.
//!
//! The server is axum's, behind this crate's layers, too. Both talk over a port of 127.0.0.1, in
//! real time.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing::get};
use reqwest::{Client, Request, Response, StatusCode, redirect, retry};
use tokio::{net::TcpListener, task::JoinSet, time::Instant};
use tower::{BoxError, Service, ServiceBuilder};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, PauseOnHintLayer, WindowRateLimitLayer,
    client::{Attempts, HttpClassifier, HttpHints, HttpRetryLayer, RequestBuilderExt},
    retry::Backoff,
    server::http_rejection,
};

const QUOTA: u32 = 5;
const SECOND: Duration = Duration::from_secs(1);
const TASKS: u32 = 12;
const IN_FLIGHT: u32 = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let start = now();
    let url = serve().await?;
    let events = Arc::new(Mutex::new(Vec::new()));
    // The layers count each attempt, so reqwest makes none by itself. After a redirect, its error
    // would not tell which request failed.
    let reqwest =
        Client::builder().retry(retry::never()).redirect(redirect::Policy::none()).build()?;
    let client = client(reqwest.clone(), start, Arc::clone(&events));

    let mut tasks = JoinSet::new();
    for task in 1..=TASKS {
        let call = reqwest.get(&url).send_through(&client);
        tasks.spawn(async move {
            let response = call.await?;
            let (status, attempts) = (response.status(), Attempts::from_response(&response).get());
            let text = response.text().await?;
            let at = start.elapsed().as_secs_f64();
            println!("{at:>7.2} s  task {task:>2} received {text:?}, attempts: {attempts}");
            Ok::<_, BoxError>((status, attempts))
        });
    }
    let mut attempts = 0;
    while let Some(task) = tasks.join_next().await {
        let (status, took) = task??;
        assert_eq!(status, StatusCode::OK, "each request succeeds in the end");
        attempts += took;
    }

    let events = events.lock().expect("no task panicked");
    let rejections = events.iter().filter(|event| matches!(event, Event::Rejected(_))).count();
    println!("{TASKS} responses, {attempts} attempts, {rejections} of them rejected");
    assert_eq!(attempts as usize, TASKS as usize + rejections);
    for (number, event) in events.iter().enumerate() {
        if let Event::Rejected(told) = event {
            // The server's second, counted from the arrival of its response.
            let early = |event: &Event| matches!(event, Event::Request(at) if *at < *told + SECOND);
            assert!(!events[number..].iter().any(early), "one rejection holds back all requests");
        }
    }
    Ok(())
}

/// An event at the client, with its time.
enum Event {
    Request(Instant),
    Rejected(Instant),
}

/// The usual stack, except for the two layers that log events.
fn client(
    reqwest: Client,
    start: Instant,
    events: Arc<Mutex<Vec<Event>>>,
) -> impl Service<Request, Response = Response, Error = reqwest::Error, Future: Send> + Clone {
    let policy = ExponentialRetry::new(5)
        .backoff(Backoff::new(Duration::from_millis(100), Duration::from_secs(2)))
        .classify(HttpClassifier::new().assume_no_redirects());
    let rate = WindowRateLimitLayer::new(100, SECOND);
    let pause = PauseOnHintLayer::new(rate.handle(), HttpHints::new());

    let rejections = Arc::clone(&events);
    ServiceBuilder::new()
        .layer(ConcurrencyBackpressureLayer::new(IN_FLIGHT).until_body_ends())
        .layer(HttpRetryLayer::new(policy))
        .layer(rate)
        .layer(pause)
        .map_response(move |response: Response| {
            if response.status() == StatusCode::TOO_MANY_REQUESTS {
                let hint = response.headers()["retry-after"].to_str().unwrap_or("unreadable");
                println!("{:>7.2} s  rejected: Retry-After {hint}", start.elapsed().as_secs_f64());
                rejections.lock().expect("no task panicked").push(Event::Rejected(now()));
            }
            response
        })
        .map_request(move |request| {
            events.lock().expect("no task panicked").push(Event::Request(now()));
            request
        })
        .service(reqwest)
}

/// Starts a server that accepts `QUOTA` requests in any second. Returns its address.
async fn serve() -> Result<String, BoxError> {
    let quota = WindowRateLimitLayer::new(QUOTA, SECOND).max_wait(Duration::ZERO);
    let app: Router = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(quota.reject_with(http_rejection));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(url)
}

#[allow(clippy::disallowed_methods, reason = "the demonstration shows times")]
fn now() -> Instant {
    Instant::now()
}
