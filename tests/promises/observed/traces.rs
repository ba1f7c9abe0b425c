use tower::{Layer, ServiceExt};
use tower_floodgate::{ConcurrencyBackpressureLayer, WindowRateLimitLayer};
use tracing::{Instrument, Level, info_span};

use super::traced::Trace;
use crate::support::{Probe, WakeCounter, poll_ready, secs};

#[tokio::test(start_paused = true)]
async fn o1_events_are_traced_in_the_span_of_the_caller() {
    let trace = Trace::start();
    let layer = WindowRateLimitLayer::new(1, secs(60)).name("github");
    let service = layer.clone().max_queue(1).layer(Probe::new());
    for (name, request) in [("one", 1), ("two", 2)] {
        let span = if name == "one" { info_span!("one") } else { info_span!("two") };
        service.clone().oneshot(request).instrument(span).await.unwrap();
    }
    let [admitted, queued, waited] = trace.take().try_into().expect("three events");
    assert_eq!(
        (admitted.level, admitted.message(), admitted.span),
        (Level::TRACE, "admitted", Some("one"))
    );
    assert_eq!(
        (queued.level, queued.message(), queued.span),
        (Level::TRACE, "queued", Some("two"))
    );
    assert_eq!(
        (waited.level, waited.message(), waited.span),
        (Level::DEBUG, "admitted after a wait", Some("two"))
    );
    assert_eq!(waited.field("queued_for"), Some("60.0"));
    for event in [admitted, queued, waited] {
        assert_eq!(event.target, "tower_floodgate");
        assert_eq!(event.field("limiter"), Some("\"github\""));
        assert_eq!(event.field("kind"), Some("\"window\""));
    }

    let wakes = WakeCounter::new();
    let mut waiting = service.clone();
    assert!(poll_ready(&mut waiting, &wakes.waker()).is_pending());
    tokio::time::advance(secs(10)).await;
    service.clone().oneshot(3).await.unwrap_err();
    drop(waiting);
    let [queued, rejected, cancelled] = trace.take().try_into().expect("three events");
    assert_eq!((queued.message(), cancelled.message()), ("queued", "cancelled"));
    assert_eq!((rejected.level, rejected.message()), (Level::INFO, "rejected"));
    assert_eq!(rejected.field("reason"), Some("\"queue_full\""));
    assert_eq!(rejected.field("retry_after"), Some("110.0"));
    assert_eq!(cancelled.level, Level::DEBUG);

    layer.handle().pause_for(secs(30));
    layer.handle().set_limit(2).unwrap();
    let [paused, changed] = trace.take().try_into().expect("two events");
    assert_eq!((paused.level, paused.message()), (Level::INFO, "paused"));
    assert_eq!(paused.field("paused_for"), Some("30.0"));
    assert_eq!((changed.level, changed.message()), (Level::INFO, "limit changed"));
    assert_eq!((changed.field("limit"), changed.field("window")), (Some("2"), Some("60.0")));
}

#[tokio::test(start_paused = true)]
async fn o1_time_that_is_not_known_is_no_field() {
    let trace = Trace::start();
    let layer = ConcurrencyBackpressureLayer::new(1).name("database").max_queue(0);
    let mut holder = layer.layer(Probe::new());
    holder.ready().await.unwrap();
    layer.layer(Probe::new()).oneshot(1).await.unwrap_err();
    drop(holder);
    layer.handle().set_limit(2).unwrap();
    let [_, rejected, unused, changed] = trace.take().try_into().expect("four events");
    assert_eq!((rejected.message(), rejected.field("retry_after")), ("rejected", None));
    assert_eq!((unused.level, unused.message()), (Level::DEBUG, "permits unused"));
    assert_eq!((changed.field("limit"), changed.field("window")), (Some("2"), None));
}

#[tokio::test(start_paused = true)]
async fn o3_limit_without_a_name_is_not_traced() {
    let trace = Trace::start();
    let layer = WindowRateLimitLayer::new(1, secs(60)).max_queue(0);
    layer.layer(Probe::new()).oneshot(1).await.unwrap();
    layer.layer(Probe::new()).oneshot(2).await.unwrap_err();
    layer.handle().pause_for(secs(30));
    assert!(trace.take().is_empty());
}
