use std::hash::{Hash, Hasher};

use http::{HeaderMap, HeaderName};

use super::{
    for_requests::key_of_headers,
    one_value::{self, OneValue},
    shown::shown,
};
use crate::settings::{InvalidSetting, literal};

/// The value of a header, such as the name of a tenant or an API key.
///
/// A request without the header has no key. Lines that are the same count once. If several lines
/// differ, the key is the empty text. So a client gains one key by adding lines, and shares it with
/// all others that do.
///
/// A handle finds the key by the value as a `str`, without white space around it. A value that is
/// not UTF-8 is found as a `[u8]`.
///
/// A client chooses the value. If the limit stands outside the layer that checks it, each request
/// may have a new one: put the limit inside, or use [`ClientIp`](super::ClientIp) there.
///
/// ```
/// use http::Request;
/// use tower_floodgate::keyed::{Header, Key};
///
/// let request = Request::builder().header("x-tenant", "acme").header("x-api-key", "9af1").body(());
/// let request = request.unwrap();
/// assert_eq!(Header::named("x-tenant").label(&request).as_deref(), Some("acme"));
/// assert_eq!(Header::named("x-api-key").secret().label(&request), None);
/// ```
#[derive(Clone, Debug)]
pub struct Header {
    name: HeaderName,
    is_secret: bool,
}

impl Header {
    /// Creates the key of the header `name`, the case of which does not matter.
    ///
    /// # Panics
    ///
    /// If `name` is not the name of a header.
    #[must_use]
    #[track_caller]
    pub fn named(name: impl AsRef<str>) -> Self {
        literal(Self::try_named(name))
    }

    /// Creates the key of the header `name`, as [`named`](Self::named) does.
    ///
    /// # Errors
    ///
    /// If `name` is not the name of a header.
    pub fn try_named(name: impl AsRef<str>) -> Result<Self, InvalidSetting> {
        let name = name.as_ref();
        let parsed = HeaderName::from_bytes(name.as_bytes());
        let name = parsed.map_err(|_| {
            InvalidSetting::new("name", name, "the name of a header, without white space and colon")
        })?;
        Ok(Self { name, is_secret: false })
    }

    /// Keeps the value out of labels. By default it is shown, up to 100 characters of it, unless
    /// the value is marked as [sensitive](http::HeaderValue::set_sensitive).
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    fn feed<H: Hasher>(&self, headers: &HeaderMap, state: &mut H) -> bool {
        match OneValue::of(headers, &self.name) {
            OneValue::None => return false,
            OneValue::One(value) => one_value::feed(value.as_bytes().trim_ascii(), state),
            OneValue::Several => "".hash(state),
        }
        true
    }

    fn show(&self, headers: &HeaderMap) -> Option<String> {
        match OneValue::of(headers, &self.name) {
            OneValue::One(value) if self.is_secret || value.is_sensitive() => None,
            OneValue::One(value) => {
                Some(shown(&String::from_utf8_lossy(value.as_bytes().trim_ascii())))
            }
            OneValue::Several => Some("several values".to_owned()),
            OneValue::None => None,
        }
    }
}

key_of_headers!(Header);
