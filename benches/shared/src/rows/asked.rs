//! The requests to the server, and the time that they take.

use std::time::Duration;

use tokio::task::JoinSet;
use tower_floodgate::shared::Store;
use tower_floodgate_redis::RedisStore;

use super::{at_hand::shared, turns};
use crate::{
    Pace,
    limits::{Asking, Bare, Limit, Shared, quota},
    load::{Issue, Watch, Watched, closed, paced as paced_load},
    report::{Table, median, percent, quantile, ratio, short},
    support::server::Server,
};

const SECOND: Duration = Duration::from_secs(1);

/// A load of requests at random times.
#[derive(Clone, Copy, Debug)]
struct Load {
    per_second: u32,
    tasks: u32,
    limit: u32,
    /// The time in which the limiters learn the load.
    warm: Duration,
}

/// The figures of a run.
#[derive(Debug)]
struct Run {
    at_once: f64,
    p50: f64,
    p99: f64,
    of_server: Watched,
}

/// Loads of which permits are plenty.
pub(super) async fn paced(pace: Pace) -> Vec<Table> {
    let loads = [
        Load { per_second: 100, tasks: 20, limit: 1_000, warm: SECOND },
        Load { per_second: 5_000, tasks: 100, limit: 20_000, warm: SECOND },
        Load { per_second: 100_000, tasks: 10_000, limit: 400_000, warm: SECOND },
    ];
    let mut tables = Vec::new();
    for load in loads {
        tables.push(compared(pace, load).await);
    }
    tables
}

/// A load above half of the limit: permits are not taken in advance.
pub(super) async fn scarce(pace: Pace) -> Vec<Table> {
    let load = Load { per_second: 800, tasks: 50, limit: 1_000, warm: 3 * SECOND };
    vec![compared(pace, load).await]
}

async fn compared(pace: Pace, load: Load) -> Table {
    let server = Server::start(&[]).await;
    let connection = server.connect().await;
    let time = pace.pick(SECOND / 10, 3 * SECOND);
    let load = Load { warm: pace.pick(SECOND / 20, load.warm), ..load };
    let labels = ["a round trip: return 1", "GCRA", "shared quota", "acquire, no driver"];
    let mut runs: Vec<Vec<Run>> = labels.iter().map(|_| Vec::new()).collect();
    for _ in 0..pace.pick(1, 3) {
        for turn in turns(labels.len()) {
            runs[turn].push(match turn {
                0 => run(&server, Asking::nothing(&connection), load, time).await,
                1 => run(&server, Asking::gcra(&connection, load.limit, SECOND), load, time).await,
                2 => run(&server, shared(&connection, load.limit, SECOND), load, time).await,
                _ => run(&server, Bare::new(&connection, load.limit), load, time).await,
            });
        }
    }
    let Load { per_second, limit, .. } = load;
    let title =
        format!("{} requests/s of a quota of {}/s", short(per_second.into()), short(limit.into()));
    let mut table = Table::new(
        title,
        &["at once", "p50 ms", "to return 1", "to GCRA", "p99 ms", "to GCRA", "asked/s", "server"],
    );
    for (turn, label) in labels.iter().enumerate() {
        let all = |turn: usize, read: fn(&Run) -> f64| runs[turn].iter().map(read).collect();
        let of = |read: fn(&Run) -> f64| -> Vec<f64> { all(turn, read) };
        let to = |to: usize, read: fn(&Run) -> f64| {
            let to: Vec<f64> = all(to, read);
            short(ratio(&of(read), &to))
        };
        table.line(
            *label,
            vec![
                percent(median(&of(|run| run.at_once))),
                short(median(&of(|run| run.p50)) * 1e3),
                to(0, |run| run.p50),
                to(1, |run| run.p50),
                short(median(&of(|run| run.p99)) * 1e3),
                to(1, |run| run.p99),
                short(median(&of(|run| run.of_server.requests))),
                percent(median(&of(|run| run.of_server.share))),
            ],
        );
    }
    table
}

async fn run(server: &Server, limit: impl Limit, load: Load, time: Duration) -> Run {
    let pause = SECOND * load.tasks / load.per_second;
    let limits = || vec![limit.clone(); load.tasks as usize];
    paced_load(limits(), load.warm, Some(pause)).await;
    let watch = Watch::start(server).await;
    let issues = paced_load(limits(), time, Some(pause)).await;
    let of_server = watch.stop().await;
    let issues: Vec<Issue> = issues.into_iter().flatten().collect();
    let waits: Vec<f64> = issues.iter().map(|issue| issue.wait).collect();
    let at_once = issues.iter().filter(|issue| issue.is_at_once).count();
    Run {
        at_once: at_once as f64 / issues.len().max(1) as f64,
        p50: quantile(&waits, 0.5),
        p99: quantile(&waits, 0.99),
        of_server,
    }
}

