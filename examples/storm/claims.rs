//! The claims about the strategies, checked with the runs of every seed.

use crate::{Results, figures::Figures, server::CAPACITY, simulation::Traffic};

/// Returns the claims that do not hold.
pub(crate) fn broken(results: &Results) -> Vec<String> {
    let runs = |name| {
        let of = results.strategies.iter().find(|(strategy, _)| strategy.name == name);
        &of.expect("the name of a strategy").1
    };
    let recover = |name| runs(name).iter().all(|run| run.recovery.is_some());
    let stay_down = |name| runs(name).iter().all(|run| run.recovery.is_none());
    let peaks = |name, is: fn(u64) -> bool| runs(name).iter().all(|run| is(run.peak(run.after())));
    let budgets = ["at once, budget", "exponential, budget", "exponential, jitter, budget"];

    let mut claims = vec![
        ("without retries, the server recovers", recover("none")),
        ("retries at once keep the server down", stay_down("at once")),
        (
            "with a budget the server recovers, for any waits",
            budgets.iter().all(|name| recover(name)),
        ),
    ];
    match results.traffic {
        Traffic::Closed => {
            claims.push((
                "with backoff the server recovers",
                recover("exponential") && recover("exponential, jitter"),
            ));
            let answered = |name| runs(name).iter().map(|run: &Figures| run.answered);
            let worse = answered("at once").zip(answered("none")).all(|(once, none)| once < none);
            claims.push(("retries at once are worse than none", worse));
            // After a long outage clients are out of step with each other even without jitter.
            let short = |run: &Figures| run.outage().len() <= 10;
            if runs("none").iter().all(short) {
                let waves = peaks("exponential", |peak| peak > CAPACITY.into());
                claims.push(("without jitter the load comes back in waves", waves));
            }
            let calm = peaks("exponential, jitter", |peak| peak < CAPACITY.into());
            claims.push(("with jitter the load stays below the capacity", calm));
        }
        Traffic::Open => {
            let down = stay_down("exponential") && stay_down("exponential, jitter");
            claims.push(("with backoff alone, jittered or not, the server stays down", down));
        }
    }
    let broken = claims.into_iter().filter(|(_, is_true)| !is_true);
    broken.map(|(claim, _)| format!("{}: {claim}", results.traffic.name())).collect()
}
