//! Lets contenders run in turns, so that they can be compared within a round.

use std::{hint::black_box, time::Instant};

use allocation_counter::{measure, opt_out};

use crate::{
    args::Pace,
    field::{Contender, Field, Role},
    instructions,
    report::{ALLOCATIONS, Figure, INSTRUCTIONS, NANOS, Section},
};

/// Runs so many calls.
pub(crate) type Batch = Box<dyn FnMut(u32) + Send>;

/// Long enough for the caches to be warm, too short to be interrupted often.
const CALLS: u32 = 10_000;

/// Time, instructions if there is somebody to count them, and allocations of a call.
pub(crate) fn counted(field: &Field, pace: Pace) -> Section {
    race(field, pace, true)
}

/// Time and allocations of a call.
pub(crate) fn timed(field: &Field, pace: Pace) -> Section {
    race(field, pace, false)
}

fn race(field: &Field, pace: Pace, count: bool) -> Section {
    let rounds = pace.pick(1, 60, 400);
    let calls = pace.pick(200, CALLS, CALLS);
    let contenders = &field.contenders;
    let mut batches: Vec<Batch> = contenders.iter().map(|contender| (contender.make)()).collect();

    let mut nanos = vec![Vec::new(); batches.len()];
    let mut order: Vec<usize> = (0..batches.len()).collect();
    uncounted(|| {
        for _ in 0..rounds {
            fastrand::shuffle(&mut order);
            for &turn in &order {
                let calls = (calls / contenders[turn].share).max(1);
                let time = nanos_per_call(&mut batches[turn], calls, fastrand::u32(..64));
                nanos[turn].push(time);
            }
        }
    });

    let mut section = Section::new(&field.title);
    let instructions = if count { instructions::of(field, pace) } else { None };
    for (place, Contender { who, share, .. }) in contenders.iter().enumerate() {
        if who.role == Role::Empty {
            continue;
        }
        let above = nanos[place].iter().zip(&nanos[0]).map(|(own, empty)| own - empty);
        section.push(who, NANOS, above.collect());
        if let Some(instructions) = &instructions {
            section.push(who, INSTRUCTIONS, vec![instructions[place] - instructions[0]]);
        }
        let calls = (1_000 / share).max(1);
        let counted = measure(|| batches[place](calls));
        section.push(who, ALLOCATIONS, vec![counted.count_total as f64 / f64::from(calls)]);
    }
    if count && !instructions::available() {
        section.note = Some("Instructions are not counted: valgrind is not installed.".to_owned());
    }
    section
}

/// Rounds in which each contender is measured once, in a new random order each time.
pub(crate) fn rounds<M>(
    field: &Field<M>,
    rounds: usize,
    mut run: impl FnMut(&Contender<M>) -> Vec<(Figure, f64)>,
) -> Section {
    let mut samples: Vec<Vec<(Figure, Vec<f64>)>> =
        field.contenders.iter().map(|_| Vec::new()).collect();
    let mut order: Vec<usize> = (0..field.contenders.len()).collect();
    for _ in 0..rounds {
        fastrand::shuffle(&mut order);
        for &turn in &order {
            for (place, (figure, value)) in run(&field.contenders[turn]).into_iter().enumerate() {
                match samples[turn].get_mut(place) {
                    Some((_, values)) => values.push(value),
                    None => samples[turn].push((figure, vec![value])),
                }
            }
        }
    }
    let mut section = Section::new(&field.title);
    for (contender, samples) in field.contenders.iter().zip(samples) {
        for (figure, values) in samples {
            section.push(&contender.who, figure, values);
        }
    }
    section
}

/// Runs a batch so many levels down the stack. A random number of them puts it anywhere on a page:
/// where a future happens to lie makes a difference to how fast it is moved, and is nobody's merit.
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

/// While this runs the allocator doesn't count, so that who allocates doesn't pay for it.
pub(crate) fn uncounted<T>(run: impl FnOnce() -> T) -> T {
    let mut value = None;
    opt_out(|| value = Some(run()));
    value.expect("it has run")
}
