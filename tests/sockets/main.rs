//! The layers in common servers and clients, on real sockets.
//!
//! These tests run in real time, so no verdict depends on the speed of the machine, and each wait
//! for the network has a time limit.
//!
//! | file | contents |
//! | --- | --- |
//! | `peer/` | servers that count by themselves, and servers that misbehave |
//! | `harness.rs` | tests of these servers |
//! | `quota.rs` | fifty tasks and a quota: a hint holds back all of them |
//! | `bodies.rs` | bodies of attempts: read, retried, sent again, and holding permits |
//! | `reqwest.rs` | reqwest behind all the layers |
//! | `misbehaving.rs` | reqwest and hyper-util's client behind all the layers, and servers that misbehave |
//! | `misdirected.rs` | hyper-util's client and a server that serves another connection |
//! | `tonic_client.rs` | tonic's client behind all the layers |
//! | `deadline.rs` | deadlines of calls, with tonic's client and server |
//! | `errors.rs` | the errors of hyper-util's client and of reqwest, for each way to misbehave |
//! | `tls.rs` | handshakes of TLS, schemes and names that fail for good, and those that may not |
//! | `attempts.rs` | the number of attempts in the errors of real clients |
//! | `shutting_down.rs` | requests that arrive while a server shuts down gracefully |
//! | `servers/` | the layers on the servers of axum, hyper and tonic, and a client of hyper-util's |

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

#[cfg(feature = "client")]
mod attempts;
#[cfg(all(feature = "reqwest", feature = "server"))]
mod bodies;
#[cfg(feature = "grpc")]
mod deadline;
mod errors;
mod harness;
#[cfg(feature = "reqwest")]
mod misbehaving;
#[cfg(feature = "client")]
mod misdirected;
mod peer;
#[cfg(feature = "reqwest")]
mod quota;
#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(all(feature = "client", feature = "server"))]
mod servers;
#[cfg(feature = "client")]
mod shutting_down;
#[cfg(feature = "client")]
mod tls;
#[cfg(feature = "grpc")]
mod tonic_client;
