//! Retry classification and hints of gRPC.

use std::{
    io::{self, ErrorKind},
    panic::catch_unwind,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_STANDARD_NO_PAD};
use http::{HeaderValue, Request, Response};
use proptest::prelude::*;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic_types::{ErrorDetails, StatusExt};
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, DeadlineLayer, ExponentialRetry, ExponentialRetryLayer,
    WindowRateLimitLayer,
    client::{
        Attempts, BoxedError, GrpcClassifier, GrpcCode, GrpcHints, PlainError, send_grpc_timeout,
    },
    deadline::{GrpcTimeout, ReadDeadline},
    pause_on_hint::ReadHint,
    retry::{Backoff, Classify, Jitter, Verdict},
    server::grpc_rejection,
};

use crate::{full, secs};

const CODES: [GrpcCode; 17] = [
    GrpcCode::Ok,
    GrpcCode::Cancelled,
    GrpcCode::Unknown,
    GrpcCode::InvalidArgument,
    GrpcCode::DeadlineExceeded,
    GrpcCode::NotFound,
    GrpcCode::AlreadyExists,
    GrpcCode::PermissionDenied,
    GrpcCode::ResourceExhausted,
    GrpcCode::FailedPrecondition,
    GrpcCode::Aborted,
    GrpcCode::OutOfRange,
    GrpcCode::Unimplemented,
    GrpcCode::Internal,
    GrpcCode::Unavailable,
    GrpcCode::DataLoss,
    GrpcCode::Unauthenticated,
];

fn answer(status: u16, lines: &[(&str, &str)]) -> Response<()> {
    let builder = Response::builder().status(status);
    lines
        .iter()
        .fold(builder, |builder, (name, value)| builder.header(*name, *value))
        .body(())
        .unwrap()
}

fn verdict_of(classify: GrpcClassifier, status: u16, lines: &[(&str, &str)]) -> Verdict {
    classify.classify(&Request::new(()), &Ok::<_, io::Error>(answer(status, lines)))
}

fn hint(status: u16, lines: &[(&str, &str)]) -> Option<Duration> {
    GrpcHints.read_hint(&Ok::<_, io::Error>(answer(status, lines)))
}

#[test]
fn r6_codes_have_the_numbers_of_grpc() {
    for (number, code) in (0..).zip(CODES) {
        assert_eq!(GrpcCode::from(number), code);
        assert_eq!(code.to_string(), number.to_string());
        // As in tonic.
        assert_eq!(format!("{code:?}"), format!("{:?}", tonic::Code::from_i32(number)));
    }
    for number in [17, 99, -1, i32::MIN, i32::MAX] {
        assert_eq!(GrpcCode::from(number), GrpcCode::Unknown);
    }
}

#[test]
fn r6_grpc_responses_are_retried_by_code() {
    let default = GrpcClassifier::new();
    let chosen = GrpcClassifier::new().codes([GrpcCode::Cancelled, GrpcCode::Unauthenticated]);
    for code in CODES {
        let verdict = |retry| if retry { Verdict::Retry } else { Verdict::Done };
        let lines = [("grpc-status", &*code.to_string())];
        for http in [200, 503] {
            assert_eq!(verdict_of(default, http, &lines), verdict(code == GrpcCode::Unavailable));
            let is_chosen = matches!(code, GrpcCode::Cancelled | GrpcCode::Unauthenticated);
            assert_eq!(verdict_of(chosen, http, &lines), verdict(is_chosen));
        }
    }
    // An unreadable code is unknown.
    for value in ["", "x", "17", "-14", "1 4", "99999999999999999999", "\u{661}"] {
        let lines = [("grpc-status", value)];
        assert_eq!(verdict_of(default, 503, &lines), Verdict::Done, "{value:?}");
        let unknown = default.codes([GrpcCode::Unknown]);
        assert_eq!(verdict_of(unknown, 200, &lines), Verdict::Retry, "{value:?}");
    }
    assert!(format!("{chosen:?}").contains("{Cancelled, Unauthenticated}"));
}

