//! An HTTP/2 server (prior knowledge) that resets streams. One that goes away is in `goaway.rs`.

use std::sync::Arc;

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http::{Request, Response};
use tokio::{net::TcpStream, sync::Notify, task::JoinSet};

use super::{Received, Script};
use crate::peer::{Listening, Log};

/// What is done about a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Receives it to its end, and answers 200 with a body of five bytes.
    Answer,
    /// Resets its stream as soon as its head is there. `REFUSED_STREAM` says that nothing was done about it.
    Reset(Reason),
    /// Receives it to its end, answers 200 with a first part of a body, and as soon as the test lets it
    /// [go on](Misbehaving::go_on), resets the stream.
    ResetInBody(Reason),
}

#[derive(Debug)]
pub(crate) struct Misbehaving {
    listening: Listening,
    received: Log<Received>,
    go_on: Arc<Notify>,
}

impl Misbehaving {
    /// Does `acts` in turn, one for each request that comes on any connection, and answers all that come then.
    pub(crate) async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let (script, received) = (Script::new(acts, Act::Answer), Log::new());
        let go_on = Arc::new(Notify::new());
        let peer = Peer { script, received: received.clone(), go_on: Arc::clone(&go_on) };
        let listening = Listening::start(move |stream| {
            let peer = peer.clone();
            // A client that goes away is none of its business.
            async move { drop(peer.serve(stream).await) }
        })
        .await;
        Self { listening, received, go_on }
    }

    pub(crate) const fn listening(&self) -> &Listening {
        &self.listening
    }

    /// The requests that were received to their end.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.read()
    }

    /// Lets a body break off. A reset throws away what has not been sent yet, so have the head first.
    pub(crate) fn go_on(&self) {
        self.go_on.notify_one();
    }
}

#[derive(Clone)]
struct Peer {
    script: Script<Act>,
    received: Log<Received>,
    go_on: Arc<Notify>,
}

impl Peer {
    async fn serve(self, stream: TcpStream) -> Result<(), h2::Error> {
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
