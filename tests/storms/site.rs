//! A limit with an inner service that records its calls, and the assertions after a storm.

use std::sync::{Arc, Mutex};
use std::{convert::Infallible, mem, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use tokio::task::yield_now;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_floodgate::WindowRateLimitHandle;
use tower_floodgate::{ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer};

use crate::spans::Span;
use crate::support::{Line, guarded, guarded_task, nanos_at_the_end, runtime, storm, wait_until};

/// A limited service. Boxed, so that storms need not know which limit it is.
pub(crate) type Limited = BoxCloneSyncService<(), (), Infallible>;

#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) limit: u32,
    pub(crate) service: Limited,
    pub(crate) handle: Handle,
    pub(crate) notes: Arc<Notes>,
    /// The span of a window.
    span: Option<Span>,
}

#[derive(Clone, Debug)]
pub(crate) enum Handle {
    Concurrency(ConcurrencyBackpressureHandle),
    Window(WindowRateLimitHandle),
}

impl Handle {
    pub(crate) fn set_limit(&self, limit: u32) {
        match self {
            Self::Concurrency(handle) => handle.set_limit(limit),
            Self::Window(window) => window.set_limit(limit),
        }
        .unwrap();
    }

    /// The permits taken, and the waiters. The reading of a window refills it.
    pub(crate) fn taken_and_queued(&self) -> (u32, u32) {
        match self {
            Self::Concurrency(limit) => (limit.in_flight(), limit.queued()),
            Self::Window(window) => (window.limit() - window.remaining(), window.queued()),
        }
    }
}

impl Site {
    pub(crate) fn concurrency(limit: u32) -> Self {
        let (layer, notes) = (ConcurrencyBackpressureLayer::new(limit), Arc::default());
        let service = Limited::new(layer.layer(service_fn(record(&notes))));
        Self { limit, service, handle: Handle::Concurrency(layer.handle()), notes, span: None }
    }

    pub(crate) fn window(fixed: bool, limit: u32, length: Duration) -> Self {
        let ((layer, span), notes) = (Span::new(fixed, limit, length), Arc::default());
        let service = Limited::new(layer.layer(service_fn(record(&notes))));
        Self { limit, service, handle: Handle::Window(layer.handle()), notes, span: Some(span) }
    }

    /// Runs a storm at a site. Afterwards nothing is over and nothing lost.
    pub(crate) fn storm(name: &str, site: fn() -> Self, round: impl Fn(u64, &Self, &mut Line)) {
        storm(name, |seed, line| {
            let site = site();
            round(seed, &site, line);
            site.never_too_many(line);
            site.comes_to_rest(0);
            let (taken, queued) = site.handle.taken_and_queued();
            line.count("left_in_flight", taken);
            line.count("left_queued", queued);
        });
    }

    fn never_too_many(&self, line: &mut Line) {
        line.count("admitted", self.notes.calls());
        if let Some(span) = &self.span {
            span.judge(self.notes.times.lock().unwrap().clone(), line);
        } else {
            let most = self.notes.most_inside();
            line.count("most_inside", most);
            assert!(most <= self.limit, "{most} in flight");
        }
    }

    /// Asserts that in a while no waiter is queued, `held` permits are taken, and all others can be
    /// acquired at once.
    pub(crate) fn comes_to_rest(&self, held: u32) {
        let handle = self.handle.clone();
        let at_rest = wait_until(move || handle.taken_and_queued() == (held, 0));
        guarded_task(0, self.handle.clone(), || 0, at_rest);
        let mut clones = vec![self.service.clone(); self.limit as usize + 1];
        let ready = guarded(
            self.handle.clone(),
            || 0,
            move || {
                let runtime = runtime(0);
                let _timer = runtime.enter(); // for the clone that waits
                clones.iter_mut().map_while(|clone| clone.ready().now_or_never()).count()
            },
        );
        assert_eq!(ready, (self.limit - held) as usize, "ready at once");
    }
}

#[derive(Default)]
pub(crate) struct Notes {
    /// The times of the calls of the inner service.
    times: Mutex<Vec<u64>>,
    /// The requests in flight, from the call to the end of the response, and the largest number so
    /// far.
    inside: Mutex<(u32, u32)>,
}

impl Notes {
    pub(crate) fn calls(&self) -> usize {
        self.times.lock().unwrap().len()
    }

    /// The largest number of requests in flight since the last reading.
    pub(crate) fn most_inside(&self) -> u32 {
        let mut inside = self.inside.lock().unwrap();
        let now = inside.0;
        mem::replace(&mut inside.1, now)
    }
}

/// The inner service. Some of its calls take longer, and its response is ready at the second poll.
fn record(
    notes: &Arc<Notes>,
) -> impl Fn(()) -> BoxFuture<'static, Result<(), Infallible>> + Clone + Send + Sync + use<> {
    let notes = Arc::clone(notes);
    move |()| {
        let time = nanos_at_the_end();
        notes.times.lock().unwrap().push(time);
        let leaving = Leaving::entered(&notes);
        Box::pin(async move {
            let _leaving = leaving;
            yield_now().await;
            Ok(())
        })
    }
}

struct Leaving(Arc<Notes>);

impl Leaving {
    fn entered(notes: &Arc<Notes>) -> Self {
        let mut inside = notes.inside.lock().unwrap();
        *inside = (inside.0 + 1, inside.1.max(inside.0 + 1));
        Self(Arc::clone(notes))
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.inside.lock().unwrap().0 -= 1;
    }
}
