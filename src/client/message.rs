//! The parts of requests and responses that a classifier reads, for each library's types.

use http::{Extensions, HeaderMap, Method, StatusCode};

#[cfg(feature = "tracing")]
use super::attempt_span::resend;

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
    #[cfg(feature = "tracing")]
    #[doc(hidden)]
    fn server(&self) -> Server<'_>;
    #[cfg(feature = "tracing")]
    #[doc(hidden)]
    fn note_resend(&mut self, attempts: u32);
    #[cfg(feature = "tracing")]
    #[doc(hidden)]
    fn resend(&self) -> Option<u32>;
}

/// The server that a request is for, as its URL names it.
#[cfg(feature = "tracing")]
#[derive(Debug)]
pub struct Server<'a> {
    pub(super) scheme: Option<&'a str>,
    pub(super) address: Option<&'a str>,
    pub(super) port: Option<u16>,
}

#[cfg(feature = "tracing")]
impl<'a> Server<'a> {
    fn of_uri(uri: &'a http::Uri) -> Self {
        let scheme = uri.scheme_str();
        let default_port = match scheme {
            Some("http") => Some(80),
            Some("https") => Some(443),
            _ => None,
        };
        let address = uri.host();
        let port = uri.port_u16().or(default_port.filter(|_| address.is_some()));
        Self { scheme, address, port }
    }

    #[cfg(feature = "reqwest")]
    fn of_url(request: &'a reqwest::Request) -> Self {
        let url = request.url();
        Self {
            scheme: Some(url.scheme()),
            address: url.host_str(),
            port: url.port_or_known_default(),
        }
    }
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
    ([$($body:ident)?] $request:ty, $response:ty, { $($of_request:item)* }) => {
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

            $($of_request)*
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

heads!([B] http::Request<B>, http::Response<B>, {
    #[cfg(feature = "tracing")]
    fn server(&self) -> Server<'_> {
        Server::of_uri(self.uri())
    }

    #[cfg(feature = "tracing")]
    fn note_resend(&mut self, attempts: u32) {
        self.extensions_mut().insert(resend::Resend(attempts));
    }

    #[cfg(feature = "tracing")]
    fn resend(&self) -> Option<u32> {
        self.extensions().get().map(|&resend::Resend(attempts)| attempts)
    }
});
#[cfg(feature = "reqwest")]
heads!([] reqwest::Request, reqwest::Response, {
    #[cfg(feature = "tracing")]
    fn server(&self) -> Server<'_> {
        Server::of_url(self)
    }

    #[cfg(feature = "tracing")]
    fn note_resend(&mut self, _: u32) {}

    #[cfg(feature = "tracing")]
    fn resend(&self) -> Option<u32> {
        resend::current()
    }
});

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

    #[cfg(feature = "tracing")]
    fn server(&self) -> Server<'_> {
        Server::of_url(self.get_ref())
    }

    #[cfg(feature = "tracing")]
    fn note_resend(&mut self, attempts: u32) {
        self.resend = Some(attempts);
    }

    #[cfg(feature = "tracing")]
    fn resend(&self) -> Option<u32> {
        self.resend
    }
}
