//! Requests that find a permit at hand.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tower::{Layer, Service};
use tower_floodgate::{
    keyed::{KeyedLimitLayer, Rule},
    shared::{Away, SharedKeyedWindow},
};
use tower_floodgate_redis::RedisStore;

use super::turns;
use crate::{
    Pace,
    limits::{Asking, Echo, Keyed, Limit, Local, Shared, quota},
    load::{Watch, Watched, cost as cost_of, rate},
    report::{Table, median, percent, ratio, short},
    support::server::Server,
};

const SECOND: Duration = Duration::from_secs(1);

/// A limit that no load here reaches.
const PLENTY: u32 = 1_000_000_000;

/// A quota of its own, beside others on the server.
pub(super) fn shared(connection: &MultiplexedConnection, limit: u32, window: Duration) -> Shared {
    let name = format!("{}", fastrand::u64(..));
    Shared::new(quota(connection, &name, limit, window))
}

/// The nanoseconds of a request: one task, in batches.
pub(super) async fn cost(pace: Pace) -> Vec<Table> {
    let server = Server::start(&[]).await;
    let connection = server.connect().await;
    let (time, rounds) = (pace.pick(20, 400), pace.pick(1, 15));
    let time = Duration::from_millis(time);
    let (mut shared, mut local) = (shared(&connection, PLENTY, SECOND), Local::new(PLENTY, SECOND));
    let mut small = Local::new(256, Duration::from_nanos(100));
    let mut nothing = Asking::nothing(&connection);
    let mut costs = vec![Vec::new(); 4];
    for _ in 0..rounds {
        for turn in turns(4) {
            let cost = match turn {
                0 => cost_of(&mut nothing, 1, time).await,
                1 => cost_of(&mut local, 200, time).await,
                2 => cost_of(&mut small, 200, time).await,
                _ => cost_of(&mut shared, 200, time).await,
            };
            costs[turn].push(cost);
        }
    }
    let mut table = Table::new(
        "a request that finds a permit, one task",
        &["ns", "to a round trip", "to a local window", "to a small one"],
    );
    let labels = [
        "a round trip: return 1",
        "local window",
        "local window that reads the clock for each call",
        "shared quota",
    ];
    for (label, costs_of) in labels.iter().zip(&costs) {
        let mut cells = vec![short(median(costs_of))];
        cells.extend((0..3).map(|of| short(ratio(costs_of, &costs[of]))));
        table.line(*label, cells);
    }
    vec![table]
}

/// Requests per second in a closed loop.
pub(super) async fn closed(pace: Pace) -> Vec<Table> {
    let mut tables = Vec::new();
    for tasks in [1, 100, 10_000] {
        tables.push(closed_by(pace, tasks).await);
    }
    tables
}

async fn closed_by(pace: Pace, tasks: usize) -> Table {
    let server = Server::start(&[]).await;
    let connection = server.connect().await;
    let (time, rounds) = (pace.pick(50, 1_000), pace.pick(1, 5));
    let time = Duration::from_millis(time);
    let mut rates = vec![Vec::new(); 4];
    let mut watched: Vec<Vec<Watched>> = vec![Vec::new(); 4];
    for _ in 0..rounds {
        for turn in turns(4) {
            let (rate, of_server) = match turn {
                0 => run(&server, &Asking::gcra(&connection, PLENTY, SECOND), tasks, time).await,
                1 => run(&server, &Asking::log(&connection, PLENTY, SECOND), tasks, time).await,
                2 => run(&server, &shared(&connection, PLENTY, SECOND), tasks, time).await,
                _ => run(&server, &Local::new(PLENTY, SECOND), tasks, time).await,
            };
            rates[turn].push(rate);
            watched[turn].push(of_server);
        }
    }
    let mut table = Table::new(
        format!("closed loop, tasks: {tasks}"),
        &["requests/s", "to GCRA", "asked/s", "server"],
    );
    let labels = ["GCRA", "sorted-set log", "shared quota", "local window"];
    for (turn, label) in labels.iter().enumerate() {
        let of =
            |read: fn(&Watched) -> f64| median(&watched[turn].iter().map(read).collect::<Vec<_>>());
        table.line(
            *label,
            vec![
                short(median(&rates[turn])),
                short(ratio(&rates[turn], &rates[0])),
                short(of(|watched| watched.requests)),
                percent(of(|watched| watched.share)),
            ],
        );
    }
    table
}

/// Warms a limiter up, and returns its requests per second, and the server's.
async fn run(server: &Server, limit: &impl Limit, tasks: usize, time: Duration) -> (f64, Watched) {
    rate(limit, tasks, time / 2).await;
    let watch = Watch::start(server).await;
    let rate = rate(limit, tasks, time).await;
    (rate, watch.stop().await)
}

/// A quota for each key.
pub(super) async fn keys(pace: Pace) -> Vec<Table> {
    const MINUTE: Duration = Duration::from_secs(60);
    let (time, rounds) = (pace.pick(20, 300), pace.pick(1, 9));
    let time = Duration::from_millis(time);
    let key = |request: &u32| Some(*request);
    let mut table = Table::new(
        "a request that finds a permit, a quota for each key, one task",
        &["ns", "to a local keyed window"],
    );
    for count in [1, 1_000, 10_000] {
        let server = Server::start(&[]).await;
        let store = RedisStore::new(server.connect().await);
        let windows = SharedKeyedWindow::new(store, "keys", PLENTY, MINUTE, Away::Closed)
            .store_timeout(SECOND)
            .keep(4 * count as usize + 1_000);
        let service = KeyedLimitLayer::shared(windows, key).max_queue(10_000).layer(Echo);
        let mut shared = Keyed { service, keys: count };
        let rule = Rule::new("key", key).at_most(PLENTY, MINUTE);
        let service = KeyedLimitLayer::new(rule).layer(Echo);
        let mut local = Keyed { service, keys: count };
        // All keys are known, and their rates, before the first round.
        let begin = std::time::Instant::now();
        while begin.elapsed() < pace.pick(SECOND / 20, 3 * SECOND) {
            let calls = (0..count).map(|key| shared.service.call(key));
            for ended in futures::future::join_all(calls).await {
                ended.unwrap();
            }
        }
        let mut costs = vec![Vec::new(); 2];
        for _ in 0..rounds {
            for turn in turns(2) {
                costs[turn].push(match turn {
                    0 => cost_of(&mut shared, 20, time).await,
                    _ => cost_of(&mut local, 20, time).await,
                });
            }
        }
        let label = if count == 1 { "1 key".to_owned() } else { format!("{count} keys") };
        table.line(label, vec![short(median(&costs[0])), short(ratio(&costs[0], &costs[1]))]);
    }
    vec![table]
}
