//! A store for the processes of a test: a server with a clock of its own, behind a network that
//! delays and loses messages.

use std::{
    collections::{HashMap, HashSet},
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    time::{Instant, sleep},
};
use tower_floodgate::shared::{Store, StoreError};

use super::model::{State, apply};

/// The real time of a scene.
#[derive(Clone, Debug)]
pub(crate) enum RealTime {
    /// That of the only runtime, since the start.
    Tokio(Instant),
    /// In nanoseconds, set by the scene: each process has a runtime with a clock of its own.
    Set(Arc<AtomicU64>),
}

impl RealTime {
    pub(crate) fn of_runtime() -> Self {
        Self::Tokio(now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        match self {
            Self::Tokio(start) => now() - *start,
            Self::Set(nanos) => Duration::from_nanos(nanos.load(SeqCst)),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "tests look at tokio's clock, too")]
fn now() -> Instant {
    Instant::now()
}

/// The delays and losses of messages. A store repeats nothing, so no message arrives twice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    /// The median of the time of a message, and the sigma of its lognormal distribution.
    pub(crate) median: Duration,
    pub(crate) sigma: f64,
    /// The share of messages that are late, and by which time on average.
    pub(crate) late_share: f64,
    pub(crate) late_by: Duration,
    /// The share of requests that are lost before they are applied, and of replies that are lost.
    pub(crate) lost_requests: f64,
    pub(crate) lost_replies: f64,
}

impl Network {
    /// Messages of 0.25 ms, none of which is lost.
    pub(crate) const GOOD: Self = Self {
        median: Duration::from_micros(250),
        sigma: 0.3,
        late_share: 0.0,
        late_by: Duration::ZERO,
        lost_requests: 0.0,
        lost_replies: 0.0,
    };

    pub(crate) const fn with_median(self, median: Duration) -> Self {
        Self { median, ..self }
    }

    /// Draws the time of a message, in whole milliseconds as timers have it.
    fn draw(&self, random: &mut fastrand::Rng) -> Duration {
        let (u, v) = (1.0 - random.f64(), random.f64());
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        let mut millis = self.median.as_secs_f64() * 1e3 * (self.sigma * normal).exp();
        if random.f64() < self.late_share {
            millis -= (1.0 - random.f64()).ln() * self.late_by.as_secs_f64() * 1e3;
        }
        // Rounded at random, so that the mean stays.
        Duration::from_millis((millis + random.f64()) as u64)
    }
}

/// The reason why a server does not apply a request at once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// It replies with an error.
    Error(&'static str),
    /// It applies nothing, and sends no reply.
    Silent,
    /// It applies the request once the fault is over.
    Stopped,
}

/// A request that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) process: usize,
    /// Since the start of the scene.
    pub(crate) at: Duration,
    pub(crate) request: Vec<i64>,
    /// The reply that the process got, and when.
    pub(crate) reply: Option<Vec<i64>>,
    pub(crate) replied_at: Duration,
}

/// A lease that a process got.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) mark: i64,
    pub(crate) count: i64,
    /// The time of its request, and the time in which its permits may be used, by a clock of the
    /// right rate.
    pub(crate) sent: Duration,
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

impl Sent {
    pub(crate) fn late(&self) -> i64 {
        self.request[10]
    }

    /// The marks and counts of its refunds.
    pub(crate) fn refunds(&self) -> impl Iterator<Item = (i64, i64)> {
        self.request[12..].chunks(2).map(|refund| (refund[0], refund[1]))
    }

    /// The leases that the process got.
    pub(crate) fn leases(&self) -> impl Iterator<Item = Lease> {
        let micros = |micros: i64| Duration::from_micros(u64::try_from(micros).unwrap());
        self.reply.iter().flat_map(move |reply| {
            reply[6..].chunks(3).map(move |lease| Lease {
                mark: lease[2],
                count: lease[1],
                sent: self.at,
                from: self.replied_at + micros(lease[0]),
                until: self.at + micros(lease[0] + self.request[3]),
            })
        })
    }
}

/// A server that many processes ask. Clones are the same server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    real_time: RealTime,
    /// Where messages travel; in that of each process unless set.
    runtime: Option<Handle>,
    /// Of the fault.
    changed: Arc<Notify>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    random: fastrand::Rng,
    network: Network,
    fault: Option<Fault>,
    /// Processes whose messages are lost.
    cut: HashSet<usize>,
    run: u64,
    states: HashMap<String, State>,
    /// The clock: its rate in millionths beyond real time, and the sum of its steps.
    ppm: i64,
    stepped: i64,
    sent: Vec<Sent>,
    in_flight: HashMap<(usize, String), usize>,
    most_in_flight: usize,
}

/// The clock of the server at the start, in microseconds.
const START: i64 = 1_800_000_000_000_000;

impl Inner {
    /// The clock of the server.
    fn wall(&self, elapsed: Duration) -> i64 {
        let elapsed = i64::try_from(elapsed.as_nanos()).unwrap();
        START + self.stepped + (elapsed + elapsed / 1_000_000 * self.ppm) / 1000
    }
}