/// The time of the server for a script.
pub(super) async fn server(pace: Pace) -> Vec<Table> {
    let server = Server::start(&[]).await;
    let connection = server.connect().await;
    let time = pace.pick(SECOND / 20, SECOND);
    let labels = [
        "return 1",
        "GCRA",
        "sorted-set log",
        "acquire: reservations and refusals",
        "acquire: leases of a state of the longest kind",
        "acquire: as four processes that want all ask it",
    ];
    let mut micros = vec![Vec::new(); labels.len()];
    let mut requests = vec![Vec::new(); labels.len()];
    let mut entries = vec![0.0; labels.len()];
    for _ in 0..pace.pick(1, 5) {
        for turn in turns(labels.len()) {
            let watched = match turn {
                0 => ask(&server, Asking::nothing(&connection), time).await,
                1 => ask(&server, Asking::gcra(&connection, 1_000, SECOND), time).await,
                2 => ask(&server, Asking::log(&connection, 1_000, SECOND), time).await,
                3 | 4 => {
                    let key = format!("direct-{}", fastrand::u64(..));
                    let limit = if turn == 3 { 1_000 } else { 1_000_000_000 };
                    let store = RedisStore::new(connection.clone());
                    // A state is full after a window.
                    acquire(&store, &key, limit, time.max(pace.pick(time, 13 * SECOND / 10))).await;
                    let watch = Watch::start(&server).await;
                    acquire(&store, &key, limit, time).await;
                    let watched = watch.stop().await;
                    let length: f64 = server.query(&format!("STRLEN rl:{key}")).await;
                    entries[turn] = (length - 88.0) / 12.0;
                    watched
                }
                _ => {
                    let name = format!("{}", fastrand::u64(..));
                    let process = || Shared::new(quota(&connection, &name, 1_000, SECOND));
                    let limits = (0..4).flat_map(|_| vec![process(); 100]).collect();
                    let watch = Watch::start(&server).await;
                    closed(limits, 3 * time).await;
                    let length: f64 = server.query(&format!("STRLEN rl:{name}")).await;
                    entries[turn] = (length - 88.0) / 12.0;
                    watch.stop().await
                }
            };
            micros[turn].push(watched.micros);
            requests[turn].push(watched.requests);
        }
    }
    let mut table = Table::new(
        "the time of the server for a script",
        &["µs", "to return 1", "to GCRA", "entries", "requests/s"],
    );
    for (turn, label) in labels.iter().enumerate() {
        table.line(
            *label,
            vec![
                short(median(&micros[turn])),
                short(ratio(&micros[turn], &micros[0])),
                short(ratio(&micros[turn], &micros[1])),
                if entries[turn] > 0.0 { short(entries[turn]) } else { String::new() },
                short(median(&requests[turn])),
            ],
        );
    }
    vec![table]
}

/// The requests in flight on the connection: the server finds the next one when it has replied.
const PIPELINED: usize = 20;

async fn ask(server: &Server, limit: Asking, time: Duration) -> Watched {
    let mut tasks = JoinSet::new();
    let begin = std::time::Instant::now();
    let watch = Watch::start(server).await;
    for _ in 0..PIPELINED {
        let mut limit = limit.clone();
        tasks.spawn(async move {
            while begin.elapsed() < time {
                limit.ask().await;
            }
        });
    }
    tasks.join_all().await;
    watch.stop().await
}

/// Asks for leases, as the driver of a quota with a window of a second does.
async fn acquire(store: &(impl Store + Clone), key: &str, limit: i64, time: Duration) {
    let mut tasks = JoinSet::new();
    let begin = std::time::Instant::now();
    for _ in 0..PIPELINED {
        let (store, key) = (store.clone(), key.to_owned());
        tasks.spawn(async move {
            let (window, length, longest, horizon) = (1_001_954, 7_813, 125_000, 250_000);
            let want = if limit == 1_000 { 100 } else { 1 };
            let length = if limit == 1_000 { length } else { longest };
            let request = [1, limit, window, length, longest, want, horizon, 0, 0, 0, 0, 0];
            while begin.elapsed() < time {
                store.acquire(&key, &request).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}
