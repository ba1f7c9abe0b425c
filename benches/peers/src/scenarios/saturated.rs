//! S3: a limit that is always full, and many tasks in front of it.
//!
//! Each task waits until its clone is ready, calls, and awaits the response, again and again. The
//! inner service wakes itself and yields once before it answers. The *wait* is the time from asking
//! for readiness to the inner call, because tower-resilience's bulkhead waits in the call; it is
//! measured for every 16th call of a task. *Unfair* is the calls of the busiest task minus those of
//! the idlest, as a share of the mean.
//!
//! A runtime of two threads decides whether the tasks stay on one thread or move between both. That
//! changes the figures more than anything else: see how many *processors* were busy. *Two runtimes*
//! have a thread and half of the tasks each, and share the limit. At a small limit they wake each
//! other all the time, and that is measured.
//!
//! All tasks but those with a permit wait.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::Semaphore;
use tower::{Layer, Service};
use tower_floodgate::ConcurrencyBackpressureLayer;

use crate::{
    contenders::{Comparison, other, ours, peers, same},
    measure::{
        caller::{Asked, Caller, Through, Waited, Yielding},
        crowd::{Crowd, Tally},
        rounds::rounds,
        runtimes::Threads,
    },
    pace::Pace,
    report::{Figure, Section, less, more, plain, stats::percentile},
};

pub(super) const CALLS: Figure = more("calls", "million/s");
const POLLS: Figure = plain("polls", "/call");
const MEDIAN: Figure = less("wait", "median, us");
const LATE: Figure = less("wait", "99th of 100, us");
const PROCESSORS: Figure = plain("processors", "busy");
const UNFAIR: Figure = plain("unfair", "of the mean");

type Run = Box<dyn Fn(&Crowd) -> Tally>;

pub(super) fn run(pace: Pace) -> Vec<Section> {
    let mut sections = Vec::new();
    let on = [
        (Threads::One, "one thread"),
        (Threads::Two, "a runtime of two threads"),
        (Threads::Apart, "two runtimes"),
    ];
    for (threads, on) in on {
        for limit in [8, 64] {
            for tasks in pace.pick(&[100][..], &[100, 1_000, 10_000], &[100, 1_000, 10_000]) {
                sections.push(crowded(pace, limit, *tasks, threads, on));
            }
        }
    }
    sections
}

fn crowded(pace: Pace, limit: u32, tasks: usize, threads: Threads, on: &str) -> Section {
    let group = format!("limit {limit}, {on}");
    let crowd = Crowd {
        tasks,
        threads,
        warm_up: Duration::from_millis(pace.pick(2, 20, 20)),
        time: Duration::from_millis(pace.pick(5, 50, 100)),
        sample: 16,
    };
    let comparison = comparison(format!("{group}, {tasks} tasks"), limit);
    let mut section =
        rounds(&comparison, pace.pick(1, 3, 7), |contender| figures(&(contender.make)()(&crowd)));
    section.at = Some((group, tasks));
    section
}

fn comparison(title: String, limit: u32) -> Comparison<Run> {
    Comparison::new(title)
        .with(same("tower ConcurrencyLimit", "in order"), move || {
            by(move || Through(peers::concurrency_limit(limit).layer(Yields)))
        })
        .with(same("tower-resilience bulkhead", "in order"), move || {
            by(move || Through(peers::bulkhead(limit).layer(Yields)))
        })
        .with(other("semaphore", "tokio's, not a service"), move || {
            by(move || Permit(peers::semaphore(limit)))
        })
        .with(ours("backpressure", "in order"), move || {
            by(move || Through(ConcurrencyBackpressureLayer::new(limit).layer(Yields)))
        })
}

fn by<C: Caller>(make: impl Fn() -> C + 'static) -> Run {
    Box::new(move |crowd| crowd.run(&make))
}

fn figures(tally: &Tally) -> Vec<(Figure, f64)> {
    let seconds = tally.time.as_secs_f64();
    let mean = tally.all() as f64 / tally.calls.len() as f64;
    let waits: Vec<f64> = tally.waits.iter().map(|wait| wait.as_secs_f64() * 1e6).collect();
    let wait = |percent| percentile(&waits, percent).unwrap_or(f64::NAN);
    vec![
        (CALLS, tally.all() as f64 / seconds / 1e6),
        (PROCESSORS, tally.processor.as_secs_f64() / seconds),
        (POLLS, tally.polls_per_call()),
        (MEDIAN, wait(50)),
        (LATE, wait(99)),
        (UNFAIR, tally.spread() as f64 / mean),
    ]
}

/// Acquires a permit, and releases it after the response.
#[derive(Clone)]
struct Permit(Arc<Semaphore>);

impl Caller for Permit {
    async fn call(&mut self, asked: Asked) -> Waited {
        let permit =
            Arc::clone(&self.0).acquire_owned().await.expect("the semaphore is never closed");
        let Ok(waited) = Yields.call(asked).await;
        drop(permit);
        waited
    }
}

/// Always ready; yields to other tasks once before it answers.
#[derive(Clone)]
struct Yields;

impl Service<Asked> for Yields {
    type Response = Waited;
    type Error = Infallible;
    type Future = Yielding;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, asked: Asked) -> Yielding {
        Yielding::new(asked)
    }
}
