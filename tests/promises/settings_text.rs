//! Settings as text: read, written back, and reported where they are wrong.

use std::time::Duration;

use proptest::prelude::*;
use tower_floodgate::{ParseQuotaError, Quota, Quotas};

use crate::{
    hold::{hold, name_of},
    support::{ms, secs},
};

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

fn quota(text: &str) -> Quota {
    text.parse().unwrap_or_else(|error: ParseQuotaError| panic!("{error:#}"))
}

/// Tries random cases.
fn always<S: Strategy>(cases: S, test: impl Fn(S::Value) -> Result<usize, TestCaseError>) {
    hold(file!(), name_of(&test), cases, &test);
}

pub(crate) fn windows() -> impl Strategy<Value = Duration> {
    let nanos = prop_oneof![
        1..=u64::try_from(CENTURY.as_nanos()).unwrap(),
        1..2_000_000_000_u64,
        (1..100_000_u64).prop_map(|secs| secs * 1_000_000_000),
    ];
    nanos.prop_map(Duration::from_nanos)
}

pub(crate) fn quotas() -> impl Strategy<Value = Quota> {
    (1..1_u32 << 31, windows()).prop_map(|(limit, window)| Quota::new(limit, window))
}

#[test]
fn s1_quota_is_written_and_read_back_the_same() {
    always((quotas(), proptest::collection::vec(quotas(), 0..4)), |(quota, more)| {
        prop_assert_eq!(quota.to_string().parse::<Quota>(), Ok(quota));
        let mut list = Quotas::from(quota);
        list.extend(more);
        prop_assert_eq!(list.to_string().parse::<Quotas>(), Ok(list));
        Ok(1)
    });
}

/// The crate `humantime` reads and writes the same windows.
#[test]
fn s1_window_agrees_with_humantime() {
    always((1..1_u32 << 31, windows()), |(limit, window)| {
        let text = Quota::new(limit, window).to_string();
        let (_, written) = text.split_once('/').expect("a window");
        prop_assert_eq!(humantime::parse_duration(written), Ok(window));
        let text = format!("{limit} per {}", humantime::format_duration(window));
        prop_assert_eq!(text.parse::<Quota>(), Ok(Quota::new(limit, window)));
        Ok(1)
    });
    for unit in [
        "ns", "nsec", "nanos", "us", "µs", "usec", "ms", "msec", "millis", "s", "sec", "secs",
        "second", "seconds", "m", "min", "mins", "minute", "minutes", "h", "hr", "hrs", "hour",
        "hours", "d", "day", "days", "w", "wk", "wks", "week", "weeks", "M", "month", "months",
        "y", "yr", "yrs", "year", "years",
    ] {
        let window = humantime::parse_duration(&format!("3{unit}")).unwrap();
        assert_eq!(quota(&format!("1/3{unit}")).window(), window, "{unit}");
        assert_eq!(quota(&format!("1/{unit}")).window() * 3, window, "{unit}");
    }
}

#[test]
fn s1_quota_is_read_as_it_is_usually_written() {
    let readings = [
        ("100/1m", 100, secs(60)),
        ("100/m", 100, secs(60)),
        ("100 per minute", 100, secs(60)),
        ("100 PER Minutes", 100, secs(60)),
        ("  100  /  1 min  ", 100, secs(60)),
        ("10/s", 10, secs(1)),
        ("5000/h", 5000, secs(3600)),
        ("100/15m", 100, secs(900)),
        ("5 per 10 seconds", 5, secs(10)),
        ("100/1h30m", 100, secs(5400)),
        ("100/1h 30m", 100, secs(5400)),
        ("7/250ms", 7, ms(250)),
        ("7/0.25s", 7, ms(250)),
        ("7/1.50s", 7, ms(1500)),
        ("1/1s500ms", 1, ms(1500)),
        ("1/M", 1, secs(2_630_016)),
        ("1/1 Hr", 1, secs(3600)),
        ("1/HR", 1, secs(3600)),
        ("1/1 YR", 1, secs(31_557_600)),
        ("1/2 Wk", 1, secs(1_209_600)),
        ("0042/s", 42, secs(1)),
    ];
    for (text, limit, window) in readings {
        assert_eq!(quota(text), Quota::new(limit, window), "{text}");
    }
    assert_eq!(quota("2147483647/36500d"), Quota::new(i32::MAX as u32, CENTURY));
    let written = ["100/90m", "1/86400s", "1/1w", "3/1500ms", "1/60001us"];
    let written = written.map(|text| quota(text).to_string());
    assert_eq!(written, ["100/1h30m", "1/1d", "1/7d", "3/1s500ms", "1/60ms1us"]);
}

