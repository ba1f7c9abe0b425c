//! Medians and percentiles.

pub(crate) fn median(values: &[f64]) -> Option<f64> {
    percentile(values, 50)
}

/// Returns the value that `percent` of the `values` are below.
pub(crate) fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get((values.len() * percent / 100).min(values.len().saturating_sub(1))).copied()
}
