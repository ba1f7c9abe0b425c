//! What is read of requests and responses, whoever's they are.

use http::{Extensions, HeaderMap, Method, StatusCode};

/// A request whose method and fields can be read: an [`http::Request`], or with the feature `reqwest` one
/// of reqwest's. Sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no request of HTTP whose head can be read",
    note = "it must be an `http::Request`, or reqwest's with the feature `reqwest`"
)]
pub trait RequestHead: sealed::Sealed {
    #[doc(hidden)]
    fn method(&self) -> &Method;
    #[doc(hidden)]
    fn fields(&self) -> &HeaderMap;
    #[doc(hidden)]
    fn fields_mut(&mut self) -> &mut HeaderMap;
}

/// A response whose status and fields can be read: an [`http::Response`], or with the feature `reqwest` one
/// of reqwest's. Sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no response of HTTP whose head can be read",
    note = "it must be an `http::Response`, or reqwest's with the feature `reqwest`"
)]
pub trait ResponseHead: sealed::Sealed {
    #[doc(hidden)]
    fn status(&self) -> StatusCode;
    #[doc(hidden)]
    fn fields(&self) -> &HeaderMap;
    #[doc(hidden)]
    fn notes(&self) -> &Extensions;
    #[doc(hidden)]
    fn notes_mut(&mut self) -> &mut Extensions;
}

mod sealed {
    pub trait Sealed {}
}

/// All of them have the same methods.
macro_rules! heads {
    ([$($body:ident)?] $request:ty, $response:ty) => {
        impl$(<$body>)? sealed::Sealed for $request {}
        impl$(<$body>)? sealed::Sealed for $response {}

        impl$(<$body>)? RequestHead for $request {
            fn method(&self) -> &Method {
                self.method()
            }

            fn fields(&self) -> &HeaderMap {
                self.headers()
            }

            fn fields_mut(&mut self) -> &mut HeaderMap {
                self.headers_mut()
            }
        }

        impl$(<$body>)? ResponseHead for $response {
            fn status(&self) -> StatusCode {
                self.status()
            }

            fn fields(&self) -> &HeaderMap {
                self.headers()
            }

            fn notes(&self) -> &Extensions {
                self.extensions()
            }

            fn notes_mut(&mut self) -> &mut Extensions {
                self.extensions_mut()
            }
        }
    };
}

heads!([B] http::Request<B>, http::Response<B>);
#[cfg(feature = "reqwest")]
heads!([] reqwest::Request, reqwest::Response);
