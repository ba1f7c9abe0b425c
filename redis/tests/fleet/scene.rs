//! A fleet that shares a quota, a fault, and the promises that hold through it.

use std::{
    ffi::OsString,
    fmt, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;
use tower_floodgate::shared::Away;

use crate::{
    process::{Load, Process, Settings},
    support::{
        proxy::{Passage, Proxy},
        server::Server,
        until,
    },
    trail::{self, Trail, most_in_any_span, used_share},
};

/// The key of the quota in the store.
const KEY: &str = "rl:fleet";

/// A fault. One of requests lasts for its time, and longer if no request has failed until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// `FLUSHALL`.
    Flush,
    /// An older copy of the state takes the place of the state.
    Restore,
    /// `kill -9` of the server, which starts again 0.3 s later, without its data.
    KillServer,
    /// The same, with a log of all writes.
    KillServerWithLog,
    /// A replica of which the link was cut some time ago takes the place of the server.
    Promote,
    /// `CLIENT PAUSE 400`.
    PauseClients,
    /// The server is stopped for 0.7 s by `SIGSTOP`.
    StopServer,
    /// The server is stopped for 3 s.
    StopServerForLong,
    /// `SCRIPT FLUSH`.
    FlushScripts,
    /// A process is stopped for 1.5 s by `SIGSTOP`.
    StopProcess,
    /// `kill -9` of a process, and another one in its place.
    KillProcess,
    /// Messages take 20 ms in each direction from then on.
    Delay,
    /// Responses take 150 ms for some time: each comes too late.
    DelayBeyondTimeout,
    /// All connections end, five times, 50 ms apart.
    Cut,
    /// Each byte arrives alone, from then on.
    Trickle,
    /// Responses do not arrive for 0.5 s, and requests do.
    Silence,
}

impl Fault {
    /// Returns true if the store loses leases.
    pub(crate) fn is_loss(self) -> bool {
        matches!(self, Self::Flush | Self::Restore | Self::KillServer | Self::Promote)
    }

    fn server_arguments(self) -> &'static [&'static str] {
        match self {
            Self::KillServerWithLog => &["--appendonly", "yes", "--appendfsync", "always"],
            _ => &[],
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Flush => "`FLUSHALL`",
            Self::Restore => "an older copy of the state is restored",
            Self::KillServer => "`kill -9` of the server, back after 0.3 s, no persistence",
            Self::KillServerWithLog => "`kill -9` of the server, with `appendfsync always`",
            Self::Promote => "promotion of a replica that lacks writes",
            Self::PauseClients => "`CLIENT PAUSE 400`",
            Self::StopServer => "server stopped for 0.7 s",
            Self::StopServerForLong => "server stopped for 3 s",
            Self::FlushScripts => "`SCRIPT FLUSH`",
            Self::StopProcess => "process stopped for 1.5 s",
            Self::KillProcess => "`kill -9` of a process, and a successor",
            Self::Delay => "network: 40 ms more for a round trip, from then on",
            Self::DelayBeyondTimeout => "network: each response comes after the timeout, for 0.6 s",
            Self::Cut => "network: all connections cut, five times",
            Self::Trickle => "network: each byte alone, from then on",
            Self::Silence => "network: no responses for 0.5 s",
        })
    }
}

/// A fleet of four processes, a fault, and how long they run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) limit: u32,
    pub(crate) window: Duration,
    pub(crate) load: Load,
    pub(crate) away: Away,
    pub(crate) is_strict: bool,
    pub(crate) fault: Fault,
    pub(crate) before: Duration,
    pub(crate) after: Duration,
}

impl Scene {
    pub(crate) const PROCESSES: u32 = 4;

    pub(crate) const fn new(limit: u32, window: Duration, fault: Fault) -> Self {
        Self {
            limit,
            window,
            load: Load::Saturating,
            away: Away::Closed,
            is_strict: false,
            fault,
            before: Duration::from_millis(1000),
            after: Duration::from_millis(1000),
        }
    }

