//! A subscriber that keeps the events of this thread.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
};

use crate::support::subscribe_all_threads;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    layer::{Context, Layer, SubscriberExt},
    registry::LookupSpan,
};

/// An event, with its fields as `Debug` writes them.
#[derive(Clone, Debug)]
pub(crate) struct Traced {
    pub(crate) level: Level,
    pub(crate) target: String,
    /// The name of the current span.
    pub(crate) span: Option<&'static str>,
    fields: BTreeMap<&'static str, String>,
}

impl Traced {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = &'static str> + use<'_> {
        self.fields.keys().copied()
    }

    pub(crate) fn message(&self) -> &str {
        self.field("message").unwrap_or_default()
    }
}

impl Visit for Traced {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

/// Keeps the events of this crate until it is dropped.
pub(crate) struct Trace {
    events: Arc<Mutex<Vec<Traced>>>,
    _guard: DefaultGuard,
}

struct Keep(Arc<Mutex<Vec<Traced>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let metadata = event.metadata();
        if metadata.target() != "tower_floodgate" {
            return;
        }
        let mut traced = Traced {
            level: *metadata.level(),
            target: metadata.target().to_owned(),
            span: cx.event_span(event).map(|span| span.name()),
            fields: BTreeMap::new(),
        };
        event.record(&mut traced);
        self.0.lock().unwrap().push(traced);
    }
}

impl Trace {
    pub(crate) fn start() -> Self {
        subscribe_all_threads();
        let events = Arc::default();
        let subscriber = tracing_subscriber::registry().with(Keep(Arc::clone(&events)));
        Self { events, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// Takes the events since the last reading.
    pub(crate) fn take(&self) -> Vec<Traced> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }
}
