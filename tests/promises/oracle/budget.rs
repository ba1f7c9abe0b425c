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
    /// To this numerator of the ratio.
    SetRatio(u64),
    SetFloor(u32),
    SetMaxSaved(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..40_u32).prop_map(Step::Deposit),
        3 => (1..40_u32).prop_map(Step::Withdraw),
        1 => (0..40_u64, -1..=1_i64).prop_map(|(steps, beside)| Step::Advance(steps, beside)),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..200)
}

/// A ratio as a fraction. Its denominator divides a million, for which the budget is exact.
fn ratio() -> impl Strategy<Value = (u64, u64)> {
    let denominators = vec![1, 2, 4, 5, 8, 10, 20, 25, 32, 50, 64, 100, 125, 1000, 1_000_000];
    proptest::sample::select(denominators).prop_flat_map(|d| (0..=3 * d, Just(d)))
}

fn floor() -> impl Strategy<Value = u32> {
    0..30_u32
}

fn max_saved() -> impl Strategy<Value = u32> {
    prop_oneof![0..6_u32, Just(1000)]
}

/// Steps among which the settings change. A numerator is of the denominator of the schedule.
fn changing_steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => step(),
        1 => prop_oneof![
            (0..4000_u64).prop_map(Step::SetRatio),
            floor().prop_map(Step::SetFloor),
            max_saved().prop_map(Step::SetMaxSaved),
        ],
    ];
    proptest::collection::vec(step, 1..200)
}

/// There are as many retries as the requests and the floor pay for, to the last fraction.
#[test]
fn r5_budget_agrees_with_the_naive_one() {
    let schedules = (ratio(), floor(), max_saved(), steps());
    hold(file!(), schedules, |(ratio, floor, saved, steps)| run(ratio, floor, saved, steps));
}

/// The same while the settings change: a step obeys those of its moment.
#[test]
fn r12_budget_with_changed_settings_agrees_with_the_naive_one() {
    let schedules = (ratio(), floor(), max_saved(), changing_steps());
    hold(file!(), schedules, |(ratio, floor, saved, steps)| run(ratio, floor, saved, steps));
}

async fn run(
    (mut numerator, denominator): (u64, u64),
    mut floor: u32,
    saved: u32,
    steps: Vec<Step>,
) -> Result<usize, TestCaseError> {
    let budget = RetryBudget::builder(numerator as f64 / denominator as f64)
        .floor_per_second(floor)
        .max_saved(saved)
        .build();
    // In `denominator`ths of a retry.
    let (mut paid, mut most) = (0, u64::from(saved) * denominator);
    // In nanoseconds: the cost of a retry of the floor, and the time until all of its retries are
    // paid for. There is never more than a second's worth of it.
    let cost = |floor: u32| 1_000_000_000_u64.div_ceil(u64::from(floor).max(1));
    let mut owed = 0;
    let taken = steps.len();
    for step in steps {
        match step {
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
                    } else if owed + cost(floor) <= cost(floor) * u64::from(floor) {
                        owed += cost(floor);
                        true
                    } else {
                        false
                    };
                    prop_assert_eq!(budget.withdraw(), granted);
                }
            }
            Step::Advance(steps, beside) => {
                let nanos = (cost(floor) * steps).saturating_add_signed(beside);
                tokio::time::advance(Duration::from_nanos(nanos)).await;
                owed = owed.saturating_sub(nanos);
            }
            Step::SetRatio(to) => {
                numerator = to.min(1000 * denominator);
                prop_assert!(budget.set_ratio(numerator as f64 / denominator as f64).is_ok());
            }
            Step::SetFloor(to) => {
                floor = to;
                budget.set_floor_per_second(to);
            }
            Step::SetMaxSaved(to) => {
                most = u64::from(to) * denominator;
                paid = paid.min(most);
                budget.set_max_saved(to);
            }
        }
        prop_assert_eq!(u64::from(budget.saved()), paid / denominator);
    }
    Ok(taken)
}
