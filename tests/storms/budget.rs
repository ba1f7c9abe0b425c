//! Storms at a retry budget.

use std::{iter, thread};

use fastrand::Rng;
use tower_floodgate::retry::RetryBudget;

use crate::support::{Steps, guarded, storm};

/// Four threads deposit, and withdraw at one in `one_in` steps.
///
/// The budget has three retries for ten requests, and no floor.
fn hammering(name: &str, max_saved: u32, one_in: u8) {
    storm(name, |seed, line| {
        let budget = RetryBudget::builder(0.3).floor_per_second(0).max_saved(max_saved).build();
        let (hammered, steps) = (budget.clone(), Steps::default());
        let count = steps.clone();
        let hammer = move |mut rng: Rng| {
            let (mut deposits, mut withdrawn, mut refused) = (0, 0, 0);
            for n in 0..400_000 {
                count.note(n);
                if rng.u8(..one_in) > 0 {
                    hammered.deposit();
                    deposits += 1;
                } else if hammered.withdraw() {
                    withdrawn += 1;
                } else {
                    refused += 1;
                }
            }
            [deposits, withdrawn, refused]
        };
        let threads = move || {
            thread::scope(|scope| {
                let threads = [0, 1, 2, 3].map(|thread| Rng::with_seed(4 * seed + thread));
                let threads = threads.map(|rng| scope.spawn(|| hammer(rng)));
                threads.map(|thread| thread.join().unwrap())
            })
        };
        let counts = guarded(budget.clone(), || steps.get(), threads);
        let [deposits, withdrawn, refused] =
            [0, 1, 2].map(|n| counts.iter().map(|c| c[n]).sum::<usize>());
        let (deposited, saved) = (deposits * 3 / 10, budget.saved() as usize);
        line.count("deposits", deposits);
        line.count("deposited", deposited);
        line.count("withdrawn", withdrawn);
        line.count("refused", refused);
        line.count("saved", saved);
        assert!(withdrawn + saved <= deposited, "too many withdrawals");
        assert!(withdrawn + saved == deposited || max_saved < u32::MAX, "too few withdrawals");
        assert!(saved <= max_saved as usize, "{saved} saved");
        let left = iter::repeat_with(|| budget.withdraw()).take(saved + 1).filter(|paid| *paid);
        assert_eq!(left.count(), saved, "savings that can be withdrawn");
    });
}

#[test]
fn r5_every_deposit_is_withdrawn_or_saved() {
    hammering("budget", u32::MAX, 3);
    hammering("budget_bounded", 10, 6);
}
