//! The class of a request.

/// How much a request matters, of those that share one queue.
///
/// A class may join the queue while it is shorter than its share of `max_queue`. No waiter is
/// overtaken, whatever its class. See [classes](crate::backpressure#classes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// May fill the whole queue, by default.
    Critical,
    /// May queue while the queue is less than half full, by default.
    Normal,
    /// May queue while the queue is less than a quarter full, by default.
    Sheddable,
}

impl Class {
    /// All classes, the one that matters most first.
    pub const ALL: [Self; 3] = [Self::Critical, Self::Normal, Self::Sheddable];

    /// Returns the name of the class, as in metrics and snapshots.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Normal => "normal",
            Self::Sheddable => "sheddable",
        }
    }

    /// Returns the position of the class in [`ALL`](Self::ALL).
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}
