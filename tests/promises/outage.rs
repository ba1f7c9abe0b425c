//! Retries through a long outage, compared with the budget in every span of whole seconds.

use std::{
    future::ready,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use fastrand::Rng;
use futures::future::{join, join_all};
use tokio::time::sleep;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    ExponentialRetry, ExponentialRetryLayer,
    retry::{Backoff, Jitter, RetryBudget},
};

use crate::support::{ms, now, secs};

/// Seconds in which all requests succeed, in which all fail, and in which the last retries end.
const GOOD: usize = 15;
const DOWN: usize = 45;
const REST: usize = 15;

/// The counts of each second.
#[derive(Debug)]
struct Counts {
    requests: Vec<u64>,
    /// Attempts that the service saw.
    attempts: Vec<u64>,
    /// Retries that the policy decided on. They are made after a wait.
    granted: Vec<u64>,
}

/// Sends about fifty requests a second through a service that works and then fails.
async fn through_an_outage(backoff: Backoff, budget: RetryBudget, seed: u64) -> Counts {
    let seconds = GOOD + DOWN + REST;
    let counter = || Arc::new(Mutex::new(vec![0_u64; seconds]));
    let (requests, attempts, granted) = (counter(), counter(), counter());
    let began = now();
    let count = move |counts: &Mutex<Vec<u64>>| {
        counts.lock().unwrap()[usize::try_from(began.elapsed().as_secs()).unwrap()] += 1;
    };

    let decided = Arc::clone(&granted);
    let policy = ExponentialRetry::new(4).backoff(backoff).seed(seed).budget(budget).on_decision(
        move |decision| {
            if decision.retry_in().is_ok() {
                count(&decided);
            }
        },
    );
    let down = AtomicBool::new(false);
    let service =
        ServiceBuilder::new().layer(ExponentialRetryLayer::new(policy)).service(service_fn(|()| {
            count(&attempts);
            ready(if down.load(SeqCst) { Err("down") } else { Ok(()) })
        }));

    let mut random = Rng::with_seed(seed);
    let callers = (0..(GOOD + DOWN) * 50).map(|n| {
        let service = service.clone();
        let (count, requests, crowd) = (&count, &requests, random.u64(0..=2));
        async move {
            sleep(ms(20 * n as u64)).await;
            let calls = (0..crowd).map(|_| {
                count(requests);
                service.clone().oneshot(())
            });
            join_all(calls).await;
        }
    });
    let breaking = async {
        sleep(secs(GOOD as u64)).await;
        down.store(true, SeqCst);
    };
    join(join_all(callers), breaking).await;
    let counted = |counts: &Mutex<Vec<u64>>| counts.lock().unwrap().clone();
    Counts {
        requests: counted(&requests),
        attempts: counted(&attempts),
        granted: counted(&granted),
    }
}

/// Tenths of a retry for each request, the floor per second, and the bound of the savings.
type Setting = (u64, u32, u32);

const SETTINGS: [Setting; 6] =
    [(1, 10, 50), (1, 0, 50), (0, 7, 50), (5, 3, 30), (5, 3, 0), (7, 5, 40)];

/// The waits, and the seconds in which even the longest one ends.
fn waits() -> [(Backoff, usize); 3] {
    [
        (Backoff::new(ms(1), ms(1)).jitter(Jitter::None), 1),
        (Backoff::new(secs(1), secs(4)).jitter(Jitter::None), 5),
        (Backoff::new(secs(1), secs(4)).jitter(Jitter::Full), 5),
    ]
}

fn budget((tenths, floor, saved): Setting) -> RetryBudget {
    RetryBudget::builder(tenths as f64 / 10.0).floor_per_second(floor).max_saved(saved).build()
}

/// The largest number of retries in a span of seconds, in tenths.
fn most((tenths, floor, saved): Setting, requests: &[u64], span: Range<usize>) -> u64 {
    // Without savings there are no deposits.
    let tenths = if saved == 0 { 0 } else { tenths };
    let paid = tenths * sum(&requests[span.clone()]);
    let saved = (tenths * sum(&requests[..span.start])).min(10 * u64::from(saved));
    paid + saved + 10 * u64::from(floor) * (span.len() as u64 + 1)
}

fn sum(counts: &[u64]) -> u64 {
    counts.iter().sum()
}

#[tokio::test(start_paused = true)]
async fn r5_outage_overdraws_the_budget_in_no_span() {
    for setting in SETTINGS {
        for (backoff, longest) in waits() {
            let counts = through_an_outage(backoff, budget(setting), 1).await;
            let Counts { requests, attempts, granted } = &counts;
            for from in 0..requests.len() {
                for to in from + 1..=requests.len() {
                    let most = most(setting, requests, from..to);
                    let retries = sum(&granted[from..to]);
                    assert!(
                        10 * retries <= most,
                        "{setting:?}, {backoff:?}: {retries} retries from {from} s to {to} s, of {most} tenths"
                    );

                    // The attempts that the service saw, once the waits are over.
                    let made = sum(&attempts[..to]) - sum(&requests[..to]);
                    let seen = sum(&attempts[from..to]) - sum(&requests[from..to]);
                    assert!(made <= sum(&granted[..to]), "a retry without a decision");
                    assert!(seen <= sum(&granted[from.saturating_sub(longest)..to]));
                }
            }
            assert_eq!(sum(attempts), sum(requests) + sum(granted));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn r5_outage_spends_the_whole_budget() {
    for setting in SETTINGS {
        for (backoff, _) in waits() {
            let counts = through_an_outage(backoff, budget(setting), 2).await;
            let (good, down) = (0..GOOD, GOOD..GOOD + DOWN);
            assert_eq!(sum(&counts.granted[good]), 0);
            let most = most(setting, &counts.requests, down.clone());
            let retries = sum(&counts.granted[down]);
            // While savings are spent, the floor's share of that time is lost.
            let lost = 10 * (2 * u64::from(setting.1) + 2);
            assert!(
                10 * retries + lost >= most,
                "{setting:?}, {backoff:?}: {retries} retries, of {most} tenths"
            );
        }
    }
}