/// The examples of its documentation, and its delimiters.
#[test]
fn s1_quotas_of_pythons_limits_are_read() {
    let hour = Quota::new(10, secs(3600));
    let day = |limit, days: u64| Quota::new(limit, secs(86_400 * days));
    let year = Quota::new(2000, secs(31_557_600));
    let readings = [
        ("10 per hour", vec![hour]),
        ("10/hour", vec![hour]),
        ("10/hour;100/day;2000 per year", vec![hour, day(100, 1), year]),
        ("100/day, 500/7days", vec![day(100, 1), day(500, 7)]),
        ("10/second; 100 per minute", vec![Quota::new(10, secs(1)), Quota::new(100, secs(60))]),
        ("10 PER 1 HOUR|100/day", vec![hour, day(100, 1)]),
    ];
    for (text, list) in readings {
        let read: Quotas = text.parse().unwrap();
        assert_eq!(read.as_slice(), list, "{text}");
        assert_eq!((&read).into_iter().count(), read.clone().into_iter().count());
        assert!(read.iter().eq(&list));
    }
}

fn error(text: &str) -> String {
    text.parse::<Quota>().expect_err(text).to_string()
}

const SEVERAL: &str = "the end of the quota: several in one text are `Quotas`";

#[test]
fn s3_wrong_quota_is_reported_with_its_place_and_the_remedy() {
    let unit = "a unit of time, such as ms, s, m, h or d";
    let window = "a window longer than zero and at most 100 years";
    let limit = "a limit between 1 and 2147483647";
    let faults = [
        ("", "a number of requests, as in 100/1m", None),
        ("  ", "a number of requests, as in 100/1m", None),
        ("per minute", "a number of requests, as in 100/1m", Some(("per", 0))),
        ("-1/s", "a number of requests, as in 100/1m", Some(("-", 0))),
        ("100", "`/` or `per`, and a window, as in 100/1m", None),
        ("1.5/s", "`/` or `per`, and a window, as in 100/1m", Some((".", 1))),
        ("100 a minute", "`/` or `per`, and a window, as in 100/1m", Some(("a", 4))),
        ("100/", "a window, such as 1m, 15m or 1h30m", None),
        ("100/-5m", "a window, such as 1m, 15m or 1h30m", Some(("-", 4))),
        ("100/15", unit, None),
        ("100/fortnight", unit, Some(("fortnight", 4))),
        ("100/5x", unit, Some(("x", 5))),
        ("100/5MS", unit, Some(("MS", 5))),
        ("100/5S", unit, Some(("S", 5))),
        ("100/1h 30", unit, None),
        ("100/1.s", "a digit", Some(("s", 6))),
        ("0/s", limit, Some(("0", 0))),
        ("2147483648/s", limit, Some(("2147483648", 0))),
        ("99999999999999999999/s", limit, Some(("99999999999999999999", 0))),
        ("1/0s", window, Some(("0s", 2))),
        ("1/101 years", window, Some(("101 years", 2))),
        ("1/0.5ns", "a duration of whole nanoseconds that is not too long", Some(("0.5ns", 2))),
        (
            "1/99999999999999999999999s",
            "a number of fewer digits",
            Some(("99999999999999999999999", 2)),
        ),
        ("1/18446744073709551615y", "a shorter duration", Some(("18446744073709551615y", 2))),
        ("1/m 5", SEVERAL, Some(("5", 4))),
        ("1/m x", "the end of the quota", Some(("x", 4))),
        ("10/s 5/1m", SEVERAL, Some(("5", 5))),
        ("10/1s 5/1m", SEVERAL, Some(("5", 6))),
        ("10/1s 5 per 1m", SEVERAL, Some(("5", 6))),
        ("10/1s 5 1m", unit, Some(("1m", 8))),
        // A hundred years of 365.25 days are longer than those of 365 days.
        ("1/100 years", window, Some(("100 years", 2))),
        ("1/s; 2/m", SEVERAL, Some((";", 3))),
        ("10/s;100/m", SEVERAL, Some((";", 4))),
    ];
    for (text, expected, found) in faults {
        let error = text.parse::<Quota>().expect_err(text);
        let place = found.map_or((text.len(), ""), |(found, at)| (at, found));
        assert_eq!((error.position().start, error.found()), place, "{text}: {error}");
        assert_eq!(error.expected(), expected, "{text}");
    }
    assert_eq!(
        error("100/"),
        r#"invalid quota "100/": expected a window, such as 1m, 15m or 1h30m, and the text ends"#
    );
    assert_eq!(
        error("1\n/x\u{1b}"),
        "invalid quota \"1\\n/x\\u{1b}\": expected a unit of time, such as ms, s, m, h or d, found \
         \"x\" at byte 3"
    );
    let in_a_list = "10/s; 5/fortnight".parse::<Quotas>().unwrap_err();
    assert_eq!((in_a_list.position(), in_a_list.found()), (8..17, "fortnight"));
    let behind = "10/s 5/m".parse::<Quotas>().unwrap_err();
    assert_eq!((behind.position(), behind.expected()), (5..6, "the end, or `;` and another quota"));
    for text in ["10/1s 5/1m", "10/1s 5 per 1m", "2/m; 1/s 5/m"] {
        let behind = text.parse::<Quotas>().unwrap_err();
        assert_eq!(behind.expected(), "the end, or `;` and another quota", "{text}");
        let second = text.rfind('5').unwrap();
        assert_eq!(behind.position(), second..second + 1, "{text}");
    }
    assert_eq!("10/s;".parse::<Quotas>().unwrap_err().position(), 5..5);
}

