//! A client with nginx's rate as its limit: it uses 99 % of the rate and more, and nginx rejects
//! none of its requests.
//!
//! # The burst that nginx must allow
//!
//! nginx limits by a leaky bucket, `limit_req`. `RATE` requests leak out of it in each second,
//! counted in milliseconds and in thousandths of a request. A request that finds more than `burst`
//! in the bucket is rejected and not counted. So the bucket holds the excess of arrivals over
//! leakage in the worst span that ends now.
//!
//! Our window issues up to 100 in any second, possibly together: `100 * (k + 1)` in a span of `k`
//! seconds, both ends included, of which `100 * k` leak out. That leaves **100**, for any span.
//!
//! But nginx counts *arrivals*. Requests delayed by the network or the machine arrive beside those
//! issued meanwhile. A caller sends its next request only after the response to the last one, so at
//! any moment at most one request per caller is under way: of those that arrive within a span, at
//! most **`CALLERS`** were issued before it. At the other end, nginx takes the time of its last
//! wake-up for the time of an arrival, so it may date requests that arrived since too early, at
//! most **`CALLERS`** of them. And it reads a clock that may be some milliseconds behind: **1**
//! request.
//!
//! So `burst = 100 + 2 * CALLERS + 1` is enough at any speed of the machine. And it is tight: with
//! a client that issues 103 together in each second, two or three more remain each time, and half
//! of the 30 seconds exceeds it.
//!
//! The used share of the quota is printed and not judged, because it depends on the machine: a
//! window lasts a second plus the lateness of a timer.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use futures::future::join_all;
use reqwest::{Client, Method, Request, StatusCode};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_floodgate::WindowRateLimitLayer;

use crate::{
    RATE,
    server::{Nginx, Zone},
    timed,
};

const WINDOW: Duration = Duration::from_secs(1);

/// Far more than needed to use up a window.
const CALLERS: u32 = 10;

/// The number of full windows. The first begins at once, so the last begins after 30 seconds.
const WINDOWS: u32 = 31;

pub(crate) const ZONE: Zone =
    Zone { name: "obeying", burst: RATE + 2 * CALLERS + 1, status: 503, retry_after: false };

pub(crate) async fn scene(nginx: &Nginx) {
    let client =
        ServiceBuilder::new().layer(WindowRateLimitLayer::new(RATE, WINDOW)).service(Client::new());
    let requests = RATE * WINDOWS;
    let (answered, took) = timed(send(client, nginx, requests)).await;
    // The scene ends once the last window is used up.
    let share = f64::from(requests - RATE) / (f64::from(RATE) * took.as_secs_f64()) * 100.0;
    println!(
        "obeying: {requests} requests by {CALLERS} callers in {took:.2?}, {} rejected; {share:.1} % of nginx's rate",
        answered.rejected
    );
    assert_eq!(answered, Answered { passed: requests, rejected: 0 });
    assert!(took >= WINDOW * (WINDOWS - 1), "faster than the quota allows");

    // The control: without the limit, callers faster than nginx's rate are rejected.
    let mut rejected = 0;
    while rejected == 0 {
        rejected = send(Client::new(), nginx, requests / 10).await.rejected;
    }
    println!("obeying: without the limit, {rejected} of {} rejected", requests / 10);
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Answered {
    passed: u32,
    rejected: u32,
}

/// Sends `requests` by all callers together, each of which waits for its response.
async fn send<S>(client: S, nginx: &Nginx, requests: u32) -> Answered
where
    S: Service<Request, Response = reqwest::Response, Error = reqwest::Error> + Clone,
{
    let url = nginx.url(ZONE);
    let left = AtomicU32::new(requests);
    let take = || left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
    let callers = (0..CALLERS).map(|_| async {
        let (mut client, mut answered) = (client.clone(), Answered::default());
        while take() {
            let request = Request::new(Method::GET, url.parse().unwrap());
            let response = client.ready().await.unwrap().call(request).await.unwrap();
            match response.status() {
                StatusCode::OK => answered.passed += 1,
                StatusCode::SERVICE_UNAVAILABLE => answered.rejected += 1,
                other => panic!("nginx said {other}"),
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
