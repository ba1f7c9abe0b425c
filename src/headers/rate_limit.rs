//! Rate-limit headers that servers write: their names, and the text of their values (pure).
//!
//! `RateLimit-Policy` and `RateLimit` are lists of strings with parameters (RFC 9651). Clients
//! match names by their words, in `client::hints`.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::time::{time_of_day, whole_secs};

pub(crate) static RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(crate) static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
static X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The characters of a policy's name, for the error of an invalid one.
pub(crate) const NAME: &str = "visible ASCII characters and spaces";

/// The name of a policy as a string of a structured field: quoted, with escapes (RFC 9651, 4.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PolicyName(Box<str>);

impl PolicyName {
    /// Returns `None` if `name` has a character that a structured field can't hold.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let mut quoted = String::with_capacity(name.len() + 2);
        quoted.push('"');
        for character in name.chars() {
            match character {
                '"' | '\\' => quoted.extend(['\\', character]),
                ' '..='~' => quoted.push(character),
                _ => return None,
            }
        }
        quoted.push('"');
        Some(Self(quoted.into()))
    }
}

/// The parameters of an item, as text: `;q=100;w=60`.
///
/// By hand, because `format!` costs several times as much and runs for each response.
pub(crate) struct Parameters {
    buffer: [u8; 2 * (KEY + DIGITS)],
    start: usize,
}

/// A parameter: the key with its punctuation, and an integer.
type Parameter = (&'static str, u64);

/// The length of a key with its punctuation, as in `;q=`.
const KEY: usize = 3;

/// The most decimal digits of a `u64`.
const DIGITS: usize = 20;

impl Parameters {
    /// Returns those of a policy. A window that is not of whole seconds is left out.
    pub(crate) fn of_policy(limit: u32, window: Duration) -> Self {
        let whole = window.subsec_nanos() == 0;
        Self::new((";q=", limit.into()), whole.then(|| (";w=", seconds(window))))
    }

    /// Returns those of the state of a policy. The time is left out if it is unknown.
    pub(crate) fn of_state(remaining: u32, reset: Option<Duration>) -> Self {
        Self::new((";r=", remaining.into()), reset.map(|reset| (";t=", seconds(reset))))
    }

    fn new(first: Parameter, second: Option<Parameter>) -> Self {
        let mut buffer = [0; 2 * (KEY + DIGITS)];
        let mut start = buffer.len();
        for (key, mut number) in second.into_iter().chain([first]) {
            loop {
                start -= 1;
                buffer[start] = b'0' + (number % 10) as u8;
                number /= 10;
                if number == 0 {
                    break;
                }
            }
            start -= KEY;
            buffer[start..start + KEY].copy_from_slice(key.as_bytes());
        }
        Self { buffer, start }
    }

    fn text(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

/// Bounded by 136 years, to stay within the integers of RFC 9651 (3.3.1).
fn seconds(wait: Duration) -> u64 {
    whole_secs(wait).min(u32::MAX.into())
}

/// A list of items.
#[derive(Default)]
pub(crate) struct List(Vec<u8>);

/// Separates items.
const COMMA: &[u8] = b", ";

impl List {
    /// Appends an item, with a partition key of these eight bytes if there is one.
    ///
    /// The text has exactly the length of its allocation, so that the header value takes it over
    /// without another one.
    pub(crate) fn push(&mut self, name: &PolicyName, parameters: &Parameters, key: Option<u64>) {
        let text = &mut self.0;
        let comma = if text.is_empty() { &[] } else { COMMA };
        let key = key.map(partition_key);
        let key = key.as_ref().map_or(&[][..], |key| key);
        let parts = [comma, name.0.as_bytes(), parameters.text(), key];
        text.reserve_exact(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| text.extend_from_slice(part));
    }

    /// Returns the value, or `None` without an item: a header is not empty.
    pub(crate) fn into_value(self) -> Option<HeaderValue> {
        if self.0.is_empty() {
            return None;
        }
        Some(HeaderValue::try_from(self.0).expect("a structured field is visible ASCII"))
    }
}

/// The length of a parameter with eight bytes.
const PARTITION_KEY: usize = 5 + 12 + 1;

/// Returns the parameter `pk`, a byte sequence in base64 (RFC 9651, 4.1.8).
fn partition_key(key: u64) -> [u8; PARTITION_KEY] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    let mut text = *b";pk=:***********=:";
    // Eleven digits of six bits hold 64 bits and two of padding.
    let bits = u128::from(key) << 2;
    for (place, digit) in (0..11).zip(&mut text[5..]) {
        *digit = DIGITS[(bits >> (60 - 6 * place)) as usize % 64];
    }
    text
}

/// Adds `X-RateLimit-*`, unless one of them is there: all three come from one limit, because a
/// reset next to another limit's quota would be wrong.
pub(crate) fn add_x_ratelimit(
    headers: &mut HeaderMap,
    limit: u32,
    remaining: u32,
    reset: Option<Duration>,
) {
    if [&X_LIMIT, &X_REMAINING, &X_RESET].iter().any(|&name| headers.contains_key(name)) {
        return;
    }
    // A full map has no room for them.
    let _ = headers.try_insert(&X_LIMIT, limit.into());
    let _ = headers.try_insert(&X_REMAINING, remaining.into());
    if let Some(reset) = reset {
        let since_1970 = time_of_day().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = whole_secs(since_1970.saturating_add(reset));
        let _ = headers.try_insert(&X_RESET, at.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_key(key: u64) -> String {
        let mut list = List::default();
        let name = PolicyName::new("a").expect("visible");
        list.push(&name, &Parameters::of_state(0, None), Some(key));
        list.into_value().expect("one item").to_str().expect("visible").to_owned()
    }

    #[test]
    fn k11_partition_key_is_base64() {
        assert_eq!(with_key(0), "\"a\";r=0;pk=:AAAAAAAAAAA=:");
        assert_eq!(with_key(u64::MAX), "\"a\";r=0;pk=://////////8=:");
        assert_eq!(with_key(u64::from_be_bytes(*b"light w.")), "\"a\";r=0;pk=:bGlnaHQgdy4=:");
    }

    #[test]
    fn k11_list_has_the_length_of_its_allocation_and_no_value_without_items() {
        let mut list = List::default();
        assert_eq!(List::default().into_value(), None);
        let name = PolicyName::new("\\\"").expect("visible");
        for key in [None, Some(7)] {
            list.push(&name, &Parameters::of_policy(3, Duration::from_secs(60)), key);
            assert_eq!(list.0.len(), list.0.capacity());
        }
        let text = r#""\\\"";q=3;w=60, "\\\"";q=3;w=60;pk=:AAAAAAAAAAc=:"#;
        assert_eq!(list.into_value().expect("two items"), text);
    }
}
