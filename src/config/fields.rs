//! The fields by their names, for `deserialize_with`.

use std::time::Duration;

use serde::{Deserializer, de::Error};

use crate::{
    retry::{Backoff, RetryBudget},
    serde_fields,
    settings::MAX_PERMITS,
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
    max_queue: Option<u32> = optional_whole();
    max_wait: Option<Duration> = optional_duration();
    max_attempts: u32 = whole(1..=u32::MAX);
    max_elapsed: Option<Duration> = optional_duration();
    max_hint: Duration = duration();
    base: Duration = duration();
    max: Duration = duration();
    floor_per_second: u32 = whole(0..=u32::MAX);
    max_saved: u32 = whole(0..=u32::MAX);
}

pub(super) fn factor<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let factor = serde_fields::number("factor", from)?;
    Backoff::default().try_factor(factor).map(|_| factor).map_err(D::Error::custom)
}

pub(super) fn ratio<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let ratio = serde_fields::number("ratio", from)?;
    RetryBudget::try_builder(ratio).map(|_| ratio).map_err(D::Error::custom)
}
