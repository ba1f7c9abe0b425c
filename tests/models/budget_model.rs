//! The retry budget under the model checker.

use loom::sync::Arc;

use crate::{Model, budget::RetryBudget, join, paused_runtime, spawn};

const PREEMPTIONS: usize = 5;

fn withdrawn(budget: &RetryBudget) -> u64 {
    u64::from(budget.withdraw())
}

/// Withdraws on three threads at once. Returns the number of withdrawals that succeed.
fn withdrawn_by_three(budget: &Arc<RetryBudget>) -> u64 {
    let others = [(); 2].map(|()| spawn(budget, withdrawn));
    withdrawn(budget) + join(others).iter().sum::<u64>()
}

/// R5: a deposit is withdrawn once, beside deposits and withdrawals of another thread.
#[test]
fn r5_balance_is_withdrawn_once() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let budget = Arc::new(RetryBudget::builder(1.0).floor_per_second(0).build());
        budget.deposit();
        let other = spawn(&budget, |budget| {
            let withdrawn = withdrawn(budget);
            budget.deposit();
            withdrawn
        });
        budget.deposit();
        let mine = withdrawn(&budget) + withdrawn(&budget);
        let withdrawn = mine + other.join().expect("its thread ends");
        assert_eq!(withdrawn + u64::from(budget.saved()), 3, "there are three deposits");
    });
}

/// R5: of three withdrawals from two deposits, two succeed.
#[test]
fn r5_withdrawals_of_two_threads_never_overdraw() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let budget = Arc::new(RetryBudget::builder(1.0).floor_per_second(0).build());
        budget.deposit();
        budget.deposit();
        assert_eq!(withdrawn_by_three(&budget), 2);
        assert_eq!(budget.saved(), 0);
    });
}

/// R5: savings stay at their bound, and a withdrawal makes room for the next deposit.
#[test]
fn r5_savings_of_two_threads_stay_bounded() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let budget = RetryBudget::builder(1.0).floor_per_second(0).max_saved(1).build();
        let budget = Arc::new(budget);
        budget.deposit();
        let other = spawn(&budget, |budget| {
            budget.deposit();
            withdrawn(budget)
        });
        budget.deposit();
        assert!(budget.saved() <= 1, "the savings exceed their bound");
        let withdrawn = withdrawn(&budget) + other.join().expect("its thread ends");
        // Of the two deposits to full savings, at most one follows the first withdrawal.
        assert!((1..=2).contains(&(withdrawn + u64::from(budget.saved()))));
    });
}

/// R5: of three withdrawals from a floor of one per second, one succeeds.
#[test]
fn r5_floor_claimed_by_two_threads_is_granted_once() {
    // Under paused time: in a process that is stopped for a second, the floor would pay another.
    let runtime = paused_runtime::runtime();
    let _paused = runtime.enter();
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let budget = Arc::new(RetryBudget::builder(0.0).floor_per_second(1).build());
        assert_eq!(withdrawn_by_three(&budget), 1);
    });
}

/// R5: a refund beside a withdrawal restores the amount that it was paid, and not more.
#[test]
fn r5_refund_of_two_threads_is_added_once() {
    let runtime = paused_runtime::runtime();
    let _paused = runtime.enter();
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        // One retry from the balance, and two from the floor.
        let budget = Arc::new(RetryBudget::builder(1.0).floor_per_second(2).build());
        budget.deposit();
        let other = spawn(&budget, withdrawn);
        drop([budget.reserve(), budget.reserve()]);
        let theirs = other.join().expect("its thread ends");
        let mine: u64 = (0..4).map(|_| withdrawn(&budget)).sum();
        assert!(mine + theirs <= 3, "a refund is paid twice");
        assert!(mine + theirs >= 2, "more is lost than a share of the floor");
    });
}

/// R12: a bound that is lowered beside a deposit bounds the balance once both have ended.
#[test]
fn r12_lowered_bound_cuts_the_balance_beside_a_deposit() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let budget = RetryBudget::builder(1.0).floor_per_second(0).max_saved(3).build();
        let budget = Arc::new(budget);
        budget.deposit();
        budget.deposit();
        let other = spawn(&budget, |budget| budget.set_max_saved(1));
        budget.deposit();
        other.join().expect("its thread ends");
        let withdrawn: u64 = (0..3).map(|_| withdrawn(&budget)).sum();
        assert_eq!(withdrawn, 1, "the bound is 1, and as much is deposited");
    });
}

/// R12: a changed ratio and a withdrawal beside it never overdraw.
#[test]
fn r12_ratio_changed_beside_a_deposit_is_that_before_or_after() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let budget = Arc::new(RetryBudget::builder(1.0).floor_per_second(0).build());
        let other = spawn(&budget, |budget| {
            budget.set_ratio(2.0).expect("a valid ratio");
            withdrawn(budget)
        });
        budget.deposit();
        let theirs = other.join().expect("its thread ends");
        budget.deposit();
        let withdrawn = theirs + (0..5).map(|_| withdrawn(&budget)).sum::<u64>();
        assert!((3..=4).contains(&withdrawn), "1 or 2, and then 2 are deposited");
    });
}
