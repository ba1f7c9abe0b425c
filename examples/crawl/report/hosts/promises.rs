//! The promises of each host and of all together, checked against the measured values.

use std::time::Duration;

use tower_floodgate::{Quota, retry::Backoff};

use super::{
    OfHost, OwnLimits,
    held_back::{by_window, held_back},
};
use crate::{
    args::Args,
    hosts::RETRY_RATIO,
    log::Attempt,
    report::{
        promises::{
            Promise, as_arrived, as_sent, attempts_of_a_task, ends, slowest_delivery, stay_of_task,
            waits,
        },
        secs,
        spans::most_at_a_time,
    },
    site,
};

/// The lateness of a busy machine, beyond that of its timers.
const BUSY: Duration = Duration::from_millis(250);

/// The largest rate of which a key counts single requests. Others expire in units.
const SINGLE: u32 = 23;

/// The measured values that the checks of all hosts need.
pub(super) struct Together {
    /// The times at which requests were sent, in order.
    pub(super) sent: Vec<Duration>,
    /// The limit of all hosts together.
    pub(super) quota: Quota,
    pub(super) hosts: u32,
    /// The longest time by which a timer was late.
    pub(super) stall: Duration,
}

/// Checks the promises of a host.
pub(super) fn of_host(
    args: &Args,
    backoff: &Backoff,
    host: &OfHost,
    together: &Together,
) -> Vec<Promise> {
    let (tasks, limits) = (&host.entries.tasks, host.limits(args.window));
    let sent = host.attempts().count();
    let slowest = slowest_delivery(tasks, &host.arrivals);
    let mut promises = vec![
        as_sent(host.attempts(), limits.window, limits.rate),
        as_arrived(&host.arrivals, sent, slowest, limits.window, limits.rate),
        in_flight(host, limits.in_flight, args.timeout),
        Promise::at_most(
            "admitted, not ended",
            most_at_a_time(tasks.iter().filter_map(stay_of_task)),
            host.max_admitted,
        ),
        attempts_of_a_task(tasks, args.attempts),
        Promise::at_most(
            "retries",
            sent.saturating_sub(tasks.len()),
            (args.tasks as f64 * RETRY_RATIO) as u32,
        ),
        waits(args.jitter, backoff, tasks),
    ];
    // A request that was granted before the pause is on its way a little later.
    let grace = slowest + together.stall * 2 + args.window / 20;
    promises.extend(host.pauses().into_iter().map(|pause| quiet(host, pause, grace)));
    promises.extend(not_held_back(host, limits, together));
    promises.push(whole_bodies(host));
    let mut ends = ends(tasks, args.tasks);
    if host.host.is_sound(args.timeout) {
        ends.promised += ", none failed";
        ends.kept = Some(ends.kept == Some(true) && host.succeeded() == args.tasks);
    }
    promises.push(ends);
    promises
}

/// Checks the promises of all hosts together.
pub(super) fn of_all(hosts: &[OfHost], quota: Quota) -> Vec<Promise> {
    let slowest = hosts.iter().map(|it| slowest_delivery(&it.entries.tasks, &it.arrivals)).max();
    let sent = hosts.iter().flat_map(OfHost::attempts);
    let arrivals = hosts.iter().flat_map(|host| &host.arrivals);
    let (window, limit) = (quota.window(), quota.limit());
    vec![
        as_sent(sent.clone(), window, limit),
        as_arrived(arrivals, sent.count(), slowest.unwrap_or_default(), window, limit),
    ]
}

/// Checks the requests in flight, from their arrival until the server was done with them.
fn in_flight(host: &OfHost, in_flight: u32, timeout: Duration) -> Promise {
    let took = |attempt: &Attempt| Some(attempt.ended.as_ref()?.0 - attempt.sent);
    if host.attempts().filter_map(took).any(|took| took >= timeout) {
        // The server learns of it later than the limit.
        return Promise::unchecked("in flight at the server", "a request timed out");
    }
    let stays = host.arrivals.iter().map(|it| (it.at, it.left.unwrap_or(Duration::MAX)));
    Promise::at_most("in flight at the server", most_at_a_time(stays), in_flight)
}

/// Checks that no requests arrived in a pause, apart from those that were on their way.
fn quiet(host: &OfHost, (from, until): (Duration, Duration), grace: Duration) -> Promise {
    let what = format!("arrived in the pause of {} s", secs(until - from));
    if from + grace >= until {
        return Promise::unchecked(&what, "a delivery took as long");
    }
    let quiet = from + grace..until;
    let arrived = host.arrivals.iter().filter(|arrival| quiet.contains(&arrival.at)).count();
    Promise::at_most(what, arrived, 0)
}

/// Checks that no request waited for other hosts for longer than it takes to have a turn, and that
/// none waited without a limit in its way.
///
/// At the limit of all hosts, each other host has one turn before. Permits expire a little late.
/// The rest is the machine's.
fn not_held_back(host: &OfHost, limits: OwnLimits, together: &Together) -> [Promise; 2] {
    let Together { sent, quota, hosts, stall } = together;
    let pauses = host.pauses();
    let own = lateness(limits.rate, limits.window) + *stall * 2 + BUSY;
    let others = lateness(quota.limit(), quota.window());
    let turn = (quota.window() + others) * hosts.div_ceil(quota.limit());

    let by_hosts = held_back(host.attempts(), limits, &pauses, |_| None);
    let by_nothing = held_back(host.attempts(), limits, &pauses, |it| by_window(sent, *quota, it));
    [
        longest("waited for other hosts", &by_hosts, turn + own),
        longest("waited without a reason", &by_nothing, others + own),
    ]
}

fn longest(what: &str, spans: &[Duration], bound: Duration) -> Promise {
    let longest = spans.iter().copied().max().unwrap_or_default();
    Promise {
        what: what.to_owned(),
        measured: format!("{} s; {} s in all", secs(longest), secs(spans.iter().sum())),
        promised: format!("at most {} s", secs(bound)),
        kept: Some(longest <= bound),
    }
}

/// Returns the longest time by which a permit expires late.
fn lateness(rate: u32, window: Duration) -> Duration {
    if rate <= SINGLE { window / 10 } else { window }
}

fn whole_bodies(host: &OfHost) -> Promise {
    let tasks = (1..).zip(&host.entries.tasks);
    let whole = tasks.filter(|(page, task)| {
        let size = task.ended.as_ref().and_then(|(_, outcome)| outcome.size());
        task.succeeded() && size == Some(site::body(*page).len())
    });
    let (whole, succeeded) = (whole.count(), host.succeeded());
    Promise {
        what: "bodies of full length".to_owned(),
        measured: whole.to_string(),
        promised: format!("all {succeeded}"),
        kept: Some(whole == succeeded),
    }
}
