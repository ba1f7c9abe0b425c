//! A `redis-server` in a process of its own, stopped by dropping its handle.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo,
    aio::MultiplexedConnection,
};

use super::{install::find_or_install, until};

/// Long enough for any machine: no verdict depends on it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that listens on a socket in a folder of its own, without persistence unless asked for.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    folder: PathBuf,
    port: Option<u16>,
    arguments: Vec<String>,
}

impl Server {
    /// Starts a server with arguments such as `["--appendonly", "yes"]`.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&text| text.to_owned()).collect();
        Self::try_start(None, arguments).await.expect("a socket in a new folder is free")
    }

    /// Starts a server that listens on a port of the loopback, too.
    pub(crate) async fn start_with_port(arguments: impl Fn() -> Vec<String>) -> Self {
        // Another process may bind a port before the server does.
        for _ in 0..5 {
            // That of a cluster's bus may be 10,000 above.
            let port = free_port();
            let port = if port > 55_535 { port - 20_000 } else { port };
            if let Some(server) = Self::try_start(Some(port), arguments()).await {
                return server;
            }
        }
        panic!("redis-server does not start");
    }

    async fn try_start(port: Option<u16>, arguments: Vec<String>) -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        // The path of a socket has at most some 100 bytes, so it lies in no folder of the build.
        let name = format!("floodgate-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let process = run(&folder, port, &arguments);
        let mut server = Self { process, folder, port, arguments };
        server.is_up().await.then_some(server)
    }

    /// Waits until the server executes commands. Returns false if the process ends instead.
    async fn is_up(&mut self) -> bool {
        let mut is_up = false;
        until("the server executes commands, or ends", async || {
            if let Ok(mut connection) = self.client().get_multiplexed_async_connection().await {
                is_up = redis::cmd("PING").exec_async(&mut connection).await.is_ok();
            }
            is_up || self.process.try_wait().unwrap().is_some()
        })
        .await;
        is_up
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.expect("was started with a port")
    }

    pub(crate) fn client(&self) -> Client {
        Client::open(format!("redis+unix://{}", self.socket().display())).unwrap()
    }

    pub(crate) async fn connect(&self) -> MultiplexedConnection {
        connect(self.client().get_connection_info().clone()).await
    }

    /// Executes a command, such as `"CONFIG SET maxmemory 1"`.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &str) -> T {
        words(command).query_async(&mut self.connect().await).await.unwrap()
    }

    /// Returns a field of `INFO`.
    pub(crate) async fn info(&self, section: &str, field: &str) -> String {
        field_of(&self.query::<String>(&format!("INFO {section}")).await, field)
    }

    /// Returns how many times the server has executed a command.
    pub(crate) async fn calls(&self, command: &str) -> u64 {
        let stat = self.info("commandstats", &format!("cmdstat_{command}")).await;
        let calls = stat.split(',').next().unwrap().strip_prefix("calls=");
        calls.map_or(0, |calls| calls.parse().unwrap())
    }

    /// Ends the process, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts the server again, with the files of the last process.
    pub(crate) async fn restart(&mut self) {
        self.process = run(&self.folder, self.port, &self.arguments);
        assert!(self.is_up().await, "redis-server does not start again");
    }

    /// Starts the server again with more arguments, and does not wait until it has read its data.
    pub(crate) async fn restart_with(&mut self, arguments: &[&str]) {
        let more = arguments.iter().map(|&text| text.to_owned());
        let arguments: Vec<String> = self.arguments.iter().cloned().chain(more).collect();
        self.process = run(&self.folder, self.port, &arguments);
        until("the server listens", async || {
            self.client().get_multiplexed_async_connection().await.is_ok()
        })
        .await;
    }

    /// Stops the process until [`resume`](Self::resume): it answers nothing, and keeps connections.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended already, and files that remain lie in a folder for such.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Connects with a timeout that no slow machine exceeds.
pub(crate) async fn connect(to: impl IntoConnectionInfo) -> MultiplexedConnection {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let client = Client::open(to).unwrap();
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

/// Returns a command of which the words are separated by spaces.
pub(crate) fn words(command: &str) -> Cmd {
    let mut words = command.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    command.arg(words.collect::<Vec<_>>());
    command
}

/// Returns a field of `INFO`, or an empty text.
pub(crate) fn field_of(info: &str, field: &str) -> String {
    let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or_default().to_owned()
}

/// Returns a port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        find_or_install("redis-server", "redis-server").unwrap_or_else(|remedy| panic!("{remedy}"))
    })
}

/// The version of the server, which tells it as `Redis server v=7.0.15 sha=...`.
pub(crate) fn major_version() -> u32 {
    static MAJOR: OnceLock<u32> = OnceLock::new();
    *MAJOR.get_or_init(|| {
        let output = Command::new(program()).arg("--version").output().expect("it is there");
        let text = String::from_utf8(output.stdout).unwrap();
        let version = text.split_once("v=").and_then(|(_, version)| version.split_once('.'));
        version.and_then(|(major, _)| major.parse().ok()).expect("a version")
    })
}

fn run(folder: &Path, port: Option<u16>, arguments: &[String]) -> Child {
    let mut command = Command::new(program());
    // Before Redis 7, DEBUG is there, and there is no such setting.
    if major_version() >= 7 {
        command.args(["--enable-debug-command", "yes"]);
    }
    command
        .args(["--bind", "127.0.0.1", "--port", &port.unwrap_or(0).to_string()])
        .arg("--unixsocket")
        .arg(folder.join("socket"))
        .arg("--dir")
        .arg(folder)
        .args(["--save", "", "--logfile", "log"])
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()
        .expect("it is there")
}
