//! Worlds that are drawn at random: nothing was tuned on their figures.

use fastrand::Rng;

use crate::queue::{Draw, RUN, Run, exponential, lognormal};

/// Times in service, and their 95th percentile at a mean of 1 s.
const SHAPES: [(&str, Draw, f64); 4] = [
    ("equal", |_| 1.0, 1.0),
    ("exponential", exponential, 3.0),
    ("lognormal", lognormal, 2.5),
    ("even", |rng| 2.0 * rng.f64(), 1.9),
];
const LOADS: [fn(f64) -> f64; 3] = [|_| 1.5, |_| 2.0, |_| 3.0];

/// Deadlines of at least one and a half times the 95th percentile of the times in service.
#[tokio::test(start_paused = true)]
async fn a13_deadlines_are_met_in_worlds_that_are_drawn_at_random() {
    let mut rng = Rng::with_seed(17);
    for seed in 0..6 {
        let (shape, draw, p95) = SHAPES[rng.usize(..SHAPES.len())];
        let least = p95 * (1.5 + 6.0 * rng.f64());
        let most = if rng.bool() { least } else { least * (1.0 + 9.0 * rng.f64()) };
        let run = Run {
            permits: rng.u32(4..=24),
            max_queue: rng.u32(256..=2_000),
            load: LOADS[rng.usize(..LOADS.len())],
            shape: draw,
            deadline: (least, most),
            measured: (50.0, 150.0),
            ..RUN
        };
        let name = format!(
            "{} permits, load {}, {shape} times, deadlines from {least:.1} to {most:.1}",
            run.permits,
            (run.load)(0.0),
        );
        let outcomes = run.run(&name, seed).await;
        let served = outcomes.all.in_time + outcomes.all.late;
        let in_time = f64::from(outcomes.all.in_time) / f64::from(served);
        assert!(in_time >= 0.95, "{name}: {outcomes:?}");
        assert!(outcomes.idle() <= 0.02, "{name}: {outcomes:?}");
    }
}
