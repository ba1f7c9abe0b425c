//! Allocations of limits of each key, counted in this thread by a counting allocator.

use std::hash::{Hash, Hasher};

use allocation_counter::measure;
use tower::{Layer, Service};
use tower_floodgate::keyed::{Key, KeyedLimitLayer, Rule};

use crate::{
    allocations::{Free, call},
    support::secs,
};

#[allow(clippy::unnecessary_wraps, reason = "a key function")]
fn client(request: &u32) -> Option<u32> {
    Some(*request)
}

fn rule() -> Rule<fn(&u32) -> Option<u32>> {
    Rule::new("client", client)
}

/// Returns the allocations of a request of each client.
fn allocations(service: &mut impl Service<u32>, clients: std::ops::Range<u32>) -> u64 {
    measure(|| clients.for_each(|client| call(service, client))).count_total
}

#[test]
fn k7_first_and_further_requests_of_a_key_allocate_nothing() {
    let everything = (
        rule().at_most(30, secs(1)).at_most(30, secs(3600)).max_in_flight(5),
        Rule::global("all").at_most(1_000_000, secs(1)),
    );
    let mut service = KeyedLimitLayer::new(everything).layer(Free);
    for _ in 0..20 {
        assert_eq!(allocations(&mut service, 0..100), 0);
    }
    let service = KeyedLimitLayer::new(rule().at_most(5, secs(1))).layer(Free);
    assert_eq!(measure(|| (0..5).for_each(|_| call(&mut service.clone(), 1))).count_total, 0);
}

#[test]
fn k7_rejected_request_that_becomes_a_response_allocates_nothing() {
    let layer = KeyedLimitLayer::new(rule().at_most(1, secs(3600)));
    let mut service = layer.clone().reject_with(|_| u32::MAX).layer(Free);
    assert_eq!(allocations(&mut service, 0..100), 0);
    assert_eq!(layer.handle("client").rejected(), 0);
    assert_eq!(allocations(&mut service, 0..100), 0);
    assert_eq!(layer.handle("client").rejected(), 100);
}

#[test]
fn k19_request_that_is_admitted_and_counted_allocates_nothing() {
    let rules = (
        rule().at_most(1_000, secs(1)).max_in_flight(5).count_admitted().track_top(10),
        Rule::global("all").at_most(1_000_000, secs(1)).count_admitted(),
    );
    let layer = KeyedLimitLayer::new(rules);
    let mut service = layer.layer(Free);
    for _ in 0..20 {
        assert_eq!(allocations(&mut service, 0..100), 0);
    }
    assert_eq!(["client", "all"].map(|rule| layer.handle(rule).admitted()), [Some(2_000); 2]);
}

#[test]
fn k7_k20_rejected_request_of_a_listed_key_allocates_nothing() {
    struct Labelled;
    impl Key<u32> for Labelled {
        fn hash_key<H: Hasher>(&self, client: &u32, state: &mut H) -> bool {
            client.hash(state);
            true
        }
        fn label(&self, client: &u32) -> Option<String> {
            Some(client.to_string())
        }
    }
    let rule = Rule::new("client", Labelled).at_most(1, secs(3600)).track_top(10);
    let layer = KeyedLimitLayer::new(rule);
    let mut service = layer.clone().reject_with(|_| u32::MAX).layer(Free);
    // Admitted, rejected for the first time, and with its label.
    assert_eq!([(); 2].map(|()| allocations(&mut service, 0..50)), [0, 0]);
    assert!((50..=200).contains(&allocations(&mut service, 0..50)));
    for _ in 0..10 {
        assert_eq!(allocations(&mut service, 0..50), 0);
    }
    assert_eq!(layer.handle("client").top().len(), 10);
}

#[test]
fn k21_rejection_of_a_paused_key_allocates_nothing() {
    let layer = KeyedLimitLayer::new(rule().at_most(1, secs(3600)).penalty(secs(3600)));
    let handle = layer.handle("client");
    let mut service = layer.reject_with(|_| u32::MAX).layer(Free);
    // The first pause allocates the ends of all.
    let first = measure(|| handle.pause_for(100_u32, secs(9)).expect("a slot is idle"));
    assert_eq!(first.count_total, 1);
    assert!(first.bytes_total <= 10 * 100_000 + 128, "{}", first.bytes_total);
    let pauses = measure(|| {
        (101..200_u32).for_each(|key| handle.pause_for(key, secs(9)).expect("a slot is idle"));
    });
    assert_eq!(pauses.count_total, 0);
    // Two of them are rejected by the window, which brings the penalty, and by the pause.
    for _ in 0..3 {
        assert_eq!(allocations(&mut service, 0..200), 0);
    }
    assert_eq!(handle.rejected(), 3 * 100 + 2 * 100);
}

#[test]
fn k7_request_without_a_slot_allocates_nothing() {
    let layer = KeyedLimitLayer::new(rule().at_most(1, secs(3600)).max_keys(10));
    let mut service = layer.clone().reject_with(|_| u32::MAX).layer(Free);
    assert_eq!(allocations(&mut service, 0..10_000), 0);
    assert!(layer.handle("client").overflowed() > 9_000);
}

#[test]
fn k4_memory_does_not_grow_with_the_keys() {
    let layer = KeyedLimitLayer::new(rule().at_most(3, secs(3600)).max_keys(100));
    let mut service = layer.reject_with(|_| u32::MAX).layer(Free);
    let counted = measure(|| (0..10_000).for_each(|client| call(&mut service, client)));
    assert_eq!(counted.bytes_max, 0);
}

#[test]
fn k4_memory_of_a_key_is_34_bytes_and_11_for_each_further_window() {
    let bytes = |rule: Rule<_>| {
        let (mut layer, keys) = (None, 100_000);
        let rule = rule.max_keys(keys);
        let counted = measure(|| layer = Some(KeyedLimitLayer::new(rule)));
        f64::from(u32::try_from(counted.bytes_current).expect("some megabytes")) / f64::from(keys)
    };
    let one = rule().at_most(10, secs(1));
    assert!(bytes(one.clone()) <= 34.0, "{}", bytes(one.clone()));
    let two = one.at_most(1_000, secs(3600));
    assert!(bytes(two.clone()) <= 34.0 + 11.5, "{}", bytes(two));
}
