//! Fields of settings in files: checked as they are read, so that an error names the field, the
//! value and the remedy, and the format adds the line.

use std::{fmt, ops::RangeInclusive, time::Duration};

use serde::{
    Deserializer, Serializer,
    de::{Error, Visitor},
};

use crate::{
    duration_text::{AsText, Excerpt, parse},
    settings::InvalidSetting,
};

const WITH_UNIT: &str = "text with a unit, such as \"30s\" or \"250ms\"";

/// Reads a whole number of `range`.
pub(crate) fn whole<'de, D: Deserializer<'de>>(
    field: &'static str,
    range: RangeInclusive<u32>,
    from: D,
) -> Result<u32, D::Error> {
    from.deserialize_u32(Whole { field, range })
}

/// Reads a whole number of `range`, or none.
pub(crate) fn optional_whole<'de, D: Deserializer<'de>>(
    field: &'static str,
    range: RangeInclusive<u32>,
    from: D,
) -> Result<Option<u32>, D::Error> {
    from.deserialize_option(Optional(Whole { field, range }))
}

/// Reads a number.
pub(crate) fn number<'de, D: Deserializer<'de>>(
    field: &'static str,
    from: D,
) -> Result<f64, D::Error> {
    from.deserialize_f64(Number { field })
}

/// Reads a duration from its text.
pub(crate) fn duration<'de, D: Deserializer<'de>>(
    field: &'static str,
    from: D,
) -> Result<Duration, D::Error> {
    from.deserialize_any(Text { field })
}

/// Reads a duration from its text, or none.
pub(crate) fn optional_duration<'de, D: Deserializer<'de>>(
    field: &'static str,
    from: D,
) -> Result<Option<Duration>, D::Error> {
    from.deserialize_option(Optional(Text { field }))
}

/// Writes the text of a duration.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
pub(crate) fn text<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&AsText(*duration))
}

#[allow(clippy::ref_option, reason = "the signature that serde calls")]
pub(crate) fn optional_text<S: Serializer>(
    duration: &Option<Duration>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => to.serialize_some(&AsText(*duration).to_string()),
        None => to.serialize_none(),
    }
}

/// Returns the error of an invalid value of `field`.
fn invalid<E: Error>(field: &'static str, value: impl fmt::Debug, expected: String) -> E {
    E::custom(InvalidSetting::new(field, value, expected))
}

struct Whole {
    field: &'static str,
    range: RangeInclusive<u32>,
}

impl Whole {
    fn expected(&self) -> String {
        format!("a whole number between {} and {}", self.range.start(), self.range.end())
    }
}

impl Visitor<'_> for Whole {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to be {}", self.field, self.expected())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u32, E> {
        match u32::try_from(value) {
            Ok(value) if self.range.contains(&value) => Ok(value),
            _ => Err(invalid(self.field, value, self.expected())),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u32, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(invalid(self.field, value, self.expected())),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<u32, E> {
        Err(invalid(self.field, value, self.expected()))
    }
}

struct Number {
    field: &'static str,
}

impl Visitor<'_> for Number {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to be a number", self.field)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    #[allow(clippy::cast_precision_loss, reason = "valid numbers are small")]
    fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    #[allow(clippy::cast_precision_loss, reason = "valid numbers are small")]
    fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }
}

struct Text {
    field: &'static str,
}

impl Visitor<'_> for Text {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to be {WITH_UNIT}", self.field)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        let Self { field } = self;
        parse(text).map_err(|fault| {
            E::custom(format_args!("{field} is {}: {}", Excerpt(text), fault.of(text)))
        })
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Duration, E> {
        Err(invalid(self.field, value, WITH_UNIT.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Duration, E> {
        Err(invalid(self.field, value, WITH_UNIT.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Duration, E> {
        Err(invalid(self.field, value, WITH_UNIT.into()))
    }
}

/// Reads a value, or none.
struct Optional<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Optional<V> {
    type Value = Option<V::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self.0).map(Some)
    }
}
