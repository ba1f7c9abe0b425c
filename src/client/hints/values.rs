//! Reads the values of hints: lists, numbers, durations and dates.
//!
//! A value that has none of these forms is unreadable, which is not the same as absent.

use std::time::{Duration, SystemTime};

use http::HeaderValue;
use jiff::{
    SignedDuration, civil,
    fmt::{strtime, temporal::Pieces},
    tz::Offset,
};

/// The unit of a plain number. A value with a unit of its own (`6m0s`), and a date, are read the
/// same with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Seconds from now, or a time since 1970, told apart by size.
    ///
    /// Below 10<sup>9</sup> (31 years) the number is seconds from now, below 10<sup>11</sup> (the
    /// year 5138) seconds since 1970, below 10<sup>14</sup> milliseconds, below 10<sup>17</sup>
    /// microseconds, and from there on nanoseconds since 1970.
    #[default]
    BySize,
    /// Seconds from now. A number that is a Unix time between yesterday and a year from now, in
    /// seconds or a finer unit, is that time: some servers send it by mistake.
    Seconds,
    /// Microseconds from now; from 10<sup>15</sup> on, microseconds since 1970.
    Micros,
    /// Milliseconds from now; from 10<sup>12</sup> on, milliseconds since 1970.
    Millis,
    /// Minutes from now.
    Minutes,
    /// Hours from now.
    Hours,
}

/// A time, relative or absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    FromNow(Duration),
    Since1970(Duration),
    /// Seconds from now, unless it is a recent or near Unix time.
    Either(Duration),
}

impl Time {
    /// Returns the wait until this time; zero if it has passed. `now` is since 1970.
    pub(super) fn wait(self, now: impl Fn() -> Duration) -> Duration {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        const YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);

        match self {
            Self::FromNow(wait) => wait,
            Self::Since1970(time) => time.saturating_sub(now()),
            Self::Either(number) => {
                let now = now();
                let dates = now.saturating_sub(DAY)..=now.saturating_add(YEAR);
                let units = [1, 1_000, 1_000_000, 1_000_000_000];
                let date = units.map(|unit| number / unit).into_iter().find(|t| dates.contains(t));
                date.map_or(number, |date| date.saturating_sub(now))
            }
        }
    }
}

/// The rest of a quota, in the order of precedence where a header has several values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Remaining {
    More,
    Unreadable,
    Nothing,
}

/// Reads the rest of a quota: a number, or several separated by commas.
pub(super) fn remaining(value: &HeaderValue) -> Remaining {
    let read = |item| match number(item) {
        Some(Duration::ZERO) => Remaining::Nothing,
        Some(_) => Remaining::More,
        None => Remaining::Unreadable,
    };
    text(value).and_then(|text| items(text).map(read).max()).unwrap_or(Remaining::Unreadable)
}

/// Reads the times of a header, separated by commas. Unreadable ones are left out.
pub(super) fn times(value: &HeaderValue, unit: Unit) -> impl Iterator<Item = Time> {
    text(value).into_iter().flat_map(items).filter_map(move |item| time(item, unit))
}

/// Reads the times of Sentry's list of limits: `60:transaction:key, 2700:default:organization`.
pub(super) fn times_before_colons(value: &HeaderValue) -> impl Iterator<Item = Time> {
    let before_colon = |item: &'_ str| {
        let end = item.find(':').unwrap_or(item.len());
        number(&item[..end]).map(from_now)
    };
    text(value).into_iter().flat_map(items).filter_map(before_colon)
}

/// Reads `true` or `false`. A refusal counts first.
pub(super) fn flag(value: &HeaderValue) -> Option<bool> {
    let read = |item: &str| {
        let is = |word| item.eq_ignore_ascii_case(word);
        if is("true") { Some(true) } else { is("false").then_some(false) }
    };
    items(text(value)?).filter_map(read).min()
}

/// Reads the dates of a header, since 1970. Those before are zero.
pub(super) fn dates(value: &HeaderValue) -> impl Iterator<Item = Duration> {
    text(value).into_iter().flat_map(items).filter_map(date)
}

/// Reads the first number of a header as seconds.
pub(super) fn seconds(value: &HeaderValue) -> Option<Duration> {
    number(items(text(value)?).next()?)
}

pub(super) fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

fn text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

/// The items of a list, without parameters (`;w=60`) and quotes.
fn items(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let (item, following) = split_item(rest?);
        rest = following;
        Some(item.split(';').next().unwrap_or_default().trim_matches(SURROUNDINGS))
    })
}

const SURROUNDINGS: [char; 3] = [' ', '\t', '"'];

