//! The stream of events of one viewer.

use std::{convert::Infallible, time::Duration};

use axum::response::sse::Event;
use futures_util::{Stream, stream};
use tokio::time::{Instant, sleep_until};

use crate::{
    observe::Limits,
    time::{CENTURY, now},
};

/// Proxies close a connection without traffic, commonly after a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The time after which a browser connects anew.
const RETRY: Duration = Duration::from_secs(1);

/// Returns a stream of events with the snapshots of `limits`: one at once, then one in each
/// `interval`.
///
/// An event is made when it is polled for, so a slow viewer gets fewer of them, and none is kept.
pub(super) fn events(
    limits: Limits,
    interval: Duration,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let state = (limits, now(), Event::default().retry(RETRY));
    stream::unfold(state, move |(limits, due, event)| async move {
        let wake = due.min(now() + KEEP_ALIVE);
        sleep_until(wake).await;
        if wake < due {
            return Some((Ok(Event::default().comment("keep-alive")), (limits, due, event)));
        }
        let event = event.data(json(&limits));
        Some((Ok(event), (limits, after(interval), Event::default())))
    })
}

fn after(interval: Duration) -> Instant {
    now() + interval.min(CENTURY)
}

/// Returns the snapshots as a JSON array.
pub(super) fn json(limits: &Limits) -> String {
    serde_json::to_string(&limits.snapshots()).expect("the keys of snapshots are strings")
}
