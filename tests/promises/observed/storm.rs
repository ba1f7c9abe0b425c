//! Random schedules of calls, drops and settings, counted by hand.
//!
//! The services are polled by hand, in one task. The inner service is polled only with a permit, so
//! its record tells an admitted request from one that is to be rejected.

use std::{
    future::{Future, Pending, pending},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use fastrand::Rng;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, Rejected, WindowRateLimitHandle,
    WindowRateLimitLayer, observe::Limits,
};

use super::{Numbers, counted, recorded::TestRecorder, traced::Trace};
use crate::{
    paused_runtime,
    paused_time::pass,
    support::{ms, now},
};

const STEPS: usize = 400;
const SERVICES: usize = 8;

/// The inner service. Its responses never come: a request in flight ends by a drop.
#[derive(Default)]
struct Inner {
    is_polled: bool,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    calls: AtomicU64,
    fails: AtomicBool,
}

impl Clone for Inner {
    fn clone(&self) -> Self {
        Self { is_polled: false, shared: Arc::clone(&self.shared) }
    }
}

impl Service<()> for Inner {
    type Response = ();
    type Error = BoxError;
    type Future = Pending<Result<(), BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.is_polled = true;
        let fails = self.shared.fails.load(Relaxed);
        Poll::Ready(if fails { Err("the inner service fails".into()) } else { Ok(()) })
    }

    fn call(&mut self, (): ()) -> Self::Future {
        self.shared.calls.fetch_add(1, Relaxed);
        pending()
    }
}

/// The limits as the storm sees them.
trait Limit {
    const KIND: &'static str;
    fn limit(&self) -> u32;
    fn set_limit(&self, limit: u32);
    /// Pauses, and returns true if that is possible.
    fn pause(&self, wait: Duration) -> bool;
    fn close(&self);
    fn numbers(&self) -> Numbers;
    fn rejected(&self) -> [u64; 3];
}

macro_rules! limit {
    ($handle:ty, $kind:expr, $pause:expr) => {
        impl Limit for $handle {
            const KIND: &'static str = $kind;

            fn limit(&self) -> u32 {
                self.limit()
            }

            fn set_limit(&self, limit: u32) {
                self.set_limit(limit).unwrap();
            }

            fn pause(&self, wait: Duration) -> bool {
                let pause: fn(&Self, Duration) -> bool = $pause;
                pause(self, wait)
            }

            fn close(&self) {
                self.close().unwrap();
            }

            fn numbers(&self) -> Numbers {
                counted(self.snapshot())
            }

            fn rejected(&self) -> [u64; 3] {
                let rejected = self.rejected();
                [rejected.queue_full, rejected.wait_timeout, rejected.closed]
            }
        }
    };
}

limit!(ConcurrencyBackpressureHandle, "concurrency", |_, _| false);
limit!(WindowRateLimitHandle, "window", |handle, wait| {
    handle.pause_for(wait);
    true
});

/// A service, and the time at which its request was queued.
struct Slot<S> {
    service: S,
    since: Option<Instant>,
    is_ready: bool,
}

/// The events, counted by hand.
#[derive(Debug, Default)]
struct Expected {
    numbers: Numbers,
    rejected: [u64; 3],
    /// Of admitted requests, those that were not queued included.
    waits: Vec<f64>,
    at_once: u64,
    pauses: Vec<f64>,
}

const ADMITTED: usize = 0;
const UNUSED: usize = 1;
const WAITED: usize = 2;
const CANCELLED: usize = 3;
const PAUSES: usize = 4;
const LIMIT_CHANGES: usize = 5;

