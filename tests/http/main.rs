//! What the crate reads off HTTP and gRPC messages and writes into them, under paused time and without a network.
//! `tests/README.md` lists which test holds us to which promise.

#[cfg(feature = "http")]
mod replay;
