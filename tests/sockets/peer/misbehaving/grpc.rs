//! A gRPC server that sends the blocks of a response apart.

use bytes::Bytes;
use h2::{RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{net::TcpStream, task::JoinSet};

use super::{Peer, Received};

/// A `HealthCheckResponse` with the status `SERVING`, and the prefix of a message.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 0x08, 0x01];

/// The reaction to a call, after a head without `grpc-status`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// A message, and trailers with OK.
    Serve,
    /// Trailers with this code.
    Fail(u16),
    /// The same, once the test [goes on](super::Misbehaving::go_on).
    FailLater(u16),
    /// A message once the test goes on, and trailers with OK.
    ServeLater,
}

pub(crate) type Misbehaving = super::Misbehaving<Act>;

impl super::Act for Act {
    const ANSWER: Self = Self::Serve;

    async fn serve(peer: Peer<Self>, stream: TcpStream) {
        // A client may disconnect at any time.
        drop(peer.converse(stream).await);
    }
}

impl Peer<Act> {
    async fn converse(self, stream: TcpStream) -> Result<(), h2::Error> {
        let mut connection = h2::server::handshake(stream).await?;
        let mut streams = JoinSet::new();
        while let Some(accepted) = connection.accept().await {
            let (request, respond) = accepted?;
            let act = self.script.next();
            streams.spawn(self.clone().answer(act, request, respond));
        }
        Ok(())
    }

    async fn answer(
        self,
        act: Act,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) -> Result<(), h2::Error> {
        let (parts, _) = request.into_parts();
        self.received.note(Received {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            headers: parts.headers,
            body: 0,
        });
        let mut head = Response::new(());
        head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        let mut stream = respond.send_response(head, false)?;
        if let Act::FailLater(_) | Act::ServeLater = act {
            self.go_on.notified().await;
        }
        match act {
            Act::Serve | Act::ServeLater => {
                stream.send_data(Bytes::from_static(SERVING), false)?;
                end(&mut stream, 0)
            }
            Act::Fail(code) | Act::FailLater(code) => end(&mut stream, code),
        }
    }
}

fn end(stream: &mut SendStream<Bytes>, code: u16) -> Result<(), h2::Error> {
    let status = ("grpc-status".parse().unwrap(), HeaderValue::from(code));
    stream.send_trailers(HeaderMap::from_iter([status]))
}
