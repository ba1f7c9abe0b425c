//! A network that fails: a proxy between clients and a server.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixStream},
    sync::watch,
    task::JoinHandle,
};

/// Where bytes go in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Passage {
    #[default]
    Open,
    /// Each part arrives later by this time.
    Delayed(Duration),
    /// Each byte arrives alone.
    Trickling,
    /// Nothing arrives, and the connection stays: half open, or without an end of silence.
    Silent,
}

#[derive(Clone, Copy, Debug, Default)]
struct Network {
    to_server: Passage,
    to_client: Passage,
    /// The number of times that all connections were cut.
    cuts: u64,
}

/// Forwards connections to a server, until it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    network: watch::Sender<Network>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy to the socket of a server.
    pub(crate) async fn start(server: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (network, watched) = watch::channel(Network::default());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, watched) = (server.clone(), watched.clone());
                tokio::spawn(async move {
                    // Without a server, the connection ends.
                    let Ok(server) = UnixStream::connect(server).await else { return };
                    let (client, server) = (client.into_split(), server.into_split());
                    let mut cuts = watched.clone();
                    let before = cuts.borrow().cuts;
                    tokio::select! {
                        // First, so that nothing passes once the network is open again.
                        biased;
                        _ = cuts.wait_for(|now| now.cuts > before) => {}
                        _ = pass(client.0, server.1, watched.clone(), |now| now.to_server) => {}
                        _ = pass(server.0, client.1, watched, |now| now.to_client) => {}
                    }
                });
            }
        });
        Self { address, network, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Sets the passage of requests.
    pub(crate) fn to_server(&self, passage: Passage) {
        self.network.send_modify(|network| network.to_server = passage);
    }

    /// Sets the passage of responses.
    pub(crate) fn to_client(&self, passage: Passage) {
        self.network.send_modify(|network| network.to_client = passage);
    }

    /// Ends all connections. New ones are forwarded.
    pub(crate) fn cut(&self) {
        self.network.send_modify(|network| network.cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut network: watch::Receiver<Network>,
    passage: impl Fn(&Network) -> Passage,
) -> io::Result<()> {
    let mut part = [0; 16384];
    loop {
        let length = from.read(&mut part).await?;
        if length == 0 {
            return Ok(());
        }
        // Silence keeps the bytes: it may end.
        let gone = network.wait_for(|now| passage(now) != Passage::Silent).await;
        let now = gone.map(|now| passage(&now)).map_err(io::Error::other)?;
        match now {
            Passage::Open | Passage::Silent => {}
            Passage::Delayed(time) => tokio::time::sleep(time).await,
            Passage::Trickling => {
                for byte in &part[..length] {
                    to.write_all(&[*byte]).await?;
                    tokio::task::yield_now().await;
                }
                continue;
            }
        }
        to.write_all(&part[..length]).await?;
    }
}
