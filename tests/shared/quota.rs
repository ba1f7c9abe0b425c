//! The quota of a scene.

use std::time::Duration;

use tower::Layer;
use tower_floodgate::{
    WindowRateLimitLayer,
    shared::{Away, SharedRateLimit, SharedRateLimitHandle, SharedRateLimitLayer, SharedWindow},
};

use crate::{
    fleet::Fleet,
    load::{Ends, Load, Recorder, call},
    shared_store::fake::{FakeStore, RealTime, Server},
    shared_store::oracle::Issues,
};

pub(crate) type Limited = SharedRateLimit<Recorder, tower_floodgate::reject::RejectWithBoxError>;

/// The settings of a quota, which all processes share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    pub(crate) limit: u32,
    pub(crate) window: Duration,
    pub(crate) away: Away,
    pub(crate) is_strict: bool,
    /// Of one process.
    pub(crate) max_share: Option<u32>,
    pub(crate) max_wait: Duration,
}

impl Quota {
    pub(crate) fn new(limit: u32, window: Duration) -> Self {
        let (is_strict, max_share) = (false, None);
        Self { limit, window, away: Away::Closed, is_strict, max_share, max_wait: Duration::MAX }
    }

    pub(crate) fn strict(self) -> Self {
        Self { is_strict: true, ..self }
    }

    pub(crate) fn away(self, away: Away) -> Self {
        Self { away, ..self }
    }

    pub(crate) fn max_wait(self, max_wait: Duration) -> Self {
        Self { max_wait, ..self }
    }

    pub(crate) fn layer(&self, store: FakeStore) -> SharedRateLimitLayer {
        let mut window = SharedWindow::new(store, "quota", self.limit, self.window, self.away);
        if self.is_strict {
            window = window.strict();
        }
        if let Some(max_share) = self.max_share {
            window = window.max_share(max_share);
        }
        WindowRateLimitLayer::shared(window).max_wait(self.max_wait).max_queue(u32::MAX)
    }

    /// Starts a process of a fleet, with a clock at the right rate.
    pub(crate) fn start(&self, fleet: &mut Fleet, load: Load) -> (SharedRateLimitHandle, Ends) {
        fleet.start(0, |fleet, number| {
            let layer = self.layer(fleet.server.store(number));
            let recorder = Recorder::new(number, &fleet.issues, &fleet.real_time);
            (layer.handle(), call(layer.layer(recorder), load, 0.0, number as u64))
        })
    }
}

/// Processes in one runtime, whose clock they share: a scene without suspended ones.
pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) issues: Issues,
    real_time: RealTime,
}

impl Site {
    pub(crate) fn new(seed: u64) -> Self {
        let real_time = RealTime::of_runtime();
        let server = Server::new(seed, real_time.clone());
        Self { server, issues: Issues::default(), real_time }
    }

    pub(crate) fn now(&self) -> Duration {
        self.real_time.elapsed()
    }

    pub(crate) fn recorder(&self, process: usize) -> Recorder {
        Recorder::new(process, &self.issues, &self.real_time)
    }

    pub(crate) fn service(&self, quota: &Quota, process: usize) -> Limited {
        quota.layer(self.server.store(process)).layer(self.recorder(process))
    }

    pub(crate) fn start(
        &self,
        quota: &Quota,
        process: usize,
        load: Load,
    ) -> (SharedRateLimitHandle, Ends) {
        let service = self.service(quota, process);
        (service.handle(), call(service, load, 0.0, process as u64))
    }
}
