//! The key table, with small sizes, and the queue of the requests that wait at it.

pub(crate) mod lanes;
pub(crate) mod rule;
#[path = "../../../src/keyed/states.rs"]
pub(crate) mod states;
#[path = "../../../src/keyed/table/mod.rs"]
pub(crate) mod table;
pub(crate) mod waiting;

mod queue_model;

use crate::adapter::TestClock as Clock;
