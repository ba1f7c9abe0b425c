//! A probe to put behind the layers, and helpers of the tests.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;
use tower::Service;

pub(crate) use crate::{paused_time::settle, wake_counter::WakeCounter};

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[allow(clippy::disallowed_methods, reason = "tests look at tokio's clock, too")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A service that responds after a while and records its calls.
///
/// Its clones are not ready, and it panics if it is called unready.
#[derive(Debug)]
pub(crate) struct Probe {
    ready: bool,
    answer_after: Duration,
    notes: Arc<Notes>,
}

#[derive(Debug)]
pub(crate) struct Notes {
    started: Instant,
    /// The times of the calls.
    calls: Mutex<Vec<Duration>>,
    inside: AtomicUsize,
    most_inside: AtomicUsize,
}

impl Probe {
    pub(crate) fn new() -> Self {
        Self::answering_after(Duration::ZERO)
    }

    pub(crate) fn answering_after(answer_after: Duration) -> Self {
        let notes = Notes {
            started: now(),
            calls: Mutex::default(),
            inside: AtomicUsize::new(0),
            most_inside: AtomicUsize::new(0),
        };
        Self { ready: false, answer_after, notes: Arc::new(notes) }
    }

    pub(crate) fn notes(&self) -> Arc<Notes> {
        Arc::clone(&self.notes)
    }
}

impl Notes {
    pub(crate) fn calls(&self) -> Vec<Duration> {
        self.calls.lock().unwrap().clone()
    }

    /// The times of the calls, in milliseconds since the probe was made.
    pub(crate) fn calls_ms(&self) -> Vec<u128> {
        self.calls().iter().map(Duration::as_millis).collect()
    }

    pub(crate) fn most_inside(&self) -> usize {
        self.most_inside.load(SeqCst)
    }
}

impl Clone for Probe {
    fn clone(&self) -> Self {
        Self { ready: false, answer_after: self.answer_after, notes: Arc::clone(&self.notes) }
    }
}

impl Service<u32> for Probe {
    type Response = u32;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<u32, std::io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "the inner service was called unready");
        self.notes.calls.lock().unwrap().push(self.notes.started.elapsed());
        let inside = self.notes.inside.fetch_add(1, SeqCst) + 1;
        self.notes.most_inside.fetch_max(inside, SeqCst);
        let leaving = Leaving(Arc::clone(&self.notes));
        let answer_after = self.answer_after;
        Box::pin(async move {
            let _leaving = leaving;
            if !answer_after.is_zero() {
                tokio::time::sleep(answer_after).await;
            }
            Ok(request)
        })
    }
}

struct Leaving(Arc<Notes>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, SeqCst);
    }
}

/// The largest number of `times` in any half-open span as long as `span`.
///
/// A span with that number begins, or can be moved to begin, at one of the times.
pub(crate) fn most_in_any_span(times: &[Duration], span: Duration) -> usize {
    let inside =
        |from: &Duration| times.iter().filter(|&at| at >= from && *at < *from + span).count();
    times.iter().map(inside).max().unwrap_or(0)
}

/// Polls the readiness of `service` once.
pub(crate) fn poll_ready<S, R>(service: &mut S, waker: &Waker) -> Poll<Result<(), S::Error>>
where
    S: Service<R>,
{
    service.poll_ready(&mut Context::from_waker(waker))
}

/// Gives each thread a subscriber of traces, from the first test of traces on.
///
/// A callsite that is first met by a thread without a subscriber, while another thread sets its
/// own, would be off for both.
#[cfg(feature = "tracing")]
pub(crate) fn subscribe_all_threads() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(tracing_subscriber::registry()).expect("the first");
    });
}
