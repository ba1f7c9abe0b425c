//! The report at the end, and the exit code.

mod hosts;
mod promises;
mod spans;
mod table;
mod timeline;

use std::{fmt, process::ExitCode, time::Duration};

use tower_floodgate::retry::Backoff;

pub(crate) use self::hosts::{HostsReport, OfHost};
use self::{promises::Promise, timeline::Scale};
use crate::{args::Args, log::Entries, site::Arrival};

pub(crate) struct Report {
    entries: Entries,
    promises: Vec<Promise>,
}

impl Report {
    /// Makes the report. `arrivals` are those that the built-in site recorded.
    pub(crate) fn of(
        args: &Args,
        backoff: &Backoff,
        entries: Entries,
        arrivals: Option<&[Arrival]>,
    ) -> Self {
        let promises = promises::check(args, backoff, &entries, arrivals);
        Self { entries, promises }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        exit_code(self.broken(), self.succeeded())
    }

    fn broken(&self) -> usize {
        promises::broken(&self.promises)
    }

    fn succeeded(&self) -> usize {
        self.entries.tasks.iter().filter(|task| task.succeeded()).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entries, promises } = self;
        writeln!(f, "{}", table::of_tasks(&entries.tasks))?;
        writeln!(f, "{LEGEND}\n")?;
        let scale = Scale::of(&entries.tasks);
        writeln!(f, "{}\n", scale.legend())?;
        writeln!(f, "{}", timeline::draw(entries, &scale, &[]))?;
        writeln!(f, "{}\n", table::of_promises(promises))?;
        let (succeeded, tasks) = (self.succeeded(), entries.tasks.len());
        writeln!(f, "{succeeded} of {tasks} tasks succeeded; promises broken: {}", self.broken())
    }
}

const LEGEND: &str = "\
Made:   the producer was polled for it      Entry: the entrance admitted it
Waited: seconds since the last try ended    All others: seconds since the start";

fn exit_code(broken: usize, succeeded: usize) -> ExitCode {
    ExitCode::from(match (broken, succeeded) {
        (0, 1..) => 0,
        (0, 0) => 1,
        _ => 3,
    })
}

/// Formats a time in seconds, to the millisecond.
pub(crate) fn secs(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}
