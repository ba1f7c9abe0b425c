//! Replay, retry and the reading of failed responses in one layer.

use std::task::{Context, Poll};

use http::{Request, StatusCode};
use tower::retry::Retry;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    ByReplay, ReadFailuresLayer, ReplayBody, ReplayLayer, read_body::ReadFailures, replay::Replay,
};
use crate::{
    macros::inner_access,
    retry::{ExponentialRetry, ExponentialRetryHandle, Observed, Observer},
};

/// Retries requests of HTTP: bodies are sent again, and connections used again.
///
/// Three layers in one:
///
/// | layer | effect |
/// | --- | --- |
/// | [`ReplayLayer`] | makes request bodies that can be sent again, streams included |
/// | [`ExponentialRetryLayer`](crate::ExponentialRetryLayer) | retries by the policy |
/// | [`ReadFailuresLayer`] | reads the bodies of failed responses, so that the next attempt finds the connection idle |
///
/// For `http::Request`, the service inside receives a [`ReplayBody`]. For reqwest's (feature
/// `reqwest`), both sides have reqwest's own types, and the classifier and the
/// [hook](crate::ExponentialRetry::on_decision_with) see a `client::ReplayRequest`, whose `get_ref`
/// is reqwest's request.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::ServiceBuilder;
/// use tower_floodgate::{
///     ExponentialRetry,
///     client::{HttpClassifier, HttpRetryLayer, ReplayBody},
/// };
///
/// let policy = ExponentialRetry::new(5).classify(HttpClassifier::new());
/// let client = ServiceBuilder::new()
///     .layer(HttpRetryLayer::new(policy))
///     .service(Client::builder(TokioExecutor::new()).build_http::<ReplayBody<Full<Bytes>>>());
/// # fn is_service_of<Request>(_: &impl tower::Service<Request>) {}
/// # is_service_of::<http::Request<Full<Bytes>>>(&client);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct HttpRetryLayer<P, O = fn(StatusCode) -> bool> {
    policy: P,
    replay: ReplayLayer,
    read_failures: ReadFailuresLayer<O>,
}

/// The service of an [`HttpRetryLayer`].
pub type HttpRetry<S, P, O = fn(StatusCode) -> bool> =
    Replay<Retry<P, ReadFailures<Attempt<S>, O>>>;

/// A service that passes on each attempt, as the type of request that the inner service takes.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<S> {
    inner: S,
}

impl<C, H, O: Observer> HttpRetryLayer<ExponentialRetry<C, ByReplay, H, O>> {
    /// Retries by `policy`, which copies requests by [`ByReplay`], whatever it did before.
    #[must_use]
    pub fn new<D>(policy: ExponentialRetry<C, D, H, O>) -> Self {
        Self {
            policy: policy.clone_with(ByReplay),
            replay: ReplayLayer::new(),
            read_failures: ReadFailuresLayer::new(),
        }
    }
}

/// With a policy that has a [name](ExponentialRetry::name).
impl<C, H, O> HttpRetryLayer<ExponentialRetry<C, ByReplay, H, Observed>, O> {
    /// Returns a handle of the policy.
    #[must_use]
    pub fn handle(&self) -> ExponentialRetryHandle {
        self.policy.handle()
    }
}

impl<P, O> HttpRetryLayer<P, O> {
    /// Makes request bodies replayable by `replay`. By default, up to 64 KiB of each are kept.
    #[must_use]
    pub fn replay(mut self, replay: ReplayLayer) -> Self {
        self.replay = replay;
        self
    }

    /// Reads the bodies of failed responses by `read_failures`. By default, up to 64 KiB of each
    /// are read, for up to a second.
    #[must_use]
    pub fn read_failures<N>(self, read_failures: ReadFailuresLayer<N>) -> HttpRetryLayer<P, N> {
        HttpRetryLayer { policy: self.policy, replay: self.replay, read_failures }
    }
}

impl<S, P: Clone, O: Clone> Layer<S> for HttpRetryLayer<P, O> {
    type Service = HttpRetry<S, P, O>;

    fn layer(&self, inner: S) -> HttpRetry<S, P, O> {
        let attempts = self.read_failures.layer(Attempt { inner });
        self.replay.layer(Retry::new(self.policy.clone(), attempts))
    }
}

impl<S> Attempt<S> {
    inner_access!();
}

impl<S, B> Service<Request<ReplayBody<B>>> for Attempt<S>
where
    S: Service<Request<ReplayBody<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<ReplayBody<B>>) -> S::Future {
        self.inner.call(request)
    }
}

#[cfg(feature = "reqwest")]
impl<S> Service<super::replay::ReplayRequest> for Attempt<S>
where
    S: Service<reqwest::Request>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: super::replay::ReplayRequest) -> S::Future {
        // For a span inside: the request itself has no room for the number.
        #[cfg(feature = "tracing")]
        let _scope = super::attempt_span::resend::Scope::enter(request.resend);
        self.inner.call(request.into_request())
    }
}
