//! The layers in servers and clients that people use, on real sockets. `tests/README.md` lists which test holds
//! us to which promise.
//!
//! These run in real time, so no verdict depends on how fast the machine is, and whatever waits for the network
//! does so under a time limit.
//!
//! | read | for |
//! | --- | --- |
//! | `peer/` | servers that count by themselves, and servers that misbehave |
//! | `harness.rs` | that these servers do what they are for |
//! | `quota.rs` | fifty tasks and a quota: a hint holds back everybody |
//! | `reqwest.rs` | reqwest behind all the layers |
//! | `misbehaving.rs` | reqwest and hyper-util's client behind all the layers, and servers that misbehave |
//! | `tonic_client.rs` | tonic's client behind all the layers |
//! | `errors.rs` | what the errors of hyper-util's client and of reqwest look like, for each way to misbehave |
//! | `shutting_down.rs` | requests that come just when a server shuts down gracefully |
//! | `servers/` | the layers on the servers of axum, hyper and tonic, and a client of hyper-util's |

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod errors;
mod harness;
#[cfg(feature = "reqwest")]
mod misbehaving;
mod peer;
#[cfg(feature = "reqwest")]
mod quota;
#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(all(feature = "client", feature = "server"))]
mod servers;
#[cfg(feature = "client")]
mod shutting_down;
#[cfg(feature = "grpc")]
mod tonic_client;
