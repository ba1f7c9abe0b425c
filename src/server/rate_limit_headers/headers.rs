//! Formats the headers from one reading of the limit.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    headers::rate_limit::{RATELIMIT, X_REMAINING, X_RESET},
    rate_limit::WindowRateLimitHandle,
    time::{time_of_day, whole_secs},
};

static RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");

/// The configuration of a layer, shared with its services.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    /// The name as a string of a structured field: quoted, with escapes (RFC 9651, 4.1.6).
    name: String,
    handle: WindowRateLimitHandle,
    /// The value of `RateLimit-Policy` for the settings at the first response, which rarely change.
    policy: OnceLock<(Settings, HeaderValue)>,
    pub(super) x_ratelimit: bool,
}

/// The limit, and the length of its window.
type Settings = (u32, Duration);

impl Headers {
    /// Returns `None` if `name` has a character that a structured field can't hold.
    pub(super) fn new(name: &str, handle: WindowRateLimitHandle) -> Option<Self> {
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
        Some(Self { name: quoted, handle, policy: OnceLock::new(), x_ratelimit: false })
    }

    /// Adds the headers that a full map has room for.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        let reading = self.handle.read();
        let reset = if reading.remaining == 0 { reading.wait } else { reading.reset };
        // A closed limit has no next permit, so there is no time to tell.
        let reset = (!reading.is_closed).then_some(reset);

        let policy = self.policy((reading.limit, reading.length));
        let _ = headers.try_append(&RATELIMIT_POLICY, policy);
        let at = reset.map(|reset| (";t=", seconds(reset)));
        let state = self.item((";r=", reading.remaining.into()), at);
        let _ = headers.try_append(&RATELIMIT, state);

        // All three come from one limit: a reset next to another limit's quota would be wrong.
        if self.x_ratelimit
            && ![&X_LIMIT, &X_REMAINING, &X_RESET].iter().any(|&name| headers.contains_key(name))
        {
            let _ = headers.try_insert(&X_LIMIT, reading.limit.into());
            let _ = headers.try_insert(&X_REMAINING, reading.remaining.into());
            if let Some(reset) = reset {
                let since_1970 =
                    time_of_day().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let at = whole_secs(since_1970.saturating_add(reset));
                let _ = headers.try_insert(&X_RESET, at.into());
            }
        }
    }

    /// The value of `RateLimit-Policy`: a clone of the stored one unless the settings have changed.
    fn policy(&self, settings: Settings) -> HeaderValue {
        let format = || {
            let (limit, length) = settings;
            let whole = length.subsec_nanos() == 0;
            self.item((";q=", limit.into()), whole.then(|| (";w=", seconds(length))))
        };
        let (stored, policy) = self.policy.get_or_init(|| (settings, format()));
        if *stored == settings { policy.clone() } else { format() }
    }

    /// Formats a structured field with integers for parameters: `"name";q=100;w=60`.
    ///
    /// By hand, because `format!` costs several times as much and runs for each response. The
    /// vector has exactly the length of the text, so the header value takes it over without a
    /// second allocation.
    fn item(&self, first: Parameter, second: Option<Parameter>) -> HeaderValue {
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
        let parameters = &buffer[start..];
        let mut text = Vec::with_capacity(self.name.len() + parameters.len());
        text.extend_from_slice(self.name.as_bytes());
        text.extend_from_slice(parameters);
        HeaderValue::try_from(text).expect("a structured field is visible ASCII")
    }
}

/// A parameter of a structured field: the key with its punctuation, and an integer.
type Parameter = (&'static str, u64);

/// The length of a key with its punctuation, as in `;q=`.
const KEY: usize = 3;

/// The most decimal digits of a `u64`.
const DIGITS: usize = 20;

/// Bounded by 136 years, to stay within the integers of RFC 9651 (3.3.1).
fn seconds(wait: Duration) -> u64 {
    whole_secs(wait).min(u32::MAX.into())
}
