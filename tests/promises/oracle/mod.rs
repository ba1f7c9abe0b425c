//! Random schedules, compared with naive versions.
//!
//! A schedule is a list of small steps: a caller polls readiness, calls, completes its request or
//! is dropped; time passes; settings change. The oracle takes the same steps, and is compared
//! after each.
//!
//! A schedule that fails is shortened, and its seed is kept in `tests/proptest-regressions`, to be
//! tried first from then on. `PROPTEST_CASES` schedules are tried, 256 unless set.

mod budget;
mod concurrency;
mod permits;
mod retry_function;
mod retry_settings;
mod strides;
mod window;
mod window_permits;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use proptest::prelude::*;
use tower::Service;

use crate::{hold, paused_runtime::run, wake_counter::WakeCounter};

/// Callers of a limit.
const CALLERS: usize = 8;

/// Tries random schedules, each under a paused clock of its own. `test` returns the number of its
/// steps.
fn hold<S, T>(file: &'static str, schedules: S, test: impl Fn(S::Value) -> T)
where
    S: Strategy,
    T: Future<Output = Result<usize, TestCaseError>>,
{
    hold::hold(file, hold::name_of(&test), schedules, |schedule| run(test(schedule)));
}

/// The service of a caller, and the waker of its task.
struct Caller<S, F> {
    service: S,
    response: Option<Pin<Box<F>>>,
    wakes: Arc<WakeCounter>,
    /// Wake-ups before the last poll.
    seen: usize,
}

impl<S: Service<(), Future = F>, F> Caller<S, F> {
    fn new(service: S) -> Self {
        Self { service, response: None, wakes: WakeCounter::new(), seen: 0 }
    }

    /// Moves to another task.
    fn move_to_another_task(&mut self) {
        (self.wakes, self.seen) = (WakeCounter::new(), 0);
    }

    fn poll(&mut self) -> bool {
        self.seen = self.wakes.count();
        let waker = self.wakes.waker();
        match self.service.poll_ready(&mut Context::from_waker(&waker)) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(_)) => unreachable!("a rejection is the result of `call`"),
            Poll::Pending => false,
        }
    }

    /// Wake-ups since the last poll.
    fn woken(&self) -> usize {
        self.wakes.count() - self.seen
    }
}
