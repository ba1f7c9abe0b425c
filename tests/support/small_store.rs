//! A store for tests of all that stands around a shared limit: it leases permits, and does as the
//! test says. `shared_store` has all rules of a store.

#![allow(dead_code, reason = "each suite looks at a part of the state")]

use std::{
    collections::HashMap,
    iter,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tower_floodgate::shared::{Store, StoreError};

/// The time of a request and its reply.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(2);

/// Clones are the same store.
#[derive(Clone, Debug)]
pub(crate) struct SmallStore {
    started: Instant,
    state: Arc<Mutex<State>>,
}

/// The state, as a test sets and reads it.
#[derive(Debug)]
pub(crate) struct State {
    /// The code and the text of each reply, if they are errors.
    pub(crate) error: Option<(&'static str, &'static str)>,
    /// No request has a reply.
    pub(crate) is_silent: bool,
    pub(crate) epoch: i64,
    /// Each reply tells of other terms.
    pub(crate) is_other: bool,
    /// The steps of the clock, in microseconds.
    pub(crate) stepped: i64,
    /// The requests that have arrived.
    pub(crate) requests: u64,
    /// The permits that were leased in good replies, and those that were taken back.
    pub(crate) leased: u64,
    pub(crate) refunded: u64,
    /// Permits that other processes have leased and that never expire.
    pub(crate) elsewhere: i64,
    total: i64,
    /// Marks and counts of each key, the oldest first.
    entries: HashMap<String, Vec<(i64, i64)>>,
}

/// The time of the store at the start, in microseconds.
const START: i64 = 1_800_000_000_000_000;

impl SmallStore {
    #[allow(clippy::disallowed_methods, reason = "tests look at tokio's clock, too")]
    pub(crate) fn new() -> Self {
        let state = State {
            error: None,
            is_silent: false,
            epoch: START,
            is_other: false,
            stepped: 0,
            requests: 0,
            leased: 0,
            refunded: 0,
            elsewhere: 0,
            total: 0,
            entries: HashMap::new(),
        };
        Self { started: Instant::now(), state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn apply(&mut self, key: &str, request: &[i64], now: i64) -> Vec<i64> {
        let &[_, limit, window, length, _, want, horizon, epoch, ..] = request else {
            unreachable!("a request has 12 numbers at least")
        };
        let entries = self.entries.entry(key.to_owned()).or_default();
        entries.retain(|&(mark, _)| mark > now);
        for refund in request[12..].chunks(2).filter(|_| epoch == self.epoch) {
            let of = entries.iter_mut().find(|(mark, _)| *mark == refund[0]);
            if let Some((_, count)) = of {
                let taken = refund[1].min(*count);
                *count -= taken;
                self.refunded += taken.unsigned_abs();
            }
        }
        let out = self.elsewhere + entries.iter().map(|(_, count)| count).sum::<i64>();
        // From now on, or from the marks within the horizon on.
        let (mut available, mut left, mut when) = (limit - out, want, window);
        let mut leases = Vec::new();
        for (from, count) in iter::once((now, 0)).chain(entries.iter().copied()) {
            available += count;
            let taken = left.min(available);
            if taken > 0 && from - now > horizon {
                when = from - now;
                break;
            }
            if taken > 0 {
                leases.push((from - now, taken));
                (left, available) = (left - taken, available - taken);
            }
        }
        let at_once: i64 = leases.iter().filter(|(delay, _)| *delay == 0).map(|of| of.1).sum();
        let free = (limit - out - at_once).max(0);
        let when = if leases.is_empty() && want > 0 { when } else { 0 };
        let mut reply = vec![now, self.epoch, 0, free, when, self.is_other.into()];
        for (delay, count) in leases {
            // Each mark is another one, so that a refund finds its own.
            let last = entries.last().map_or(0, |&(mark, _)| mark);
            let mark = (now + delay + length + window).max(last + 1);
            entries.push((mark, count));
            self.total += count;
            self.leased += count.unsigned_abs();
            reply.extend([delay, count, mark]);
        }
        reply[2] = self.total;
        reply
    }
}

impl Store for SmallStore {
    async fn acquire(&self, key: &str, request: &[i64]) -> Result<Vec<i64>, StoreError> {
        self.state().requests += 1;
        sleep(ROUND_TRIP / 2).await;
        if self.state().is_silent {
            std::future::pending::<()>().await;
        }
        let reply = {
            let mut state = self.state();
            let passed = i64::try_from(self.started.elapsed().as_micros()).unwrap();
            let now = START + passed + state.stepped;
            match state.error {
                Some((code, text)) => Err(StoreError::new(code).with_source(text)),
                None => Ok(state.apply(key, request, now)),
            }
        };
        sleep(ROUND_TRIP / 2).await;
        reply
    }
}
