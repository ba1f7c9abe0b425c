//! What servers say about when to come again, read off their fields.
//!
//! | field | what it says | source |
//! | --- | --- | --- |
//! | `Retry-After` | in so many seconds, or at a date | RFC 9110, 10.2.3 |
//! | `RateLimit: "p";r=0;t=30` | what remains of each policy, and the seconds until it is reset | draft-ietf-httpapi-ratelimit-headers-10 |
//! | `RateLimit: limit=9, remaining=0, reset=30` | the same, of one policy | the same draft up to 07 |
//! | `RateLimit-Remaining`, `RateLimit-Reset` | the same, each in its own field | the same draft up to 06 |
//! | `X-RateLimit-Remaining`, `X-RateLimit-Reset-After`, `X-RateLimit-Reset` | the same | no standard; in wide use |
//!
//! The functions here are pure: they are handed the fields, and a clock, which is asked only where there is no `Date`. No field makes them panic, and what can't be understood is as if it weren't there.

use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{DATE, RETRY_AFTER},
};
use sfv::{
    BareItemFromInput, KeyRef, Parser,
    visitor::{
        DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ListVisitor,
        ParameterVisitor,
    },
};

static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
static REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
static RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
static X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
static X_RESET_AFTER: HeaderName = HeaderName::from_static("x-ratelimit-reset-after");

/// How long to wait by `Retry-After` (RFC 9110, 10.2.3): the longest, if there are several.
///
/// A date counts from the response's own `Date`, so that it doesn't matter how wrong our clock is; `now` is asked
/// only if there is none. One in the past is zero. More seconds than can be counted are as many as can be.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use http::{HeaderMap, HeaderValue, header::{DATE, RETRY_AFTER}};
/// use tower_floodgate::http::fields::retry_after;
///
/// let mut fields = HeaderMap::new();
/// fields.insert(RETRY_AFTER, HeaderValue::from_static("120"));
/// assert_eq!(retry_after(&fields, SystemTime::now), Some(Duration::from_secs(120)));
///
/// fields.insert(RETRY_AFTER, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
/// fields.insert(DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:30 GMT"));
/// assert_eq!(retry_after(&fields, SystemTime::now), Some(Duration::from_secs(7)));
/// ```
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: impl Fn() -> SystemTime) -> Option<Duration> {
    longest(headers, &RETRY_AFTER, |text| {
        let until = |date: SystemTime| {
            date.duration_since(server_time(headers, &now)).unwrap_or(Duration::ZERO)
        };
        let seconds = digits(text).map(Duration::from_secs);
        seconds.or_else(|| httpdate::parse_http_date(text).ok().map(until))
    })
}

/// How long until there is quota again, if it is spent: if *nothing remains*, whatever the status; and on a 429 or
/// 503 also if the server doesn't say what remains. (If something does, that isn't why it turned the request
/// away, and nobody knows how long to wait.)
///
/// The first kind of field that tells it counts, in the order of the [table](self). Of several policies, or
/// several lines, the longest time does.
///
/// `RateLimit-Reset` and `X-RateLimit-Reset` are in use with different meanings, which their size tells apart.
/// Decimals are understood.
///
/// | number | is taken for |
/// | --- | --- |
/// | below 10<sup>9</sup> (31 years) | seconds from now |
/// | below 10<sup>11</sup> (the year 5138) | seconds since 1970 |
/// | below 10<sup>14</sup> (the same year) | milliseconds since 1970 |
/// | above | nothing |
///
/// Times since 1970 count from the response's `Date`, or else from `now`; those in the past are zero.
#[must_use]
pub fn reset(
    status: StatusCode,
    headers: &HeaderMap,
    now: impl Fn() -> SystemTime,
) -> Option<Duration> {
    let turned_away = is_turned_away(status);
    let separate = |name| spent(remaining(headers, name), turned_away);
    let when = |name| longest(headers, name, |text| from_now(number(text)?, headers, &now));

    structured(headers, turned_away)
        .or_else(|| when(separate(&REMAINING).then_some(&RESET)?))
        .or_else(|| {
            separate(&X_REMAINING).then_some(())?;
            longest(headers, &X_RESET_AFTER, number).or_else(|| when(&X_RESET))
        })
}

