use std::hash::{Hash, Hasher};

use http::{Request, header::HOST};

use super::{host_text, one_value::OneValue, shown::shown};
use crate::keyed::Key;

/// The host to which a client sends the request, with the port unless it is the default.
///
/// It is the authority of the URI; without one, the header `Host`. Letters are lower-cased, and
/// user names, a dot at the end and the ports 80 of `http` and 443 of `https` are left out. Without
/// a scheme, both ports are. A request without a host has no key. A host that is malformed, longer
/// than 255 bytes, or of several lines that differ is the empty text.
///
/// A handle finds the key by the host as a `str`: `"example.com"`, `"example.com:8080"` or
/// `"[2001:db8::1]:8080"`.
///
/// Suits clients, which choose the hosts. Of a server, the clients choose it.
///
/// ```
/// use http::Request;
/// use tower_floodgate::keyed::{Host, Key};
///
/// let host = |uri| Host.label(&Request::get(uri).body(()).unwrap());
/// assert_eq!(host("https://user@Example.COM:443/a").as_deref(), Some("example.com"));
/// assert_eq!(host("http://example.com:8080/b").as_deref(), Some("example.com:8080"));
/// assert_eq!(host("/c"), None);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Host;

/// Calls `then` with the host of a request, if it has one.
fn with_host<B, T>(request: &Request<B>, then: impl FnOnce(&str) -> T) -> Option<T> {
    let uri = request.uri();
    if let Some(authority) = uri.authority() {
        let is_default = |port| host_text::is_default(uri.scheme_str(), port);
        return Some(host_text::with_text(authority.as_str(), is_default, then));
    }
    let text = match OneValue::of(request.headers(), &HOST) {
        OneValue::None => return None,
        OneValue::One(value) => std::str::from_utf8(value.as_bytes()).unwrap_or_default(),
        OneValue::Several => "",
    };
    Some(host_text::with_text(text, |port| host_text::is_default(None, port), then))
}

impl<B> Key<Request<B>> for Host {
    fn hash_key<H: Hasher>(&self, request: &Request<B>, state: &mut H) -> bool {
        with_host(request, |host| host.hash(state)).is_some()
    }

    fn label(&self, request: &Request<B>) -> Option<String> {
        with_host(request, shown)
    }
}

/// Calls `then` with the host of a request, if it has one.
#[cfg(feature = "reqwest")]
fn with_host_of_url<T>(request: &reqwest::Request, then: impl FnOnce(&str) -> T) -> Option<T> {
    let url = request.url();
    // The port of a URL is none if it is the default of the scheme.
    url.host_str().map(|host| host_text::with_parts(host, url.port(), then))
}

#[cfg(feature = "reqwest")]
impl Key<reqwest::Request> for Host {
    fn hash_key<H: Hasher>(&self, request: &reqwest::Request, state: &mut H) -> bool {
        with_host_of_url(request, |host| host.hash(state)).is_some()
    }

    fn label(&self, request: &reqwest::Request) -> Option<String> {
        with_host_of_url(request, shown)
    }
}
