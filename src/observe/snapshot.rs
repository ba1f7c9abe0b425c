use std::sync::Arc;

#[cfg(feature = "shared-keys")]
use crate::shared::SharedKeysSnapshot;
use crate::{
    backpressure::ConcurrencySnapshot, keyed::RuleSnapshot, rate_limit::WindowSnapshot,
    retry::RetrySnapshot, shared::SharedSnapshot,
};

/// The state and the counts of a limit, a rule or a retry policy at one moment.
///
/// The `snapshot()` of a handle has no kind. [`Snapshot::from`](Self::from) adds it, and so the tag
/// `kind` of a serialized snapshot.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(tag = "kind", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Snapshot {
    /// Of a concurrency limit.
    Concurrency(ConcurrencySnapshot),
    /// Of a rate limit.
    Window(WindowSnapshot),
    /// Of a retry policy.
    Retry(RetrySnapshot),
    /// Of a rule of a keyed limit.
    Rule(RuleSnapshot),
    /// Of a rate limit that many processes share.
    Shared(SharedSnapshot),
    /// Of the rate limits of keys that many processes share.
    #[cfg(feature = "shared-keys")]
    SharedKeys(SharedKeysSnapshot),
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

impl From<RetrySnapshot> for Snapshot {
    fn from(snapshot: RetrySnapshot) -> Self {
        Self::Retry(snapshot)
    }
}

impl From<RuleSnapshot> for Snapshot {
    fn from(snapshot: RuleSnapshot) -> Self {
        Self::Rule(snapshot)
    }
}

impl From<SharedSnapshot> for Snapshot {
    fn from(snapshot: SharedSnapshot) -> Self {
        Self::Shared(snapshot)
    }
}

#[cfg(feature = "shared-keys")]
impl From<SharedKeysSnapshot> for Snapshot {
    fn from(snapshot: SharedKeysSnapshot) -> Self {
        Self::SharedKeys(snapshot)
    }
}

impl Snapshot {
    /// Returns the kind: `concurrency`, `window`, `retry`, `rule`, `shared` or
    /// `shared_keys`.
    ///
    /// It is the tag of a serialized snapshot, and the field `kind` of traces. That of a limit is
    /// the label `kind` of its metrics, too: those of a retry have none.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Concurrency(_) => ConcurrencySnapshot::KIND,
            Self::Window(_) => WindowSnapshot::KIND,
            Self::Retry(_) => "retry",
            Self::Rule(_) => RuleSnapshot::KIND,
            Self::Shared(_) => SharedSnapshot::KIND,
            #[cfg(feature = "shared-keys")]
            Self::SharedKeys(_) => SharedKeysSnapshot::KIND,
        }
    }

    /// Returns the name of the limit, the policy or the rule, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Concurrency(snapshot) => snapshot.name.as_ref(),
            Self::Window(snapshot) => snapshot.name.as_ref(),
            Self::Retry(snapshot) => Some(&snapshot.name),
            Self::Rule(snapshot) => Some(&snapshot.name),
            Self::Shared(snapshot) => snapshot.name.as_ref(),
            #[cfg(feature = "shared-keys")]
            Self::SharedKeys(snapshot) => snapshot.name.as_ref(),
        }
    }
}
