//! Quotas in files of settings.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use super::{Quota, Quotas};
use crate::{serde_fields, settings::MAX_PERMITS};

fn limit<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    serde_fields::whole("limit", 1..=MAX_PERMITS, from)
}

fn window<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    serde_fields::duration("window", from)
}

impl Serialize for Quota {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quota {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TextOrMap;

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Map {
            #[serde(deserialize_with = "limit")]
            limit: u32,
            #[serde(deserialize_with = "window")]
            window: Duration,
        }

        impl<'de> Visitor<'de> for TextOrMap {
            type Value = Quota;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quota, such as \"100/1m\", or a map of limit and window")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Quota, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Quota, A::Error> {
                let Map { limit, window } = Map::deserialize(MapAccessDeserializer::new(map))?;
                Quota::try_new(limit, window).map_err(A::Error::custom)
            }
        }

        from.deserialize_any(TextOrMap)
    }
}

impl Serialize for Quotas {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quotas {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TextOrSequence;

        impl<'de> Visitor<'de> for TextOrSequence {
            type Value = Quotas;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("quotas, such as \"10/1s; 100/1m\", or a sequence of them")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Quotas, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Quotas, A::Error> {
                let mut quotas = Vec::new();
                while let Some(quota) = sequence.next_element()? {
                    quotas.push(quota);
                }
                if quotas.is_empty() {
                    return Err(A::Error::invalid_length(0, &"at least one quota"));
                }
                Ok(Quotas(quotas))
            }
        }

        from.deserialize_any(TextOrSequence)
    }
}