/// A proxy without gRPC responds with an HTTP status only.
#[test]
fn r6_http_status_of_a_proxy_maps_to_a_code() {
    for (status, code) in [
        (200, None),
        (400, Some(GrpcCode::Internal)),
        (401, Some(GrpcCode::Unauthenticated)),
        (403, Some(GrpcCode::PermissionDenied)),
        (404, Some(GrpcCode::Unimplemented)),
        (429, Some(GrpcCode::Unavailable)),
        (500, Some(GrpcCode::Unknown)),
        (502, Some(GrpcCode::Unavailable)),
        (503, Some(GrpcCode::Unavailable)),
        (504, Some(GrpcCode::Unavailable)),
        (302, Some(GrpcCode::Unknown)),
        (204, Some(GrpcCode::Unknown)),
    ] {
        for retried in CODES.into_iter().skip(1) {
            let classify = GrpcClassifier::new().codes([retried]);
            let verdict = if code == Some(retried) { Verdict::Retry } else { Verdict::Done };
            assert_eq!(verdict_of(classify, status, &[]), verdict, "{status} {retried:?}");
        }
    }
    let lines = [("retry-after", "7")];
    assert_eq!(verdict_of(GrpcClassifier::new(), 503, &lines), Verdict::RetryAfter(secs(7)));
    assert_eq!(verdict_of(GrpcClassifier::new(), 200, &lines), Verdict::Done);
    // `grpc-status` takes precedence over the HTTP status.
    let lines = [("retry-after", "7"), ("grpc-status", "5")];
    assert_eq!(verdict_of(GrpcClassifier::new(), 503, &lines), Verdict::Done);
}

#[test]
fn r4_pushback_is_exact_and_negative_means_never() {
    for (value, wait) in [
        ("0", Some(0)),
        ("1", Some(1)),
        ("250", Some(250)),
        ("2147483647", Some(2_147_483_647)),
        ("2147483648", None),
        ("99999999999999999999", None),
        ("-1", None),
        ("-2147483648", None),
        ("+5", None),
        ("1.5", None),
        ("", None),
        ("soon", None),
        ("\u{661}", None),
    ] {
        let wait = wait.map(Duration::from_millis);
        let with = |status| [("grpc-status", status), ("grpc-retry-pushback-ms", value)];
        let verdict = wait.map_or(Verdict::Never, Verdict::RetryExactly);
        assert_eq!(verdict_of(GrpcClassifier::new(), 200, &with("14")), verdict, "{value:?}");
        assert_eq!(hint(200, &with("14")), wait, "{value:?}");
        assert_eq!(hint(200, &with("8")), wait, "{value:?}");
        // The pushback of a code that is not retried has no effect.
        assert_eq!(verdict_of(GrpcClassifier::new(), 200, &with("8")), Verdict::Done, "{value:?}");
        for status in ["0", "4", "16", "17", ""] {
            assert_eq!(verdict_of(GrpcClassifier::new(), 200, &with(status)), Verdict::Done);
            assert_eq!(hint(200, &with(status)), None);
        }
    }
}

/// In any order, or joined by a comma.
#[test]
fn r4_several_pushbacks_mean_never() {
    let verdict = |lines: &[(&str, &str)]| {
        verdict_of(GrpcClassifier::new(), 200, &[&[("grpc-status", "14")], lines].concat())
    };
    let name = "grpc-retry-pushback-ms";
    for [one, other] in [["5", "-1"], ["-1", "5"], ["5", "6"], ["5", "5"]] {
        assert_eq!(verdict(&[(name, one), (name, other)]), Verdict::Never);
        assert_eq!(verdict(&[(name, &format!("{one},{other}"))]), Verdict::Never);
    }
}

#[test]
fn r6_statuses_that_differ_are_unknown() {
    let classify = GrpcClassifier::new().codes([GrpcCode::Unavailable, GrpcCode::Aborted]);
    let name = "grpc-status";
    for (one, other, verdict) in
        [("14", "14", Verdict::Retry), ("14", "10", Verdict::Done), ("0", "14", Verdict::Done)]
    {
        assert_eq!(verdict_of(classify, 200, &[(name, one), (name, other)]), verdict);
        assert_eq!(verdict_of(classify, 200, &[(name, other), (name, one)]), verdict);
    }
}