/// Splits a list behind its first item. A comma behind a day of the week belongs to a date, and
/// one between days and a clock to a duration (`1 day, 2:03:04`).
fn split_item(list: &str) -> (&str, Option<&str>) {
    let Some((item, rest)) = list.split_once(',') else { return (list, None) };
    let first = item.trim_matches(SURROUNDINGS);
    let next = rest.split(',').next().unwrap_or_default();
    let has_days = first.ends_with("day") || first.ends_with("days");
    if is_weekday(first) || (has_days && next.contains(':')) {
        let end = item.len() + 1 + next.len();
        return (&list[..end], list.get(end + 1..));
    }
    (item, Some(rest))
}

fn is_weekday(word: &str) -> bool {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

    let is_day = |start: &str| DAYS.iter().any(|day| start.eq_ignore_ascii_case(day));
    word.len() <= 9 && word.get(..3).is_some_and(is_day)
}

fn time(text: &str, unit: Unit) -> Option<Time> {
    let Some(number) = number(text) else {
        return duration(text).map(Time::FromNow).or_else(|| date(text).map(Time::Since1970));
    };
    Some(match (unit, number.as_secs()) {
        (Unit::BySize, 0..1_000_000_000) => Time::FromNow(number),
        (Unit::BySize, 1_000_000_000..100_000_000_000) => Time::Since1970(number),
        (Unit::BySize, 100_000_000_000..100_000_000_000_000) => Time::Since1970(number / 1_000),
        (Unit::BySize, 100_000_000_000_000..100_000_000_000_000_000) => {
            Time::Since1970(number / 1_000_000)
        }
        (Unit::BySize, _) => Time::Since1970(number / 1_000_000_000),
        (Unit::Seconds, _) => from_now(number),
        (Unit::Millis, 0..1_000_000_000_000) => Time::FromNow(number / 1_000),
        (Unit::Millis, _) => Time::Since1970(number / 1_000),
        (Unit::Micros, 0..1_000_000_000_000_000) => Time::FromNow(number / 1_000_000),
        (Unit::Micros, _) => Time::Since1970(number / 1_000_000),
        (Unit::Minutes, _) => Time::FromNow(number.saturating_mul(60)),
        (Unit::Hours, _) => Time::FromNow(number.saturating_mul(3_600)),
    })
}

/// Seconds from now, where a server may have sent a Unix time.
pub(super) fn from_now(seconds: Duration) -> Time {
    match seconds.as_secs() {
        0..1_000_000_000 => Time::FromNow(seconds),
        _ => Time::Either(seconds),
    }
}

/// Reads a number as seconds, to the nanosecond unless it has an exponent. One beyond the range of
/// the type is the largest.
pub(super) fn number(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 {
        return None;
    }
    if !is_number(whole) || !is_number(fraction) {
        return scientific(text);
    }
    let seconds = match whole {
        "" => Duration::ZERO,
        whole => Duration::from_secs(whole.parse().unwrap_or(u64::MAX)),
    };
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanos = digits.fold(0, |nanos, digit| nanos * 10 + u64::from(digit - b'0'));
    Some(seconds.saturating_add(Duration::from_nanos(nanos)))
}

/// Reads a number with an exponent, which Go and Lua write for large ones (`1.7e+09`).
fn scientific(text: &str) -> Option<Duration> {
    // The standard library also reads `infinity`.
    let starts = text.starts_with(|c: char| c == '.' || c.is_ascii_digit());
    let number = starts.then(|| text.parse::<f64>().ok())??;
    Some(Duration::try_from_secs_f64(number).unwrap_or(Duration::MAX))
}

/// Reads a duration with units (`6m0s`, `1h2m3.5s`, `250ms`, `30 seconds`), in the form of ISO 8601
/// (`PT30S`), or as a clock (`00:00:03`).
fn duration(text: &str) -> Option<Duration> {
    if text.contains(':') {
        return clock(text);
    }
    let Some(iso) = text.strip_prefix('P') else { return in_units(text) };
    let (days, clock) = iso.split_once('T').unwrap_or((iso, ""));
    // Months have no certain length, and their letter is that of minutes.
    match (days, clock) {
        _ if days.contains('M') => None,
        ("", clock) => in_units(clock),
        (days, "") => in_units(days),
        (days, clock) => Some(in_units(days)?.saturating_add(in_units(clock)?)),
    }
}

/// Reads `hh:mm:ss`. Days may be in front: `1.02:03:04` (.NET), `1 day, 2:03:04` (Python).
fn clock(text: &str) -> Option<Duration> {
    let (hours, rest) = text.split_once(':')?;
    let (minutes, seconds) = rest.split_once(':')?;
    let (days, hours) = match hours.rsplit_once(['.', ' ']) {
        Some((days, hours)) => (days.trim_end_matches([',', ' ']), hours),
        None => ("0", hours),
    };
    let days = match number(days) {
        Some(days) => in_unit(days, "d")?,
        None => in_units(days)?,
    };
    [(hours, "h"), (minutes, "m"), (seconds, "s")]
        .into_iter()
        .try_fold(days, |sum, (text, unit)| Some(sum.saturating_add(in_unit(number(text)?, unit)?)))
}

