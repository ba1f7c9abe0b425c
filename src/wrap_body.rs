//! Responses of the `http` crate and of reqwest, for layers that wrap the body.

use http::Response;
use http_body::Body;

/// A response with a body. Sealed.
///
/// Implemented for [`http::Response`], and with the feature `reqwest` for reqwest's.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no HTTP response with a body",
    note = "it must be an `http::Response`, or reqwest's with the feature `reqwest`"
)]
pub trait HttpResponse: sealed::Sealed + Sized {
    /// The type of the body.
    type Body: Body;

    #[doc(hidden)]
    fn into_http(self) -> Response<Self::Body>;
}

/// A response whose body can be wrapped in a `B`. Sealed.
///
/// Implemented for [`http::Response`], and with the feature `reqwest` for reqwest's, if `B` is
/// `Send`, `Sync` and `'static`, and its data is `Bytes`.
#[diagnostic::on_unimplemented(
    message = "the body of `{Self}` can't be wrapped in a `{B}`",
    note = "it must be an `http::Response`, or reqwest's with the feature `reqwest`"
)]
pub trait WrapBody<B>: HttpResponse {
    /// The response with the wrapped body: reqwest's stays the same type.
    type Wrapped;

    /// Returns a response with the body that is in `response`.
    #[doc(hidden)]
    fn wrapped(response: Response<B>) -> Self::Wrapped;

    /// Returns this response, untouched where its type does not name the body.
    #[doc(hidden)]
    fn untouched(self) -> Self::Wrapped
    where
        B: From<Self::Body>;
}

mod sealed {
    pub trait Sealed {}
}

impl<B> sealed::Sealed for Response<B> {}

impl<B: Body> HttpResponse for Response<B> {
    type Body = B;

    #[inline]
    fn into_http(self) -> Self {
        self
    }
}

impl<B: Body, W> WrapBody<W> for Response<B> {
    type Wrapped = Response<W>;

    #[inline]
    fn wrapped(response: Response<W>) -> Response<W> {
        response
    }

    #[inline]
    fn untouched(self) -> Response<W>
    where
        W: From<B>,
    {
        self.map(W::from)
    }
}

#[cfg(feature = "reqwest")]
mod of_reqwest {
    use bytes::Bytes;
    use reqwest::ResponseBuilderExt;
    use tower::BoxError;

    use super::{Body, HttpResponse, Response, WrapBody, sealed};

    impl sealed::Sealed for reqwest::Response {}

    impl HttpResponse for reqwest::Response {
        type Body = reqwest::Body;

        /// The conversion of reqwest loses the URL, unless it is in the extensions.
        fn into_http(self) -> Response<reqwest::Body> {
            let mut url = Response::builder().url(self.url().clone());
            let mut response = Response::from(self);
            if let Some(extensions) = url.extensions_mut() {
                response.extensions_mut().extend(std::mem::take(extensions));
            }
            response
        }
    }

    impl<W> WrapBody<W> for reqwest::Response
    where
        W: Body<Data = Bytes, Error: Into<BoxError>> + Send + Sync + 'static,
    {
        type Wrapped = Self;

        fn wrapped(response: Response<W>) -> Self {
            response.map(reqwest::Body::wrap).into()
        }

        fn untouched(self) -> Self {
            self
        }
    }
}
