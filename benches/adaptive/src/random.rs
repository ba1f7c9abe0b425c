//! Random worlds.

use crate::world::{Course, Phase, Server, Times, World};

/// Returns the world of a seed: three phases, the load, the times and the capacity of which change.
pub fn world(seed: u64) -> World {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0xADA9_71CE);
    let log = |rng: &mut fastrand::Rng, low: f64, high: f64| low * (high / low).powf(rng.f64());
    let server = match rng.u32(0..10) {
        0..6 => Server::Fifo,
        6..9 => Server::Shared,
        _ => Server::Retrograde(0.3 + rng.f64()),
    };
    let capacity = log(&mut rng, 2.0, 250.0).round();
    let service = log(&mut rng, 0.001, 0.3);
    let times = match rng.u32(0..10) {
        0..3 => Times::Exponential,
        3..7 => Times::Lognormal(0.2 + 0.6 * rng.f64()),
        7..9 => Times::Bimodal(0.1),
        _ => Times::Constant,
    };
    let mut phase = Phase {
        capacity: capacity as u32,
        service,
        times,
        load: 1.0 + rng.f64(),
        ..Phase::new("first", 0.0)
    };
    let phases = (0..3)
        .map(|number| {
            phase.seconds = log(&mut rng, 20.0, 120.0);
            phase.course = Course::Steady;
            if number > 0 {
                match rng.u32(0..6) {
                    0 => {
                        phase.capacity =
                            (capacity * log(&mut rng, 0.1, 2.0)).round().max(2.0) as u32;
                        phase.name = "capacity".into();
                    }
                    1 => {
                        phase.service = service * log(&mut rng, 0.1, 10.0);
                        phase.name = "latency".into();
                    }
                    2 => {
                        phase.load = 0.8 + 2.2 * rng.f64();
                        phase.name = "load".into();
                    }
                    3 => {
                        phase.course = Course::Drift(log(&mut rng, 0.3, 3.0));
                        phase.name = "drift".into();
                    }
                    4 => {
                        phase.course = Course::Breathing;
                        phase.name = "breathing".into();
                    }
                    _ => {
                        phase.course = Course::Pauses;
                        phase.name = "pauses".into();
                    }
                }
            }
            // A run of minutes in a second: the requests of a phase are bounded.
            phase.seconds = phase.seconds.min(600_000.0 / phase.arrivals());
            phase.clone()
        })
        .collect();
    World { name: format!("world {seed}"), server, limiters: 1, max_queue: 200, phases }
}
