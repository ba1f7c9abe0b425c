//! Limits that know the request: a quota for each key.

mod key;
#[cfg(any(feature = "client", feature = "server"))]
mod keys;

pub use self::key::{Everyone, Key};
#[cfg(feature = "axum")]
pub use self::keys::MatchedPath;
#[cfg(any(feature = "client", feature = "server"))]
pub use self::keys::{BearerToken, Extension, Header, Host, Path};
#[cfg(feature = "server")]
pub use self::keys::{ClientIp, PeerAddr};
