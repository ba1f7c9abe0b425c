//! A server program in a process of its own, stopped by dropping its handle.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

#[derive(Debug)]
pub(crate) struct Running {
    process: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Running {
    /// Starts the program that `command` describes, given an empty folder and a free address.
    ///
    /// # Errors
    ///
    /// If it does not listen.
    pub(crate) async fn start(
        name: &str,
        command: impl Fn(&Path, SocketAddr) -> Command,
    ) -> Result<Self, String> {
        // Another process may bind the port before the program does.
        for _ in 0..3 {
            if let Some(running) = Self::try_start(name, &command).await {
                return Ok(running);
            }
        }
        Err(format!("{name} doesn't start: its messages are above"))
    }

    async fn try_start(name: &str, command: impl Fn(&Path, SocketAddr) -> Command) -> Option<Self> {
        let folder = temporary(&format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let process = command(&folder, address).spawn().expect("it is there");
        let mut running = Self { process, folder, address };
        for _ in 0..3000 {
            if running.process.try_wait().unwrap().is_some() {
                break;
            }
            if TcpStream::connect(address).is_ok() {
                return Some(running);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the path of a file in the folder of the program.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have ended already, and files that remain are in the folder of the build.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Returns a path in the build's folder for temporary files.
pub(crate) fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}
