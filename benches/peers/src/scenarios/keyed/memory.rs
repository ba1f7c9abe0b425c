//! The memory of a key, in a table that holds as many keys as it may.

use super::{LONG_WINDOW, SMALL_WINDOW, layer};
use crate::{
    contenders::{
        Comparison,
        keys::key,
        other, ours,
        peers::{self, LONG},
    },
    measure::{allocations::live_bytes, rounds::rounds},
    pace::Pace,
    report::{Figure, Section, less},
};

const BYTES: Figure = less("memory", "bytes/key");

/// Returns the bytes per key, of a number of keys.
type Weigh = Box<dyn Fn(u32) -> f64>;

pub(super) fn run(pace: Pace) -> Vec<Section> {
    let sizes = [("10,000", 10_000), ("100,000", 100_000), ("1 million", 1_000_000)];
    let sizes = pace.pick(&[("1,000", 1_000)][..], &sizes, &sizes);
    let section = |(count, keys): &(&str, u32)| {
        rounds(&memory(format!("memory, {count} keys")), 1, |contender| {
            vec![(BYTES, (contender.make)()(*keys))]
        })
    };
    sizes.iter().map(section).collect()
}

fn memory(title: String) -> Comparison<Weigh> {
    Comparison::new(title)
        .with(other("governor", "grows with the keys"), || {
            weigh(|keys| {
                let limiter = peers::keyed_governor(10, LONG);
                (0..keys).for_each(|client| _ = limiter.check_key(&key(client)));
                limiter
            })
        })
        .with(ours("one window", "for this many"), || weigh(|keys| layer(&[LONG_WINDOW], keys)))
        .with(ours("two windows", "for this many"), || {
            weigh(|keys| layer(&[SMALL_WINDOW, LONG_WINDOW], keys))
        })
}

/// Weighs a limiter, with its keys.
fn weigh<T>(make: impl Fn(u32) -> T + 'static) -> Weigh {
    Box::new(move |keys| {
        let (limit, bytes) = live_bytes(|| make(keys));
        drop(limit);
        bytes / f64::from(keys)
    })
}
