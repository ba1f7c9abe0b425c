//! The behaviour while a store is away, in files: `closed`, `open`, or `{ share = 8 }`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fields;
use crate::shared::Away;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Text {
    Closed,
    Open,
    Share(#[serde(deserialize_with = "fields::share")] u32),
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Away, D::Error> {
    Ok(match Text::deserialize(from)? {
        Text::Closed => Away::Closed,
        Text::Open => Away::Open,
        Text::Share(processes) => Away::Share { processes },
    })
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
pub(super) fn serialize<S: Serializer>(away: &Away, to: S) -> Result<S::Ok, S::Error> {
    let text = match *away {
        Away::Closed => Text::Closed,
        Away::Open => Text::Open,
        Away::Share { processes } => Text::Share(processes),
    };
    text.serialize(to)
}
