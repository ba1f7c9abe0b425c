//! CORE: the limits of a rule, as its states need them (pure).

use std::time::Duration;

use super::{counts::Layout, shape::Shape};

/// The limits of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) layout: Layout,
    pub(crate) windows: Box<[Window]>,
    /// The largest number of requests in flight of a key, by plan. Empty if that is not limited.
    pub(crate) max_in_flight: Box<[u32]>,
}

/// One window of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// By plan.
    pub(crate) shapes: Box<[Shape]>,
}

impl Window {
    /// Creates a window with a quota for each plan.
    ///
    /// All plans have the steps of the one with the fewest. So a plan that takes a log over keeps
    /// its stamp, and makes no permit older.
    pub(crate) fn new(quotas: &[u32], length: Duration) -> Self {
        let shapes = quotas.iter().map(|quota| Shape::new(*quota, length));
        let steps = shapes.clone().map(|shape| shape.steps).min().unwrap_or(1);
        Self { shapes: shapes.map(|shape| shape.with_steps(steps, length)).collect() }
    }

    /// Returns the plan with the largest quota.
    pub(crate) fn largest(&self) -> usize {
        let plans = 0..self.shapes.len();
        plans.max_by_key(|plan| self.shapes[*plan].quota).unwrap_or(0)
    }

    /// Returns the largest unit, which is not always that of the largest quota: 50 permits are
    /// counted by twos, and 49 by threes.
    pub(crate) fn largest_unit(&self) -> u32 {
        self.shapes.iter().map(|shape| shape.unit).max().unwrap_or(1)
    }
}

impl Limits {
    /// Creates the limits. Permits that are settled above their estimate may exceed the quota: up
    /// to `debt` quotas are then owed.
    ///
    /// Returns the number of bits that are missing if the counts do not fit into a word.
    pub(crate) fn new(
        windows: Vec<Window>,
        max_in_flight: Vec<u32>,
        debt: u64,
    ) -> Result<Self, u32> {
        // One more, for a pin.
        let held =
            |window: &Window| u64::from(window.shapes[window.largest()].quota) * (1 + debt) + 1;
        let maxima: Vec<u64> = windows.iter().map(held).collect();
        let in_flight = max_in_flight.iter().max().map(|max| u64::from(*max));
        let layout = Layout::new(&maxima, in_flight)?;
        Ok(Self { layout, windows: windows.into(), max_in_flight: max_in_flight.into() })
    }

    /// Returns the largest quota of a rule with one window, of which `debt` quotas may be owed.
    pub(crate) fn max_quota(debt: u64) -> u64 {
        (Layout::MAX_OF_ONE - 1) / (1 + debt)
    }

    /// Returns the largest cost of a request in `plan`.
    pub(crate) fn max_cost(&self, plan: usize) -> u32 {
        self.windows.iter().map(|window| window.shapes[plan].quota).min().unwrap_or(u32::MAX)
    }
}

/// What a request asks of a key: a number of permits of each window, by the limits of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) plan: usize,
    pub(crate) cost: u32,
}
