//! A client's connection to the reverse proxy.

use std::net::{IpAddr, SocketAddr};

use axum::{
    body::Body,
    http::{Request, Response, StatusCode, header::RETRY_AFTER, request},
};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tower::BoxError;

/// A connection from an address, with one request at a time.
pub(crate) struct Connection {
    sender: http1::SendRequest<Body>,
    pub(crate) name: &'static str,
}

/// A response, as a client sees it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// The seconds of its `Retry-After`.
    pub(crate) retry_after: Option<u64>,
    pub(crate) text: String,
}

impl Connection {
    /// Connects a client called `name`, from `address`, to the proxy.
    pub(crate) async fn open(
        proxy: SocketAddr,
        address: IpAddr,
        name: &'static str,
    ) -> Result<Self, BoxError> {
        let mut stream = TcpStream::connect(proxy).await?;
        // The part of the load balancer: a client cannot choose the address that it connects from.
        let (family, own) = if address.is_ipv4() { (4, "127.0.0.1") } else { (6, "::1") };
        let line = format!("PROXY TCP{family} {address} {own} 41952 80\r\n");
        stream.write_all(line.as_bytes()).await?;
        Self::over(stream, name).await
    }

    /// Sends the requests of a client over `stream`.
    pub(crate) async fn over(stream: TcpStream, name: &'static str) -> Result<Self, BoxError> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, name })
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Reply, BoxError> {
        self.send(Request::get(path), Body::empty()).await
    }

    pub(crate) async fn log_in(&mut self, password: &str) -> Result<Reply, BoxError> {
        self.send(Request::post("/login"), Body::from(password.to_owned())).await
    }

    /// Sends a request with further headers.
    pub(crate) async fn send(
        &mut self,
        request: request::Builder,
        body: Body,
    ) -> Result<Reply, BoxError> {
        let request = request.header("host", "localhost").header("user-agent", self.name);
        self.sender.ready().await?;
        Reply::read(self.sender.send_request(request.body(body)?).await?).await
    }
}

impl Reply {
    async fn read(response: Response<Incoming>) -> Result<Self, BoxError> {
        let (head, body) = response.into_parts();
        let retry_after = match head.headers.get(RETRY_AFTER) {
            Some(seconds) => Some(seconds.to_str()?.parse()?),
            None => None,
        };
        let text = String::from_utf8(body.collect().await?.to_bytes().into())?;
        let reply = Self { status: head.status, retry_after, text };
        if reply.is_rejected() && !matches!(reply.retry_after, Some(1..)) {
            return Err(format!("a rejection without a time: {reply:?}").into());
        }
        Ok(reply)
    }

    pub(crate) fn is_rejected(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }
}
