//! Measurements in one word.

use proptest::prelude::*;

use crate::{
    holds,
    knee::{Begun, Knee, Range},
    number,
    time::Nanos,
};

/// 39 hours.
const EXACT: u64 = 1 << 47;

/// A measurement keeps its half round, and tells its time, whenever it began.
#[test]
fn a8_measurement_tells_its_time_whenever_it_began() {
    let knee = Knee::new(Range { min: 1, max: 4, sharers: 1 }, 2);
    let half_round = knee.present().expect("the first one");
    holds(file!(), (number(), number()), |(start, nanos)| {
        let begun = Begun::new(half_round, Nanos::new(start));
        prop_assert_eq!(begun.stamp(), half_round);
        let nanos = (nanos % EXACT).min(u64::MAX - start);
        let (before, after) = (start.saturating_sub(nanos), start + nanos);
        prop_assert_eq!(begun.nanos_until(Nanos::new(before)), 0);
        prop_assert_eq!(begun.nanos_until(Nanos::new(after)), nanos);
        Ok(())
    });
}
