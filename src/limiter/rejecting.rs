//! Whether a limit may reject requests that its layers let wait.

use std::{
    error::Error,
    fmt,
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

/// Whether a limiter may be closed, or bounded by a handle: not once a service was made that cannot
/// reject.
///
/// `UNDECIDED => (FORBIDDEN | BOUNDED | CLOSED)`, and `BOUNDED => CLOSED`.
#[derive(Default)]
pub(crate) struct Rejecting(AtomicU8);

impl Rejecting {
    const UNDECIDED: u8 = 0;
    /// A service exists that cannot reject.
    const FORBIDDEN: u8 = 1;
    /// A handle has set a bound, at some time.
    const BOUNDED: u8 = 2;
    const CLOSED: u8 = 3;

    /// Creates the state of a limiter that has bounds of a handle from its beginning, or has none.
    pub(crate) const fn new(is_bounded: bool) -> Self {
        Self(AtomicU8::new(if is_bounded { Self::BOUNDED } else { Self::UNDECIDED }))
    }

    /// Decides to close. The caller closes its semaphore next.
    pub(crate) fn close(&self) -> Result<(), CloseError> {
        self.decide(Self::CLOSED).map_err(|()| CloseError(()))
    }

    /// Decides to bound the queue. The caller sets the bound next.
    pub(crate) fn bound(&self) -> Result<(), BoundError> {
        self.decide(Self::BOUNDED).map_err(|()| BoundError(()))
    }

    /// Checks whether the queue may be bounded at this moment, and decides nothing.
    pub(crate) fn check_bound(&self) -> Result<(), BoundError> {
        // Relaxed: a reading that no other one depends on.
        if self.0.load(Relaxed) == Self::FORBIDDEN { Err(BoundError(())) } else { Ok(()) }
    }

    fn decide(&self, on: u8) -> Result<(), ()> {
        // Relaxed: one step decides between a service and a handle, and its outcome is final.
        let decide = |now| (now != Self::FORBIDDEN).then(|| on.max(now));
        self.0.fetch_update(Relaxed, Relaxed, decide).map(|_| ()).map_err(|_| ())
    }

    /// Records that a service of `layer` without a reject policy was made.
    ///
    /// # Panics
    ///
    /// If the limiter is closed, or bounded by a handle.
    #[track_caller]
    pub(crate) fn forbid(&self, layer: &str) {
        let before = self.0.compare_exchange(Self::UNDECIDED, Self::FORBIDDEN, Relaxed, Relaxed);
        let (state, consequence) = match before {
            Err(Self::CLOSED) => ("closed", "its requests would never end"),
            Err(Self::BOUNDED) => ("bounded by a handle", "it could not reject beyond the bound"),
            _ => return,
        };
        panic!(
            "this {layer} is {state}, and the service has no reject policy, so {consequence}: set \
             `max_queue`, or a `reject_with...` policy (on axum `reject_with(http_rejection)`), \
             before the layer is put on a service"
        );
    }
}

/// Writes the text of an error in `Debug` too, where `unwrap` would hide it otherwise.
macro_rules! debug_as_text {
    ($error:ident) => {
        impl fmt::Debug for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($error), ": {}"), self)
            }
        }
    };
}

/// The error of closing a limit of which a service was made that cannot reject requests.
///
/// Returned by `close` of the handle of [either](crate::ConcurrencyBackpressureHandle::close)
/// [limit](crate::WindowRateLimitHandle::close), which has no effect then.
///
/// ```
/// use tower::{Layer, service_fn};
/// use tower_floodgate::ConcurrencyBackpressureLayer;
///
/// let layer = ConcurrencyBackpressureLayer::new(2);
/// let service = layer.layer(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
/// assert!(layer.handle().close().is_err()); // waiters of `service` could not be told
///
/// let layer = ConcurrencyBackpressureLayer::new(2).reject_with_box_error();
/// let service = layer.layer(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
/// assert!(layer.handle().close().is_ok());
/// # let _ = service;
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct CloseError(());

debug_as_text!(CloseError);

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a service of the limit was made without a reject policy, and its waiters could not be \
             told that the limit is closed: set `max_queue` or `max_wait`, or a `reject_with...` \
             policy (on axum `reject_with(http_rejection)`), on each layer of this limit",
        )
    }
}

impl Error for CloseError {}

/// The error of bounding the queue of a limit of which a service was made that cannot reject.
///
/// Returned by `set_max_queue` and `set_max_wait` of the handle of
/// [either](crate::ConcurrencyBackpressureHandle::set_max_queue)
/// [limit](crate::WindowRateLimitHandle::set_max_queue), which have no effect then.
///
/// ```
/// use tower::{Layer, service_fn};
/// use tower_floodgate::ConcurrencyBackpressureLayer;
///
/// let layer = ConcurrencyBackpressureLayer::new(2);
/// let service = layer.layer(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
/// assert!(layer.handle().set_max_queue(Some(5)).is_err());
///
/// let layer = ConcurrencyBackpressureLayer::new(2).reject_with_box_error();
/// let service = layer.layer(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
/// assert!(layer.handle().set_max_queue(Some(5)).is_ok());
/// # let _ = service;
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct BoundError(());

debug_as_text!(BoundError);

impl fmt::Display for BoundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a service of the limit was made without a reject policy, and could not reject beyond a \
             bound: set `max_queue` or `max_wait`, or a `reject_with...` policy (on axum \
             `reject_with(http_rejection)`), on each layer of this limit",
        )
    }
}

impl Error for BoundError {}
