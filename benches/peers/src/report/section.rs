//! The figures of one comparison, and their ratios.

use super::{
    figure::{Better, Figure},
    stats::median,
};
use crate::contenders::{Label, Role};

/// The figures of one comparison.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) note: Option<String>,
    /// The place in a plot: the title of the panel, and the number of waiters.
    pub(crate) at: Option<(String, usize)>,
    pub(super) figures: Vec<Figure>,
    pub(super) rows: Vec<Row>,
}

/// The figures of one contender.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) label: Label,
    /// The samples of each figure: one per round, or a single one.
    samples: Vec<(Figure, Vec<f64>)>,
}

impl Row {
    fn samples(&self, figure: Figure) -> Option<&[f64]> {
        let found = self.samples.iter().find(|(of, _)| *of == figure)?;
        Some(&found.1)
    }

    pub(super) fn value(&self, figure: Figure) -> Option<f64> {
        median(self.samples(figure)?)
    }
}

impl Section {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), note: None, at: None, figures: Vec::new(), rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, label: &Label, figure: Figure, samples: Vec<f64>) {
        if !self.figures.contains(&figure) {
            self.figures.push(figure);
        }
        let place =
            self.rows.iter().position(|row| row.label.name == label.name).unwrap_or_else(|| {
                self.rows.push(Row { label: label.clone(), samples: Vec::new() });
                self.rows.len() - 1
            });
        self.rows[place].samples.push((figure, samples));
    }

    pub(super) fn contenders(&self) -> impl Iterator<Item = &Label> {
        self.rows.iter().map(|row| &row.label)
    }

    /// Returns the median of a figure of a contender.
    pub(super) fn value(&self, name: &str, figure: Figure) -> Option<f64> {
        self.rows.iter().find(|row| row.label.name == name)?.value(figure)
    }

    /// Returns the best peer that does the same job, or else the best of the other peers.
    fn best(&self, figure: Figure) -> Option<&Row> {
        let best_of = |role: Role| {
            let rows = self.rows.iter().filter(|row| row.label.role == role);
            let valued = rows.filter_map(|row| Some((row.value(figure)?, row)));
            let ordered = |a: &f64, b: &f64| match figure.better {
                Better::More => b.total_cmp(a),
                Better::Less | Better::Neither => a.total_cmp(b),
            };
            valued.min_by(|(a, _), (b, _)| ordered(a, b)).map(|(_, row)| row)
        };
        best_of(Role::Same).or_else(|| best_of(Role::Other))
    }

    pub(super) fn references(&self, figure: Figure) -> References<'_> {
        if figure.better == Better::Neither {
            return References::default();
        }
        let has = |row: &&Row| row.samples(figure).is_some();
        References {
            best: self.best(figure),
            governor: self.rows.iter().filter(has).find(|row| row.label.name == "governor"),
            floor: self.rows.iter().filter(has).find(|row| row.label.role == Role::Floor),
        }
    }
}

/// The rows that ratios are to.
#[derive(Default)]
pub(super) struct References<'a> {
    pub(super) best: Option<&'a Row>,
    pub(super) governor: Option<&'a Row>,
    pub(super) floor: Option<&'a Row>,
}

/// Returns the median of the ratios within the rounds, or without rounds the ratio of the medians.
///
/// Returns `None` if it is not positive: a time close to the empty service's has no ratio.
pub(super) fn ratio(row: &Row, reference: &Row, figure: Figure) -> Option<f64> {
    let (own, other) = (row.samples(figure)?, reference.samples(figure)?);
    let ratio = if own.len() == other.len() {
        median(&own.iter().zip(other).map(|(own, other)| own / other).collect::<Vec<_>>())?
    } else {
        median(own)? / median(other)?
    };
    (ratio.is_finite() && ratio > 0.0).then_some(ratio)
}