impl Server {
    pub(crate) fn new(seed: u64, real_time: RealTime) -> Self {
        let inner = Inner {
            random: fastrand::Rng::with_seed(seed),
            network: Network::GOOD,
            fault: None,
            cut: HashSet::new(),
            run: 1,
            states: HashMap::new(),
            ppm: 0,
            stepped: 0,
            sent: Vec::new(),
            in_flight: HashMap::new(),
            most_in_flight: 0,
        };
        let (changed, inner) = (Arc::default(), Arc::new(Mutex::new(inner)));
        Self { real_time, runtime: None, changed, inner }
    }

    /// Lets messages travel in `runtime`, whatever the runtimes of the processes do.
    pub(crate) fn in_runtime(self, runtime: Handle) -> Self {
        Self { runtime: Some(runtime), ..self }
    }

    pub(crate) fn with_network(self, network: Network) -> Self {
        self.set_network(network);
        self
    }

    /// Returns the store as a process sees it.
    pub(crate) fn store(&self, process: usize) -> FakeStore {
        FakeStore { process, server: self.clone() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn set_network(&self, network: Network) {
        self.inner().network = network;
    }

    pub(crate) fn network(&self) -> Network {
        self.inner().network
    }

    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        self.inner().fault = fault;
        self.changed.notify_waiters();
    }

    /// Loses the messages of one process from now on, or no longer.
    pub(crate) fn cut(&self, process: usize, is_cut: bool) {
        let mut inner = self.inner();
        if is_cut {
            inner.cut.insert(process)
        } else {
            inner.cut.remove(&process)
        };
    }

    /// Forgets all states.
    pub(crate) fn flush(&self) {
        self.inner().states.clear();
    }

    /// Returns a copy of all states, to be restored.
    pub(crate) fn copy(&self) -> HashMap<String, State> {
        self.inner().states.clone()
    }

    pub(crate) fn restore(&self, states: HashMap<String, State>) {
        self.inner().states = states;
    }

    /// Starts the server anew, with its states.
    pub(crate) fn restart(&self) {
        self.inner().run += 1;
    }

    /// Sets the clock, by microseconds.
    pub(crate) fn step_clock(&self, micros: i64) {
        self.inner().stepped += micros;
    }

    /// Sets the rate of the clock, in millionths beyond real time. To be set before requests.
    pub(crate) fn set_rate(&self, ppm: i64) {
        self.inner().ppm = ppm;
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.inner().sent.clone()
    }

    pub(crate) fn sent_by(&self, process: usize) -> Vec<Sent> {
        self.sent().into_iter().filter(|sent| sent.process == process).collect()
    }

    /// The number of requests.
    pub(crate) fn requests(&self) -> usize {
        self.inner().sent.len()
    }

    /// The most requests of one process and key that were in flight together.
    pub(crate) fn most_in_flight(&self) -> usize {
        self.inner().most_in_flight
    }

    /// The permits that count at the server, as of the latest request.
    pub(crate) fn out(&self) -> i64 {
        let entries = |state: &State| state.entries.iter().map(|entry| entry.count).sum::<i64>();
        self.inner().states.values().map(entries).sum()
    }

    /// The time of a message, or `None` if it is lost.
    fn draw(&self, process: usize, lost: impl Fn(&Network) -> f64) -> Option<Duration> {
        let inner = &mut *self.inner();
        let is_lost = inner.random.f64() < lost(&inner.network) || inner.cut.contains(&process);
        (!is_lost).then(|| inner.network.draw(&mut inner.random))
    }

    /// Carries a request to the server, and the reply back.
    async fn carry(
        self,
        process: usize,
        key: String,
        request: Vec<i64>,
        reply: oneshot::Sender<Result<Vec<i64>, StoreError>>,
    ) {
        let Some(there) = self.draw(process, |network| network.lost_requests) else { return };
        travel(there).await;
        let applied = loop {
            let changed = self.changed.notified();
            let fault = self.inner().fault;
            match fault {
                Some(Fault::Error(code)) => break Err(StoreError::new(code)),
                Some(Fault::Silent) => return,
                Some(Fault::Stopped) => changed.await,
                None => break Ok(self.apply(key, &request)),
            }
        };
        let Some(back) = self.draw(process, |network| network.lost_replies) else { return };
        travel(back).await;
        // The process may no longer wait.
        let _ = reply.send(applied);
    }

    fn apply(&self, key: String, request: &[i64]) -> Vec<i64> {
        let inner = &mut *self.inner();
        let wall = inner.wall(self.real_time.elapsed());
        let mut state = inner.states.remove(&key);
        let reply = apply(&mut state, request, wall, inner.run);
        inner.states.extend(state.map(|state| (key, state)));
        reply
    }
}

/// A timer takes a millisecond at least.
async fn travel(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

/// A [`Server`] as one process sees it.
#[derive(Clone, Debug)]
pub(crate) struct FakeStore {
    process: usize,
    server: Server,
}

impl Store for FakeStore {
    async fn acquire(&self, key: &str, request: &[i64]) -> Result<Vec<i64>, StoreError> {
        let server = &self.server;
        let flight = Flight::begin(server, (self.process, key.to_owned()));
        let number = {
            let (at, request) = (server.real_time.elapsed(), request.to_vec());
            let mut inner = server.inner();
            let (reply, replied_at) = (None, Duration::ZERO);
            inner.sent.push(Sent { process: self.process, at, request, reply, replied_at });
            inner.sent.len() - 1
        };
        let (sender, receiver) = oneshot::channel();
        let carried = server.clone().carry(self.process, key.into(), request.to_vec(), sender);
        server.runtime.clone().unwrap_or_else(Handle::current).spawn(carried);
        // A message that is lost tells nothing.
        let Ok(reply) = receiver.await else { pending().await };
        drop(flight);
        if let Ok(reply) = &reply {
            let replied_at = server.real_time.elapsed();
            let sent = &mut server.inner().sent[number];
            (sent.reply, sent.replied_at) = (Some(reply.clone()), replied_at);
        }
        reply
    }
}

/// Counts a request while the process waits for its reply.
struct Flight<'a> {
    server: &'a Server,
    of: (usize, String),
}

impl<'a> Flight<'a> {
    fn begin(server: &'a Server, of: (usize, String)) -> Self {
        let inner = &mut *server.inner();
        let count = inner.in_flight.entry(of.clone()).or_default();
        *count += 1;
        inner.most_in_flight = inner.most_in_flight.max(*count);
        Self { server, of }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.server.inner().in_flight.get_mut(&self.of) {
            *count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::join;
    use tokio::time::{sleep, timeout};
    use tower_floodgate::shared::{Store, StoreError};

    use super::{FakeStore, Fault, Network, RealTime, Server};
    use crate::paused_runtime::run;

    const SECOND: Duration = Duration::from_secs(1);

    fn server() -> Server {
        Server::new(1, RealTime::of_runtime())
    }

    /// Asks for permits of 100 in a second.
    async fn want(store: &FakeStore, want: i64) -> Option<Result<Vec<i64>, StoreError>> {
        let request = [1, 100, 1_000_000, 10_000, 125_000, want, 250_000, 0, 0, 0, 0, 0];
        timeout(SECOND, store.acquire("key", &request)).await.ok()
    }

    #[test]
    fn d12_lost_reply_leaves_the_request_applied() {
        run(async {
            let lossy = |requests, replies| Network {
                lost_requests: requests,
                lost_replies: replies,
                ..Network::GOOD
            };
            for (requests, replies, out) in [(1.0, 0.0, 0), (0.0, 1.0, 10), (0.0, 0.0, 10)] {
                let server = server().with_network(lossy(requests, replies));
                let reply = want(&server.store(0), 10).await;
                assert_eq!((reply.is_some(), server.out()), (requests + replies == 0.0, out));
            }
        });
    }

    #[test]
    fn d11_server_is_away_by_an_error_by_silence_or_until_it_continues() {
        run(async {
            let server = server();
            let store = server.store(0);
            server.set_fault(Some(Fault::Error("loading")));
            assert_eq!(want(&store, 1).await.unwrap().unwrap_err().code(), "loading");
            server.set_fault(Some(Fault::Silent));
            assert!(want(&store, 1).await.is_none());
            server.set_fault(Some(Fault::Stopped));
            assert!(want(&store, 1).await.is_none());
            assert_eq!(server.out(), 0);
            server.set_fault(None);
            sleep(SECOND).await;
            // The request was carried on although the process no longer waits.
            assert_eq!(server.out(), 1);
            server.cut(0, true);
            assert!(want(&store, 1).await.is_none());
            assert!(want(&server.store(1), 1).await.is_some());
        });
    }

    #[test]
    fn d4_requests_in_flight_are_counted_per_process() {
        run(async {
            let server = server();
            join(want(&server.store(0), 1), want(&server.store(1), 1)).await;
            assert_eq!((server.most_in_flight(), server.requests()), (1, 2));
            join(want(&server.store(0), 1), want(&server.store(0), 1)).await;
            assert_eq!((server.most_in_flight(), server.sent_by(0).len()), (2, 3));
        });
    }

    #[test]
    fn d10_clock_of_the_server_has_a_rate_and_steps() {
        run(async {
            let server = server();
            server.set_rate(500);
            sleep(10 * SECOND).await;
            let before = server.inner().wall(server.real_time.elapsed());
            sleep(10 * SECOND).await;
            server.step_clock(-3);
            let after = server.inner().wall(server.real_time.elapsed());
            assert_eq!(after - before, 10_005_000 - 3);
        });
    }

    #[test]
    fn d1_messages_take_their_mean_time() {
        let mut random = fastrand::Rng::with_seed(1);
        let network = Network { sigma: 0.0, ..Network::GOOD };
        let sum: Duration = (0..100_000).map(|_| network.draw(&mut random)).sum();
        let mean = sum.as_secs_f64() / 100.0;
        assert!((0.24..0.26).contains(&mean), "{mean} ms");
    }
}
