//! Allocations of observed calls, counted in this thread.

use allocation_counter::measure;
use tower::ServiceBuilder;
use tower_floodgate::{ConcurrencyBackpressureLayer, WindowRateLimitLayer};

use super::counted;
use crate::{
    allocations::{Free, call},
    support::secs,
};

/// Counts the allocations of 1,000 calls of a stack of two limits, and of as many by clones. Both
/// limits count the calls, and have bounds of a handle.
fn allocations() -> u64 {
    let in_flight = ConcurrencyBackpressureLayer::new(10).name("in flight").max_queue(10);
    let rate = WindowRateLimitLayer::new(1_000_000, secs(3600)).name("rate").max_wait(secs(1));
    let handles = (in_flight.handle(), rate.handle());
    // A request that does not wait looks up no bound.
    handles.0.set_max_queue(Some(20)).expect("its layer can reject");
    handles.1.set_max_wait(Some(secs(2))).expect("its layer can reject");
    let mut service = ServiceBuilder::new().layer(in_flight).layer(rate).service(Free);
    call(&mut service, 1);
    let counted_by = measure(|| {
        for _ in 0..1_000 {
            call(&mut service, 1);
            call(&mut service.clone(), 1);
        }
    });
    assert_eq!(counted(handles.0.snapshot()), [2_001, 0, 0, 0, 0, 0]);
    assert_eq!(counted(handles.1.snapshot()), [2_001, 0, 0, 0, 0, 0]);
    counted_by.count_total
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
