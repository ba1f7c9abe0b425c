//! Whether a limit may be closed.

use std::{
    error::Error,
    fmt,
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

/// Whether a limiter may be closed: not once a service was made that cannot reject.
#[derive(Default)]
pub(crate) struct Closing(AtomicU8);

impl Closing {
    const ALLOWED: u8 = 0;
    const FORBIDDEN: u8 = 1;
    const CLOSED: u8 = 2;

    /// Decides to close. The caller closes its semaphore next.
    pub(crate) fn close(&self) -> Result<(), CloseError> {
        // Relaxed: both outcomes are final, and one exchange decides between them.
        match self.0.compare_exchange(Self::ALLOWED, Self::CLOSED, Relaxed, Relaxed) {
            Err(Self::FORBIDDEN) => Err(CloseError(())),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Records that a service of `layer` without a reject policy was made.
    ///
    /// # Panics
    ///
    /// If the limiter is closed.
    #[track_caller]
    pub(crate) fn forbid(&self, layer: &str) {
        let forbidden = self.0.compare_exchange(Self::ALLOWED, Self::FORBIDDEN, Relaxed, Relaxed);
        assert!(
            forbidden != Err(Self::CLOSED),
            "this {layer} is closed, and the service has no reject policy, so its requests would \
             never end: set `max_queue`, or `reject_with_box_error`, before the layer is put on a \
             service"
        );
    }
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

/// Writes the text, which `unwrap` would hide otherwise.
impl fmt::Debug for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseError: {self}")
    }
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a service of the limit was made without a reject policy, and its waiters could not be \
             told that the limit is closed: set `max_queue` or `max_wait`, or call \
             `reject_with_box_error`, on each layer of this limit",
        )
    }
}

impl Error for CloseError {}
