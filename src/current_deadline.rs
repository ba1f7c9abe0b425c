//! The deadline of the request that the thread polls for at the moment.

use std::cell::Cell;

use tokio::time::Instant;

thread_local! {
    static CURRENT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Returns the deadline of the request that is being polled, set by the
/// [`DeadlineLayer`](crate::DeadlineLayer) around it.
///
/// `None` if the request has no deadline, in a task that was spawned inside, and while the body of
/// a response is polled. Of nested layers, the earliest deadline counts.
///
/// ```
/// use std::{convert::Infallible, time::Duration};
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_floodgate::{DeadlineLayer, deadline};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let service = DeadlineLayer::new(Duration::from_secs(2)).layer(service_fn(|_: ()| async {
///     tokio::time::sleep(Duration::from_millis(500)).await;
///     let left = deadline::current().map(|at| at - tokio::time::Instant::now());
///     Ok::<_, Infallible>(left)
/// }));
/// assert_eq!(service.oneshot(()).await?, Some(Duration::from_millis(1_500)));
/// assert_eq!(deadline::current(), None);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn current() -> Option<Instant> {
    CURRENT.get()
}

/// Returns the earlier deadline.
pub(crate) fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// Makes a deadline the current one of the thread until dropped, unless an earlier one is.
pub(crate) struct Scope {
    before: Option<Instant>,
}

impl Scope {
    pub(crate) fn enter(deadline: Option<Instant>) -> Self {
        let before = current();
        CURRENT.set(earliest(deadline, before));
        Self { before }
    }
}

/// Also while a panic unwinds, so that the next task of the thread has no deadline of this one.
impl Drop for Scope {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}