    /// Plays the scene. A process of the fleet is this binary with these `arguments`.
    pub(crate) async fn play(self, arguments: &[OsString]) -> Outcome {
        let mut store = Store::start(self.fault).await;
        let settings = Settings {
            url: store.proxy.url(),
            limit: self.limit,
            window: self.window,
            away: self.away,
            is_strict: self.is_strict,
            load: self.load,
        };
        let start = || Process::start(&settings, arguments);
        let mut fleet: Vec<_> = (0..Self::PROCESSES).map(|_| start()).collect();
        for process in &fleet {
            until("each process issues", async || !process.trail().issues.is_empty()).await;
        }
        sleep(self.before / 2).await;
        store.prepare(self.fault).await;
        sleep(self.before / 2).await;

        let from = trail::now();
        let mut ended = Vec::new();
        match self.fault {
            Fault::StopProcess => {
                fleet[0].pause().await;
                sleep(Duration::from_millis(1500)).await;
                assert!(fleet[0].is_stopped(), "it was stopped all the time");
                fleet[0].resume();
            }
            Fault::KillProcess => {
                fleet[0].kill();
                ended.push(std::mem::replace(&mut fleet[0], start()));
            }
            fault => store.suffer(fault, self.away, &fleet).await,
        }
        let to = trail::now();

        // No time is long enough on all machines: the fleet has gone on, and each of its processes.
        for process in &fleet {
            until("each process issues after the fault", async || {
                process.trail().issues.last().is_some_and(|&last| last > to)
            })
            .await;
        }
        sleep(self.after).await;
        let trails = ended.into_iter().chain(fleet).map(Process::end).collect();
        Outcome::new(self, trails, from, to)
    }
}

/// The store, behind a network.
struct Store {
    server: Server,
    replica: Option<Server>,
    proxy: Proxy,
    /// A link to the socket of the server that serves.
    link: PathBuf,
    copy: Vec<u8>,
}

impl Store {
    async fn start(fault: Fault) -> Self {
        let (server, replica) = if fault == Fault::Promote {
            let server = Server::start_with_port(Vec::new).await;
            let port = server.port().to_string();
            let replica = Server::start(&["--replicaof", "127.0.0.1", &port]).await;
            until("the replica is in step", async || {
                replica.info("replication", "master_link_status").await == "up"
            })
            .await;
            (server, Some(replica))
        } else {
            (Server::start(fault.server_arguments()).await, None)
        };
        let link = server.socket().with_file_name("serves");
        point(&link, &server);
        let proxy = Proxy::start(link.clone()).await;
        Self { server, replica, proxy, link, copy: Vec::new() }
    }

    /// Makes the step of a fault that comes before it.
    async fn prepare(&mut self, fault: Fault) {
        match fault {
            Fault::Restore => self.copy = self.server.query(&format!("DUMP {KEY}")).await,
            // The link is cut. Only its own clients can write to the replica, and there are none.
            Fault::Promote => {
                let replica = self.replica.as_ref().unwrap();
                until("the replica has the key", async || {
                    replica.query::<bool>(&format!("EXISTS {KEY}")).await
                })
                .await;
                replica.query::<()>("REPLICAOF NO ONE").await;
            }
            _ => {}
        }
    }

    async fn suffer(&mut self, fault: Fault, away: Away, fleet: &[Process]) {
        let Self { server, proxy, .. } = self;
        let millis = Duration::from_millis;
        // A fleet may need nothing of the store while a fault lasts. So it lasts until it is felt.
        // Processes that may issue without a lease do so once their leases are some time ago.
        let before = felt(fleet);
        let is_felt = async || {
            let (failures, alone) = felt(fleet);
            failures > before.0 && (away == Away::Closed || alone > before.1)
        };
        match fault {
            Fault::None | Fault::StopProcess | Fault::KillProcess => {}
            Fault::Flush => server.query::<()>("FLUSHALL").await,
            Fault::FlushScripts => server.query::<()>("SCRIPT FLUSH").await,
            Fault::PauseClients => {
                until("a request has failed", async || {
                    let () = server.query("CLIENT PAUSE 400").await;
                    // This waits until the pause has ended.
                    let () = server.query("PING").await;
                    is_felt().await
                })
                .await;
            }
            Fault::Restore => {
                let mut restore = redis::cmd("RESTORE");
                restore.arg(KEY).arg(60_000).arg(&self.copy).arg("REPLACE");
                restore.exec_async(&mut server.connect().await).await.unwrap();
            }
            Fault::KillServer | Fault::KillServerWithLog => {
                server.kill();
                sleep(millis(300)).await;
                server.restart().await;
            }
            Fault::Promote => {
                point(&self.link, self.replica.as_ref().unwrap());
                proxy.cut();
                server.kill();
            }
            Fault::StopServer | Fault::StopServerForLong => {
                server.pause();
                sleep(millis(if fault == Fault::StopServer { 700 } else { 3000 })).await;
                until("a request has failed", is_felt).await;
                server.resume();
            }
            Fault::Delay => {
                proxy.to_server(Passage::Delayed(millis(20)));
                proxy.to_client(Passage::Delayed(millis(20)));
            }
            Fault::DelayBeyondTimeout => {
                proxy.to_client(Passage::Delayed(millis(150)));
                sleep(millis(600)).await;
                until("a request has failed", is_felt).await;
                proxy.to_client(Passage::Open);
            }
            Fault::Cut => {
                for _ in 0..5 {
                    proxy.cut();
                    sleep(millis(50)).await;
                }
            }
            Fault::Trickle => {
                proxy.to_server(Passage::Trickling);
                proxy.to_client(Passage::Trickling);
            }
            Fault::Silence => {
                proxy.to_client(Passage::Silent);
                sleep(millis(500)).await;
                until("a request has failed", is_felt).await;
                proxy.to_client(Passage::Open);
            }
        }
    }
}

