//! Processes that share a quota: each has a runtime and a paused clock of its own.
//!
//! A scene moves real time on by steps. In a step, messages travel first, then each process runs
//! until its tasks are idle. A process whose clock has another rate advances by more or less. A
//! suspended one does not run, and then advances by all the time that it has missed.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    task::yield_now,
    time::advance,
};

use crate::shared_store::{
    fake::{RealTime, Server},
    oracle::Issues,
};

pub(crate) struct Fleet {
    pub(crate) server: Server,
    pub(crate) issues: Issues,
    pub(crate) real_time: RealTime,
    /// Real time, in nanoseconds.
    now: Arc<AtomicU64>,
    step: Duration,
    /// Where messages travel, and the processes.
    network: Clocked,
    processes: Vec<Clocked>,
}

/// A runtime with a clock.
struct Clocked {
    /// `None` once it was killed.
    runtime: Option<Runtime>,
    /// The rate of the clock, in millionths beyond real time.
    ppm: i64,
    /// The time that has passed by this clock, in nanoseconds, and the real time of its start.
    passed: u64,
    started: u64,
    suspended_until: u64,
}

impl Clocked {
    fn new(ppm: i64, now: u64) -> Self {
        let mut builder = Builder::new_current_thread();
        // All tasks that are ready run before the scene goes on.
        builder.enable_time().start_paused(true).event_interval(10_000);
        let runtime = Some(builder.build().unwrap());
        Self { runtime, ppm, passed: 0, started: now, suspended_until: 0 }
    }

    /// Runs until the real time `now`.
    fn run(&mut self, now: u64) {
        let Some(runtime) = self.runtime.as_ref().filter(|_| self.suspended_until <= now) else {
            return;
        };
        let real = i64::try_from(now - self.started).unwrap();
        let passed = u64::try_from(real + real / 1_000_000 * self.ppm).unwrap();
        let by = Duration::from_nanos(passed - mem::replace(&mut self.passed, passed));
        runtime.block_on(async {
            advance(by).await;
            for _ in 0..3 {
                yield_now().await;
            }
        });
    }
}

impl Fleet {
    /// Begins a scene. Messages, and all else, take whole steps.
    pub(crate) fn new(seed: u64, step: Duration) -> Self {
        let now = Arc::new(AtomicU64::new(0));
        let real_time = RealTime::Set(Arc::clone(&now));
        let network = Clocked::new(0, 0);
        let server = Server::new(seed, real_time.clone());
        let server = server.in_runtime(network.runtime.as_ref().unwrap().handle().clone());
        let issues = Issues::default();
        Self { server, issues, real_time, now, step, network, processes: Vec::new() }
    }

    /// Starts the next process. `main` runs in its runtime, and gets its number.
    pub(crate) fn start<T>(&mut self, ppm: i64, main: impl FnOnce(&Self, usize) -> T) -> T {
        let process = Clocked::new(ppm, self.now.load(SeqCst));
        let entered = process.runtime.as_ref().unwrap().enter();
        let started = main(self, self.processes.len());
        drop(entered);
        self.processes.push(process);
        started
    }

    /// Runs `act` in the runtime of a process.
    pub(crate) fn within<T>(&self, process: usize, act: impl FnOnce() -> T) -> T {
        let _entered = self.processes[process].runtime.as_ref().unwrap().enter();
        act()
    }

    pub(crate) fn set_step(&mut self, step: Duration) {
        self.step = step;
    }

    pub(crate) fn now(&self) -> Duration {
        self.real_time.elapsed()
    }

    /// Runs all processes for a time.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now() + time;
        while self.now() < end {
            let now = u64::try_from((self.now() + self.step).as_nanos()).unwrap();
            self.now.store(now, SeqCst);
            self.network.run(now);
            self.processes.iter_mut().for_each(|process| process.run(now));
        }
    }

    /// Suspends a process for a time from now: none of its tasks runs.
    pub(crate) fn suspend(&mut self, process: usize, time: Duration) {
        let until = u64::try_from((self.now() + time).as_nanos()).unwrap();
        self.processes[process].suspended_until = until;
    }

    /// Ends a process without a word.
    pub(crate) fn kill(&mut self, process: usize) {
        self.processes[process].runtime = None;
    }
}
