use std::sync::Arc;

use crate::{backpressure::ConcurrencySnapshot, rate_limit::WindowSnapshot};

/// The state and the counts of a limit at one moment.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(tag = "kind", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Snapshot {
    /// Of a concurrency limit.
    Concurrency(ConcurrencySnapshot),
    /// Of a rate limit.
    Window(WindowSnapshot),
}

impl From<ConcurrencySnapshot> for Snapshot {
    fn from(snapshot: ConcurrencySnapshot) -> Self {
        Self::Concurrency(snapshot)
    }
}

impl From<WindowSnapshot> for Snapshot {
    fn from(snapshot: WindowSnapshot) -> Self {
        Self::Window(snapshot)
    }
}

impl Snapshot {
    /// Returns the kind of the limit: `concurrency` or `window`. It is the label `kind` of metrics,
    /// the field of this name in traces, and the tag of a serialized snapshot.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Concurrency(_) => ConcurrencySnapshot::KIND,
            Self::Window(_) => WindowSnapshot::KIND,
        }
    }

    /// Returns the name of the limit, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Concurrency(snapshot) => snapshot.name.as_ref(),
            Self::Window(snapshot) => snapshot.name.as_ref(),
        }
    }
}
