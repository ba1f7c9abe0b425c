//! Random schedules against obviously right versions.
//!
//! A schedule is a list of small steps: a customer polls for readiness, calls, ends its request or goes
//! away; time passes; settings change. The oracle sees the same steps and says what must be true after each.
//!
//! A schedule that fails is made as short as it can be, and its seed is kept in
//! `tests/proptest-regressions`, to be tried first from then on. How many are tried: `PROPTEST_CASES`, 256
//! unless set.

mod budget;
mod gate;
mod strides;
mod window;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use proptest::prelude::*;
use tower::Service;

use crate::{hold, paused_runtime::run, wakes::Wakes};

/// Who may be there at a time.
const CUSTOMERS: usize = 8;

/// Tries random schedules, each under a paused clock of its own. `test` returns how many steps it took.
fn hold<S, T>(file: &'static str, schedules: S, test: impl Fn(S::Value) -> T)
where
    S: Strategy,
    T: Future<Output = Result<usize, TestCaseError>>,
{
    hold::hold(file, hold::name_of(&test), schedules, |schedule| run(test(schedule)));
}

/// A customer's service, and the waker of its task.
struct Customer<S, F> {
    service: S,
    flight: Option<Pin<Box<F>>>,
    wakes: Arc<Wakes>,
    /// How often it had been woken when it was last polled.
    seen: usize,
}

impl<S: Service<(), Future = F>, F> Customer<S, F> {
    fn new(service: S) -> Self {
        Self { service, flight: None, wakes: Wakes::new(), seen: 0 }
    }

    /// Goes to another task.
    fn move_on(&mut self) {
        (self.wakes, self.seen) = (Wakes::new(), 0);
    }

    fn poll(&mut self) -> bool {
        self.seen = self.wakes.count();
        let waker = self.wakes.waker();
        match self.service.poll_ready(&mut Context::from_waker(&waker)) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(_)) => unreachable!("turning away is no error of readiness"),
            Poll::Pending => false,
        }
    }

    /// How often it has been woken since it was last polled.
    fn woken(&self) -> usize {
        self.wakes.count() - self.seen
    }
}
