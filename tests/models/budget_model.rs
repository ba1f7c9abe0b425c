//! The retry budget under the model checker.

use loom::thread;

use crate::budget::RetryBudget;

/// R5: what one request has paid in is taken out once.
#[test]
fn nothing_is_withdrawn_twice() {
    loom::model(|| {
        let budget = RetryBudget::new(1.0).floor_per_second(0);
        budget.deposit();
        let other = {
            let budget = budget.clone();
            thread::spawn(move || {
                let withdrawn = u64::from(budget.withdraw());
                budget.deposit();
                withdrawn
            })
        };
        budget.deposit();
        let mine = u64::from(budget.withdraw()) + u64::from(budget.withdraw());
        let withdrawn = mine + other.join().expect("withdrew");
        assert_eq!(withdrawn + budget.saved(), 3, "three were paid in");
    });
}

/// R5: the floor of one a second is given to one of two.
#[test]
fn the_floor_is_given_once() {
    loom::model(|| {
        let budget = RetryBudget::new(0.0).floor_per_second(1);
        let other = {
            let budget = budget.clone();
            thread::spawn(move || u32::from(budget.withdraw()))
        };
        let mine = u32::from(budget.withdraw());
        assert_eq!(mine + other.join().expect("withdrew"), 1);
    });
}
