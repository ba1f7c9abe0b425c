use http::Extensions;

use super::ResponseHead;

/// How many attempts an answer took, the first one included.
///
/// [`HttpClassifier`](super::HttpClassifier) and `grpc::GrpcClassifier` leave it in the extensions of the response
/// that is handed on, if there was more than one.
///
/// ```
/// use tower_floodgate::http::Attempts;
///
/// let response = http::Response::new(());
/// assert_eq!(Attempts::of(&response).get(), 1);
/// ```
///
/// tonic's clients make a `tonic::Response` of it, which has the same extensions: see
/// [`of_extensions`](Self::of_extensions). A `tonic::Status` has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempts(u32);

impl Attempts {
    /// How many `response` took. 1 if nothing is noted in it.
    #[must_use]
    pub fn of<R: ResponseHead>(response: &R) -> Self {
        Self::of_extensions(response.notes())
    }

    /// The same, of responses of a type of their own that keep the extensions: tonic's do.
    ///
    /// ```
    /// use tower_floodgate::http::Attempts;
    ///
    /// let response = tonic::Response::new(());
    /// assert_eq!(Attempts::of_extensions(response.extensions()).get(), 1);
    /// ```
    #[must_use]
    pub fn of_extensions(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self(1))
    }

    /// The number: at least 1.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns true if so many attempts are noted: one is not, since a note allocates.
    pub(crate) const fn are_noted(attempts: u32) -> bool {
        attempts > 1
    }

    /// Notes it in the response.
    pub(crate) fn note<R: ResponseHead>(attempts: u32, response: &mut R) {
        if Self::are_noted(attempts) {
            response.notes_mut().insert(Self(attempts));
        }
    }
}