async fn storm<S>(
    seed: u64,
    service: S,
    inner: impl Fn(&S) -> &Inner,
    limit: &impl Limit,
) -> Expected
where
    S: Service<(), Error = BoxError> + Clone,
{
    let mut random = Rng::with_seed(seed);
    let mut expected = Expected::default();
    let mut slots: Vec<_> = (0..SERVICES)
        .map(|_| Slot { service: service.clone(), since: None, is_ready: false })
        .collect();
    let mut in_flight: Vec<Pin<Box<S::Future>>> = Vec::new();
    let mut paused_until = now();
    let fails = &inner(&service).shared.fails;
    for step in 0..STEPS {
        let slot = random.choose_multiple(slots.iter_mut(), 1).pop().unwrap();
        match random.u32(0..20) {
            0..10 if !slot.is_ready => {
                fails.store(random.u32(0..20) == 0, Relaxed);
                poll(slot, &inner, &mut random, &mut expected);
            }
            0..10 => {
                slot.is_ready = false;
                let future = slot.service.call(());
                *slot = Slot { service: service.clone(), since: None, is_ready: false };
                in_flight.push(Box::pin(future));
            }
            10..12 => {
                expected.numbers[UNUSED] += u64::from(slot.is_ready);
                expected.numbers[CANCELLED] += u64::from(slot.since.is_some());
                *slot = Slot { service: service.clone(), since: None, is_ready: false };
            }
            12..15 if !in_flight.is_empty() => {
                drop(in_flight.swap_remove(random.usize(..in_flight.len())));
            }
            15..18 => {
                // Each waiter is polled before another request could be taken for its own.
                pass(ms(random.u64(1..40))).await;
                fails.store(false, Relaxed);
                for slot in slots.iter_mut().filter(|slot| slot.since.is_some()) {
                    poll(slot, &inner, &mut random, &mut expected);
                }
            }
            18 => {
                let (before, after) = (limit.limit(), random.u32(1..6));
                limit.set_limit(after);
                expected.numbers[LIMIT_CHANGES] += u64::from(after != before);
            }
            19 => {
                let wait = ms(random.u64(0..60));
                let until = now() + wait;
                if limit.pause(wait) && !wait.is_zero() && until > paused_until {
                    paused_until = until;
                    expected.numbers[PAUSES] += 1;
                    expected.pauses.push(wait.as_secs_f64());
                }
            }
            _ => {}
        }
        if step == STEPS - 20 {
            limit.close();
        }
    }
    for slot in slots {
        expected.numbers[UNUSED] += u64::from(slot.is_ready);
        expected.numbers[CANCELLED] += u64::from(slot.since.is_some());
    }
    expected
}

/// Polls a service that is idle or waits. One that is ready to reject is called or dropped at once.
fn poll<S>(
    slot: &mut Slot<S>,
    inner: &impl Fn(&S) -> &Inner,
    random: &mut Rng,
    expected: &mut Expected,
) where
    S: Service<(), Error = BoxError> + Clone,
{
    let mut cx = Context::from_waker(Waker::noop());
    let polled = slot.service.poll_ready(&mut cx);
    let has_permit = inner(&slot.service).is_polled;
    let Poll::Ready(result) = polled else {
        if slot.since.is_none() {
            slot.since = Some(now());
            expected.numbers[WAITED] += 1;
        }
        return;
    };
    let since = slot.since.take();
    if has_permit {
        let wait = since.map_or(Duration::ZERO, |since| now() - since);
        expected.at_once += u64::from(since.is_none());
        expected.waits.push(wait.as_secs_f64());
        expected.numbers[ADMITTED] += 1;
        slot.is_ready = result.is_ok();
        expected.numbers[UNUSED] += u64::from(result.is_err());
    } else if random.bool() {
        let response = std::pin::pin!(slot.service.call(()));
        let Poll::Ready(Err(error)) = response.poll(&mut cx) else { panic!("not rejected") };
        let rejected = Rejected::find(&*error).expect("a rejection");
        let reason = [rejected.is_queue_full(), rejected.is_wait_timeout(), rejected.is_closed()];
        let reason = reason.iter().position(|is_it| *is_it).expect("a reason");
        expected.rejected[reason] += 1;
    } else {
        expected.numbers[CANCELLED] += u64::from(since.is_some());
    }
    if !slot.is_ready {
        slot.service = slot.service.clone(); // a drop
    }
}

