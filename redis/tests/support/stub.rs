//! A server that answers each script with a given text, for errors that no real one gives at will.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

#[derive(Debug)]
pub(crate) struct Stub {
    address: SocketAddr,
    scripts: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Stub {
    /// Starts a server that answers scripts with `reply`, a text of the protocol without its end.
    pub(crate) async fn start(reply: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scripts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&scripts);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(answer(client, reply, Arc::clone(&counted)));
            }
        });
        Self { address, scripts, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// Returns how many scripts were sent.
    pub(crate) fn scripts(&self) -> usize {
        self.scripts.load(Ordering::SeqCst)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers until the connection ends.
async fn answer(client: TcpStream, reply: &str, scripts: Arc<AtomicUsize>) -> Option<()> {
    let mut client = BufReader::new(client);
    loop {
        let mut command = String::new();
        for index in 0..number(&mut client).await? {
            let length = number(&mut client).await?;
            let mut text = vec![0; length + 2];
            client.read_exact(&mut text).await.ok()?;
            if index == 0 {
                command = String::from_utf8_lossy(&text[..length]).into_owned();
            }
        }
        let is_script = command.starts_with("EVAL");
        scripts.fetch_add(usize::from(is_script), Ordering::SeqCst);
        let reply = if is_script { reply } else { "+OK" };
        client.write_all(format!("{reply}\r\n").as_bytes()).await.ok()?;
    }
}

/// Reads a line that holds a number behind its first character.
async fn number(client: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut line = String::new();
    client.read_line(&mut line).await.ok()?;
    line.get(1..)?.trim_end().parse().ok()
}
