use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;
use reqwest::{Request, RequestBuilder};
use tower::util::Oneshot;
use tower_service::Service;

/// The method of reqwest's [`RequestBuilder`] that sends through the layers. Sealed.
pub trait RequestBuilderExt: sealed::Sealed + Sized {
    /// Builds the request and sends it through `service`, as `send` does through the bare client.
    ///
    /// The service is cloned and driven to readiness. It need not contain the client that made the
    /// builder, which is of no further use.
    ///
    /// ```no_run
    /// use reqwest::Client;
    /// use tower::{BoxError, ServiceBuilder};
    /// use tower_floodgate::{
    ///     ExponentialRetry,
    ///     client::{HttpClassifier, HttpRetryLayer, RequestBuilderExt},
    /// };
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), BoxError> {
    /// let reqwest = Client::new();
    /// let policy = ExponentialRetry::new(5).classify(HttpClassifier::new());
    /// let client =
    ///     ServiceBuilder::new().layer(HttpRetryLayer::new(policy)).service(reqwest.clone());
    ///
    /// let request = reqwest.put("http://127.0.0.1:3000/").body("hello");
    /// let response = request.send_through(&client).await?;
    /// # let _ = response;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the service, and the one that [`build`](RequestBuilder::build) returns.
    fn send_through<S>(self, service: &S) -> SendThrough<S>
    where
        S: Service<Request, Error: From<reqwest::Error>> + Clone;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for reqwest::RequestBuilder {}
}

impl RequestBuilderExt for RequestBuilder {
    fn send_through<S>(self, service: &S) -> SendThrough<S>
    where
        S: Service<Request, Error: From<reqwest::Error>> + Clone,
    {
        SendThrough(match self.build() {
            Ok(request) => State::Sending(Oneshot::new(service.clone(), request)),
            Err(error) => State::Failed(Some(error)),
        })
    }
}

/// The future of [`send_through`](RequestBuilderExt::send_through).
///
/// Dropping it cancels the request.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct SendThrough<S: Service<Request>>(#[pin] State<S>);

#[allow(clippy::large_enum_variant, reason = "the large variant is the usual one")]
#[pin_project(project = StateProj)]
enum State<S: Service<Request>> {
    Sending(#[pin] Oneshot<S, Request>),
    /// Until it is returned.
    Failed(Option<reqwest::Error>),
}

impl<S> Future for SendThrough<S>
where
    S: Service<Request, Error: From<reqwest::Error>>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().0.project() {
            StateProj::Sending(sending) => sending.poll(cx),
            StateProj::Failed(error) => {
                Poll::Ready(Err(error.take().expect("polled after completion").into()))
            }
        }
    }
}

impl<S: Service<Request>> fmt::Debug for SendThrough<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendThrough").finish_non_exhaustive()
    }
}
