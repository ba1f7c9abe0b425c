//! The layers on common servers, with common clients.

mod axum;
mod hyper;
#[cfg(feature = "grpc")]
mod tonic;

use std::time::Duration;

use http::HeaderMap;
use tokio::time::sleep;

use crate::peer::soon;

/// Longer than any test, so that no window ends during one.
const HOUR: Duration = Duration::from_secs(3_600);

/// Returns once `so` holds.
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

/// Asserts the headers of an accepted request at the limit `name`, of `limit` an hour.
fn tells_what_is_left(fields: &HeaderMap, name: &str, limit: u64, left: u64) {
    let policy = format!("\"{name}\";q={limit};w=3600");
    assert_eq!(field(fields, "ratelimit-policy"), Some(policy.as_str()));
    let seconds = field(fields, "ratelimit").unwrap();
    let seconds = seconds.strip_prefix(format!("\"{name}\";r={left};t=").as_str()).unwrap();
    assert!((1..=3_600).contains(&seconds.parse::<u32>().unwrap()), "{seconds}");
    assert_eq!(field(fields, "retry-after"), None);
}

/// Asserts the headers of a rejected request at that limit.
fn tells_when_to_come_again(fields: &HeaderMap, name: &str, limit: u64) {
    let wait: u32 = field(fields, "retry-after").unwrap().parse().unwrap();
    assert!((1..=3_600).contains(&wait), "{wait}");
    let mut others = fields.clone();
    others.remove("retry-after");
    tells_what_is_left(&others, name, limit, 0);
}
