//! The fields by their names, for `deserialize_with`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

#[cfg(feature = "server")]
use crate::keyed::ClientIp;
use crate::{
    Quota,
    keyed::rule::{MAX_KEYS, MAX_TOP},
    retry::{Backoff, RetryBudget},
    serde_fields,
    settings::MAX_PERMITS,
    shared::quota,
};

/// Defines functions that read the fields of these names.
macro_rules! fields {
    ($($field:ident: $type:ty = $read:ident($($argument:expr)?);)*) => {$(
        pub(super) fn $field<'de, D: Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
            serde_fields::$read(stringify!($field), $($argument,)? from)
        }
    )*};
}

fields! {
    max_in_flight: u32 = whole(1..=MAX_PERMITS);
    max_queue: Option<u32> = optional_whole(0..=u32::MAX);
    max_wait: Option<Duration> = optional_duration();
    max_attempts: u32 = whole(1..=u32::MAX);
    max_elapsed: Option<Duration> = optional_duration();
    max_hint: Duration = duration();
    base: Duration = duration();
    max: Duration = duration();
    floor_per_second: u32 = whole(0..=u32::MAX);
    max_saved: u32 = whole(0..=u32::MAX);
    max_keys: u32 = whole(1..=MAX_KEYS);
    max_queue_per_key: u32 = whole(0..=u32::MAX);
    penalty: Option<Duration> = optional_duration();
    track_top: Option<u32> = optional_whole(1..=MAX_TOP);
    max_share: Option<u32> = optional_whole(1..=MAX_PERMITS);
    share: u32 = whole(1..=MAX_PERMITS);
}

// Fields that have the name of one above, and another type.

pub(super) fn max_in_flight_or_none<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<u32>, D::Error> {
    serde_fields::optional_whole("max_in_flight", 1..=MAX_PERMITS, from)
}

pub(super) fn max_queue_of_keys<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    serde_fields::whole("max_queue", 0..=u32::MAX, from)
}

pub(super) fn longest_wait<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    serde_fields::duration("max_wait", from)
}

pub(super) fn quota_name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    quota::name(name.as_str().into()).map(|_| name).map_err(D::Error::custom)
}

pub(super) fn shared_quota<'de, D: Deserializer<'de>>(from: D) -> Result<Quota, D::Error> {
    let quota = Quota::deserialize(from)?;
    quota::window(quota.window()).map(|_| quota).map_err(D::Error::custom)
}

pub(super) fn store_timeout<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let timeout = serde_fields::duration("store_timeout", from)?;
    quota::store_timeout(timeout).map_err(D::Error::custom)
}

pub(super) fn factor<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let factor = serde_fields::number("factor", from)?;
    Backoff::default().try_factor(factor).map(|_| factor).map_err(D::Error::custom)
}

pub(super) fn ratio<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let ratio = serde_fields::number("ratio", from)?;
    RetryBudget::try_builder(ratio).map(|_| ratio).map_err(D::Error::custom)
}

#[cfg(feature = "server")]
pub(super) fn ipv6_prefix<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    let prefix = serde_fields::whole("ipv6_prefix", 32..=128, from)?;
    u8::try_from(prefix).map_err(D::Error::custom)
}

#[cfg(feature = "server")]
pub(super) fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let networks = Vec::<String>::deserialize(from)?;
    ClientIp::try_behind(&networks).map(|_| networks).map_err(D::Error::custom)
}
