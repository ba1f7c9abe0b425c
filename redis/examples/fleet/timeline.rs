//! The timeline of the fleet: a row for each process, time from left to right.

use std::{fmt::Write, time::Duration};

use crate::{
    process::Log,
    report::{Course, secs},
};

/// The most columns of time.
const WIDTH: u128 = 70;
/// Columns from one label of the time axis to the next.
const TICK: usize = 10;
/// A count in a column, in eighths of the most.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws the issues of all processes.
pub(crate) fn draw(course: &Course, logs: &[Log], all: &[Duration]) -> String {
    let scale = Scale::of(course);
    let total = scale.counts(all.iter().copied());
    let most = total.iter().copied().max().unwrap_or_default().max(1);
    let mut drawing = format!(
        "Requests issued. One column is {} s, and █ is {most} requests; † killed, ▶ started again.\n\n",
        secs(scale.column)
    );
    let mut row = |name: &str, cells: String| {
        let _ = writeln!(drawing, "{name:>10} {}", cells.trim_end());
    };
    row("s", scale.ticks());
    for log in logs {
        let counts = scale.counts(log.issues.iter().map(|&(at, _)| at));
        let mut cells = bars(&counts, most);
        if log.appetite == crate::args::Appetite::Mortal {
            cells[scale.at(course.died)] = '†';
            cells[scale.at(course.reborn)] = '▶';
        }
        row(&log.appetite.name(), cells.into_iter().collect());
    }
    row("all", bars(&total, most).into_iter().collect());
    if let Some((gone, back)) = course.redis_away {
        let (gone, back) = (scale.at(gone), scale.at(back));
        let cell = |column| match column {
            _ if column == gone => '†',
            _ if column == back.max(gone + 1) => '▶',
            _ => ' ',
        };
        row("Redis", (0..scale.columns).map(cell).collect());
    }
    drawing
}

/// The length of a column, and the number of columns.
struct Scale {
    begin: Duration,
    column: Duration,
    columns: usize,
}

impl Scale {
    /// Picks the finest scale that fits, of columns of 1, 2, 5, 10, 20, 50, ... ms.
    fn of(course: &Course) -> Self {
        let length = course.end - course.begin;
        let lengths = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)));
        let column = lengths
            .map(Duration::from_millis)
            .find(|column| length.as_nanos() / column.as_nanos() < WIDTH)
            .expect("some power of ten is long enough");
        let columns = (length.as_nanos() / column.as_nanos()) as usize + 1;
        Self { begin: course.begin, column, columns }
    }

    /// Returns the column of a moment. The last one has all later moments, too.
    fn at(&self, moment: Duration) -> usize {
        let since = moment.saturating_sub(self.begin).as_nanos();
        ((since / self.column.as_nanos()) as usize).min(self.columns - 1)
    }

    fn ticks(&self) -> String {
        let tick = |number: usize| {
            let time = self.column.as_millis() * (number * TICK) as u128;
            format!("{:<TICK$}", time as f64 / 1000.0)
        };
        (0..self.columns.div_ceil(TICK)).map(tick).collect()
    }

    fn counts(&self, times: impl Iterator<Item = Duration>) -> Vec<usize> {
        let mut counts = vec![0; self.columns];
        times.for_each(|time| counts[self.at(time)] += 1);
        counts
    }
}

fn bars(counts: &[usize], most: usize) -> Vec<char> {
    counts.iter().map(|count| BARS[(count * 8).div_ceil(most).min(8)]).collect()
}
