//! Figures of contenders, and their ratios to each other.

use crate::field::{Role, Who};

/// Something measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// What is better.
    pub(crate) better: Better,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Less,
    More,
    /// Nobody counts it in ratios.
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

/// Contenders that are compared with each other.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) note: Option<String>,
    /// Where it stands in a plot: of which sections, and at how many waiters.
    pub(crate) at: Option<(String, usize)>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) rows: Vec<Row>,
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) who: Who,
    /// Of each figure one for each round, or one in all.
    samples: Vec<(Figure, Vec<f64>)>,
}

impl Row {
    fn samples(&self, figure: Figure) -> Option<&[f64]> {
        let found = self.samples.iter().find(|(of, _)| *of == figure)?;
        Some(&found.1)
    }

    pub(crate) fn value(&self, figure: Figure) -> Option<f64> {
        median(self.samples(figure)?)
    }
}

impl Section {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), note: None, at: None, figures: Vec::new(), rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, who: &Who, figure: Figure, samples: Vec<f64>) {
        if !self.figures.contains(&figure) {
            self.figures.push(figure);
        }
        let place =
            self.rows.iter().position(|row| row.who.name == who.name).unwrap_or_else(|| {
                self.rows.push(Row { who: who.clone(), samples: Vec::new() });
                self.rows.len() - 1
            });
        self.rows[place].samples.push((figure, samples));
    }

    pub(crate) fn contenders(&self) -> impl Iterator<Item = &Who> {
        self.rows.iter().map(|row| &row.who)
    }

    /// The median of a figure of a contender.
    pub(crate) fn value(&self, name: &str, figure: Figure) -> Option<f64> {
        self.rows.iter().find(|row| row.who.name == name)?.value(figure)
    }

    /// The best neighbour that does the same, or else the best that does something else.
    fn best(&self, figure: Figure) -> Option<&Row> {
        let best_of = |role: Role| {
            let rows = self.rows.iter().filter(|row| row.who.role == role);
            let valued = rows.filter_map(|row| Some((row.value(figure)?, row)));
            let ordered = |a: &f64, b: &f64| match figure.better {
                Better::More => b.total_cmp(a),
                Better::Less | Better::Neither => a.total_cmp(b),
            };
            valued.min_by(|(a, _), (b, _)| ordered(a, b)).map(|(_, row)| row)
        };
        best_of(Role::Same).or_else(|| best_of(Role::Other))
    }

    pub(crate) fn references(&self, figure: Figure) -> References<'_> {
        if figure.better == Better::Neither {
            return References::default();
        }
        let has = |row: &&Row| row.samples(figure).is_some();
        References {
            best: self.best(figure),
            governor: self.rows.iter().filter(has).find(|row| row.who.name == "governor"),
            floor: self.rows.iter().filter(has).find(|row| row.who.role == Role::Floor),
        }
    }
}

/// Whom the others are compared with.
#[derive(Default)]
pub(crate) struct References<'a> {
    pub(crate) best: Option<&'a Row>,
    pub(crate) governor: Option<&'a Row>,
    pub(crate) floor: Option<&'a Row>,
}

/// Within each round where there are rounds.
pub(crate) fn ratio(row: &Row, reference: &Row, figure: Figure) -> Option<f64> {
    let (own, other) = (row.samples(figure)?, reference.samples(figure)?);
    let ratio = if own.len() == other.len() {
        median(&own.iter().zip(other).map(|(own, other)| own / other).collect::<Vec<_>>())?
    } else {
        median(own)? / median(other)?
    };
    ratio.is_finite().then_some(ratio)
}

pub(crate) fn median(values: &[f64]) -> Option<f64> {
    percentile(values, 50)
}

/// The value below which so many percent of the `values` are.
pub(crate) fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get((values.len() * percent / 100).min(values.len().saturating_sub(1))).copied()
}
