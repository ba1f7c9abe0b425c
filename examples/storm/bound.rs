//! Compares the retries with the budget, in every span of whole seconds and in whole numbers.
//!
//! A retry is counted when it is decided, because the budget is asked then. It is made after its
//! wait, so a server can see more retries in a span than were decided in it.

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
    /// The most retries that the budget allows, counted in deposits: the part of a retry that one
    /// request pays for.
    allowed: u64,
}

impl Span {
    /// Makes a span with `requests` in it and `before` requests before it.
    fn new(seconds: Range<usize>, before: u64, requests: u64, retries: u64) -> Self {
        // In t seconds the floor allows the retries of t seconds, and those of one more at once.
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

    /// Returns the used share of the allowed retries, from 0 to 1.
    pub(crate) fn used(&self) -> f64 {
        self.retries as f64 / self.allowed()
    }

    /// Returns the attempts per request if every decided retry is made.
    pub(crate) fn amplification(&self) -> f64 {
        1.0 + self.retries as f64 / self.requests as f64
    }

    /// Returns the attempts per request if every allowed retry is made.
    pub(crate) fn amplification_allowed(&self) -> f64 {
        1.0 + self.allowed() / self.requests as f64
    }
}

/// The spans of a run that the tables show.
#[derive(Clone, Debug)]
pub(crate) struct Spans {
    pub(crate) whole: Span,
    pub(crate) fullest: Span,
}

/// Checks every span. The error names one with more retries than the budget allows.
pub(crate) fn check(figures: &Figures) -> Result<Spans, String> {
    let Figures { requests, attempts, granted, .. } = figures;

    // Every retry that was made had been decided.
    let (mut made, mut paid) = (0, 0);
    for second in figures.all() {
        made += attempts[second];
        paid += requests[second] + granted[second];
        if made > paid {
            return Err(format!(
                "{made} attempts by {} s, of {paid} requests and decided retries",
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
                    "{retries} retries decided from {from} s to {} s, with {inside} requests, where \
                     the budget allows {}",
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
        return Err("the run has no span".into());
    };
    Ok(Spans { whole, fullest })
}
