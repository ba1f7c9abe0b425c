use crate::queue::{RUN, Run};
use crate::secs;

use tower_floodgate::backpressure::Class;

#[tokio::test(start_paused = true)]
async fn table() {
    let class = |rng: &mut fastrand::Rng| match rng.f64() {
        x if x < 0.2 => Class::Critical,
        x if x < 0.5 => Class::Normal,
        _ => Class::Sheddable,
    };
    for seed in 0..2 {
        for tells in [false, true] {
            for (max_queue, name) in [(64, "64"), (256, "256")] {
                for (load, l) in [
                    ((|_| 2.0) as fn(std::time::Duration) -> f64, "2.0"),
                    (|_| 1.1, "1.1"),
                    (|_| 1.5, "1.5"),
                ] {
                    let o = Run { class, tells, max_queue, load, lasts: secs(1000), ..RUN }
                        .run(seed)
                        .await;
                    let c = o.per_class;
                    println!(
                        "tells {tells} queue {name} load {l} goodput {:.3} idle {:.3}: {:.2} {:.2} {:.2}",
                        o.goodput(),
                        o.idle(),
                        c[0].served(),
                        c[1].served(),
                        c[2].served()
                    );
                    o.assert_in_order();
                }
            }
        }
    }
}
