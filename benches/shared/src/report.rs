//! Tables, and the numbers in them.

use std::fmt;

/// A table of figures: a line for each contender.
pub(crate) struct Table {
    title: String,
    columns: Vec<&'static str>,
    lines: Vec<(String, Vec<String>)>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, columns: &[&'static str]) -> Self {
        Self { title: title.into(), columns: columns.to_vec(), lines: Vec::new() }
    }

    pub(crate) fn line(&mut self, label: impl Into<String>, cells: Vec<String>) {
        self.lines.push((label.into(), cells));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let cell = |cells: &[String], at: usize| cells.get(at).cloned().unwrap_or_default();
        let label = self.lines.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (self.columns.iter().enumerate())
            .map(|(at, column)| {
                let cells = self.lines.iter().map(|(_, cells)| cell(cells, at).chars().count());
                cells.chain([column.chars().count()]).max().unwrap_or(0)
            })
            .collect();
        write!(f, "{:label$}", "")?;
        for (column, width) in self.columns.iter().zip(&widths) {
            write!(f, "   {column:>width$}")?;
        }
        for (name, cells) in &self.lines {
            write!(f, "\n{name:label$}")?;
            for (at, width) in widths.iter().enumerate() {
                write!(f, "   {:>width$}", cell(cells, at))?;
            }
        }
        writeln!(f)
    }
}

/// Returns a number with three digits.
pub(crate) fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value:.0}");
    }
    let digits = 2 - value.abs().log10().floor() as i32;
    if digits >= 0 { format!("{value:.*}", digits as usize) } else { thousands(value) }
}

fn thousands(value: f64) -> String {
    let text = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in text.chars().enumerate() {
        if at > 0 && (text.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Returns a share as a percentage.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Returns the value that this share of the `values` is below.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Returns the median of the ratios within the rounds.
pub(crate) fn ratio(values: &[f64], to: &[f64]) -> f64 {
    median(&values.iter().zip(to).map(|(value, to)| value / to).collect::<Vec<_>>())
}
