use std::hash::{Hash, Hasher};

use super::shown::shown;
use crate::keyed::Key;

/// The path of the URI, without the query: of a gRPC call, its service and method.
///
/// Each request has a key. A handle finds it by the path as a `str`, such as
/// `"/grpc.health.v1.Health/Check"`.
///
/// A client chooses the path, also one that leads nowhere, and a path may have parameters. For
/// routes of axum, `MatchedPath` bounds the number of keys.
///
/// ```
/// use http::Request;
/// use tower_floodgate::keyed::{Key, Path};
///
/// let request = Request::post("http://[::1]:50051/grpc.health.v1.Health/Check").body(()).unwrap();
/// assert_eq!(Path.label(&request).as_deref(), Some("/grpc.health.v1.Health/Check"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Path;

impl<B> Key<http::Request<B>> for Path {
    fn hash_key<H: Hasher>(&self, request: &http::Request<B>, state: &mut H) -> bool {
        request.uri().path().hash(state);
        true
    }

    fn label(&self, request: &http::Request<B>) -> Option<String> {
        Some(shown(request.uri().path()))
    }
}

#[cfg(feature = "reqwest")]
impl Key<reqwest::Request> for Path {
    fn hash_key<H: Hasher>(&self, request: &reqwest::Request, state: &mut H) -> bool {
        request.url().path().hash(state);
        true
    }

    fn label(&self, request: &reqwest::Request) -> Option<String> {
        Some(shown(request.url().path()))
    }
}
