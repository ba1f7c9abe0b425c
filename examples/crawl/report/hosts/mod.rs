//! The report of several hosts: a timeline and the promises of each, and those of all together.

mod held_back;
mod promises;

use std::{collections::BTreeMap, fmt, process::ExitCode, time::Duration};

use humantime::format_duration;
use tower_floodgate::{Quota, retry::Backoff};

use self::promises::Together;
use super::{
    exit_code,
    promises::{Promise, broken},
    spans::union,
    table,
    timeline::{self, Scale, Spans},
};
use crate::{
    args::Args,
    hosts::Host,
    log::{Attempt, Entries},
    site::Arrival,
};

/// What became of the crawl of a host.
pub(crate) struct OfHost {
    pub(crate) host: Host,
    /// The most tasks that may be admitted and not yet ended.
    pub(crate) max_admitted: u32,
    pub(crate) entries: Entries,
    /// The requests that its server has seen.
    pub(crate) arrivals: Vec<Arrival>,
    /// The time at which its server died.
    pub(crate) died: Option<Duration>,
}

/// The limits of one host.
#[derive(Clone, Copy)]
struct OwnLimits {
    rate: u32,
    window: Duration,
    in_flight: u32,
}

pub(crate) struct HostsReport {
    window: Duration,
    hosts: Vec<(OfHost, Vec<Promise>)>,
    of_all: Vec<Promise>,
}

impl HostsReport {
    /// Makes the report. `quota` is that of all hosts, and `stall` the longest time by which the
    /// machine was late.
    pub(crate) fn of(
        args: &Args,
        backoff: &Backoff,
        hosts: Vec<OfHost>,
        quota: Quota,
        stall: Duration,
    ) -> Self {
        let of_all = promises::of_all(&hosts, quota);
        let attempts = hosts.iter().flat_map(OfHost::attempts);
        let mut sent: Vec<_> = attempts.map(|attempt| attempt.sent).collect();
        sent.sort_unstable();
        let together = Together { sent, quota, hosts: hosts.len() as u32, stall };
        let of_host = |host: OfHost| {
            let promises = promises::of_host(args, backoff, &host, &together);
            (host, promises)
        };
        let hosts = hosts.into_iter().map(of_host).collect();
        Self { window: args.window, hosts, of_all }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        exit_code(self.broken(), self.succeeded())
    }

    fn broken(&self) -> usize {
        broken(self.hosts.iter().flat_map(|(_, promises)| promises).chain(&self.of_all))
    }

    fn succeeded(&self) -> usize {
        self.hosts.iter().map(|(host, _)| host.succeeded()).sum()
    }
}

impl OfHost {
    fn attempts(&self) -> impl Iterator<Item = &Attempt> + Clone {
        self.entries.tasks.iter().flat_map(|task| &task.attempts)
    }

    fn succeeded(&self) -> usize {
        self.entries.tasks.iter().filter(|task| task.succeeded()).count()
    }

    fn limits(&self, window: Duration) -> OwnLimits {
        let Host { rate, in_flight, .. } = self.host;
        OwnLimits { rate, window, in_flight }
    }

    /// Returns the times for which the server asked for no requests, from its response on.
    fn pauses(&self) -> Vec<(Duration, Duration)> {
        let ended = self.attempts().filter_map(|attempt| attempt.ended.as_ref());
        union(ended.filter_map(|(at, outcome)| Some((*at, *at + outcome.hint()?))).collect())
    }

    /// Returns the errors of failed tasks, and how often each of them occurred.
    fn failures(&self) -> BTreeMap<String, usize> {
        let mut failures = BTreeMap::new();
        let ended = self.entries.tasks.iter().filter_map(|task| task.ended.as_ref());
        for (_, outcome) in ended.filter(|(_, outcome)| !outcome.is_success()) {
            *failures.entry(outcome.to_string()).or_default() += 1;
        }
        failures
    }

    fn fmt(&self, f: &mut fmt::Formatter<'_>, window: Duration, scale: &Scale) -> fmt::Result {
        let Host { name, rate, in_flight, delay, .. } = &self.host;
        let (window, delay) = (format_duration(window), format_duration(*delay));
        writeln!(
            f,
            "{name}: at most {rate} requests in any {window} and {in_flight} in flight, \
             answers in {delay}\n"
        )?;
        let mut marked = Vec::new();
        let mut mark = |name, spans: Vec<_>| {
            if !spans.is_empty() {
                marked.push(Spans { name, spans });
            }
        };
        mark("paused", self.pauses());
        mark("dead", self.died.map(|at| (at, Duration::MAX)).into_iter().collect());
        writeln!(f, "{}", timeline::draw(&self.entries, scale, &marked))?;
        for (error, count) in self.failures() {
            writeln!(f, "{count} failed: {error}")?;
        }
        Ok(())
    }
}

impl fmt::Display for HostsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { window, hosts, of_all } = self;
        let tasks = || hosts.iter().flat_map(|(host, _)| &host.entries.tasks);
        let scale = Scale::of(tasks());
        writeln!(f, "{}\n", scale.legend())?;
        for (host, promises) in hosts {
            host.fmt(f, *window, &scale)?;
            writeln!(f, "{}\n", table::of_promises(promises))?;
        }
        writeln!(f, "all hosts:\n{}\n", table::of_promises(of_all))?;
        let (succeeded, tasks) = (self.succeeded(), tasks().count());
        writeln!(f, "{succeeded} of {tasks} tasks succeeded; promises broken: {}", self.broken())
    }
}
