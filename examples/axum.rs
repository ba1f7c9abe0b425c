//! An axum server with limits on it, and what its clients see.
//!
//! ```text
//! cargo run --example axum --features reqwest
//! ```
//!
//! The limits answer by themselves, with 503 and 429: no `HandleErrorLayer`. An answer that is streamed holds its
//! place until the client has read it, or is gone. Health checks go past all that. At the end there is a client that
//! comes again when it is told to, and the server is shut down.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract,
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{FutureExt, StreamExt, future::try_join_all, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::{Client, Request, redirect, retry};
use tokio::{net::TcpListener, sync::oneshot, time::sleep};
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExemptLayer, ExponentialRetry, ExponentialRetryLayer,
    WindowRateLimitLayer,
    client::{Attempts, HttpClassifier},
    server::{RateLimitHeadersLayer, http_rejection, http_rejection_with_fallback},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // At most two at a time, their bodies included, and no line.
    let in_flight = ConcurrencyBackpressureLayer::new(2)
        .max_waiting(0)
        .respond(http_rejection_with_fallback(SECOND * 5));
    // At most four in any minute.
    let rate = WindowRateLimitLayer::new(4, MINUTE).max_waiting(0).respond(http_rejection);
    let (places, quota) = (in_flight.handle(), rate.handle());

    let limits = ServiceBuilder::new()
        .map_response(IntoResponse::into_response) // of one type again, for the exempted
        .layer(in_flight.until_body_ends())
        .layer(RateLimitHeadersLayer::new("app", rate.handle()))
        .layer(rate);
    let is_health = |request: &extract::Request| request.uri().path() == "/health";
    let app = Router::new()
        .route("/", get(async || "hello"))
        .route("/events", get(events))
        .route("/health", get(async || "fine"))
        .layer(ExemptLayer::new(is_health, limits));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let (stop, told) = oneshot::channel::<()>(); // or tokio's `ctrl_c`
    let server = axum::serve(listener, app).with_graceful_shutdown(told.map(drop));
    let server = tokio::spawn(server.into_future());

    println!("two streams are open:");
    // Redirects and retries of its own would be seen by no layer.
    let client = Client::builder().redirect(redirect::Policy::none()).retry(retry::never());
    let client = client.no_proxy().build()?;
    let streams = [ask(&client, &url, "events").await?, ask(&client, &url, "events").await?];
    assert_eq!(ask(&client, &url, "").await?.status(), 503);
    assert_eq!(ask(&client, &url, "health").await?.status(), 200);
    assert_eq!(places.in_flight(), 2);

    println!("their readers have gone:");
    drop(streams);
    places.drained().await;
    for expected in [200, 200, 429] {
        assert_eq!(ask(&client, &url, "").await?.status(), expected);
    }

    println!("four in a second now, and eight requests of a client that comes again when it may:");
    quota.set_window(SECOND)?;
    let policy = ExponentialRetry::new(10)
        .clone_with(Request::try_clone)
        .classify(HttpClassifier::new().assume_no_redirects());
    let patient = ServiceBuilder::new()
        .layer(ConcurrencyBackpressureLayer::new(2))
        .layer(ExponentialRetryLayer::new(policy))
        .service(client.clone());
    let answers = (0..8).map(async |_| {
        let request = client.get(&url).build()?;
        patient.clone().oneshot(request).await
    });
    for answer in try_join_all(answers).await? {
        println!("  {} at attempt {}", answer.status(), Attempts::from_response(&answer).get());
        assert_eq!(answer.status(), 200);
    }

    println!("closed:");
    places.close();
    assert_eq!(ask(&client, &url, "").await?.status(), 503);
    assert_eq!(ask(&client, &url, "health").await?.status(), 200);
    places.drained().await;
    let _ = stop.send(());
    server.await??;
    Ok(())
}

/// An event now, and another each second.
async fn events() -> Response {
    let events = stream::unfold((), |()| async {
        sleep(SECOND).await;
        Some((Bytes::from("event\n"), ()))
    });
    let now = stream::iter([Bytes::from("event\n")]);
    let frames = now.chain(events).map(|data| Ok::<_, Infallible>(Frame::data(data)));
    Response::new(Body::new(StreamBody::new(frames)))
}

/// The answer's head, which is printed. Its body is still to be read.
async fn ask(client: &Client, url: &str, path: &str) -> reqwest::Result<reqwest::Response> {
    let answer = client.get(format!("{url}{path}")).send().await?;
    print!("  GET /{path:<8}{}", answer.status());
    for name in ["ratelimit", "retry-after"] {
        if let Some(value) = answer.headers().get(name) {
            print!("   {name}: {}", value.to_str().expect("text"));
        }
    }
    println!();
    Ok(answer)
}
