//! Shared limits that are observed: the counts of the handle, of the metrics, of the store and of
//! the callers are the same.

use std::sync::Arc;

use tokio::{task::JoinSet, time::sleep};
use tower::{BoxError, Layer, ServiceExt};
use tower_floodgate::{
    Rejected, WindowRateLimitLayer,
    observe::{Limits, Snapshot},
    shared::{Away, SharedRateLimitLayer, SharedSnapshot, SharedWindow},
};

use super::numbers;
use crate::{
    small_store::{ROUND_TRIP, SmallStore},
    support::{Notes, Probe, ms, secs},
};

fn quota(store: &SmallStore, limit: u32, away: Away) -> SharedWindow {
    SharedWindow::new(store.clone(), "api", limit, secs(1), away)
}

/// A limit, and the service behind it.
struct Site {
    store: SmallStore,
    layer: SharedRateLimitLayer,
    probe: Probe,
}

/// The outcomes of calls, as their callers counted them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcomes {
    served: u64,
    unavailable: u64,
    queue_full: u64,
    wait_timeout: u64,
}

impl Site {
    fn new(limit: u32, away: Away) -> Self {
        let store = SmallStore::new();
        let layer = WindowRateLimitLayer::shared(quota(&store, limit, away));
        Self { store, layer, probe: Probe::new() }
    }

    fn map(self, change: impl FnOnce(SharedRateLimitLayer) -> SharedRateLimitLayer) -> Self {
        Self { layer: change(self.layer), ..self }
    }

    fn snapshot(&self) -> SharedSnapshot {
        self.layer.handle().snapshot()
    }

    fn notes(&self) -> Arc<Notes> {
        self.probe.notes()
    }

    /// Sends requests at once, and waits for all of them.
    async fn send(&self, requests: u32) -> Outcomes {
        let service = self.layer.layer(self.probe.clone());
        let calls: JoinSet<_> = (0..requests).map(|n| service.clone().oneshot(n)).collect();
        let mut outcomes = Outcomes::default();
        for result in calls.join_all().await {
            *outcomes.of(&result) += 1;
        }
        outcomes
    }
}

