//! The rows: each measures some contenders, which take turns.

mod asked;
mod at_hand;
mod near;

use std::{future::Future, pin::Pin};

use super::{Pace, report::Table};

type Tables = Pin<Box<dyn Future<Output = Vec<Table>>>>;

/// A row: its name, and its run.
type Row = (&'static str, fn(Pace) -> Tables);

pub(crate) const ROWS: [Row; 9] = [
    ("hand", |pace| Box::pin(at_hand::cost(pace))),
    ("closed", |pace| Box::pin(at_hand::closed(pace))),
    ("keys", |pace| Box::pin(at_hand::keys(pace))),
    ("paced", |pace| Box::pin(asked::paced(pace))),
    ("scarce", |pace| Box::pin(asked::scarce(pace))),
    ("server", |pace| Box::pin(asked::server(pace))),
    ("used", |pace| Box::pin(near::used(pace))),
    ("order", |pace| Box::pin(near::order(pace))),
    ("fair", |pace| Box::pin(near::fair(pace))),
];

/// Returns the numbers up to `count` in a random order: the turns of a round.
fn turns(count: usize) -> Vec<usize> {
    let mut turns: Vec<_> = (0..count).collect();
    fastrand::shuffle(&mut turns);
    turns
}
