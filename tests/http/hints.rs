//! Hints of a server, read from its responses, pause all callers.

use std::{io, time::Duration};

use allocation_counter::measure;
use http::{HeaderName, Response, StatusCode};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    PauseOnHintLayer, WindowRateLimitLayer,
    client::hints::{HttpHints, Unit},
    pause_on_hint::ReadHint,
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

/// Headers and statuses that no dialect has.
#[test]
fn r9_settings_add_headers_and_statuses() {
    let name = HeaderName::from_static;
    let hints = HttpHints::new()
        .statuses([StatusCode::TOO_MANY_REQUESTS, StatusCode::CONFLICT])
        .ambiguous_statuses([StatusCode::LOCKED])
        .wait_header(name("x-backoff"), Unit::Seconds)
        .quota_headers(name("x-tokens"), name("x-refill"), Unit::Millis)
        // A name of the dialects gets another unit.
        .quota_headers(name("x-ratelimit-remaining"), name("x-ratelimit-reset"), Unit::Minutes);
    let read = |hints: &HttpHints, status, lines: &[(&str, &str)]| {
        ReadHint::<_, io::Error>::read_hint(hints, &Ok(response(status, lines)))
    };
    for (status, lines, hint) in [
        (429, &[("x-backoff", "7")][..], Some(secs(7))),
        (409, &[("x-backoff", "7")], Some(secs(7))),
        (423, &[("x-backoff", "7")], Some(secs(7))),
        (503, &[("x-backoff", "7")], None),
        (403, &[("retry-after", "7")], None),
        (200, &[("x-tokens", "0"), ("x-refill", "2500")], Some(Duration::from_millis(2500))),
        (200, &[("x-tokens", "1"), ("x-refill", "2500")], None),
        (200, &[("x-tokens", "?"), ("x-refill", "2500")], None),
        (200, &[("x-refill", "2500")], None),
        (409, &[("x-refill", "2500")], Some(Duration::from_millis(2500))),
        (423, &[("x-refill", "2500")], None),
        (200, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2")], Some(secs(120))),
    ] {
        assert_eq!(read(&hints, status, lines), hint, "{status} {lines:?}");
    }
    assert_eq!(read(&HttpHints::new(), 429, &[("x-backoff", "7")]), None);
    // The last meaning of a name counts.
    let hints = hints.wait_header(name("x-refill"), Unit::Seconds);
    assert_eq!(read(&hints, 429, &[("x-refill", "7")]), Some(secs(7)));
    let shown = format!("{hints:?}");
    assert!(shown.contains("statuses: {409, 429}, ambiguous_statuses: {423}"), "{shown}");
}

/// Only a 429 that states no time has the default wait, and only by a setting.
#[test]
fn r9_default_wait_is_that_of_a_429_without_a_time() {
    let hints = HttpHints::new().default_wait(secs(30));
    for (status, lines, hint) in [
        (429, &[][..], Some(30)),
        (429, &[("retry-after", "soon")], Some(30)),
        (429, &[("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "5")], Some(30)),
        (429, &[("retry-after", "5")], Some(5)),
        (429, &[("x-ratelimit-reset", "5")], Some(5)),
        (503, &[], None),
        (403, &[], None),
        (200, &[], None),
    ] {
        let result = Ok::<_, io::Error>(response(status, lines));
        assert_eq!(hints.read_hint(&result), hint.map(secs), "{status} {lines:?}");
    }
    let result = Ok::<_, io::Error>(response(429, &[]));
    assert_eq!(HttpHints::new().read_hint(&result), None);
}

#[test]
fn c7_hint_status_of_no_failure_is_an_invalid_setting() {
    let wrong = [StatusCode::CONFLICT, StatusCode::OK];
    for (error, setting) in [
        (HttpHints::new().try_statuses(wrong).unwrap_err(), "statuses"),
        (HttpHints::new().try_ambiguous_statuses(wrong).unwrap_err(), "ambiguous_statuses"),
    ] {
        assert_eq!(error.to_string(), format!("{setting} is 200: it must be between 400 and 599"));
    }
    let panic = std::panic::catch_unwind(|| HttpHints::new().ambiguous_statuses(wrong));
    let text = panic.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(*text, "ambiguous_statuses is 200: it must be between 400 and 599");
}

#[test]
fn c6_reading_hints_allocates_nothing() {
    for lines in [
        &[][..],
        &[("ratelimit", r#""burst";r=0;t=2, "day";r=0;t=70"#)],
        &[("ratelimit", "limit=100, remaining=0, reset=70")],
        &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1700000000.5")],
        &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2023-11-14T22:13Z, 6m0s, soon")],
        &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "Tue, 14 Nov 2023 22:13:50 +0100")],
        &[("ratelimit-remaining", "0"), ("x-ratelimit-reset", "Tue Nov 14 22:13:60 UTC 2023")],
        &[("x-ratelimit-remaining", "0e0"), ("x-ratelimit-reset", "1 day, 2:03:04, PT3S, 1e3")],
    ] {
        let result = Ok::<_, io::Error>(response(200, lines));
        let counted = measure(|| {
            assert_eq!(HttpHints::new().read_hint(&result).is_some(), !lines.is_empty())
        });
        assert_eq!(counted.count_total, 0, "{lines:?}");
    }
}
