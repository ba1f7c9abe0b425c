//! The claims about the candidates. All of them are ratios of figures of the same run.

use super::{
    candidate::Candidate,
    figures::Figures,
    load::Importance,
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
/// The longest p99 of an adaptive limit, of the deadline.
const AS_FAST: f64 = 1.25;
/// The least share of critical requests in time, of that of sheddable ones.
const FIRST: f64 = 2.0;

/// Returns the claims that do not hold.
pub(crate) fn broken(results: Results<'_>) -> Vec<String> {
    let Some(fixed) = results.runs.iter().find(|run| run.candidate == Candidate::Fixed) else {
        return vec!["the candidate to compare with is missing".to_owned()];
    };
    let mut broken = Vec::new();
    for scene in results.scenes {
        let good = Figures::of(fixed, &scene.settled());
        for run in results.runs {
            let mut claims = Claims { results, scene, run, good, broken: &mut broken };
            if run.candidate.is_adaptive() {
                claims.of_goodput();
                claims.of_latency();
                claims.of_loss();
            }
            if run.candidate.has_classes() {
                claims.of_classes();
            }
            if run.candidate == Candidate::Unlimited {
                claims.of_no_limit();
            }
        }
    }
    broken
}

/// The claims about a candidate in a scene.
struct Claims<'a> {
    results: Results<'a>,
    scene: &'a Scene,
    run: &'a Run,
    /// The figures of the good fixed limit.
    good: Figures,
    broken: &'a mut Vec<String>,
}

impl Claims<'_> {
    fn claim(&mut self, is_true: bool, found: &str) {
        if !is_true {
            let name = self.run.candidate.name(self.results.kind);
            self.broken.push(format!("{}: {name}: {found}", self.scene.name));
        }
    }

    fn figures(&self) -> Figures {
        Figures::of(self.run, &self.scene.settled())
    }

    fn of_goodput(&mut self) {
        let [own, good] = [self.figures(), self.good].map(|figures| figures.goodput);
        let found = format!("{own:.0} per s in time, {good:.0} with the fixed limit");
        self.claim(own >= AS_GOOD * good, &found);
    }

    fn of_latency(&mut self) {
        let (Some(own), Some(good)) = (self.figures().p99, self.good.p99) else { return };
        // With an outer timeout no latency is longer than that. Where the good fixed limit is late,
        // something else than the bottleneck is too slow.
        if !self.scene.has_outer_timeout() && good <= DEADLINE {
            let found = format!("a p99 of {own:.0?}, {good:.0?} with the fixed limit");
            self.claim(own <= DEADLINE.mul_f64(AS_FAST), &found);
        }
    }

    fn of_loss(&mut self) {
        if self.scene.is_loss() && self.scene.has_outer_timeout() {
            let (own, left) = (self.figures().goodput, self.results.capacity * self.scene.share());
            let found = format!("{own:.0} per s in time, of a capacity of {left:.0}");
            self.claim(own >= NOT_LOCKED_IN * left, &found);
        }
    }

    fn of_classes(&mut self) {
        if self.scene.is_twice() {
            let span = self.scene.settled();
            let in_time = |class| Figures::of_class(self.run, &span, class).in_time();
            let [first, last] = [Importance::Critical, Importance::Sheddable].map(in_time);
            let found = format!("{first:.2} of the critical in time, {last:.2} of the sheddable");
            self.claim(first >= FIRST * last, &found);
        }
    }

    fn of_no_limit(&mut self) {
        if self.scene.is_twice() {
            let [own, good] = [self.figures(), self.good].map(|figures| figures.goodput);
            let found = format!("{own:.0} per s in time, {good:.0} with the fixed limit");
            self.claim(own <= VISIBLY_WORSE * good, &found);
        }
    }
}