fn in_units(text: &str) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (count, behind) = rest.split_at(unit);
        let behind = behind.trim_ascii_start();
        let end = behind.find(|c: char| c.is_ascii_digit() || c == ' ').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        sum = sum.saturating_add(in_unit(number(count)?, unit)?);
        rest = behind.trim_ascii_start();
    }
    (!text.is_empty()).then_some(sum)
}

fn in_unit(count: Duration, unit: &str) -> Option<Duration> {
    let is = |words: &[&str]| words.iter().any(|word| unit.eq_ignore_ascii_case(word));
    Some(match unit {
        _ if is(&["s", "sec", "secs", "second", "seconds"]) => count,
        _ if is(&["ms", "msec", "msecs", "millis", "millisecond", "milliseconds"]) => count / 1_000,
        _ if is(&["m", "min", "mins", "minute", "minutes"]) => count.saturating_mul(60),
        _ if is(&["h", "hr", "hrs", "hour", "hours"]) => count.saturating_mul(60 * 60),
        _ if is(&["d", "day", "days"]) => count.saturating_mul(24 * 60 * 60),
        _ if is(&["w", "week", "weeks"]) => count.saturating_mul(7 * 24 * 60 * 60),
        _ if is(&["us", "\u{b5}s", "\u{3bc}s"]) => count / 1_000_000,
        _ if is(&["ns"]) => count / 1_000_000_000,
        _ => return None,
    })
}

/// Reads a date as time since 1970: of HTTP, of RFC 3339 or ISO 8601, of RFC 5322 with an offset,
/// of several languages.
///
/// One without an offset is UTC. An abbreviated zone is unreadable, because its offset is
/// uncertain.
fn date(text: &str) -> Option<Duration> {
    if let Ok(time) = httpdate::parse_http_date(text) {
        return Some(since_1970(time));
    }
    // JavaScript names the zone behind the offset, and Go its monotonic clock.
    let text = text.split(" (").next()?.split(" m=").next()?;
    let text = without_weekday(text);
    let zoneless = ["UTC", "GMT", "gmt"].iter().find_map(|zone| text.strip_suffix(zone));
    let text = zoneless.unwrap_or(text).trim_ascii_end();
    let since_1970 = iso_8601(text).or_else(|| FORMATS.iter().find_map(|f| formatted(f, text)))?;
    // jiff reads a leap second as the one before it.
    let leap = SignedDuration::from_secs(text.contains(":60").into());
    Some(since_1970.saturating_add(leap).try_into().unwrap_or(Duration::ZERO))
}

/// Formats without the day of the week, and without the name of UTC at the end.
const FORMATS: [&str; 10] = [
    "%d %b %Y %H:%M:%S %z",    // RFC 5322
    "%d %b %Y %H:%M:%S",       // HTTP, with fewer digits or another day of the week
    "%d %b %Y %H:%M %z",       // RFC 5322, without seconds
    "%d %b %Y %H:%M",          // the same in UTC
    "%d-%b-%Y %H:%M:%S",       // cookies
    "%b %d %H:%M:%S %Y",       // C
    "%b %d %H:%M:%S UTC %Y",   // date, Java
    "%b %d %H:%M:%S %z %Y",    // Ruby
    "%b %d %Y %H:%M:%S GMT%z", // JavaScript
    "%Y-%m-%d %H:%M:%S%.f %z", // Go
];

/// The rest of a date behind a day of the week, which may be wrong.
fn without_weekday(text: &str) -> &str {
    match text.split_once([',', ' ']) {
        Some((first, rest)) if is_weekday(first) => rest.trim_ascii_start(),
        _ => text,
    }
}

fn iso_8601(text: &str) -> Option<SignedDuration> {
    let pieces = Pieces::parse(text).ok()?;
    let date_time = pieces.date().to_datetime(pieces.time().unwrap_or_default());
    Some(since_1970_at(date_time, pieces.to_numeric_offset()))
}

fn formatted(format: &str, text: &str) -> Option<SignedDuration> {
    let mut parts = strtime::parse(format, text).ok()?;
    // A year of two digits (RFC 5322, 4.3).
    let century = match parts.year()? {
        0..50 => 2000,
        50..100 => 1900,
        _ => 0,
    };
    parts.set_year(Some(parts.year()? + century)).ok()?;
    Some(since_1970_at(parts.to_datetime().ok()?, parts.offset()))
}

/// Not by a `Timestamp`, whose range ends before the dates of 9999 that mean never.
fn since_1970_at(local: civil::DateTime, offset: Option<Offset>) -> SignedDuration {
    let ahead = offset.map_or(0, |offset| i64::from(offset.seconds()));
    let local = local.duration_since(civil::date(1970, 1, 1).at(0, 0, 0, 0));
    local.saturating_sub(SignedDuration::from_secs(ahead))
}