impl Outcomes {
    fn of(&mut self, result: &Result<u32, BoxError>) -> &mut u64 {
        let Err(error) = result else { return &mut self.served };
        match Rejected::find(&**error).expect("a rejection") {
            rejected if rejected.is_unavailable() => &mut self.unavailable,
            rejected if rejected.is_queue_full() => &mut self.queue_full,
            rejected if rejected.is_wait_timeout() => &mut self.wait_timeout,
            other => panic!("{other}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn d2_o1_counts_are_those_of_the_callers_and_of_the_store() {
    let site = Site::new(10, Away::Closed).map(|layer| layer.name("api").max_wait(ms(1_500)));
    let outcomes = site.send(25).await;
    // As many as two windows have, and no reply told of more in time.
    assert_eq!(outcomes.served + outcomes.wait_timeout, 25);
    sleep(secs(3)).await; // all leases have lapsed
    site.send(1).await;
    sleep(secs(3)).await;

    let snapshot = site.snapshot();
    let (fleet, counts) = (snapshot.fleet, snapshot.counts.expect("it has a name"));
    let calls = site.notes().calls().len() as u64;
    assert_eq!(outcomes.served + 1, calls);
    assert_eq!((counts.admitted, counts.unused, counts.cancelled), (calls, 0, 0));
    assert_eq!(snapshot.rejected.wait_timeout, outcomes.wait_timeout);
    let state = site.store.state();
    assert_eq!(fleet.store_requests, state.requests);
    assert_eq!((fleet.leased, fleet.refunded), (state.leased, state.refunded));
    assert_eq!((fleet.store_failures, fleet.unavailable, fleet.issued_late), (0, 0, 0));
    // Each permit was used, or has lapsed.
    assert_eq!(fleet.used, calls);
    assert_eq!(fleet.leased, fleet.used + fleet.lapsed);
    assert_eq!((snapshot.pooled, snapshot.held, snapshot.queued), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn d11_o1_requests_without_a_store_are_counted_by_their_fate() {
    for (away, named) in [
        (Away::Closed, true),
        (Away::Open, true),
        (Away::Share { processes: 2 }, true),
        (Away::Open, false),
    ] {
        let site = Site::new(10, away).map(|layer| layer.max_wait(ms(50)));
        let site = if named { site.map(|layer| layer.name("api")) } else { site };
        site.store.state().is_silent = true;
        let outcomes = site.send(8).await;
        let calls = site.notes().calls().len() as u64;
        assert_eq!((outcomes.served, outcomes.queue_full), (calls, 0), "{away:?}");
        let snapshot = site.snapshot();
        let fleet = snapshot.fleet;
        assert!(snapshot.away_for.is_some());
        assert_eq!(fleet.unavailable, outcomes.unavailable, "{away:?}");
        assert_eq!(snapshot.rejected.total(), outcomes.wait_timeout, "{away:?}");
        assert_eq!((fleet.leased, fleet.used, fleet.issued_late), (0, 0, 0), "{away:?}");
        let without = [fleet.issued_alone, fleet.issued_unlimited];
        let expected = match away {
            Away::Open => [0, 8],
            Away::Share { .. } => [5, 0],
            _ => [0, 0],
        };
        assert_eq!(without, expected, "{away:?}");
        assert_eq!(calls, without.iter().sum::<u64>(), "{away:?}");
        if let Some(counts) = snapshot.counts {
            let [admitted, unused, waited, cancelled, ..] = numbers(counts);
            assert_eq!((admitted, unused, cancelled), (calls, 0, 0), "{away:?}");
            assert_eq!(waited, 8, "{away:?}"); // each found no permit, and queued for one
        }
        assert_eq!(snapshot.counts.is_some(), named);
    }
}

#[tokio::test(start_paused = true)]
async fn d9_d10_o1_losses_steps_and_other_terms_are_counted() {
    let site = Site::new(10, Away::Closed);
    let send = async |change: &dyn Fn()| {
        change();
        site.send(1).await;
        sleep(ms(300)).await;
    };
    let state = || site.store.state();
    send(&|| ()).await;
    send(&|| state().epoch += 1_000_000).await;
    send(&|| state().stepped += 5_000_000).await;
    send(&|| state().is_other = true).await;
    let fleet = site.snapshot().fleet;
    assert_eq!((fleet.epoch_changes, fleet.clock_steps), (1, 1));
    assert!(fleet.other_terms >= 1);
}

#[tokio::test(start_paused = true)]
async fn d4_o1_snapshot_tells_the_permits_of_the_latest_reply() {
    let site = Site::new(10, Away::Closed);
    let limits = Limits::from_iter([site.layer.handle()]);
    let read = || match limits.snapshots().remove(0) {
        Snapshot::Shared(snapshot) => snapshot,
        other => panic!("{other:?}"),
    };
    let snapshot = read();
    assert_eq!((snapshot.limit, snapshot.window, &*snapshot.quota), (10, secs(1), "api"));
    assert_eq!((snapshot.free, snapshot.remaining, snapshot.held), (10, 10, 0));
    assert_eq!((snapshot.name, snapshot.away_for), (None, None));
    site.send(4).await;
    let snapshot = read();
    assert_eq!(snapshot.round_trip, ROUND_TRIP);
    assert_eq!(u64::from(10 - snapshot.free), site.store.state().leased);
    assert_eq!(snapshot.held, site.store.state().leased);
    assert_eq!(snapshot.remaining, snapshot.free + snapshot.pooled);
    site.layer.handle().pause_for(secs(9));
    assert_eq!((read().remaining, read().paused_for), (0, secs(9)));
    assert_eq!(Snapshot::from(site.snapshot()).kind(), "shared");
}

#[test]
fn o3_shared_limit_has_one_name() {
    let layer = Site::new_outside().name("fleet");
    assert_eq!(layer.handle().name(), Some("fleet"));
    let invalid = layer.clone().try_name("other").unwrap_err();
    let text = "name is \"other\": it must be \"fleet\", as the limit is named already";
    assert_eq!(invalid.to_string(), text);
    let snapshot = Snapshot::from(layer.handle().snapshot());
    assert_eq!(snapshot.name().map(|name| &**name), Some("fleet"));
}

impl Site {
    /// Outside of a runtime, in which nothing is sent.
    fn new_outside() -> SharedRateLimitLayer {
        WindowRateLimitLayer::shared(quota(&SmallStore::new(), 10, Away::Closed))
    }
}

#[cfg(feature = "metrics")]
mod metrics {
    use ::metrics::Unit;
    use tower_floodgate::observe::{STORE_OUTAGE_BUCKETS, STORE_REQUEST_BUCKETS};

    use super::*;
    use crate::observed::recorded::TestRecorder;

    const LABELS: &str = "limiter=\"fleet\",kind=\"shared\"";

    fn key(metric: &str) -> String {
        match metric.split_once('/') {
            Some((metric, label)) => {
                let (name, value) = label.split_once('=').unwrap();
                format!("floodgate_{metric}{{{LABELS},{name}={value:?}}}")
            }
            None => format!("floodgate_{metric}{{{LABELS}}}"),
        }
    }

    /// The metrics that have a value before their first event.
    const EVENTS: [&str; 17] = [
        "limit_changes_total",
        "pause_seconds",
        "pauses_total",
        "permits_unused_total",
        "queue_wait_seconds",
        "requests_admitted_total",
        "requests_cancelled_total",
        "requests_rejected_total/reason=closed",
        "requests_rejected_total/reason=queue_full",
        "requests_rejected_total/reason=unavailable",
        "requests_rejected_total/reason=wait_timeout",
        "store_outage_seconds",
        "store_outages_total",
        "store_request_seconds",
        "store_requests_total/code=invalid_reply",
        "store_requests_total/code=ok",
        "store_requests_total/code=timeout",
    ];

    /// Those that are recorded when they are read.
    const READ: [&str; 21] = [
        "limit",
        "paused_seconds",
        "permits_free",
        "permits_held",
        "permits_lapsed_total",
        "permits_leased_total",
        "permits_pooled",
        "permits_refunded_total",
        "queue_age_seconds",
        "remaining",
        "requests_issued_alone_total",
        "requests_issued_late_total",
        "requests_issued_total",
        "requests_issued_unlimited_total",
        "requests_queued",
        "store_away",
        "store_away_seconds",
        "store_clock_steps_total",
        "store_epoch_changes_total",
        "store_other_terms_total",
        "window_seconds",
    ];

    #[test]
    fn o3_o4_labels_of_a_shared_limit_are_the_name_the_kind_the_reason_and_the_code() {
        let early = Site::new_outside().name("fleet");
        let recorder = TestRecorder::new();
        let _guard = recorder.install();
        let layer = Site::new_outside().name("fleet");
        assert_eq!(recorder.read().keys(), EVENTS.map(key));
        drop(layer);
        // Recording the gauges registers those of a limit that was named before.
        let recorder = TestRecorder::new();
        let _guard = recorder.install();
        Limits::from_iter([early.handle()]).record_metrics();
        let mut all: Vec<_> = EVENTS.iter().chain(&READ).map(|metric| key(metric)).collect();
        all.sort();
        let recorded = recorder.read();
        assert_eq!(recorded.keys(), all);

        let page = include_str!("../../../src/observe/mod.rs");
        for (name, (unit, text)) in recorded.descriptions() {
            let is_time = name.ends_with("_seconds");
            assert_eq!(unit, Some(if is_time { Unit::Seconds } else { Unit::Count }), "{name}");
            assert!(text.is_some_and(|text| text.ends_with('.')), "{name}");
            assert!(page.contains(&format!("`{name}`")), "{name} is not on the page");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn d11_o1_metrics_are_the_counts_of_the_handle_and_of_the_callers() {
        let recorder = TestRecorder::new();
        let _guard = recorder.install();
        let site = Site::new(10, Away::Open).map(|layer| layer.name("fleet").max_wait(ms(10)));
        let limits = Limits::from_iter([site.layer.handle()]);
        let mut sent = site.send(12).await;
        site.store.state().error = Some(("loading", "the data set is loaded"));
        sleep(secs(2)).await;
        for _ in 0..5 {
            sent.served += site.send(2).await.served;
            sleep(ms(100)).await;
        }
        limits.record_metrics();
        let recorded = recorder.read();
        let gauge = |metric| recorded.gauge(&key(metric));
        assert_eq!(gauge("store_away"), 1.0);
        let away_for = site.snapshot().away_for.unwrap();
        assert_eq!(gauge("store_away_seconds"), away_for.as_secs_f64());
        let before = recorded;

        site.store.state().error = None;
        sleep(secs(2)).await;
        site.layer.handle().set_quota("20/1s".parse().unwrap()).unwrap();
        limits.record_metrics();
        let recorded = recorder.read();
        let total = |metric: &str| recorded.counter(&key(metric));
        // A reading begins the counts of events anew.
        let counter = |metric: &str| before.counter(&key(metric)) + total(metric);
        let snapshot = site.snapshot();
        let fleet = snapshot.fleet;
        let calls = site.notes().calls().len() as u64;
        let rejected = ["closed", "queue_full", "unavailable", "wait_timeout"]
            .map(|reason| counter(&format!("requests_rejected_total/reason={reason}")));
        assert_eq!(rejected, [0, 0, fleet.unavailable, snapshot.rejected.wait_timeout]);
        assert_eq!([sent.unavailable, sent.wait_timeout], rejected[2..]);
        assert_eq!(sent.served, calls);
        assert_eq!(counter("requests_admitted_total"), calls);
        assert_eq!(total("requests_issued_total"), calls);
        assert_eq!(total("requests_issued_unlimited_total"), fleet.issued_unlimited);
        assert!(fleet.issued_unlimited > 0 && fleet.used > 0, "{fleet:?}");
        assert_eq!(total("permits_leased_total"), site.store.state().leased);
        assert_eq!(total("permits_refunded_total"), site.store.state().refunded);
        assert_eq!(total("permits_lapsed_total"), fleet.lapsed);
        let by_code = ["ok", "loading", "timeout", "invalid_reply"]
            .map(|code| counter(&format!("store_requests_total/code={code}")));
        assert_eq!(by_code.iter().sum::<u64>(), fleet.store_requests);
        assert_eq!(by_code[1..], [fleet.store_failures, 0, 0]);
        assert_eq!(counter("store_outages_total"), 1);
        let [outage] = recorded.histogram(&key("store_outage_seconds"))[..] else {
            panic!("one outage is over")
        };
        assert!(outage >= away_for.as_secs_f64());
        let round_trips =
            [&before, &recorded].map(|of| of.histogram(&key("store_request_seconds")));
        let round_trips = round_trips.concat();
        assert_eq!(round_trips.len() as u64, by_code[0]);
        assert!(round_trips.iter().all(|time| *time == ROUND_TRIP.as_secs_f64()));
        assert_eq!(counter("limit_changes_total"), 1);
        let gauge = |metric| recorded.gauge(&key(metric));
        let gauges = ["store_away", "store_away_seconds", "limit", "window_seconds"].map(gauge);
        assert_eq!(gauges, [0.0, 0.0, 20.0, 1.0]);
        let gauges = ["permits_free", "permits_pooled", "permits_held", "remaining"].map(gauge);
        let SharedSnapshot { free, pooled, held, remaining, .. } = snapshot;
        assert_eq!(gauges, [free.into(), pooled.into(), held as f64, remaining.into()]);
    }

    #[tokio::test(start_paused = true)]
    async fn o3_codes_of_a_store_are_bounded() {
        let recorder = TestRecorder::new();
        let _guard = recorder.install();
        let site = Site::new(10, Away::Closed).map(|layer| layer.name("fleet"));
        let codes: Vec<&str> = (0..30).map(|n| &*format!("code {n}").leak()).collect();
        let service = site.layer.layer(site.probe.clone());
        for code in &codes {
            let before = site.store.state().requests;
            site.store.state().error = Some((code, ""));
            let mut waits = std::pin::pin!(service.clone().oneshot(1));
            while site.store.state().requests == before {
                let _ = tokio::time::timeout(ms(100), waits.as_mut()).await;
            }
            sleep(ROUND_TRIP).await;
        }
        let recorded = recorder.read();
        let keys = recorded.keys();
        let series = keys.iter().filter(|key| key.starts_with("floodgate_store_requests_total"));
        assert_eq!(series.count(), 3 + 16 + 1);
        assert!(recorded.counter(&key("store_requests_total/code=other")) >= 14);
        assert_eq!(recorded.counter(&key("store_requests_total/code=ok")), 0);
    }

    #[test]
    fn o1_buckets_of_a_store_rise() {
        for buckets in [&STORE_REQUEST_BUCKETS[..], &STORE_OUTAGE_BUCKETS] {
            assert!(buckets.is_sorted_by(|one, next| one < next));
        }
    }
}

#[cfg(feature = "tracing")]
mod traces {
    use tracing::Level;

    use super::*;
    use crate::observed::traced::{Trace, Traced};

    /// The events above TRACE, and above DEBUG of requests.
    fn take(trace: &Trace) -> Vec<Traced> {
        let of_store = |event: &Traced| event.level <= Level::INFO;
        trace.take().into_iter().filter(of_store).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn d11_o1_outage_is_traced_once_with_its_error_and_once_with_its_end() {
        let trace = Trace::start();
        let site = Site::new(10, Away::Open).map(|layer| layer.name("fleet"));
        site.store.state().error = Some(("io", "connection refused"));
        site.send(3).await;
        for _ in 0..20 {
            site.send(1).await;
            sleep(ms(100)).await;
        }
        assert!(site.snapshot().fleet.store_failures > 1, "probes failed, too");
        let [away] = take(&trace).try_into().expect("one event");
        assert_eq!((away.level, away.message(), away.span), (Level::WARN, "store away", None));
        assert_eq!(away.field("limiter"), Some("\"fleet\""));
        assert_eq!(away.field("kind"), Some("\"shared\""));
        assert_eq!(away.field("quota"), Some("\"api\""));
        assert_eq!(away.field("code"), Some("\"io\""));
        let text = "the store of the quota failed (io): connection refused";
        assert_eq!(away.field("error"), Some(text));

        site.store.state().error = None;
        sleep(secs(2)).await;
        site.send(3).await;
        let [back] = take(&trace).try_into().expect("one event");
        assert_eq!((back.level, back.message()), (Level::INFO, "store back"));
        let away_for: f64 = back.field("away_for").unwrap().parse().unwrap();
        assert!((2.0..4.0).contains(&away_for), "{away_for}");
    }

    #[tokio::test(start_paused = true)]
    async fn d11_o1_missing_right_is_traced_once_with_the_remedy() {
        let trace = Trace::start();
        let site = Site::new(10, Away::Open);
        // The outage begins by another error.
        site.store.state().error = Some(("io", "connection refused"));
        site.send(1).await;
        site.store.state().error = Some(("no_permission", "no permissions to run 'evalsha'"));
        for _ in 0..10 {
            site.send(1).await;
            sleep(ms(500)).await;
        }
        let [away, denied] = take(&trace).try_into().expect("two events");
        assert_eq!((away.message(), away.field("limiter")), ("store away", None));
        assert_eq!((denied.level, denied.message()), (Level::WARN, "store denies a right"));
        assert!(denied.field("error").unwrap().contains("evalsha"));
        assert!(denied.field("remedy").unwrap().contains("grant"));

        // Another outage by it has its begin and its end only.
        site.store.state().error = None;
        sleep(secs(2)).await;
        site.send(1).await;
        site.store.state().error = Some(("no_permission", "no permissions to run 'evalsha'"));
        sleep(secs(2)).await;
        site.send(1).await;
        let messages: Vec<_> =
            take(&trace).iter().map(|event| event.message().to_owned()).collect();
        assert_eq!(messages, ["store back", "store away"]);
    }

    #[tokio::test(start_paused = true)]
    async fn d9_d10_o1_losses_steps_and_other_terms_are_warnings() {
        let trace = Trace::start();
        let site = Site::new(10, Away::Closed);
        let send = async |change: &dyn Fn()| {
            change();
            site.send(1).await;
            sleep(ms(300)).await; // within two windows, in which steps of the clock are seen
            take(&trace)
        };
        let state = || site.store.state();
        assert!(send(&|| ()).await.is_empty());
        let [epoch] = send(&|| state().epoch += 1_000_000).await.try_into().expect("one event");
        assert_eq!((epoch.level, epoch.message()), (Level::WARN, "epoch changed"));
        let [step] = send(&|| state().stepped += 5_000_000).await.try_into().expect("one event");
        assert_eq!((step.level, step.message()), (Level::WARN, "store clock set ahead"));
        let by: f64 = step.field("step").unwrap().parse().unwrap();
        assert!((4.9..=5.0).contains(&by), "{by}");

        let [other] = send(&|| state().is_other = true).await.try_into().expect("one event");
        assert_eq!((other.level, other.message()), (Level::WARN, "other terms"));
        assert_eq!((other.field("limit"), other.field("window")), (Some("10"), Some("1.0")));
        assert!(send(&|| ()).await.is_empty(), "the terms are the same");
        let set = || site.layer.handle().set_quota("20/1s".parse().unwrap()).unwrap();
        let [other] = send(&set).await.try_into().expect("one event");
        assert_eq!((other.message(), other.field("limit")), ("other terms", Some("20")));
        assert!(send(&set).await.is_empty(), "the same set again is no change");
    }

    #[cfg(feature = "shared-keys")]
    #[tokio::test(start_paused = true)]
    async fn d9_d11_o1_keys_of_a_quota_report_their_store_together() {
        use tower_floodgate::{keyed::KeyedLimitLayer, shared::SharedWindows};

        let trace = Trace::start();
        let store = SmallStore::new();
        let tenants = SharedWindows::new(store.clone(), "tenants", 10, secs(1), Away::Open);
        let layer = KeyedLimitLayer::shared(tenants, |tenant: &u32| Some(*tenant));
        let service = layer.layer(Probe::new());
        let each = async || {
            let calls: JoinSet<_> = (0..50).map(|key| service.clone().oneshot(key)).collect();
            let served = calls.join_all().await;
            assert!(served.iter().all(Result::is_ok));
            sleep(ms(300)).await;
            let messages = take(&trace).into_iter().map(|event| {
                assert_eq!(event.field("quota"), Some("\"tenants\""));
                event.message().to_owned()
            });
            messages.collect::<Vec<_>>()
        };
        assert_eq!(each().await, [""; 0]);
        store.state().error = Some(("io", "connection refused"));
        assert_eq!(each().await, ["store away"]);
        assert_eq!(each().await, [""; 0]);
        store.state().error = None;
        sleep(secs(2)).await;
        assert_eq!(each().await, ["store back"]);
        store.state().epoch += 1_000_000;
        assert_eq!(each().await, ["epoch changed"]);
        store.state().is_other = true;
        assert_eq!(each().await, ["other terms"]);
        store.state().epoch += 1_000_000;
        assert_eq!(each().await, [""; 0], "within a minute");
        sleep(secs(60)).await;
        store.state().epoch += 1_000_000;
        assert_eq!(each().await, ["epoch changed"]);
    }

    #[tokio::test(start_paused = true)]
    async fn o2_requests_to_the_store_are_below_debug() {
        let trace = Trace::start();
        let site = Site::new(10, Away::Closed);
        site.send(3).await;
        let events = trace.take();
        assert_eq!(events.len() as u64, site.snapshot().fleet.store_requests);
        for event in events {
            assert_eq!((event.level, event.message()), (Level::TRACE, "store request"));
            assert_eq!(event.field("code"), Some("\"ok\""));
            assert_eq!(event.field("took"), Some("0.002"));
        }
    }
}

/// Random schedules of calls, drops, settings and faults, whose callers count by themselves.
#[cfg(feature = "metrics")]
mod storm {
    use std::{
        future::Future,
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    use fastrand::Rng;

    use super::*;
    use crate::{observed::recorded::TestRecorder, paused_runtime, paused_time::pass};

    const STEPS: usize = 300;
    const FLEET: [Away; 3] = [Away::Closed, Away::Open, Away::Share { processes: 2 }];

    type Call = Pin<Box<dyn Future<Output = Result<u32, BoxError>>>>;

    /// The calls that wait, and the counts of those that have ended.
    #[derive(Default)]
    struct Callers {
        waiting: Vec<Call>,
        outcomes: Outcomes,
        waited: u64,
        cancelled: u64,
        limit_changes: u64,
        pauses: u64,
    }

    impl Callers {
        fn begin(&mut self, mut call: Call) {
            if !self.poll(&mut call) {
                self.waited += 1;
                self.waiting.push(call);
            }
        }

        /// Polls a call, and counts it if it ends.
        fn poll(&mut self, call: &mut Call) -> bool {
            let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(result) = &polled {
                *self.outcomes.of(result) += 1;
            }
            polled.is_ready()
        }

        fn poll_all(&mut self) {
            for mut call in std::mem::take(&mut self.waiting) {
                if !self.poll(&mut call) {
                    self.waiting.push(call);
                }
            }
        }
    }

    async fn scene(site: &Site, random: &mut Rng) -> Callers {
        let handle = site.layer.handle();
        let service = site.layer.layer(site.probe.clone());
        let mut callers = Callers::default();
        for _ in 0..STEPS {
            match random.u32(0..20) {
                0..9 => callers.begin(Box::pin(service.clone().oneshot(1))),
                9..11 if !callers.waiting.is_empty() => {
                    drop(callers.waiting.swap_remove(random.usize(..callers.waiting.len())));
                    callers.cancelled += 1;
                }
                11..16 => {
                    pass(ms(random.u64(1..80))).await;
                    callers.poll_all();
                }
                16 => {
                    let (before, after) = (handle.limit(), random.u32(2..20));
                    let quota = format!("{after}/1s").parse().unwrap();
                    handle.set_quota(quota).unwrap();
                    callers.limit_changes += u64::from(before != after);
                }
                17 => {
                    let pause = ms(random.u64(1..200));
                    let is_longer = handle.snapshot().paused_for < pause;
                    handle.pause_for(pause);
                    callers.pauses += u64::from(is_longer);
                }
                18 => {
                    let mut state = site.store.state();
                    state.is_silent = random.u32(0..3) == 0;
                    state.error = (random.u32(0..3) == 0).then_some(("io", "broken pipe"));
                }
                _ => site.store.state().epoch += i64::from(random.u32(0..4) == 0),
            }
        }
        {
            let mut state = site.store.state();
            (state.is_silent, state.error) = (false, None);
        }
        for _ in 0..1_000 {
            pass(ms(10)).await;
            callers.poll_all();
        }
        callers
    }

    fn check(seed: u64) -> [bool; 3] {
        let away = FLEET[usize::try_from(seed).unwrap() % FLEET.len()];
        let mut random = Rng::with_seed(seed);
        let recorder = TestRecorder::new();
        let _guard = recorder.install();
        paused_runtime::run(async {
            let site =
                Site::new(10, away).map(|layer| layer.name("fleet").max_wait(ms(300)).max_queue(6));
            let limits = Limits::from_iter([site.layer.handle()]);
            let callers = scene(&site, &mut random).await;
            assert_eq!(callers.waiting.len(), 0, "no request hangs");
            limits.record_metrics();

            let recorded = recorder.read();
            let key = |metric: &str, label: &str| {
                format!("floodgate_{metric}{{limiter=\"fleet\",kind=\"shared\"{label}}}")
            };
            let of = |metric: &str| recorded.counter(&key(metric, ""));
            let snapshot = site.snapshot();
            let fleet = snapshot.fleet;
            let rejected = ["unavailable", "queue_full", "wait_timeout", "closed"].map(|reason| {
                let label = format!(",reason={reason:?}");
                recorded.counter(&key("requests_rejected_total", &label))
            });
            let Outcomes { served, unavailable, queue_full, wait_timeout } = callers.outcomes;
            assert_eq!(rejected, [unavailable, queue_full, wait_timeout, 0]);
            let counts = snapshot.rejected;
            let by_handle = [fleet.unavailable, counts.queue_full, counts.wait_timeout];
            assert_eq!(by_handle, rejected[..3]);

            let [admitted, unused, waited, cancelled, pauses, limit_changes] =
                numbers(snapshot.counts.unwrap());
            assert_eq!(served, site.notes().calls().len() as u64);
            assert_eq!(admitted - unused, served);
            assert_eq!((waited, cancelled), (callers.waited, callers.cancelled));
            assert_eq!((pauses, limit_changes), (callers.pauses, callers.limit_changes));
            let names = [
                "requests_admitted_total",
                "permits_unused_total",
                "requests_cancelled_total",
                "pauses_total",
                "limit_changes_total",
            ];
            assert_eq!(names.map(of), [admitted, unused, cancelled, pauses, limit_changes]);
            let waits = recorded.histogram(&key("queue_wait_seconds", ""));
            assert_eq!(waits.len() as u64, admitted);

            assert_eq!(of("requests_issued_total"), served);
            let without = fleet.issued_alone + fleet.issued_unlimited;
            assert_eq!(fleet.used + without, served);
            assert_eq!(fleet.leased, site.store.state().leased);
            // Each permit was used, has lapsed, or is at hand.
            let known = fleet.used + fleet.lapsed + u64::from(snapshot.pooled);
            assert_eq!(fleet.leased, known, "{snapshot:#?}");
            assert_eq!(fleet.store_requests, site.store.state().requests);
            let by_code = ["ok", "timeout", "io"].map(|code| {
                let key = key("store_requests_total", &format!(",code={code:?}"));
                if recorded.keys().contains(&&*key) { recorded.counter(&key) } else { 0 }
            });
            assert_eq!(by_code.iter().sum::<u64>(), fleet.store_requests);
            assert_eq!(by_code[1] + by_code[2], fleet.store_failures);
            let outages = recorded.histogram(&key("store_outage_seconds", ""));
            assert_eq!(outages.len() as u64, of("store_outages_total"));
            [without > 0, fleet.lapsed > 0, unavailable > 0]
        })
    }

    #[test]
    fn d11_o1_counts_of_random_schedules_are_those_of_the_callers() {
        let mut seen = [false; 3];
        for seed in 0..30 {
            let of = check(seed);
            seen.iter_mut().zip(of).for_each(|(seen, of)| *seen |= of);
        }
        assert_eq!(seen, [true; 3], "some scenes show each fate");
    }
}
