//! A collector of OpenTelemetry that counts the events in the spans that it receives.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
};
use prost::Message;
use tokio::net::TcpListener;

/// An event or a span: its name and its attributes.
pub(crate) type Named = (String, BTreeMap<String, String>);

#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) spans: Vec<Named>,
    /// Those of this crate.
    pub(crate) events: Vec<Named>,
}

pub(crate) struct Collector {
    pub(crate) url: String,
    pub(crate) received: Arc<Mutex<Received>>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let received = Arc::<Mutex<Received>>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let into = Arc::clone(&received);
        let app = Router::new().route("/v1/traces", post(move |body| receive(into, body)));
        tokio::spawn(async { axum::serve(listener, app).await });
        Self { url, received }
    }
}

async fn receive(into: Arc<Mutex<Received>>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST;
    };
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let mut into = into.lock().unwrap();
    for span in scopes.flat_map(|scope| scope.spans) {
        assert_eq!((span.dropped_events_count, span.dropped_attributes_count), (0, 0));
        let events = span.events.into_iter().map(|event| (event.name, texts(event.attributes)));
        let is_of_crate = |(_, attributes): &Named| {
            attributes.get("target").is_some_and(|target| target == "tower_floodgate")
        };
        into.events.extend(events.filter(is_of_crate));
        into.spans.push((span.name, texts(span.attributes)));
    }
    StatusCode::OK
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        Value::BoolValue(is) => is.to_string(),
        other => format!("{other:?}"),
    };
    let attributes = attributes.into_iter();
    attributes
        .filter_map(|attribute| Some((attribute.key, text(attribute.value?.value?))))
        .collect()
}
