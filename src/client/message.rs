//! The parts of requests and responses that a classifier reads, for each library's types.

use http::{Extensions, HeaderMap, Method, StatusCode};

/// A request with a readable method and readable headers. Sealed.
///
/// Implemented for [`http::Request`], and with the feature `reqwest` for reqwest's.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no HTTP request with a readable head",
    note = "it must be an `http::Request`, or reqwest's with the feature `reqwest`"
)]
pub trait RequestHead: sealed::Sealed {
    #[doc(hidden)]
    fn method(&self) -> &Method;
    #[doc(hidden)]
    fn headers(&self) -> &HeaderMap;
    #[doc(hidden)]
    fn headers_mut(&mut self) -> &mut HeaderMap;
}

/// A response with a readable status and readable headers. Sealed.
///
/// Implemented for [`http::Response`], and with the feature `reqwest` for reqwest's.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no HTTP response with a readable head",
    note = "it must be an `http::Response`, or reqwest's with the feature `reqwest`"
)]
pub trait ResponseHead: sealed::Sealed {
    #[doc(hidden)]
    fn status(&self) -> StatusCode;
    #[doc(hidden)]
    fn headers(&self) -> &HeaderMap;
    #[doc(hidden)]
    fn extensions(&self) -> &Extensions;
    #[doc(hidden)]
    fn extensions_mut(&mut self) -> &mut Extensions;
}

mod sealed {
    pub trait Sealed {}
}

/// Implements both traits by the inherent methods, which have the same names in both libraries.
macro_rules! heads {
    ([$($body:ident)?] $request:ty, $response:ty) => {
        impl$(<$body>)? sealed::Sealed for $request {}
        impl$(<$body>)? sealed::Sealed for $response {}

        impl$(<$body>)? RequestHead for $request {
            fn method(&self) -> &Method {
                self.method()
            }

            fn headers(&self) -> &HeaderMap {
                self.headers()
            }

            fn headers_mut(&mut self) -> &mut HeaderMap {
                self.headers_mut()
            }
        }

        impl$(<$body>)? ResponseHead for $response {
            fn status(&self) -> StatusCode {
                self.status()
            }

            fn headers(&self) -> &HeaderMap {
                self.headers()
            }

            fn extensions(&self) -> &Extensions {
                self.extensions()
            }

            fn extensions_mut(&mut self) -> &mut Extensions {
                self.extensions_mut()
            }
        }
    };
}

heads!([B] http::Request<B>, http::Response<B>);
#[cfg(feature = "reqwest")]
heads!([] reqwest::Request, reqwest::Response);

/// The head of the request inside.
#[cfg(feature = "reqwest")]
impl sealed::Sealed for super::replay::ReplayRequest {}

#[cfg(feature = "reqwest")]
impl RequestHead for super::replay::ReplayRequest {
    fn method(&self) -> &Method {
        self.get_ref().method()
    }

    fn headers(&self) -> &HeaderMap {
        self.get_ref().headers()
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.get_mut().headers_mut()
    }
}