/// Returns the requests to the store that have failed so far, and the issues without a lease.
fn felt(fleet: &[Process]) -> (u64, u64) {
    let trails = fleet.iter().map(Process::trail);
    trails.fold((0, 0), |sum, trail| (sum.0 + trail.failures, sum.1 + trail.alone))
}

/// Lets a link lead to the socket of a server, in one step.
fn point(link: &Path, server: &Server) {
    let new = link.with_extension("new");
    symlink(server.socket(), &new).unwrap();
    fs::rename(&new, link).unwrap();
}

/// The issues of all processes.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    scene: Scene,
    /// Sorted.
    issues: Vec<Duration>,
    pub(crate) trails: Vec<Trail>,
    from: Duration,
    to: Duration,
}

impl Outcome {
    fn new(scene: Scene, trails: Vec<Trail>, from: Duration, to: Duration) -> Self {
        let mut issues: Vec<_> = trails.iter().flat_map(|trail| &trail.issues).copied().collect();
        issues.sort_unstable();
        Self { scene, issues, trails, from, to }
    }

    pub(crate) fn most(&self) -> usize {
        most_in_any_span(&self.issues, self.scene.window)
    }

    /// Returns the number of issues on permits that had lapsed, because a thread was preempted
    /// between its look at the deadline and the issue. Each adds one to a span at most.
    pub(crate) fn late(&self) -> usize {
        self.trails.iter().map(|trail| usize::try_from(trail.late).unwrap()).sum()
    }

    /// Returns the bound of the most in any span, without those that were late.
    pub(crate) fn bound(&self) -> Option<usize> {
        let Scene { limit, away, is_strict, fault, .. } = self.scene;
        let limit = limit as usize;
        let was_away = self.trails.iter().any(|trail| trail.alone > 0);
        match away {
            Away::Open if was_away => None,
            Away::Share { .. } if was_away => Some(2 * limit),
            _ if fault.is_loss() && !is_strict => Some(2 * limit),
            _ => Some(limit),
        }
    }

    /// Checks all that holds by the argument of the limit, at any speed of the machine.
    pub(crate) fn check(&self) {
        let Scene { limit, window, fault, .. } = self.scene;
        let (most, late) = (self.most(), self.late());
        if let Some(bound) = self.bound() {
            assert!(most <= bound + late, "{most} in {window:?}, {late} late: {:?}", self.scene);
        }
        if fault.is_loss() {
            // A lease that was made before the loss ends within a horizon and the longest lease.
            let (from, to) = (self.from, self.to + window / 2);
            let before: Vec<_> = self.issues.iter().copied().filter(|&at| at < from).collect();
            let after: Vec<_> = self.issues.iter().copied().filter(|&at| at > to).collect();
            for issues in [before, after] {
                let most = most_in_any_span(&issues, window);
                assert!(most <= limit as usize + late, "{most} beside the loss: {:?}", self.scene);
            }
        }
    }

    /// Returns the share of the limit that was issued.
    pub(crate) fn used(&self) -> f64 {
        used_share(&self.issues, self.scene.limit, self.scene.window)
    }

    /// Returns the requests to the store in a second, of a process.
    pub(crate) fn requests_per_second(&self) -> f64 {
        let (first, last) = (self.issues[0], self.issues[self.issues.len() - 1]);
        let requests: u64 = self.trails.iter().map(|trail| trail.requests).sum();
        requests as f64 / (last - first).as_secs_f64() / f64::from(Scene::PROCESSES)
    }

    /// Returns the requests to the store that failed.
    pub(crate) fn failures(&self) -> u64 {
        self.trails.iter().map(|trail| trail.failures).sum()
    }

    /// Returns the longest time without an issue of any process.
    pub(crate) fn longest_gap(&self) -> Duration {
        self.issues.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// Returns the issues without a lease.
    pub(crate) fn alone(&self) -> u64 {
        self.trails.iter().map(|trail| trail.alone).sum()
    }

    pub(crate) fn summary(&self) -> String {
        format!(
            "issued {}, at most {} in any span, {} late, {:.3} of the limit used, {:.1} requests \
             to the store in a second of a process, {} of all failed, {} issued alone, longest \
             time without an issue {:?}",
            self.issues.len(),
            self.most(),
            self.late(),
            self.used(),
            self.requests_per_second(),
            self.failures(),
            self.alone(),
            self.longest_gap(),
        )
    }
}
