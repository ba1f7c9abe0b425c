//! Classes at a server in overload.

use fastrand::Rng;
use tower_floodgate::backpressure::Class;

use crate::queue::{Counts, RUN, Rule, Run};

/// A fifth of the requests is critical, and a half sheddable.
fn class(rng: &mut Rng) -> Option<Class> {
    Some(match rng.f64() {
        it if it < 0.2 => Class::Critical,
        it if it < 0.5 => Class::Normal,
        _ => Class::Sheddable,
    })
}

const CLASSES: Run = Run { class, ..RUN };

async fn in_time(run: Run, name: &str, seed: u64) -> [f64; 3] {
    let outcomes = run.run(name, seed).await;
    let of = outcomes.classes.map(|counts: Counts| counts.in_time());
    println!("    critical {:.2}, normal {:.2}, sheddable {:.2}", of[0], of[1], of[2]);
    assert!(outcomes.goodput() >= 0.95, "{outcomes:?}");
    of
}

#[tokio::test(start_paused = true)]
async fn a14_shares_of_a_short_queue_serve_classes_in_their_order() {
    for rule in [Rule::Unknown, Rule::Known] {
        let run = Run { max_queue: 64, rule, ..CLASSES };
        let of = in_time(run, "shares of a queue of 64", 0).await;
        assert!(of[0] >= 0.99 && of[1] >= 0.87 && of[2] >= 0.03, "{of:?}");
    }
}

/// The queue is never long enough for a share: the prediction decides.
#[tokio::test(start_paused = true)]
async fn a14_prediction_serves_classes_in_their_order() {
    for (max_queue, seed) in [(256, 0), (100_000, 1)] {
        let run = Run { max_queue, ..CLASSES };
        let of = in_time(run, "prediction by shares", seed).await;
        assert!(of[0] >= 0.99 && of[1] >= 0.87 && of[2] >= 0.02, "{of:?}");
    }
}

/// The control: equal shares serve all classes alike.
#[tokio::test(start_paused = true)]
async fn a14_equal_shares_make_no_difference() {
    let of = in_time(Run { shares: (1.0, 1.0, 1.0), ..CLASSES }, "equal shares", 0).await;
    assert!(of.iter().all(|of| (0.45..0.55).contains(of)), "{of:?}");
}

#[tokio::test(start_paused = true)]
async fn a14_class_is_served_in_full_while_it_fits_with_the_more_critical_ones() {
    for max_queue in [64, 256] {
        let run = Run { load: |_| 1.1, max_queue, ..CLASSES };
        let of = in_time(run, "a tenth above the capacity", 0).await;
        assert!(of[0] >= 0.995 && of[1] >= 0.99 && of[2] >= 0.7, "{of:?}");

        // Critical and normal requests take 0.9 of the capacity.
        let class = |rng: &mut Rng| {
            Some(match rng.f64() {
                it if it < 0.15 => Class::Critical,
                it if it < 0.3 => Class::Normal,
                _ => Class::Sheddable,
            })
        };
        let run = Run { load: |_| 3.0, class, max_queue, ..CLASSES };
        // For moments, arrivals by chance exceed the capacity.
        let of = in_time(run, "three times the capacity", 0).await;
        assert!(of[0] >= 0.99 && of[1] >= 0.93, "{of:?}");
    }
}
