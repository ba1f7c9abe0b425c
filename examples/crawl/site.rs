//! The slow and flaky API: a real server on a real socket.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use fastrand::Rng;
use futures::stream;
use reqwest::Url;
use tokio::net::TcpListener;

use crate::clock::Clock;

/// The crawl's handle of the server.
pub(crate) struct Site {
    address: SocketAddr,
    api: Arc<Api>,
}

/// A request that has arrived.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) page: usize,
    pub(crate) at: Duration,
}

struct Api {
    clock: Clock,
    delay: Duration,
    failures: f64,
    seed: u64,
    /// Each page has its own generator, so that failures don't depend on the order of requests.
    generators: Mutex<HashMap<usize, Rng>>,
    arrivals: Mutex<Vec<Arrival>>,
}

enum Fate {
    Fine,
    Unavailable,
    Dropped,
}

impl Site {
    /// Opens a site on a free local port. It closes with the process.
    pub(crate) async fn open(
        clock: Clock,
        delay: Duration,
        failures: f64,
        seed: u64,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let api = Arc::new(Api {
            clock,
            delay,
            failures,
            seed,
            generators: Mutex::default(),
            arrivals: Mutex::default(),
        });
        let router = Router::new().route("/pages/{page}", get(answer)).with_state(Arc::clone(&api));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, api })
    }

    pub(crate) fn page(&self, number: usize) -> Url {
        format!("http://{}/pages/{number}", self.address).parse().expect("an address and a number")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.api.arrivals.lock().expect("no panic under the lock").clone()
    }
}

async fn answer(State(api): State<Arc<Api>>, Path(page): Path<usize>) -> Response {
    let fate = api.arrived(page);
    tokio::time::sleep(api.delay).await;
    match fate {
        Fate::Fine => format!("This is page {page}.\n").into_response(),
        Fate::Unavailable => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        // A failing body makes the server drop the connection before it sends anything.
        Fate::Dropped => {
            let failure = io::Error::from(io::ErrorKind::ConnectionAborted);
            Body::from_stream(stream::iter([Err::<&str, _>(failure)])).into_response()
        }
    }
}

impl Api {
    fn arrived(&self, page: usize) -> Fate {
        let at = self.clock.now();
        self.arrivals.lock().expect("no panic under the lock").push(Arrival { page, at });

        let mut generators = self.generators.lock().expect("no panic under the lock");
        let rng = generators.entry(page).or_insert_with(|| {
            // Multiplied, so that page n of a seed does not equal page n - 1 of the next seed.
            let page = (page as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            Rng::with_seed(self.seed.wrapping_add(page))
        });
        match (rng.f64() < self.failures, rng.bool()) {
            (false, _) => Fate::Fine,
            (true, false) => Fate::Unavailable,
            (true, true) => Fate::Dropped,
        }
    }
}
