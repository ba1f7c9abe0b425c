use std::hash::{Hash, Hasher};

use http::{HeaderMap, header::AUTHORIZATION};

use super::{
    for_requests::key_of_headers,
    one_value::{self, OneValue},
};

/// The token of `Authorization: Bearer`.
///
/// It is hashed and kept nowhere, and no label shows it. The case of the scheme does not matter,
/// and the token ends at white space. A request without a token, or with another scheme, has no
/// key. If several lines differ, the key is the empty text, as of [`Header`](super::Header).
///
/// A handle finds the key by the token as a `str`. A token that is not UTF-8 is found as a `[u8]`.
///
/// A client chooses the token: put the limit inside the layer that checks it, or use
/// [`ClientIp`](super::ClientIp) outside.
///
/// ```
/// use http::Request;
/// use std::hash::{DefaultHasher, Hash, Hasher};
/// use tower_floodgate::keyed::{BearerToken, Key};
///
/// let request = Request::builder().header("authorization", "Bearer mF_9.B5f-4.1JqM").body(());
/// let request = request.unwrap();
/// let (mut of_request, mut of_handle) = (DefaultHasher::new(), DefaultHasher::new());
/// assert!(BearerToken.hash_key(&request, &mut of_request));
/// "mF_9.B5f-4.1JqM".hash(&mut of_handle);
/// assert_eq!(of_request.finish(), of_handle.finish());
/// assert_eq!(BearerToken.label(&request), None);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct BearerToken;

impl BearerToken {
    #[allow(clippy::unused_self, reason = "the methods of all keys of headers are alike")]
    fn feed<H: Hasher>(self, headers: &HeaderMap, state: &mut H) -> bool {
        match OneValue::of(headers, &AUTHORIZATION) {
            OneValue::None => return false,
            OneValue::One(value) => match token(value.as_bytes()) {
                Some(token) => one_value::feed(token, state),
                None => return false,
            },
            OneValue::Several => "".hash(state),
        }
        true
    }

    #[allow(clippy::unused_self, reason = "the methods of all keys of headers are alike")]
    fn show(self, _: &HeaderMap) -> Option<String> {
        None
    }
}

/// Returns the token of a value: the second word, if the first is the scheme.
///
/// Text behind it is ignored. If the server ignores it, too, it would be a key of the client's
/// choice beside a valid token.
fn token(value: &[u8]) -> Option<&[u8]> {
    let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.next().filter(|scheme| scheme.eq_ignore_ascii_case(b"Bearer"))?;
    words.next()
}

key_of_headers!(BearerToken);
