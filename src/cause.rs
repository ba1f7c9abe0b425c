//! What is behind an error.

use std::{error::Error, io};

/// Looks for an error of type `T` in `error` and in all that it names as its
/// [source](std::error::Error::source), and theirs; and in what an [`io::Error`] was made of, which it
/// doesn't name.
///
/// ```
/// use std::io::{self, ErrorKind};
/// use tower::BoxError;
/// use tower_floodgate::{caused_by, retry::Verdict};
///
/// let classify = |_: &String, result: &Result<String, BoxError>| match result {
///     Err(error) => match caused_by::<io::Error>(&**error) {
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
pub fn caused_by<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// The error itself, and all that is behind it, from the outside in.
///
/// What an [`io::Error`] was made of takes the place of its source, for which it names the source of that.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let inside = || Some(error.downcast_ref::<io::Error>()?.get_ref()? as _);
        inside().or_else(|| error.source())
    })
}
