use http::Request;

use super::ReplayBody;
use crate::retry::CloneRequest;

/// Copies requests with a [`ReplayBody`].
///
/// For [`clone_with`](crate::ExponentialRetry::clone_with).
///
/// The copy has the request's method, URI, version, headers and extensions, and a
/// [`replay`](ReplayBody::replay) of its body. If there is none, the request is not copied.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByReplay;

impl<B> CloneRequest<Request<ReplayBody<B>>> for ByReplay {
    fn clone_request(&self, request: &Request<ReplayBody<B>>) -> Option<Request<ReplayBody<B>>> {
        let mut copy = Request::new(request.body().replay()?);
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
