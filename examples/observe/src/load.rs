//! Callers: most are patient, some stop waiting, some drop a request in flight.

use std::time::Duration;

use reqwest::{Method, Request, Response, StatusCode};
use tokio::{
    sync::oneshot,
    task::{JoinSet, LocalSet},
    time::{self, Instant},
};
use tower::{BoxError, Service, ServiceExt};
use tower_floodgate::{Rejected, client::Attempts};
use tracing::{Instrument, info_span};

use crate::{
    client::{Observed, RATE},
    server::{DROPPED, OF_TEAM, Server, lock},
};

pub(crate) const CALLERS: u64 = 60;
/// The raised rate, above the quota of the server.
const TOO_FAST: u32 = 150;

/// The results that the callers have seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) succeeded: u64,
    /// Failed in view of the retry: with a failed response, or an error other than a rejection by
    /// the outermost limit.
    pub(crate) failed: u64,
    /// The attempts of both together.
    pub(crate) attempts: u64,
    /// Rejected by the outermost limit.
    pub(crate) rejected: u64,
    /// Dropped before the call, by the patience of the caller.
    pub(crate) impatient: u64,
    /// Dropped when it had arrived at the server.
    pub(crate) dropped: u64,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.attempts += other.attempts;
        self.rejected += other.rejected;
        self.impatient += other.impatient;
        self.dropped += other.dropped;
    }
}

/// Runs all callers in the thread of the caller, for the time `load`.
///
/// One thread, because a permit that is released between the readiness and the call of a request is
/// granted to it even so. That request counts as admitted and rejected, and no count beside the
/// limits could tell.
pub(crate) fn run<C>(
    client: &C,
    observed: &Observed,
    server: &Server,
    load: Duration,
    seed: u64,
) -> std::io::Result<Seen>
where
    C: Service<Request, Response = Response, Error = BoxError> + Clone + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, async {
        let end = now() + load;
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            let random = fastrand::Rng::with_seed(seed ^ number << 32);
            callers.spawn_local(caller(client.clone(), server.clone(), number, random, end));
        }
        operate(observed, load).await;
        let mut seen = Seen::default();
        while let Some(caller) = callers.join_next().await {
            seen.add(caller.expect("no caller panics"));
        }
        observed.in_flight.drained().await;
        observed.rate.drained().await;
        Ok(seen)
    })
}

/// Raises the client's rate above the server's quota for the middle third of the time.
async fn operate(observed: &Observed, load: Duration) {
    for rate in [TOO_FAST, RATE] {
        time::sleep(load / 3).await;
        let span = info_span!("operate", rate);
        span.in_scope(|| observed.rate.set_limit(rate)).expect("is a valid limit");
    }
}

/// Makes one request after another until `end`.
async fn caller<C>(
    client: C,
    server: Server,
    caller: u64,
    mut random: fastrand::Rng,
    end: Instant,
) -> Seen
where
    C: Service<Request, Response = Response, Error = BoxError> + Clone,
{
    let mut seen = Seen::default();
    while now() < end {
        seen.requests += 1;
        let number = seen.requests * CALLERS + caller;
        let span = info_span!("request", number);
        let kind = random.u8(..40);
        let pause = one(&client, &server, number, kind, &mut seen).instrument(span).await;
        time::sleep(pause + Duration::from_millis(random.u64(..600))).await;
    }
    seen
}

/// Makes one request. Returns the time that its caller waits before the next.
async fn one<C>(client: &C, server: &Server, number: u64, kind: u8, seen: &mut Seen) -> Duration
where
    C: Service<Request, Response = Response, Error = BoxError> + Clone,
{
    let mut client = client.clone();
    let patience = Duration::from_millis(if kind < 4 { 30 } else { 60_000 });
    let Ok(ready) = time::timeout(patience, client.ready()).await else {
        seen.impatient += 1;
        return Duration::ZERO;
    };
    let client = ready.expect("a limit is ready to reject");
    let mut request = Request::new(Method::GET, server.url.parse().expect("is a URL"));
    // Three of five callers are of the first team.
    let team = (number % CALLERS % 5).saturating_sub(2);
    request.headers_mut().insert(OF_TEAM, team.into());
    let (sender, arrived) = oneshot::channel();
    let is_dropped = kind == 39;
    if is_dropped {
        request.headers_mut().insert(DROPPED, number.into());
        lock(&server.arrivals).insert(number, sender);
    }
    tokio::select! {
        biased;
        Ok(()) = arrived, if is_dropped => {
            seen.dropped += 1;
            Duration::ZERO
        }
        result = client.call(request) => settle(result, seen).await,
    }
}

async fn settle(result: Result<Response, BoxError>, seen: &mut Seen) -> Duration {
    let is_of_backpressure = |error: &BoxError| {
        Rejected::find(&**error).is_some_and(|rejected| !rejected.is_rate_limited())
    };
    match result {
        Err(error) if is_of_backpressure(&error) => {
            seen.rejected += 1;
            return Duration::from_millis(300);
        }
        Err(error) => {
            seen.failed += 1;
            seen.attempts += u64::from(Attempts::from_error(&*error).get());
        }
        Ok(response) => {
            seen.attempts += u64::from(Attempts::from_response(&response).get());
            match response.status() {
                StatusCode::OK => seen.succeeded += 1,
                _ => seen.failed += 1,
            }
            // Read to the end, so that the connection can be used again.
            response.bytes().await.expect("the server sends what it announced");
        }
    }
    Duration::ZERO
}

#[allow(clippy::disallowed_methods, reason = "the load ends at a time")]
fn now() -> Instant {
    Instant::now()
}
