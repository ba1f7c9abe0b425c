use reqwest::{Body, Request};

use super::ReplayBody;
use crate::retry::CloneRequest;

/// Copies reqwest's requests by [`try_clone`](Request::try_clone).
///
/// For [`clone_with`](crate::ExponentialRetry::clone_with).
///
/// A request with a streamed body can't be cloned. Its copy can't be sent: reading its body fails
/// with [`ReplayError::NotReplayable`](super::ReplayError::NotReplayable). It lets the classifier
/// judge the result, and the hook see
/// [`StopReason::NotReplayable`](crate::retry::StopReason::NotReplayable). With
/// `clone_with(Request::try_clone)`, neither learns of that result.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByTryClone;

impl CloneRequest<Request> for ByTryClone {
    fn clone_request(&self, request: &Request) -> Option<Request> {
        Some(request.try_clone().unwrap_or_else(|| unsendable(request)))
    }

    fn can_send(&self, copy: &Request) -> bool {
        // A body of bytes is cloned. So a streamed one in a copy is that of `unsendable`.
        copy.body().is_none_or(|body| body.as_bytes().is_some())
    }
}

/// Copies all but the body.
fn unsendable(request: &Request) -> Request {
    let mut copy = Request::new(request.method().clone(), request.url().clone());
    copy.headers_mut().clone_from(request.headers());
    *copy.version_mut() = request.version();
    *copy.timeout_mut() = request.timeout().copied();
    *copy.body_mut() = Some(Body::wrap(ReplayBody::<Body>::unsendable()));
    copy
}
