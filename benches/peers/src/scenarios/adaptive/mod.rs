//! S10: limits that find themselves, before a server whose capacity changes.
//!
//! The server works on a number of requests at a time, each for 20 ms in the mean, and queues the
//! others. 200 tasks call it through each limit, each as soon as its last request has ended. All
//! limits run at the same time, each before a server of its own. A server with 40 permits can do
//! 2,000 requests a second less what its timer rounds up. The best limit has all of that, and the
//! 20 ms: more requests in flight only wait in the server.
//!
//! The peers have the settings that are their defaults. little-loadshedder has none: its target is
//! 100 ms here, and a task whose request it rejects waits 10 ms. The first requests of each span
//! are not measured, so that a limit may settle.

mod server;

use std::{
    convert::Infallible,
    error::Error,
    time::{Duration, Instant},
};

use little_loadshedder::{LoadShedLayer, LoadShedResponse};
use tokio::{task::JoinSet, time::sleep};
use tower::{Layer, Service, ServiceExt};
use tower_floodgate::{ConcurrencyBackpressureLayer, backpressure::Adaptive};
use tower_resilience_adaptive::{self as resilience, AdaptiveLimiterLayer};

use self::server::{Counts, Server, Times};
use crate::{
    contenders::{Label, other, ours, peers, same},
    measure::{allocations::uncounted, runtimes::Threads},
    pace::Pace,
    report::{Figure, Section, plain},
};

const REQUESTS: Figure = plain("requests", "/s");
const TIME: Figure = plain("in service", "mean, ms");
const IN_FLIGHT: Figure = plain("in flight", "mean");

/// Tasks before each server.
const TASKS: usize = 200;
/// The permits of the server in the spans of a run.
const SPANS: [(usize, &str); 3] =
    [(40, "40 permits"), (10, "then 10 permits"), (40, "then 40 permits again")];

pub(super) fn run(pace: Pace) -> Vec<Section> {
    let all = [(Times::Lognormal, "lognormal times"), (Times::Bimodal, "bimodal times, 1:100")];
    let run = |(times, name)| uncounted(|| before_servers(pace, times, name));
    all.into_iter().flat_map(run).collect()
}

/// A limit, and the start of its tasks.
type Contender = (Label, fn(Server, &mut JoinSet<()>));

fn contenders() -> Vec<Contender> {
    vec![
        (same("tower ConcurrencyLimit(40)", "fixed"), |server, tasks| {
            start(peers::concurrency_limit(40).layer(server), tasks);
        }),
        (same("tower ConcurrencyLimit(10)", "fixed"), |server, tasks| {
            start(peers::concurrency_limit(10).layer(server), tasks);
        }),
        (other("tower-acc Vegas", "adaptive"), |server, tasks| {
            start(tower_acc::ConcurrencyLimit::new(server, tower_acc::Vegas::default()), tasks);
        }),
        (other("tower-acc Gradient2", "adaptive"), |server, tasks| {
            start(tower_acc::ConcurrencyLimit::new(server, tower_acc::Gradient2::default()), tasks);
        }),
        (other("tower-acc AIMD", "adaptive"), |server, tasks| {
            start(tower_acc::ConcurrencyLimit::new(server, tower_acc::Aimd::default()), tasks);
        }),
        (other("tower-resilience Vegas", "adaptive"), |server, tasks| {
            let algorithm = resilience::Vegas::builder().build().expect("the defaults are valid");
            start(AdaptiveLimiterLayer::new(algorithm).layer(server), tasks);
        }),
        (other("tower-resilience Gradient2", "adaptive"), |server, tasks| {
            let algorithm =
                resilience::Gradient2::builder().build().expect("the defaults are valid");
            start(AdaptiveLimiterLayer::new(algorithm).layer(server), tasks);
        }),
        (other("tower-resilience AIMD", "adaptive"), |server, tasks| {
            let algorithm = resilience::Aimd::builder().build().expect("the defaults are valid");
            start(AdaptiveLimiterLayer::new(algorithm).layer(server), tasks);
        }),
        (other("little-loadshedder", "adaptive, rejects"), |server, tasks| {
            let layer = LoadShedLayer::new(0.01, Duration::from_millis(100));
            let paced = layer.layer(server).then(async |result| {
                if let Ok(LoadShedResponse::Overload) = result {
                    sleep(Duration::from_millis(10)).await;
                }
                Ok::<_, Infallible>(())
            });
            start(paced, tasks);
        }),
        (ours("backpressure, adaptive", "adaptive"), |server, tasks| {
            start(ConcurrencyBackpressureLayer::adaptive(Adaptive::new()).layer(server), tasks);
        }),
    ]
}

/// Spawns the tasks, each with a clone of the service.
fn start<S>(service: S, tasks: &mut JoinSet<()>)
where
    S: Service<(), Error: Into<Box<dyn Error + Send + Sync>>, Future: Send>
        + Clone
        + Send
        + 'static,
{
    for _ in 0..TASKS {
        let mut service = service.clone();
        tasks.spawn(async move {
            loop {
                let ready = service.ready().await.map_err(Into::into);
                let response = ready.expect("the server does not fail").call(()).await;
                response.map_err(Into::into).expect("the server does not fail");
            }
        });
    }
}

fn before_servers(pace: Pace, times: Times, name: &str) -> Vec<Section> {
    let [warm_up, time] = pace.pick([20, 20], [6_000, 2_000], [15_000, 5_000]);
    let [warm_up, time] = [warm_up, time].map(Duration::from_millis);
    let runtime = Threads::Two.runtime();
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        let mut servers = Vec::new();
        for (label, start) in contenders() {
            let server = Server::new(times, SPANS[0].0);
            start(server.clone(), &mut tasks);
            servers.push((label, server));
        }
        let mut sections = Vec::new();
        for (permits, title) in SPANS {
            for (_, server) in &servers {
                server.resize(permits);
            }
            sleep(warm_up).await;
            let read = || servers.iter().map(|(_, server)| server.counts()).collect::<Vec<_>>();
            let (before, began) = (read(), Instant::now());
            sleep(time).await;
            let (after, time) = (read(), began.elapsed());
            let mut section = Section::new(format!("{name}, {title}"));
            for ((label, _), (before, after)) in servers.iter().zip(before.iter().zip(&after)) {
                for (figure, value) in figures(before, after, time) {
                    section.push(label, figure, vec![value]);
                }
            }
            sections.push(section);
        }
        tasks.shutdown().await;
        sections
    })
}

fn figures(before: &Counts, after: &Counts, time: Duration) -> [(Figure, f64); 3] {
    let requests = (after.requests - before.requests) as f64;
    let served = (after.served - before.served).as_secs_f64();
    [
        (REQUESTS, requests / time.as_secs_f64()),
        (TIME, 1000.0 * served / requests),
        // Little's law.
        (IN_FLIGHT, served / time.as_secs_f64()),
    ]
}
