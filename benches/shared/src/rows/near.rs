//! Tasks that want all of a quota.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;

use super::turns;
use crate::{
    Pace,
    limits::{Asking, Shared, quota},
    load::{Issue, closed},
    report::{Table, median, percent, quantile, short},
    support::server::Server,
};

const SECOND: Duration = Duration::from_secs(1);

/// Returns the tasks of some processes of a shared quota.
fn processes(
    connection: &MultiplexedConnection,
    limit: u32,
    window: Duration,
    count: usize,
    tasks: usize,
) -> Vec<Shared> {
    let name = format!("{}", fastrand::u64(..));
    let process = || Shared::new(quota(connection, &name, limit, window));
    (0..count).flat_map(|_| vec![process(); tasks]).collect()
}

/// The share of a quota that is issued, and the most that is issued in any span of its window.
pub(super) async fn used(pace: Pace) -> Vec<Table> {
    const TASKS: usize = 200;
    let server = Server::start(&[]).await;
    let connection = server.connect().await;
    let mut tables = Vec::new();
    for (window, time) in [(SECOND, 8 * SECOND), (SECOND / 10, 3 * SECOND)] {
        let time = pace.pick(window, time);
        for count in [1, 4] {
            let labels = ["GCRA", "sorted-set log", "shared quota"];
            let mut shares = vec![Vec::new(); labels.len()];
            let mut most = vec![0; labels.len()];
            for _ in 0..pace.pick(1, 3) {
                for turn in turns(labels.len()) {
                    let all = count * TASKS;
                    let issues = match turn {
                        0 => {
                            closed(vec![Asking::gcra(&connection, 1_000, window); all], time).await
                        }
                        1 => closed(vec![Asking::log(&connection, 1_000, window); all], time).await,
                        _ => {
                            let limits = processes(&connection, 1_000, window, count, TASKS);
                            closed(limits, time).await
                        }
                    };
                    let times = times(issues.into_iter().flatten());
                    shares[turn].push(share(&times, 1_000, window));
                    most[turn] = most[turn].max(most_in(&times, window));
                }
            }
            let title = format!("all of 1000 in {window:?}, processes: {count}");
            let mut table = Table::new(title, &["share of N", "lowest", "most in any span"]);
            for (turn, label) in labels.iter().enumerate() {
                table.line(
                    *label,
                    vec![
                        format!("{:.4}", median(&shares[turn])),
                        format!("{:.4}", quantile(&shares[turn], 0.0)),
                        most[turn].to_string(),
                    ],
                );
            }
            tables.push(table);
        }
    }
    tables
}

/// Returns the times of issues in their order.
fn times(issues: impl Iterator<Item = Issue>) -> Vec<Instant> {
    let mut times: Vec<_> = issues.map(|issue| issue.at).collect();
    times.sort();
    times
}

/// Returns the share of the quota that is used: by the time that whole windows of permits take.
fn share(times: &[Instant], limit: usize, window: Duration) -> f64 {
    let windows = (times.len().saturating_sub(1)) / limit;
    let took = times.get(windows * limit).map(|at| *at - times[0]).unwrap_or_default();
    (window * windows as u32).as_secs_f64() / took.as_secs_f64()
}

/// Returns the most issues in any half-open span of `window`.
fn most_in(times: &[Instant], window: Duration) -> usize {
    let mut begin = 0;
    let counted = times.iter().enumerate().map(|(at, time)| {
        while *time - times[begin] >= window {
            begin += 1;
        }
        at + 1 - begin
    });
    counted.max().unwrap_or(0)
}

/// The order and the waits of many tasks.
pub(super) async fn order(pace: Pace) -> Vec<Table> {
    const TASKS: usize = 10_000;
    let server = Server::start(&[]).await;
    let connection = server.connect().await;
    let time = pace.pick(SECOND / 10, 8 * SECOND);
    let labels = ["GCRA", "sorted-set log", "shared quota"];
    let mut runs = vec![Vec::new(); labels.len()];
    for _ in 0..pace.pick(1, 3) {
        for turn in turns(labels.len()) {
            let limit = 10_000;
            let issues = match turn {
                0 => closed(vec![Asking::gcra(&connection, limit, SECOND); TASKS], time).await,
                1 => closed(vec![Asking::log(&connection, limit, SECOND); TASKS], time).await,
                _ => closed(processes(&connection, limit, SECOND, 1, TASKS), time).await,
            };
            let issues: Vec<Issue> = issues.into_iter().flatten().collect();
            let waits: Vec<f64> = issues.iter().map(|issue| issue.wait).collect();
            runs[turn].push([quantile(&waits, 0.5), quantile(&waits, 1.0), overtaken(&issues)]);
        }
    }
    let title = "10,000 tasks in a closed loop, all of 10,000/s";
    let mut table = Table::new(title, &["median wait s", "longest wait s", "overtaken"]);
    for (label, runs) in labels.iter().zip(runs) {
        let of = |at: usize| median(&runs.iter().map(|run: &[f64; 3]| run[at]).collect::<Vec<_>>());
        let longest = runs.iter().map(|run| run[1]).fold(0.0, f64::max);
        table.line(*label, vec![short(of(0)), short(longest), percent(of(2))]);
    }
    vec![table]
}

/// Returns the share of the requests that a later one has overtaken by 10 ms: it came so much
/// later, and was issued so much earlier.
fn overtaken(issues: &[Issue]) -> f64 {
    const CLEARLY: Duration = Duration::from_millis(10);
    let arrival = |issue: &Issue| issue.at - Duration::from_secs_f64(issue.wait);
    let mut issues: Vec<_> = issues.iter().map(|issue| (arrival(issue), issue.at)).collect();
    issues.sort();
    let mut overtaken = 0;
    // From the last arrival on, with the earliest issue of those that came clearly later.
    let (mut later, mut earliest) = (issues.len(), None::<Instant>);
    for (arrival, at) in issues.iter().rev() {
        while later > 0 && issues[later - 1].0 > *arrival + CLEARLY {
            later -= 1;
            let issued = issues[later].1;
            earliest = Some(earliest.map_or(issued, |at| at.min(issued)));
        }
        overtaken += usize::from(earliest.is_some_and(|earliest| earliest + CLEARLY < *at));
    }
    overtaken as f64 / issues.len().max(1) as f64
}

/// The shares of processes that want all they can get.
pub(super) async fn fair(pace: Pace) -> Vec<Table> {
    const TASKS: usize = 50;
    let server = Server::start(&[]).await;
    let connection = server.connect().await;
    let time = pace.pick(SECOND / 2, 15 * SECOND);
    let mut table = Table::new(
        "shares of greedy processes, all of 1000/s",
        &["least to mean", "most to mean", "most in any span"],
    );
    for count in [16, 64] {
        let limits = processes(&connection, 1_000, SECOND, count, TASKS);
        let issues = closed(limits, time).await;
        // Without the burst of the first window.
        let begin = issues.iter().flatten().map(|issue| issue.at).min().unwrap();
        let counts: Vec<f64> = issues
            .chunks(TASKS)
            .map(|of| of.iter().flatten().filter(|issue| issue.at > begin + SECOND).count() as f64)
            .collect();
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let times = times(issues.into_iter().flatten());
        table.line(
            format!("{count} processes"),
            vec![
                short(quantile(&counts, 0.0) / mean),
                short(quantile(&counts, 1.0) / mean),
                most_in(&times, SECOND).to_string(),
            ],
        );
    }
    vec![table]
}
