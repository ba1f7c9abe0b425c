//! The stream of events of one viewer.

use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::time::sleep_until;

use crate::{observe::Limits, time::now};

/// Proxies close a connection without traffic, commonly after a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The first line: milliseconds after which a browser connects anew.
const RETRY: &str = "retry: 1000\n";

/// A comment, which a browser ignores.
const COMMENT: &str = ": keep-alive\n\n";

/// Returns server-sent events with the snapshots of `limits`: one at once, then one in each
/// `interval`.
///
/// An event is made when it is polled for, so a slow viewer gets fewer of them, and none is kept.
pub(super) fn events(limits: Limits, interval: Duration) -> impl Stream<Item = String> {
    stream::unfold((limits, now(), RETRY), move |(limits, due, first)| async move {
        let wake = due.min(now() + KEEP_ALIVE);
        sleep_until(wake).await;
        if wake < due {
            return Some((COMMENT.to_owned(), (limits, due, first)));
        }
        // JSON has no line breaks outside of strings, and writes those inside as escapes.
        let event = format!("{first}data: {}\n\n", json(&limits));
        Some((event, (limits, now() + interval, "")))
    })
}

/// Returns the snapshots as a JSON array.
pub(super) fn json(limits: &Limits) -> String {
    serde_json::to_string(&limits.snapshots()).expect("the keys of snapshots are strings")
}
