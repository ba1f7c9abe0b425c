//! `RateLimit`, a structured field (RFC 9651).

use std::{convert::Infallible, time::Duration};

use http::{HeaderMap, HeaderName};
use sfv::{
    BareItemFromInput, KeyRef, Parser,
    visitor::{
        DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ListVisitor,
        ParameterVisitor,
    },
};

use super::{resets::Resets, values::Remaining};

/// Reads `name`, in its present form (a list) or its earlier one (a dictionary).
///
/// Several lines are one value, and an unreadable line invalidates all (RFC 9651, 4.2).
pub(super) fn read(headers: &HeaderMap, name: &HeaderName) -> Resets {
    let lines = || headers.get_all(name).into_iter().map(Parser::new);
    let mut policies = Resets::default();
    if lines().all(|line| line.parse_list_with_visitor(&mut policies).is_ok()) {
        return policies;
    }
    let mut quota = Quota::default();
    let mut resets = Resets::default();
    if lines().all(|line| line.parse_dictionary_with_visitor(&mut quota).is_ok()) {
        quota.add_to(&mut resets);
    }
    resets
}

/// The state of one policy.
#[derive(Default)]
struct Quota {
    remaining: Option<Remaining>,
    reset: Option<Duration>,
}

impl Quota {
    /// Reads an entry of a dictionary, or a parameter. The keys of both differ, and a server may
    /// use either (Zendesk's `total=100; remaining=99; resets=49`).
    fn read(&mut self, key: &str, value: &BareItemFromInput<'_>) {
        match key {
            "r" | "remaining" => {
                self.remaining = Some(match seconds(value) {
                    Some(Duration::ZERO) => Remaining::Nothing,
                    Some(_) => Remaining::More,
                    None => Remaining::Unreadable,
                });
            }
            "t" | "reset" | "resets" => self.reset = seconds(value),
            _ => {}
        }
    }

    fn add_to(&self, resets: &mut Resets) {
        if let Some(reset) = self.reset {
            resets.add(self.remaining, reset);
        }
    }
}

/// The value, if it is a number that is not negative.
fn seconds(value: &BareItemFromInput<'_>) -> Option<Duration> {
    if let Some(integer) = value.as_integer() {
        return i64::from(integer).try_into().ok().map(Duration::from_secs);
    }
    // A decimal has at most three digits behind the point (RFC 9651, 3.3.2).
    let thousandths = value.as_decimal()?.as_integer_scaled_1000();
    i64::from(thousandths).try_into().ok().map(Duration::from_millis)
}

/// The list: `"burst";r=0;t=1, "day";r=900;t=3600`.
impl<'de> ListVisitor<'de> for Resets {
    type Error = Infallible;

    fn entry(&mut self) -> Result<impl EntryVisitor<'de>, Infallible> {
        Ok(Policy { resets: self, quota: Quota::default() })
    }
}

struct Policy<'a> {
    resets: &'a mut Resets,
    quota: Quota,
}

impl<'de> EntryVisitor<'de> for Policy<'_> {
    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        Ok(Ignored)
    }
}

impl<'de> ItemVisitor<'de> for Policy<'_> {
    type Error = Infallible;

    fn bare_item(
        self,
        _name: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de>, Infallible> {
        Ok(self)
    }
}

impl<'de> ParameterVisitor<'de> for Policy<'_> {
    type Error = Infallible;

    fn parameter(
        &mut self,
        key: &'de KeyRef,
        value: BareItemFromInput<'de>,
    ) -> Result<(), Infallible> {
        self.quota.read(key.as_str(), &value);
        Ok(())
    }

    fn finish(self) -> Result<(), Infallible> {
        self.quota.add_to(self.resets);
        Ok(())
    }
}

/// The dictionary: `limit=100, remaining=0, reset=30`.
impl<'de> DictionaryVisitor<'de> for Quota {
    type Error = Infallible;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        Ok(Entry { quota: self, key })
    }
}

/// An entry of a dictionary, and its parameters.
struct Entry<'a, 'de> {
    quota: &'a mut Quota,
    key: &'de KeyRef,
}

impl<'de> EntryVisitor<'de> for Entry<'_, 'de> {
    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        // A later entry overrides an earlier one (RFC 9651, 4.2.2).
        self.quota.read(self.key.as_str(), &BareItemFromInput::Boolean(true));
        Ok(Ignored)
    }
}

impl<'de> ItemVisitor<'de> for Entry<'_, 'de> {
    type Error = Infallible;

    fn bare_item(
        self,
        value: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de>, Infallible> {
        self.quota.read(self.key.as_str(), &value);
        Ok(self)
    }
}

impl<'de> ParameterVisitor<'de> for Entry<'_, 'de> {
    type Error = Infallible;

    fn parameter(
        &mut self,
        key: &'de KeyRef,
        value: BareItemFromInput<'de>,
    ) -> Result<(), Infallible> {
        self.quota.read(key.as_str(), &value);
        Ok(())
    }
}
