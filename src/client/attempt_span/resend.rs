//! The number of a resend, on its way from the retry to the span.
//!
//! A request of the `http` crate has it among its extensions. One of reqwest's has none that others
//! may use, so a [`ReplayRequest`](crate::client::ReplayRequest) has it in a field, and the number
//! is current while the service inside is called with reqwest's request.

#[cfg(feature = "reqwest")]
use std::cell::Cell;

use crate::client::RequestHead;

/// Notes in the copy of a request that `attempts` attempts were made before it.
///
/// An [`AttemptSpanLayer`](super::AttemptSpanLayer) inside the retry reads it. The classifiers of
/// this crate note it by themselves. One of your own does so in
/// [`Classify::prepare`](crate::retry::Classify::prepare):
///
/// ```
/// use http::{Request, Response, StatusCode};
/// use tower_floodgate::{
///     client,
///     retry::{Classify, Verdict},
/// };
///
/// #[derive(Clone)]
/// struct Locked;
///
/// impl<A, B, E> Classify<Request<A>, Response<B>, E> for Locked {
///     fn classify(&self, _: &Request<A>, result: &Result<Response<B>, E>) -> Verdict {
///         match result {
///             Ok(response) if response.status() == StatusCode::LOCKED => Verdict::Retry,
///             _ => Verdict::Done,
///         }
///     }
///
///     fn prepare(&self, request: &mut Request<A>, attempts: u32) {
///         client::note_resend(request, attempts);
///     }
/// }
/// # let _ = Classify::<Request<()>, Response<()>, ()>::needs_settled(&Locked, 1);
/// ```
///
/// Without effect on a `reqwest::Request` outside of an
/// [`HttpRetryLayer`](crate::client::HttpRetryLayer).
pub fn note_resend<R: RequestHead>(request: &mut R, attempts: u32) {
    request.note_resend(attempts);
}

/// The number of a resend, among the extensions of a request.
#[derive(Clone, Copy, Debug)]
pub(in crate::client) struct Resend(pub(in crate::client) u32);

#[cfg(feature = "reqwest")]
thread_local! {
    static CURRENT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Returns the number of the resend for which the thread calls a service at the moment.
#[cfg(feature = "reqwest")]
pub(in crate::client) fn current() -> Option<u32> {
    CURRENT.get()
}

/// Makes a number the current one of the thread until dropped.
#[cfg(feature = "reqwest")]
pub(in crate::client) struct Scope {
    before: Option<u32>,
}

#[cfg(feature = "reqwest")]
impl Scope {
    pub(in crate::client) fn enter(resend: Option<u32>) -> Self {
        Self { before: CURRENT.replace(resend) }
    }
}

/// Also while a panic unwinds.
#[cfg(feature = "reqwest")]
impl Drop for Scope {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}
