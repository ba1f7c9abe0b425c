//! Servers for tests: on a free port of 127.0.0.1 and the test's own runtime, stopped by dropping
//! their handles.

pub(crate) mod misbehaving;
pub(crate) mod quota;
#[cfg(feature = "client")]
pub(crate) mod tls;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

/// A future hangs if it is not ready after this many turns of the runtime.
const TURNS: u32 = 20_000;

/// The timer that ends a turn. All turns together take at least a minute.
const TURN: Duration = Duration::from_millis(3);

/// The output of `future`. Panics once it hangs.
///
/// Turns are counted because time proves nothing. Client and server run on the runtime of the test,
/// which polls all tasks that are ready before it ends a turn, however long that takes.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    let turns = async {
        for _ in 0..TURNS {
            sleep(TURN).await;
        }
    };
    tokio::select! {
        biased;
        output = future => output,
        () = turns => panic!("it hangs"),
    }
}

#[allow(clippy::disallowed_methods, reason = "servers look at a clock of their own")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "dates in headers are of this clock")]
pub(crate) fn date() -> SystemTime {
    SystemTime::now()
}

/// A port and its connections, all of which are closed on drop.
#[derive(Debug)]
pub(crate) struct Listening {
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl Listening {
    /// Calls `serve` with each connection.
    pub(crate) async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::on(TcpListener::bind(("127.0.0.1", 0)).await.unwrap(), serve)
    }

    /// Does the same with a given listener.
    pub(crate) fn on<F>(
        listener: TcpListener,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream));
            }
        });
        Self { address, _task: task }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A log of events in order, shared by clones.
#[derive(Clone, Debug)]
pub(crate) struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T: Clone> Log<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn note(&self, event: T) {
        self.0.lock().unwrap().push(event);
    }

    pub(crate) fn read(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }
}
