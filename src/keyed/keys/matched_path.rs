use std::hash::{Hash, Hasher};

use axum::extract::MatchedPath as Matched;
use http::{Method, Request};

use super::shown::shown;
use crate::keyed::Key;

/// The route of axum that a request matched, such as `/users/{id}`: a limit for each route.
///
/// A client chooses among the routes only, so there are at most as many keys as routes. A request
/// that matched none has no key, and neither has one of a layer around the whole `Router`, outside
/// of [`Router::layer`](axum::Router::layer).
///
/// A handle finds the key by the path as a `str`; [with the method](Self::with_method), by the pair
/// of both, such as `("GET", "/users/{id}")`.
///
/// ```
/// use axum::{Router, body::Body, extract::Request, routing::get};
/// use tower::ServiceExt;
/// use tower_floodgate::keyed::{Key, MatchedPath};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let key = MatchedPath::new().with_method();
/// let app: Router = Router::new()
///     .route("/users/{id}", get(|| async {}))
///     .layer(axum::middleware::map_request(move |request: Request| async move {
///         assert_eq!(key.label(&request).as_deref(), Some("GET /users/{id}"));
///         request
///     }));
/// app.oneshot(Request::get("/users/7?all").body(Body::empty()).unwrap()).await.unwrap();
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub struct MatchedPath {
    has_method: bool,
}

impl MatchedPath {
    /// Creates the key of the route, for all methods.
    #[must_use]
    pub const fn new() -> Self {
        Self { has_method: false }
    }

    /// Makes another key for each method of a route.
    ///
    /// `HEAD` counts as `GET`, because axum calls the same handler. Methods that are not of the
    /// standard count as `_OTHER`, because a client may invent any number of them.
    #[must_use]
    pub const fn with_method(mut self) -> Self {
        self.has_method = true;
        self
    }
}

fn standard(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}

impl<B> Key<Request<B>> for MatchedPath {
    fn hash_key<H: Hasher>(&self, request: &Request<B>, state: &mut H) -> bool {
        let Some(path) = request.extensions().get::<Matched>() else { return false };
        if self.has_method {
            (standard(request.method()), path.as_str()).hash(state);
        } else {
            path.as_str().hash(state);
        }
        true
    }

    fn label(&self, request: &Request<B>) -> Option<String> {
        let path = request.extensions().get::<Matched>()?.as_str();
        Some(if self.has_method {
            shown(&format!("{} {path}", standard(request.method())))
        } else {
            shown(path)
        })
    }
}
