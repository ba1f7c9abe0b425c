//! S8: limits of each key: the cost of a decision, the memory of a key, and routers of axum.
//!
//! Keys have 16 bytes, and are drawn by Zipf's law. All of them have called before.

mod decision;
pub(super) mod flood;
mod memory;
mod router;

use std::time::Duration;

use tower_floodgate::keyed::{AtCall, KeyedLimitLayer, OnePermit, Rule};

use crate::{
    contenders::keys::{Key, key_of},
    pace::Pace,
    report::Section,
};

/// A window that is never spent, and whose permits expire all the time. The log counts each permit.
const SMALL_WINDOW: (u32, Duration) = (20, Duration::from_micros(1));
/// The same. The log counts in units of 50 permits.
const LARGE_WINDOW: (u32, Duration) = (1_000, Duration::from_micros(50));
/// A window that is neither spent nor over in a run.
const LONG_WINDOW: (u32, Duration) = (1 << 24, Duration::from_secs(3600));

pub(super) fn run(pace: Pace) -> Vec<Section> {
    let mut sections = decision::run(pace);
    sections.extend(memory::run(pace));
    sections.extend(router::run(pace));
    sections
}

/// The layer of one rule.
type Layer = KeyedLimitLayer<(Rule<fn(&u32) -> Option<Key>, OnePermit, AtCall>,)>;

fn layer(windows: &[(u32, Duration)], max_keys: u32) -> Layer {
    let key: fn(&u32) -> Option<Key> = key_of;
    let rule = Rule::new("client", key).max_keys(max_keys);
    KeyedLimitLayer::new(
        windows.iter().fold(rule, |rule, (limit, window)| rule.at_most(*limit, *window)),
    )
}
