use std::{error::Error, fmt};

use crate::{limiter::BoundError, settings::InvalidSetting};

/// The error of a change of a running limit that has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApplyError {
    /// A setting is invalid, or not that of the running limit and cannot change.
    Invalid(InvalidSetting),
    /// A service of the limit cannot reject, so its queue must not be bounded.
    Bound(BoundError),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(error) => error.fmt(f),
            Self::Bound(error) => error.fmt(f),
        }
    }
}

/// Without a source: the text is that of the error inside.
impl Error for ApplyError {}

impl From<InvalidSetting> for ApplyError {
    fn from(error: InvalidSetting) -> Self {
        Self::Invalid(error)
    }
}

impl From<BoundError> for ApplyError {
    fn from(error: BoundError) -> Self {
        Self::Bound(error)
    }
}
