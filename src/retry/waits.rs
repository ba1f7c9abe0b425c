//! CORE: waits that no formula gives: a list, or a function. Pure.

use std::{
    fmt,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::Arc,
    time::Duration,
};

use super::backoff::{Backoff, Jitter};
use crate::settings::{InvalidSetting, literal};

/// Waits between attempts from a list or a function, in the place of a [`Backoff`].
///
/// | | the wait before retry `k`, counted from 0 |
/// | --- | --- |
/// | [`chain`](Self::chain) | item `k` of a list, the last item from there on |
/// | [`from_fn`](Self::from_fn) | `f(k)` |
///
/// The waits are exact, so requests that failed together are retried together, unless
/// [`jitter`](Self::jitter) spreads them. A server's hint is a floor for them, too.
///
/// ```
/// use std::time::Duration;
/// use tower_floodgate::{
///     ExponentialRetry,
///     retry::{Jitter, Waits},
/// };
///
/// // 1 s, 5 s, and 30 s before all further retries.
/// let chain = Waits::chain([1, 5, 30].map(Duration::from_secs));
/// // Between 1 and 2 s, 2 and 4 s, 3 and 6 s, and so on.
/// let linear = Waits::from_fn(|retry| Duration::from_secs(2) * (retry + 1)).jitter(Jitter::Equal);
///
/// let policy = ExponentialRetry::new(10).waits(chain);
/// # let _ = (policy, linear);
/// ```
// Nothing of a user's that is dropped: `Shared` may keep it after the last policy is gone.
#[derive(Clone)]
pub struct Waits {
    source: Source,
    jitter: Jitter,
}

#[derive(Clone)]
enum Source {
    /// Not empty.
    Chain(Arc<[Duration]>),
    Function(Arc<dyn Function>),
}

/// The bounds of [`Waits::from_fn`] without the one that a trait object cannot have.
trait Function: Fn(u32) -> Duration + Send + Sync + UnwindSafe + RefUnwindSafe {}

impl<F: Fn(u32) -> Duration + Send + Sync + UnwindSafe + RefUnwindSafe> Function for F {}

impl Waits {
    /// Waits for each of `waits` in turn, and for the last of them before all further retries.
    ///
    /// # Panics
    ///
    /// If there is none, or one of them is zero.
    #[must_use]
    #[track_caller]
    pub fn chain(waits: impl IntoIterator<Item = Duration>) -> Self {
        literal(Self::try_chain(waits))
    }

    /// Does as [`chain`](Self::chain), for values that are not literals.
    ///
    /// # Errors
    ///
    /// Where `chain` panics.
    pub fn try_chain(waits: impl IntoIterator<Item = Duration>) -> Result<Self, InvalidSetting> {
        let waits: Arc<[_]> = waits.into_iter().collect();
        if waits.is_empty() || waits.iter().any(Duration::is_zero) {
            let expected = "a list of one wait or more, each longer than zero";
            return Err(InvalidSetting::new("waits", waits, expected));
        }
        Ok(Self { source: Source::Chain(waits), jitter: Jitter::None })
    }

    /// Waits for `wait(k)` before retry `k`, counted from 0.
    ///
    /// A wait of zero is one nanosecond. The function is `Copy`: it may capture numbers, durations
    /// and references to statics. It is called once for each failed attempt that is not the last
    /// one allowed, before `max_elapsed`, the deadline and the budget are asked. It is not called
    /// if the classifier forbids a retry or gives its exact time, for a hint above
    /// [`max_hint`](super::ExponentialRetry::max_hint), or for a request whose copy
    /// [cannot be sent](super::CloneRequest::can_send). If it panics, the panic ends the request,
    /// and the budget is left as it was.
    ///
    /// [`Backoff::ceiling`] of a retry can be a part of it: here three waits of a second, then an
    /// exponential backoff.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_floodgate::retry::{Backoff, Waits};
    ///
    /// let second = Duration::from_secs(1);
    /// let then = Backoff::new(2 * second, 60 * second);
    /// let waits = Waits::from_fn(move |retry| match retry.checked_sub(3) {
    ///     None => second,
    ///     Some(retry) => then.ceiling(retry),
    /// });
    /// # let _ = waits;
    /// ```
    #[must_use]
    pub fn from_fn<F>(wait: F) -> Self
    where
        // A type that is `Copy` has no drop, which the cache of a thread would delay.
        F: Fn(u32) -> Duration + Copy + Send + Sync + UnwindSafe + RefUnwindSafe + 'static,
    {
        Self { source: Source::Function(Arc::new(wait)), jitter: Jitter::None }
    }

    /// Spreads each wait `c` by `jitter`, by default [`None`](Jitter::None).
    ///
    /// # Panics
    ///
    /// If `jitter` is [`Decorrelated`](Jitter::Decorrelated) or [`Uniform`](Jitter::Uniform), for
    /// which there are neither a base nor a maximum.
    #[must_use]
    #[track_caller]
    pub fn jitter(self, jitter: Jitter) -> Self {
        literal(self.try_jitter(jitter))
    }

    /// Does as [`jitter`](Self::jitter), for a value that is not a literal.
    ///
    /// # Errors
    ///
    /// Where `jitter` panics.
    pub fn try_jitter(self, jitter: Jitter) -> Result<Self, InvalidSetting> {
        match jitter {
            Jitter::Full | Jitter::Equal | Jitter::None => Ok(Self { jitter, ..self }),
            Jitter::Decorrelated | Jitter::Uniform => {
                let expected = "Full, Equal or None, because these waits have no base and no max";
                Err(InvalidSetting::new("jitter", jitter, expected))
            }
        }
    }

    /// Returns the backoff that holds for a retry, counted from 0.
    pub(crate) fn at(&self, retry: u32) -> Backoff {
        let wait = match &self.source {
            Source::Chain(waits) => {
                let last = waits.len() - 1;
                waits[usize::try_from(retry).map_or(last, |retry| retry.min(last))]
            }
            Source::Function(wait) => wait(retry).max(Duration::from_nanos(1)),
        };
        Backoff::fixed(wait).jitter(self.jitter)
    }
}

/// Leaves out the function, which has no name.
impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Waits");
        match &self.source {
            Source::Chain(waits) => shown.field("chain", waits),
            Source::Function(_) => shown.field("from_fn", &format_args!("..")),
        };
        shown.field("jitter", &self.jitter).finish()
    }
}
