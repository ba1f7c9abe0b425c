//! What a budget allows, held against what was done: for every span of whole seconds, in whole numbers.
//!
//! Retries are counted when they are decided for, because that is when the budget is asked. They are made
//! after their wait, so a server can see more of them in a span than were decided for in it.

use std::ops::Range;

use crate::{
    figures::Figures,
    strategy::{FLOOR, REQUESTS_PER_RETRY, SAVED},
};

/// A span of a run, in seconds, and its retries.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) seconds: Range<usize>,
    pub(crate) requests: u64,
    pub(crate) retries: u64,
    /// The most retries that the budget has for it, in parts of a retry such as a request pays for.
    allowed: u64,
}

impl Span {
    /// `before` and `requests`: how many were made before the span and in it.
    fn new(seconds: Range<usize>, before: u64, requests: u64, retries: u64) -> Self {
        // In t seconds the floor gives a second's worth at once, and t seconds' worth.
        let floor = FLOOR * (seconds.len() as u64 + 1);
        let saved = before.min(REQUESTS_PER_RETRY * SAVED);
        let allowed = requests + REQUESTS_PER_RETRY * floor + saved;
        Self { seconds, requests, retries, allowed }
    }

    pub(crate) fn of(figures: &Figures, seconds: Range<usize>) -> Self {
        let sum = |counts: &[u64]| counts.iter().sum();
        let before = sum(&figures.requests[..seconds.start]);
        let requests = sum(&figures.requests[seconds.clone()]);
        let retries = sum(&figures.granted[seconds.clone()]);
        Self::new(seconds, before, requests, retries)
    }

    fn is_kept(&self) -> bool {
        REQUESTS_PER_RETRY * self.retries <= self.allowed
    }

    pub(crate) fn allowed(&self) -> f64 {
        self.allowed as f64 / REQUESTS_PER_RETRY as f64
    }

    /// How much of what was allowed was used, from 0 to 1.
    pub(crate) fn used(&self) -> f64 {
        self.retries as f64 / self.allowed()
    }

    /// Attempts per request, if every retry that was decided for is made,
    pub(crate) fn amplification(&self) -> f64 {
        1.0 + self.retries as f64 / self.requests as f64
    }

    /// and if every retry was made that is allowed.
    pub(crate) fn amplification_allowed(&self) -> f64 {
        1.0 + self.allowed() / self.requests as f64
    }
}

/// The spans of a run that are worth telling of.
#[derive(Clone, Debug)]
pub(crate) struct Spans {
    pub(crate) whole: Span,
    pub(crate) fullest: Span,
}

/// Looks at every span. The error says which one has more retries than the budget.
pub(crate) fn check(figures: &Figures) -> Result<Spans, String> {
    let Figures { requests, attempts, granted, .. } = figures;

    // No retry is made that was not decided for.
    let (mut made, mut paid) = (0, 0);
    for second in figures.all() {
        made += attempts[second];
        paid += requests[second] + granted[second];
        if made > paid {
            return Err(format!(
                "{made} attempts by {} s, of {paid} requested or decided for",
                second + 1
            ));
        }
    }

    let mut fullest: Option<Span> = None;
    let mut whole = None;
    let mut before = 0;
    for from in figures.all() {
        let (mut inside, mut retries) = (0, 0);
        for last in from..requests.len() {
            inside += requests[last];
            retries += granted[last];
            let span = Span::new(from..last + 1, before, inside, retries);
            if !span.is_kept() {
                return Err(format!(
                    "{retries} retries decided for from {from} s to {} s, with {inside} requests, where \
                     the budget has {}",
                    last + 1,
                    span.allowed()
                ));
            }
            if span.seconds == figures.all() {
                whole = Some(span.clone());
            }
            if fullest.as_ref().is_none_or(|fullest| span.used() > fullest.used()) {
                fullest = Some(span);
            }
        }
        before += requests[from];
    }
    let (Some(whole), Some(fullest)) = (whole, fullest) else {
        return Err("no time at all".into());
    };
    Ok(Spans { whole, fullest })
}