/// Compares the counts by hand with those of the handle, the metrics and the traces.
fn check<L: Limit>(
    limit: &L,
    mut expected: Expected,
    calls: u64,
    recorder: &TestRecorder,
    trace: &Trace,
) {
    assert_eq!(limit.numbers(), expected.numbers);
    assert_eq!(limit.rejected(), expected.rejected);
    assert_eq!(calls, expected.numbers[ADMITTED] - expected.numbers[UNUSED]);

    let recorded = recorder.read();
    let key = |metric: &str| format!("floodgate_{metric}{{limiter=\"a\",kind={:?}}}", L::KIND);
    let counter = |metric| recorded.counter(&key(metric));
    let can_pause = L::KIND == "window"; // otherwise there are no such metrics
    assert_eq!(recorded.keys().iter().any(|key| key.contains("pause")), can_pause);
    let counters = [
        counter("requests_admitted_total"),
        counter("permits_unused_total"),
        expected.numbers[WAITED], // no metric
        counter("requests_cancelled_total"),
        if can_pause { counter("pauses_total") } else { 0 },
        counter("limit_changes_total"),
    ];
    assert_eq!(counters, expected.numbers);
    let rejected = ["queue_full", "wait_timeout", "closed"].map(|reason| {
        let key = key("requests_rejected_total").replace('}', &format!(",reason={reason:?}}}"));
        recorded.counter(&key)
    });
    assert_eq!(rejected, expected.rejected);
    expected.waits.sort_by(f64::total_cmp);
    assert_eq!(recorded.histogram(&key("queue_wait_seconds")), expected.waits);
    expected.pauses.sort_by(f64::total_cmp);
    let pauses = can_pause.then(|| recorded.histogram(&key("pause_seconds")));
    assert_eq!(pauses.unwrap_or_default(), expected.pauses);

    let events = trace.take();
    let traced = |messages: &[&str]| {
        events.iter().filter(|event| messages.contains(&event.message())).count() as u64
    };
    let traces = [
        traced(&["admitted", "admitted after a wait"]),
        traced(&["permits unused"]),
        traced(&["queued"]),
        traced(&["cancelled"]),
        traced(&["paused"]),
        traced(&["limit changed"]),
    ];
    assert_eq!(traces, expected.numbers);
    let rejected = ["queue_full", "wait_timeout", "closed"].map(|reason| {
        let reason = format!("{reason:?}");
        events.iter().filter(|event| event.field("reason") == Some(&reason)).count() as u64
    });
    assert_eq!(rejected, expected.rejected);
    let waits = events.iter().filter_map(|event| event.field("queued_for"));
    let mut waits: Vec<f64> = waits.map(|wait| wait.parse().unwrap()).collect();
    waits.sort_by(f64::total_cmp);
    assert_eq!(traced(&["admitted"]), expected.at_once);
    assert_eq!(waits, expected.waits[expected.waits.len() - waits.len()..]);
}

#[test]
fn o1_c4_counts_metrics_and_traces_of_a_concurrency_limit_agree_after_a_storm() {
    let mut all = [0; 9];
    for seed in 0..60 {
        let recorder = TestRecorder::new();
        let trace = Trace::start();
        let layer = recorder.while_in(|| ConcurrencyBackpressureLayer::new(2).name("a"));
        let inner = Inner::default();
        let service = layer.clone().max_queue(4).max_wait(ms(50)).layer(inner.clone());
        let handle = layer.handle();
        let storm = storm(seed, service, |service| service.get_ref(), &handle);
        let expected = paused_runtime::run(storm);
        add(&mut all, &expected);
        check(&handle, expected, inner.shared.calls.load(Relaxed), &recorder, &trace);
        assert_eq!((handle.in_flight(), handle.queued()), (0, 0));
    }
    let [admitted, unused, waited, cancelled, 0, changes, full, late, closed] = all else {
        panic!("{all:?}")
    };
    assert!(
        [admitted, unused, waited, cancelled, changes, full, late, closed].iter().all(|n| *n > 20),
        "{all:?}"
    );
}

#[test]
fn o1_c4_counts_metrics_and_traces_of_a_window_agree_after_a_storm() {
    let mut all = [0; 9];
    for seed in 0..60 {
        let recorder = TestRecorder::new();
        let trace = Trace::start();
        let inner = Inner::default();
        let (handle, expected) = paused_runtime::run(async {
            let layer = recorder.while_in(|| WindowRateLimitLayer::new(3, ms(70)).name("a"));
            let service = layer.clone().max_queue(4).max_wait(ms(100)).layer(inner.clone());
            let handle = layer.handle();
            let expected = storm(seed, service, |service| service.get_ref(), &handle).await;
            recorder.while_in(|| Limits::from_iter([handle.clone()]).record_metrics());
            (handle, expected)
        });
        add(&mut all, &expected);
        let calls = inner.shared.calls.load(Relaxed);
        assert_eq!(handle.snapshot().issued, calls);
        check(&handle, expected, calls, &recorder, &trace);
    }
    assert!(all.iter().all(|n| *n > 20), "{all:?}");
}

/// Adds up what happened, to see that all did.
fn add(all: &mut [u64; 9], expected: &Expected) {
    let happened = expected.numbers.iter().chain(&expected.rejected);
    all.iter_mut().zip(happened).for_each(|(sum, n)| *sum += n);
}
