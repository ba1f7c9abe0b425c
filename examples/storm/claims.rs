//! What the simulation is there to show, held against the runs of every seed.

use crate::{Lived, figures::Figures, server::CAPACITY, simulation::Traffic};

/// What is not true.
pub(crate) fn broken(lived: &Lived) -> Vec<String> {
    let runs = |name| {
        let of = lived.strategies.iter().find(|(strategy, _)| strategy.name == name);
        &of.expect("the name of a strategy").1
    };
    let recover = |name| runs(name).iter().all(|run| run.recovery.is_some());
    let stay_down = |name| runs(name).iter().all(|run| run.recovery.is_none());
    let peaks = |name, is: fn(u64) -> bool| runs(name).iter().all(|run| is(run.peak(run.after())));
    let budgets = ["at once, budget", "exponential, budget", "exponential, jitter, budget"];

    let mut claims = vec![
        ("without retries, the outage does no lasting harm", recover("none")),
        ("retries at once keep the server down", stay_down("at once")),
        (
            "with a budget it recovers, whatever the waits are",
            budgets.iter().all(|name| recover(name)),
        ),
    ];
    match lived.traffic {
        Traffic::Closed => {
            claims.push((
                "backoff saves it",
                recover("exponential") && recover("exponential, jitter"),
            ));
            let answered = |name| runs(name).iter().map(|run: &Figures| run.answered);
            let worse = answered("at once").zip(answered("none")).all(|(once, none)| once < none);
            claims.push(("retries at once are worse than none", worse));
            // After a long outage clients have lost step with each other, jitter or not.
            let short = |run: &Figures| run.outage().len() <= 10;
            if runs("none").iter().all(short) {
                let waves = peaks("exponential", |peak| peak > CAPACITY.into());
                claims.push(("without jitter the load comes back in waves", waves));
            }
            let calm = peaks("exponential, jitter", |peak| peak < CAPACITY.into());
            claims.push(("with jitter the server can do what comes back", calm));
        }
        Traffic::Open => {
            let down = stay_down("exponential") && stay_down("exponential, jitter");
            claims.push(("backoff doesn't save it, with jitter or without", down));
        }
    }
    let broken = claims.into_iter().filter(|(_, is_true)| !is_true);
    broken.map(|(claim, _)| format!("{}: {claim}", lived.traffic.name())).collect()
}
