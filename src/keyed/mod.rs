//! Limits that know the request: a quota for each key.

mod key;

pub use self::key::{Everyone, Key};
