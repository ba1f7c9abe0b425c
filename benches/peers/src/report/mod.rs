//! Figures, their ratios, and how they are shown.

mod figure;
pub(crate) mod plot;
pub(crate) mod render;
mod section;
pub(crate) mod stats;

pub(crate) use self::{
    figure::{ALLOCATIONS, Figure, INSTRUCTIONS, NANOS, less, more, plain},
    section::Section,
};
