/// The search of a concurrency limit that adapts, at one moment.
///
/// A part of the [snapshot](super::super::ConcurrencySnapshot) of the limit.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AdaptiveSnapshot {
    /// The number of rounds until now.
    pub rounds: u64,
    /// The [elasticity](super::super::ConcurrencyBackpressureHandle::elasticity) of the last round;
    /// `None` before the first.
    pub elasticity: Option<f64>,
    /// A handle pins the limit.
    pub is_held: bool,
}
