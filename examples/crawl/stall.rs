//! Measures by how much the machine is late, so that no verdict depends on its speed.

use std::{future::Future, pin::pin, time::Duration};

use tokio::{select, time::sleep};

use crate::clock::Clock;

/// The time between two looks at the clock.
const STEP: Duration = Duration::from_millis(10);

/// Completes `work`, and returns the longest time by which a timer beside it was late.
pub(crate) async fn longest_beside<F: Future>(clock: Clock, work: F) -> (F::Output, Duration) {
    let mut work = pin!(work);
    let mut longest = Duration::ZERO;
    loop {
        let due = clock.now() + STEP;
        select! {
            // The timer first: behind the work, tokio may find that the task has had its turn.
            biased;
            () = sleep(STEP) => longest = longest.max(clock.now().saturating_sub(due)),
            output = &mut work => return (output, longest),
        }
    }
}
