//! The API, which counts by itself: a real server on a real socket.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::net::TcpListener;

use crate::clock;

/// The time that a response takes.
const DELAY: Duration = Duration::from_millis(5);

/// The API. It accepts so many requests in any window, by their arrivals.
pub(crate) struct Api {
    address: SocketAddr,
    quota: Arc<Quota>,
}

struct Quota {
    rate: u32,
    window: Duration,
    arrivals: Mutex<Arrivals>,
}

/// The requests that have arrived, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrivals {
    pub(crate) all: Vec<Duration>,
    accepted: Vec<Duration>,
}

impl Arrivals {
    /// Returns the number of requests above the quota.
    pub(crate) fn rejected(&self) -> usize {
        self.all.len() - self.accepted.len()
    }
}

impl Api {
    /// Opens the API on a free local port. It closes with the process.
    pub(crate) async fn open(rate: u32, window: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let quota = Arc::new(Quota { rate, window, arrivals: Mutex::default() });
        let router = Router::new().route("/", get(answer)).with_state(Arc::clone(&quota));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, quota })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn arrivals(&self) -> Arrivals {
        self.quota.lock().clone()
    }
}

async fn answer(State(quota): State<Arc<Quota>>) -> StatusCode {
    if !quota.accept() {
        return StatusCode::TOO_MANY_REQUESTS;
    }
    tokio::time::sleep(DELAY).await;
    StatusCode::OK
}

impl Quota {
    fn accept(&self) -> bool {
        let mut arrivals = self.lock();
        let now = clock::now();
        arrivals.all.push(now);
        let first = arrivals.accepted.len().checked_sub(self.rate as usize);
        let is_free = first.is_none_or(|first| arrivals.accepted[first] + self.window <= now);
        if is_free {
            arrivals.accepted.push(now);
        }
        is_free
    }

    fn lock(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().expect("no panic under the lock")
    }
}
