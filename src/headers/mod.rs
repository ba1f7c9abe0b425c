//! Headers that the client side reads and the server side writes: their names and values.

#[cfg(feature = "grpc")]
pub(crate) mod grpc;
#[cfg(feature = "grpc")]
pub(crate) mod grpc_timeout;
#[cfg(feature = "server")]
pub(crate) mod rate_limit;
