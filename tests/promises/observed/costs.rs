//! Allocations of observed calls, counted in this thread.

use std::{
    future::{Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use tower::{Service, ServiceBuilder};
use tower_floodgate::{ConcurrencyBackpressureLayer, WindowRateLimitLayer};

use super::counted;
use crate::support::secs;

#[derive(Clone)]
struct Free;

impl Service<u32> for Free {
    type Response = u32;
    type Error = std::convert::Infallible;
    type Future = Ready<Result<u32, Self::Error>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: u32) -> Self::Future {
        ready(Ok(request))
    }
}

/// Counts the allocations of 1,000 calls of a stack of two limits, and of as many by clones. Both
/// limits count the calls.
fn allocations() -> u64 {
    let in_flight = ConcurrencyBackpressureLayer::new(10).name("in flight").max_queue(10);
    let rate = WindowRateLimitLayer::new(1_000_000, secs(3600)).name("rate").max_wait(secs(1));
    let handles = (in_flight.handle(), rate.handle());
    let mut service = ServiceBuilder::new().layer(in_flight).layer(rate).service(Free);
    call(&mut service);
    let counted_by = measure(|| {
        for _ in 0..1_000 {
            call(&mut service);
            call(&mut service.clone());
        }
    });
    assert_eq!(counted(handles.0.snapshot()), [2_001, 0, 0, 0, 0, 0]);
    assert_eq!(counted(handles.1.snapshot()), [2_001, 0, 0, 0, 0, 0]);
    counted_by.count_total
}

fn call<S: Service<u32>>(service: &mut S) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    assert!(pin!(service.call(1)).poll(&mut cx).is_ready());
}

#[test]
fn o2_c6_observed_call_that_does_not_wait_allocates_nothing() {
    assert_eq!(allocations(), 0);
}

#[cfg(feature = "metrics")]
#[test]
fn o2_c6_recorded_call_that_does_not_wait_allocates_nothing() {
    use metrics::with_local_recorder;

    let recorder = atomics::Recorder::default();
    with_local_recorder(&recorder, || assert_eq!(allocations(), 0));
    let recorded = recorder.sum();
    assert_eq!(recorded, 2 * 2_001 * 2, "each call increments a counter and records a wait");
}

/// A recorder that allocates only when a metric is registered.
#[cfg(feature = "metrics")]
mod atomics {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    };

    use metrics::{
        Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, SharedString,
        Unit,
    };

    #[derive(Default)]
    pub(crate) struct Recorder(Arc<Sum>);

    #[derive(Default)]
    struct Sum(AtomicU64);

    impl Recorder {
        /// Returns the number of increments and records.
        pub(crate) fn sum(&self) -> u64 {
            self.0.0.load(Relaxed)
        }
    }

    impl CounterFn for Sum {
        fn increment(&self, value: u64) {
            self.0.fetch_add(value, Relaxed);
        }
        fn absolute(&self, _: u64) {}
    }

    impl HistogramFn for Sum {
        fn record(&self, _: f64) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    impl metrics::Recorder for Recorder {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Arc::clone(&self.0))
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(Arc::clone(&self.0))
        }
    }
}
