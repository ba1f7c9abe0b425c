//! The log of the events of each task, with their times.

use std::{
    error::Error,
    fmt, iter,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use crate::{clock::Clock, page::Answer};

/// A log that the services write and the report reads. Clones share it.
#[derive(Clone)]
pub(crate) struct Log {
    clock: Clock,
    entries: Arc<Mutex<Entries>>,
}

/// The entries of a log. Times are counted from the start.
#[derive(Clone, Default)]
pub(crate) struct Entries {
    /// The tasks in order, beginning with task 1.
    pub(crate) tasks: Vec<Task>,
    /// The length of the queue after each change.
    pub(crate) queue: Vec<(Duration, u32)>,
}

#[derive(Clone)]
pub(crate) struct Task {
    /// The time at which the producer was polled for it.
    pub(crate) made: Duration,
    /// The time at which the entrance admitted it.
    pub(crate) admitted: Option<Duration>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) ended: Option<(Duration, Outcome)>,
}

#[derive(Clone)]
pub(crate) struct Attempt {
    /// The time at which the rate limit issued it.
    pub(crate) sent: Duration,
    pub(crate) ended: Option<(Duration, Outcome)>,
}

#[derive(Clone)]
pub(crate) enum Outcome {
    Answer(Answer),
    Error(String),
}

impl Outcome {
    /// Takes the last source of an error: "Connection refused", not "error sending request".
    fn of(result: &Result<Answer, reqwest::Error>) -> Self {
        match result {
            Ok(answer) => Self::Answer(*answer),
            Err(error) => {
                let causes = iter::successors(Some(error as &dyn Error), |&error| error.source());
                Self::Error(causes.last().unwrap_or(error).to_string())
            }
        }
    }

    pub(crate) fn is_success(&self) -> bool {
        matches!(self, Self::Answer(answer) if answer.status.is_success())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(answer) => answer.fmt(f),
            Self::Error(error) => f.write_str(error),
        }
    }
}

impl Task {
    /// Returns true if the task has ended successfully.
    pub(crate) fn succeeded(&self) -> bool {
        self.ended.as_ref().is_some_and(|(_, outcome)| outcome.is_success())
    }

    /// Returns the wait before each retry: from the end of an attempt until the next was sent.
    pub(crate) fn waits(&self) -> impl Iterator<Item = Duration> {
        self.attempts.windows(2).filter_map(|pair| {
            let (failed, _) = pair[0].ended.as_ref()?;
            Some(pair[1].sent.saturating_sub(*failed))
        })
    }
}

impl Log {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, entries: Arc::default() }
    }

    pub(crate) fn entries(&self) -> Entries {
        self.lock().clone()
    }

    pub(crate) fn task(&self, number: usize) -> Task {
        self.lock().task(number).clone()
    }

    /// Records that the producer was polled for the next task, and returns its number.
    pub(crate) fn made(&self) -> usize {
        let made = self.clock.now();
        let tasks = &mut self.lock().tasks;
        tasks.push(Task { made, admitted: None, attempts: Vec::new(), ended: None });
        tasks.len()
    }

    pub(crate) fn admitted(&self, task: usize) {
        let now = self.clock.now();
        self.lock().task(task).admitted = Some(now);
    }

    pub(crate) fn queue(&self, queued: u32) {
        let now = self.clock.now();
        let queue = &mut self.lock().queue;
        if queue.last().is_none_or(|&(_, before)| before != queued) {
            queue.push((now, queued));
        }
    }

    pub(crate) fn sent(&self, task: usize) {
        let sent = self.clock.now();
        self.lock().task(task).attempts.push(Attempt { sent, ended: None });
    }

    /// Records the end of the task's last attempt, as a task makes one attempt at a time.
    pub(crate) fn answered(&self, task: usize, result: &Result<Answer, reqwest::Error>) {
        let ended = (self.clock.now(), Outcome::of(result));
        if let Some(attempt) = self.lock().task(task).attempts.last_mut() {
            attempt.ended = Some(ended);
        }
    }

    pub(crate) fn ended(&self, task: usize, result: &Result<Answer, reqwest::Error>) {
        let ended = (self.clock.now(), Outcome::of(result));
        self.lock().task(task).ended = Some(ended);
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().expect("no panic under the lock")
    }
}

impl Entries {
    fn task(&mut self, number: usize) -> &mut Task {
        &mut self.tasks[number - 1]
    }
}
