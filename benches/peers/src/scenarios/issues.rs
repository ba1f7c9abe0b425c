//! A service that notes the time of each call.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tower::Service;

use crate::measure::caller::{Asked, Waited, Yielding};

/// Notes the time of each call, and yields to other tasks once before it answers.
#[derive(Clone, Default)]
pub(super) struct Issues(Arc<Mutex<Vec<Instant>>>);

impl Issues {
    fn sorted(&self) -> Vec<Instant> {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        times.sort();
        times
    }

    /// Returns the mean time, in seconds, from each call to the `calls`-th after it.
    pub(super) fn mean_time_of(&self, calls: u32) -> f64 {
        let times = self.sorted();
        let apart = times.iter().zip(times.iter().skip(calls as usize));
        let apart: Vec<_> = apart.map(|(from, to)| (*to - *from).as_secs_f64()).collect();
        apart.iter().sum::<f64>() / apart.len() as f64
    }

    /// Returns the largest number of calls in any half-open span of this length.
    pub(super) fn most_in(&self, span: Duration) -> usize {
        let times = self.sorted();
        let mut most = 0;
        let mut end = 0;
        for (start, from) in times.iter().enumerate() {
            while end < times.len() && times[end] < *from + span {
                end += 1;
            }
            most = most.max(end - start);
        }
        most
    }
}

impl Service<Asked> for Issues {
    type Response = Waited;
    type Error = Infallible;
    type Future = Yielding;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, asked: Asked) -> Yielding {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.push(Instant::now());
        Yielding::new(asked)
    }
}
