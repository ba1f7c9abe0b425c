//! A client with all the layers and a limit of twice the server's rate, which obeys the responses:
//! each request succeeds in the end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::future::join_all;
use reqwest::{Client, Method, Request, Response, StatusCode, retry};
use tower::{ServiceBuilder, ServiceExt};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, PauseOnHintLayer,
    WindowRateLimitLayer,
    client::{HttpClassifier, HttpHints},
    retry::Backoff,
};

use crate::{RATE, timed};

const REQUESTS: u32 = 400;

/// While requests are rejected, the server accepts as many as its rate, so rejections end after
/// some seconds. This number of attempts, with waits of a second on average, takes most of a
/// minute.
const ATTEMPTS: u32 = 50;

/// The server rejects with `status`.
pub(crate) async fn scene(server: &str, url: &str, status: u16) {
    let limit = WindowRateLimitLayer::new(RATE * 2, Duration::from_secs(1));
    let policy = ExponentialRetry::new(ATTEMPTS)
        .backoff(Backoff::new(Duration::from_millis(200), Duration::from_secs(2)))
        .classify(HttpClassifier::new())
        .clone_with(Request::try_clone);
    let rejected = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&rejected);
    let handle = limit.handle();
    let client = ServiceBuilder::new()
        .layer(ConcurrencyBackpressureLayer::new(REQUESTS / 2))
        .layer(ExponentialRetryLayer::new(policy))
        .layer(limit)
        .layer(PauseOnHintLayer::new(handle, HttpHints::new()))
        .map_response(move |response: Response| {
            assert!([200, status].contains(&response.status().as_u16()));
            count.fetch_add(u32::from(response.status() != StatusCode::OK), Relaxed);
            response
        })
        .service(Client::builder().retry(retry::never()).build().unwrap());

    let mut sent = 0;
    let round = || {
        let calls = (0..REQUESTS).map(|_| {
            let request = Request::new(Method::GET, url.parse().unwrap());
            let call = client.clone().oneshot(request);
            async { call.await.unwrap().status() }
        });
        join_all(calls)
    };
    let ((), took) = timed(async {
        // A machine slower than the server's rate repeats until it was faster.
        while rejected.load(Relaxed) == 0 {
            let statuses = round().await;
            assert!(statuses.iter().all(|&status| status == StatusCode::OK), "{statuses:?}");
            sent += REQUESTS;
        }
    })
    .await;
    let rejected = rejected.load(Relaxed);
    println!("{server}: all {sent} passed in {took:.2?}, after {rejected} rejections");
}
