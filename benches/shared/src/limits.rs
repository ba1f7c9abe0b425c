//! The contenders: each admits one request after the other.

use std::{
    convert::Infallible,
    fmt::Debug,
    future::{Future, Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use redis::{Script, aio::MultiplexedConnection};
use tower::{Layer, Service, ServiceExt};
use tower_floodgate::{
    WindowRateLimitLayer,
    rate_limit::WindowRateLimit,
    reject::RejectWithBoxError,
    shared::{Away, SharedRateLimit, SharedWindow, Store},
};
use tower_floodgate_redis::RedisStore;

/// A limiter of requests. Clones are tasks of one process.
pub(crate) trait Limit: Clone + Send + 'static {
    /// Waits until a request is issued.
    fn issue(&mut self) -> impl Future<Output = ()> + Send;
}

/// Issues requests: responds at once.
#[derive(Clone)]
pub(crate) struct Echo;

impl<Request> Service<Request> for Echo {
    type Response = Request;
    type Error = Infallible;
    type Future = Ready<Result<Request, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        ready(Ok(request))
    }
}

/// A quota of this name, of any number of processes.
pub(crate) fn quota(
    connection: &MultiplexedConnection,
    name: &str,
    limit: u32,
    window: Duration,
) -> SharedWindow {
    let store = RedisStore::new(connection.clone());
    // The callers take all processors at times, so that a reply may be late.
    SharedWindow::new(store, name, limit, window, Away::Closed)
        .store_timeout(Duration::from_secs(1))
}

/// A process of a shared quota.
#[derive(Clone)]
pub(crate) struct Shared {
    service: SharedRateLimit<Echo, RejectWithBoxError>,
}

impl Shared {
    pub(crate) fn new(quota: SharedWindow) -> Self {
        let layer = WindowRateLimitLayer::shared(quota).max_queue(100_000);
        Self { service: layer.max_wait(Duration::from_secs(600)).layer(Echo) }
    }
}

impl Limit for Shared {
    async fn issue(&mut self) {
        ServiceExt::<()>::ready(&mut self.service).await.unwrap().call(()).await.unwrap();
    }
}

/// The window of one process.
#[derive(Clone)]
pub(crate) struct Local(WindowRateLimit<Echo>);

impl Local {
    pub(crate) fn new(limit: u32, window: Duration) -> Self {
        Self(WindowRateLimitLayer::new(limit, window).layer(Echo))
    }
}

impl Limit for Local {
    async fn issue(&mut self) {
        ServiceExt::<()>::ready(&mut self.0).await.unwrap().call(()).await.unwrap();
    }
}

/// A limit for each key, with requests of random keys.
#[derive(Clone)]
pub(crate) struct Keyed<S> {
    pub(crate) service: S,
    pub(crate) keys: u32,
}

impl<S> Limit for Keyed<S>
where
    S: Service<u32, Error: Debug, Future: Send> + Clone + Send + 'static,
{
    async fn issue(&mut self) {
        let key = fastrand::u32(..self.keys);
        let _ = self.service.ready().await.unwrap().call(key).await.unwrap();
    }
}

/// Requests to the server as those of a driver, one for each call, and without one.
#[derive(Clone)]
pub(crate) struct Bare {
    store: RedisStore<MultiplexedConnection>,
    key: Arc<str>,
    request: [i64; 12],
}

impl Bare {
    /// Wants a permit each time of a quota with a window of a second.
    pub(crate) fn new(connection: &MultiplexedConnection, limit: u32) -> Self {
        let (window, length, longest, horizon) = (1_001_954, 7_813, 125_000, 250_000);
        Self {
            store: RedisStore::new(connection.clone()),
            key: format!("bare-{}", fastrand::u64(..)).into(),
            request: [1, limit.into(), window, length, longest, 1, horizon, 0, 0, 0, 0, 0],
        }
    }
}

impl Limit for Bare {
    async fn issue(&mut self) {
        self.store.acquire(&self.key, &self.request).await.unwrap();
    }
}

/// A request to the server that does nothing: `return 1`.
const NOTHING: &str = "return 1";

/// The generic cell rate algorithm with a burst of N, as redis_rate (Go) and throttled-py have it.
const GCRA: &str = "
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local emission = window / limit
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + emission
local early = tat - window - now
if early > 0 then return math.ceil(early) end
redis.call('SET', KEYS[1], string.format('%.3f', tat), 'PX', math.ceil((tat - now) / 1000) + 1)
return 0";

/// A log of requests in a sorted set, as RedisRateLimiting (.NET) and PyrateLimiter have it.
const LOG: &str = "
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
if redis.call('ZCARD', KEYS[1]) < limit then
  redis.call('ZADD', KEYS[1], now, ARGV[3])
  redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000))
  return 0
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return math.max(1, first[2] + window - now)";

/// A limiter that asks the server for each request, by a script, and asks again when the script has
/// told it to.
#[derive(Clone)]
pub(crate) struct Asking {
    connection: MultiplexedConnection,
    script: Arc<Script>,
    key: Arc<str>,
    limit: u32,
    window: u64,
    /// The member of the log.
    request: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
}

impl Asking {
    fn new(
        connection: &MultiplexedConnection,
        script: &str,
        key: &str,
        limit: u32,
        window: Duration,
    ) -> Self {
        Self {
            connection: connection.clone(),
            script: Arc::new(Script::new(script)),
            key: key.into(),
            limit,
            window: window.as_micros() as u64,
            request: Arc::new(AtomicU64::new(fastrand::u64(..) >> 1)),
            asked: Arc::default(),
        }
    }

    pub(crate) fn nothing(connection: &MultiplexedConnection) -> Self {
        Self::new(connection, NOTHING, "nothing", 1, Duration::from_secs(1))
    }

    pub(crate) fn gcra(connection: &MultiplexedConnection, limit: u32, window: Duration) -> Self {
        Self::new(connection, GCRA, &format!("gcra:{}", fastrand::u64(..)), limit, window)
    }

    pub(crate) fn log(connection: &MultiplexedConnection, limit: u32, window: Duration) -> Self {
        Self::new(connection, LOG, &format!("log:{}", fastrand::u64(..)), limit, window)
    }

    /// Asks once. Returns the time until it may ask again if the request is refused.
    pub(crate) async fn ask(&mut self) -> Option<Duration> {
        let mut asked = self.script.key(&*self.key);
        let request = self.request.fetch_add(1, Relaxed);
        asked.arg(self.limit).arg(self.window).arg(request);
        self.asked.fetch_add(1, Relaxed);
        let wait: u64 = asked.invoke_async(&mut self.connection).await.unwrap();
        (wait > 0).then(|| Duration::from_micros(wait))
    }
}

impl Limit for Asking {
    async fn issue(&mut self) {
        let is_free = self.limit == 1;
        while let Some(wait) = self.ask().await {
            if is_free {
                return;
            }
            tokio::time::sleep(wait).await;
        }
    }
}
