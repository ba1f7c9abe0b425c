//! A client that is given nginx's rate: it uses 99 % of it and more, and nginx refuses not one of its requests.
//!
//! # What burst nginx must allow
//!
//! nginx limits by a leaky bucket, `limit_req`: of each second `RATE` requests leak out of it, counted in
//! milliseconds and in thousandths of a request, and a request that finds more than `burst` in it is refused, and
//! doesn't count. So as much is in it as, over the worst span that ends now, came more than leaked.
//!
//! Our window lets 100 go in any second, and has them go together: `100 * (k + 1)` in a span of `k` seconds, both
//! ends included, of which `100 * k` leak out. That leaves **100**, in whatever span.
//!
//! But nginx counts when requests *arrive*. What comes late, because the network or the machine takes its time,
//! comes beside what is issued meanwhile. A caller sends its next request only after the answer to the last, so at
//! any moment at most one per caller is between the two: of those that arrive within a span, at most **`CALLERS`**
//! were issued before it. At the other end, nginx takes for the time of an arrival that at which it last woke up:
//! it may take those of which it has heard since, once more at most **`CALLERS`**, for that much too early. And it
//! reads a clock that may be some milliseconds behind: **1** request.
//!
//! So `burst = 100 + 2 * CALLERS + 1` is enough, however slow and jerky the machine is. And it is not much more than
//! that: of a client that has 103 go together in each second, two or three more stay in each time, and half of the
//! 30 seconds is too much.
//!
//! How much of the quota is used is printed and not judged, for it depends on the machine: a window lasts a second and
//! as long as a timer needs to tell.

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

/// Far more than it takes to spend a window.
const CALLERS: u32 = 10;

/// Full windows. The first begins at once, so that the last does so after 30 seconds.
const WINDOWS: u32 = 31;

pub(crate) const ZONE: Zone =
    Zone { name: "obeying", burst: RATE + 2 * CALLERS + 1, status: 503, retry_after: false };

pub(crate) async fn scene(nginx: &Nginx) {
    let client = ServiceBuilder::new()
        .layer(WindowRateLimitLayer::new(RATE.into(), WINDOW))
        .service(Client::new());
    let requests = RATE * WINDOWS;
    let (answered, took) = timed(send(client, nginx, requests)).await;
    // The last window is over for us as soon as it is spent.
    let share = f64::from(requests - RATE) / (f64::from(RATE) * took.as_secs_f64()) * 100.0;
    println!(
        "obeying: {requests} requests by {CALLERS} callers in {took:.2?}, {} refused; {share:.1} % of nginx's rate",
        answered.refused
    );
    assert_eq!(answered, Answered { passed: requests, refused: 0 });
    assert!(took >= WINDOW * (WINDOWS - 1), "faster than the quota allows");

    // The control: unlimited, the same callers are refused as soon as they are faster than nginx allows.
    let mut refused = 0;
    while refused == 0 {
        refused = send(Client::new(), nginx, requests / 10).await.refused;
    }
    println!("obeying: without the limit, {refused} of {} refused", requests / 10);
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Answered {
    passed: u32,
    refused: u32,
}

/// Sends so many requests by all callers together, each of which waits for its answer.
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
                StatusCode::SERVICE_UNAVAILABLE => answered.refused += 1,
                other => panic!("nginx said {other}"),
            }
            // To the end, so that the connection can be used again.
            response.bytes().await.unwrap();
        }
        answered
    });
    join_all(callers).await.into_iter().fold(Answered::default(), |sum, one| Answered {
        passed: sum.passed + one.passed,
        refused: sum.refused + one.refused,
    })
}
