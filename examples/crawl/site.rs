//! The slow and flaky API: a real server on a real socket.

use std::{
    collections::HashMap,
    future, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
    routing::get,
    serve::Listener,
};
use fastrand::Rng;
use futures::stream;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use reqwest::Url;
use tokio::{net::TcpListener, select, sync::Notify, task::JoinSet};

use crate::clock::Clock;

/// How a server behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// The time that a response takes.
    pub(crate) delay: Duration,
    /// The share of requests that fail.
    pub(crate) failures: f64,
    pub(crate) seed: u64,
    pub(crate) incident: Option<Incident>,
}

/// What happens to a server once a number of requests have arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Incident {
    /// It wants no requests for this time, in whole seconds.
    Throttles { at: usize, pause: Duration },
    /// It closes its port and all connections.
    Dies { at: usize },
}

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
    /// The time at which the server was done with it.
    pub(crate) left: Option<Duration>,
}

struct Api {
    clock: Clock,
    manner: Manner,
    state: Mutex<Progress>,
    death: Notify,
}

#[derive(Default)]
struct Progress {
    /// Each page has its own generator, so that failures don't depend on the order of requests.
    generators: HashMap<usize, Rng>,
    arrivals: Vec<Arrival>,
    /// The end of the time without requests.
    quiet_until: Duration,
    died: Option<Duration>,
}

/// A request in progress. A drop records its end.
struct Visit<'a> {
    api: &'a Api,
    number: usize,
}

enum Fate {
    Fine,
    Unavailable,
    Dropped,
    /// Rejected, with the time until the next request is wanted.
    TooMany(Duration),
    Died,
}

impl Site {
    /// Opens a site on a free local port. It closes with the process, if it does not die.
    pub(crate) async fn open(clock: Clock, manner: Manner) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (state, death) = (Mutex::default(), Notify::new());
        let api = Arc::new(Api { clock, manner, state, death });
        tokio::spawn(serve(listener, Arc::clone(&api)));
        Ok(Self { address, api })
    }

    pub(crate) fn page(&self, number: usize) -> Url {
        format!("http://{}/pages/{number}", self.address).parse().expect("an address and a number")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.api.lock().arrivals.clone()
    }

    /// Returns the time of its death.
    pub(crate) fn died(&self) -> Option<Duration> {
        self.api.lock().died
    }
}

/// Serves connections until the server dies, which closes them and the port.
async fn serve(mut listener: TcpListener, api: Arc<Api>) {
    let router = Router::new().route("/pages/{page}", get(answer)).with_state(Arc::clone(&api));
    let mut connections = JoinSet::new();
    loop {
        select! {
            (stream, _) = Listener::accept(&mut listener) => {
                let service = TowerToHyperService::new(router.clone());
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                connections.spawn(connection);
            }
            Some(_) = connections.join_next() => {}
            () = api.death.notified() => return,
        }
    }
}

async fn answer(State(api): State<Arc<Api>>, Path(page): Path<usize>) -> Response {
    let (visit, fate) = api.arrived(page);
    match fate {
        Fate::TooMany(_) => {}
        Fate::Died => future::pending().await,
        _ => tokio::time::sleep(api.manner.delay).await,
    }
    // Before the client can know of the response.
    drop(visit);
    match fate {
        Fate::Fine | Fate::Died => body(page).into_response(),
        Fate::Unavailable => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        // A failing body makes the server drop the connection before it sends anything.
        Fate::Dropped => {
            let failure = io::Error::from(io::ErrorKind::ConnectionAborted);
            Body::from_stream(stream::iter([Err::<&str, _>(failure)])).into_response()
        }
        Fate::TooMany(wait) => {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let header = [(RETRY_AFTER, seconds.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, header).into_response()
        }
    }
}

/// Returns the body of a page.
pub(crate) fn body(page: usize) -> String {
    format!("This is page {page}.\n")
}

impl Api {
    fn arrived(&self, page: usize) -> (Visit<'_>, Fate) {
        let Manner { failures, seed, incident, .. } = self.manner;
        let mut state = self.lock();
        let at = self.clock.now();
        state.arrivals.push(Arrival { page, at, left: None });
        let arrived = state.arrivals.len();
        let visit = Visit { api: self, number: arrived - 1 };

        match incident {
            Some(Incident::Throttles { at: number, pause }) if number == arrived => {
                state.quiet_until = at + pause;
            }
            Some(Incident::Dies { at: number }) if number == arrived => {
                state.died = Some(at);
                self.death.notify_one();
                return (visit, Fate::Died);
            }
            _ => {}
        }
        if at < state.quiet_until {
            return (visit, Fate::TooMany(state.quiet_until - at));
        }

        let rng = state.generators.entry(page).or_insert_with(|| {
            // Multiplied, so that page n of a seed does not equal page n - 1 of the next seed.
            let page = (page as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            Rng::with_seed(seed.wrapping_add(page))
        });
        let fate = match (rng.f64() < failures, rng.bool()) {
            (false, _) => Fate::Fine,
            (true, false) => Fate::Unavailable,
            (true, true) => Fate::Dropped,
        };
        (visit, fate)
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.state.lock().expect("no panic under the lock")
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let now = self.api.clock.now();
        self.api.lock().arrivals[self.number].left = Some(now);
    }
}