#[test]
fn r4_written_pushback_is_read_back() {
    let value = || {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..12),
            any::<i64>().prop_map(|number| number.to_string().into_bytes()),
            any::<i32>().prop_map(|number| number.to_string().into_bytes()),
        ]
    };
    proptest!(|(pushback in value())| {
        let mut response = answer(200, &[("grpc-status", "14")]);
        let Ok(value) = http::HeaderValue::from_bytes(&pushback) else { return Ok(()) };
        response.headers_mut().insert("grpc-retry-pushback-ms", value);
        let result = Ok::<_, io::Error>(response);
        let verdict = GrpcClassifier::new().classify(&Request::new(()), &result);
        let hint = GrpcHints.read_hint(&result);
        prop_assert_eq!(verdict, hint.map_or(Verdict::Never, Verdict::RetryExactly));
        // The written value equals the read one, except for leading zeros.
        let written = hint.map(|wait| wait.as_millis().to_string());
        let digits = std::str::from_utf8(&pushback).ok().filter(|text| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
        });
        let small = |text: &str| text.parse::<u128>().is_ok_and(|number| number < 1 << 31);
        let expected = digits.filter(|text| small(text)).map(|text| match text.trim_start_matches('0') {
            "" => "0".to_owned(),
            number => number.to_owned(),
        });
        prop_assert_eq!(written, expected);
    });
}

/// google.rpc.Status, as far as it is read, with a delay that may be wrong.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(bytes = "vec", tag = "2")]
    message: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(bytes = "vec", tag = "1")]
    type_url: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<RetryDelay>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryDelay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// A detail with a `RetryInfo`.
fn delay(seconds: i64, nanos: i32) -> Any {
    let info = RetryInfo { retry_delay: Some(RetryDelay { seconds, nanos }) };
    Any { type_url: RETRY_INFO.into(), value: info.encode_to_vec() }
}

/// A `grpc-status-details-bin`, without padding.
fn encoded(details: &[Any]) -> String {
    let status = Status { code: 8, message: b"\xffslowly".into(), details: details.to_vec() };
    BASE64_STANDARD_NO_PAD.encode(status.encode_to_vec())
}

/// The verdict on a retried code with these details, which is also the hint for a pause.
fn verdict_with_details(details: &str) -> Verdict {
    let lines = [("grpc-status", "14"), ("grpc-status-details-bin", details)];
    let verdict = verdict_of(GrpcClassifier::new(), 200, &lines);
    assert_eq!(hint(200, &lines).map_or(Verdict::Retry, Verdict::RetryAfter), verdict);
    verdict
}

#[test]
fn r4_retry_info_is_a_floor() {
    let other =
        Any { type_url: b"type.googleapis.com/google.rpc.DebugInfo".into(), value: vec![0xff] };
    for (details, wait) in [
        (vec![delay(7, 0)], Duration::from_secs(7)),
        (vec![delay(0, 250_000_000)], Duration::from_millis(250)),
        (vec![delay(0, 0)], Duration::ZERO),
        (vec![delay(315_576_000_000, 999_999_999)], Duration::new(315_576_000_000, 999_999_999)),
        // The longest counts.
        (vec![delay(1, 0), delay(3, 0), delay(2, 0)], secs(3)),
        // An unknown detail, and one with a wrong delay, are passed over.
        (vec![other, delay(-1, 0), delay(1, 0)], secs(1)),
        // Servers may name a host of their own.
        (
            vec![Any { type_url: b"x.example/a/google.rpc.RetryInfo".into(), ..delay(5, 0) }],
            secs(5),
        ),
    ] {
        let value = encoded(&details);
        assert_eq!(verdict_with_details(&value), Verdict::RetryAfter(wait), "{details:?}");
        let padded = BASE64_STANDARD.encode(BASE64_STANDARD_NO_PAD.decode(&value).unwrap());
        assert_eq!(verdict_with_details(&padded), Verdict::RetryAfter(wait), "{details:?}");
    }
}

