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

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

/// Asserts the headers of an accepted request at the limit `name`, of `limit` an hour.
fn assert_accepted(headers: &HeaderMap, name: &str, limit: u64, left: u64) {
    let policy = format!("\"{name}\";q={limit};w=3600");
    assert_eq!(header(headers, "ratelimit-policy"), Some(policy.as_str()));
    let seconds = header(headers, "ratelimit").unwrap();
    let seconds = seconds.strip_prefix(format!("\"{name}\";r={left};t=").as_str()).unwrap();
    assert!((1..=3_600).contains(&seconds.parse::<u32>().unwrap()), "{seconds}");
    assert_eq!(header(headers, "retry-after"), None);
}

/// Asserts the headers of a rejected request at that limit.
fn assert_rejected(headers: &HeaderMap, name: &str, limit: u64) {
    let wait: u32 = header(headers, "retry-after").unwrap().parse().unwrap();
    assert!((1..=3_600).contains(&wait), "{wait}");
    let mut others = headers.clone();
    others.remove("retry-after");
    assert_accepted(&others, name, limit, 0);
}
