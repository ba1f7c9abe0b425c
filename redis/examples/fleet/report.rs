//! The report at the end, and the exit code.

use std::{fmt, process::ExitCode, time::Duration};

use comfy_table::{CellAlignment, Table, TableComponent, presets::UTF8_BORDERS_ONLY};

use crate::{
    api::Arrivals,
    args::Args,
    process::Log,
    spans::{most_in_any_span, used_share},
    timeline,
};

/// The times of the events that the leader has caused.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Course {
    pub(crate) begin: Duration,
    pub(crate) died: Duration,
    pub(crate) reborn: Duration,
    /// From before it was killed until it responded again.
    pub(crate) redis_away: Option<(Duration, Duration)>,
    pub(crate) end: Duration,
}

pub(crate) struct Report {
    course: Course,
    logs: Vec<Log>,
    /// The issues of all processes, sorted.
    issues: Vec<Duration>,
    promises: Vec<Promise>,
}

/// A promise, or a figure without one.
struct Promise {
    name: String,
    measured: String,
    promised: String,
    is_kept: Option<bool>,
}

impl Report {
    pub(crate) fn new(args: &Args, course: Course, logs: Vec<Log>, arrivals: Arrivals) -> Self {
        let mut issues: Vec<_> =
            logs.iter().flat_map(|log| log.issues.iter().map(|&(at, _)| at)).collect();
        issues.sort_unstable();
        let promises = promises(args, &course, &logs, &issues, &arrivals);
        Self { course, logs, issues, promises }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        if self.promises.iter().any(|promise| promise.is_kept == Some(false)) {
            return ExitCode::from(3);
        }
        // Without a success, the promises are kept and worth nothing.
        let has_failed = self.logs.iter().any(|log| log.succeeded == 0);
        if has_failed { ExitCode::from(1) } else { ExitCode::SUCCESS }
    }
}

fn promises(
    args: &Args,
    course: &Course,
    logs: &[Log],
    issues: &[Duration],
    arrivals: &Arrivals,
) -> Vec<Promise> {
    let Args { rate, window, strict, persist, .. } = *args;
    let limit = rate as usize;
    // A thread that was preempted right before an issue makes it late. The store was told.
    let late: u64 = logs.iter().map(|log| log.late).sum();
    let late = usize::try_from(late).unwrap_or(usize::MAX);
    let most = |name: &str, issues: &[Duration], bound: usize| {
        let most = most_in_any_span(issues, window);
        let lates = if late > 0 { format!(", and {late} late") } else { String::new() };
        Promise {
            name: format!("issued in any {}{name}", length(window)),
            measured: most.to_string(),
            promised: format!("at most {bound}{lates}"),
            is_kept: Some(most <= bound + late),
        }
    };
    let mut promises = Vec::new();
    match course.redis_away.filter(|_| !strict && !persist) {
        None => promises.push(most("", issues, limit)),
        Some((from, to)) => {
            // Leases that were made before the loss end within three eighths of a window.
            let to = to + window / 2;
            let before: Vec<_> = issues.iter().copied().filter(|&at| at < from).collect();
            let after: Vec<_> = issues.iter().copied().filter(|&at| at > to).collect();
            promises.push(most(", before the loss", &before, limit));
            promises.push(most(", after the loss", &after, limit));
            promises.push(most(", with the loss", issues, 2 * limit));
        }
    }
    let figure = |name: String, measured: String, promised: &str| Promise {
        name,
        measured,
        promised: promised.to_owned(),
        is_kept: None,
    };
    let mut arrived = arrivals.all.clone();
    arrived.sort_unstable();
    promises.push(figure(
        format!("arrived at the API in any {}", length(window)),
        most_in_any_span(&arrived, window).to_string(),
        "networks compress arrivals",
    ));
    promises.push(figure(
        "rejected by the API, and retried".to_owned(),
        arrivals.rejected().to_string(),
        "as above",
    ));
    promises.push(figure(
        "share of the quota issued".to_owned(),
        format!("{:.1} %", used_share(issues, rate, window) * 100.0),
        "an outage costs some",
    ));
    let requests: u64 = logs.iter().map(|log| log.requests).sum();
    let seconds = (course.end - course.begin).as_secs_f64();
    promises.push(figure(
        "requests to Redis, by all".to_owned(),
        format!("{requests}, {:.0} per second", requests as f64 / seconds),
        "independent of the rate",
    ));
    promises
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { course, logs, issues, promises } = self;
        writeln!(f, "{}", timeline::draw(course, logs, issues))?;
        writeln!(f, "{}\n", self.processes())?;
        let mut table = headed(["", "Most, or total", "Measured", "Promised"]);
        for Promise { name, measured, promised, is_kept } in promises {
            let mark = match is_kept {
                Some(true) => "✓ kept",
                Some(false) => "✗ BROKEN",
                None => "– a figure",
            };
            table.add_row([mark, name, measured, promised]);
        }
        writeln!(f, "{table}")?;
        if let Some(log) = logs.iter().find(|log| log.succeeded == 0) {
            writeln!(f, "no request of the process {} succeeded", log.appetite.name())?;
        }
        let broken = promises.iter().filter(|promise| promise.is_kept == Some(false)).count();
        writeln!(f, "{} requests issued; promises broken: {broken}", issues.len())
    }
}

impl Report {
    /// Makes a table with a row for each process.
    fn processes(&self) -> Table {
        let header = [
            "Process",
            "Issued",
            "Share",
            "Median wait",
            "Longest",
            "Redis requests",
            "Failed",
            "Losses noticed",
        ];
        let mut table = headed(header);
        for log in &self.logs {
            let mut waits: Vec<_> = log.issues.iter().map(|&(_, waited)| waited).collect();
            waits.sort_unstable();
            let issued = waits.len();
            let wait = |index: usize| waits.get(index).map_or(String::new(), |&wait| millis(wait));
            table.add_row([
                log.appetite.name(),
                issued.to_string(),
                format!("{:.1} %", issued as f64 * 100.0 / self.issues.len().max(1) as f64),
                wait(issued / 2),
                wait(issued.saturating_sub(1)),
                log.requests.to_string(),
                log.failures.to_string(),
                log.losses.to_string(),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

fn headed<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_BORDERS_ONLY)
        .remove_style(TableComponent::VerticalLines)
        .set_header(header);
    table
}

fn length(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(duration)
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

pub(crate) fn secs(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64()).trim_end_matches('0').trim_end_matches('.').to_owned()
}
