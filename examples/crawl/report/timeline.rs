//! The timeline of the requests of a host: a row for each task, time from left to right.

use std::{fmt::Write, time::Duration};

use super::secs;
use crate::log::{Entries, Task};

/// The most columns of time.
const WIDTH: u128 = 70;
/// Columns from one label of the time axis to the next.
const TICK: usize = 10;

/// A row below the tasks that marks spans of time.
pub(super) struct Spans {
    pub(super) name: &'static str,
    pub(super) spans: Vec<(Duration, Duration)>,
}

/// Draws the tasks of a host.
pub(super) fn draw(entries: &Entries, scale: &Scale, marked: &[Spans]) -> String {
    let Entries { tasks, queue } = entries;
    let mut drawing = String::new();
    let mut row = |name: &str, cells: String| {
        let _ = writeln!(drawing, "{name:>8} {}", cells.trim_end());
    };
    row("s", scale.ticks());
    for (number, task) in (1..).zip(tasks) {
        row(&number.to_string(), scale.task(task));
    }
    row("sent", scale.sent(tasks));
    row("queued", scale.queue(queue));
    for Spans { name, spans } in marked {
        row(name, scale.spans(spans));
    }
    drawing
}

/// The length of a column, and the number of columns.
pub(super) struct Scale {
    column: Duration,
    columns: usize,
}

impl Scale {
    /// Picks the finest scale that fits, of columns of 1, 2, 5, 10, 20, 50, ... ms.
    pub(super) fn of<'a>(tasks: impl IntoIterator<Item = &'a Task>) -> Self {
        let last = tasks.into_iter().map(last_moment).max().unwrap_or_default();
        let lengths = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)));
        let column = lengths
            .map(Duration::from_millis)
            .find(|column| last.as_nanos() / column.as_nanos() < WIDTH)
            .expect("some power of ten is long enough");
        let mut scale = Self { column, columns: 0 };
        // One more, for a mark that is moved on by one.
        scale.columns = scale.at(last) + 2;
        scale
    }

    /// Describes the marks and the length of a column.
    pub(super) fn legend(&self) -> String {
        let column = secs(self.column);
        format!(
            "One column is {column} s:  · waits  ● request sent  ━ under way  ✓ answered  ✗ failed"
        )
    }

    /// Returns the column of a moment.
    fn at(&self, moment: Duration) -> usize {
        usize::try_from(moment.as_nanos() / self.column.as_nanos()).unwrap_or(usize::MAX)
    }

    fn ticks(&self) -> String {
        let tick = |number: usize| {
            let time = self.column.as_millis() * (number * TICK) as u128;
            format!("{:<TICK$}", time as f64 / 1000.0)
        };
        (0..=self.columns / TICK).map(tick).collect()
    }

    fn task(&self, task: &Task) -> String {
        let mut row = vec![' '; self.columns];
        let end = task.ended.as_ref().map_or(self.columns - 1, |(at, _)| self.at(*at));
        row[self.at(task.made)..end].fill('·');
        for attempt in &task.attempts {
            let sent = self.at(attempt.sent);
            // If the attempt ended in the column in which it was sent, its mark is moved on by one.
            let (end, mark) = match &attempt.ended {
                Some((at, outcome)) if outcome.is_success() => (self.at(*at), '✓'),
                Some((at, _)) => (self.at(*at), '✗'),
                None => (self.columns - 1, '━'),
            };
            let end = end.max(sent + 1);
            row[sent..end].fill('━');
            row[sent] = '●';
            row[end] = mark;
        }
        row.into_iter().collect()
    }

    /// Draws the number of requests sent in each column.
    fn sent(&self, tasks: &[Task]) -> String {
        let mut sent = vec![0; self.columns];
        for attempt in tasks.iter().flat_map(|task| &task.attempts) {
            sent[self.at(attempt.sent)] += 1;
        }
        sent.into_iter().map(|count| if count == 0 { ' ' } else { digit(count) }).collect()
    }

    /// Draws the greatest length of the queue in each column.
    fn queue(&self, queue: &[(Duration, u32)]) -> String {
        let mut changes = queue.iter().peekable();
        let mut before = 0;
        let most_in = |column| {
            let mut most = before;
            while let Some(&&(at, queued)) = changes.peek() {
                if self.at(at) > column {
                    break;
                }
                before = queued;
                most = most.max(queued);
                changes.next();
            }
            digit(most)
        };
        (0..self.columns - 1).map(most_in).collect()
    }

    fn spans(&self, spans: &[(Duration, Duration)]) -> String {
        let mut row = vec![' '; self.columns - 1];
        for &(from, until) in spans {
            let last = self.columns - 1;
            row[self.at(from).min(last)..self.at(until).min(last)].fill('░');
        }
        row.into_iter().collect()
    }
}

fn last_moment(task: &Task) -> Duration {
    let sent = task.attempts.last().map(|attempt| attempt.sent);
    let ended = task.ended.as_ref().map(|(at, _)| *at);
    ended.or(sent).unwrap_or(task.made)
}

fn digit(count: u32) -> char {
    char::from_digit(count, 10).unwrap_or('+')
}
