//! The service behind every stack, which follows a script and records its polls and calls.
//!
//! It panics if an instance is called that is not ready. Its responses are `async` blocks, which
//! panic if they are polled after they have completed.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, Weak},
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use tokio::sync::oneshot;
use tower::{BoxError, Service};

/// An error of the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed(pub(crate) &'static str);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Failed {}

/// The readiness error of the probe.
pub(crate) const NOT_READY: Failed = Failed("not ready, and never again");
/// The message of the panic of a probe that is called unready.
pub(crate) const CALLED_UNREADY: &str = "the inner service was called unready";

/// The outcome of `poll_ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Ready,
    Pending,
    Failing,
    Panicking,
}

/// How a response ends.
#[derive(Debug)]
pub(crate) enum End {
    Ok(u32),
    Err(Failed),
    Panic,
}

/// Controls the probe, and reads its records.
pub(crate) struct Script(Mutex<Records>);

struct Records {
    mood: Mood,
    panics_in_call: bool,
    polls: usize,
    /// The requests, and for each the sender that ends its response.
    calls: Vec<(u32, Option<oneshot::Sender<End>>)>,
    /// All instances and all responses, whether dropped or not.
    made: Vec<Weak<AtomicWaker>>,
}

impl Script {
    /// Returns a probe and its script. The probe is ready, and its responses are pending.
    pub(crate) fn new() -> (Arc<Self>, Probe) {
        let (calls, made) = (Vec::new(), Vec::new());
        let records = Records { mood: Mood::Ready, panics_in_call: false, polls: 0, calls, made };
        let script = Arc::new(Self(Mutex::new(records)));
        let probe = Probe { ready: false, waker: script.make(), script: Arc::clone(&script) };
        (script, probe)
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap()
    }

    /// Sets the readiness, and wakes the last waker of each instance.
    pub(crate) fn be(&self, mood: Mood) {
        self.be_unnoticed(mood);
        let made = self.records().made.clone();
        made.iter().filter_map(Weak::upgrade).for_each(|waker| waker.wake());
    }

    /// Sets the readiness without a wake-up, and returns the previous one.
    pub(crate) fn be_unnoticed(&self, mood: Mood) -> Mood {
        std::mem::replace(&mut self.records().mood, mood)
    }

    pub(crate) fn panic_in_call(&self, panics: bool) {
        self.records().panics_in_call = panics;
    }

    /// Ends the response in flight to `request`.
    pub(crate) fn end(&self, request: u32, end: End) {
        let ends = {
            let mut records = self.records();
            let mut calls = records.calls.iter_mut().rev();
            calls.find(|call| call.0 == request).and_then(|call| call.1.take())
        };
        ends.expect("in flight").send(end).expect("not dropped");
    }

    /// The requests in order of arrival.
    pub(crate) fn calls(&self) -> Vec<u32> {
        self.records().calls.iter().map(|call| call.0).collect()
    }

    /// The number of polls of readiness.
    pub(crate) fn polls(&self) -> usize {
        self.records().polls
    }

    /// The number of instances and responses that are not dropped.
    pub(crate) fn alive(&self) -> usize {
        self.records().made.iter().filter(|one| one.strong_count() > 0).count()
    }

    fn make(&self) -> Arc<AtomicWaker> {
        let one = Arc::default();
        self.records().made.push(Arc::downgrade(&one));
        one
    }
}

pub(crate) struct Probe {
    ready: bool,
    waker: Arc<AtomicWaker>,
    script: Arc<Script>,
}

/// A clone isn't ready.
impl Clone for Probe {
    fn clone(&self) -> Self {
        Self { ready: false, waker: self.script.make(), script: Arc::clone(&self.script) }
    }
}

impl Service<u32> for Probe {
    type Response = u32;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<u32, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.script.records().polls += 1;
        let mood = self.script.records().mood;
        self.ready = mood == Mood::Ready;
        match mood {
            Mood::Ready => Poll::Ready(Ok(())),
            Mood::Pending => {
                self.waker.register(cx.waker());
                Poll::Pending
            }
            Mood::Failing => Poll::Ready(Err(NOT_READY.into())),
            Mood::Panicking => panic!("in poll_ready"),
        }
    }

    fn call(&mut self, request: u32) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "{CALLED_UNREADY}");
        let (ends, end) = oneshot::channel();
        self.script.records().calls.push((request, Some(ends)));
        let panics = self.script.records().panics_in_call;
        assert!(!panics, "in call");
        let alive = self.script.make();
        Box::pin(async move {
            let _alive = alive;
            match end.await.expect("the script is kept") {
                End::Ok(response) => Ok(response),
                End::Err(failed) => Err(failed.into()),
                End::Panic => panic!("in the response"),
            }
        })
    }
}
