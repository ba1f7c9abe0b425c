//! A server with a quota, and fifty tasks that share a client: reqwest behind all the layers.
//!
//! The client's own limit is far above the quota, so only obedience to the server's hints explains
//! the results.

use std::time::{Duration, Instant};

use futures::future::join_all;
use http::{Method, StatusCode, Version};
use reqwest::{Request, Response};
use tokio::task::JoinSet;
use tower::{ServiceBuilder, ServiceExt, util::BoxCloneService};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, PauseOnHintLayer,
    WindowRateLimitLayer,
    client::{HttpClassifier, HttpHints},
    pause_on_hint::ReadHint,
    retry::Backoff,
};

use crate::peer::{
    Log, now,
    quota::{Answer, Arrival, Quota, QuotaServer, RetryAfter, Tells},
    soon,
};

const TASKS: usize = 50;
const WINDOW: Duration = Duration::from_secs(1);
const QUOTA: u32 = 30;

/// Long enough for a slow machine. Pauses and waits are bounded by a minute.
const MOST_WINDOW: Duration = Duration::from_secs(16);

/// The outermost layer.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// The limit of requests in flight: its permit is held through the backoff.
    Backpressure,
    /// The retry: other requests use the permit during the backoff.
    Retry,
}

#[derive(Clone, Copy, Debug)]
struct Setup {
    order: Order,
    in_flight: u32,
    version: Version,
    /// True if a hint pauses all requests.
    obeys: bool,
}

/// The events of the client, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Issued(Instant),
    /// A 429 has been received, and read for its hint.
    Refused,
}

type Client = BoxCloneService<Request, Response, reqwest::Error>;

impl Setup {
    fn client(self, events: &Log<Event>) -> Client {
        let reqwest = reqwest::Client::builder().retry(reqwest::retry::never());
        let reqwest = match self.version {
            Version::HTTP_2 => reqwest.http2_prior_knowledge(),
            _ => reqwest,
        };
        let in_flight = ConcurrencyBackpressureLayer::new(self.in_flight);
        let policy = ExponentialRetry::new(20)
            .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(10)))
            .classify(HttpClassifier::new())
            .clone_with(Request::try_clone);
        let retry = ExponentialRetryLayer::new(policy);
        let rate = WindowRateLimitLayer::new(10_000, Duration::from_secs(1));
        let hint = move |result: &Result<Response, reqwest::Error>| {
            HttpHints::new().read_hint(result).filter(|_| self.obeys)
        };
        let pause = PauseOnHintLayer::new(rate.handle(), hint);
        let (issued, refused) = (events.clone(), events.clone());
        let client = ServiceBuilder::new()
            .layer(rate)
            .map_response(move |response: Response| {
                if response.status() == StatusCode::TOO_MANY_REQUESTS {
                    refused.note(Event::Refused);
                }
                response
            })
            .layer(pause)
            .map_request(move |request: Request| {
                issued.note(Event::Issued(now()));
                request
            })
            .service(reqwest.build().unwrap());
        match self.order {
            Order::Backpressure => {
                let layers = ServiceBuilder::new().layer(in_flight).layer(retry);
                BoxCloneService::new(layers.service(client))
            }
            Order::Retry => {
                let layers = ServiceBuilder::new().layer(retry).layer(in_flight);
                BoxCloneService::new(layers.service(client))
            }
        }
    }
}

/// Each task sends one request, and all succeed.
async fn all_succeed(client: &Client, url: &str) {
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let request = Request::new(Method::GET, url.parse().unwrap());
        let call = client.clone().oneshot(request);
        tasks.spawn(async {
            let response = soon(call).await.unwrap();
            let status = response.status();
            soon(response.bytes()).await.unwrap();
            status
        });
    }
    let statuses = soon(tasks.join_all()).await;
    assert!(statuses.iter().all(|&status| status == StatusCode::OK), "{statuses:?}");
}

/// The rejections in `arrivals`: the time that each names, and the requests after it.
fn refusals(arrivals: &[Arrival]) -> impl Iterator<Item = (Instant, &[Arrival])> {
    let numbered = arrivals.iter().enumerate();
    numbered.filter_map(|(number, arrival)| match arrival.answer {
        Answer::Refused { until } => Some((until, &arrivals[number + 1..])),
        Answer::Granted => None,
    })
}

