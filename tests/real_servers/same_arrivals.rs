//! The same arrivals at nginx's `limit_req`, at the moving window of Python's `limits`, and at a
//! limit of a key.
//!
//! All are set to `N` per second: nginx to a rate of `N` and a burst of `N - 1` without a delay.
//! nginx decides in real time, and its log has the times. The others decide on those times, each by
//! a clock of its own that is set to them: requests of one millisecond are 100 ns apart, in the
//! order of the log, so that no two are exactly a second apart.
//!
//! # Why the decisions differ
//!
//! - **nginx** has a leaky bucket: the burst passes at once, and the rate besides. So it lets
//!   `2 * N - 1` pass in a second, and more than `N` after each pause. It counts by milliseconds
//!   and thousandths of a request.
//! - **limits** keeps the times of the last `N` requests. It is the exact window: its decisions are
//!   those of the ring below.
//! - **ours** keeps a log of fixed size, so a permit expires a little late: it admits some of the
//!   ring's requests later or not at all, and never one more than `N` in any second.
//!
//! No verdict depends on the speed of the machine: a slow one has other arrivals.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use futures::future::join_all;
use reqwest::{Client, retry};
use tokio::runtime::Builder;
use tower::{Layer, ServiceExt, service_fn};
use tower_floodgate::keyed::{KeyedLimitLayer, Rule};

use crate::{nginx, slowapi};

/// Permits in any second.
const N: u32 = 20;
const SECOND: Duration = Duration::from_secs(1);

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/real_servers/limits/moving_window.py");

/// A name, and the times at which requests are sent.
type Pattern = (&'static str, Vec<Duration>);

/// Requests in five seconds.
fn patterns() -> Vec<Pattern> {
    let ms = Duration::from_millis;
    let times = |count: u64, step: u64| (0..count).map(move |it| ms(it * step));
    let burst = |at: u64| (0..u64::from(N)).map(move |_| ms(at));
    // A fixed seed: the schedule is the same in each run.
    let mut random = fastrand::Rng::with_seed(7);
    let poisson = (0..150).scan(0.0, move |at, _| {
        *at += -(1.0 - random.f64()).ln() / (1.5 * f64::from(N));
        Some(Duration::from_secs_f64(*at))
    });
    vec![
        ("even-1.2", times(120, 41).collect()),
        ("burst-even-2", burst(0).chain(burst(0)).chain(times(200, 25)).collect()),
        ("poisson-1.5", poisson.collect()),
        ("bursts-1.1", (0..5).flat_map(|it| burst(1_100 * it)).collect()),
        ("bursts-0.5", (0..10).flat_map(|it| burst(500 * it)).collect()),
    ]
}

/// A request that nginx has logged.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: Duration,
    is_admitted: bool,
}

pub(crate) async fn scene() -> Result<(), String> {
    let python = slowapi::environment()?;
    let patterns = patterns();
    let arrivals = at_nginx(&patterns).await?;
    println!("the same arrivals, at {N} in a second: admitted, and the most in any second");
    for ((name, sent), arrivals) in patterns.iter().zip(arrivals) {
        assert_eq!(arrivals.len(), sent.len(), "{name}");
        let times: Vec<Duration> = arrivals.iter().map(|arrival| arrival.at).collect();
        let by_nginx: Vec<bool> = arrivals.iter().map(|arrival| arrival.is_admitted).collect();
        let by_limits = by_limits(&python, name, &times)?;
        let ours = by_ours(&times);
        println!(
            "  {name}: {} arrivals; nginx {}, limits {}, ours {}; nginx alone admits {}, ours alone {}",
            times.len(),
            shown(&times, &by_nginx),
            shown(&times, &by_limits),
            shown(&times, &ours),
            differing(&by_nginx, &ours),
            differing(&ours, &by_nginx),
        );
        // The ring by the same times: `limits` is exact.
        assert_eq!(by_limits, by_ring(&times), "{name}");
        assert!(most(&times, &by_limits) <= N, "{name}");
        // The promise: whatever arrives, at most N in any half-open second.
        assert!(most(&times, &ours) <= N, "{name}");
        // The first N find room, by all of them.
        for admitted in [&by_nginx, &by_limits, &ours] {
            assert!(admitted[..N as usize].iter().all(|&is_admitted| is_admitted), "{name}");
        }
    }
    Ok(())
}

