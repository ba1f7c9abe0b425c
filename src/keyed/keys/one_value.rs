//! The value of a header that should occur once.

use std::hash::{Hash, Hasher};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The value of a header in a request.
pub(super) enum OneValue<'a> {
    /// There is no such header.
    None,
    /// One line, or several lines that are the same.
    One(&'a HeaderValue),
    /// Lines that differ.
    ///
    /// The key can be none of them: if the first were the key and the server went by the last, a
    /// client would have as many keys as it writes first lines. Nor has such a request no key,
    /// because then it might be exempt.
    Several,
}

impl<'a> OneValue<'a> {
    pub(super) fn of(headers: &'a HeaderMap, name: &HeaderName) -> Self {
        let mut lines = headers.get_all(name).iter();
        match lines.next() {
            None => Self::None,
            Some(first) if lines.all(|line| line == first) => Self::One(first),
            Some(_) => Self::Several,
        }
    }
}

/// Feeds the bytes as text, so that a handle finds them by a `str`. Other bytes count as a slice.
pub(super) fn feed<H: Hasher>(bytes: &[u8], state: &mut H) {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.hash(state),
        Err(_) => bytes.hash(state),
    }
}
