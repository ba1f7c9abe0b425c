//! Rounds in which each contender is measured once, in a new random order each time.

use crate::{
    contenders::{Comparison, Contender},
    report::{Figure, Section},
};

pub(crate) fn rounds<M>(
    comparison: &Comparison<M>,
    rounds: usize,
    mut run: impl FnMut(&Contender<M>) -> Vec<(Figure, f64)>,
) -> Section {
    let mut samples: Vec<Vec<(Figure, Vec<f64>)>> =
        comparison.contenders.iter().map(|_| Vec::new()).collect();
    let mut order: Vec<usize> = (0..comparison.contenders.len()).collect();
    for _ in 0..rounds {
        fastrand::shuffle(&mut order);
        for &turn in &order {
            let figures = run(&comparison.contenders[turn]);
            for (place, (figure, value)) in figures.into_iter().enumerate() {
                match samples[turn].get_mut(place) {
                    Some((_, values)) => values.push(value),
                    None => samples[turn].push((figure, vec![value])),
                }
            }
        }
    }
    let mut section = Section::new(&comparison.title);
    for (contender, samples) in comparison.contenders.iter().zip(samples) {
        for (figure, values) in samples {
            section.push(&contender.label, figure, values);
        }
    }
    section
}
