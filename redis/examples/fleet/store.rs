//! A Redis of the example's own, which can be killed.

use std::{env, error::Error, fs, io, path::PathBuf, process, time::Duration};

use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};
use tower_floodgate_redis::redis::{self, Client};

/// The programs, by preference.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

const REMEDY: &str = "neither redis-server nor valkey-server is on this machine: install one (on \
                      Debian and Ubuntu by `apt-get install redis-server`), or name a server by \
                      `--redis redis://host/`";

/// A server that listens on a socket in a folder of its own. It ends when it is dropped.
pub(crate) struct OwnRedis {
    folder: PathBuf,
    persist: bool,
    child: Child,
}

impl OwnRedis {
    pub(crate) async fn start(persist: bool) -> Result<Self, Box<dyn Error>> {
        let folder = env::temp_dir().join(format!("floodgate-fleet-example-{}", process::id()));
        fs::create_dir_all(&folder)?;
        let child = spawn(&folder, persist)?;
        let this = Self { folder, persist, child };
        ping(&this.url()).await?;
        Ok(this)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.folder.join("socket").display())
    }

    /// Ends the server, as a crash does.
    pub(crate) async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    pub(crate) async fn start_again(&mut self) -> Result<(), Box<dyn Error>> {
        fs::remove_file(self.folder.join("socket"))?;
        self.child = spawn(&self.folder, self.persist)?;
        ping(&self.url()).await
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        // Files that remain lie in a folder for such.
        let _ = self.child.start_kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn spawn(folder: &PathBuf, persist: bool) -> Result<Child, Box<dyn Error>> {
    for program in PROGRAMS {
        let mut command = Command::new(program);
        command
            .args(["--port", "0", "--unixsocket", "socket", "--save", "", "--loglevel", "warning"])
            .args(["--logfile", "log", "--appendfsync", "always"])
            .args(["--appendonly", if persist { "yes" } else { "no" }])
            .arg("--dir")
            .arg(folder)
            .current_dir(folder)
            .kill_on_drop(true);
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            child => return Ok(child?),
        }
    }
    Err(REMEDY.into())
}

/// Waits until a server responds.
pub(crate) async fn ping(url: &str) -> Result<(), Box<dyn Error>> {
    let client = Client::open(url)?;
    let responds = async {
        loop {
            let pong = async {
                let mut connection = client.get_multiplexed_async_connection().await?;
                redis::cmd("PING").exec_async(&mut connection).await
            };
            match pong.await {
                Ok(()) => return,
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let patience = Duration::from_secs(10);
    timeout(patience, responds).await.map_err(|_| format!("no response from {url}").into())
}
