//! The prefix of keys.

use std::{error::Error, fmt};

/// That of the keys of other programs is rarely this one.
pub(crate) const DEFAULT: &str = "rl";

const MAX_LENGTH: usize = 200;

/// An invalid prefix of keys: empty, or longer than 200 bytes.
///
/// Returned by [`RedisStore::try_prefix`](crate::RedisStore::try_prefix).
///
/// ```
/// use tower_floodgate_redis::RedisStore;
///
/// # let connection = ();
/// let error = RedisStore::new(connection).try_prefix("").unwrap_err();
/// assert_eq!(error.to_string(), "prefix is \"\": it must be a text of 1 to 200 bytes");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPrefix {
    value: String,
}

impl fmt::Display for InvalidPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "prefix is {:?}: it must be a text of 1 to {MAX_LENGTH} bytes", self.value)
    }
}

impl Error for InvalidPrefix {}

/// Checks a prefix.
pub(crate) fn checked(value: String) -> Result<String, InvalidPrefix> {
    match value.len() {
        1..=MAX_LENGTH => Ok(value),
        _ => Err(InvalidPrefix { value }),
    }
}
