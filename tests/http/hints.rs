//! Hints of a server, read from its responses, pause all callers.

use std::io;

use allocation_counter::measure;
use http::Response;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    PauseOnHintLayer, WindowRateLimitLayer, client::HttpHints, pause_on_hint::ReadHint,
};

use crate::secs;

fn response(status: u16, lines: &[(&str, &str)]) -> Response<()> {
    let builder = Response::builder().status(status);
    lines
        .iter()
        .fold(builder, |builder, (name, value)| builder.header(*name, *value))
        .body(())
        .unwrap()
}

/// By status, and by the remaining quota.
#[test]
fn r9_hints_are_read_from_responses() {
    const RETRY: &[(&str, &str)] = &[("retry-after", "7")];
    const SPENT: &[(&str, &str)] = &[("ratelimit", "p;r=0;t=9")];
    const LEFT: &[(&str, &str)] = &[("ratelimit", "p;r=1;t=9")];
    const X_SPENT: &[(&str, &str)] = &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9")];
    const RESET: &[(&str, &str)] = &[("ratelimit-reset", "9")];
    const BOTH: &[(&str, &str)] = &[("ratelimit", "p;r=0;t=9"), ("retry-after", "7")];
    for (lines, rejected, ambiguous, other) in [
        (&[][..], None, None, None),
        (RETRY, Some(7), Some(7), None),
        (SPENT, Some(9), Some(9), Some(9)),
        (LEFT, None, None, None),
        (X_SPENT, Some(9), Some(9), Some(9)),
        (RESET, Some(9), None, None),
        (BOTH, Some(9), Some(9), Some(9)),
    ] {
        for status in
            [200, 304, 403, 404, 408, 418, 420, 428, 429, 430, 500, 502, 503, 504, 520, 529, 999]
        {
            let hint = match status {
                429 | 503 | 529 => rejected,
                403 | 418 | 420 => ambiguous,
                _ => other,
            };
            let result = Ok::<_, io::Error>(response(status, lines));
            assert_eq!(HttpHints::new().read_hint(&result), hint.map(secs), "{status} {lines:?}");
        }
    }
    assert_eq!(HttpHints::new().read_hint(&Err::<Response<()>, _>(io::Error::other("none"))), None);
}

#[tokio::test(start_paused = true)]
async fn r9_spent_quota_pauses_all_callers_before_a_rejection() {
    let limit = WindowRateLimitLayer::new(100, secs(1));
    let handle = limit.handle();
    let mut service = ServiceBuilder::new()
        .layer(limit)
        .layer(PauseOnHintLayer::new(handle.clone(), HttpHints::new()))
        .service(service_fn(|left: u32| async move {
            let left = left.to_string();
            let lines = [("ratelimit-remaining", &*left), ("ratelimit-reset", "20")];
            Ok::<_, io::Error>(response(200, &lines))
        }));
    service.ready().await.unwrap().call(1).await.unwrap();
    assert_eq!(handle.estimated_wait(), secs(0));
    service.ready().await.unwrap().call(0).await.unwrap();
    assert_eq!(handle.estimated_wait(), secs(20));
}

#[test]
fn c6_reading_hints_allocates_nothing() {
    for lines in [
        &[][..],
        &[("ratelimit", r#""burst";r=0;t=2, "day";r=0;t=70"#)],
        &[("ratelimit", "limit=100, remaining=0, reset=70")],
        &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1700000000.5")],
    ] {
        let result = Ok::<_, io::Error>(response(200, lines));
        let counted = measure(|| {
            assert_eq!(HttpHints::new().read_hint(&result).is_some(), !lines.is_empty())
        });
        assert_eq!(counted.count_total, 0, "{lines:?}");
    }
}
