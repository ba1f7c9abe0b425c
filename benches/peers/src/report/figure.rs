//! The kinds of figures.

/// A kind of measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(super) better: Better,
}

/// The direction in which a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    Less,
    More,
    /// The figure has no ratios.
    Neither,
}

pub(crate) const NANOS: Figure = less("time", "ns/call");
pub(crate) const INSTRUCTIONS: Figure = less("instructions", "/call");
pub(crate) const ALLOCATIONS: Figure = plain("allocations", "/call");

pub(crate) const fn less(name: &'static str, unit: &'static str) -> Figure {
    Figure { name, unit, better: Better::Less }
}

pub(crate) const fn more(name: &'static str, unit: &'static str) -> Figure {
    Figure { name, unit, better: Better::More }
}

pub(crate) const fn plain(name: &'static str, unit: &'static str) -> Figure {
    Figure { name, unit, better: Better::Neither }
}
