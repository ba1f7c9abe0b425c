//! [`Backoff`] in files of settings.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::fields;
use crate::retry::{Backoff, Jitter};

/// The settings of a [`Backoff`], before it is checked as a whole.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    #[serde(deserialize_with = "fields::base", serialize_with = "crate::serde_fields::text")]
    base: Duration,
    #[serde(deserialize_with = "fields::max", serialize_with = "crate::serde_fields::text")]
    max: Duration,
    #[serde(deserialize_with = "fields::factor")]
    factor: f64,
    jitter: Jitter,
}

impl Default for Settings {
    fn default() -> Self {
        Self::of(&Backoff::default())
    }
}

impl Settings {
    const fn of(backoff: &Backoff) -> Self {
        let (base, max, factor, jitter) = backoff.settings();
        Self { base, max, factor, jitter }
    }
}

/// Writes a map of `base`, `max`, `factor` and `jitter`.
impl Serialize for Backoff {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Settings::of(self).serialize(to)
    }
}

/// Reads a map of `base`, `max`, `factor` and `jitter`, each with its default.
impl<'de> Deserialize<'de> for Backoff {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Settings { base, max, factor, jitter } = Settings::deserialize(from)?;
        let backoff = Self::try_new(base, max).and_then(|backoff| backoff.try_factor(factor));
        Ok(backoff.map_err(D::Error::custom)?.jitter(jitter))
    }
}
