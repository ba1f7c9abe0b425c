//! Instructions per call, counted by callgrind in this program, run again for one contender.
//!
//! One run makes n calls and one makes 2n; the difference is that of n calls. The kernel's
//! instructions are not counted. valgrind has no vDSO, so a clock read there is a system call of a
//! few instructions, and governor may use another clock than without valgrind. More time passes
//! between two calls than without valgrind: where time matters, counts are close but not exact.

use std::{
    env,
    process::{Command, Stdio},
    sync::OnceLock,
};

use super::allocations::uncounted;
use crate::{
    batch::Batch,
    contenders::{Comparison, Contender},
    pace::Pace,
};

const CALLS: u32 = 2_000;

/// Returns whether callgrind can be run here.
pub(crate) fn available() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    })
}

/// Returns the instructions per call of each contender, or `None` without valgrind.
pub(crate) fn of(comparison: &Comparison, pace: Pace) -> Option<Vec<f64>> {
    if pace == Pace::Once || !available() {
        return None;
    }
    let per_call = |contender: &Contender<Batch>| {
        let calls = (CALLS / contender.share).max(1);
        let path = format!("{}/{}", comparison.title, contender.label.name);
        let [once, twice] = [calls, 2 * calls].map(|calls| collected(&path, calls));
        (twice as f64 - once as f64) / f64::from(calls)
    };
    Some(comparison.contenders.iter().map(per_call).collect())
}

fn collected(path: &str, calls: u32) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*instructions*measured*")
        .arg(env::current_exe().expect("the path of this program"))
        .args(["--count", path, "--calls", &calls.to_string()])
        .output()
        .expect("valgrind has printed its version");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{path} failed under valgrind: {said}");
    let count = said.lines().find_map(|line| line.split_once("Collected :"));
    let (_, count) = count.expect("callgrind ends with its count");
    count.trim().parse().expect("the count is a number")
}

/// Runs the contender at `path`, under valgrind.
pub(crate) fn child(comparisons: &[Comparison], path: &str, calls: u32) {
    let (title, name) = path.rsplit_once('/').expect("the path has a comparison and a contender");
    let comparison = comparisons.iter().find(|comparison| comparison.title == title);
    let contenders = &comparison.expect("a comparison has this title").contenders;
    let contender = contenders.iter().find(|contender| contender.label.name == name);
    let mut batch = (contender.expect("a contender has this name").make)();
    uncounted(|| {
        // Work that is done once is done here.
        batch(500);
        measured(&mut batch, calls);
    });
}

#[inline(never)]
fn measured(batch: &mut Batch, calls: u32) {
    batch(calls);
}
