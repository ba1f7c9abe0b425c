//! Parsing of response headers: tables of values in use, and properties of written values.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;
use tower_floodgate::client::HttpHints;

use crate::{hold, secs};

const NOW: u64 = 784_111_777;
/// [`NOW`] in the format of a date.
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const LATER: &str = "Sun, 06 Nov 1994 08:50:00 GMT";

const OK: StatusCode = StatusCode::OK;
const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;

fn at(seconds: u64) -> impl Fn() -> SystemTime {
    move || UNIX_EPOCH + secs(seconds)
}

/// Reads by the default settings.
fn read(status: StatusCode, headers: &HeaderMap, now: impl Fn() -> SystemTime) -> Option<Duration> {
    HttpHints::new().read(status, headers, now)
}

fn retry_after(headers: &HeaderMap, now: impl Fn() -> SystemTime) -> Option<Duration> {
    read(TOO_MANY, headers, now)
}

fn never() -> SystemTime {
    panic!("the clock was asked though it need not be")
}

fn header_map<V: AsRef<[u8]>>(lines: &[(&'static str, V)]) -> HeaderMap {
    let line = |(name, value): &(&'static str, V)| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_ref()).unwrap())
    };
    lines.iter().map(line).collect()
}

/// Checks a property for random cases.
fn holds<S: Strategy>(cases: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    hold::hold(file!(), hold::name_of(&test), cases, |case| test(case).map(|()| 1));
}

#[test]
fn r4_retry_after_is_seconds_or_a_date() {
    for (value, wait) in [
        ("0", Some(secs(0))),
        ("120", Some(secs(120))),
        (" 120\t", Some(secs(120))),
        ("007", Some(secs(7))),
        ("9999999999", Some(secs(9_999_999_999))),
        ("18446744073709551616", Some(secs(u64::MAX))),
        ("99999999999999999999999999999999999999999999999999", Some(secs(u64::MAX))),
        (LATER, Some(secs(23))),
        ("Sunday, 06-Nov-94 08:50:00 GMT", Some(secs(23))),
        ("Sun Nov  6 08:50:00 1994", Some(secs(23))),
        (DATE, Some(secs(0))),
        ("Sun, 06 Nov 1994 08:49:36 GMT", Some(secs(0))),
        ("Thu, 01 Jan 1970 00:00:00 GMT", Some(secs(0))),
        ("", None),
        ("-1", None),
        ("+1", Some(secs(1))),
        ("1.5", Some(Duration::from_millis(1500))),
        ("59.914", Some(Duration::from_millis(59_914))),
        ("2.0", Some(secs(2))),
        ("1e3", Some(secs(1_000))),
        ("1e400", Some(Duration::MAX)),
        ("0x10", None),
        ("1 2", None),
        ("120s", Some(secs(120))),
        ("2 minutes", Some(secs(120))),
        ("soon", None),
        ("\u{661}\u{662}", None),
        ("Sun, 06 Nov 1994 08:50:00 CET", None),
        ("Sun, 31 Feb 1994 25:61:61 GMT", None),
        ("1994-11-06T08:50:00Z", Some(secs(23))),
        // Seconds, unless it is a Unix time of these days.
        ("1000000000", Some(secs(1_000_000_000))),
    ] {
        assert_eq!(retry_after(&header_map(&[("retry-after", value)]), at(NOW)), wait, "{value:?}");
    }
    assert_eq!(retry_after(&HeaderMap::new(), never), None);
}

#[test]
fn r4_longest_of_several_retry_afters_counts() {
    let lines = ["soon", "3", LATER, "7"].map(|value| ("retry-after", value));
    assert_eq!(retry_after(&header_map(&lines), at(NOW)), Some(secs(23)));
    assert_eq!(retry_after(&header_map(&lines[..2]), never), Some(secs(3)));
}

/// The local clock has no effect if the response has a `Date`.
#[test]
fn r4_date_counts_from_the_date_of_the_response() {
    let told = |date| header_map(&[("retry-after", LATER), ("date", date)]);
    assert_eq!(retry_after(&told(DATE), never), Some(secs(23)));
    assert_eq!(retry_after(&told("today"), at(NOW + 3)), Some(secs(20)));
    for date in [
        "1994-11-06T08:49:37Z",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 09:49:37 +0100",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        r#""Sun, 06 Nov 1994 08:49:37 GMT""#,
    ] {
        assert_eq!(retry_after(&told(date), never), Some(secs(23)), "{date}");
    }
    // The earliest of several dates is never early.
    for (dates, wait) in [([DATE, LATER], 23), ([LATER, DATE], 23), (["today", DATE], 23)] {
        let [first, second] = dates.map(|date| ("date", date));
        let headers = header_map(&[("retry-after", LATER), first, second]);
        assert_eq!(retry_after(&headers, never), Some(secs(wait)), "{dates:?}");
    }

    let told = |date| {
        header_map(&[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1700000060"),
            ("date", date),
        ])
    };
    assert_eq!(read(OK, &told("Tue, 14 Nov 2023 22:13:20 GMT"), never), Some(secs(60)));
    assert_eq!(read(OK, &told("today"), at(1_700_000_059)), Some(secs(1)));
}

/// `RateLimit` in its present form and the earlier one.
#[test]
fn r4_longest_reset_of_a_spent_policy_counts() {
    for (lines, ok, too_many) in [
        (&[r#""p";r=0;t=30"#][..], Some(30), Some(30)),
        (&[r#""p";t=30;r=0;pk=:cHNzdA==:"#], Some(30), Some(30)),
        (&["p;r=0;t=30"], Some(30), Some(30)),
        (&[r#""burst";r=0;t=2, "day";r=0;t=70, "year";r=1;t=900"#], Some(70), Some(70)),
        (&[r#""burst";r=0;t=2"#, r#""day";r=0;t=70"#], Some(70), Some(70)),
        (&[r#""p";r=0;t=1;t=2;r=1;r=0"#], Some(2), Some(2)),
        // Something remains, or that is unknown.
        (&[r#""p";r=1;t=30"#], None, None),
        (&[r#""p";t=30"#], None, Some(30)),
        (&[r#""p";r=0"#], None, None),
        (&[r#""p";r=0;t=-30"#], None, None),
        (&[r#""p";r=0.0;t=30.0"#], Some(30), Some(30)),
        (&[r#""p";r=0.5;t=30"#], None, None),
        (&[r#""p";r=none;t=30"#], None, None),
        (&[r#""p";r=-1;t=30"#], None, None),
        (&["limit=9, remaining=none, reset=30"], None, None),
        (&["total=100; remaining=0; resets=49"], Some(49), Some(49)),
        (&["total=100; remaining=7; resets=49"], None, None),
        (&["r=0;t=30"], Some(30), Some(30)),
        (&[r#""p";r=0;t=1;t=never"#], None, None),
        (&[r#"("a" "b");r=0;t=30"#], None, None),
        (&[r#""p";r=0;t=999999999"#], Some(999_999_999), Some(999_999_999)),
        // An unreadable line invalidates all.
        (&[r#""p";r=0;t=9999999999999999"#], None, None),
        (&[r#""p";r=0;t=30,"#], None, None),
        (&[r#""p";r=0;t=30"#, "?"], None, None),
        (&[""], None, None),
        (&["limit=100, remaining=0, reset=30"], Some(30), Some(30)),
        (&["limit=100", "remaining=0", "reset=30;w=9"], Some(30), Some(30)),
        (&["remaining=0, reset=1, reset=2"], Some(2), Some(2)),
        (&["remaining=0, reset=1, reset=(2)"], None, None),
        (&["limit=100, remaining=5, reset=30"], None, None),
        (&["limit=100, reset=30"], None, Some(30)),
        (&["limit=100, remaining=0"], None, None),
        (&["limit=100, remaining=0, reset"], None, None),
        (&["limit=100, remaining=0, reset=30, =", "?"], None, None),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("ratelimit", line)).collect();
        let headers = header_map(&lines);
        assert_eq!(read(OK, &headers, never), ok.map(secs), "{lines:?}");
        assert_eq!(read(TOO_MANY, &headers, never), too_many.map(secs), "{lines:?}");
    }
}

#[test]
fn r4_separate_reset_headers_are_interpreted_by_size() {
    let date = 1_700_000_000;
    let millis = Duration::from_millis;
    for (value, wait) in [
        ("30", Some(secs(30))),
        ("0.064", Some(millis(64))),
        ("1.0000000019", Some(Duration::from_nanos(1_000_000_001))),
        ("999999999", Some(secs(999_999_999))),
        ("1000000000", Some(secs(0))),
        ("1700000030", Some(secs(30))),
        ("1700000030.5", Some(millis(30_500))),
        ("99999999999", Some(secs(99_999_999_999 - date))),
        ("1700000030500", Some(millis(30_500))),
        ("100000000000", Some(secs(0))),
        ("99999999999999", Some(millis(99_999_999_999_999 - date * 1000))),
        ("1700000030500000", Some(millis(30_500))),
        ("1700000030500000000", Some(millis(30_500))),
        ("100000000000000", Some(secs(0))),
        (
            "99999999999999999999999",
            Some(Duration::new(u64::MAX / 1_000_000_000 - date, 709_551_615)),
        ),
        (".5", Some(millis(500))),
        ("5.", Some(secs(5))),
        (".", None),
        ("1.2.3", None),
        ("1.-5", None),
        ("-5", None),
        ("", None),
        ("2023-11-14T22:13:50Z", Some(secs(30))),
    ] {
        for [remaining, reset_at] in [
            ["ratelimit-remaining", "ratelimit-reset"],
            ["x-ratelimit-remaining", "x-ratelimit-reset"],
        ] {
            let headers = header_map(&[(remaining, "0"), (reset_at, value)]);
            assert_eq!(read(OK, &headers, at(date)), wait, "{reset_at}: {value:?}");
        }
    }
    // `Reset-After` is seconds from now.
    let headers = |value| {
        header_map(&[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1700000030"),
            ("x-ratelimit-reset-after", value),
        ])
    };
    assert_eq!(read(OK, &headers("0.65"), at(date)), Some(millis(650)));
    assert_eq!(read(OK, &headers("1200000000.5"), at(date)), Some(millis(1_200_000_000_500)));
    assert_eq!(read(OK, &headers("soon"), at(date)), Some(secs(30)));
}

/// A server that sends a Unix time by mistake: Cloud Foundry and Docker Hub did.
#[test]
fn r4_seconds_that_are_a_time_of_these_days_are_that_time() {
    const DAY: u64 = 24 * 60 * 60;
    let now = 1_700_000_000;
    for (value, wait) in [
        (now + 30, 30),
        (now, 0),
        (now - DAY, 0),
        (now - DAY - 1, now - DAY - 1),
        (now + 366 * DAY, 366 * DAY),
        (now + 366 * DAY + 1, now + 366 * DAY + 1),
        (999_999_999, 999_999_999),
    ] {
        for name in ["retry-after", "x-retry-after", "x-sentry-rate-limits"] {
            let headers = header_map(&[(name, value.to_string())]);
            assert_eq!(read(TOO_MANY, &headers, at(now)), Some(secs(wait)), "{name}: {value}");
        }
        for policy in [format!("p;r=0;t={value}"), format!("limit=9, remaining=0, reset={value}")] {
            let headers = header_map(&[("ratelimit", policy)]);
            assert_eq!(read(OK, &headers, at(now)), Some(secs(wait)), "{value}");
        }
    }
    // In finer units.
    let wait = Some(Duration::from_millis(30_500));
    for value in ["1700000030500", "1700000030500000", "1700000030500000000"] {
        let headers = header_map(&[("retry-after", value)]);
        assert_eq!(retry_after(&headers, at(now)), wait, "{value}");
    }
    let headers = header_map(&[("ratelimit", "p;r=0;t=1700000030500")]);
    assert_eq!(read(OK, &headers, at(now)), wait);
}

#[test]
fn r4_reset_counts_if_nothing_remains() {
    for (remaining, ok, too_many) in [
        (&["0"][..], true, true),
        (&["00"], true, true),
        (&["7", "0"], true, true),
        (&["1"], false, false),
        (&["99999999999999999999"], false, false),
        (&["0.5"], false, false),
        (&["598.0"], false, false),
        (&["0.0"], true, true),
        (&["0, 5"], true, true),
        (&["5, 0;w=60"], true, true),
        (&["76;w=21600"], false, false),
        (&["0;w=21600"], true, true),
        // Absent.
        (&[], false, true),
        // Unreadable.
        (&["-1"], false, false),
        (&["none"], false, false),
        (&[""], false, false),
        (&["5, none"], false, false),
        (&["5", "none"], false, false),
    ] {
        for prefix in ["", "x-"] {
            let (name, reset_at) = match prefix {
                "" => ("ratelimit-remaining", "ratelimit-reset"),
                _ => ("x-ratelimit-remaining", "x-ratelimit-reset"),
            };
            let mut lines: Vec<_> = remaining.iter().map(|value| (name, *value)).collect();
            lines.extend([(reset_at, "9"), (reset_at, "30")]);
            let headers = header_map(&lines);
            for (status, counts) in [
                (OK, ok),
                (StatusCode::INTERNAL_SERVER_ERROR, ok),
                (TOO_MANY, too_many),
                (StatusCode::SERVICE_UNAVAILABLE, too_many),
            ] {
                assert_eq!(read(status, &headers, never), counts.then(|| secs(30)), "{lines:?}");
            }
        }
    }
}

/// Of different demands, the longest counts; of two headers for the same, the more precise one.
#[test]
fn r4_demands_count_by_precedence() {
    const SPENT: (&str, &str) = ("x-ratelimit-remaining", "0");
    for (lines, wait) in [
        (&[("retry-after", "1"), SPENT, ("x-ratelimit-reset", "30")][..], 30_000),
        (&[("retry-after", "40"), SPENT, ("x-ratelimit-reset", "30")], 40_000),
        (&[("ratelimit", "p;r=0;t=9"), SPENT, ("x-ratelimit-reset", "30")], 30_000),
        (&[("ratelimit", "p;r=0;t=9"), ("x-ratelimit-reset", "30")], 30_000),
        (&[("ratelimit", "p;r=0;t=50"), SPENT, ("x-ratelimit-reset", "30")], 50_000),
        // A reset without a rest explains nothing beside a `Retry-After`.
        (&[("retry-after", "1"), ("x-ratelimit-reset", "30")], 1_000),
        // The same demand.
        (&[("retry-after", "1"), ("retry-after-ms", "412")], 412),
        (&[("retry-after-ms", "412"), ("retry-after", "30")], 412),
        (&[("retry-after-ms", "soon"), ("retry-after", "9")], 9_000),
        (&[("retry-after", "1"), ("x-ms-retry-after-ms", "9500")], 9_500),
        (&[SPENT, ("x-ratelimit-reset", "9"), ("x-ratelimit-reset-after", "8.5")], 8_500),
        (&[SPENT, ("x-ratelimit-reset", "9"), ("x-ratelimit-reset-ms", "8500")], 8_500),
        (&[SPENT, ("x-ratelimit-reset", "9"), ("x-ratelimit-reset-after", "")], 9_000),
        // Only quotas that are spent.
        (
            &[
                ("x-ratelimit-remaining-requests", "7"),
                ("x-ratelimit-reset-requests", "1h"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "6m0s"),
                ("x-ratelimit-remaining-images", "0"),
                ("x-ratelimit-reset-images", "2ms"),
                ("x-ratelimit-remaining-words", "?"),
                ("x-ratelimit-reset-words", "2h"),
            ],
            360_000,
        ),
    ] {
        let headers = header_map(lines);
        let wait = Duration::from_millis(wait);
        assert_eq!(read(TOO_MANY, &headers, never), Some(wait), "{lines:?}");
    }
}

/// On a 429, the value 2000 of one header.
#[test]
fn r4_names_are_understood_by_their_words() {
    let wait = |name: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::from_static("2000"));
        read(TOO_MANY, &headers, never)
    };
    for name in [
        "retry-after",
        "x-retry-after",
        "x-ratelimit-retry-after",
        "x-ratelimit-retry-after-seconds",
        "x-retry-in",
        "http_retry_after",
        "x-ratelimit-after",
        "x-rate-limit-after-seconds",
        "ratelimit-reset",
        "x-ratelimit-reset",
        "x-rate-limit-reset",
        "x-ratelimit-reset-after",
        "x-ratelimit-reset-in",
        "x-ratelimit-resets",
        "x-ratelimit-resets-in-seconds",
        "x-ratelimit-reset-at",
        "x-ratelimit-reset-time",
        "x-ratelimit-resettime",
        "x-ratelimit-reset-tokens",
        "x-ratelimit-reset-minute",
        "x-ratelimit-tokens-reset",
        "x-ratelimit-userreset",
        "x-ratelimit-next",
        "x-acme-quota-reset",
        "x-app-limit-24hour-reset",
        "http_x_ratelimit_reset",
        "x-sentry-rate-limits",
    ] {
        assert_eq!(wait(name), Some(secs(2_000)), "{name}");
    }
    for name in [
        "retry-after-ms",
        "x-ms-retry-after-ms",
        "x-retry-after-millis",
        "x-amz-retry-after",
        "x-ratelimit-after-ms",
        "x-ratelimit-reset-ms",
        "x-ratelimit-reset-after-ms",
        "x-ratelimit-reset-tokens-ms",
        "x-ratelimit-resets-in-milliseconds",
        "x_ratelimit_reset_ms",
        "x-rate-limit-time-reset-ms",
        "gw-ratelimit-reset",
    ] {
        assert_eq!(wait(name), Some(secs(2)), "{name}");
    }
    for (name, expected) in [
        ("retry-after-us", Duration::from_millis(2)),
        ("x-ratelimit-reset-microseconds", Duration::from_millis(2)),
        ("retry-after-hours", secs(2_000 * 3_600)),
        ("x-ratelimit-reset-hours", secs(2_000 * 3_600)),
        ("x-ratelimit-reset-in-hours", secs(2_000 * 3_600)),
    ] {
        assert_eq!(wait(name), Some(expected), "{name}");
    }
    assert_eq!(wait("x-ratelimit-reset-minutes"), Some(secs(120_000)));
    for name in [
        "retry-after-policy",
        "x-retry-interval",
        "x-ratelimit-after-burst",
        "x-limited-after",
        "x-retry-count",
        "retry",
        "x-should-retry",
        "x-password-reset",
        "x-preset-limit",
        "x-next-limit-context",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-used",
        "ratelimit",
        "ratelimit-policy",
        "content-length",
        "x",
    ] {
        assert_eq!(wait(name), None, "{name}");
    }
}

/// Behind text of the same letters, which the search has to skip.
#[test]
fn r4_words_of_a_name_are_found_anywhere() {
    let letters = proptest::sample::select(b"limtquoaery-".to_vec());
    let words = proptest::sample::select(vec!["", "retry", "limit", "quota-", "retry-"]);
    holds((proptest::collection::vec(letters, 0..16), words), |(mut prefix, word)| {
        prefix.extend(word.bytes());
        let prefix = String::from_utf8(prefix).unwrap();
        for word in ["limit-reset", "quota-reset", "retry-after"] {
            let name = HeaderName::try_from(format!("{prefix}{word}")).unwrap();
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static("2000"))]);
            prop_assert_eq!(read(TOO_MANY, &headers, never), Some(secs(2_000)), "{}", prefix);
        }
        Ok(())
    });
}

/// The headers for rest and reset may have names of different lengths.
#[test]
fn r4_reset_is_explained_by_the_rest_of_a_related_quota() {
    for (remaining, reset, related) in [
        ("x-ratelimit-remaining-second", "x-ratelimit-reset", true),
        ("x-ratelimit-second-remaining", "x-ratelimit-reset", true),
        ("x-ratelimit-remaining", "x-ratelimit-reset-second", true),
        ("x-ratelimit-remaining", "x-ratelimit-second-reset", true),
        ("x-ratelimit-remaining-day", "x-ratelimit-reset-second", false),
        ("x-ratelimit-remaining", "x-rate-limit-reset", true),
        ("ratelimit-remaining", "x-ratelimit-reset", true),
        ("x-ratelimit-remaining-tokens", "x-ratelimit-tokens-reset", true),
        ("x-rate-limit-tokens-remaining", "ratelimit-reset-tokens", true),
        ("x-ratelimit-user-remaining", "x-ratelimit-users-reset", false),
        ("x-app-limit-remaining", "x-ratelimit-reset", false),
        ("x-ratelimit-remaining", "x-quota-reset", false),
    ] {
        let counts = |status, rest| {
            let headers = header_map(&[(remaining, rest), (reset, "30")]);
            read(status, &headers, never) == Some(secs(30))
        };
        assert_eq!(counts(OK, "0"), related, "{remaining} {reset}");
        assert!(!counts(OK, "1") && !counts(OK, "?"), "{remaining} {reset}");
        // Unrelated, it is absent.
        assert!(counts(TOO_MANY, "0"), "{remaining} {reset}");
        assert_eq!(counts(TOO_MANY, "1"), !related, "{remaining} {reset}");
        assert_eq!(counts(TOO_MANY, "?"), !related, "{remaining} {reset}");
    }
}

/// Of a header of any dialect that reads a time.
#[test]
fn r4_values_are_numbers_durations_and_dates() {
    let millis = Duration::from_millis;
    for (value, wait) in [
        ("30", Some(secs(30))),
        ("30;w=60", Some(secs(30))),
        ("30, 40", Some(secs(40))),
        ("soon, 40", Some(secs(40))),
        ("6m0s", Some(secs(360))),
        ("1h2m3.5s", Some(millis(3_723_500))),
        ("1d2h", Some(secs(26 * 3600))),
        ("6ms", Some(millis(6))),
        ("59.99999999999999s", Some(Duration::from_nanos(59_999_999_999))),
        ("500us", Some(Duration::from_micros(500))),
        ("500\u{b5}s", Some(Duration::from_micros(500))),
        ("7ns", Some(Duration::from_nanos(7))),
        ("30 seconds", Some(secs(30))),
        ("1 Minute 30 Seconds", Some(secs(90))),
        ("2m 30s", Some(secs(150))),
        ("00:00:03", Some(secs(3))),
        ("01:02:03.5", Some(millis(3_723_500))),
        ("99999999999999999999h", Some(Duration::new(u64::MAX, 999_999_999))),
        ("2023-11-14T22:13:50Z", Some(secs(30))),
        ("2023-11-14t22:13:50.5z", Some(millis(30_500))),
        ("2023-11-14T23:13:50+01:00", Some(secs(30))),
        ("2023-11-14T17:13:50-0500", Some(secs(30))),
        ("2023-11-14T22:14Z", Some(secs(40))),
        ("2023-11-14 22:13:50", Some(secs(30))),
        ("2023-11-14 22:13:50 UTC", Some(secs(30))),
        ("2023-11-14 22:13:50 +0000 UTC", Some(secs(30))),
        ("2023-11-15 00:13:50 +0200", Some(secs(30))),
        ("Tue, 14 Nov 2023 22:13:50 GMT", Some(secs(30))),
        ("Tue, 14 Nov 2023 22:13:50 UTC", Some(secs(30))),
        ("Tue, 14 Nov 2023 23:13:50 +0100", Some(secs(30))),
        ("Tuesday, 14-Nov-23 22:13:50 GMT", Some(secs(30))),
        ("Tue Nov 14 22:13:50 2023", Some(secs(30))),
        ("Tue, 14 Nov 2023 22:13:50 GMT, Tue, 14 Nov 2023 22:14:00 GMT", Some(secs(40))),
        ("Tue, 14 Nov 2023 22:13:50 GMT, 40", Some(secs(40))),
        ("Tue Nov 14 2023 23:13:50 GMT+0100 (Central European Standard Time)", Some(secs(30))),
        ("Tue Nov 14 2023 22:13:50 GMT+0000", Some(secs(30))),
        ("1969-12-31T23:59:59Z", Some(secs(0))),
        ("9999-12-31T23:59:59Z", Some(secs(253_402_300_799 - 1_700_000_000))),
        // As languages write numbers, durations and dates.
        ("+30", Some(secs(30))),
        (r#""30""#, Some(secs(30))),
        ("1.70000003e+09", Some(secs(30))),
        ("25E-2", Some(millis(250))),
        ("PT30S", Some(secs(30))),
        ("PT1H2M3.5S", Some(millis(3_723_500))),
        ("P1DT1H", Some(secs(25 * 3600))),
        ("P1W", Some(secs(7 * 24 * 3600))),
        ("1w", Some(secs(7 * 24 * 3600))),
        ("1.02:03:04", Some(secs(93_784))),
        ("1 day, 2:03:04", Some(secs(93_784))),
        ("2 days, 2:03:04.5, 7", Some(millis(180_184_500))),
        ("1 day 02:03:04", Some(secs(93_784))),
        ("7, 1 day", Some(secs(24 * 3600))),
        (r#""2023-11-14T22:13:50Z""#, Some(secs(30))),
        (r#""Tue, 14 Nov 2023 22:13:50 GMT""#, Some(secs(30))),
        ("tue, 14 nov 2023 22:13:50 gmt", Some(secs(30))),
        ("Tue, 14 Nov 2023 22:13:50", Some(secs(30))),
        ("14 Nov 2023 22:13:50 GMT", Some(secs(30))),
        ("Tue 14 Nov 2023 22:13:50 GMT", Some(secs(30))),
        ("Tue, 14 Nov 2023 22:14 GMT", Some(secs(40))),
        ("Tuesday, 14 Nov 2023 22:13:50 GMT", Some(secs(30))),
        ("Tue, 14-Nov-23 22:13:50 GMT", Some(secs(30))),
        ("Tue, 14 Nov 23 22:13:50 GMT", Some(secs(30))),
        ("Tue, 14 Nov 23 23:13:50 +0100", Some(secs(30))),
        ("14 November 2023 22:13:50 GMT", None),
        ("Mon, 14 Nov 94 22:13:50 GMT", Some(secs(0))),
        ("Wed, 15 Nov 2023 2:13:20 GMT", Some(secs(4 * 3600))),
        ("23-11-14 22:13:50", None),
        ("Tuesday, 14-Nov-2023 22:13:50 GMT", Some(secs(30))),
        ("Tue Nov 14 22:13:50 UTC 2023", Some(secs(30))),
        ("Tue Nov 14 22:13:50 +0000 2023", Some(secs(30))),
        ("2023-11-14 22:13:50.5 +0000 UTC", Some(millis(30_500))),
        ("2023-11-14 22:13:50.5 +0000 UTC m=+0.5", Some(millis(30_500))),
        // Of a wrong day of the week.
        ("Mon, 14 Nov 2023 22:13:50 GMT", Some(secs(30))),
        // Leap seconds.
        ("Tue, 14 Nov 2023 22:13:60 GMT", Some(secs(40))),
        ("Tuesday, 14-Nov-23 22:13:60 GMT", Some(secs(40))),
        ("Tue Nov 14 22:13:60 2023", Some(secs(40))),
        ("2023-11-14T22:13:60Z", Some(secs(40))),
        ("2023-11-14 22:13:60 +0000 UTC", Some(secs(40))),
        // Unreadable.
        ("", None),
        (",", None),
        (r#"""#, None),
        ("+-30", None),
        ("1e", None),
        ("e3", None),
        ("-1e3", None),
        ("P1M", None),
        ("P1Y", None),
        ("PT", None),
        ("P", None),
        ("1.x:03:04", None),
        ("1 day, soon", Some(secs(24 * 3600))),
        ("30 apples", None),
        ("30 s s", None),
        ("-5s", None),
        ("6m0", None),
        ("00:03", None),
        ("2023-13-14T22:13:50Z", None),
        ("2023-11-14T25:13:50Z", None),
        ("Tue, 14 Nov 2023 22:13:50 CET", None),
        ("Mon", None),
    ] {
        for (name, status) in [("retry-after", TOO_MANY), ("x-ratelimit-reset", OK)] {
            let headers = header_map(&[("x-ratelimit-remaining", "0"), (name, value)]);
            assert_eq!(read(status, &headers, at(1_700_000_000)), wait, "{name}: {value:?}");
        }
    }
}

/// `Age` says how long ago a stored response was sent, and moves dates, but not seconds from now.
#[test]
fn r4_age_of_a_stored_response_moves_its_dates() {
    const DATE: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    const LATER: &str = "Tue, 14 Nov 2023 22:15:20 GMT";
    for (age, value, wait) in [
        ("110", LATER, 10),
        ("110", "2023-11-14T22:15:20Z", 10),
        ("110", "1700000120", 10),
        ("110", "120", 120),
        ("110", "2m", 120),
        ("999999999999999999999", LATER, 0),
        ("0", LATER, 120),
        ("old", LATER, 120),
        ("-5", LATER, 120),
    ] {
        let lines = [("date", DATE), ("age", age), ("retry-after", value)];
        assert_eq!(retry_after(&header_map(&lines), never), Some(secs(wait)), "{age} {value}");
    }
    // Without a `Date`, the local clock has the present time.
    let lines = [("age", "110"), ("retry-after", LATER)];
    assert_eq!(retry_after(&header_map(&lines), at(1_700_000_000)), Some(secs(120)));
}

/// Memory is bounded, and the first quotas count.
#[test]
fn r4_sixteen_quotas_of_a_response_are_read() {
    let spent = |number: u32| {
        let names =
            [format!("x-ratelimit-remaining-{number}"), format!("x-ratelimit-reset-{number}")];
        names.into_iter().zip(["0".to_owned(), number.to_string()])
    };
    for (quotas, longest) in [(1, 1), (15, 15), (16, 16), (40, 16)] {
        let lines = (1..=quotas).flat_map(spent);
        let headers: HeaderMap = lines
            .map(|(name, value)| (HeaderName::try_from(name).unwrap(), value.parse().unwrap()))
            .collect();
        // A header map keeps the order of insertion.
        assert_eq!(read(OK, &headers, never), Some(secs(longest)), "{quotas}");
    }
}

const NAMES: [&str; 14] = [
    "retry-after",
    "retry-after-ms",
    "x-sentry-rate-limits",
    "x-should-retry",
    "age",
    "zendesk-ratelimit-tickets",
    "x-rate-limit-reset-tokens-ms",
    "date",
    "ratelimit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "x-ratelimit-remaining",
    "x-ratelimit-reset-after",
    "x-ratelimit-reset",
];

/// Arbitrary header values, and nearly valid ones.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let part = proptest::sample::select(vec![
        "0",
        "9",
        "1700000000",
        "99999999999999999999",
        "-",
        ".",
        ";r=",
        ";t=",
        "reset=",
        "limit=1",
        "remaining=0",
        ", ",
        "\"p\"",
        "(",
        ")",
        "\\",
        ":aGk=:",
        "@1",
        "?1",
        "%\"",
        " ",
        "Sun, ",
        "06 Nov 1994 ",
        "08:49:37 ",
        "GMT",
        "1994-11-06T08:49",
        "+00:00",
        "6m",
        "s",
        ":",
        ";w=1",
        "31 Dec 9999 ",
        "23:59:60 ",
    ]);
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat().into_bytes()),
        (any::<u64>(), 0..64_u32).prop_map(|(number, by)| (number >> by).to_string().into_bytes()),
    ]
}

/// No header value causes a panic or an overflow, and equal clocks give equal results.
#[test]
fn r4_arbitrary_headers_never_panic() {
    let lines =
        proptest::collection::vec((proptest::sample::select(NAMES.to_vec()), value()), 0..9);
    holds((lines, any::<u32>(), any::<bool>()), |(lines, now, spent)| {
        let mut headers = HeaderMap::new();
        for (name, value) in &lines {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(*name, value);
            }
        }
        if spent {
            headers.insert("x-ratelimit-remaining", HeaderValue::from_static("0"));
        }
        let now = at(now.into());
        for status in [OK, TOO_MANY] {
            // Reading again gives the same.
            prop_assert_eq!(read(status, &headers, &now), read(status, &headers, &now));
        }
        // No header, no hint.
        if !headers.keys().any(|name| name.as_str().contains("r")) {
            prop_assert_eq!(read(TOO_MANY, &headers, &now), None);
        }
        Ok(())
    });
}

#[test]
fn r4_written_seconds_are_read_back() {
    // Longer waits than 31 years may be Unix times.
    holds((0..1_000_000_000_u64, 0..30_u32, 0..4_usize), |(number, by, zeros)| {
        let number = number >> by;
        let headers = header_map(&[("retry-after", format!("{}{number}", "0".repeat(zeros)))]);
        prop_assert_eq!(retry_after(&headers, never), Some(secs(number)));
        Ok(())
    });
}

#[test]
fn r4_written_dates_are_read_back() {
    // From 1970 to 9999.
    let time = 0..253_402_300_800_u64;
    holds((time.clone(), time), |(until, date)| {
        let written = |time| httpdate::fmt_http_date(UNIX_EPOCH + secs(time));
        let mut lines = vec![("retry-after", written(until))];
        let wait = Some(secs(until.saturating_sub(date)));
        prop_assert_eq!(retry_after(&header_map(&lines), at(date)), wait);
        lines.push(("date", written(date)));
        prop_assert_eq!(retry_after(&header_map(&lines), never), wait);
        Ok(())
    });
}

#[test]
fn r4_decimals_are_read_to_the_nanosecond() {
    let one = (0..1_000_000_000_u64, 0..1_000_000_000_u32, 1..12_usize);
    holds(one, |(seconds, nanos, places)| {
        let fraction = format!("{nanos:09}00");
        let headers = header_map(&[
            ("x-ratelimit-remaining", "0".to_owned()),
            ("x-ratelimit-reset", format!("{seconds}.{}", &fraction[..places])),
        ]);
        let unit = 10_u32.pow(9 - u32::try_from(places.min(9)).unwrap());
        let wait = Duration::new(seconds, nanos / unit * unit);
        prop_assert_eq!(read(OK, &headers, never), Some(wait));
        Ok(())
    });
}

#[test]
fn r4_written_unix_times_are_read_back() {
    // From 2001 to 5138.
    let time = 1_000_000_000_000..100_000_000_000_000_u64;
    holds((time, 0..100_000_000_000_u64), |(until, now)| {
        let headers = |value: String| {
            header_map(&[("x-ratelimit-remaining", "0".to_owned()), ("x-ratelimit-reset", value)])
        };
        let wait = |until: u64| Some(Duration::from_millis(until.saturating_sub(now * 1000)));
        prop_assert_eq!(read(OK, &headers(until.to_string()), at(now)), wait(until));
        let (seconds, rest) = (until / 1000, until % 1000);
        prop_assert_eq!(read(OK, &headers(seconds.to_string()), at(now)), wait(until - rest));
        let decimal = headers(format!("{seconds}.{rest:03}"));
        prop_assert_eq!(read(OK, &decimal, at(now)), wait(until));
        Ok(())
    });
}

#[test]
fn r4_written_policies_are_read_back() {
    let number = || proptest::option::of(prop_oneof![Just(0), 0..1_000_000_000_u64]);
    let policies = proptest::collection::vec((number(), number(), any::<bool>()), 1..6);
    holds((policies, any::<bool>()), |(policies, in_one_line)| {
        let written: Vec<String> = policies
            .iter()
            .map(|(remaining, reset, swapped)| {
                let remaining = remaining.map_or(String::new(), |number| format!(";r={number}"));
                let reset = reset.map_or(String::new(), |number| format!(";t={number}"));
                if *swapped {
                    format!("\"p\";q=5{reset};w=60{remaining}")
                } else {
                    format!("p{remaining}{reset}")
                }
            })
            .collect();
        let lines = if in_one_line { vec![written.join(", ")] } else { written };
        let lines: Vec<_> = lines.into_iter().map(|line| ("ratelimit", line)).collect();
        let headers = header_map(&lines);
        let longest = |unknown| {
            let spent =
                policies.iter().filter(|(remaining, ..)| remaining.map_or(unknown, |r| r == 0));
            spent.filter_map(|(_, reset, _)| *reset).max().map(secs)
        };
        prop_assert_eq!(read(OK, &headers, never), longest(false));
        prop_assert_eq!(read(TOO_MANY, &headers, never), longest(true));

        // The earlier form holds one policy.
        let (remaining, until, _) = policies[0];
        let mut entries = vec!["limit=100".to_owned()];
        entries.extend(remaining.map(|number| format!("remaining={number}")));
        entries.extend(until.map(|number| format!("reset={number}")));
        let headers = header_map(&[("ratelimit", entries.join(", "))]);
        let counts = |unknown| until.filter(|_| remaining.map_or(unknown, |r| r == 0)).map(secs);
        prop_assert_eq!(read(OK, &headers, never), counts(false));
        prop_assert_eq!(read(TOO_MANY, &headers, never), counts(true));
        Ok(())
    });
}
