//! A flood of new keys.

use std::mem::size_of;

use super::{Hand, MS, limits};
use crate::keyed::table::{
    KeyHash, Line, Place, Refused, Table, WhenFull, limits::Ask, state::Now,
};

const ONE: Ask = Ask { plan: 0, cost: 1 };

/// Acquires and commits for a key. Returns its place if it was admitted.
fn request(table: &Table, key: KeyHash, time: &Hand) -> Option<Place> {
    match table.acquire(key, ONE, &mut Now::of(time)) {
        Ok(place) => {
            table.state(place).commit(ONE, &mut Now::of(time));
            Some(place)
        }
        Err(Refused::Full { .. } | Refused::NoSlot) => None,
        Err(other) => panic!("{other:?}"),
    }
}

/// Runs 100,000 new keys over 20 windows through a table for 1,000 keys with a quota of 10, beside
/// an attacker that always asks, and an honest client that asks 5 times in each window. Returns how
/// many of the new keys were admitted.
fn flood(when_full: WhenFull) -> u64 {
    let table = Table::new(1_000, limits(&[(10, 1_000)]), when_full);
    let lines = table.lines.len();
    let mut random = fastrand::Rng::with_seed(7);
    let time = Hand::at(1);
    let [attacker, honest] = [1, 2].map(|_| KeyHash::new(random.u64(..)));
    let places = [attacker, honest].map(|key| request(&table, key, &time).expect("it is empty"));
    let (mut attacks, mut served, mut new) = (Vec::new(), 0, 0);
    for at in 1..=100_000_u64 {
        time.0.set(at * MS / 5);
        new += u64::from(request(&table, KeyHash::new(random.u64(..)), &time).is_some());
        if let Some(place) = request(&table, attacker, &time) {
            assert_eq!(place, places[0]);
            attacks.push(time.0.get());
        }
        if at % 1_000 == 0 {
            let place = request(&table, honest, &time);
            assert_eq!(place, Some(places[1]), "after {served}");
            served += 1;
        }
    }
    assert_eq!(served, 100);
    assert!(attacks.windows(11).all(|eleven| eleven[10] - eleven[0] >= 1_000 * MS));
    assert!(attacks.len() > 150, "{}", attacks.len());
    assert_eq!(table.lines.len(), lines);
    assert!(table.slots().filter(|place| !table.state(*place).is_idle()).count() > 1_000);
    new
}

#[test]
fn k5_flood_of_new_keys_resets_no_key() {
    // 1,256 slots and 157 shared quotas of 10, in each of 20 windows.
    let shared = flood(WhenFull::Share);
    assert!((25_000..=20 * (1_256 + 1_570)).contains(&shared), "{shared}");
    let rejected = flood(WhenFull::Reject);
    assert!((20_000..=20 * 1_256 + 1_256).contains(&rejected), "{rejected}");
}

#[test]
fn k4_memory_of_a_table_is_bounded_for_each_key() {
    for (windows, bytes) in [(&[(10, 1_000)][..], 34), (&[(10, 1_000), (100, 60_000)], 46)] {
        for keys in [10_000, 100_000] {
            let table = Table::new(keys, limits(windows), WhenFull::Share);
            let memory = table.lines.len() * size_of::<Line>();
            assert!(memory < bytes * keys as usize, "{} for {keys}", memory / keys as usize);
            assert!(table.slots().count() as u32 >= keys);
        }
    }
}
