//! The recorder of metrics, and the exporter of traces.

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider},
};
use tower::BoxError;
use tower_floodgate::{
    observe::{PAUSE_BUCKETS, QUEUE_WAIT_BUCKETS},
    retry::{RETRY_ATTEMPTS_BUCKETS, RETRY_BACKOFF_BUCKETS},
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
///
/// Returns the provider, which has to be shut down.
pub(crate) fn trace(
    log: Targets,
    otlp: Option<&str>,
) -> Result<Option<SdkTracerProvider>, BoxError> {
    let provider = otlp.map(exporter).transpose()?;
    let exported = Targets::new()
        .with_target("tower_floodgate", LevelFilter::TRACE)
        .with_target(env!("CARGO_CRATE_NAME"), Level::INFO);
    let traces = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer().with_tracer(provider.tracer("observe")).with_filter(exported)
    });
    let printed = fmt::layer().with_writer(std::io::stderr).with_filter(log);
    tracing::subscriber::set_global_default(registry().with(traces).with(printed))?;
    Ok(provider)
}

fn exporter(collector: &str) -> Result<SdkTracerProvider, BoxError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", collector.trim_end_matches('/')))
        .build()?;
    // A full queue drops spans, and the default one holds those of two seconds.
    let config = BatchConfigBuilder::default().with_max_queue_size(1 << 16).build();
    let spans = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
    Ok(SdkTracerProvider::builder()
        .with_span_processor(spans)
        .with_resource(Resource::builder().with_service_name("observe").build())
        .build())
}