/// Uses up the quota. Returns the events of the client and of the server.
async fn until_refused(setup: Setup, retry_after: RetryAfter) -> (Vec<Event>, Vec<Arrival>) {
    let mut window = WINDOW;
    loop {
        let quota = Quota { quota: QUOTA, window, tells: Tells::Nothing, retry_after };
        let (server, events) = (QuotaServer::start(quota).await, Log::new());
        all_succeed(&setup.client(&events), &server.url()).await;
        if server.after_refusal().is_some() {
            let arrivals = server.arrivals();
            assert!(arrivals.iter().all(|arrival| arrival.version == setup.version));
            return (events.read(), arrivals);
        }
        // On a slow machine the requests take several windows; a longer window is used up.
        window = MOST_WINDOW.min(2 * window);
    }
}

async fn one_refusal_holds_back_everybody(setup: Setup, retry_after: RetryAfter) {
    let (events, arrivals) = until_refused(setup, retry_after).await;
    let (until, _) = refusals(&arrivals).next().unwrap();

    // No request is issued between the arrival of the first 429 and the time it named.
    let received = events.iter().position(|&event| event == Event::Refused).unwrap();
    let early = events[received..].iter().find(|event| match event {
        Event::Issued(at) => *at < until,
        Event::Refused => false,
    });
    assert_eq!(early, None, "{setup:?}, {retry_after:?}");

    // Requests under way before its arrival are rejected as well, one for each permit in flight:
    // their own rejections have arrived by then.
    let refused = arrivals.iter().filter(|arrival| arrival.answer != Answer::Granted);
    let early = refused.filter(|arrival| arrival.at < until).count();
    assert!(early <= setup.in_flight as usize, "{early}: {setup:?}, {retry_after:?}");

    // With one in flight, no request can be under way when a 429 is sent.
    if setup.in_flight == 1 {
        for (until, after) in refusals(&arrivals) {
            assert!(after.iter().all(|arrival| arrival.at >= until), "{setup:?}, {retry_after:?}");
        }
    }
}

#[tokio::test]
async fn r9_no_request_arrives_before_the_time_of_a_429() {
    let mut scenes = Vec::new();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for order in [Order::Backpressure, Order::Retry] {
            for in_flight in [1, 8] {
                let setup = Setup { order, in_flight, version, obeys: true };
                for retry_after in [RetryAfter::Seconds, RetryAfter::Date] {
                    scenes.push(one_refusal_holds_back_everybody(setup, retry_after));
                }
            }
        }
    }
    join_all(scenes).await;
}

/// The control: if a hint holds back only its own request, others arrive before.
#[tokio::test]
async fn r9_requests_arrive_before_the_time_of_a_429_without_a_pause() {
    let setup =
        Setup { order: Order::Retry, in_flight: 1, version: Version::HTTP_11, obeys: false };
    let too_early = |(until, after): (Instant, &[Arrival])| after.iter().any(|a| a.at < until);
    // On a slow machine the next request may be late for another reason.
    while !refusals(&until_refused(setup, RetryAfter::Seconds).await.1).any(too_early) {}
}

#[tokio::test]
async fn r9_no_request_is_rejected_if_the_server_reports_its_quota() {
    let mut scenes = Vec::new();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for tells in [Tells::RateLimit, Tells::Separately, Tells::XSeconds, Tells::XUnixTime] {
            scenes.push(async move {
                let retry_after = RetryAfter::Seconds;
                let quota = Quota { quota: QUOTA, window: WINDOW, tells, retry_after };
                let (server, events) = (QuotaServer::start(quota).await, Log::new());
                // One at a time: the remaining quota is known before the next request is sent.
                let setup = Setup { order: Order::Retry, in_flight: 1, version, obeys: true };
                all_succeed(&setup.client(&events), &server.url()).await;
                let granted = server.arrivals().iter().all(|a| a.answer == Answer::Granted);
                assert!(granted && server.arrivals().len() == TASKS, "{tells:?}, {version:?}");
                assert!(!events.read().contains(&Event::Refused));
            });
        }
    }
    join_all(scenes).await;
}
