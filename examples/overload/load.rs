//! The load generator: an open loop, which follows a schedule and never waits for responses.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{body::Body, http::Request, http::StatusCode};
use fastrand::Rng;
use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep_until, timeout_at},
};
use tower::BoxError;

use super::scene::Scene;

/// The header with the class of a request.
pub(crate) const CLASS: &str = "x-class";
/// The header with the time that is left to a request, in milliseconds.
pub(crate) const TIME_LEFT: &str = "x-time-left-ms";

/// Connections of the generator. The requests of one share a task and a lock.
const CONNECTIONS: usize = 2;

/// How much a request matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Importance {
    Critical,
    Normal,
    Sheddable,
}

impl Importance {
    pub(crate) const ALL: [Self; 3] = [Self::Critical, Self::Normal, Self::Sheddable];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Normal => "normal",
            Self::Sheddable => "sheddable",
        }
    }

    /// Draws one: 20, 30 and 50 %.
    fn draw(random: &mut Rng) -> Self {
        match random.u8(0..10) {
            0..2 => Self::Critical,
            2..5 => Self::Normal,
            _ => Self::Sheddable,
        }
    }
}

/// A request of the schedule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Since the beginning of the run.
    pub(crate) at: Duration,
    pub(crate) importance: Importance,
    pub(crate) patience: Duration,
}

/// Returns a Poisson process with the loads of the scenes.
pub(crate) fn schedule(scenes: &[Scene], capacity: f64, seed: u64) -> Vec<Arrival> {
    let mut random = Rng::with_seed(seed);
    let mut arrivals = Vec::new();
    for scene in scenes {
        let mean = Duration::from_secs(1).div_f64(scene.load * capacity);
        let mut at = scene.time.start;
        loop {
            at += mean.mul_f64(-(1.0 - random.f64()).ln());
            if at >= scene.time.end {
                break;
            }
            let importance = Importance::draw(&mut random);
            arrivals.push(Arrival { at, importance, patience: scene.patience });
        }
    }
    arrivals
}

/// The end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A response of 200.
    Done,
    /// A response of 429, 503 or 504.
    Rejected,
    /// The client has dropped the request.
    Dropped,
    /// The server has lost the request.
    Lost,
}

/// A request that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) arrival: Arrival,
    /// From the time of the schedule, not from that of sending.
    pub(crate) latency: Duration,
    pub(crate) end: End,
}

type Sender = http2::SendRequest<Body>;

/// Sends the requests of the schedule to the server, and returns how each of them ended.
pub(crate) async fn generate(
    server: SocketAddr,
    start: Instant,
    schedule: Arc<[Arrival]>,
) -> Result<Vec<Outcome>, BoxError> {
    let mut senders = Vec::new();
    for _ in 0..CONNECTIONS {
        senders.push(connect(server).await?);
    }
    let (log, mut logged) = mpsc::unbounded_channel();
    for (number, &arrival) in schedule.iter().enumerate() {
        // A request that is due at once is sent without a turn of the timer.
        sleep_until(start + arrival.at).await;
        let sender = senders[number % CONNECTIONS].clone();
        let log = log.clone();
        tokio::spawn(async move {
            let end = send(sender, start, arrival).await;
            let latency = (start + arrival.at).elapsed();
            // The receiver stays until the last request has ended.
            let _ = log.send(Outcome { arrival, latency, end });
        });
    }
    drop(log);
    let mut outcomes = Vec::with_capacity(schedule.len());
    while let Some(outcome) = logged.recv().await {
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

async fn connect(server: SocketAddr) -> Result<Sender, BoxError> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    // The connection should hold back none of the load, and outlive any number of dropped requests.
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_max_send_streams(100_000)
        .max_concurrent_reset_streams(1_000_000)
        .max_local_error_reset_streams(None)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn send(mut sender: Sender, start: Instant, arrival: Arrival) -> End {
    let until = start + arrival.at + arrival.patience;
    let exchange = async {
        let left = super::scene::DEADLINE.saturating_sub((start + arrival.at).elapsed());
        let request = Request::get("http://localhost/")
            .header(CLASS, arrival.importance.name())
            .header(TIME_LEFT, left.as_millis() as u64)
            .body(Body::empty())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        Ok::<_, BoxError>(status)
    };
    match timeout_at(until, exchange).await {
        Err(_) => End::Dropped,
        Ok(Ok(StatusCode::OK)) => End::Done,
        Ok(Ok(
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT,
        )) => End::Rejected,
        Ok(_) => End::Lost,
    }
}
