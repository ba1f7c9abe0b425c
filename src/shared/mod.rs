//! A quota that many processes share, through a store such as Redis.
//!
//! # Why the limit holds

mod store;
mod wire;

pub use self::store::{Store, StoreError};
