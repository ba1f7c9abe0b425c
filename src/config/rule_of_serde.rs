//! Rules and their plans in files of settings.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        Error, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer},
    },
};

use super::{PlanConfig, RuleConfig, fields};
use crate::{
    keyed::{WithoutKey, rule::DEFAULT_MAX_KEYS},
    quota::Quotas,
    settings::duration,
};

/// The fields of a rule, before they are checked as a whole.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, remote = "RuleConfig")]
struct Rule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quotas: Option<Quotas>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "fields::max_in_flight_or_none")]
    max_in_flight: Option<u32>,
    #[serde(default = "default_max_keys", deserialize_with = "fields::max_keys")]
    max_keys: u32,
    #[serde(default)]
    reject_when_full: bool,
    #[serde(default)]
    without_key: WithoutKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "fields::penalty")]
    #[serde(serialize_with = "crate::serde_fields::optional_text")]
    penalty: Option<Duration>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    count_admitted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "fields::track_top")]
    track_top: Option<u32>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    plans: BTreeMap<String, PlanConfig>,
}

/// The fields of a plan.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, remote = "PlanConfig")]
struct Plan {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quotas: Option<Quotas>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "fields::max_in_flight_or_none")]
    max_in_flight: Option<u32>,
}

const fn default_max_keys() -> u32 {
    DEFAULT_MAX_KEYS
}

impl Serialize for RuleConfig {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Rule::serialize(self, to)
    }
}

/// Checks the settings as a whole, too.
impl<'de> Deserialize<'de> for RuleConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let rule = Rule::deserialize(from)?;
        if let Some(penalty) = rule.penalty {
            duration("penalty", penalty).map_err(D::Error::custom)?;
        }
        rule.all_plans().map_err(D::Error::custom)?;
        Ok(rule)
    }
}

/// Writes the text of the quotas if there is nothing else.
impl Serialize for PlanConfig {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self { quotas: Some(quotas), max_in_flight: None } => quotas.serialize(to),
            _ => Plan::serialize(self, to),
        }
    }
}

/// Reads a map, or what quotas are read from.
impl<'de> Deserialize<'de> for PlanConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct QuotasOrMap;

        impl<'de> Visitor<'de> for QuotasOrMap {
            type Value = PlanConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a plan: quotas, such as \"10/1s; 100/1m\", a sequence of them, or a map of \
                     quotas and max_in_flight",
                )
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<PlanConfig, E> {
                Quotas::deserialize(StrDeserializer::new(text)).map(PlanConfig::new)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<PlanConfig, A::Error> {
                Quotas::deserialize(SeqAccessDeserializer::new(sequence)).map(PlanConfig::new)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PlanConfig, A::Error> {
                Plan::deserialize(MapAccessDeserializer::new(map))
            }
        }

        from.deserialize_any(QuotasOrMap)
    }
}
