//! Events of a named retry, and spans of attempts, as a subscriber sees them.

use std::{
    collections::BTreeMap,
    fmt,
    future::ready,
    sync::{Arc, Mutex},
};

use tower::{Layer as _, ServiceExt, service_fn};
use tower_floodgate::{
    ExponentialRetry, ExponentialRetryLayer,
    retry::{Backoff, Jitter, Verdict},
};
use tracing::{
    Event, Instrument, Subscriber,
    field::{Field, Visit},
    info_span,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    layer::{Context, Layer, SubscriberExt},
    registry::LookupSpan,
};

use crate::support::secs;

/// The fields of an event or a span, as texts, and what is known about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Traced {
    pub(crate) name: String,
    pub(crate) level: String,
    /// The name of the span that it is in.
    pub(crate) parent: Option<String>,
    pub(crate) fields: BTreeMap<String, String>,
}

impl Traced {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

impl Visit for Traced {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name().to_owned(), value.to_owned());
    }
}

/// Keeps events and closed spans of this crate.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    events: Arc<Mutex<Vec<Traced>>>,
    spans: Arc<Mutex<Vec<Traced>>>,
}

impl Kept {
    /// Keeps those of this thread until the guard is dropped.
    pub(crate) fn here() -> (Self, tracing::subscriber::DefaultGuard) {
        crate::support::subscribe_all_threads();
        let kept = Self::default();
        let subscriber = tracing_subscriber::registry().with(kept.clone());
        (kept, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn events(&self) -> Vec<Traced> {
        self.events.lock().unwrap().clone()
    }

    pub(crate) fn closed_spans(&self) -> Vec<Traced> {
        self.spans.lock().unwrap().clone()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Kept {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() != "tower_floodgate" {
            return;
        }
        let mut traced = Traced {
            level: event.metadata().level().to_string(),
            parent: context.event_span(event).map(|span| span.name().to_owned()),
            ..Traced::default()
        };
        event.record(&mut traced);
        traced.name = traced.fields.remove("message").unwrap_or_default();
        self.events.lock().unwrap().push(traced);
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut traced = Traced {
            name: span.name().to_owned(),
            level: span.metadata().level().to_string(),
            parent: span.parent().map(|parent| parent.name().to_owned()),
            ..Traced::default()
        };
        attributes.record(&mut traced);
        span.extensions_mut().insert(traced);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(span.extensions_mut().get_mut::<Traced>().unwrap());
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        if span.metadata().target() == "tower_floodgate" {
            let traced = span.extensions_mut().remove::<Traced>().unwrap();
            self.spans.lock().unwrap().push(traced);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn o5_decisions_are_events_in_the_span_of_the_caller() {
    let (kept, _guard) = Kept::here();
    let policy = ExponentialRetry::new(3)
        .backoff(Backoff::new(secs(1), secs(4)).jitter(Jitter::None))
        .classify(|hint: &u32, _: &Result<(), &'static str>| match hint {
            0 => Verdict::Retry,
            hint => Verdict::RetryAfter(secs((*hint).into())),
        })
        .name("github");
    let layer = ExponentialRetryLayer::new(policy);
    let service = layer.layer(service_fn(|_: u32| ready(Err::<(), _>("no answer"))));
    service.clone().oneshot(0).instrument(info_span!("import")).await.unwrap_err();
    service.clone().oneshot(61).await.unwrap_err();

    let fields = |pairs: &[(&str, &str)]| {
        let common = [("limiter", "github"), ("kind", "retry"), ("error.type", "_OTHER")];
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        common.iter().chain(pairs).map(owned).collect()
    };
    let expected = [
        ("DEBUG", "retry", Some("import"), fields(&[("attempt", "1"), ("backoff", "1.0")])),
        ("DEBUG", "retry", Some("import"), fields(&[("attempt", "2"), ("backoff", "2.0")])),
        (
            "INFO",
            "not retried",
            Some("import"),
            fields(&[("attempt", "3"), ("reason", "max_attempts")]),
        ),
        (
            "INFO",
            "not retried",
            None,
            fields(&[("attempt", "1"), ("reason", "max_hint"), ("retry_after", "61.0")]),
        ),
    ];
    let expected = expected.map(|(level, name, parent, fields)| Traced {
        name: name.to_owned(),
        level: level.to_owned(),
        parent: parent.map(str::to_owned),
        fields,
    });
    assert_eq!(kept.events(), expected);

    // As many as the handle counts.
    let handle = layer.handle();
    let count = |name| kept.events().iter().filter(|event| event.name == name).count() as u64;
    assert_eq!(
        (count("retry"), count("not retried")),
        (handle.retries(), handle.give_ups().total())
    );
}

#[tokio::test(start_paused = true)]
async fn o5_policy_without_a_name_causes_no_event() {
    let (kept, _guard) = Kept::here();
    let layer = ExponentialRetryLayer::new(ExponentialRetry::new(3));
    let service = layer.layer(service_fn(|_: u32| ready(Err::<(), _>("no answer"))));
    service.oneshot(0).await.unwrap_err();
    assert_eq!(kept.events(), []);
}

#[test]
fn o5_r12_change_of_settings_is_an_event() {
    let (kept, _guard) = Kept::here();
    let handle = ExponentialRetry::new(3).name("github").handle();
    handle.set_max_attempts(0).unwrap_err();
    handle.set_max_attempts(7).unwrap();
    handle.set_max_elapsed(Some(secs(9)));
    let events = kept.events();
    assert_eq!(events.len(), 2, "an invalid setting changes nothing");
    assert_eq!(events[0].name, "settings changed");
    assert_eq!(events[0].level, "INFO");
    assert_eq!(
        (events[0].field("max_attempts"), events[0].field("max_elapsed")),
        (Some("7"), None)
    );
    assert_eq!(events[1].field("max_elapsed"), Some("9.0"));
}
