//! The service behind every stack. It does what the test says, takes note of all that reaches it, and
//! panics at whoever calls an instance that isn't ready. (Its responses are `async` blocks, which panic
//! at whoever polls them when they are over.)

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

/// What the probe fails with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed(pub(crate) &'static str);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Failed {}

/// What it fails to get ready with.
pub(crate) const NOT_READY: Failed = Failed("not ready, and never again");
/// What it panics with if it is called unready.
pub(crate) const CALLED_UNREADY: &str = "the inner service was called unready";

/// What `poll_ready` answers.
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

/// The test's end of the probe: says what it does, and reads what it saw.
pub(crate) struct Script(Mutex<Notes>);

struct Notes {
    mood: Mood,
    panics_in_call: bool,
    polls: usize,
    /// The requests, and what ends the response to each.
    calls: Vec<(u32, Option<oneshot::Sender<End>>)>,
    /// All instances and all responses, of which some are alive.
    made: Vec<Weak<AtomicWaker>>,
}

impl Script {
    /// A probe, and the script it follows: it is ready, and its responses are pending.
    pub(crate) fn new() -> (Arc<Self>, Probe) {
        let (calls, made) = (Vec::new(), Vec::new());
        let notes = Notes { mood: Mood::Ready, panics_in_call: false, polls: 0, calls, made };
        let script = Arc::new(Self(Mutex::new(notes)));
        let probe = Probe { ready: false, waker: script.make(), script: Arc::clone(&script) };
        (script, probe)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap()
    }

    /// From now on readiness is as `mood` says. Who waits for it is woken, by the last waker of each instance.
    pub(crate) fn be(&self, mood: Mood) {
        self.be_unnoticed(mood);
        let made = self.notes().made.clone();
        made.iter().filter_map(Weak::upgrade).for_each(|waker| waker.wake());
    }

    /// The same, and nobody is woken. Returns the mood before.
    pub(crate) fn be_unnoticed(&self, mood: Mood) -> Mood {
        std::mem::replace(&mut self.notes().mood, mood)
    }

    pub(crate) fn panic_in_call(&self, panics: bool) {
        self.notes().panics_in_call = panics;
    }

    /// Ends the response that is under way to `request`.
    pub(crate) fn end(&self, request: u32, end: End) {
        let ends = {
            let mut notes = self.notes();
            let mut calls = notes.calls.iter_mut().rev();
            calls.find(|call| call.0 == request).and_then(|call| call.1.take())
        };
        ends.expect("it is under way").send(end).expect("it is waited for");
    }

    /// The requests in the order in which they arrived.
    pub(crate) fn calls(&self) -> Vec<u32> {
        self.notes().calls.iter().map(|call| call.0).collect()
    }

    /// How often readiness was polled.
    pub(crate) fn polls(&self) -> usize {
        self.notes().polls
    }

    /// How many instances and responses there are.
    pub(crate) fn alive(&self) -> usize {
        self.notes().made.iter().filter(|one| one.strong_count() > 0).count()
    }

    fn make(&self) -> Arc<AtomicWaker> {
        let one = Arc::default();
        self.notes().made.push(Arc::downgrade(&one));
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
        self.script.notes().polls += 1;
        let mood = self.script.notes().mood;
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
        self.script.notes().calls.push((request, Some(ends)));
        let panics = self.script.notes().panics_in_call;
        assert!(!panics, "in call");
        let alive = self.script.make();
        Box::pin(async move {
            let _alive = alive;
            match end.await.expect("the script lives on") {
                End::Ok(response) => Ok(response),
                End::Err(failed) => Err(failed.into()),
                End::Panic => panic!("in the response"),
            }
        })
    }
}
