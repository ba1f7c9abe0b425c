//! The fields, made of one reading of the limit.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue};
use sfv::{ItemSerializer, KeyRef, key_ref};

use crate::{
    clock::{time_of_day, whole_secs},
    rate_limit::WindowRateLimitHandle,
};

const Q: &KeyRef = key_ref("q");
const W: &KeyRef = key_ref("w");
const R: &KeyRef = key_ref("r");
const T: &KeyRef = key_ref("t");

const X_LIMIT: &str = "x-ratelimit-limit";
const X_REMAINING: &str = "x-ratelimit-remaining";
const X_RESET: &str = "x-ratelimit-reset";

/// What a layer and its services share.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) name: sfv::String,
    pub(super) handle: WindowRateLimitHandle,
    pub(super) x_ratelimit: bool,
}

impl Fields {
    /// What doesn't fit into a map that is full is left out.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        let reading = self.handle.read();
        let reset = if reading.remaining == 0 { reading.wait } else { reading.reset };

        let mut policy = ItemSerializer::new().bare_item(&*self.name).parameter(Q, reading.limit);
        if reading.length.subsec_nanos() == 0 {
            policy = policy.parameter(W, seconds(reading.length));
        }
        let _ = headers.try_append("ratelimit-policy", value(policy.finish()));
        let left = ItemSerializer::new()
            .bare_item(&*self.name)
            .parameter(R, reading.remaining)
            .parameter(T, seconds(reset));
        let _ = headers.try_append("ratelimit", value(left.finish()));

        // All three of one source, or the reset is not that of the limit.
        let free =
            || ![X_LIMIT, X_REMAINING, X_RESET].iter().any(|&name| headers.contains_key(name));
        if self.x_ratelimit && free() {
            let _ = headers.try_insert(X_LIMIT, reading.limit.into());
            let _ = headers.try_insert(X_REMAINING, reading.remaining.into());
            let since_1970 =
                time_of_day().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let at = whole_secs(since_1970.saturating_add(reset));
            let _ = headers.try_insert(X_RESET, at.into());
        }
    }
}

/// 136 years are long enough for who waits, and short enough for an integer of RFC 9651 (3.3.1).
fn seconds(wait: Duration) -> u32 {
    u32::try_from(whole_secs(wait)).unwrap_or(u32::MAX)
}

fn value(field: String) -> HeaderValue {
    HeaderValue::try_from(field).expect("a structured field is visible ASCII")
}
