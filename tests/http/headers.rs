//! Parsing of response headers: tables of values in use, and properties of written values.

#[path = "../support/hold.rs"]
mod hold;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;
use tower_floodgate::client::{parse_rate_limit_reset, parse_retry_after};

use crate::secs;

const NOW: u64 = 784_111_777;
/// [`NOW`] in the format of a date.
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const LATER: &str = "Sun, 06 Nov 1994 08:50:00 GMT";

const OK: StatusCode = StatusCode::OK;
const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;

fn at(seconds: u64) -> impl Fn() -> SystemTime {
    move || UNIX_EPOCH + secs(seconds)
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
        ("+1", None),
        ("1.5", None),
        ("1e3", None),
        ("0x10", None),
        ("1 2", None),
        ("120s", None),
        ("soon", None),
        ("\u{661}\u{662}", None),
        ("Sun, 06 Nov 1994 08:50:00 CET", None),
        ("Sun, 31 Feb 1994 25:61:61 GMT", None),
        ("2026-01-01T00:00:00Z", None),
    ] {
        assert_eq!(
            parse_retry_after(&header_map(&[("retry-after", value)]), at(NOW)),
            wait,
            "{value:?}"
        );
    }
    assert_eq!(parse_retry_after(&HeaderMap::new(), never), None);
}

#[test]
fn r4_longest_of_several_retry_afters_counts() {
    let lines = ["soon", "3", LATER, "7"].map(|value| ("retry-after", value));
    assert_eq!(parse_retry_after(&header_map(&lines), at(NOW)), Some(secs(23)));
    assert_eq!(parse_retry_after(&header_map(&lines[..2]), never), Some(secs(3)));
}

