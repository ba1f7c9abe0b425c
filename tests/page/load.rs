//! Limits under load.

use std::{
    convert::Infallible,
    f64::consts::TAU,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, Rejected, WindowRateLimitHandle,
    WindowRateLimitLayer, find_cause, observe::Limits,
};

/// The names of the limits.
pub(crate) const NAMES: [&str; 3] = ["checkout", "github", "partner-export"];

/// One tick of the load.
const TICK: Duration = Duration::from_millis(20);

/// A service behind one limit, which counts by itself.
#[derive(Clone, Debug)]
struct Counted {
    service: BoxCloneSyncService<(), (), BoxError>,
    served: Arc<AtomicU64>,
    rejected: Arc<AtomicU64>,
}

impl Counted {
    /// `takes` milliseconds pass in the service.
    fn new<L>(layer: L, takes: u64) -> Self
    where
        L: tower::Layer<Inner> + Clone,
        L::Service: tower::Service<(), Response = (), Error = BoxError, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let served = Arc::new(AtomicU64::new(0));
        let counted = served.clone();
        let inner = service_fn(move |()| {
            counted.fetch_add(1, SeqCst);
            async move {
                tokio::time::sleep(Duration::from_millis(takes)).await;
                Ok::<_, Infallible>(())
            }
        });
        let service = ServiceBuilder::new().layer(layer).service(BoxCloneSyncService::new(inner));
        Self { service: BoxCloneSyncService::new(service), served, rejected: Arc::default() }
    }

    async fn call(self) {
        match self.service.oneshot(()).await {
            Ok(()) => {}
            Err(error) => {
                assert!(find_cause::<Rejected>(&*error).is_some(), "{error}");
                self.rejected.fetch_add(1, SeqCst);
            }
        }
    }
}

type Inner = BoxCloneSyncService<(), (), Infallible>;

/// Three limits, and the services behind them.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) in_flight: ConcurrencyBackpressureHandle,
    pub(crate) smooth: WindowRateLimitHandle,
    pub(crate) strict: WindowRateLimitHandle,
    services: [Counted; 3],
}

/// The numbers that the services counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) served: u64,
    pub(crate) rejected: u64,
}

impl Load {
    pub(crate) fn new() -> Self {
        let in_flight = ConcurrencyBackpressureLayer::new(20)
            .name(NAMES[0])
            .max_queue(15)
            .reject_with_box_error();
        let smooth = WindowRateLimitLayer::new(40, Duration::from_secs(1))
            .name(NAMES[1])
            .max_wait(Duration::from_millis(400))
            .reject_with_box_error();
        let strict = WindowRateLimitLayer::new(30, Duration::from_secs(3))
            .name(NAMES[2])
            .max_queue(0)
            .reject_with_box_error();
        Self {
            in_flight: in_flight.handle(),
            smooth: smooth.handle(),
            strict: strict.handle(),
            services: [
                Counted::new(in_flight, 170),
                Counted::new(smooth, 10),
                Counted::new(strict, 10),
            ],
        }
    }

    /// Returns a set of the limits.
    pub(crate) fn limits(&self) -> Limits {
        let limits = Limits::new();
        limits.add(self.in_flight.clone());
        limits.add(self.smooth.clone());
        limits.add(self.strict.clone());
        limits
    }

    /// Sends requests in waves for `span`, and waits until each has its result.
    pub(crate) async fn run(&self, span: Duration) {
        // Requests per second: the mean, and the period of the waves in seconds.
        let waves = [(100.0, 20.0), (38.0, 28.0), (9.0, 12.0)];
        let mut due = [0.0; 3];
        let mut requests = JoinSet::new();
        let mut ticks = tokio::time::interval(TICK);
        let count = u32::try_from(span.as_millis() / TICK.as_millis()).unwrap();
        for tick in 0..count {
            ticks.tick().await;
            let seconds = (TICK * tick).as_secs_f64();
            for ((service, (mean, period)), due) in self.services.iter().zip(waves).zip(&mut due) {
                *due += mean * TICK.as_secs_f64() * (1.0 + 0.8 * (TAU * seconds / period).sin());
                while *due >= 1.0 {
                    *due -= 1.0;
                    requests.spawn(service.clone().call());
                }
            }
        }
        requests.join_all().await;
    }

    /// Begins a request behind the concurrency limit that lasts until the set is dropped.
    pub(crate) fn hold(&self, holds: &mut JoinSet<()>) {
        let service = self.services[0].clone();
        holds.spawn(async move {
            let Counted { mut service, .. } = service;
            let _ready = service.ready().await.unwrap();
            std::future::pending().await
        });
    }

    /// Returns the counts of the services behind the limits.
    pub(crate) fn counts(&self) -> [Count; 3] {
        self.services
            .each_ref()
            .map(|it| Count { served: it.served.load(SeqCst), rejected: it.rejected.load(SeqCst) })
    }
}
