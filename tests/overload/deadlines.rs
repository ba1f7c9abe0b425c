use crate::queue::{RUN, Run, exponential};
use crate::secs;

#[tokio::test(start_paused = true)]
async fn table() {
    for seed in 0..3 {
        let show = |name: &str, o: crate::queue::Outcomes| {
            println!(
                "{name:30} goodput {:.3} idle {:.3} {:?} times {} {}",
                o.goodput(),
                o.idle(),
                o.total(),
                o.with_time,
                o.without_time
            );
            o.assert_in_order();
        };
        let mixed = Run {
            deadline: |rng, _| std::time::Duration::from_secs_f64(5.0 + 95.0 * rng.f64()),
            ..RUN
        };
        show("equal", RUN.run(seed).await);
        show("equal fifo", Run { tells: false, ..RUN }.run(seed).await);
        show("equal skip", Run { tells: false, skips_expired: true, ..RUN }.run(seed).await);
        show("mixed", mixed.run(seed).await);
        show("mixed fifo", Run { tells: false, ..mixed }.run(seed).await);
        show("load 1.0", Run { load: |_| 1.0, ..RUN }.run(seed).await);
        show("load 1.1", Run { load: |_| 1.1, ..RUN }.run(seed).await);
        show("load 0.9", Run { load: |_| 0.9, ..RUN }.run(seed).await);
        show(
            "steps",
            Run {
                takes: |rng, at| {
                    exponential(rng, if at.as_secs() / 1000 % 2 == 0 { 1.0 } else { 3.0 })
                },
                lasts: secs(8000),
                ..RUN
            }
            .run(seed)
            .await,
        );
        show(
            "bimodal",
            Run {
                permits: 4,
                takes: |rng, _| if rng.f64() < 0.9 { secs(1) / 11 } else { secs(100) / 11 },
                lasts: secs(3000),
                ..RUN
            }
            .run(seed)
            .await,
        );
        show(
            "bursts",
            Run {
                load: |at| if at.as_secs() % 100 < 20 { 5.0 } else { 0.2 },
                lasts: secs(2000),
                ..RUN
            }
            .run(seed)
            .await,
        );
        show("hopeless", Run { deadline: |_, _| secs(2), ..RUN }.run(seed).await);
        show(
            "hopeless const",
            Run { takes: |_, _| secs(3), deadline: |_, _| secs(2), ..RUN }.run(seed).await,
        );
    }
}
