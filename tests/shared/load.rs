//! The service behind a limit, and calls of it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tower::{BoxError, Service, ServiceExt};

use crate::shared_store::{fake::RealTime, oracle::Issues};

/// A service that records its calls. Its clones are not ready, and it panics if called unready.
pub(crate) struct Recorder {
    process: usize,
    issues: Issues,
    real_time: RealTime,
    slowness: Slowness,
    /// It is not ready before this is open.
    gate: Option<watch::Receiver<bool>>,
    random: Arc<Mutex<fastrand::Rng>>,
    readiness: Readiness,
}

/// The times of a service, in milliseconds at most.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slowness {
    /// Until it is ready.
    pub(crate) ready: u64,
    /// Until it responds.
    pub(crate) respond: u64,
}

enum Readiness {
    Idle,
    Waits(BoxFuture<'static, ()>),
    Ready,
}

impl Recorder {
    pub(crate) fn new(process: usize, issues: &Issues, real_time: &RealTime) -> Self {
        Self {
            process,
            issues: issues.clone(),
            real_time: real_time.clone(),
            slowness: Slowness::default(),
            gate: None,
            random: Arc::new(Mutex::new(fastrand::Rng::with_seed(process as u64))),
            readiness: Readiness::Idle,
        }
    }

    pub(crate) fn slow(self, slowness: Slowness) -> Self {
        Self { slowness, ..self }
    }

    pub(crate) fn behind(self, gate: Option<watch::Receiver<bool>>) -> Self {
        Self { gate, ..self }
    }

    fn draw(&self, millis: u64) -> Duration {
        Duration::from_millis(self.random.lock().unwrap().u64(0..=millis))
    }
}

impl Clone for Recorder {
    fn clone(&self) -> Self {
        Self {
            process: self.process,
            issues: self.issues.clone(),
            real_time: self.real_time.clone(),
            slowness: self.slowness,
            gate: self.gate.clone(),
            random: Arc::clone(&self.random),
            readiness: Readiness::Idle,
        }
    }
}

impl Service<u64> for Recorder {
    type Response = ();
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<(), BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            match &mut self.readiness {
                Readiness::Idle if self.slowness.ready == 0 && self.gate.is_none() => {
                    self.readiness = Readiness::Ready;
                }
                Readiness::Idle => {
                    let (wait, gate) = (self.draw(self.slowness.ready), self.gate.clone());
                    self.readiness = Readiness::Waits(Box::pin(async move {
                        sleep(wait).await;
                        if let Some(mut gate) = gate {
                            gate.wait_for(|is_open| *is_open).await.unwrap();
                        }
                    }));
                }
                Readiness::Waits(wait) => {
                    ready!(wait.as_mut().poll(cx));
                    self.readiness = Readiness::Ready;
                }
                Readiness::Ready => return Poll::Ready(Ok(())),
            }
        }
    }

    fn call(&mut self, request: u64) -> Self::Future {
        assert!(matches!(self.readiness, Readiness::Ready), "called unready");
        self.readiness = Readiness::Idle;
        self.issues.record(self.real_time.elapsed(), self.process, request);
        let respond = self.slowness.respond;
        let response = (respond > 0).then(|| sleep(self.draw(respond)));
        Box::pin(async move {
            if let Some(response) = response {
                response.await;
            }
            Ok(())
        })
    }
}

#[allow(clippy::disallowed_methods, reason = "tests look at tokio's clock, too")]
fn now() -> Instant {
    Instant::now()
}

/// The calls of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// So many tasks, each of which calls again and again.
    Greedy(usize),
    /// A call after each time.
    Steady(Duration),
    /// So many calls together, after each time.
    Bursts(usize, Duration),
}

/// The ends of calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    pub(crate) begun: Arc<AtomicUsize>,
    pub(crate) responded: Arc<AtomicUsize>,
    pub(crate) cancelled: Arc<AtomicUsize>,
    /// The errors.
    pub(crate) failed: Arc<Mutex<Vec<BoxError>>>,
    /// The longest time of a call.
    longest: Arc<Mutex<Duration>>,
    is_stopped: Arc<AtomicBool>,
}

impl Ends {
    /// Begins no more calls.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Relaxed);
    }

    fn goes_on(&self) -> bool {
        !self.is_stopped.load(Relaxed)
    }

    pub(crate) fn begun(&self) -> usize {
        self.begun.load(SeqCst)
    }

    pub(crate) fn responded(&self) -> usize {
        self.responded.load(SeqCst)
    }

    pub(crate) fn failed(&self) -> usize {
        self.failed.lock().unwrap().len()
    }

    /// The calls that have not ended.
    pub(crate) fn open(&self) -> usize {
        self.begun() - self.responded() - self.cancelled.load(SeqCst) - self.failed()
    }

    pub(crate) fn longest(&self) -> Duration {
        *self.longest.lock().unwrap()
    }

    /// Returns false if the call has failed.
    async fn call<S>(&self, service: S, patience: Option<Duration>) -> bool
    where
        S: Service<u64, Error: Into<BoxError>>,
    {
        let start = now();
        let call = service.oneshot(self.begun.fetch_add(1, SeqCst) as u64);
        let end = match patience {
            Some(patience) => timeout(patience, call).await.ok(),
            None => Some(call.await),
        };
        let longest = &mut *self.longest.lock().unwrap();
        *longest = start.elapsed().max(*longest);
        match end {
            Some(Ok(_)) => drop(self.responded.fetch_add(1, SeqCst)),
            None => drop(self.cancelled.fetch_add(1, SeqCst)),
            Some(Err(error)) => {
                self.failed.lock().unwrap().push(error.into());
                return false;
            }
        }
        true
    }
}

/// Calls `service` until the runtime ends. Of the calls, a share is cancelled after up to 50 ms.
pub(crate) fn call<S>(service: S, load: Load, cancelled: f64, seed: u64) -> Ends
where
    S: Service<u64, Error: Into<BoxError> + Send, Future: Send> + Clone + Send + 'static,
    S::Response: Send,
{
    let ends = Ends::default();
    let random = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)));
    let patience = move || {
        let mut random = random.lock().unwrap();
        (random.f64() < cancelled).then(|| Duration::from_millis(random.u64(0..50)))
    };
    match load {
        Load::Greedy(tasks) => {
            for _ in 0..tasks {
                let (ends, service, patience) = (ends.clone(), service.clone(), patience.clone());
                tokio::spawn(async move {
                    while ends.goes_on() {
                        // Calls that fail at once would let no time pass.
                        if !ends.call(service.clone(), patience()).await {
                            sleep(Duration::from_millis(10)).await;
                        }
                    }
                });
            }
        }
        Load::Steady(every) => drop(tokio::spawn(burst(service, ends.clone(), patience, 1, every))),
        Load::Bursts(size, every) => {
            tokio::spawn(burst(service, ends.clone(), patience, size, every));
        }
    }
    ends
}

async fn burst<S>(
    service: S,
    ends: Ends,
    patience: impl Fn() -> Option<Duration> + Send,
    size: usize,
    every: Duration,
) where
    S: Service<u64, Error: Into<BoxError> + Send, Future: Send> + Clone + Send + 'static,
    S::Response: Send,
{
    let mut interval = tokio::time::interval(every);
    while ends.goes_on() {
        interval.tick().await;
        for _ in 0..size {
            let (ends, service, patience) = (ends.clone(), service.clone(), patience());
            tokio::spawn(async move { ends.call(service, patience).await });
        }
    }
}
