//! A reverse proxy that does what the limit relies on: it appends its client's address to
//! `X-Forwarded-For`, whatever the client has written there.
//!
//! All clients of this demonstration are on this machine. Their addresses are stated by the PROXY
//! protocol, as a load balancer states them that passes connections on: a line in front of the
//! first request, which no client behind it can write. Real proxies read it, too.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    http::{HeaderValue, Request},
    serve::Listener,
};
use hyper::{
    body::Incoming, client::conn::http1 as client, server::conn::http1 as server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tower::BoxError;

/// The longest line of version 1 of the protocol.
const LONGEST: usize = 107;

/// A running proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    open: Arc<AtomicUsize>,
}

impl Proxy {
    /// Starts a proxy in front of the server at `upstream`.
    pub(crate) async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let mut listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let open = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&open);
        tokio::spawn(async move {
            loop {
                let (stream, _) = Listener::accept(&mut listener).await;
                let count = Arc::clone(&count);
                count.fetch_add(1, Relaxed);
                tokio::spawn(async move {
                    // A client that disconnects, or states no address, ends its connection alone.
                    let _ = serve(stream, upstream).await;
                    count.fetch_sub(1, Relaxed);
                });
            }
        });
        Ok(Self { address, open })
    }

    /// Waits until no connection is open.
    pub(crate) async fn idle(&self) {
        while self.open.load(Relaxed) > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Serves the requests of a connection, by a connection to the server.
async fn serve(mut stream: TcpStream, upstream: SocketAddr) -> Result<(), BoxError> {
    let client = stated_address(&mut stream).await?;
    let appended = HeaderValue::from_str(&client.to_string())?;
    let to_server = TokioIo::new(TcpStream::connect(upstream).await?);
    let (sender, connection) = client::handshake::<_, Incoming>(to_server).await?;
    tokio::spawn(connection);
    let sender = Arc::new(tokio::sync::Mutex::new(sender));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.headers_mut().append("x-forwarded-for", appended.clone());
        let sender = Arc::clone(&sender);
        async move {
            let mut sender = sender.lock().await;
            sender.ready().await?;
            sender.send_request(request).await
        }
    });
    server::Builder::new().serve_connection(TokioIo::new(stream), service).await?;
    Ok(())
}

/// Reads the line of the PROXY protocol, and no byte behind it.
async fn stated_address(stream: &mut TcpStream) -> Result<IpAddr, BoxError> {
    let mut line = Vec::with_capacity(LONGEST);
    while !line.ends_with(b"\r\n") {
        if line.len() == LONGEST {
            return Err("the line is too long".into());
        }
        line.push(stream.read_u8().await?);
    }
    // PROXY, TCP4 or TCP6, the address of the client, that of the server, and their ports.
    let address = std::str::from_utf8(&line)?.split(' ').nth(2).ok_or("no line of the protocol")?;
    Ok(address.parse()?)
}
