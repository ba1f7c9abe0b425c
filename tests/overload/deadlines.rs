//! Deadlines at a server in overload.

use crate::queue::{RUN, Rule, Run, bimodal, exponential};

/// Deadlines between 5 and 100 s.
const MIXED: Run = Run { deadline: (5.0, 100.0), ..RUN };

#[tokio::test(start_paused = true)]
async fn a13_equal_deadlines_at_twice_the_capacity_are_met_up_to_the_capacity() {
    for seed in 0..2 {
        let outcomes = RUN.run("equal deadlines", seed).await;
        assert!(outcomes.goodput() >= 0.96, "{outcomes:?}");
        assert!(outcomes.idle() <= 0.02, "{outcomes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a13_mixed_deadlines_at_twice_the_capacity_are_met_up_to_the_capacity() {
    for seed in 0..2 {
        let outcomes = MIXED.run("mixed deadlines", seed).await;
        assert!(outcomes.goodput() >= 0.97, "{outcomes:?}");
        assert!(outcomes.idle() <= 0.02, "{outcomes:?}");
    }
}

/// The control: without the prediction, each request is served just too late.
#[tokio::test(start_paused = true)]
async fn a13_skipping_expired_requests_alone_serves_most_of_them_too_late() {
    let skipped = Run { rule: Rule::ExpiredSkipped, ..RUN }.run("expired skipped", 0).await;
    assert!(skipped.goodput() <= 0.3, "{skipped:?}");
    let unknown = Run { rule: Rule::Unknown, ..RUN }.run("deadlines unknown", 0).await;
    assert!(unknown.goodput() <= 0.1, "{unknown:?}");
}

#[tokio::test(start_paused = true)]
async fn a13_deadlines_are_met_across_steps_of_the_time_in_service() {
    let mean = |at: f64| if at % 100.0 < 50.0 { 1.0 } else { 3.0 };
    let steps = Run { mean, deadline: (20.0, 20.0), measured: (50.0, 250.0), ..RUN };
    let outcomes = steps.run("times in service of 1 and 3 s, by turns", 0).await;
    assert!(outcomes.goodput() >= 0.9, "{outcomes:?}");
    assert!(outcomes.idle() <= 0.02, "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn a13_deadlines_are_met_with_bimodal_times_and_few_permits() {
    let run = Run { permits: 4, shape: bimodal, measured: (100.0, 700.0), ..RUN };
    let outcomes = run.run("bimodal, 4 permits", 0).await;
    assert!(outcomes.goodput() >= 0.9, "{outcomes:?}");
}

/// The queue empties often, and each time the pace is forgotten.
#[tokio::test(start_paused = true)]
async fn a13_forgotten_pace_costs_nothing_at_loads_near_the_capacity() {
    for (name, load, least) in [
        ("load 0.9", (|_| 0.9) as fn(f64) -> f64, 0.99),
        ("load 1.0", |_| 1.0, 0.97),
        ("load 1.1", |_| 1.1, 0.85),
    ] {
        let outcomes = Run { load, ..RUN }.run(name, 0).await;
        assert!(outcomes.all.in_time() >= least, "{outcomes:?}");
    }
}

/// Each gap empties the queue, and each burst fills it in a moment.
#[tokio::test(start_paused = true)]
async fn a12_gaps_between_bursts_lock_no_request_out() {
    let load = |at: f64| if at % 100.0 < 20.0 { 5.0 } else { 0.2 };
    let outcomes = Run { load, measured: (100.0, 300.0), ..RUN }.run("bursts", 0).await;
    // 20 s of each 100 s at the capacity, 9 s more from the queue, and 0.2 of the rest.
    assert!(outcomes.goodput() >= 0.38, "{outcomes:?}");
}

/// While the service takes longer than any deadline, all waiters are rejected. Free permits admit
/// requests all the same, so that the limit learns that the service is fast again.
#[tokio::test(start_paused = true)]
async fn a12_service_that_was_slower_than_all_deadlines_is_used_again() {
    let slow = Run {
        mean: |at| if at < 100.0 { 30.0 } else { 1.0 },
        shape: |_| 1.0,
        measured: (0.0, 100.0),
        ..RUN
    };
    let outcomes = slow.run("slower than all deadlines", 0).await;
    assert!(outcomes.idle() <= 0.05, "{outcomes:?}");
    let fast = Run { measured: (200.0, 400.0), shape: exponential, ..slow };
    let outcomes = fast.run("fast again", 0).await;
    assert!(outcomes.goodput() >= 0.95, "{outcomes:?}");
}
