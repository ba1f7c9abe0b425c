//! A concurrency limit that finds itself: the settings, the judge, and the measurement of requests.
//!
//! The [search](super::knee) decides; the limiter tells it of requests, and changes the limit.

mod handle;
mod judged;
mod layer;
mod measurement;
mod settings;
mod snapshot;

pub use self::{judged::Judged, settings::Adaptive, snapshot::AdaptiveSnapshot};
