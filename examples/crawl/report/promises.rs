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
    pub(super) fn at_most(what: impl Into<String>, measured: usize, bound: u32) -> Self {
        Self {
            what: what.into(),
            measured: measured.to_string(),
            promised: format!("at most {bound}"),
            kept: Some(measured <= bound as usize),
        }
    }

    pub(super) fn unchecked(what: &str, why: &str) -> Self {
        Self {
            what: what.to_owned(),
            measured: why.to_owned(),
            promised: String::new(),
            kept: None,
        }
    }
}

/// Returns the number of promises that were broken.
pub(super) fn broken<'a>(promises: impl IntoIterator<Item = &'a Promise>) -> usize {
    promises.into_iter().filter(|promise| promise.kept == Some(false)).count()
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
    let arrived = match arrivals {
        Some(arrivals) => {
            let slowest = slowest_delivery(tasks, arrivals);
            as_arrived(arrivals, attempts().count(), slowest, args.window, args.rate)
        }
        None => Promise::unchecked("arrived in any window", "the server is not the built-in one"),
    };
    vec![
        as_sent(attempts(), args.window, args.rate),
        arrived,
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
        attempts_of_a_task(tasks, args.attempts),
        waits(args.jitter, backoff, tasks),
        ends(tasks, args.tasks),
    ]
}

pub(super) fn attempts_of_a_task(tasks: &[Task], attempts: u32) -> Promise {
    let most = tasks.iter().map(|task| task.attempts.len()).max().unwrap_or(0);
    Promise::at_most("attempts of a task", most, attempts)
}

fn stay_of_attempt(attempt: &Attempt) -> Option<(Duration, Duration)> {
    Some((attempt.sent, attempt.ended.as_ref()?.0))
}

pub(super) fn stay_of_task(task: &Task) -> Option<(Duration, Duration)> {
    Some((task.admitted?, task.ended.as_ref()?.0))
}

/// Checks the rate of the requests as they were sent.
pub(super) fn as_sent<'a>(
    attempts: impl Iterator<Item = &'a Attempt>,
    window: Duration,
    rate: u32,
) -> Promise {
    Promise::at_most(
        format!("sent in any {}", format_duration(window)),
        most_in_any_span(attempts.map(|attempt| attempt.sent), window),
        rate,
    )
}

/// Checks the rate of the requests as they arrived at the server, of so many that were sent.
///
/// Connection setup and the network bunch arrivals by some milliseconds, so the span is shorter
/// than the window: by a twentieth or by the delivery time of the slowest request, if that is
/// longer. Then all requests that arrive within the span were sent within one window.
pub(super) fn as_arrived<'a>(
    arrivals: impl IntoIterator<Item = &'a Arrival>,
    sent: usize,
    slowest: Duration,
    window: Duration,
    rate: u32,
) -> Promise {
    let arrivals: Vec<_> = arrivals.into_iter().map(|arrival| arrival.at).collect();
    let span = window.saturating_sub(slowest.max(window / 20));
    if span.is_zero() {
        return Promise::unchecked(
            "arrived in any window",
            "a delivery took longer than the window",
        );
    }
    let arrived = arrivals.len();
    let most = most_in_any_span(arrivals, span);
    Promise {
        what: format!("arrived in any {} s", secs(span)),
        measured: format!("{most} ({arrived} of {sent} arrived)"),
        promised: format!("at most {rate}"),
        // More arrivals than attempts would be requests that the rate limit did not count.
        kept: Some(most <= rate as usize && arrived <= sent),
    }
}

/// Returns the delivery time of the slowest request.
///
/// The requests of a page arrive in the order in which they were sent. If one of them never
/// arrived, the result is too long, which only shortens the checked span.
pub(super) fn slowest_delivery(tasks: &[Task], arrivals: &[Arrival]) -> Duration {
    let mut attempts: Vec<_> = tasks.iter().map(|task| task.attempts.iter()).collect();
    let took = arrivals.iter().filter_map(|arrival| {
        let sent = attempts.get_mut(arrival.page.checked_sub(1)?)?.next()?.sent;
        Some(arrival.at.saturating_sub(sent))
    });
    took.max().unwrap_or_default()
}

/// Checks the shortest wait before a first retry, before a second one, and so on.
///
/// The rate limit may issue a retry later than its backoff, never earlier. Where the server has
/// asked for a time, the retry waits for that in the place of the backoff.
pub(super) fn waits(spread: Spread, backoff: &Backoff, tasks: &[Task]) -> Promise {
    let hinted = |task: &Task, retry: usize| {
        let ended = task.attempts.get(retry).and_then(|attempt| attempt.ended.as_ref());
        ended.is_some_and(|(_, outcome)| outcome.hint().is_some())
    };
    let nth = |retry| {
        let tasks = tasks.iter().filter(move |task| !hinted(task, retry));
        tasks.filter_map(move |task| task.waits().nth(retry)).min()
    };
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

pub(super) fn ends(tasks: &[Task], expected: usize) -> Promise {
    let ended = tasks.iter().filter(|task| task.ended.is_some()).count();
    let well = tasks.iter().filter(|task| task.succeeded()).count();
    Promise {
        what: "tasks ended".to_owned(),
        measured: format!("{ended} ({} failed)", ended - well),
        promised: expected.to_string(),
        kept: Some(ended == expected && tasks.len() == expected),
    }
}
