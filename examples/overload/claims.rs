//! The claims about the candidates. All of them are ratios of figures of the same run.

use super::{
    candidate::Candidate,
    figures::Figures,
    plot::Results,
    run::Run,
    scene::{DEADLINE, Scene},
};

/// The least goodput of an adaptive limit, of that of the good fixed limit.
const AS_GOOD: f64 = 0.9;
/// The least goodput of an adaptive limit after a loss, of the capacity that is left.
const NOT_LOCKED_IN: f64 = 0.7;
/// The most goodput without a limit, of that of the good fixed limit.
const VISIBLY_WORSE: f64 = 0.5;
/// The longest p99 of an adaptive limit beyond the deadline, of that of the good fixed limit.
const AS_FAST: f64 = 1.25;

/// Returns the claims that do not hold.
pub(crate) fn broken(results: Results<'_>) -> Vec<String> {
    let Results { kind, capacity, scenes, runs } = results;
    let run = |candidate| runs.iter().find(|run| run.candidate == candidate);
    let (Some(fixed), Some(unlimited)) = (run(Candidate::Fixed), run(Candidate::Unlimited)) else {
        return vec!["the candidates to compare with are missing".to_owned()];
    };
    let figures = |run: &Run, scene: &Scene| Figures::of(run, &scene.settled());
    let mut broken = Vec::new();
    for scene in scenes {
        let good = figures(fixed, scene);
        let mut claim = |name: &str, is_true: bool, text: String| {
            if !is_true {
                broken.push(format!("{}, {name}: {text}", scene.name));
            }
        };
        for run in runs.iter().filter(|run| run.candidate.is_adaptive()) {
            let (name, own) = (run.candidate.name(kind), figures(run, scene));
            claim(
                &name,
                own.goodput >= AS_GOOD * good.goodput,
                format!("{:.0} per s in time, the fixed limit {:.0}", own.goodput, good.goodput),
            );
            if scene.is_loss() && scene.has_outer_timeout() {
                let left = capacity * scene.share();
                claim(
                    &name,
                    own.goodput >= NOT_LOCKED_IN * left,
                    format!("{:.0} per s in time, of a capacity of {left:.0}", own.goodput),
                );
            }
            if let (Some(p99), Some(of_good), false) =
                (own.p99, good.p99, scene.has_outer_timeout())
            {
                claim(
                    &name,
                    p99 <= DEADLINE.max(of_good.mul_f64(AS_FAST)),
                    format!("a p99 of {p99:.0?}, the fixed limit {of_good:.0?}"),
                );
            }
        }
        if scene.load == 2.0 && !scene.is_loss() {
            let own = figures(unlimited, scene);
            claim(
                "no limit",
                own.goodput <= VISIBLY_WORSE * good.goodput,
                format!("{:.0} per s in time, the fixed limit {:.0}", own.goodput, good.goodput),
            );
        }
    }
    broken
}
