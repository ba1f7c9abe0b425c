use std::{fmt, sync::Arc};

use http::{Method, Request};

use super::{AsError, HttpClassifier, PlainError, ResponseHead};
use crate::retry::{Classify, ErrorType, Verdict};

/// Judges the results of a function by an [`HttpClassifier`], for [`retry`](crate::retry::retry).
///
/// A function shows no request, so its method is given once. Made by
/// [`HttpClassifier::for_method`].
pub struct MethodClassifier<M = PlainError> {
    classify: HttpClassifier<M>,
    /// A request of the method, without headers.
    request: Arc<Request<()>>,
}

impl<M> HttpClassifier<M> {
    /// Judges the results of a function that sends a request of this method each time it is called.
    ///
    /// The verdicts are those on a request without headers: one with an `Idempotency-Key` is
    /// repeatable by [`any_method`](Self::any_method). An
    /// [`attempt_header`](Self::attempt_header) is not sent.
    ///
    /// The function returns the response before it reads its body, and without turning its status
    /// into an error. The body of a failed response is not read to its end, so its connection of
    /// HTTP/1 is closed: an [`HttpRetryLayer`](super::HttpRetryLayer) does more.
    ///
    /// ```
    /// # use std::{io, sync::atomic::{AtomicU32, Ordering}};
    /// use http::{Method, Response};
    /// use tower_floodgate::{
    ///     client::{Attempts, HttpClassifier},
    ///     retry::{ExponentialRetry, retry},
    /// };
    ///
    /// # static CALLS: AtomicU32 = AtomicU32::new(0);
    /// async fn get(path: &str) -> io::Result<Response<()>> {
    ///     // Responds to the first request with 503.
    /// #   let _ = path;
    /// #   let first = CALLS.fetch_add(1, Ordering::Relaxed) == 0;
    /// #   let response = Response::builder().status(if first { 503 } else { 200 }).body(());
    /// #   response.map_err(io::Error::other)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> io::Result<()> {
    /// let classify = HttpClassifier::new().for_method(Method::GET);
    /// let policy = ExponentialRetry::new(3).classify(classify);
    /// let response = retry(policy, || get("/")).await?;
    /// assert_eq!(response.status(), 200);
    /// assert_eq!(Attempts::from_response(&response).get(), 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn for_method(self, method: Method) -> MethodClassifier<M> {
        let mut request = Request::new(());
        *request.method_mut() = method;
        MethodClassifier { classify: self, request: Arc::new(request) }
    }
}

impl<Res: ResponseHead, E: AsError<M>, M> Classify<(), Res, E> for MethodClassifier<M> {
    fn classify(&self, (): &(), result: &Result<Res, E>) -> Verdict {
        self.classify.classify(&*self.request, result)
    }

    fn error_type(&self, result: &Result<Res, E>) -> ErrorType {
        Classify::<Request<()>, Res, E>::error_type(&self.classify, result)
    }

    fn settled(&self, (): &(), attempts: u32, result: &mut Result<Res, E>) {
        self.classify.settled(&*self.request, attempts, result);
    }

    fn needs_settled(&self, attempts: u32) -> bool {
        Classify::<Request<()>, Res, E>::needs_settled(&self.classify, attempts)
    }
}

/// For any `M`.
impl<M> Clone for MethodClassifier<M> {
    fn clone(&self) -> Self {
        Self { classify: self.classify.clone(), request: Arc::clone(&self.request) }
    }
}

impl<M> fmt::Debug for MethodClassifier<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MethodClassifier")
            .field("method", self.request.method())
            .field("classify", &self.classify)
            .finish()
    }
}