/// Does this status say that it was too many requests?
pub(crate) fn is_turned_away(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// Is there no quota left?
fn spent(remaining: Option<u64>, turned_away: bool) -> bool {
    remaining.map_or(turned_away, |remaining| remaining == 0)
}

/// `RateLimit`, as it is now or as it was.
fn structured(headers: &HeaderMap, turned_away: bool) -> Option<Duration> {
    let mut policies = Policies { turned_away, longest: None };
    let mut quota = Quota::default();
    // Several lines are one value, and one that can't be read spoils it (RFC 9651, 4.2).
    let lines = || headers.get_all(&RATELIMIT).into_iter().map(Parser::new);
    if lines().all(|line| line.parse_list_with_visitor(&mut policies).is_ok()) {
        policies.longest
    } else if lines().all(|line| line.parse_dictionary_with_visitor(&mut quota).is_ok()) {
        quota.spent(turned_away)
    } else {
        None
    }
}

/// What the server says of one policy.
#[derive(Default)]
struct Quota {
    remaining: Option<u64>,
    /// In seconds from now.
    reset: Option<u64>,
}

impl Quota {
    fn spent(&self, turned_away: bool) -> Option<Duration> {
        let reset = self.reset.map(Duration::from_secs);
        reset.filter(|_| spent(self.remaining, turned_away))
    }
}

/// The whole numbers that are not negative.
fn whole(value: &BareItemFromInput<'_>) -> Option<u64> {
    value.as_integer().and_then(|number| i64::from(number).try_into().ok())
}

/// The list: `"burst";r=0;t=1, "day";r=900;t=3600`.
struct Policies {
    turned_away: bool,
    longest: Option<Duration>,
}

struct Policy<'a> {
    policies: &'a mut Policies,
    quota: Quota,
}

impl<'de> ListVisitor<'de> for Policies {
    type Error = Infallible;

    fn entry(&mut self) -> Result<impl EntryVisitor<'de>, Infallible> {
        Ok(Policy { policies: self, quota: Quota::default() })
    }
}

impl<'de> EntryVisitor<'de> for Policy<'_> {
    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        Ok(Ignored)
    }
}

impl<'de> ItemVisitor<'de> for Policy<'_> {
    type Error = Infallible;

    fn bare_item(
        self,
        _name: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de>, Infallible> {
        Ok(self)
    }
}

impl<'de> ParameterVisitor<'de> for Policy<'_> {
    type Error = Infallible;

    fn parameter(
        &mut self,
        key: &'de KeyRef,
        value: BareItemFromInput<'de>,
    ) -> Result<(), Infallible> {
        match key.as_str() {
            "r" => self.quota.remaining = whole(&value),
            "t" => self.quota.reset = whole(&value),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Infallible> {
        let Self { policies, quota } = self;
        policies.longest = policies.longest.max(quota.spent(policies.turned_away));
        Ok(())
    }
}

/// The dictionary: `limit=100, remaining=0, reset=30`.
impl<'de> DictionaryVisitor<'de> for Quota {
    type Error = Infallible;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        Ok(match key.as_str() {
            "remaining" => Some(Entry(&mut self.remaining)),
            "reset" => Some(Entry(&mut self.reset)),
            _ => None,
        })
    }
}

struct Entry<'a>(&'a mut Option<u64>);

impl<'de> EntryVisitor<'de> for Entry<'_> {
    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        *self.0 = None;
        Ok(Ignored)
    }
}

impl<'de> ItemVisitor<'de> for Entry<'_> {
    type Error = Infallible;

    fn bare_item(
        self,
        value: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de>, Infallible> {
        *self.0 = whole(&value);
        Ok(Ignored)
    }
}

/// The least that any line says remains.
fn remaining(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    headers.get_all(name).iter().filter_map(|value| digits(text(value)?)).min()
}

/// The longest time that any line tells.
fn longest(
    headers: &HeaderMap,
    name: &HeaderName,
    read: impl Fn(&str) -> Option<Duration>,
) -> Option<Duration> {
    headers.get_all(name).iter().filter_map(|value| read(text(value)?)).max()
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(str::trim_ascii)
}

/// A whole number, written in nothing but digits. One that is too large is the largest.
fn digits(text: &str) -> Option<u64> {
    let only = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    only.then(|| text.parse().unwrap_or(u64::MAX))
}

/// A whole number or a decimal, as seconds; exact to the nanosecond.
fn number(text: &str) -> Option<Duration> {
    let Some((whole, fraction)) = text.split_once('.') else {
        return digits(text).map(Duration::from_secs);
    };
    digits(fraction)?;
    let nanos = nanos_of(fraction);
    Some(Duration::from_secs(digits(whole)?).saturating_add(Duration::from_nanos(nanos)))
}

/// What stands behind the point: so many nanoseconds.
fn nanos_of(fraction: &str) -> u64 {
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    digits.fold(0, |nanos, digit| nanos * 10 + u64::from(digit - b'0'))
}

/// What a number that may be a time or a date says, by its size.
fn from_now(
    number: Duration,
    headers: &HeaderMap,
    now: impl Fn() -> SystemTime,
) -> Option<Duration> {
    let since_1970 = match number.as_secs() {
        0..1_000_000_000 => return Some(number),
        1_000_000_000..100_000_000_000 => number,
        100_000_000_000..100_000_000_000_000 => number / 1_000,
        _ => return None,
    };
    let now = server_time(headers, now).duration_since(SystemTime::UNIX_EPOCH);
    Some(since_1970.saturating_sub(now.unwrap_or(Duration::ZERO)))
}

/// The time by the server's clock, if it tells, or by ours.
fn server_time(headers: &HeaderMap, now: impl Fn() -> SystemTime) -> SystemTime {
    let date = headers.get(DATE).and_then(text);
    date.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or_else(now)
}