/// As if there were none.
#[test]
fn r4_unreadable_retry_info_is_ignored() {
    let wrong_name = |name: &str| Any { type_url: name.into(), ..delay(7, 0) };
    for details in [
        vec![],
        vec![delay(-7, 0)],
        vec![delay(0, -1)],
        vec![delay(7, -1)],
        vec![delay(-1, 1)],
        vec![delay(7, 1_000_000_000)],
        vec![delay(7, i32::MAX)],
        vec![delay(315_576_000_001, 0)],
        vec![delay(i64::MAX, 0)],
        vec![delay(i64::MIN, i32::MIN)],
        vec![Any { type_url: RETRY_INFO.into(), value: vec![] }],
        vec![Any { type_url: RETRY_INFO.into(), value: vec![0x0a, 0x7f] }],
        vec![wrong_name("")],
        vec![wrong_name("google.rpc.RetryInfo")],
        vec![wrong_name("type.googleapis.com/google.rpc.RetryInfos")],
        vec![wrong_name("type.googleapis.com/xgoogle.rpc.RetryInfo")],
        vec![delay(7, 0), Any { type_url: vec![0xff], value: vec![] }],
    ] {
        assert_eq!(verdict_with_details(&encoded(&details)), Verdict::Retry, "{details:?}");
    }
    let good = encoded(&[delay(7, 0)]);
    let url_safe = "-_-_";
    for value in ["", "!", "A", url_safe, &good[1..], &good[..good.len() - 1], &format!("{good}!")]
    {
        assert_eq!(verdict_with_details(value), Verdict::Retry, "{value:?}");
    }
    // Groups nested without end, and more bytes than a header has.
    let nested = BASE64_STANDARD.encode([0x1b].repeat(10_000));
    assert_eq!(verdict_with_details(&nested), Verdict::Retry);
    let long = encoded(&vec![delay(7, 0); 10_000]);
    assert_eq!(verdict_with_details(&long), Verdict::Retry);
}

/// gRPC lets values be joined by commas.
#[test]
fn r4_retry_info_of_several_values_is_the_longest() {
    let [short, long] = [encoded(&[delay(1, 0)]), encoded(&[delay(2, 0)])];
    for value in [
        format!("{short},{long}"),
        format!("{long} , {short}"),
        format!("{short}==,,{long}"),
        format!("!,{long}"),
        format!("{long},{}", encoded(&[delay(-9, 0)])),
    ] {
        assert_eq!(verdict_with_details(&value), Verdict::RetryAfter(secs(2)), "{value}");
    }
    let name = "grpc-status-details-bin";
    for lines in [[(name, &*short), (name, &*long)], [(name, &*long), (name, &*short)]] {
        let lines = [&[("grpc-status", "14")], &lines[..]].concat();
        assert_eq!(verdict_of(GrpcClassifier::new(), 200, &lines), Verdict::RetryAfter(secs(2)));
        assert_eq!(hint(200, &lines), Some(secs(2)));
    }
}

#[test]
fn r4_pushback_takes_precedence_over_retry_info() {
    let details = encoded(&[delay(7, 0)]);
    for (pushback, verdict) in [
        ("0", Verdict::RetryExactly(Duration::ZERO)),
        ("9000", Verdict::RetryExactly(secs(9))),
        ("-1", Verdict::Never),
        ("soon", Verdict::Never),
    ] {
        let lines = [
            ("grpc-status", "14"),
            ("grpc-retry-pushback-ms", pushback),
            ("grpc-status-details-bin", &details),
        ];
        assert_eq!(verdict_of(GrpcClassifier::new(), 200, &lines), verdict);
        let wait = if let Verdict::RetryExactly(wait) = verdict { Some(wait) } else { None };
        assert_eq!(hint(200, &lines), wait);
    }
}

