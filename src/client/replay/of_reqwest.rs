//! reqwest's requests, whose type does not name that of the body.
//!
//! A body that is put into such a request is out of reach. So it stays beside the request until the
//! request is sent.

use std::task::{Context, Poll};

use reqwest::{Body, Request};
use tower_service::Service;

use super::{ByReplay, Replay, ReplayBody};
use crate::retry::CloneRequest;

/// A request of reqwest's whose streamed body is replayable. See the
/// [module](crate::client::replay#reqwest).
#[derive(Debug)]
pub struct ReplayRequest {
    /// Without a streamed body, so that it can be copied.
    request: Request,
    stream: Option<ReplayBody<Body>>,
    /// The number of this resend, for the span of the attempt.
    #[cfg(feature = "tracing")]
    pub(in crate::client) resend: Option<u32>,
}

impl ReplayRequest {
    /// Makes the body of `request` replayable if it is a stream.
    ///
    /// Keeps up to `max_bytes` of it while it is sent. A body in memory is kept anyway, and does
    /// not count.
    #[must_use]
    pub fn new(mut request: Request, max_bytes: usize) -> Self {
        let stream = request.body_mut().take_if(|body| body.as_bytes().is_none());
        Self {
            request,
            stream: stream.map(|body| ReplayBody::new(body, max_bytes)),
            #[cfg(feature = "tracing")]
            resend: None,
        }
    }

    /// Returns the request, without its body if that is a stream.
    #[must_use]
    pub const fn get_ref(&self) -> &Request {
        &self.request
    }

    /// Returns the request, without its body if that is a stream, mutable.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut Request {
        &mut self.request
    }

    /// Returns the request with its body, to be sent.
    #[must_use]
    pub fn into_request(self) -> Request {
        let Self { mut request, stream, .. } = self;
        if let Some(stream) = stream {
            *request.body_mut() = Some(Body::wrap(stream));
        }
        request
    }
}

impl<S: Service<ReplayRequest>> Service<Request> for Replay<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.get_mut().poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request) -> S::Future {
        let request = ReplayRequest::new(request, self.max_bytes());
        self.get_mut().call(request)
    }
}

impl CloneRequest<ReplayRequest> for ByReplay {
    fn clone_request(&self, request: &ReplayRequest) -> Option<ReplayRequest> {
        let stream = request.stream.as_ref().map(ReplayBody::replay_or_unsendable);
        Some(ReplayRequest {
            request: request.request.try_clone()?,
            stream,
            #[cfg(feature = "tracing")]
            resend: None,
        })
    }

    fn can_send(&self, copy: &ReplayRequest) -> bool {
        copy.stream.as_ref().is_none_or(ReplayBody::can_replay)
    }

    fn claim(&self, copy: &ReplayRequest) -> bool {
        copy.stream.as_ref().is_none_or(ReplayBody::claim)
    }
}
