use std::{borrow::Cow, error::Error, fmt, future::Future, pin::Pin};

use tower::BoxError;

/// A store of shared quotas: Redis or Valkey by the crate `tower-floodgate-redis`, or another one.
///
/// The driver of a quota knows no store. It sends numbers, and gets numbers. A store applies a
/// request to the state of its key in one atomic step, and keeps that state.
///
/// # The request
///
/// Times are in microseconds. `N` is the limit, `W` the window with a margin for clocks.
///
/// | index | number | meaning |
/// | --- | --- | --- |
/// | 0 | version | 1 |
/// | 1 | `N` | the limit |
/// | 2 | `W` | the window |
/// | 3 | `L` | the length of the leases of this request |
/// | 4 | `L_max` | the longest length of any lease of this quota |
/// | 5 | `want` | permits that are wanted |
/// | 6 | `horizon` | the longest time from now until a lease begins |
/// | 7, 8 | `epoch`, `total` | the latest that the process has seen; 0, 0 at first |
/// | 9 | `mine` | permits of the process's own leases that may still count |
/// | 10 | `late` | permits of the process that count from now on, beyond its leases |
/// | 11 | `strict` | 1 if an unknown state counts as full, or else 0 |
/// | 12, 13, ... | `mark`, `count` | refunds: unused permits of the leases with these marks |
///
/// # The reply
///
/// | index | number | meaning |
/// | --- | --- | --- |
/// | 0 | `now` | the time of the store |
/// | 1, 2 | `epoch`, `total` | the identity of the state's history, and the permits ever leased |
/// | 3 | `free` | permits that are left |
/// | 4 | `when` | if nothing was leased, the time until the next permit; or else 0 |
/// | 5 | `is_other` | 1 if the latest write was with another `N` or `W` |
/// | 6, 7, 8, ... | `delay`, `count`, `mark` | leases, which begin `delay` after `now` |
///
/// # The state
///
/// A list of entries `(mark, count)` in the order of their marks: `count` permits count against `N`
/// until the store's time reaches `mark`. A lease from `at` on has the mark `at + L + W`, rounded
/// up to a multiple of `W / 256`, and no mark is before that of the entry in front of it.
///
/// So behind leases of a longer window, those of a shorter one count as long. The marks are not
/// moved: a refund names its lease by the mark, and other processes may rely on the longer window.
///
/// 1. The time does not go back: if the clock is set back, the time continues from that of the
///    latest write.
/// 2. Entries whose mark has come are removed.
/// 3. A state has *lost* something if it is absent, if its server was started anew since, or if its
///    `(epoch, total)` is less than that of the request, by the epoch first. It gets a new epoch:
///    the greatest of the time, its epoch + 1, and the epoch of the request + 1. With `strict`, it
///    becomes full: its only entry is of `N` permits, which count until `horizon + L_max + W` from
///    now. An absent state begins without entries, and with a total of 0.
/// 4. If the request has seen an epoch, and it is not that of the state by now, and not `strict`:
///    `mine` permits are added as an entry of a lease of `L_max` at the horizon.
/// 5. A refund reduces the entry with exactly its mark, if the request has seen this epoch.
/// 6. `late` permits are added as an entry of a lease from now on.
/// 7. At most `max(chunk, free / 2)` of the free permits are leased from now on; a chunk is `N /
///    64`, at least 1. If none is left, permits of the next entries are leased from their marks on,
///    up to a chunk in all, while their marks are within the horizon.
/// 8. A request that changes nothing but the time writes nothing, unless the clock was set back:
///    the time would stand still until the next lease. Any other writes the state, which lives for
///    at least `3 W` and 60 s from then on; with `strict`, for `3 W` and 7 days.
///
/// The reason why no more than `N` permits are issued in any span of `W` is in the documentation of
/// [`shared`](crate::shared#why-the-limit-holds).
pub trait Store: Send + Sync + 'static {
    /// Applies a request to the state of `key`, and returns the reply.
    ///
    /// A request is never repeated, unless it is certain that it was not applied: its refunds would
    /// count twice. The future may be dropped at any time; the request may have been applied then.
    fn acquire(
        &self,
        key: &str,
        request: &[i64],
    ) -> impl Future<Output = Result<Vec<i64>, StoreError>> + Send;
}

/// The future of a request to a store of any type.
pub(crate) type AcquireFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<i64>, StoreError>> + Send + 'a>>;

/// A [`Store`] of any type. The box costs a request to the store, and no call.
pub(crate) trait AnyStore: Send + Sync {
    fn acquire<'a>(&'a self, key: &'a str, request: &'a [i64]) -> AcquireFuture<'a>;
}

impl<S: Store> AnyStore for S {
    fn acquire<'a>(&'a self, key: &'a str, request: &'a [i64]) -> AcquireFuture<'a> {
        Box::pin(Store::acquire(self, key, request))
    }
}

/// The error of a request to a [`Store`]: it brought no permit.
///
/// A code names the kind of the error, in logs and metrics. The codes of a store are few, since
/// each is a label. Those of the driver itself are `timeout`, `invalid_reply` and `panic`.
#[derive(Debug)]
pub struct StoreError {
    code: Cow<'static, str>,
    source: Option<BoxError>,
}

impl StoreError {
    /// Creates an error with a code, such as `io` or `loading`.
    pub fn new(code: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code.into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(self, source: impl Into<BoxError>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Returns the code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store of the quota failed ({})", self.code)?;
        self.source.as_ref().map_or(Ok(()), |source| write!(f, ": {source}"))
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
