//! The retry budget under the model checker.

use loom::sync::Arc;

use crate::{Model, budget::RetryBudget, spawn};

const PREEMPTIONS: usize = 5;

fn shared(budget: RetryBudget) -> Arc<RetryBudget> {
    Arc::new(budget)
}

fn withdrawn(budget: &RetryBudget) -> u64 {
    u64::from(budget.withdraw())
}

/// R5: what requests have paid in is taken out once, whoever pays in and takes out at the same time.
#[test]
fn r5_balance_is_withdrawn_once() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let budget = shared(RetryBudget::builder(1.0).floor_per_second(0).build());
        budget.deposit();
        let other = spawn(&budget, |budget| {
            let withdrawn = withdrawn(budget);
            budget.deposit();
            withdrawn
        });
        budget.deposit();
        let mine = withdrawn(&budget) + withdrawn(&budget);
        let withdrawn = mine + other.join().expect("withdrew");
        assert_eq!(withdrawn + u64::from(budget.saved()), 3, "three were paid in");
    });
}

/// R5: of three who want the two retries that are there, two get one.
#[test]
fn r5_withdrawals_of_two_threads_never_overdraw() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let budget = shared(RetryBudget::builder(1.0).floor_per_second(0).build());
        budget.deposit();
        budget.deposit();
        let others = [spawn(&budget, withdrawn), spawn(&budget, withdrawn)];
        let mine = withdrawn(&budget);
        let theirs: u64 = others.map(|other| other.join().expect("withdrew")).iter().sum();
        assert_eq!(mine + theirs, 2);
        assert_eq!(budget.saved(), 0);
    });
}

/// R5: what is saved stays below its bound, and what is taken out makes room again.
#[test]
fn r5_savings_of_two_threads_stay_bounded() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let budget = shared(RetryBudget::builder(1.0).floor_per_second(0).max_saved(1).build());
        budget.deposit();
        let other = spawn(&budget, |budget| {
            budget.deposit();
            withdrawn(budget)
        });
        budget.deposit();
        assert!(budget.saved() <= 1, "more is saved than may be");
        let withdrawn = withdrawn(&budget) + other.join().expect("withdrew");
        // Of the two paid in while one was saved already, one at most came after that was taken out.
        assert!((1..=2).contains(&(withdrawn + u64::from(budget.saved()))));
    });
}

/// R5: the floor of one a second is given to one of three.
#[test]
fn r5_floor_claimed_by_two_threads_is_granted_once() {
    // Time stands still: a process that is stopped for a second would earn another.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    let _paused = runtime.enter();
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let budget = shared(RetryBudget::builder(0.0).floor_per_second(1).build());
        let others = [spawn(&budget, withdrawn), spawn(&budget, withdrawn)];
        let mine = withdrawn(&budget);
        let theirs: u64 = others.map(|other| other.join().expect("withdrew")).iter().sum();
        assert_eq!(mine + theirs, 1);
    });
}

/// R5: a refund at the time of another withdrawal leaves as much as was there, and not more.
#[test]
fn r5_refund_of_two_threads_is_added_once() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    let _paused = runtime.enter();
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        // One retry from the balance, and two from the floor.
        let budget = shared(RetryBudget::builder(1.0).floor_per_second(2).build());
        budget.deposit();
        let other = spawn(&budget, withdrawn);
        drop([budget.reserve(), budget.reserve()]);
        let theirs = other.join().expect("withdrew");
        let mine: u64 = (0..4).map(|_| withdrawn(&budget)).sum();
        assert!(mine + theirs <= 3, "a refund was given twice");
        assert!(mine + theirs >= 2, "more is lost than a share of the floor");
    });
}