/// Gateways (Kong, Envoy) reject calls of gRPC with the headers of HTTP.
#[test]
fn r4_hints_of_http_beside_a_code_are_not_exceeded() {
    const SPENT: [(&str, &str); 2] = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9")];
    const LEFT: [(&str, &str); 2] = [("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "9")];
    let details = encoded(&[delay(2, 0)]);
    let after = |seconds| Verdict::RetryAfter(secs(seconds));
    for (lines, verdict) in [
        (&[("retry-after", "7")][..], after(7)),
        (&SPENT, after(9)),
        (&[SPENT[0], SPENT[1], ("retry-after", "7")], after(9)),
        (&LEFT, Verdict::Retry),
        (&[("x-ratelimit-reset", "9")], Verdict::Retry),
        // A pushback comes first.
        (
            &[("retry-after", "7"), ("grpc-retry-pushback-ms", "5000")],
            Verdict::RetryExactly(secs(5)),
        ),
        (&[("retry-after", "7"), ("grpc-retry-pushback-ms", "-1")], Verdict::Never),
        (&[("retry-after", "7"), ("grpc-status-details-bin", &details)], after(7)),
    ] {
        let lines = [&[("grpc-status", "14")], lines].concat();
        assert_eq!(verdict_of(GrpcClassifier::new(), 200, &lines), verdict, "{lines:?}");
        let pause = match verdict {
            Verdict::RetryExactly(wait) | Verdict::RetryAfter(wait) => Some(wait),
            _ => None,
        };
        assert_eq!(hint(200, &lines), pause, "{lines:?}");
    }
}

/// The details are written by tonic.
#[test]
fn r4_retry_info_of_tonic_is_read() {
    for delay in [Duration::ZERO, Duration::from_millis(1500), secs(3600)] {
        let details = ErrorDetails::with_retry_info(Some(delay));
        let status = tonic::Status::with_error_details_and_metadata(
            tonic::Code::Unavailable,
            "later",
            details,
            MetadataMap::new(),
        );
        let result = Ok::<_, io::Error>(status.into_http::<()>());
        let verdict = GrpcClassifier::new().classify(&Request::new(()), &result);
        assert_eq!(verdict, Verdict::RetryAfter(delay));
        assert_eq!(GrpcHints.read_hint(&result), Some(delay));
    }
}

/// Any delay is read exactly, or ignored if it is out of range.
#[test]
fn r4_any_retry_info_is_read_exactly_or_ignored() {
    proptest!(|(seconds in prop_oneof![any::<i64>(), -2..4_i64], nanos: i32)| {
        let is_delay = (0..=315_576_000_000).contains(&seconds) && (0..1_000_000_000).contains(&nanos);
        let verdict = match is_delay {
            true => Verdict::RetryAfter(Duration::new(seconds as u64, nanos as u32)),
            false => Verdict::Retry,
        };
        prop_assert_eq!(verdict_with_details(&encoded(&[delay(seconds, nanos)])), verdict);
    });
    proptest!(|(bytes in proptest::collection::vec(any::<u8>(), 0..64))| {
        verdict_with_details(&BASE64_STANDARD.encode(&bytes));
        let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
        let mut response = answer(200, &[("grpc-status", "14")]);
        response.headers_mut().insert("grpc-status-details-bin", value);
        GrpcHints.read_hint(&Ok::<_, io::Error>(response));
    });
}

/// A message that is too large is `RESOURCE_EXHAUSTED`, too, and no retry makes it smaller.
#[test]
fn r6_code_with_pushback_is_retried_only_with_one() {
    let classify = GrpcClassifier::new().codes_with_pushback([GrpcCode::ResourceExhausted]);
    let details = encoded(&[delay(7, 0)]);
    let status = ("grpc-status", "8");
    for (lines, verdict) in [
        (vec![status], Verdict::Done),
        (vec![status, ("grpc-message", "message too large")], Verdict::Done),
        (vec![status, ("retry-after", "7")], Verdict::RetryAfter(secs(7))),
        (vec![status, ("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "7")], Verdict::Done),
        (vec![status, ("grpc-status-details-bin", "!")], Verdict::Done),
        (vec![status, ("grpc-status-details-bin", &encoded(&[]))], Verdict::Done),
        (vec![status, ("grpc-retry-pushback-ms", "40")], Verdict::RetryExactly(secs(1) / 25)),
        (vec![status, ("grpc-retry-pushback-ms", "-1")], Verdict::Never),
        (vec![status, ("grpc-retry-pushback-ms", "")], Verdict::Never),
        (vec![status, ("grpc-status-details-bin", &details)], Verdict::RetryAfter(secs(7))),
        // Other codes are judged as before.
        (vec![("grpc-status", "14")], Verdict::Retry),
        (vec![("grpc-status", "10"), ("grpc-retry-pushback-ms", "40")], Verdict::Done),
    ] {
        assert_eq!(verdict_of(classify, 200, &lines), verdict, "{lines:?}");
    }
    let both = classify.codes([GrpcCode::ResourceExhausted]);
    assert_eq!(verdict_of(both, 200, &[status]), Verdict::Retry);
    assert!(format!("{both:?}").contains("codes_with_pushback: {ResourceExhausted}"));

    // A proxy's hint is `Retry-After`, and an error has none.
    let classify = GrpcClassifier::new().codes([]).codes_with_pushback([GrpcCode::Unavailable]);
    assert_eq!(verdict_of(classify, 503, &[]), Verdict::Done);
    let lines = [("retry-after", "7")];
    assert_eq!(verdict_of(classify, 503, &lines), Verdict::RetryAfter(secs(7)));
    assert_eq!(verdict_of(classify, 500, &lines), Verdict::Done);
    let error = Err::<Response<()>, _>(io::Error::from(ErrorKind::ConnectionRefused));
    assert_eq!(classify.classify(&Request::new(()), &error), Verdict::Done);
}

#[test]
fn r9_hints_are_read_from_responses_of_grpc_and_proxies() {
    assert_eq!(hint(200, &[]), None);
    assert_eq!(hint(200, &[("grpc-status", "14")]), None);
    assert_eq!(hint(503, &[("retry-after", "7")]), Some(secs(7)));
    assert_eq!(hint(503, &[("retry-after", "7"), ("grpc-status", "14")]), Some(secs(7)));
    assert_eq!(hint(200, &[("retry-after", "7"), ("grpc-status", "5")]), None);
    assert_eq!(hint(200, &[("ratelimit", "p;r=0;t=7")]), None);
    assert_eq!(GrpcHints.read_hint(&Err::<Response<()>, _>(io::Error::other("none"))), None);
}

/// A code given twice is one code, and a copy has the codes of the classifier.
#[test]
fn r6_copied_classifier_retries_the_set_codes() {
    let given = [GrpcCode::DataLoss, GrpcCode::Aborted, GrpcCode::DataLoss];
    let classify = GrpcClassifier::<PlainError>::new().codes(given);
    for classify in [Clone::clone(&classify), classify] {
        let retried = CODES.into_iter().filter(|&code| {
            let number = code.to_string();
            let response = answer(200, &[("grpc-status", &number)]);
            let verdict = classify.classify(&Request::new(()), &Ok::<_, io::Error>(response));
            verdict == Verdict::Retry
        });
        assert_eq!(retried.collect::<Vec<_>>(), [GrpcCode::Aborted, GrpcCode::DataLoss]);
    }
}

/// A single attempt is not stored, so its request is not copied.
#[tokio::test(start_paused = true)]
async fn r7_last_attempt_of_a_call_is_copied_to_store_its_number() {
    for (attempts, copies) in [(1, 0), (2, 2)] {
        let copied = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&copied);
        let clone = move |request: &Request<()>| {
            *counted.lock().unwrap() += 1;
            Some(request.clone())
        };
        let classify = GrpcClassifier::<PlainError>::new();
        let policy = ExponentialRetry::new(attempts).classify(classify).clone_with(clone);
        let unavailable = || answer(200, &[("grpc-status", "14")]);
        let service = ExponentialRetryLayer::new(policy).layer(service_fn(
            move |_: Request<()>| async move { Ok::<_, io::Error>(unavailable()) },
        ));
        let response = service.oneshot(Request::new(())).await.unwrap();
        assert_eq!(Attempts::from_response(&response).get(), attempts);
        assert_eq!(*copied.lock().unwrap(), copies);
    }
}

#[tokio::test(start_paused = true)]
async fn r6_transport_errors_count_as_unavailable() {
    let verdict_of = |codes: &[GrpcCode], error: BoxError| {
        let classify = GrpcClassifier::new().codes(codes.iter().copied());
        classify.classify(&Request::new(()), &Err::<Response<()>, _>(error))
    };
    let io = |kind| BoxError::from(io::Error::from(kind));
    for (kind, retried) in [
        (ErrorKind::ConnectionRefused, true),
        (ErrorKind::ConnectionReset, true),
        (ErrorKind::TimedOut, true),
        (ErrorKind::InvalidData, false),
    ] {
        let verdict = if retried { Verdict::Retry } else { Verdict::Done };
        assert_eq!(verdict_of(&[GrpcCode::Unavailable], io(kind)), verdict);
        assert_eq!(verdict_of(&[GrpcCode::ResourceExhausted], io(kind)), Verdict::Done);
    }

    // Rejections are no transport errors.
    let client = || service_fn(|(): ()| async { Ok::<_, io::Error>(()) });
    let rate = WindowRateLimitLayer::new(1, secs(7)).max_queue(0).layer(client());
    rate.clone().oneshot(()).await.unwrap();
    let error = rate.oneshot(()).await.unwrap_err();
    assert_eq!(verdict_of(&[GrpcCode::Aborted], error), Verdict::RetryAfter(secs(7)));
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(0);
    layer.handle().close().unwrap();
    let error = layer.layer(client()).oneshot(()).await.unwrap_err();
    assert_eq!(verdict_of(&[GrpcCode::Unavailable], error), Verdict::Never);
}

#[tokio::test(start_paused = true)]
async fn r8_calls_carry_earlier_attempts_and_responses_all_attempts() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let logged = Arc::clone(&seen);
    let policy = ExponentialRetry::new(3).classify(GrpcClassifier::new());
    let service =
        ExponentialRetryLayer::new(policy).layer(service_fn(move |request: Request<()>| {
            let mut seen = logged.lock().unwrap();
            let told = request.headers().get("grpc-previous-rpc-attempts");
            seen.push(told.map(|value| value.to_str().unwrap().to_owned()));
            let status = if seen.len() < 3 { "14" } else { "0" };
            let lines = [("grpc-status", status), ("grpc-retry-pushback-ms", "250")];
            std::future::ready(Ok::<_, BoxError>(answer(200, &lines)))
        }));
    let began = now();
    let response = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_millis(500));
    assert_eq!(Attempts::from_response(&response).get(), 3);
    assert_eq!(*seen.lock().unwrap(), [None, Some("1".to_owned()), Some("2".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn r8_call_with_full_headers_is_retried_unchanged() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let logged = Arc::clone(&seen);
    let policy = ExponentialRetry::new(3).classify(GrpcClassifier::new());
    let service =
        ExponentialRetryLayer::new(policy).layer(service_fn(move |request: Request<()>| {
            let mut seen = logged.lock().unwrap();
            seen.push(request.headers().clone());
            let status = if seen.len() < 2 { "14" } else { "0" };
            std::future::ready(Ok::<_, BoxError>(answer(200, &[("grpc-status", status)])))
        }));
    let mut request = Request::new(());
    *request.headers_mut() = full();
    assert_eq!(service.oneshot(request).await.unwrap().headers()["grpc-status"], "0");
    assert_eq!(*seen.lock().unwrap(), [full(), full()]);
}

#[test]
fn c7_code_of_no_failure_is_an_invalid_setting() {
    let wrong = [GrpcCode::Unavailable, GrpcCode::Ok];
    let classify = GrpcClassifier::<BoxedError>::new();
    for (setting, error, panic) in [
        ("codes", classify.try_codes(wrong), catch_unwind(|| classify.codes(wrong))),
        (
            "codes_with_pushback",
            classify.try_codes_with_pushback(wrong),
            catch_unwind(|| classify.codes_with_pushback(wrong)),
        ),
    ] {
        let error = error.unwrap_err();
        let said =
            format!("{setting} is {{Ok, Unavailable}}: it must be codes of failures, without Ok");
        assert_eq!((error.setting(), error.to_string()), (setting, said.clone()));
        assert_eq!(*panic.unwrap_err().downcast::<String>().unwrap(), said);
    }
}

#[allow(clippy::disallowed_methods, reason = "tests look at tokio's clock, too")]
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// A server that is unavailable after 0.9 s, and a call of one second with up to four attempts.
#[tokio::test(start_paused = true)]
async fn r10_call_of_a_second_ends_in_a_second_and_tells_each_attempt_the_rest() {
    for (backoff, attempts, code, ends) in [(50, 2, 4, 1_000), (100, 1, 14, 900)] {
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        let backoff = Duration::from_millis(backoff);
        let policy = ExponentialRetry::new(4)
            .backoff(Backoff::new(backoff, backoff).jitter(Jitter::None))
            .classify(GrpcClassifier::new());
        let channel = ServiceBuilder::new()
            .layer(DeadlineLayer::from_request(GrpcTimeout).reject_with(grpc_rejection))
            .layer(ExponentialRetryLayer::new(policy))
            .map_request(send_grpc_timeout)
            .service(service_fn(move |request: Request<()>| {
                log.lock().unwrap().push(GrpcTimeout.read_deadline(&request).unwrap());
                async {
                    tokio::time::sleep(Duration::from_millis(900)).await;
                    Ok::<_, BoxError>(answer(200, &[("grpc-status", "14")]))
                }
            }));
        let start = now();
        let request = Request::builder().header("grpc-timeout", "1S").body(()).unwrap();
        let response = channel.oneshot(request).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], code.to_string());
        assert_eq!(start.elapsed(), Duration::from_millis(ends));
        let rest = Duration::from_millis(50);
        assert_eq!(*told.lock().unwrap(), [secs(1), rest][..attempts]);
    }
}
