//! An axum server with two limits and a rule in a dry run, whose handler fails from time to time.

use std::{
    collections::HashMap,
    future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Response, StatusCode, header::RETRY_AFTER},
    middleware::{self, Next},
    response::IntoResponse,
    routing::get,
};
use tokio::{
    net::TcpListener,
    sync::{RwLock, oneshot},
    time::{self, Instant},
};
use tower::ServiceBuilder;
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, Rejected, WindowRateLimitHandle,
    WindowRateLimitLayer,
    keyed::{Header, KeyedLimitLayer, Rule, RuleHandle},
    observe::Limits,
    server::http_rejection,
};
use tracing::Instrument;

use crate::{SERVER, TEAM, tally::Around};

/// The quota of the server: requests per second.
pub(crate) const QUOTA: u32 = 100;
const SECOND: Duration = Duration::from_secs(1);
/// The quota that is tried out, and the header of its key.
const QUOTA_OF_TEAM: u32 = 12;
pub(crate) const OF_TEAM: &str = "x-team";
/// The header of a request that its caller drops when it has arrived, with its number.
pub(crate) const DROPPED: &str = "x-dropped-on-arrival";

/// A running server, as its clients and the report see it.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) in_flight: ConcurrencyBackpressureHandle,
    pub(crate) quota: WindowRateLimitHandle,
    pub(crate) team: RuleHandle,
    /// The counts around both limits.
    pub(crate) permits: Around,
    pub(crate) issues: Around,
    /// Shared by each request until its span has ended.
    serving: Arc<RwLock<()>>,
    /// Completes the senders of the requests that arrive and are never responded to.
    pub(crate) arrivals: Arrivals,
}

impl Server {
    /// Waits until the server has noticed the end of each request.
    pub(crate) async fn at_rest(&self) {
        drop(self.serving.write().await);
    }
}

/// The callers that wait for the arrival of their requests, by number.
pub(crate) type Arrivals = Arc<Mutex<HashMap<u64, oneshot::Sender<()>>>>;

/// The state of the handler.
#[derive(Clone)]
struct Faults {
    start: Instant,
    handled: Arc<AtomicU64>,
    random: Arc<Mutex<fastrand::Rng>>,
    arrivals: Arrivals,
}

/// Starts the server on a free port, and adds its limits to `limits`.
pub(crate) async fn start(limits: &Limits, seed: u64) -> std::io::Result<Server> {
    let (permits, issues) = (Around::default(), Around::default());
    let in_flight = ConcurrencyBackpressureLayer::new(8)
        .max_queue(14)
        .max_wait(Duration::from_millis(40))
        .reject_with(counted(&permits))
        .name(SERVER);
    let quota = WindowRateLimitLayer::new(QUOTA, SECOND)
        .max_queue(0)
        .reject_with(counted(&issues))
        .name(SERVER);
    let rule = Rule::new(TEAM, Header::named(OF_TEAM))
        .at_most(QUOTA_OF_TEAM, SECOND)
        .max_keys(1_000)
        .count_admitted()
        .track_top(3)
        .dry_run();
    let team = KeyedLimitLayer::new(rule).reject_with(http_rejection);
    let (serving, arrivals) = (Arc::default(), Arrivals::default());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = Server {
        url: format!("http://{}/", listener.local_addr()?),
        in_flight: in_flight.handle(),
        quota: quota.handle(),
        team: team.handle(TEAM),
        permits: permits.clone(),
        issues: issues.clone(),
        serving: Arc::clone(&serving),
        arrivals: Arc::clone(&arrivals),
    };
    limits.add(server.in_flight.clone());
    limits.add(server.quota.clone());
    limits.add(server.team.clone());

    let limited = ServiceBuilder::new()
        .layer(team) // outside of limits that acquire before the call
        .layer(permits.before)
        .layer(in_flight)
        .layer(permits.behind)
        .layer(issues.before)
        .layer(quota)
        .layer(issues.behind);
    let faults = Faults {
        start: now(),
        handled: Arc::default(),
        random: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))),
        arrivals,
    };
    let app = Router::new()
        .route("/", get(handle))
        .layer(limited)
        // Added behind the limits, so that their events are in the span of the request.
        .layer(middleware::from_fn_with_state(serving, in_span))
        .with_state(faults);
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(server)
}

/// Responds to a rejection, and counts it.
fn counted(around: &Around) -> impl Fn(Rejected) -> Response<Body> + Clone + Send + Sync + 'static {
    let around = around.clone();
    move |rejected| {
        around.reject(&rejected);
        http_rejection(rejected)
    }
}

async fn in_span(
    State(serving): State<Arc<RwLock<()>>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let _serving = serving.read().await;
    next.run(request).instrument(tracing::info_span!("serve")).await
}

/// Takes up to 60 ms. Fails for 0.8 s of each 5, and one request in twenty at other times. Two in
/// 300 are told to come again later: one in a second, one in half a minute.
async fn handle(State(faults): State<Faults>, request: Request) -> Response<Body> {
    if let Some(number) = request.headers().get(DROPPED) {
        let number = number.to_str().ok().and_then(|number| number.parse().ok());
        let caller = number.and_then(|number: u64| lock(&faults.arrivals).remove(&number));
        // A caller that has gone meanwhile closes the connection as well.
        let _ = caller.map(|caller| caller.send(()));
        return future::pending().await;
    }
    let handled = faults.handled.fetch_add(1, Relaxed) + 1;
    let (work, is_failure) = {
        let mut random = lock(&faults.random);
        (Duration::from_millis(random.u64(5..60)), random.u8(..20) == 0)
    };
    time::sleep(work).await;
    let is_outage = faults.start.elapsed().as_millis() % 5000 >= 4200;
    if handled % 300 == 0 {
        (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "30")]).into_response()
    } else if handled % 300 == 150 {
        (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "1")]).into_response()
    } else if is_outage || is_failure {
        StatusCode::SERVICE_UNAVAILABLE.into_response()
    } else {
        "done".into_response()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[allow(clippy::disallowed_methods, reason = "the failures depend on the time")]
fn now() -> Instant {
    Instant::now()
}
