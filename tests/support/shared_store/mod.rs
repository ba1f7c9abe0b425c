//! A store of shared quotas for tests: its rules as plain code, its network and its faults.

pub(crate) mod fake;
pub(crate) mod model;
pub(crate) mod oracle;
