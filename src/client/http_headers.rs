//! Parses the response headers that say when another request makes sense. See
//! [`parse_retry_after`] and [`parse_rate_limit_reset`].
//!
//! The functions are pure: the headers and a clock are arguments. No value makes them panic; an
//! unreadable value counts as absent.

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

use crate::headers::rate_limit::{RATELIMIT, X_REMAINING, X_RESET};

static REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
static RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
static X_RESET_AFTER: HeaderName = HeaderName::from_static("x-ratelimit-reset-after");

/// Returns the wait that `Retry-After` asks for (RFC 9110, 10.2.3): the longest of several.
///
/// A date counts from the response's own `Date`, so that an error of the local clock has no effect;
/// `now` is read only without one. A date in the past is zero. A number of seconds beyond the range
/// of the type is the largest.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use http::{HeaderMap, HeaderValue, header::{DATE, RETRY_AFTER}};
/// use tower_floodgate::client::parse_retry_after;
///
/// let mut headers = HeaderMap::new();
/// headers.insert(RETRY_AFTER, HeaderValue::from_static("120"));
/// assert_eq!(parse_retry_after(&headers, SystemTime::now), Some(Duration::from_secs(120)));
///
/// headers.insert(RETRY_AFTER, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
/// headers.insert(DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:30 GMT"));
/// assert_eq!(parse_retry_after(&headers, SystemTime::now), Some(Duration::from_secs(7)));
/// ```
#[must_use]
pub fn parse_retry_after(headers: &HeaderMap, now: impl Fn() -> SystemTime) -> Option<Duration> {
    longest(headers, &RETRY_AFTER, |text| {
        let until = |date: SystemTime| {
            date.duration_since(server_time(headers, &now)).unwrap_or(Duration::ZERO)
        };
        let seconds = digits(text).map(Duration::from_secs);
        seconds.or_else(|| httpdate::parse_http_date(text).ok().map(until))
    })
}

/// Returns the time until a spent quota is reset, by the rate-limit headers.
///
/// A quota is spent if *nothing remains*, whatever the status, and on a 429 or 503 also if the
/// server doesn't say how much remains. (If something remains, the rejection has another reason,
/// and the wait is unknown.)
///
/// | header | meaning | source |
/// | --- | --- | --- |
/// | `RateLimit: "p";r=0;t=30` | remaining quota of each policy, and the seconds until its reset | draft-ietf-httpapi-ratelimit-headers-10 |
/// | `RateLimit: limit=9, remaining=0, reset=30` | the same, of one policy | the same draft up to 07 |
/// | `RateLimit-Remaining`, `RateLimit-Reset` | the same, in separate headers | the same draft up to 06 |
/// | `X-RateLimit-Remaining`, `X-RateLimit-Reset-After`, `X-RateLimit-Reset` | the same | no standard; in wide use |
///
/// The first row that gives a reset counts. Of several policies or several lines, the longest time
/// counts.
///
/// # Seconds, or a point in time
///
/// `RateLimit-Reset` and `X-RateLimit-Reset` are in use with different meanings, told apart by
/// their size; decimals are accepted. Below 10<sup>9</sup> (31 years) the number is seconds from
/// now, below 10<sup>11</sup> (the year 5138) seconds since 1970, below 10<sup>14</sup>
/// milliseconds since 1970. Anything above is ignored. Points in time count from the response's
/// `Date`, or else from `now`; those in the past are zero.
#[must_use]
pub fn parse_rate_limit_reset(
    status: StatusCode,
    headers: &HeaderMap,
    now: impl Fn() -> SystemTime,
) -> Option<Duration> {
    let rejected = is_overload(status);
    let separate = |name| spent(remaining(headers, name), rejected);
    let when = |name| longest(headers, name, |text| from_now(number(text)?, headers, &now));

    structured(headers, rejected).or_else(|| when(separate(&REMAINING).then_some(&RESET)?)).or_else(
        || {
            separate(&X_REMAINING).then_some(())?;
            longest(headers, &X_RESET_AFTER, number).or_else(|| when(&X_RESET))
        },
    )
}

/// Returns true for the statuses of a server that had too many requests.
pub(super) fn is_overload(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// Returns true if no quota remains.
fn spent(remaining: Option<u64>, rejected: bool) -> bool {
    remaining.map_or(rejected, |remaining| remaining == 0)
}

/// Reads `RateLimit`, in its present form (a list) or its earlier one (a dictionary).
fn structured(headers: &HeaderMap, rejected: bool) -> Option<Duration> {
    let mut policies = Policies { rejected, longest: None };
    let mut quota = Quota::default();
    // Several lines are one value, and an unreadable line invalidates all (RFC 9651, 4.2).
    let lines = || headers.get_all(&RATELIMIT).into_iter().map(Parser::new);
    if lines().all(|line| line.parse_list_with_visitor(&mut policies).is_ok()) {
        policies.longest
    } else if lines().all(|line| line.parse_dictionary_with_visitor(&mut quota).is_ok()) {
        quota.spent(rejected)
    } else {
        None
    }
}

/// The state of one policy.
#[derive(Default)]
struct Quota {
    remaining: Option<u64>,
    /// In seconds from now.
    reset: Option<u64>,
}

impl Quota {
    fn spent(&self, rejected: bool) -> Option<Duration> {
        let reset = self.reset.map(Duration::from_secs);
        reset.filter(|_| spent(self.remaining, rejected))
    }
}

/// The value, if it is a whole number that is not negative.
fn whole(value: &BareItemFromInput<'_>) -> Option<u64> {
    value.as_integer().and_then(|number| i64::from(number).try_into().ok())
}

/// The list: `"burst";r=0;t=1, "day";r=900;t=3600`.
struct Policies {
    rejected: bool,
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
        policies.longest = policies.longest.max(quota.spent(policies.rejected));
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

/// The smallest remaining quota of all lines.
fn remaining(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    headers.get_all(name).iter().filter_map(|value| digits(text(value)?)).min()
}

/// The longest time of all lines.
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

/// Reads a whole number written in digits only. One beyond the range of the type is the largest.
fn digits(text: &str) -> Option<u64> {
    let only = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    only.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Reads a whole number or a decimal as seconds, exact to the nanosecond.
fn number(text: &str) -> Option<Duration> {
    let Some((whole, fraction)) = text.split_once('.') else {
        return digits(text).map(Duration::from_secs);
    };
    digits(fraction)?;
    let nanos = nanos_of(fraction);
    Some(Duration::from_secs(digits(whole)?).saturating_add(Duration::from_nanos(nanos)))
}

/// The nanoseconds of the digits behind the decimal point.
fn nanos_of(fraction: &str) -> u64 {
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    digits.fold(0, |nanos, digit| nanos * 10 + u64::from(digit - b'0'))
}

/// The time from now that a number stands for, by its size.
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

/// The time by the server's `Date`, or else by the local clock.
fn server_time(headers: &HeaderMap, now: impl Fn() -> SystemTime) -> SystemTime {
    let date = headers.get(DATE).and_then(text);
    date.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or_else(now)
}
