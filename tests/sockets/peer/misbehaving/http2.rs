//! An HTTP/2 server (prior knowledge) that resets streams. For a GOAWAY see `goaway.rs`.

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http::{Request, Response};
use tokio::{net::TcpStream, task::JoinSet};

use super::{Peer, Received};

/// The reaction to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Receives it to its end, and responds 200 with a body of five bytes.
    Answer,
    /// Resets its stream as soon as its head has arrived. `REFUSED_STREAM` means not processed.
    Reset(Reason),
    /// Receives it to its end, responds 200 with a first part of a body, and resets the stream once
    /// the test [goes on](super::Misbehaving::go_on).
    ResetInBody(Reason),
}

pub(crate) type Misbehaving = super::Misbehaving<Act>;

impl super::Act for Act {
    const ANSWER: Self = Self::Answer;

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
        if let Act::Reset(reason) = act {
            respond.send_reset(reason);
            return Ok(());
        }
        let (parts, mut body) = request.into_parts();
        let mut length = 0;
        while let Some(part) = body.data().await {
            let part = part?.len();
            body.flow_control().release_capacity(part)?;
            length += part;
        }
        self.received.note(Received {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            headers: parts.headers,
            body: length,
        });
        let mut stream = respond.send_response(Response::new(()), false)?;
        match act {
            Act::ResetInBody(reason) => {
                stream.send_data(Bytes::from_static(b"he"), false)?;
                self.go_on.notified().await;
                stream.send_reset(reason);
            }
            _ => stream.send_data(Bytes::from_static(b"hello"), true)?,
        }
        Ok(())
    }
}