/// Sends all requests in time, and returns the arrivals of each pattern by nginx's log.
async fn at_nginx(patterns: &[Pattern]) -> Result<Vec<Vec<Arrival>>, String> {
    let server = nginx::start_with(|folder, address| {
        let folder_name = folder.display();
        let limits: String = patterns
            .iter()
            .map(|(name, _)| format!("limit_req_zone $uri zone={name}:1m rate={N}r/s;\n"))
            .collect();
        let locations: String = patterns
            .iter()
            .map(|(name, _)| {
                fs::write(folder.join(name), "hello").unwrap();
                format!("location = /{name} {{ limit_req zone={name} burst={} nodelay; }}\n", N - 1)
            })
            .collect();
        format!(
            "{limits}log_format arrivals '$msec $status $uri';
access_log \"{folder_name}/arrivals.log\" arrivals;
server {{
listen {address};
root \"{folder_name}\";
limit_req_status 429;
{locations}}}
"
        )
    })
    .await?;
    let client = Client::builder().retry(retry::never()).no_proxy().build().unwrap();
    #[allow(clippy::disallowed_methods, reason = "the schedule is of real time")]
    let begin = tokio::time::Instant::now() + Duration::from_millis(100);
    let requests = patterns.iter().flat_map(|(name, times)| {
        let (url, client) = (server.url(name), &client);
        times.iter().map(move |&at| {
            let request = client.get(&url);
            async move {
                tokio::time::sleep_until(begin + at).await;
                let response = request.send().await.unwrap();
                assert!(matches!(response.status().as_u16(), 200 | 429));
                // Read to the end, so that the connection can be reused.
                response.bytes().await.unwrap();
            }
        })
    });
    join_all(requests).await;

    // A request is logged behind its response.
    let sent: usize = patterns.iter().map(|(_, times)| times.len()).sum();
    let log = loop {
        let log = fs::read_to_string(server.file("arrivals.log")).unwrap();
        if log.ends_with('\n') && log.lines().count() >= sent {
            break log;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let lines: Vec<(u64, bool, &str)> = log
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let mut word = || words.next().unwrap();
            // Seconds since 1970, with milliseconds.
            let ms = word().replace('.', "").parse().unwrap();
            (ms, word() == "200", word())
        })
        .collect();
    let begin = lines.iter().map(|line| line.0).min().unwrap();
    let of_pattern = |(name, _): &Pattern| {
        let of_this = lines.iter().filter(|line| line.2.strip_prefix('/') == Some(*name));
        let mut arrivals: Vec<_> = of_this.copied().collect();
        arrivals.sort_by_key(|line| line.0);
        let apart = (0_u32..).map(|at| Duration::from_nanos(100) * at);
        let at = |ms: u64| Duration::from_millis(ms - begin);
        arrivals
            .into_iter()
            .zip(apart)
            .map(|((ms, is_admitted, _), apart)| Arrival { at: at(ms) + apart, is_admitted })
            .collect()
    };
    Ok(patterns.iter().map(of_pattern).collect())
}

/// Decides as `limits` does, by its own code.
fn by_limits(python: &Path, name: &str, times: &[Duration]) -> Result<Vec<bool>, String> {
    let mut process = Command::new(python)
        .args([SCRIPT, &format!("{N}/second")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let lines: String = times.iter().map(|at| format!("{name} {}\n", at.as_nanos())).collect();
    // Fewer than fit into the pipe, so that neither side waits for the other.
    process.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "its messages are above");
    let text = String::from_utf8(output.stdout).unwrap();
    let admitted: Vec<bool> = text.lines().map(|line| line == "1").collect();
    assert_eq!(admitted.len(), times.len());
    Ok(admitted)
}

/// Decides by a limit of a key, on a runtime of its own, whose clock is paused.
fn by_ours(times: &[Duration]) -> Vec<bool> {
    thread::scope(|scope| scope.spawn(|| decide_under_paused_time(times)).join().unwrap())
}

fn decide_under_paused_time(times: &[Duration]) -> Vec<bool> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let rule = Rule::new("client", |(): &()| Some(())).at_most(N, SECOND);
        let echo = service_fn(|(): ()| async { Ok::<_, Infallible>(()) });
        let service = KeyedLimitLayer::new(rule).layer(echo);
        let mut admitted = Vec::new();
        let mut now = Duration::ZERO;
        for &at in times {
            tokio::time::advance(at - now).await;
            now = at;
            admitted.push(service.clone().oneshot(()).await.is_ok());
        }
        admitted
    })
}

/// Decides by the times of the last N that were admitted.
fn by_ring(times: &[Duration]) -> Vec<bool> {
    let mut ring = VecDeque::new();
    let mut decide = |&at: &Duration| {
        while ring.front().is_some_and(|&oldest| at - oldest >= SECOND) {
            ring.pop_front();
        }
        let has_room = ring.len() < N as usize;
        if has_room {
            ring.push_back(at);
        }
        has_room
    };
    times.iter().map(&mut decide).collect()
}

/// Returns the most requests that were admitted in any half-open second.
fn most(times: &[Duration], admitted: &[bool]) -> u32 {
    let admitted: Vec<Duration> =
        times.iter().zip(admitted).filter(|(_, is)| **is).map(|(at, _)| *at).collect();
    let within = |&begin: &Duration| {
        admitted.iter().filter(|&&at| at >= begin && at < begin + SECOND).count()
    };
    u32::try_from(admitted.iter().map(within).max().unwrap_or(0)).unwrap()
}

fn shown(times: &[Duration], admitted: &[bool]) -> String {
    let count = admitted.iter().filter(|&&is_admitted| is_admitted).count();
    format!("{count} ({})", most(times, admitted))
}

/// Returns the number of requests that `one` admits and `other` does not.
fn differing(one: &[bool], other: &[bool]) -> usize {
    one.iter().zip(other).filter(|(one, other)| **one && !**other).count()
}
