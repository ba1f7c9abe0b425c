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
    /// The time at which its next attempt arrived at a limit in whose calls requests wait.
    asked: Option<Duration>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) ended: Option<(Duration, Outcome)>,
}

#[derive(Clone)]
pub(crate) struct Attempt {
    /// The time at which it arrived at a limit in whose calls requests wait, if it met one.
    pub(crate) asked: Option<Duration>,
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

    /// Returns the length of the body.
    pub(crate) fn size(&self) -> Option<usize> {
        match self {
            Self::Answer(answer) => Some(answer.size),
            Self::Error(_) => None,
        }
    }

    /// Returns the time for which the server asked for no requests.
    pub(crate) fn hint(&self) -> Option<Duration> {
        match self {
            Self::Answer(answer) => answer.hint,
            Self::Error(_) => None,
        }
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
        tasks.push(Task { made, admitted: None, asked: None, attempts: Vec::new(), ended: None });
        tasks.len()
    }

    pub(crate) fn admitted(&self, task: usize) {
        let now = self.clock.now();
        self.lock().task(task).admitted = Some(now);
    }

    pub(crate) fn queue(&self, queued: u32) {
        let now = self.clock.now();
        self.lock().queue(now, queued);
    }

    /// Records that the task's next attempt arrived at a limit in whose calls requests wait.
    pub(crate) fn asked(&self, task: usize) {
        let now = self.clock.now();
        let mut entries = self.lock();
        // A rejected attempt leaves the queue without being sent.
        entries.leave_queue(task, now);
        entries.task(task).asked = Some(now);
        let queued = entries.queued() + 1;
        entries.queue(now, queued);
    }

    pub(crate) fn sent(&self, task: usize) {
        let sent = self.clock.now();
        let mut entries = self.lock();
        let asked = entries.leave_queue(task, sent);
        entries.task(task).attempts.push(Attempt { asked, sent, ended: None });
    }

    /// Records the end of the task's last attempt, as a task makes one attempt at a time.
    pub(crate) fn answered(&self, task: usize, result: &Result<Answer, reqwest::Error>) {
        let ended = (self.clock.now(), Outcome::of(result));
        if let Some(attempt) = self.lock().task(task).attempts.last_mut() {
            attempt.ended = Some(ended);
        }
    }

    pub(crate) fn ended(&self, task: usize, result: &Result<Answer, reqwest::Error>) {
        let now = self.clock.now();
        let mut entries = self.lock();
        entries.leave_queue(task, now);
        entries.task(task).ended = Some((now, Outcome::of(result)));
    }

    /// Returns the attempts in the queue and those in flight.
    pub(crate) fn counts(&self) -> (u32, u32) {
        let entries = self.lock();
        let last = entries.tasks.iter().filter_map(|task| task.attempts.last());
        (entries.queued(), last.filter(|attempt| attempt.ended.is_none()).count() as u32)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().expect("no panic under the lock")
    }
}

impl Entries {
    fn task(&mut self, number: usize) -> &mut Task {
        &mut self.tasks[number - 1]
    }

    fn queued(&self) -> u32 {
        self.queue.last().map_or(0, |&(_, queued)| queued)
    }

    fn queue(&mut self, now: Duration, queued: u32) {
        if self.queue.last().is_none_or(|&(_, before)| before != queued) {
            self.queue.push((now, queued));
        }
    }

    /// Records that the task's next attempt is in no queue, and returns when it joined one.
    fn leave_queue(&mut self, task: usize, now: Duration) -> Option<Duration> {
        let asked = self.task(task).asked.take()?;
        self.queue(now, self.queued().saturating_sub(1));
        Some(asked)
    }
}
