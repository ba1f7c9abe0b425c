//! The hosts: what each of them does, and its limits.

use std::time::Duration;

use tower_floodgate::{InvalidSetting, Quota};

use crate::{
    args::Args,
    site::{Incident, Manner},
};

/// The most hosts.
pub(crate) const HOSTS: usize = 5;

/// The pause that a host asks for, in windows.
const PAUSE: u32 = 3;

/// A host: its limits, and what its server does.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) name: &'static str,
    /// Requests in any window.
    pub(crate) rate: u32,
    /// Requests in flight.
    pub(crate) in_flight: u32,
    /// The time that a response takes.
    pub(crate) delay: Duration,
    /// The share of requests that fail.
    pub(crate) failures: f64,
    pub(crate) incident: Option<Incident>,
}

/// Returns the first `--hosts` hosts.
pub(crate) fn hosts(args: &Args) -> Vec<Host> {
    let host = |name, rate, in_flight, speed| Host {
        name,
        rate: args.rate.saturating_mul(rate),
        in_flight: args.in_flight.saturating_mul(in_flight),
        delay: args.delay / speed,
        failures: 0.0,
        incident: None,
    };
    // In the middle of the crawl.
    let at = args.tasks.div_ceil(2);
    let throttles = Incident::Throttles { at, pause: whole_seconds(args.window * PAUSE) };
    let mut hosts = vec![
        host("quick", 4, 2, 10),
        // In flight for so long that the bound on requests in flight is what holds it back.
        host("slow", 2, 1, 1),
        Host { incident: Some(throttles), ..host("strict", 2, 1, 5) },
        Host { incident: Some(Incident::Dies { at }), ..host("dying", 2, 1, 4) },
        Host { failures: args.failures, ..host("flaky", 2, 1, 4) },
    ];
    hosts.truncate(args.hosts);
    hosts
}

/// Returns the limit of all hosts together: lower than the sum of their limits.
///
/// Its window is short, because a host waits for the others for up to one.
pub(crate) fn global(args: &Args) -> Result<Quota, InvalidSetting> {
    Quota::try_new(args.rate.saturating_mul(5).div_ceil(2), args.window / 4)
}

impl Host {
    pub(crate) fn manner(&self, seed: u64) -> Manner {
        let Self { delay, failures, incident, .. } = *self;
        Manner { delay, failures, seed, incident }
    }

    /// Returns true if no task of the host may fail.
    pub(crate) fn is_sound(&self, timeout: Duration) -> bool {
        self.failures == 0.0 && self.incident.is_none() && self.delay < timeout / 2
    }
}

/// Rounds up, because a `Retry-After` is in seconds.
fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn args(args: &str) -> Args {
        Args::try_parse_from(["crawl"].into_iter().chain(args.split(' '))).expect("they are right")
    }

    #[test]
    fn hosts_have_multiples_of_the_options() {
        let hosts = hosts(&args("--hosts 3 --rate 5 --in-flight 4 --delay 1s --tasks 7"));
        let limits: Vec<_> =
            hosts.iter().map(|it| (it.name, it.rate, it.in_flight, it.delay)).collect();
        let ms = Duration::from_millis;
        let expected =
            [("quick", 20, 8, ms(100)), ("slow", 10, 4, ms(1_000)), ("strict", 10, 4, ms(200))];
        assert_eq!(limits, expected);
        assert!(matches!(hosts[2].incident, Some(Incident::Throttles { at: 4, .. })));
    }

    #[test]
    fn a_pause_is_of_whole_seconds() {
        let pause = |window| match hosts(&args(&format!("--hosts 3 --window {window}")))[2].incident
        {
            Some(Incident::Throttles { pause, .. }) => pause.as_secs_f64(),
            _ => panic!("the third host throttles"),
        };
        assert_eq!([pause("200ms"), pause("1s"), pause("1500ms")], [1.0, 3.0, 5.0]);
    }

    #[test]
    fn only_hosts_that_never_fail_are_sound() {
        let timeout = Duration::from_secs(30);
        let sound = |args: &Args| -> Vec<_> {
            hosts(args).into_iter().filter(|it| it.is_sound(timeout)).map(|it| it.name).collect()
        };
        assert_eq!(sound(&args("--hosts 5")), ["quick", "slow"]);
        assert_eq!(sound(&args("--hosts 5 --failures 0")), ["quick", "slow", "flaky"]);
        assert_eq!(sound(&args("--hosts 5 --delay 20s")), ["quick"]);
    }
}
