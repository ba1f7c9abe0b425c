//! Instructions per call, counted by callgrind in this very program, run again for one contender.
//!
//! Once with so many calls and once with twice as many: the difference is the calls'. What the kernel does
//! isn't counted; valgrind has no vDSO, so a clock that is read there is a system call of a few
//! instructions, and governor's clock may be another one than without valgrind. Where time counts, more of it
//! passes between two calls than else: there the figures are close, and not exact.

use std::{
    env,
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::{
    args::Pace,
    field::{Contender, Field},
    race::{Batch, uncounted},
};

const CALLS: u32 = 2_000;

/// Whether callgrind can be run here.
pub(crate) fn available() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    })
}

/// Of each contender. `None` without valgrind.
pub(crate) fn of(field: &Field, pace: Pace) -> Option<Vec<f64>> {
    if pace == Pace::Once || !available() {
        return None;
    }
    let per_call = |contender: &Contender<Batch>| {
        let calls = (CALLS / contender.share).max(1);
        let path = format!("{}/{}", field.title, contender.who.name);
        let [once, twice] = [calls, 2 * calls].map(|calls| collected(&path, calls));
        (twice as f64 - once as f64) / f64::from(calls)
    };
    Some(field.contenders.iter().map(per_call).collect())
}

fn collected(path: &str, calls: u32) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*instructions*measured*")
        .arg(env::current_exe().expect("this program"))
        .args(["--count", path, "--calls", &calls.to_string()])
        .output()
        .expect("valgrind was there before");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{path} failed under valgrind: {said}");
    let count = said.lines().find_map(|line| line.split_once("Collected :"));
    let (_, count) = count.expect("callgrind ends with what it has collected");
    count.trim().parse().expect("a number")
}

/// What runs under valgrind: the contender at this path.
pub(crate) fn child(fields: &[Field], path: &str, calls: u32) {
    let (title, name) = path.rsplit_once('/').expect("a field and a contender");
    let field = fields.iter().find(|field| field.title == title).expect("a field of this title");
    let contender = field.contenders.iter().find(|contender| contender.who.name == name);
    let mut batch = (contender.expect("a contender of this name").make)();
    uncounted(|| {
        // What is done once is done by now.
        batch(500);
        measured(&mut batch, calls);
    });
}

#[inline(never)]
fn measured(batch: &mut Batch, calls: u32) {
    batch(calls);
}
