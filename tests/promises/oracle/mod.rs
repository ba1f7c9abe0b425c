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
    any::type_name,
    cell::Cell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use proptest::{
    prelude::*,
    test_runner::{FileFailurePersistence, TestRunner},
};
use tower::Service;

use crate::support::Wakes;

/// Who may be there at a time.
const CUSTOMERS: usize = 8;

/// Tries random schedules, each under a paused clock of its own, and prints how many and how long.
///
/// `file` is where the test stands. `test` returns how many steps it took.
fn hold<S, T>(file: &'static str, schedules: S, test: impl Fn(S::Value) -> T)
where
    S: Strategy,
    T: Future<Output = Result<usize, TestCaseError>>,
{
    let mut runner = TestRunner::new(ProptestConfig {
        source_file: Some(file),
        failure_persistence: Some(Box::new(FileFailurePersistence::SourceParallel(
            "proptest-regressions",
        ))),
        ..ProptestConfig::default()
    });
    let name = name_of(&test);
    let (tried, steps) = (Cell::new(0_u64), Cell::new(0));
    let outcome = runner.run(&schedules, |schedule| {
        tried.set(tried.get() + 1);
        steps.set(steps.get() + paused(test(schedule))?);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    println!("oracle {name}: schedules={} steps={}", tried.get(), steps.get());
}

/// The name of the test that this closure was written in.
fn name_of<T>(_: &T) -> &'static str {
    let name = type_name::<T>().trim_end_matches("::{{closure}}");
    name.rsplit("::").next().unwrap_or(name)
}

fn paused<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(test)
}

/// Lets time pass, and the timers go off.
async fn pass(millis: u64) {
    tokio::time::advance(crate::support::ms(millis)).await;
    tokio::task::yield_now().await;
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
