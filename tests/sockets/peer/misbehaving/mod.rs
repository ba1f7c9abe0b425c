//! Servers that misbehave as they are told.

pub(crate) mod goaway;
pub(crate) mod http1;
pub(crate) mod http2;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use http::{HeaderMap, Method};

/// What a server does with the requests that come, one after the other; then always the same.
#[derive(Clone, Debug)]
pub(crate) struct Script<A> {
    acts: Arc<Mutex<VecDeque<A>>>,
    then: A,
}

impl<A: Clone> Script<A> {
    pub(crate) fn new(acts: impl IntoIterator<Item = A>, then: A) -> Self {
        Self { acts: Arc::new(Mutex::new(acts.into_iter().collect())), then }
    }

    /// For the request that has just come, on whatever connection.
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
    /// How long its body was.
    pub(crate) body: usize,
}
