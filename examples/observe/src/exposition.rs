//! Reads samples back from Prometheus's text format.

use std::collections::BTreeMap;

/// The samples of one scrape, each with its name and its labels.
pub(crate) struct Samples(Vec<(String, BTreeMap<String, String>, f64)>);

impl Samples {
    /// Reads the lines of a recorder. The values of its labels have no `}` and no `"`.
    pub(crate) fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(sample).collect())
    }

    /// Returns the sum of the samples of `metric` that have all of `labels`: 0 without any.
    pub(crate) fn sum(&self, metric: &str, labels: &BTreeMap<&'static str, &'static str>) -> f64 {
        let is_one = |of: &BTreeMap<String, String>| {
            labels.iter().all(|(name, value)| of.get(*name).is_some_and(|it| it == value))
        };
        let samples = self.0.iter().filter(|(name, of, _)| name == metric && is_one(of));
        samples.fold(0.0, |sum, (_, _, value)| sum + value)
    }
}

fn sample(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels.trim_end_matches('}').split("\",").filter_map(|label| {
        let (name, value) = label.split_once("=\"")?;
        Some((name.to_owned(), value.trim_end_matches('"').to_owned()))
    });
    Some((name.to_owned(), labels.collect(), value.parse().ok()?))
}
