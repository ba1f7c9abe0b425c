//! The Tower `Service` contract, which every stack of layers has to keep.
//!
//! One suite of checks runs over our three layers alone and in **all combinations and orders**
//! (fifteen), and with a concurrency limit that adapts in the place of a fixed one. Each is run
//! without bounds, with an error and with a response for rejections, and with terms of the requests
//! of a concurrency limit. As a control it runs over eight stacks of tower's own layers. A check
//! knows only the order of the layers.
//!
//! | file | subject |
//! | --- | --- |
//! | `stacks.rs` | the stacks: a layer *bounds* the requests in flight, bounds the *rate*, or *retries* |
//! | `probe.rs` | the service behind every stack, which follows a script |
//! | `trial.rs` | the steps of the checks: send, occupy, free, and **`assert_counts`** |
//! | `readiness.rs` | calls, readiness, errors that pass through, rejections |
//! | `wakers.rs` | every pending task is woken; repeated polls change nothing |
//! | `failures.rs` | readiness errors, and panics |
//! | `drops.rs` | drops in each state |
//! | `by_request.rs` | a concurrency limit that admits in `call` |
//! | `keyed.rs` | limits of keys, which are decided in `call` |
//! | `buffer.rs` | tower's rate limit behind a `Buffer`, which shares it |
//!
//! `assert_counts(in_flight, spent, queued)` asserts the permits held in flight, those spent of the
//! window, and the waiters: by the handles, and by the number of clones that can be ready. tower's
//! rate limit has no handle and no clones, so only its caller is checked. At the end of every check
//! all is dropped and a window passes. Then all permits are free, and no inner service or response
//! is left.
//!
//! Where tower's layers differ, the check asserts both behaviours and sets `differs` to the reason.
//! Ours must not differ. To see the differences:
//!
//! ```console
//! $ cargo test --test contract -- --nocapture --test-threads 1
//! ```

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod buffer;
mod by_request;
mod drops;
mod failures;
mod keyed;
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

/// Runs all cases, prints the differences, and fails with the names of the stacks on which the
/// check fails.
async fn run(cases: Vec<(Stack, Option<Does>)>, check: impl AsyncFn(&mut Trial, Option<Does>)) {
    let (mut holds, mut differs, mut failures) = (0, BTreeMap::new(), String::new());
    for (stack, at) in cases {
        let name = at.map_or(stack.to_string(), |limit| format!("{stack} at its {limit:?}"));
        let mut trial = Trial::of(stack);
        let checked = async {
            check(&mut trial, at).await;
            trial.leaves_nothing().await;
        };
        // Under tokio's budget, the timers of a check that polls many times would be pending.
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
