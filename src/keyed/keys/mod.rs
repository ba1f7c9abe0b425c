//! Keys of requests of HTTP.

#[cfg(feature = "server")]
mod address;
mod bearer_token;
#[cfg(feature = "server")]
mod client_ip;
mod extension;
mod for_requests;
#[cfg(feature = "server")]
mod forwarded;
mod header;
mod host;
mod host_text;
#[cfg(feature = "axum")]
mod matched_path;
#[cfg(feature = "server")]
mod networks;
mod one_value;
mod path;
#[cfg(feature = "server")]
mod peer;
mod shown;

#[cfg(feature = "axum")]
pub use self::matched_path::MatchedPath;
pub use self::{
    bearer_token::BearerToken, extension::Extension, header::Header, host::Host, path::Path,
};
#[cfg(feature = "server")]
pub use self::{client_ip::ClientIp, peer::PeerAddr};
