//! How much of each scenario is run.

/// How much of each scenario is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Shows that every contender works; measures nothing.
    Once,
    Quick,
    Full,
}

impl Pace {
    pub(crate) fn pick<T>(self, once: T, quick: T, full: T) -> T {
        match self {
            Self::Once => once,
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}
