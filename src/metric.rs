//! Metrics of the facade `metrics`, and the handles through which they are recorded.

use std::{panic::AssertUnwindSafe, sync::OnceLock};

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, Unit, with_recorder,
};

/// A metric: its name, its unit and its description.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    name: &'static str,
    unit: Unit,
    text: &'static str,
}

impl Metric {
    /// Creates a metric that counts.
    pub(crate) const fn count(name: &'static str, text: &'static str) -> Self {
        Self { name, unit: Unit::Count, text }
    }

    /// Creates a metric in seconds.
    pub(crate) const fn seconds(name: &'static str, text: &'static str) -> Self {
        Self { name, unit: Unit::Seconds, text }
    }

    pub(crate) fn key(self, labels: &[Label]) -> Key {
        Key::from_parts(self.name, labels.to_vec())
    }

    fn key_name(self) -> KeyName {
        KeyName::from_const_str(self.name)
    }

    /// Describes a metric to a recorder, and registers it.
    pub(crate) fn register<H: Handle>(self, recorder: &dyn Recorder, labels: &[Label]) -> H {
        H::describe(recorder, self);
        H::register(recorder, &self.key(labels))
    }
}

const METADATA: Metadata<'static> =
    Metadata::new("tower_floodgate", Level::INFO, Some(module_path!()));

/// A handle of a registered metric.
pub(crate) trait Handle {
    fn describe(recorder: &dyn Recorder, metric: Metric);

    fn register(recorder: &dyn Recorder, key: &Key) -> Self;
}

macro_rules! handle {
    ($handle:ty, $describe:ident, $register:ident) => {
        impl Handle for $handle {
            fn describe(recorder: &dyn Recorder, metric: Metric) {
                recorder.$describe(metric.key_name(), Some(metric.unit), metric.text.into());
            }

            fn register(recorder: &dyn Recorder, key: &Key) -> Self {
                recorder.$register(key, &METADATA)
            }
        }
    };
}

handle!(Counter, describe_counter, register_counter);
handle!(Gauge, describe_gauge, register_gauge);
handle!(Histogram, describe_histogram, register_histogram);

/// A handle that is registered with the first recorder that it meets.
///
/// A limit may be named before a recorder is installed, as in a `LazyLock`. The facade's no-op
/// recorder, which is current until then, returns handles that do nothing for ever. It is a type
/// without a size. So a handle from a recorder without a size is used once and not kept, and the
/// next use asks the recorder that is current by then. That costs no allocation, because the key is
/// kept.
pub(crate) struct LateHandle<H> {
    metric: Metric,
    key: Key,
    /// Unwind safe: a panic in a recorder leaves nothing of this crate half changed.
    handle: OnceLock<AssertUnwindSafe<H>>,
}

impl<H: Handle> LateHandle<H> {
    pub(crate) fn new(metric: Metric, labels: &[Label]) -> Self {
        let this = Self::unregistered(metric, labels);
        this.register();
        this
    }

    /// Creates the handle of a metric that has no value before it is recorded.
    pub(crate) fn unregistered(metric: Metric, labels: &[Label]) -> Self {
        Self { metric, key: metric.key(labels), handle: OnceLock::new() }
    }

    /// Registers the metric if there is a recorder, so that it has a value before its first event.
    pub(crate) fn register(&self) {
        if self.handle.get().is_none() {
            self.register_and(|_| {});
        }
    }

    #[inline]
    pub(crate) fn with(&self, record: impl FnOnce(&H)) {
        match self.handle.get() {
            Some(handle) => record(handle),
            None => self.register_and(record),
        }
    }

    #[cold]
    fn register_and(&self, record: impl FnOnce(&H)) {
        with_recorder(|recorder| {
            if size_of_val(recorder) == 0 {
                return record(&H::register(recorder, &self.key));
            }
            H::describe(recorder, self.metric);
            // Not by `get_or_init`, which waits: a recorder is foreign code. If two threads
            // register the metric, the recorder returns handles of one metric to both.
            let handle = H::register(recorder, &self.key);
            record(self.handle.get_or_init(|| AssertUnwindSafe(handle)));
        });
    }
}
