//! The known kinds of phases.

use crate::world::{Course, Phase, Server, Times, World};

fn world(name: &str, server: Server, phases: Vec<Phase>) -> World {
    World { name: name.to_owned(), server, limiters: 1, max_queue: 400, phases }
}

/// Returns the known worlds. A phase without a name only leads to the next.
pub fn worlds() -> Vec<World> {
    let lead = || Phase::new("", 20.0);
    let at = |name: &str, seconds| Phase::new(name, seconds);
    let fifo = |name: &str, phases| world(name, Server::Fifo, phases);
    let mut worlds = vec![
        fifo("steady", vec![at("steady", 60.0)]),
        fifo("cold start", vec![Phase { capacity: 200, ..at("cold start to 200 permits", 20.0) }]),
        fifo(
            "capacity",
            vec![
                lead(),
                Phase { capacity: 4, ..at("capacity 40 to 4", 60.0) },
                at("back to 40", 60.0),
            ],
        ),
        fifo(
            "latency",
            vec![
                lead(),
                Phase { service: 0.2, ..at("latency x 10, same permits", 60.0) },
                at("latency back", 30.0),
            ],
        ),
        fifo(
            "drift",
            vec![lead(), Phase { course: Course::Drift(3.0), ..at("drift x 3 in 2 min", 120.0) }],
        ),
        fifo(
            "bimodal",
            vec![
                Phase { times: Times::Bimodal(0.1), ..at("bimodal 1:100, 90:10", 120.0) },
                Phase { times: Times::Bimodal(0.4), ..at("slow share 10 to 40 %", 120.0) },
            ],
        ),
        fifo(
            "pauses",
            vec![
                lead(),
                Phase { course: Course::Pauses, ..at("pauses of 200 ms every 5 s", 60.0) },
            ],
        ),
        fifo(
            "failures",
            vec![
                lead(),
                Phase { failing: 0.8, load: 7.5, ..at("80 % fail in 0.2 ms", 30.0) },
                at("after the failures", 20.0),
            ],
        ),
        fifo(
            "idle",
            vec![
                lead(),
                Phase { load: 0.1, ..Phase::new("", 60.0) },
                at("idle at 10 %, then burst", 20.0),
            ],
        ),
        fifo(
            "timeout",
            vec![
                Phase { timeout: Some(0.2), ..lead() },
                Phase {
                    capacity: 4,
                    timeout: Some(0.2),
                    load: 10.0,
                    ..at("outer timeout, capacity / 10", 60.0)
                },
            ],
        ),
        World {
            max_queue: 100,
            ..fifo(
                "patience",
                vec![
                    Phase { patience: Some(0.25), ..lead() },
                    Phase {
                        capacity: 4,
                        patience: Some(0.25),
                        load: 10.0,
                        ..at("callers give up in the queue, capacity / 10", 60.0)
                    },
                    Phase {
                        patience: Some(0.25),
                        ..at("callers give up in the queue, back", 60.0)
                    },
                ],
            )
        },
        outage("varied", Times::Lognormal(0.5)),
        outage("steady", Times::Lognormal(0.2)),
        fifo(
            "breathing",
            vec![
                lead(),
                Phase { course: Course::Breathing, ..at("time breathes ± 50 % in 1 s", 60.0) },
            ],
        ),
        fifo("three", vec![Phase { capacity: 3, service: 0.3, ..at("3 permits, 300 ms", 300.0) }]),
        fifo("fast", vec![Phase { capacity: 8, service: 0.001, ..at("8 permits, 1 ms", 10.0) }]),
        world(
            "shared",
            Server::Shared,
            vec![Phase { capacity: 16, ..at("shared CPU, 16", 120.0) }],
        ),
        world("retrograde", Server::Retrograde(1.0), vec![at("retrograde", 60.0)]),
        fifo("exponential", vec![Phase { times: Times::Exponential, ..at("exponential", 60.0) }]),
        fifo("constant", vec![Phase { times: Times::Constant, ..at("all times equal", 60.0) }]),
        fifo(
            "below",
            vec![
                Phase { load: 0.9, ..at("load 0.9", 60.0) },
                Phase { load: 1.1, ..at("load 1.1", 60.0) },
            ],
        ),
        fifo(
            "overload status",
            vec![Phase { sheds_above: Some(40), ..at("server sheds above its permits", 60.0) }],
        ),
    ];
    for limiters in 2..=4 {
        let phase = at(&format!("{limiters} limiters"), 60.0);
        worlds.push(World { limiters, ..fifo(&format!("limiters-{limiters}"), vec![phase]) });
    }
    worlds.push(world(
        "replicas",
        Server::Replicas,
        vec![at("40 random replicas (soft knee)", 60.0)],
    ));
    worlds
}

/// A server that serves 200 requests at a time, a tenth as many arrive, and for ten seconds it
/// serves none. Their callers give up after 100 ms, in the queue or in the server.
fn outage(name: &str, times: Times) -> World {
    let up = |name: &str, seconds| Phase {
        capacity: 200,
        load: 0.1,
        times,
        patience: Some(0.1),
        ..Phase::new(name, seconds)
    };
    let down = Phase { service: 5.0, load: 25.0, ..up("", 10.0) };
    let phases = vec![up("", 10.0), down, up(&format!("after an outage, {name} times"), 60.0)];
    World { max_queue: 100, ..world(&format!("outage {name}"), Server::Fifo, phases) }
}

/// Returns true for the kinds of phases that the limit does not meet: a server that sheds what is
/// beyond its permits, one with a soft knee, and one with 40 % of slow requests, by a hair.
pub fn fails(phase: &Phase) -> bool {
    phase.sheds_above.is_some()
        || phase.name.contains("soft knee")
        || phase.name.contains("slow share")
}
