//! Requests and replies, and the script with a clock of the test.

use redis::{RedisResult, Script, aio::MultiplexedConnection};
use tower_floodgate::shared::Store;

use crate::model::Lease;

const SCRIPT: &str = include_str!("../../src/acquire.lua");

/// Microseconds.
pub(crate) const SECOND: i64 = 1_000_000;

/// A request, with the lengths that a driver chooses.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) limit: i64,
    pub(crate) window: i64,
    pub(crate) length: i64,
    pub(crate) want: i64,
    pub(crate) seen: (i64, i64),
    pub(crate) mine: i64,
    pub(crate) late: i64,
    pub(crate) is_strict: bool,
    pub(crate) refunds: Vec<(i64, i64)>,
}

impl Request {
    pub(crate) fn new(limit: i64, window: i64, want: i64) -> Self {
        Self {
            limit,
            window,
            length: window / 128,
            want,
            seen: (0, 0),
            mine: 0,
            late: 0,
            is_strict: false,
            refunds: Vec::new(),
        }
    }

    /// A request of a process that has seen `reply`, and leased `mine` permits.
    pub(crate) fn after(self, reply: &Reply, mine: i64) -> Self {
        Self { seen: (reply.epoch, reply.total), mine, ..self }
    }

    pub(crate) fn strict(self) -> Self {
        Self { is_strict: true, ..self }
    }

    pub(crate) fn max_length(&self) -> i64 {
        self.window / 8
    }

    pub(crate) fn horizon(&self) -> i64 {
        self.window / 4
    }

    pub(crate) fn numbers(&self) -> Vec<i64> {
        let mut numbers = vec![
            1,
            self.limit,
            self.window,
            self.length,
            self.max_length(),
            self.want,
            self.horizon(),
            self.seen.0,
            self.seen.1,
            self.mine,
            self.late,
            self.is_strict.into(),
        ];
        numbers.extend(self.refunds.iter().flat_map(|&(mark, count)| [mark, count]));
        numbers
    }

    /// Sends the request through a store. Returns the code of an error.
    pub(crate) async fn send(&self, store: &impl Store, key: &str) -> Result<Reply, String> {
        let replied = store.acquire(key, &self.numbers()).await;
        replied.map(|numbers| Reply::read(&numbers)).map_err(|error| {
            println!("{error}");
            error.code().to_owned()
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) now: i64,
    pub(crate) epoch: i64,
    pub(crate) total: i64,
    pub(crate) free: i64,
    pub(crate) when: i64,
    pub(crate) is_other: bool,
    pub(crate) leases: Vec<Lease>,
}

impl Reply {
    pub(crate) fn read(numbers: &[i64]) -> Self {
        let (&[now, epoch, total, free, when, is_other], leases) = numbers.split_at(6) else {
            panic!("{numbers:?} is no reply")
        };
        let lease = |lease: &[i64]| Lease { delay: lease[0], count: lease[1], mark: lease[2] };
        let leases = leases.chunks(3).map(lease).collect();
        Self { now, epoch, total, free, when, is_other: is_other == 1, leases }
    }

    pub(crate) fn leased(&self) -> i64 {
        self.leases.iter().map(|lease| lease.count).sum()
    }
}

/// The script, with the clock and the run id of the test in the place of those of the server.
#[derive(Clone, Debug)]
pub(crate) struct Scripted {
    script: Script,
    connection: MultiplexedConnection,
    pub(crate) clock: i64,
    pub(crate) run: u32,
}

impl Scripted {
    pub(crate) fn new(connection: MultiplexedConnection) -> Self {
        let replace = |script: &str, line: &str, by: &str| {
            assert_eq!(script.matches(line).count(), 1, "{line}");
            script.replace(line, by)
        };
        let clock = "\nlocal clock = redis.call('TIME')\n";
        let script = replace(SCRIPT, clock, "\nlocal clock = { 0, table.remove(ARGV) }\n");
        let info = "\nlocal info = redis.call('INFO', 'server')\n";
        let script = replace(&script, info, "\nlocal info = 'run_id:' .. table.remove(ARGV)\n");
        Self { script: Script::new(&script), connection, clock: 1_700_000_000 * SECOND, run: 1 }
    }

    pub(crate) fn run_id(&self) -> String {
        format!("{:08x}", self.run)
    }

    pub(crate) async fn acquire(&mut self, key: &str, request: &Request) -> Vec<i64> {
        let replied: RedisResult<Vec<i64>> = self
            .script
            .key(key)
            .arg(request.numbers())
            .arg(self.run_id())
            .arg(self.clock)
            .invoke_async(&mut self.connection)
            .await;
        replied.unwrap()
    }

    pub(crate) async fn reply(&mut self, key: &str, request: &Request) -> Reply {
        Reply::read(&self.acquire(key, request).await)
    }

    /// Executes any command.
    pub(crate) async fn query<T: redis::FromRedisValue>(&mut self, command: &redis::Cmd) -> T {
        command.query_async(&mut self.connection).await.unwrap()
    }
}
