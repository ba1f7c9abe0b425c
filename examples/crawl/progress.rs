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

use humantime::format_duration;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use tower_floodgate::ConcurrencyBackpressureHandle;

use crate::{args::Args, log::Task, report::secs, target::Target};

pub(crate) struct Progress {
    bar: ProgressBar,
    concurrency: ConcurrencyBackpressureHandle,
    retried: Retried,
}

/// The number of retries. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Retried(Arc<AtomicU64>);

impl Retried {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Progress {
    /// Starts the bar, which hides itself if stderr is no terminal.
    pub(crate) fn start(
        args: &Args,
        target: &Target,
        concurrency: ConcurrencyBackpressureHandle,
        retried: Retried,
    ) -> Self {
        let Args { tasks, rate, queue, in_flight, attempts, .. } = args;
        let window = format_duration(args.window);
        eprintln!(
            "Crawling {target}\n\
             with --tasks {tasks} --rate {rate} --window {window} --queue {queue} \
             --in-flight {in_flight} --attempts {attempts}\n"
        );
        let bar = ProgressBar::new(*tasks as u64);
        bar.set_style(style(concurrency.clone(), retried.clone()));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, concurrency, retried }
    }

    pub(crate) fn ended(&self, number: usize, task: &Task) {
        self.bar.inc(1);
        if !self.bar.is_hidden() {
            return;
        }
        if let Some((at, outcome)) = &task.ended {
            let (at, attempts) = (secs(*at), task.attempts.len());
            let (queued, in_flight) = (self.concurrency.queued(), self.concurrency.in_flight());
            let (done, tasks) = (self.bar.position(), self.bar.length().unwrap_or_default());
            let retried = self.retried.count();
            eprintln!(
                "{at:>8} s  task {number}: {outcome}, attempt {attempts}  \
                 ({done} of {tasks} done, {queued} queued, {in_flight} in flight, {retried} retried)"
            );
        }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Makes a style that reads the counts each time the bar is drawn.
fn style(concurrency: ConcurrencyBackpressureHandle, retried: Retried) -> ProgressStyle {
    let queued = concurrency.clone();
    ProgressStyle::with_template(
        "{spinner:.cyan} {bar:30.cyan/dim} {pos}/{len} done  {queued} queued  {in_flight} in flight  \
         {retried} retried  {elapsed:.dim}",
    )
    .expect("the template is valid")
    .progress_chars("━╸─")
    .with_key("queued", move |_: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{}", queued.queued());
    })
    .with_key("in_flight", move |_: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{}", concurrency.in_flight());
    })
    .with_key("retried", move |_: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{}", retried.count());
    })
}
