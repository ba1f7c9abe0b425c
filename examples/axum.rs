//! An axum server with limits, and the responses that its clients see.
//!
//! ```text
//! cargo run --example axum --features reqwest
//! ```
//!
//! The limits reject with 503 and 429, without a `HandleErrorLayer`. A streamed response holds its
//! permit until the client has read it or disconnects. Health checks bypass the limits. At the end,
//! a client retries at the times that the server names, and the server is shut down, which ends the
//! streams.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{self, State},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{FutureExt, StreamExt, future::try_join_all, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::{Client, redirect, retry};
use tokio::{net::TcpListener, sync::oneshot, time::sleep};
use tower::{BoxError, ServiceBuilder};
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, ExemptLayer, ExponentialRetry,
    WindowRateLimitLayer,
    client::{Attempts, HttpClassifier, HttpRetryLayer, RequestBuilderExt},
    server::{RateLimitHeadersLayer, http_rejection, http_rejection_with_fallback},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // Up to two requests in flight, their bodies included, and no queue.
    let in_flight = ConcurrencyBackpressureLayer::new(2)
        .max_queue(0)
        .reject_with(http_rejection_with_fallback(SECOND * 5));
    // Up to four in any minute.
    let rate = WindowRateLimitLayer::new(4, MINUTE).max_queue(0).reject_with(http_rejection);
    let (permits, quota) = (in_flight.handle(), rate.handle());

    let limits = ServiceBuilder::new()
        .map_response(IntoResponse::into_response) // one response type for `ExemptLayer`
        .layer(in_flight.until_body_ends())
        .layer(RateLimitHeadersLayer::new("app", rate.handle()))
        .layer(rate);
    let is_health = |request: &extract::Request| request.uri().path() == "/health";
    let app = Router::new()
        .route("/", get(async || "hello"))
        .route("/events", get(events))
        .route("/health", get(async || "fine"))
        .layer(ExemptLayer::new(is_health, limits))
        .with_state(permits.clone());

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let (stop, stopped) = oneshot::channel::<()>(); // or tokio's `ctrl_c`
    let server = axum::serve(listener, app).with_graceful_shutdown(stopped.map(drop));
    let server = tokio::spawn(server.into_future());

    println!("two streams are open:");
    // The layers would not see redirects and retries by reqwest itself.
    let client = Client::builder().redirect(redirect::Policy::none()).retry(retry::never());
    let client = client.no_proxy().build()?;
    let streams = [ask(&client, &url, "events").await?, ask(&client, &url, "events").await?];
    assert_eq!(ask(&client, &url, "").await?.status(), 503);
    assert_eq!(ask(&client, &url, "health").await?.status(), 200);
    assert_eq!(permits.in_flight(), 2);

    println!("their clients have disconnected:");
    drop(streams);
    permits.drained().await;
    for expected in [200, 200, 429] {
        assert_eq!(ask(&client, &url, "").await?.status(), expected);
    }

    println!("four in a second now, and eight requests of a client that retries in time:");
    quota.set_window(SECOND)?;
    let policy = ExponentialRetry::new(10).classify(HttpClassifier::new().assume_no_redirects());
    let patient = ServiceBuilder::new()
        .layer(ConcurrencyBackpressureLayer::new(2))
        .layer(HttpRetryLayer::new(policy))
        .service(client.clone());
    let responses = (0..8).map(|_| client.get(&url).send_through(&patient));
    for response in try_join_all(responses).await? {
        println!("  {} at attempt {}", response.status(), Attempts::from_response(&response).get());
        assert_eq!(response.status(), 200);
    }

    println!("closed, while a stream is open:");
    quota.set_limit(1_000)?;
    let stream = ask(&client, &url, "events").await?;
    for handle in [permits.close(), quota.close()] {
        handle.expect("each service rejects by a response");
    }
    assert_eq!(ask(&client, &url, "").await?.status(), 503);
    assert_eq!(ask(&client, &url, "health").await?.status(), 200);
    let events = stream.text().await?; // to its end, with the events before the close
    assert!(events.starts_with("event"));
    permits.drained().await;
    let _ = stop.send(());
    server.await??;
    Ok(())
}

/// Streams an event now, and one more each second until the server shuts down.
async fn events(State(permits): State<ConcurrencyBackpressureHandle>) -> Response {
    let events = stream::unfold((), |()| async {
        sleep(SECOND).await;
        Some((Bytes::from("event\n"), ()))
    });
    let now = stream::iter([Bytes::from("event\n")]);
    let events = now.chain(events.take_until(permits.closed()));
    let frames = events.map(|data| Ok::<_, Infallible>(Frame::data(data)));
    Response::new(Body::new(StreamBody::new(frames)))
}

/// Sends a GET, prints the head of the response, and returns it with its body unread.
async fn ask(client: &Client, url: &str, path: &str) -> reqwest::Result<reqwest::Response> {
    let response = client.get(format!("{url}{path}")).send().await?;
    print!("  GET /{path:<8}{}", response.status());
    for name in ["ratelimit", "retry-after"] {
        if let Some(value) = response.headers().get(name) {
            print!("   {name}: {}", value.to_str().expect("text"));
        }
    }
    println!();
    Ok(response)
}
