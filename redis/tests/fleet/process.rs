//! A process of the fleet: this binary, started once more.

use std::{
    convert::Infallible,
    env,
    ffi::OsStr,
    fs,
    io::Read,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};

use redis::{Client, aio::ConnectionManagerConfig};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_floodgate::{
    WindowRateLimitLayer,
    shared::{Away, SharedWindow},
};
use tower_floodgate_redis::RedisStore;

use crate::{
    support::until,
    trail::{self, Recorder, Trail},
};

/// The variable that makes this binary a process of the fleet, with its settings.
const VARIABLE: &str = "FLOODGATE_FLEET_PROCESS";

/// The tasks of a process, each of which makes a request after the other.
const TASKS: usize = 50;

/// The settings of a process.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) limit: u32,
    pub(crate) window: Duration,
    pub(crate) away: Away,
    pub(crate) is_strict: bool,
    pub(crate) load: Load,
}

/// The requests of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// The next one at once.
    Saturating,
    /// As saturating for a fifth of a window, and none for three fifths.
    Bursty,
    /// A quarter more than the share of the process, evenly.
    Steady,
    /// As steady, with eight times as many: for a time in which nothing else limits them.
    Heavy,
}

impl Settings {
    fn encode(&self) -> String {
        let Self { url, limit, window, away, is_strict, load } = self;
        let away = match away {
            Away::Closed => "closed".to_owned(),
            Away::Open => "open".to_owned(),
            Away::Share { processes } => processes.to_string(),
            _ => panic!("an unknown mode"),
        };
        format!("{url} {limit} {} {away} {is_strict} {load:?}", window.as_micros())
    }

    fn decode(text: &str) -> Self {
        let words: Vec<_> = text.split(' ').collect();
        let [url, limit, window, away, is_strict, load] = words[..] else {
            panic!("{VARIABLE}: {text}");
        };
        Self {
            url: url.to_owned(),
            limit: limit.parse().unwrap(),
            window: Duration::from_micros(window.parse().unwrap()),
            away: match away {
                "closed" => Away::Closed,
                "open" => Away::Open,
                processes => Away::Share { processes: processes.parse().unwrap() },
            },
            is_strict: is_strict.parse().unwrap(),
            load: match load {
                "Saturating" => Load::Saturating,
                "Bursty" => Load::Bursty,
                "Steady" => Load::Steady,
                "Heavy" => Load::Heavy,
                _ => panic!("{VARIABLE}: {text}"),
            },
        }
    }
}

/// Runs as a process of the fleet, if it was started as one, until its standard input ends: so it
/// ends with the process that has started it, also if that is killed.
pub(crate) fn run_if_started_as_one() -> bool {
    let Ok(text) = env::var(VARIABLE) else { return false };
    let (trail, settings) = text.split_once(' ').unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(PathBuf::from(trail), Settings::decode(settings)));
    true
}

async fn run(path: PathBuf, settings: Settings) {
    let Settings { url, limit, window, away, is_strict, load } = settings;
    // Four processes, a quarter more than the limit.
    let interval = window.mul_f64(TASKS as f64 * 4.0 / 1.25 / f64::from(limit));
    let config = ConnectionManagerConfig::new().set_max_delay(Duration::from_millis(200));
    let client = Client::open(url).unwrap();
    let connection = client.get_connection_manager_with_config(config).await.unwrap();
    let quota = SharedWindow::new(RedisStore::new(connection), "fleet", limit, window, away);
    let quota = if is_strict { quota.strict() } else { quota };
    let layer = WindowRateLimitLayer::shared(quota);
    let recorder = Recorder::start(&path, layer.handle());
    // The first step of an issue is to read the time, and nothing of the service is before it.
    let service = ServiceBuilder::new().layer(layer).service_fn(|()| {
        let issued = trail::now();
        async move { Ok::<_, Infallible>(issued) }
    });

    let (end, has_ended) = watch::channel(());
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (service, recorder, mut has_ended) =
                (service.clone(), recorder.clone(), has_ended.clone());
            tokio::spawn(async move {
                let one = async {
                    loop {
                        let issued: Result<Duration, BoxError> = service.clone().oneshot(()).await;
                        match issued {
                            Ok(issued) => recorder.record(issued),
                            // The store is away.
                            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                        }
                        match load {
                            Load::Saturating => {}
                            Load::Bursty => tokio::time::sleep(quiet(window)).await,
                            Load::Steady => tokio::time::sleep(interval).await,
                            Load::Heavy => tokio::time::sleep(interval / 8).await,
                        }
                    }
                };
                tokio::select! {
                    () = one => {}
                    _ = has_ended.changed() => {}
                }
            })
        })
        .collect();
    // Blocks a thread, as tokio's standard input does, which would not let the runtime end.
    let (ended, mut is_closed) = watch::channel(());
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(ended);
    });
    while is_closed.changed().await.is_ok() {}
    drop(end);
    for task in tasks {
        task.await.unwrap();
    }
    recorder.write();
}

/// Returns the time until a bursty process may make the next request.
fn quiet(window: Duration) -> Duration {
    // All processes are quiet at the same time, and come back at once.
    let period = window * 4 / 5;
    let at = trail::now().as_nanos() % period.as_nanos();
    let rest = u64::try_from(period.as_nanos() - at).unwrap();
    Duration::from_nanos(if at > window.as_nanos() / 5 { rest } else { 0 })
}

/// A process that was started.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    path: PathBuf,
}

impl Process {
    pub(crate) fn start<A: AsRef<OsStr>>(settings: &Settings, arguments: &[A]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Relaxed);
        let name = format!("floodgate-fleet-{}-{number}", std::process::id());
        let path = env::temp_dir().join(name);
        let variable = format!("{} {}", path.display(), settings.encode());
        let mut child = Command::new(env::current_exe().unwrap())
            .args(arguments)
            .env(VARIABLE, variable)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        Self { child, stdin, path }
    }

    pub(crate) fn trail(&self) -> Trail {
        Trail::read(&self.path)
    }

    /// Stops the process, and waits until it has stopped.
    pub(crate) async fn pause(&self) {
        self.signal(Signal::STOP);
        until("the process has stopped", async || self.is_stopped()).await;
    }

    /// Returns true if all threads of the process are stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        threads.flatten().all(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            // The state is behind the name, which may hold anything in parentheses.
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        })
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends the process without its doing.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Lets the process end, and returns its records.
    pub(crate) fn end(mut self) -> Trail {
        drop(self.stdin.take());
        let status = self.child.wait().unwrap();
        // One that was killed has no code.
        assert!(status.code().is_none_or(|code| code == 0), "a process failed: {status}");
        self.trail()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.path);
    }
}
