//! A recorder of metrics whose values can be read.

use std::collections::BTreeMap;

use metrics::{
    LocalRecorderGuard, SharedString, Unit, set_default_local_recorder, with_local_recorder,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

/// The metrics that a recorder has got, by `name{label="value",...}`.
pub(crate) struct Recorded(BTreeMap<String, (Option<Unit>, Option<SharedString>, DebugValue)>);

/// Records the metrics of this thread while `run` runs. Handles that are registered meanwhile
/// record later, too: `read` returns all.
pub(crate) struct TestRecorder(DebuggingRecorder);

impl TestRecorder {
    pub(crate) fn new() -> Self {
        Self(DebuggingRecorder::new())
    }

    pub(crate) fn while_in<R>(&self, run: impl FnOnce() -> R) -> R {
        with_local_recorder(&self.0, run)
    }

    /// Records the metrics of this thread until the guard is dropped.
    pub(crate) fn install(&self) -> LocalRecorderGuard<'_> {
        set_default_local_recorder(&self.0)
    }

    /// Reads the metrics since the last reading.
    pub(crate) fn read(&self) -> Recorded {
        let snapshot = self.0.snapshotter().snapshot().into_vec();
        let values = snapshot.into_iter().map(|(key, unit, text, value)| {
            let key = key.key();
            let labels = key.labels().map(|label| format!("{}={:?}", label.key(), label.value()));
            let labels: Vec<_> = labels.collect();
            (format!("{}{{{}}}", key.name(), labels.join(",")), (unit, text, value))
        });
        Recorded(values.collect())
    }
}

impl Recorded {
    pub(crate) fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    fn value(&self, key: &str) -> &DebugValue {
        let (.., value) = self.0.get(key).unwrap_or_else(|| panic!("{key} of {:?}", self.keys()));
        value
    }

    pub(crate) fn counter(&self, key: &str) -> u64 {
        match self.value(key) {
            DebugValue::Counter(count) => *count,
            other => panic!("{key} is {other:?}"),
        }
    }

    pub(crate) fn gauge(&self, key: &str) -> f64 {
        match self.value(key) {
            DebugValue::Gauge(value) => value.into_inner(),
            other => panic!("{key} is {other:?}"),
        }
    }

    /// Returns the values of a histogram, in ascending order.
    pub(crate) fn histogram(&self, key: &str) -> Vec<f64> {
        match self.value(key) {
            DebugValue::Histogram(values) => {
                let mut values: Vec<_> = values.iter().map(|value| value.into_inner()).collect();
                values.sort_by(f64::total_cmp);
                values
            }
            other => panic!("{key} is {other:?}"),
        }
    }

    /// Returns the unit and the description of each metric.
    pub(crate) fn descriptions(&self) -> BTreeMap<&str, (Option<Unit>, Option<&str>)> {
        let described = self.0.iter().map(|(key, (unit, text, _))| {
            (key.split('{').next().unwrap_or_default(), (*unit, text.as_deref()))
        });
        described.collect()
    }
}
