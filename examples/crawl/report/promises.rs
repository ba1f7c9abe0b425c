//! The promises, checked against the measured values.

use std::time::Duration;

use humantime::format_duration;
use tower_floodgate::retry::Backoff;

use super::{
    secs,
    spans::{most_at_a_time, most_in_any_span},
};
use crate::{
    args::{Args, Spread},
    log::{Attempt, Entries, Task},
    site::Arrival,
};

pub(super) struct Promise {
    pub(super) what: String,
    pub(super) measured: String,
    pub(super) promised: String,
    /// `None` if it could not be checked.
    pub(super) kept: Option<bool>,
}

impl Promise {
    fn at_most(what: impl Into<String>, measured: usize, bound: u32) -> Self {
        Self {
            what: what.into(),
            measured: measured.to_string(),
            promised: format!("at most {bound}"),
            kept: Some(measured <= bound as usize),
        }
    }

    fn unchecked(what: &str, why: &str) -> Self {
        Self {
            what: what.to_owned(),
            measured: why.to_owned(),
            promised: String::new(),
            kept: None,
        }
    }
}

/// Checks all promises. `arrivals` are those that the built-in site recorded.
pub(super) fn check(
    args: &Args,
    backoff: &Backoff,
    entries: &Entries,
    arrivals: Option<&[Arrival]>,
) -> Vec<Promise> {
    let Entries { tasks, queue } = entries;
    let attempts = || tasks.iter().flat_map(|task| &task.attempts);
    let longest = queue.iter().map(|&(_, queued)| queued).max().unwrap_or(0);
    let window = format_duration(args.window);
    vec![
        Promise::at_most(
            format!("sent in any {window}"),
            most_in_any_span(attempts().map(|attempt| attempt.sent), args.window),
            args.rate,
        ),
        as_arrived(tasks, arrivals, args.window, args.rate),
        Promise::at_most("queued", longest as usize, args.queue),
        Promise::at_most(
            "attempts at a time",
            most_at_a_time(attempts().filter_map(stay_of_attempt)),
            args.in_flight,
        ),
        Promise::at_most(
            "admitted, not ended",
            most_at_a_time(tasks.iter().filter_map(stay_of_task)),
            args.max_admitted(),
        ),
        Promise::at_most(
            "attempts of a task",
            tasks.iter().map(|task| task.attempts.len()).max().unwrap_or(0),
            args.attempts,
        ),
        waits(args.jitter, backoff, tasks),
        ends(tasks, args.tasks),
    ]
}

fn stay_of_attempt(attempt: &Attempt) -> Option<(Duration, Duration)> {
    Some((attempt.sent, attempt.ended.as_ref()?.0))
}

fn stay_of_task(task: &Task) -> Option<(Duration, Duration)> {
    Some((task.admitted?, task.ended.as_ref()?.0))
}

/// Checks the rate of the requests as they arrived at the server.
///
/// Connection setup and the network bunch arrivals by some milliseconds, so the span is shorter
/// than the window: by a twentieth or by the delivery time of the slowest request, if that is
/// longer. Then all requests that arrive within the span were sent within one window.
fn as_arrived(
    tasks: &[Task],
    arrivals: Option<&[Arrival]>,
    window: Duration,
    rate: u32,
) -> Promise {
    let Some(arrivals) = arrivals else {
        return Promise::unchecked("arrived in any window", "the server is not the built-in one");
    };
    let slowest = slowest_delivery(tasks, arrivals);
    let span = window.saturating_sub(slowest.max(window / 20));
    if span.is_zero() {
        return Promise::unchecked(
            "arrived in any window",
            "a delivery took longer than the window",
        );
    }
    let most = most_in_any_span(arrivals.iter().map(|arrival| arrival.at), span);
    let sent: usize = tasks.iter().map(|task| task.attempts.len()).sum();
    Promise {
        what: format!("arrived in any {} s", secs(span)),
        measured: format!("{most} ({} of {sent} arrived)", arrivals.len()),
        promised: format!("at most {rate}"),
        // More arrivals than attempts would be requests that the rate limit did not count.
        kept: Some(most <= rate as usize && arrivals.len() <= sent),
    }
}

/// Returns the delivery time of the slowest request.
///
/// The requests of a page arrive in the order in which they were sent. If one of them never
/// arrived, the result is too long, which only shortens the checked span.
fn slowest_delivery(tasks: &[Task], arrivals: &[Arrival]) -> Duration {
    let mut attempts: Vec<_> = tasks.iter().map(|task| task.attempts.iter()).collect();
    let took = arrivals.iter().filter_map(|arrival| {
        let sent = attempts.get_mut(arrival.page.checked_sub(1)?)?.next()?.sent;
        Some(arrival.at.saturating_sub(sent))
    });
    took.max().unwrap_or_default()
}

/// Checks the shortest wait before a first retry, before a second one, and so on.
///
/// The rate limit may issue a retry later than its backoff, never earlier.
fn waits(spread: Spread, backoff: &Backoff, tasks: &[Task]) -> Promise {
    let nth = |retry| tasks.iter().filter_map(move |task| task.waits().nth(retry)).min();
    let shortest: Vec<_> = (0..).map_while(nth).collect();
    let bounds: Vec<_> =
        (0..).zip(&shortest).map(|(retry, _)| shortest_wait(spread, backoff, retry)).collect();
    if shortest.is_empty() {
        return Promise::unchecked("wait before a retry", "there was no retry");
    }
    Promise {
        what: "wait before a retry".to_owned(),
        measured: list(&shortest),
        promised: format!("at least {}", list(&bounds)),
        kept: Some(shortest.iter().zip(&bounds).all(|(wait, bound)| wait >= bound)),
    }
}

fn list(waits: &[Duration]) -> String {
    let waits: Vec<_> = waits.iter().map(|&wait| secs(wait)).collect();
    format!("{} s", waits.join(", "))
}

/// Returns the shortest wait of the backoff before the retry with this number, counted from 0.
fn shortest_wait(spread: Spread, backoff: &Backoff, retry: u32) -> Duration {
    match spread {
        Spread::None => backoff.ceiling(retry),
        Spread::Equal => backoff.ceiling(retry) / 2,
        Spread::Full => Duration::ZERO,
        Spread::Decorrelated => backoff.ceiling(0),
    }
}

fn ends(tasks: &[Task], expected: usize) -> Promise {
    let ended = tasks.iter().filter(|task| task.ended.is_some()).count();
    let well = tasks.iter().filter(|task| task.succeeded()).count();
    Promise {
        what: "tasks ended".to_owned(),
        measured: format!("{ended} ({} failed)", ended - well),
        promised: expected.to_string(),
        kept: Some(ended == expected && tasks.len() == expected),
    }
}