/// The local clock has no effect if the response has a `Date`.
#[test]
fn r4_date_counts_from_the_date_of_the_response() {
    let told = |date| header_map(&[("retry-after", LATER), ("date", date)]);
    assert_eq!(parse_retry_after(&told(DATE), never), Some(secs(23)));
    assert_eq!(parse_retry_after(&told("today"), at(NOW + 3)), Some(secs(20)));

    let told = |date| {
        header_map(&[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1700000060"),
            ("date", date),
        ])
    };
    assert_eq!(
        parse_rate_limit_reset(OK, &told("Tue, 14 Nov 2023 22:13:20 GMT"), never),
        Some(secs(60))
    );
    assert_eq!(parse_rate_limit_reset(OK, &told("today"), at(1_700_000_059)), Some(secs(1)));
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
        (&[r#""p";r=0;t=3.5"#], None, None),
        (&[r#""p";r=0;t=1;t=never"#], None, None),
        (&[r#"("a" "b");r=0;t=30"#], None, None),
        (&[r#""p";r=0;t=999999999999999"#], Some(999_999_999_999_999), Some(999_999_999_999_999)),
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
        assert_eq!(parse_rate_limit_reset(OK, &headers, never), ok.map(secs), "{lines:?}");
        assert_eq!(
            parse_rate_limit_reset(TOO_MANY, &headers, never),
            too_many.map(secs),
            "{lines:?}"
        );
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
        ("100000000000000", None),
        ("18446744073709551616.9999999999", None),
        ("1700000000000000000", None),
        (".5", None),
        ("5.", None),
        (".", None),
        ("1.2.3", None),
        ("1.-5", None),
        ("-5", None),
        ("", None),
        ("2026-01-01T00:00:00Z", None),
    ] {
        for [remaining, reset_at] in [
            ["ratelimit-remaining", "ratelimit-reset"],
            ["x-ratelimit-remaining", "x-ratelimit-reset"],
        ] {
            let headers = header_map(&[(remaining, "0"), (reset_at, value)]);
            assert_eq!(
                parse_rate_limit_reset(OK, &headers, at(date)),
                wait,
                "{reset_at}: {value:?}"
            );
        }
    }
    // `Reset-After` is never a date.
    let headers = |value| {
        header_map(&[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1700000030"),
            ("x-ratelimit-reset-after", value),
        ])
    };
    assert_eq!(
        parse_rate_limit_reset(OK, &headers("1700000030.5"), never),
        Some(millis(1_700_000_030_500))
    );
    assert_eq!(parse_rate_limit_reset(OK, &headers("soon"), at(date)), Some(secs(30)));
}

#[test]
fn r4_reset_counts_if_nothing_remains() {
    for (remaining, ok, too_many) in [
        (&["0"][..], true, true),
        (&["00"], true, true),
        (&["7", "0"], true, true),
        (&["1"], false, false),
        (&["99999999999999999999"], false, false),
        // Unknown.
        (&[], false, true),
        (&["-1"], false, true),
        (&["none"], false, true),
        (&["0.5"], false, true),
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
                assert_eq!(
                    parse_rate_limit_reset(status, &headers, never),
                    counts.then(|| secs(30)),
                    "{lines:?}"
                );
            }
        }
    }
}

#[test]
fn r4_first_header_kind_with_a_reset_counts() {
    let mut lines = vec![
        ("ratelimit", r#""p";r=0;t=1"#),
        ("ratelimit-remaining", "0"),
        ("ratelimit-reset", "2"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset-after", "3"),
        ("x-ratelimit-reset", "4"),
    ];
    assert_eq!(parse_rate_limit_reset(OK, &header_map(&lines), never), Some(secs(1)));
    lines[0].1 = r#""p";r=1;t=1"#;
    assert_eq!(parse_rate_limit_reset(OK, &header_map(&lines), never), Some(secs(2)));
    lines[1].1 = "1";
    assert_eq!(parse_rate_limit_reset(OK, &header_map(&lines), never), Some(secs(3)));
    lines[4].1 = "";
    assert_eq!(parse_rate_limit_reset(OK, &header_map(&lines), never), Some(secs(4)));
}

const NAMES: [&str; 8] = [
    "retry-after",
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
            prop_assert_eq!(
                parse_rate_limit_reset(status, &headers, &now),
                parse_rate_limit_reset(status, &headers, &now)
            );
            prop_assert_eq!(parse_retry_after(&headers, &now), parse_retry_after(&headers, &now));
        }
        // No header, no hint.
        if !headers.contains_key("retry-after") {
            prop_assert_eq!(parse_retry_after(&headers, &now), None);
        }
        if !headers.keys().any(|name| name.as_str().contains("ratelimit")) {
            prop_assert_eq!(parse_rate_limit_reset(TOO_MANY, &headers, &now), None);
        }
        Ok(())
    });
}

#[test]
fn r4_written_seconds_are_read_back() {
    holds((any::<u128>(), 0..128_u32, 0..4_usize), |(number, by, zeros)| {
        let number = number >> by;
        let headers = header_map(&[("retry-after", format!("{}{number}", "0".repeat(zeros)))]);
        let seconds = u64::try_from(number).unwrap_or(u64::MAX);
        prop_assert_eq!(parse_retry_after(&headers, never), Some(secs(seconds)));
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
        prop_assert_eq!(parse_retry_after(&header_map(&lines), at(date)), wait);
        lines.push(("date", written(date)));
        prop_assert_eq!(parse_retry_after(&header_map(&lines), never), wait);
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
        prop_assert_eq!(parse_rate_limit_reset(OK, &headers, never), Some(wait));
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
        prop_assert_eq!(
            parse_rate_limit_reset(OK, &headers(until.to_string()), at(now)),
            wait(until)
        );
        let (seconds, rest) = (until / 1000, until % 1000);
        prop_assert_eq!(
            parse_rate_limit_reset(OK, &headers(seconds.to_string()), at(now)),
            wait(until - rest)
        );
        let decimal = headers(format!("{seconds}.{rest:03}"));
        prop_assert_eq!(parse_rate_limit_reset(OK, &decimal, at(now)), wait(until));
        Ok(())
    });
}

#[test]
fn r4_written_policies_are_read_back() {
    let number = || proptest::option::of(prop_oneof![Just(0), 0..1_000_000_000_000_000_u64]);
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
        prop_assert_eq!(parse_rate_limit_reset(OK, &headers, never), longest(false));
        prop_assert_eq!(parse_rate_limit_reset(TOO_MANY, &headers, never), longest(true));

        // The earlier form holds one policy.
        let (remaining, until, _) = policies[0];
        let mut entries = vec!["limit=100".to_owned()];
        entries.extend(remaining.map(|number| format!("remaining={number}")));
        entries.extend(until.map(|number| format!("reset={number}")));
        let headers = header_map(&[("ratelimit", entries.join(", "))]);
        let counts = |unknown| until.filter(|_| remaining.map_or(unknown, |r| r == 0)).map(secs);
        prop_assert_eq!(parse_rate_limit_reset(OK, &headers, never), counts(false));
        prop_assert_eq!(parse_rate_limit_reset(TOO_MANY, &headers, never), counts(true));
        Ok(())
    });
}
