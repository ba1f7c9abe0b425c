//! What the layers promise, promise by promise. `tests/README.md` lists which test holds us to which.

#![allow(missing_docs, reason = "tests are named after what they show")]

mod support;

mod all_layers;
mod allocations;
mod backpressure;
mod oracle;
mod rate_limit;
mod retry;
mod settings;
mod traits;
