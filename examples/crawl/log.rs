//! What happened to each task, and when.

use std::{
    error::Error,
    fmt, iter,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use crate::{clock::Clock, page::Answer};

/// Written by whoever lets a task pass; read for the report.
#[derive(Clone)]
pub(crate) struct Log {
    clock: Clock,
    entries: Arc<Mutex<Entries>>,
}

/// All that is written down. All times are counted from the start.
#[derive(Clone, Default)]
pub(crate) struct Entries {
    /// Task 1 comes first.
    pub(crate) tasks: Vec<Task>,
    /// How many stood in the line, each time that this had changed.
    pub(crate) line: Vec<(Duration, usize)>,
}

#[derive(Clone)]
pub(crate) struct Task {
    /// When the producer was asked for it.
    pub(crate) made: Duration,
    /// When it was let in.
    pub(crate) let_in: Option<Duration>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) ended: Option<(Duration, Outcome)>,
}

#[derive(Clone)]
pub(crate) struct Attempt {
    /// When the rate limit let it go out.
    pub(crate) sent: Duration,
    pub(crate) ended: Option<(Duration, Outcome)>,
}

#[derive(Clone)]
pub(crate) enum Outcome {
    Answer(Answer),
    Error(String),
}

impl Outcome {
    /// Of an error, what is at the bottom of it: "Connection refused", not "error sending request".
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
    /// Has it ended, and well?
    pub(crate) fn succeeded(&self) -> bool {
        self.ended.as_ref().is_some_and(|(_, outcome)| outcome.is_success())
    }

    /// How long it waited before each retry: from the end of an attempt until the next one went out.
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

    /// The producer was asked for the next task. Returns its number.
    pub(crate) fn made(&self) -> usize {
        let made = self.clock.now();
        let tasks = &mut self.lock().tasks;
        tasks.push(Task { made, let_in: None, attempts: Vec::new(), ended: None });
        tasks.len()
    }

    pub(crate) fn let_in(&self, task: usize) {
        let now = self.clock.now();
        self.lock().task(task).let_in = Some(now);
    }

    pub(crate) fn line(&self, waiting: usize) {
        let now = self.clock.now();
        let line = &mut self.lock().line;
        if line.last().is_none_or(|&(_, before)| before != waiting) {
            line.push((now, waiting));
        }
    }

    pub(crate) fn sent(&self, task: usize) {
        let sent = self.clock.now();
        self.lock().task(task).attempts.push(Attempt { sent, ended: None });
    }

    /// The task's attempt under way has ended; it is the last one, for a task has one at a time.
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