/// The second line of the long form marks the fault, however wide the characters before it are.
#[test]
fn s3_fault_is_underlined_in_the_long_form() {
    let long = |text: &str| format!("{:#}", text.parse::<Quota>().expect_err(text));
    let lines = |text: &str| {
        let long = long(text);
        long.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines("100/3µx"), ["  100/3µx", "       ^^"]);
    assert_eq!(lines("100/"), ["  100/", "      ^"]);
    // An empty text has nothing to mark.
    assert_eq!([lines(""), lines("  ")], [Vec::<String>::new(), Vec::new()]);
    // A text of several lines, or a long one, has no second line.
    assert_eq!(long("100\n/x").lines().count(), 1);
    let text = "1".repeat(1 << 20);
    assert!(long(&text).len() < 300, "{}", long(&text));
}

/// Reads any text, and checks an error or the quotas that were read.
fn check(text: &str) -> Result<usize, TestCaseError> {
    let error = match text.parse::<Quotas>() {
        Ok(list) => {
            prop_assert!(!list.as_slice().is_empty());
            prop_assert_eq!(list.to_string().parse::<Quotas>(), Ok(list));
            return Ok(1);
        }
        Err(error) => error,
    };
    prop_assert_eq!(text.get(error.position()), Some(error.found()));
    let at_end = error.position().start == text.len();
    prop_assert_eq!(error.found().is_empty(), at_end, "{}", error);
    let message = format!("{error:#}");
    prop_assert!(message.contains(error.expected()));
    let place = format!("at byte {}", error.position().start);
    prop_assert!(at_end || message.contains(&place), "{}", message);
    prop_assert!(!error.to_string().contains(char::is_control), "one line");
    prop_assert!(text.parse::<Quota>().is_err(), "a quota is a list of one");
    Ok(0)
}

#[test]
fn s3_any_text_is_read_or_reported_in_its_bounds() {
    always(any::<String>(), |text| check(&text));
}

/// Texts of the parts of quotas, in any order.
#[test]
fn s3_parts_in_any_order_are_read_or_reported_in_their_bounds() {
    let part = proptest::sample::select(vec![
        "1",
        "0",
        "25",
        "4294967296",
        "/",
        "per",
        "PER",
        "s",
        "m",
        "M",
        "ms",
        "µs",
        "year",
        "µ",
        "x",
        ";",
        ",",
        "|",
        " ",
        "\t",
        "\u{a0}",
        ".",
        ".5",
        "-",
        "é",
        "字",
        "1/s",
        "10 per hour",
    ]);
    let parts = proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat());
    let valid = proptest::sample::select(vec!["1/s", "25 PER\tM", "1/s; 10 per hour"]);
    let text = prop_oneof![9 => parts, 1 => valid.prop_map(str::to_owned)];
    let read = std::cell::Cell::new(0);
    always(text, |text| {
        let quotas = check(&text)?;
        read.set(read.get() + quotas);
        Ok(1)
    });
    assert!(read.get() > 0, "no text was valid");
}
