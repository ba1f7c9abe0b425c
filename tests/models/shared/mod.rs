//! The cores of a shared quota.

#[path = "../../../src/shared/group.rs"]
mod group;
mod group_model;
mod limiter;
#[path = "../../../src/shared/pool/mod.rs"]
mod pool;
mod pool_model;
mod requests;
