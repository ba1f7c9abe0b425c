//! The chain of causes of an error.

use std::{error::Error, io};

/// Finds an error of type `T` in the chain of causes of `error`, itself included.
///
/// The chain follows [`source`](std::error::Error::source), and the error inside an
/// [`io::Error`], which `source` passes over.
///
/// ```
/// use std::io::{self, ErrorKind};
/// use tower::BoxError;
/// use tower_floodgate::{find_cause, retry::Verdict};
///
/// let classify = |_: &String, result: &Result<String, BoxError>| match result {
///     Err(error) => match find_cause::<io::Error>(&**error) {
///         Some(io) if io.kind() == ErrorKind::ConnectionReset => Verdict::Retry,
///         _ => Verdict::Done,
///     },
///     Ok(_) => Verdict::Done,
/// };
/// # use tower_floodgate::retry::Classify;
/// # let error: BoxError = io::Error::from(ErrorKind::ConnectionReset).into();
/// # assert_eq!(classify.classify(&String::new(), &Err(error)), Verdict::Retry);
/// ```
#[must_use]
pub fn find_cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Yields the error and its causes, from the outside in.
///
/// The error inside an [`io::Error`] takes the place of its source, because `source` of an
/// `io::Error` returns the source of the error inside.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let inside = || Some(error.downcast_ref::<io::Error>()?.get_ref()? as _);
        inside().or_else(|| error.source())
    })
}
