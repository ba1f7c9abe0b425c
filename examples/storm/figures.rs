//! The figures of a run.

use std::{ops::Range, time::Duration};

use crate::{
    server::PATIENCE,
    simulation::{Outcome, Run, Times, USUAL},
};

/// The time for which a recovered server has to succeed.
const STEADY: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) times: Times,
    /// Requests made in each second.
    pub(crate) requests: Vec<u64>,
    /// Attempts begun in each second.
    pub(crate) attempts: Vec<u64>,
    /// Attempts that succeeded in each second.
    pub(crate) in_time: Vec<u64>,
    /// Retries decided in each second.
    pub(crate) granted: Vec<u64>,
    pub(crate) recovery: Option<Duration>,
    /// The share of answered requests among the ended ones.
    pub(crate) answered: f64,
}

impl Figures {
    pub(crate) fn of(run: &Run) -> Self {
        let seconds = run.times.length.as_secs() as usize;
        let begun = |log: &[Outcome]| per_second(seconds, log.iter().map(|one| one.begun));
        let successes = run.attempts.iter().filter(|attempt| attempt.is_success());
        let ended = run.requests.iter().filter(|request| request.ended.is_some()).count();
        let answered = run.requests.iter().filter(|request| request.is_success()).count();
        Self {
            times: run.times.clone(),
            requests: begun(&run.requests),
            attempts: begun(&run.attempts),
            in_time: per_second(seconds, successes.filter_map(|attempt| Some(attempt.ended?.0))),
            granted: per_second(seconds, run.granted.iter().copied()),
            recovery: recovery(&run.times, &run.attempts),
            answered: answered as f64 / ended as f64,
        }
    }

    /// Returns the seconds of the whole run.
    pub(crate) fn all(&self) -> Range<usize> {
        0..self.requests.len()
    }

    pub(crate) fn outage(&self) -> Range<usize> {
        self.times.outage.start.as_secs() as usize..self.times.outage.end.as_secs() as usize
    }

    pub(crate) fn after(&self) -> Range<usize> {
        self.outage().end..self.all().end
    }

    /// Returns the attempts per request.
    pub(crate) fn amplification(&self, seconds: Range<usize>) -> f64 {
        let attempts: u64 = self.attempts[seconds.clone()].iter().sum();
        let requests: u64 = self.requests[seconds].iter().sum();
        attempts as f64 / requests as f64
    }

    /// Returns the most attempts in a second.
    pub(crate) fn peak(&self, seconds: Range<usize>) -> u64 {
        self.attempts[seconds].iter().copied().max().unwrap_or(0)
    }
}

/// Returns the time from the end of the outage to the recovery, or `None` without one.
///
/// A server has recovered when, in any five seconds from then on, at least 99 % of the attempts
/// succeed and the successes are at least 80 % of the usual number of requests. The second
/// condition rules out a server that succeeds only because its clients still back off.
fn recovery(times: &Times, attempts: &[Outcome]) -> Option<Duration> {
    let usual = |&from: &Duration| {
        let index = |time| attempts.partition_point(|attempt| attempt.begun < time);
        let attempts = &attempts[index(from)..index(from + STEADY)];
        let good = attempts.iter().filter(|attempt| attempt.is_success()).count() as f64;
        good >= 0.99 * attempts.len() as f64 && good >= 0.8 * USUAL * STEADY.as_secs_f64()
    };
    let step = Duration::from_millis(100);
    // The result of attempts still under way at the end of the run is unknown.
    let last = times.length - STEADY - PATIENCE;
    let spans = (last - times.outage.end).as_millis() / step.as_millis();
    // From the end backwards, until a span that was not as usual.
    (0..=spans as u32)
        .rev()
        .map(|steps| steps * step)
        .take_while(|&after| usual(&(times.outage.end + after)))
        .last()
}

fn per_second(seconds: usize, times: impl Iterator<Item = Duration>) -> Vec<u64> {
    let mut counts = vec![0; seconds];
    for time in times {
        if let Some(count) = counts.get_mut(time.as_secs() as usize) {
            *count += 1;
        }
    }
    counts
}
