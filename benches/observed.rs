//! The cost of observing a limit: `cargo bench --bench observed`, and the same with `--features
//! metrics`.
//!
//! Without the feature, a limit with a name is counted. With it, metrics are recorded, too: by the
//! facade's no-op recorder, by one whose handles do nothing, and by the exporter for Prometheus.
//! The second has the cost of the facade, the third that of an exporter in addition.
//!
//! Samples are large, because the timer resolves some 20 ns.

mod support;

use divan::Bencher;
use tower::Layer;
use tower_floodgate::ConcurrencyBackpressureLayer;

use self::support::{INNER, call};

fn main() {
    divan::main();
}

/// More permits than calls are in flight.
const PERMITS: u32 = 1_000;

#[divan::bench(sample_size = 1_000)]
fn without_name(bencher: Bencher<'_, '_>) {
    let mut service = ConcurrencyBackpressureLayer::new(PERMITS).layer(INNER);
    bencher.bench_local(|| call(&mut service).is_ok());
}

/// With the feature `metrics`, by the no-op recorder.
#[divan::bench(sample_size = 1_000)]
fn with_name(bencher: Bencher<'_, '_>) {
    let mut service = ConcurrencyBackpressureLayer::new(PERMITS).name("limit").layer(INNER);
    bencher.bench_local(|| call(&mut service).is_ok());
}

#[divan::bench(sample_size = 1_000, threads = [2])]
fn without_name_two_threads(bencher: Bencher<'_, '_>) {
    let service = ConcurrencyBackpressureLayer::new(PERMITS).layer(INNER);
    bencher.bench(|| call(&mut service.clone()).is_ok());
}

#[divan::bench(sample_size = 1_000, threads = [2])]
fn with_name_two_threads(bencher: Bencher<'_, '_>) {
    let service = ConcurrencyBackpressureLayer::new(PERMITS).name("limit").layer(INNER);
    bencher.bench(|| call(&mut service.clone()).is_ok());
}

#[cfg(feature = "metrics")]
mod recorded {
    use std::sync::Arc;

    use metrics::{
        Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
        SharedString, Unit, with_local_recorder,
    };
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    /// A recorder whose handles do nothing. It has a size, which the no-op recorder has not.
    struct Idle {
        handle: Arc<IdleHandle>,
    }

    struct IdleHandle;

    impl CounterFn for IdleHandle {
        fn increment(&self, _: u64) {}
        fn absolute(&self, _: u64) {}
    }

    impl HistogramFn for IdleHandle {
        fn record(&self, _: f64) {}
    }

    impl Recorder for Idle {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Arc::clone(&self.handle))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(Arc::clone(&self.handle))
        }
    }

    /// The limit is named while `recorder` is current, and keeps its handles.
    fn layer_of(recorder: &impl Recorder) -> ConcurrencyBackpressureLayer {
        with_local_recorder(recorder, || ConcurrencyBackpressureLayer::new(PERMITS).name("limit"))
    }

    #[divan::bench(sample_size = 1_000)]
    fn by_idle_handles(bencher: Bencher<'_, '_>) {
        let mut service = layer_of(&Idle { handle: Arc::new(IdleHandle) }).layer(INNER);
        bencher.bench_local(|| call(&mut service).is_ok());
    }

    #[divan::bench(sample_size = 1_000)]
    fn by_prometheus(bencher: Bencher<'_, '_>) {
        let recorder = PrometheusBuilder::new().build_recorder();
        let mut service = layer_of(&recorder).layer(INNER);
        bencher.bench_local(|| call(&mut service).is_ok());
    }

    #[divan::bench(sample_size = 1_000, threads = [2])]
    fn by_prometheus_two_threads(bencher: Bencher<'_, '_>) {
        let recorder = PrometheusBuilder::new().build_recorder();
        let service = layer_of(&recorder).layer(INNER);
        bencher.bench(|| call(&mut service.clone()).is_ok());
    }
}
