//! A client with all the layers, and the rate of a server as its limit: it uses 99 % of the rate
//! and more, and the server rejects none of its requests. Without the limit, it rejects some.
//!
//! The used share of the quota is printed and not judged, because it depends on the machine: a
//! window lasts a second plus the lateness of a timer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::future::join_all;
use reqwest::{Client, Method, Request, Response, StatusCode, retry};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, PauseOnHintLayer, WindowRateLimitLayer,
    client::{HttpClassifier, HttpHints, HttpRetryLayer},
};

use crate::{CALLERS, RATE, timed};

const WINDOW: Duration = Duration::from_secs(1);

/// Sends as many requests as the limit allows in `windows` windows.
pub(crate) async fn scene(server: &str, url: &str, windows: u32) {
    let rate = WindowRateLimitLayer::new(RATE, WINDOW);
    let pause = PauseOnHintLayer::new(rate.handle(), HttpHints::new());
    let policy = ExponentialRetry::new(4).classify(HttpClassifier::new());
    let rejected = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&rejected);
    let client = ServiceBuilder::new()
        .layer(ConcurrencyBackpressureLayer::new(CALLERS))
        .layer(HttpRetryLayer::new(policy))
        .layer(rate)
        .layer(pause)
        .map_response(move |response: Response| {
            count.fetch_add(u32::from(response.status() != StatusCode::OK), Relaxed);
            response
        })
        .service(Client::builder().retry(retry::never()).build().unwrap());
    let requests = RATE * windows;
    let (answered, took) = timed(send(client, url, requests)).await;
    // The scene ends once the last window is used up.
    let share = f64::from(requests - RATE) / (f64::from(RATE) * took.as_secs_f64()) * 100.0;
    println!(
        "{server}, obeying: {requests} requests by {CALLERS} callers in {took:.2?}, {} rejected; {share:.1} % of the rate",
        answered.rejected
    );
    assert_eq!(answered, Answered { passed: requests, rejected: 0 });
    assert_eq!(rejected.load(Relaxed), 0, "no attempt exceeded the limit of the server");
    assert!(took >= WINDOW * (windows - 1), "faster than the quota allows");

    // The control: without the limit, callers faster than the server's rate are rejected.
    let mut rejected = 0;
    while rejected == 0 {
        rejected = send(Client::new(), url, 4 * RATE).await.rejected;
    }
    println!("{server}, obeying: without the limit, {rejected} of {} rejected", 4 * RATE);
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Answered {
    passed: u32,
    rejected: u32,
}

/// Sends `requests` by all callers together, each of which waits for its response.
async fn send<S>(client: S, url: &str, requests: u32) -> Answered
where
    S: Service<Request, Response = reqwest::Response, Error = reqwest::Error> + Clone,
{
    let left = AtomicU32::new(requests);
    let take = || left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
    let callers = (0..CALLERS).map(|_| async {
        let (mut client, mut answered) = (client.clone(), Answered::default());
        while take() {
            let request = Request::new(Method::GET, url.parse().unwrap());
            let response = client.ready().await.unwrap().call(request).await.unwrap();
            match response.status() {
                StatusCode::OK => answered.passed += 1,
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                    answered.rejected += 1;
                }
                other => panic!("the server said {other}"),
            }
            // Read to the end, so that the connection can be reused.
            response.bytes().await.unwrap();
        }
        answered
    });
    join_all(callers).await.into_iter().fold(Answered::default(), |sum, one| Answered {
        passed: sum.passed + one.passed,
        rejected: sum.rejected + one.rejected,
    })
}
