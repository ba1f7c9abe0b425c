//! The Tower `Service` contract, which every stack of layers has to hold.
//!
//! One suite of checks, over our three layers alone and in **all combinations and orders** (fifteen), each without
//! bounds, with an error and with a response for who is turned away; and, as the control, over eight stacks of
//! tower's own layers. A check knows no more of a stack than which layer is outside which.
//!
//! | read | for |
//! | --- | --- |
//! | `stacks.rs` | the table of stacks: a layer *bounds* what is in flight, bounds the *rate*, or *retries* |
//! | `probe.rs` | the service behind every stack, which does what the test says |
//! | `trial.rs` | the steps of the checks: send, occupy, free, and **`stands`**, which counts |
//! | `readiness.rs` | who may call, what readiness takes, what passes through; turning away |
//! | `wakers.rs` | whoever is pending is woken; polling for nothing changes nothing |
//! | `failures.rs` | errors of readiness, and panics |
//! | `drops.rs` | dropped in each state |
//! | `buffer.rs` | tower's rate limit, as it is shared: behind a `Buffer` |
//!
//! `stands(in_flight, spent, waiting)` asserts how many places are taken in flight and in the window, and how many
//! wait: by the handles, and by counting the clones that can be ready. (tower's rate limit can be
//! neither asked nor cloned: of it only what its customer sees is checked.) Every check ends with it: when all is
//! dropped and a window has passed, everything is back, and no inner service or response is alive.
//!
//! Where tower's layers do something else, the check asserts both sides and sets `differs` to the
//! reason. Ours must not differ. To see what was found:
//!
//! ```console
//! $ cargo test --test contract -- --nocapture --test-threads 1
//! ```

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod buffer;
mod drops;
mod failures;
#[path = "../support/paused_time.rs"]
mod paused_time;
mod probe;
mod readiness;
mod stacks;
mod trial;
#[path = "../support/wake_counter.rs"]
mod wake_counter;
mod wakers;

use std::{collections::BTreeMap, panic::AssertUnwindSafe};

use futures::FutureExt;
use tokio::task::unconstrained;

use crate::{
    stacks::{Does, Stack},
    trial::{Trial, text},
};

/// Runs a check on every one of `stacks`.
async fn on_every(stacks: Vec<Stack>, check: impl AsyncFn(&mut Trial)) {
    let cases = stacks.into_iter().map(|stack| (stack, None)).collect();
    run(cases, async |trial: &mut Trial, _| check(trial).await).await;
}

/// Runs a check at every one of `limits`.
async fn at_every(limits: Vec<(Stack, Does)>, check: impl AsyncFn(&mut Trial, Does)) {
    let cases = limits.into_iter().map(|(stack, limit)| (stack, Some(limit))).collect();
    run(cases, async |trial: &mut Trial, at: Option<Does>| check(trial, at.unwrap()).await).await;
}

/// Runs all cases, prints what was found, and fails with the names of all stacks on which the check does.
async fn run(cases: Vec<(Stack, Option<Does>)>, check: impl AsyncFn(&mut Trial, Option<Does>)) {
    let (mut holds, mut differs, mut failures) = (0, BTreeMap::new(), String::new());
    for (stack, at) in cases {
        let name = at.map_or(stack.to_string(), |limit| format!("{stack} at its {limit:?}"));
        let mut trial = Trial::of(stack);
        let checked = async {
            check(&mut trial, at).await;
            trial.leaves_nothing().await;
        };
        // tokio would make a timer pending for who has polled a lot, which checks do on purpose.
        let panicked = AssertUnwindSafe(unconstrained(checked)).catch_unwind().await.err();
        match (panicked, trial.differs) {
            (None, None) => holds += 1,
            (None, Some(why)) if !trial.stack.is_ours() => {
                differs.entry(why).or_insert_with(Vec::new).push(name);
            }
            (None, Some(why)) => failures += &format!("\n{name}: differs: {why}"),
            (Some(panic), _) => failures += &format!("\n{name}: {}", text(&*panic)),
        }
    }
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    println!("{test}: holds {holds} times");
    for (why, names) in differs {
        println!("  differs on {}: {why}", names.join("; "));
    }
    assert!(holds > 0 && failures.is_empty(), "does not hold on{failures}");
}
