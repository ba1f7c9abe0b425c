use std::{error::Error, fmt, mem};

use http::Extensions;
#[cfg(feature = "grpc")]
use http::{HeaderMap, HeaderValue};
use tower::BoxError;

#[cfg(feature = "grpc")]
use super::grpc_classifier::PREVIOUS_ATTEMPTS;
use super::{AsError, ResponseHead};
use crate::cause::find_cause;

/// The number of attempts that a response or an error took, the first one included.
///
/// [`HttpClassifier`](super::HttpClassifier) and `GrpcClassifier` leave it in the returned result
/// if there was more than one attempt: in the extensions of a response, and around an error that is
/// a [`BoxError`], as a [`RetriedError`].
///
/// ```
/// use tower_floodgate::client::Attempts;
///
/// let response = http::Response::new(());
/// assert_eq!(Attempts::from_response(&response).get(), 1);
/// ```
///
/// A `tonic::Response` keeps the extensions: see [`from_extensions`](Self::from_extensions). A
/// `tonic::Status` keeps an error as its source, and of a response the headers: see
/// `from_status`.
///
/// # Which results tell it
///
/// | result | its number |
/// | --- | --- |
/// | a response, an error that is a `BoxError` | is stored |
/// | an error of another type, such as hyper-util's, reqwest's and tonic's own | is not: convert it [inside the retry](Self::from_error) |
/// | any, with [`AnyError`](crate::retry::AnyError) or a closure as the classifier | is not: implement [`Classify::settled`](crate::retry::Classify::settled), or note [`Decision::attempt`](crate::retry::Decision::attempt) in the hook |
/// | an error of readiness before a retry | is not: tower returns it without asking the policy |
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

    /// Returns the number of attempts after which `error` was returned: 1 if it holds none.
    ///
    /// The number is that of the outermost [`RetriedError`] in the chain of causes. A classifier
    /// makes one of a `BoxError`. The error of any other client is converted to it inside the
    /// retry, in one line:
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
    /// use tower_floodgate::{
    ///     ExponentialRetry, ExponentialRetryLayer,
    ///     client::{Attempts, HttpClassifier},
    ///     find_cause,
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// # use std::io::{Error, ErrorKind};
    /// # let client = service_fn(|_: Request<String>| async {
    /// #     Err::<Response<String>, _>(Error::from(ErrorKind::ConnectionRefused))
    /// # });
    /// let policy = ExponentialRetry::new(3).classify(HttpClassifier::new());
    /// let service = ServiceBuilder::new()
    ///     .layer(ExponentialRetryLayer::new(policy))
    ///     .map_err(BoxError::from) // inside the retry
    ///     .service(client);
    ///
    /// let error = service.oneshot(Request::new(String::new())).await.unwrap_err();
    /// assert_eq!(Attempts::from_error(&*error).get(), 3);
    /// assert_eq!(error.to_string(), "failed after 3 attempts");
    /// assert!(find_cause::<std::io::Error>(&*error).is_some());
    /// # }
    /// ```
    #[must_use]
    pub fn from_error(error: &(dyn Error + 'static)) -> Self {
        find_cause(error).map_or(Self(1), RetriedError::attempts)
    }

    /// Returns the number of attempts that led to a `tonic::Status`: 1 if it holds none.
    ///
    /// A status made of a response has `grpc-previous-rpc-attempts` among its metadata, which
    /// `GrpcClassifier` writes to the response to a retry, as gRFC A6 has it. One made of an error
    /// has that as its source: see [`from_error`](Self::from_error).
    ///
    /// ```
    /// use tower_floodgate::client::Attempts;
    ///
    /// assert_eq!(Attempts::from_status(&tonic::Status::unavailable("")).get(), 1);
    /// ```
    #[cfg(feature = "grpc")]
    #[must_use]
    pub fn from_status(status: &tonic::Status) -> Self {
        let value = status.metadata().get(PREVIOUS_ATTEMPTS.as_str());
        let previous = value.and_then(|value| value.to_str().ok()?.parse().ok());
        let of_response = Self(previous.unwrap_or(0_u32).saturating_add(1));
        of_response.max(Self::from_error(status))
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

    /// Stores the number in the extensions of a response, or around an error.
    pub(super) fn store<R: ResponseHead, E: AsError<M>, M>(
        attempts: u32,
        result: &mut Result<R, E>,
    ) {
        if !Self::is_stored(attempts) {
            return;
        }
        match result {
            Ok(response) => {
                response.extensions_mut().insert(Self(attempts));
            }
            Err(error) => error.note_attempts(attempts),
        }
    }

    /// Stores the number in the headers of a gRPC response.
    #[cfg(feature = "grpc")]
    pub(super) fn store_in_grpc_headers(attempts: u32, headers: &mut HeaderMap) {
        if Self::is_stored(attempts) {
            // A full map has no room for it.
            let previous = HeaderValue::from(attempts - 1);
            let _ = headers.try_insert(&PREVIOUS_ATTEMPTS, previous);
        }
    }
}

/// An error that was returned after more than one attempt.
///
/// [`source`](Error::source) is the error of the last attempt. The text of this error does not
/// repeat that of its source, so that a report of the whole chain has it once.
///
/// [`find_cause`], [`Rejected::find`](crate::Rejected::find) and the classifiers look through it,
/// and so does tonic when it converts an error to a `Status`. A `downcast` does not: search the
/// chain, or unwrap this error by [`into_source`](Self::into_source).
///
/// Classifiers of one's own wrap an error in [`Classify::settled`]:
///
/// ```
/// use tower::BoxError;
/// use tower_floodgate::{
///     client::{Attempts, RetriedError},
///     retry::{Classify, Verdict},
/// };
///
/// #[derive(Clone)]
/// struct Errors;
///
/// impl<Req, Res> Classify<Req, Res, BoxError> for Errors {
///     fn classify(&self, _: &Req, result: &Result<Res, BoxError>) -> Verdict {
///         if result.is_err() { Verdict::Retry } else { Verdict::Done }
///     }
///
///     fn settled(&self, _: &Req, attempts: u32, result: &mut Result<Res, BoxError>) {
///         if let Err(error) = result {
///             RetriedError::wrap(error, attempts);
///         }
///     }
/// }
/// # let mut result = Err::<(), BoxError>("no answer".into());
/// # Errors.settled(&(), 3, &mut result);
/// # assert_eq!(Attempts::from_error(&*result.unwrap_err()).get(), 3);
/// ```
///
/// [`Classify::settled`]: crate::retry::Classify::settled
#[derive(Debug)]
pub struct RetriedError {
    attempts: Attempts,
    source: BoxError,
}

impl RetriedError {
    /// Wraps `error` in place if there was more than one attempt.
    pub fn wrap(error: &mut BoxError, attempts: u32) {
        if Attempts::is_stored(attempts) {
            // A box without content allocates nothing.
            let source = mem::replace(error, Box::new(fmt::Error));
            *error = Box::new(Self { attempts: Attempts(attempts), source });
        }
    }

    /// Returns the number of attempts: at least 2.
    #[must_use]
    pub const fn attempts(&self) -> Attempts {
        self.attempts
    }

    /// Returns the error of the last attempt.
    #[must_use]
    pub fn into_source(self) -> BoxError {
        self.source
    }
}

impl fmt::Display for RetriedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed after {} attempts", self.attempts.get())
    }
}

impl Error for RetriedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
