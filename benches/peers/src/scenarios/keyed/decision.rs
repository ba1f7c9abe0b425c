//! The cost of a decision on one thread and on two, and with two windows.
//!
//! A decision is a call of the empty service through the layer; governor is asked before the call.
//! The keys are hashed by the default of each, which is SipHash-1-3 for both.

use std::{sync::Arc, time::Duration};

use tower::Layer;

use super::{LARGE_WINDOW, LONG_WINDOW, SMALL_WINDOW, layer};
use crate::{
    contenders::{
        Comparison,
        keys::{Ask, Draws, Key, asked, drawn, key, known, respond},
        other, ours, peers, same,
    },
    measure::{
        pair::{self, Pair},
        per_call,
    },
    pace::Pace,
    report::Section,
    service::SMALL,
};

type Governor = Arc<governor::DefaultKeyedRateLimiter<Key>>;

const WINDOWS: [(&str, (u32, Duration)); 3] =
    [("20", SMALL_WINDOW), ("1,000", LARGE_WINDOW), ("long", LONG_WINDOW)];

pub(super) fn run(pace: Pace) -> Vec<Section> {
    let mut sections = Vec::new();
    for (count, keys) in pace.pick(&[("1,000", 1_000)][..], &SIZES, &SIZES).iter() {
        let draws = Draws::new(*keys);
        let calls = if *keys > 100_000 { 100_000 } else { 10_000 };
        for (quota, window) in WINDOWS {
            let title = format!("a decision, {count} keys, window {quota}");
            sections.push(per_call::timed_in_turns(&one(title, &draws, window), pace, calls));
        }
        let title = format!("two windows, {count} keys");
        sections.push(per_call::timed_in_turns(&windows(title, &draws), pace, calls));
        let title = format!("a decision on two threads, {count} keys");
        sections.extend(pair::measured(&two(title, &draws), pace));
    }
    sections
}

const SIZES: [(&str, u32); 2] = [("10,000", 10_000), ("1 million", 1_000_000)];

fn one(title: String, draws: &Draws, window: (u32, Duration)) -> Comparison {
    let [bare, theirs, own] = [0; 3].map(|_| draws.clone());
    Comparison::above(title, move || drawn(bare.clone(), respond(SMALL)))
        .with(other("governor", "up to 2 N"), move || {
            asked(theirs.clone(), ask_governor(peers::keyed_governor(window.0, window.1).into()))
        })
        .with(ours("keyed limit", "exact"), move || {
            asked(own.clone(), respond(layer(&[window], own.of).layer(SMALL)))
        })
}

/// One window is the reference.
fn windows(title: String, draws: &Draws) -> Comparison {
    let [bare, first, second] = [0; 3].map(|_| draws.clone());
    Comparison::above(title, move || drawn(bare.clone(), respond(SMALL)))
        .with(same("one window", "20"), move || {
            asked(first.clone(), respond(layer(&[SMALL_WINDOW], first.of).layer(SMALL)))
        })
        .with(ours("two windows", "20, long"), move || {
            let layer = layer(&[SMALL_WINDOW, LONG_WINDOW], second.of);
            asked(second.clone(), respond(layer.layer(SMALL)))
        })
}

fn two(title: String, draws: &Draws) -> Comparison<Pair> {
    // Made once: the keys of each round have called before.
    let governor: Governor = peers::keyed_governor(SMALL_WINDOW.0, SMALL_WINDOW.1).into();
    known(draws, &mut ask_governor(Arc::clone(&governor)));
    let service = layer(&[SMALL_WINDOW], draws.of).layer(SMALL);
    known(draws, &mut respond(service.clone()));
    let [theirs, own] = [0; 2].map(|_| [draws.clone(), draws.clone().later()]);
    Comparison::new(title)
        .with(other("governor", "up to 2 N"), move || {
            theirs.clone().map(|draws| drawn(draws, ask_governor(Arc::clone(&governor))))
        })
        .with(ours("keyed limit", "exact"), move || {
            own.clone().map(|draws| drawn(draws, respond(service.clone())))
        })
}

fn ask_governor(limiter: Governor) -> impl Ask {
    let mut inner = respond(SMALL);
    move |client| limiter.check_key(&key(client)).is_ok() && inner(client)
}
