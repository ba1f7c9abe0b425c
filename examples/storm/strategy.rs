//! Seven strategies: no retries, and three kinds of waits, each with and without a budget.

use std::time::Duration;

use tower_floodgate::{
    ExponentialRetry,
    retry::{Backoff, Jitter, RetryBudget},
};

pub(crate) const ATTEMPTS: u32 = 5;
/// Requests that together pay for one retry of the budget.
pub(crate) const REQUESTS_PER_RETRY: u64 = 10;
/// Retries per second that the budget allows without payment.
pub(crate) const FLOOR: u64 = 10;
/// The most retries that the budget saves up.
pub(crate) const SAVED: u64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    AtOnce,
    Exponential,
    ExponentialJitter,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Strategy {
    pub(crate) name: &'static str,
    /// The waits between attempts; `None` makes one attempt.
    pub(crate) waits: Option<Waits>,
    pub(crate) budget: bool,
}

const fn strategy(name: &'static str, waits: Option<Waits>, budget: bool) -> Strategy {
    Strategy { name, waits, budget }
}

pub(crate) const STRATEGIES: [Strategy; 7] = [
    strategy("none", None, false),
    strategy("at once", Some(Waits::AtOnce), false),
    strategy("exponential", Some(Waits::Exponential), false),
    strategy("exponential, jitter", Some(Waits::ExponentialJitter), false),
    strategy("at once, budget", Some(Waits::AtOnce), true),
    strategy("exponential, budget", Some(Waits::Exponential), true),
    strategy("exponential, jitter, budget", Some(Waits::ExponentialJitter), true),
];

impl Strategy {
    /// Returns a policy with a new budget, for one run.
    pub(crate) fn policy(self, seed: u64) -> ExponentialRetry {
        let Some(waits) = self.waits else { return ExponentialRetry::new(1) };
        // A millisecond is the shortest wait, since a wait is never zero.
        let at_once = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
        let exponential = Backoff::new(Duration::from_secs(1), Duration::from_secs(20));
        let backoff = match waits {
            Waits::AtOnce => at_once.jitter(Jitter::None),
            Waits::Exponential => exponential.jitter(Jitter::None),
            Waits::ExponentialJitter => exponential.jitter(Jitter::Full),
        };
        let retry = ExponentialRetry::new(ATTEMPTS).seed(seed).backoff(backoff);
        if !self.budget {
            return retry;
        }
        // All clients share it, as the tasks of one process do.
        let budget = RetryBudget::builder(1.0 / REQUESTS_PER_RETRY as f64)
            .floor_per_second(FLOOR as u32)
            .max_saved(SAVED as u32)
            .build();
        retry.budget(budget)
    }
}
