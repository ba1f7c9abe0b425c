//! The limits that a world is run with.

/// The half round of a measured request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(pub(crate) Number);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Naive(u32),
    Core(crate::knee::Stamp),
}

/// The end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a response.
    Served,
    /// Failed.
    Ignored,
    /// Rejected by the server.
    Overload,
    /// Its response future was dropped.
    Abandoned,
}

/// A limit of requests in flight.
pub trait Algorithm {
    /// Returns the limit.
    fn limit(&self) -> u32;

    /// A phase begins, with this best limit.
    fn phase(&mut self, _best: u32) {}

    /// Returns the stamp of a request that has taken the last permit.
    fn stamp(&mut self) -> Option<Stamp>;

    /// A request with a stamp has ended, `nanos` after its call.
    fn ended(&mut self, stamp: Stamp, end: End, nanos: u64, now: u64);
}

/// The best fixed limit of each phase.
#[derive(Debug, Default)]
pub struct Best(u32);

impl Algorithm for Best {
    fn limit(&self) -> u32 {
        self.0
    }

    fn phase(&mut self, best: u32) {
        self.0 = best;
    }

    fn stamp(&mut self) -> Option<Stamp> {
        None
    }

    fn ended(&mut self, _: Stamp, _: End, _: u64, _: u64) {}
}
