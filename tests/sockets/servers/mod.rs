//! The layers on servers that people use, asked by clients that people use.

mod axum;
mod hyper;
#[cfg(feature = "grpc")]
mod tonic;

use std::time::Duration;

use http::HeaderMap;
use tokio::time::sleep;

use crate::peer::soon;

/// Longer than any test takes, so that no window is over in one.
const HOUR: Duration = Duration::from_secs(3_600);

/// Comes back as soon as it is so.
async fn until(so: impl Fn() -> bool) {
    soon(async {
        while !so() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

fn field<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
    fields.get(name).map(|value| value.to_str().unwrap())
}

/// Of an answer that passed the limit `name`, of `limit` an hour, with so many left.
fn tells_what_is_left(fields: &HeaderMap, name: &str, limit: u64, left: u64) {
    let policy = format!("\"{name}\";q={limit};w=3600");
    assert_eq!(field(fields, "ratelimit-policy"), Some(policy.as_str()));
    let seconds = field(fields, "ratelimit").unwrap();
    let seconds = seconds.strip_prefix(format!("\"{name}\";r={left};t=").as_str()).unwrap();
    assert!((1..=3_600).contains(&seconds.parse::<u32>().unwrap()), "{seconds}");
    assert_eq!(field(fields, "retry-after"), None);
}

/// Of an answer to a request that was turned away, for that limit is spent.
fn tells_when_to_come_again(fields: &HeaderMap, name: &str, limit: u64) {
    let wait: u32 = field(fields, "retry-after").unwrap().parse().unwrap();
    assert!((1..=3_600).contains(&wait), "{wait}");
    let mut others = fields.clone();
    others.remove("retry-after");
    tells_what_is_left(&others, name, limit, 0);
}
