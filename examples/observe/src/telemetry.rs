//! The recorder of metrics, and the exporter of traces.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter},
};
use tower::BoxError;
use tower_floodgate::observe::{
    PAUSE_BUCKETS, QUEUE_WAIT_BUCKETS, RETRY_ATTEMPTS_BUCKETS, RETRY_BACKOFF_BUCKETS,
};
use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, registry};

/// The buckets of each histogram.
const BUCKETS: [(&str, &[f64]); 4] = [
    ("floodgate_queue_wait_seconds", &QUEUE_WAIT_BUCKETS),
    ("floodgate_pause_seconds", &PAUSE_BUCKETS),
    ("floodgate_retry_attempts", &RETRY_ATTEMPTS_BUCKETS),
    ("floodgate_retry_backoff_seconds", &RETRY_BACKOFF_BUCKETS),
];

/// Installs the recorder of metrics, with the buckets of this crate's histograms.
///
/// Before the limits are named: a limit registers its metrics with its name.
pub(crate) fn record_metrics() -> Result<PrometheusHandle, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for (histogram, buckets) in BUCKETS {
        builder = builder.set_buckets_for_metric(Matcher::Full(histogram.to_owned()), buckets)?;
    }
    builder.install_recorder()
}

/// Prints the events that `log` selects, and exports all spans to the collector at `otlp`.
pub(crate) fn trace(log: Targets, otlp: Option<&str>) -> Result<Option<Export>, BoxError> {
    let export = otlp.map(Export::to).transpose()?;
    let exported = Targets::new()
        .with_target("tower_floodgate", LevelFilter::TRACE)
        .with_target(env!("CARGO_CRATE_NAME"), Level::INFO);
    let traces = export.as_ref().map(|Export { provider, .. }| {
        tracing_opentelemetry::layer().with_tracer(provider.tracer("observe")).with_filter(exported)
    });
    let printed = fmt::layer().with_writer(std::io::stderr).with_filter(log);
    tracing::subscriber::set_global_default(registry().with(traces).with(printed))?;
    Ok(export)
}

/// The export of spans to a collector.
pub(crate) struct Export {
    provider: SdkTracerProvider,
    /// The number of spans that the collector did not take.
    lost: Arc<AtomicUsize>,
}

impl Export {
    fn to(collector: &str) -> Result<Self, BoxError> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", collector.trim_end_matches('/')))
            .build()?;
        let lost = Arc::<AtomicUsize>::default();
        let exporter = Exporter { exporter, lost: Arc::clone(&lost) };
        // A full queue drops spans, and the default one holds those of some seconds.
        let config = BatchConfigBuilder::default().with_max_queue_size(1 << 16).build();
        let spans = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(spans)
            .with_resource(Resource::builder().with_service_name("observe").build())
            .build();
        Ok(Self { provider, lost })
    }

    /// Exports the spans that are left. Blocks the thread.
    pub(crate) fn end(self) -> Result<(), BoxError> {
        self.provider.shutdown()?;
        match self.lost.load(Relaxed) {
            0 => Ok(()),
            lost => Err(format!("the collector did not take {lost} spans").into()),
        }
    }
}

/// Counts the spans that the collector does not take. The processor would only log the failure.
#[derive(Debug)]
struct Exporter {
    exporter: opentelemetry_otlp::SpanExporter,
    lost: Arc<AtomicUsize>,
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        if result.is_err() {
            self.lost.fetch_add(spans, Relaxed);
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
