//! Scenes at a retry budget.

use std::sync::Arc;

use fastrand::Rng;

use crate::{Scene, budget::RetryBudget, join, paused_runtime, spawn};

/// Deposits and withdraws at random. Returns the numbers of deposits and of successful withdrawals.
fn hammer(budget: &RetryBudget, mut rng: Rng) -> (u64, u64) {
    let (mut deposits, mut withdrawn) = (0, 0);
    for _ in 0..6 {
        if rng.bool() {
            budget.deposit();
            deposits += 1;
        } else {
            withdrawn += u64::from(budget.withdraw());
        }
    }
    (deposits, withdrawn)
}

fn hammer_on_five_threads(budget: RetryBudget, rng: &mut Rng) -> (Arc<RetryBudget>, u64, u64) {
    let budget = Arc::new(budget);
    let threads = [(); 5].map(|()| {
        let rng = rng.fork();
        spawn(&budget, |budget| hammer(budget, rng))
    });
    let counts = join(threads);
    let sum = |count: fn(&(u64, u64)) -> u64| counts.iter().map(count).sum();
    (budget, sum(|&(deposits, _)| deposits), sum(|&(_, withdrawn)| withdrawn))
}

/// Each deposit is withdrawn or saved.
#[test]
fn r5_deposits_among_many_withdrawals_are_withdrawn_or_saved() {
    Scene { threads: 5 }.explore(|mut rng| {
        let budget = RetryBudget::builder(1.0).floor_per_second(0).build();
        let (budget, deposits, withdrawn) = hammer_on_five_threads(budget, &mut rng);
        assert_eq!(withdrawn + u64::from(budget.saved()), deposits);
    });
}

/// Savings stay below their bound, which loses deposits and makes none.
#[test]
fn r5_savings_at_their_bound_never_exceed_it() {
    Scene { threads: 5 }.explore(|mut rng| {
        let budget = RetryBudget::builder(1.0).floor_per_second(0).max_saved(2).build();
        let (budget, deposits, withdrawn) = hammer_on_five_threads(budget, &mut rng);
        assert!(budget.saved() <= 2, "{} are saved", budget.saved());
        assert!(
            withdrawn + u64::from(budget.saved()) <= deposits,
            "more is withdrawn than deposited"
        );
        assert!(
            deposits == 0 || withdrawn + u64::from(budget.saved()) > 0,
            "all deposits are lost"
        );
    });
}

/// The floor pays for its retries once, beside the deposits.
#[test]
fn r5_floor_among_many_withdrawals_is_paid_once() {
    // Time stands still, so that a second's worth is all that the floor has.
    let runtime = paused_runtime::runtime();
    let _paused = runtime.enter();
    Scene { threads: 5 }.explore(|mut rng| {
        let budget = RetryBudget::builder(1.0).floor_per_second(3).build();
        let (budget, deposits, withdrawn) = hammer_on_five_threads(budget, &mut rng);
        let mut left = 0;
        while budget.withdraw() {
            left += 1;
        }
        assert_eq!(withdrawn + left, deposits + 3);
    });
}
