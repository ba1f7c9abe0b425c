//! What is seen while it runs: a bar on a terminal, a line for each task elsewhere. All on stderr, so
//! that the report can be piped.

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
    line: ConcurrencyBackpressureHandle,
    retried: Retried,
}

/// How many attempts were tried again. Clones count together.
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
    /// Hidden by itself if stderr is no terminal.
    pub(crate) fn start(
        args: &Args,
        target: &Target,
        line: ConcurrencyBackpressureHandle,
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
        bar.set_style(style(line.clone(), retried.clone()));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, line, retried }
    }

    pub(crate) fn ended(&self, number: usize, task: &Task) {
        self.bar.inc(1);
        if !self.bar.is_hidden() {
            return;
        }
        if let Some((at, outcome)) = &task.ended {
            let (at, attempts) = (secs(*at), task.attempts.len());
            let (queued, in_flight) = (self.line.waiting(), self.line.in_flight());
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

/// The bar asks for the counts itself, each time it is drawn.
fn style(line: ConcurrencyBackpressureHandle, retried: Retried) -> ProgressStyle {
    let queued = line.clone();
    ProgressStyle::with_template(
        "{spinner:.cyan} {bar:30.cyan/dim} {pos}/{len} done  {queued} queued  {in_flight} in flight  \
         {retried} retried  {elapsed:.dim}",
    )
    .expect("the template is right")
    .progress_chars("━╸─")
    .with_key("queued", move |_: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{}", queued.waiting());
    })
    .with_key("in_flight", move |_: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{}", line.in_flight());
    })
    .with_key("retried", move |_: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{}", retried.count());
    })
}
