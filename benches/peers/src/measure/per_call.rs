//! Time, allocations and instructions of a call; the contenders take turns.

use std::{hint::black_box, time::Instant};

use super::{allocations, instructions};
use crate::{
    batch::Batch,
    contenders::{Comparison, Contender, Role},
    pace::Pace,
    report::{ALLOCATIONS, INSTRUCTIONS, NANOS, Section},
};

/// Calls of a turn: enough to warm the caches, few enough to be seldom interrupted.
const CALLS: u32 = 10_000;

/// Returns the time and the allocations of a call and, if valgrind is installed, its instructions.
pub(crate) fn counted(comparison: &Comparison, pace: Pace) -> Section {
    let mut section = Section::new(&comparison.title);
    if !instructions::available() {
        section.note = Some("Instructions are not counted: valgrind is not installed.".to_owned());
    }
    measured(comparison, pace, CALLS, instructions::of(comparison, pace), section)
}

/// Returns the time and the allocations of a call.
pub(crate) fn timed(comparison: &Comparison, pace: Pace) -> Section {
    timed_in_turns(comparison, pace, CALLS)
}

/// Returns the time and the allocations of a call, by turns of `calls`.
pub(crate) fn timed_in_turns(comparison: &Comparison, pace: Pace, calls: u32) -> Section {
    measured(comparison, pace, calls, None, Section::new(&comparison.title))
}

fn measured(
    comparison: &Comparison,
    pace: Pace,
    calls: u32,
    instructions: Option<Vec<f64>>,
    mut section: Section,
) -> Section {
    let contenders = &comparison.contenders;
    let mut batches: Vec<Batch> = contenders.iter().map(|contender| (contender.make)()).collect();
    let nanos = allocations::uncounted(|| nanos(contenders, &mut batches, pace, calls));
    for (place, Contender { label, share, .. }) in contenders.iter().enumerate() {
        if label.role == Role::Empty {
            continue;
        }
        let above = nanos[place].iter().zip(&nanos[0]).map(|(own, empty)| own - empty);
        section.push(label, NANOS, above.collect());
        if let Some(instructions) = &instructions {
            section.push(label, INSTRUCTIONS, vec![instructions[place] - instructions[0]]);
        }
        let calls = (1_000 / share).max(1);
        let allocated = allocations::count(|| batches[place](calls));
        section.push(label, ALLOCATIONS, vec![allocated / f64::from(calls)]);
    }
    section
}

/// Returns the nanoseconds per call of each contender, one for each round.
fn nanos(
    contenders: &[Contender<Batch>],
    batches: &mut [Batch],
    pace: Pace,
    calls: u32,
) -> Vec<Vec<f64>> {
    let rounds = pace.pick(1, 60, 400) * CALLS / calls;
    let calls = pace.pick(200, calls, calls);
    let mut nanos = vec![Vec::new(); batches.len()];
    let mut order: Vec<usize> = (0..batches.len()).collect();
    for _ in 0..rounds.max(1) {
        fastrand::shuffle(&mut order);
        for &turn in &order {
            let calls = (calls / contenders[turn].share).max(1);
            let time = nanos_per_call(&mut batches[turn], calls, fastrand::u32(..64));
            nanos[turn].push(time);
        }
    }
    nanos
}

/// Times a batch `levels` stack frames further down.
///
/// The place of a future within its page changes how fast it is moved. A random number of levels
/// averages over the places.
#[inline(never)]
fn nanos_per_call(batch: &mut Batch, calls: u32, levels: u32) -> f64 {
    let level = black_box([0_u8; 64]);
    let nanos = if levels > 0 {
        nanos_per_call(batch, calls, levels - 1)
    } else {
        let start = Instant::now();
        batch(calls);
        start.elapsed().as_nanos() as f64 / f64::from(calls)
    };
    black_box(level);
    nanos
}
