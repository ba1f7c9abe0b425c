//! The issues of a process, in a file that outlives it.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tower_floodgate::shared::SharedRateLimitHandle;

/// A record is a number of 64 bits: its kind in the highest byte, and its value.
const ISSUE: u64 = 0;
const LATE: u64 = 1;
const REQUESTS: u64 = 2;
const FAILURES: u64 = 3;
const ALONE: u64 = 4;
const KIND: u32 = 56;

/// Returns the time of the machine's monotonic clock, which all its processes share.
pub(crate) fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap())
}

/// Writes issues from another thread, so that a write delays none.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    issues: Arc<Mutex<Vec<Duration>>>,
    writer: Arc<Mutex<Writer>>,
}

#[derive(Debug)]
struct Writer {
    file: File,
    handle: SharedRateLimitHandle,
    latest: [u64; 4],
}

impl Recorder {
    pub(crate) fn start(path: &Path, handle: SharedRateLimitHandle) -> Self {
        let writer = Writer { file: File::create(path).unwrap(), handle, latest: [0; 4] };
        let this = Self { issues: Arc::default(), writer: Arc::new(Mutex::new(writer)) };
        let other = this.clone();
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_millis(1));
                other.write();
            }
        });
        this
    }

    /// Records an issue, after its call has returned: if it was late, it has been counted as late.
    pub(crate) fn record(&self, issued: Duration) {
        lock(&self.issues).push(issued);
    }

    /// Writes all records of this moment.
    pub(crate) fn write(&self) {
        let mut writer = lock(&self.writer);
        let issues = std::mem::take(&mut *lock(&self.issues));
        // After the issues were taken, so that those which were late are known as such, even if the
        // process is killed right after the write.
        let fleet = writer.handle.snapshot().store;
        let alone = fleet.issued_alone + fleet.issued_unlimited;
        let counts = [fleet.issued_late, fleet.store_requests, fleet.store_failures, alone];
        let mut records = Vec::new();
        for (kind, (count, latest)) in (LATE..).zip(counts.iter().zip(&mut writer.latest)) {
            if std::mem::replace(latest, *count) != *count {
                records.extend((kind << KIND | count).to_le_bytes());
            }
        }
        for issue in issues {
            let nanos = u64::try_from(issue.as_nanos()).unwrap();
            records.extend((ISSUE << KIND | nanos).to_le_bytes());
        }
        writer.file.write_all(&records).unwrap();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// The records of a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    pub(crate) issues: Vec<Duration>,
    pub(crate) late: u64,
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    /// Issues without a lease, by the mode of the quota while the store was away.
    pub(crate) alone: u64,
}

impl Trail {
    /// Reads the records that a process has written so far.
    pub(crate) fn read(path: &PathBuf) -> Self {
        let mut this = Self::default();
        // A process that has just been started has no file yet.
        for record in fs::read(path).unwrap_or_default().chunks_exact(8) {
            let record = u64::from_le_bytes(record.try_into().unwrap());
            let value = record & ((1 << KIND) - 1);
            match record >> KIND {
                ISSUE => this.issues.push(Duration::from_nanos(value)),
                LATE => this.late = value,
                REQUESTS => this.requests = value,
                FAILURES => this.failures = value,
                ALONE => this.alone = value,
                kind => panic!("a record of kind {kind}"),
            }
        }
        this
    }
}

/// Returns the most of `times`, which are sorted, in any half-open span of this length.
///
/// A span with the most can be moved on until it begins with one of the times, and loses none.
pub(crate) fn most_in_any_span(times: &[Duration], length: Duration) -> usize {
    let (mut most, mut end) = (0, 0);
    for (begin, &time) in times.iter().enumerate() {
        while end < times.len() && times[end] < time + length {
            end += 1;
        }
        most = most.max(end - begin);
    }
    most
}

/// Returns the share of `limit` that was issued: the least time that the limit lets so many whole
/// windows take, by the time that they took. `times` are sorted.
pub(crate) fn used_share(times: &[Duration], limit: u32, window: Duration) -> f64 {
    let Some(last) = times.len().checked_sub(1) else { return 0.0 };
    let issues = match last - last % limit as usize {
        0 => last,
        whole => whole,
    };
    let took = (times[issues] - times[0]).max(window);
    issues as f64 / f64::from(limit) * window.as_secs_f64() / took.as_secs_f64()
}
