use http::Request;

use super::ReplayBody;
use crate::retry::CloneRequest;

/// Copies requests with a [`ReplayBody`].
///
/// For [`clone_with`](crate::ExponentialRetry::clone_with).
///
/// The copy has the request's method, URI, version, headers and extensions, and a
/// [`replay`](ReplayBody::replay) of its body. If there is none, the copy can't be sent: reading
/// its body fails with [`ReplayError::NotReplayable`](super::ReplayError::NotReplayable). It lets
/// the classifier judge the result, and the hook see
/// [`StopReason::NotReplayable`](crate::retry::StopReason::NotReplayable).
#[derive(Clone, Copy, Debug, Default)]
pub struct ByReplay;

impl<B> CloneRequest<Request<ReplayBody<B>>> for ByReplay {
    fn clone_request(&self, request: &Request<ReplayBody<B>>) -> Option<Request<ReplayBody<B>>> {
        let mut copy = Request::new(request.body().replay_or_unsendable());
        copy.method_mut().clone_from(request.method());
        copy.uri_mut().clone_from(request.uri());
        *copy.version_mut() = request.version();
        copy.headers_mut().clone_from(request.headers());
        copy.extensions_mut().clone_from(request.extensions());
        Some(copy)
    }

    fn can_send(&self, copy: &Request<ReplayBody<B>>) -> bool {
        copy.body().can_replay()
    }

    fn claim(&self, copy: &Request<ReplayBody<B>>) -> bool {
        copy.body().claim()
    }
}
