use http::Extensions;

use super::ResponseHead;

/// The number of attempts that a response took, the first one included.
///
/// [`HttpClassifier`](super::HttpClassifier) and `GrpcClassifier` leave it in the extensions of the
/// returned response if there was more than one attempt.
///
/// ```
/// use tower_floodgate::client::Attempts;
///
/// let response = http::Response::new(());
/// assert_eq!(Attempts::from_response(&response).get(), 1);
/// ```
///
/// A `tonic::Response` keeps the extensions: see [`from_extensions`](Self::from_extensions). A
/// `tonic::Status` has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempts(u32);

impl Attempts {
    /// Returns the number of attempts that `response` took: 1 if its extensions hold none.
    #[must_use]
    pub fn from_response<R: ResponseHead>(response: &R) -> Self {
        Self::from_extensions(response.extensions())
    }

    /// Does the same for a response of another type that keeps the extensions, such as tonic's.
    ///
    /// ```
    /// use tower_floodgate::client::Attempts;
    ///
    /// let response = tonic::Response::new(());
    /// assert_eq!(Attempts::from_extensions(response.extensions()).get(), 1);
    /// ```
    #[must_use]
    pub fn from_extensions(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self(1))
    }

    /// Returns the number: at least 1.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns true if this number is stored. A single attempt is not: storing allocates.
    pub(super) const fn is_stored(attempts: u32) -> bool {
        attempts > 1
    }

    /// Stores the number in the extensions of `response`.
    pub(super) fn store<R: ResponseHead>(attempts: u32, response: &mut R) {
        if Self::is_stored(attempts) {
            response.extensions_mut().insert(Self(attempts));
        }
    }
}
