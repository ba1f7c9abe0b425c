//! The budget in whole numbers: fractions over one denominator, and the floor as a bucket.

use std::time::Duration;

use proptest::prelude::*;
use tower_floodgate::retry::RetryBudget;

use super::hold;

#[derive(Clone, Debug)]
enum Step {
    Deposit(u32),
    Withdraw(u32),
    /// By the given number of steps of the floor, and a nanosecond less or more.
    Advance(u64, i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..40_u32).prop_map(Step::Deposit),
        3 => (1..40_u32).prop_map(Step::Withdraw),
        1 => (0..40_u64, -1..=1_i64).prop_map(|(steps, beside)| Step::Advance(steps, beside)),
    ];
    proptest::collection::vec(step, 1..200)
}

/// A ratio as a fraction. Its denominator divides a million, for which the budget is exact.
fn ratio() -> impl Strategy<Value = (u64, u64)> {
    let denominators = vec![1, 2, 4, 5, 8, 10, 20, 25, 32, 50, 64, 100, 125, 1000, 1_000_000];
    proptest::sample::select(denominators).prop_flat_map(|d| (0..=3 * d, Just(d)))
}

/// There are as many retries as the requests and the floor pay for, to the last fraction.
#[test]
fn r5_budget_agrees_with_the_naive_one() {
    let schedules = (ratio(), 0..30_u32, prop_oneof![0..6_u32, Just(1000)], steps());
    hold(file!(), schedules, |((numerator, denominator), floor, saved, steps)| async move {
        let budget = RetryBudget::builder(numerator as f64 / denominator as f64)
            .floor_per_second(floor)
            .max_saved(saved)
            .build();
        // In `denominator`ths of a retry.
        let (mut paid, most) = (0, u64::from(saved) * denominator);
        // In nanoseconds: the cost of a retry of the floor, and its balance. Only whole retries are
        // paid.
        let step = 1_000_000_000_u64.div_ceil(u64::from(floor).max(1));
        let full = step * u64::from(floor);
        let mut spare = full;
        let taken = steps.len();
        for step_taken in steps {
            match step_taken {
                Step::Deposit(requests) => {
                    for _ in 0..requests {
                        budget.deposit();
                        paid = (paid + numerator).min(most);
                    }
                }
                Step::Withdraw(retries) => {
                    for _ in 0..retries {
                        let granted = if paid >= denominator {
                            paid -= denominator;
                            true
                        } else if spare >= step {
                            spare -= step;
                            true
                        } else {
                            false
                        };
                        prop_assert_eq!(budget.withdraw(), granted);
                    }
                }
                Step::Advance(steps, beside) => {
                    let nanos = (step * steps).saturating_add_signed(beside);
                    tokio::time::advance(Duration::from_nanos(nanos)).await;
                    spare = (spare + nanos).min(full);
                }
            }
            prop_assert_eq!(u64::from(budget.saved()), paid / denominator);
        }
        Ok(taken)
    });
}
