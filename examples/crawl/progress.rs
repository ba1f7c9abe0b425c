//! The progress on stderr: a bar on a terminal, elsewhere a line of text for each task.
//!
//! The report alone is on stdout, so that it can be piped.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use tower_floodgate::retry::Decision;

use crate::{log::Task, report::secs};

pub(crate) struct Progress {
    bar: ProgressBar,
    counts: Counts,
    retried: Retried,
}

/// Reads the numbers of queued and of in flight.
type Counts = Arc<dyn Fn() -> (u32, u32) + Send + Sync>;

/// The number of retries. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Retried(Arc<AtomicU64>);

impl Retried {
    pub(crate) fn note(&self, decision: &Decision) {
        if decision.retry_in().is_ok() {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Progress {
    /// Starts the bar, which hides itself if stderr is no terminal.
    ///
    /// `counts` reads the numbers of queued and of in flight.
    pub(crate) fn start(
        heading: &str,
        tasks: usize,
        counts: impl Fn() -> (u32, u32) + Send + Sync + 'static,
        retried: Retried,
    ) -> Self {
        eprintln!("{heading}");
        let counts: Counts = Arc::new(counts);
        let bar = ProgressBar::new(tasks as u64);
        bar.set_style(style(Arc::clone(&counts), retried.clone()));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, counts, retried }
    }

    pub(crate) fn ended(&self, name: &str, task: &Task) {
        self.bar.inc(1);
        if !self.bar.is_hidden() {
            return;
        }
        if let Some((at, outcome)) = &task.ended {
            let (at, attempts) = (secs(*at), task.attempts.len());
            let (queued, in_flight) = (self.counts)();
            let (done, tasks) = (self.bar.position(), self.bar.length().unwrap_or_default());
            let retried = self.retried.count();
            eprintln!(
                "{at:>8} s  {name}: {outcome}, attempt {attempts}  \
                 ({done} of {tasks} done, {queued} queued, {in_flight} in flight, {retried} retried)"
            );
        }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Makes a style that reads the counts each time the bar is drawn.
fn style(counts: Counts, retried: Retried) -> ProgressStyle {
    let queued = Arc::clone(&counts);
    ProgressStyle::with_template(
        "{spinner:.cyan} {bar:30.cyan/dim} {pos}/{len} done  {queued} queued  {in_flight} in flight  \
         {retried} retried  {elapsed:.dim}",
    )
    .expect("the template is valid")
    .progress_chars("━╸─")
    .with_key("queued", move |_: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{}", queued().0);
    })
    .with_key("in_flight", move |_: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{}", counts().1);
    })
    .with_key("retried", move |_: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{}", retried.count());
    })
}
