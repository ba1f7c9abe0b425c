//! An empty crate: the package consists of its tests.
