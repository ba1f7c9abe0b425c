//! Servers that misbehave as they are told.

pub(crate) mod goaway;
#[cfg(feature = "grpc")]
pub(crate) mod grpc;
pub(crate) mod http1;
pub(crate) mod http2;

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex},
};

use http::{HeaderMap, Method};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use super::{Listening, Log};

/// A reaction that can be configured.
pub(crate) trait Act: Clone + Send + Sync + 'static {
    /// 200 with a body of five bytes.
    const ANSWER: Self;

    /// Serves a connection until it ends or the client disconnects.
    fn serve(peer: Peer<Self>, stream: TcpStream) -> impl Future<Output = ()> + Send;
}

/// A server that misbehaves as configured.
#[derive(Debug)]
pub(crate) struct Misbehaving<A> {
    listening: Listening,
    peer: Peer<A>,
}

impl<A: Act> Misbehaving<A> {
    /// Performs `acts` in turn, one for each request on any connection, then responds to all.
    pub(crate) async fn start(acts: impl IntoIterator<Item = A>) -> Self {
        Self::on(TcpListener::bind(("127.0.0.1", 0)).await.unwrap(), acts)
    }

    /// Does the same with a given listener.
    pub(crate) fn on(listener: TcpListener, acts: impl IntoIterator<Item = A>) -> Self {
        let script = Script::new(acts, A::ANSWER);
        let peer = Peer { script, received: Log::new(), go_on: Arc::default() };
        let serving = peer.clone();
        let listening = Listening::on(listener, move |stream| A::serve(serving.clone(), stream));
        Self { listening, peer }
    }

    pub(crate) const fn listening(&self) -> &Listening {
        &self.listening
    }

    /// The requests that were received to their end.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.peer.received.read()
    }

    /// Lets a body break off. A reset discards unread and unsent bytes, so wait for the head first.
    pub(crate) fn go_on(&self) {
        self.peer.go_on.notify_one();
    }
}

/// The state shared by all connections.
#[derive(Clone, Debug)]
pub(crate) struct Peer<A> {
    script: Script<A>,
    received: Log<Received>,
    go_on: Arc<Notify>,
}

/// The reactions to successive requests; the last one is repeated.
#[derive(Clone, Debug)]
pub(crate) struct Script<A> {
    acts: Arc<Mutex<VecDeque<A>>>,
    then: A,
}

impl<A: Clone> Script<A> {
    pub(crate) fn new(acts: impl IntoIterator<Item = A>, then: A) -> Self {
        Self { acts: Arc::new(Mutex::new(acts.into_iter().collect())), then }
    }

    /// Returns the reaction to the next request on any connection.
    pub(crate) fn next(&self) -> A {
        self.acts.lock().unwrap().pop_front().unwrap_or_else(|| self.then.clone())
    }
}

/// A request that was received to its end.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// The length of its body.
    pub(crate) body: usize,
}
