//! Limits that know the request: a quota for each key.

mod key;
mod lanes;
mod table;

pub use self::key::{Everyone, Key};
