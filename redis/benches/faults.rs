//! Plays a fleet of four processes and faults, and prints the tables of `docs/faults.md`.
//!
//! ```text
//! cargo bench -p tower-floodgate-redis --bench faults
//! ```

#![allow(clippy::unwrap_used, reason = "a scene that panics has failed")]
#![allow(clippy::disallowed_methods, reason = "scenes take real time")]

#[path = "../tests/fleet/process.rs"]
mod process;
#[path = "../tests/fleet/scene.rs"]
mod scene;
#[allow(dead_code, reason = "the suites use more of it")]
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "../tests/fleet/trail.rs"]
mod trail;

use std::{ffi::OsString, time::Duration};

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use tokio::join;
use tower_floodgate::shared::Away;

use self::{
    process::Load,
    scene::{Fault, Outcome, Scene},
};

const SECOND: Duration = Duration::from_secs(1);

const FAULTS: &[Fault] = &[
    Fault::None,
    Fault::Flush,
    Fault::Restore,
    Fault::KillServer,
    Fault::KillServerWithLog,
    Fault::Promote,
    Fault::PauseClients,
    Fault::StopServer,
    Fault::FlushScripts,
    Fault::StopProcess,
    Fault::KillProcess,
    Fault::Delay,
    Fault::DelayBeyondTimeout,
    Fault::Silence,
    Fault::Cut,
    Fault::Trickle,
];

#[tokio::main(flavor = "current_thread")]
async fn run() {
    lengths().await;
    faults().await;
    modes().await;
}

fn main() {
    // `cargo test` runs benches, too: the suite plays these scenes.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    if !process::run_if_started_as_one() && is_bench {
        run();
    }
}

/// Plays a scene, and tells of it on the standard error.
async fn play(scene: Scene) -> Outcome {
    let arguments: [OsString; 0] = [];
    let outcome = scene.play(&arguments).await;
    eprintln!("{scene:?}: {}", outcome.summary());
    outcome.check();
    outcome
}

/// Limits and windows, without a fault.
async fn lengths() {
    let header =
        ["N", "W", "most in any span", "share of N used", "bursty: most", "requests/s per process"];
    let mut table = headed(header);
    for window in [SECOND / 10, SECOND, SECOND * 10] {
        for limit in [10, 100, 1000, 10_000] {
            let scene = Scene::new(limit, window, Fault::None);
            let after = (window * 2).max(SECOND * 4);
            let scene = Scene { before: window / 2, after, ..scene };
            let bursty = Scene { load: Load::Bursty, ..scene };
            let (saturating, bursty) = if window > SECOND {
                // Both of them mostly wait.
                join!(play(scene), play(bursty))
            } else {
                (play(scene).await, play(bursty).await)
            };
            table.add_row([
                grouped(limit as usize),
                format!("{window:?}"),
                most(&saturating),
                share(&saturating),
                most(&bursty),
                format!("{:.0}", saturating.requests_per_second()),
            ]);
        }
    }
    println!("\n{table}");
}

/// Faults, with a limit of 1000 and a window of a second.
async fn faults() {
    let header = [
        "fault",
        "promised",
        "saturating: most",
        "bursty: most",
        "steady: most",
        "share of N used",
        "longest time without an issue",
        "requests/s per process",
    ];
    let mut table = headed(header);
    for &fault in FAULTS {
        for is_strict in [false, true] {
            if is_strict && !fault.is_loss() {
                continue;
            }
            let scene = Scene {
                is_strict,
                before: SECOND * 5 / 2,
                after: SECOND * 7 / 2,
                ..Scene::new(1000, SECOND, fault)
            };
            let (saturating, bursty, steady) = join!(
                play(scene),
                play(Scene { load: Load::Bursty, ..scene }),
                play(Scene { load: Load::Steady, ..scene }),
            );
            table.add_row([
                format!("{fault}{}", if is_strict { ", strict" } else { "" }),
                promised(&steady),
                most(&saturating),
                most(&bursty),
                most(&steady),
                share(&steady),
                gap(&steady),
                format!("{:.0}", steady.requests_per_second()),
            ]);
        }
    }
    println!("\n{table}");
}

/// The modes while the store is away, with a load of ten times the limit.
async fn modes() {
    let header = ["mode", "promised", "most in any span", "without a lease", "longest gap"];
    let mut table = headed(header);
    for away in [Away::Closed, Away::Share { processes: Scene::PROCESSES }, Away::Open] {
        let scene = Scene {
            away,
            load: Load::Heavy,
            before: SECOND * 5 / 2,
            after: SECOND * 7 / 2,
            ..Scene::new(1000, SECOND, Fault::StopServerForLong)
        };
        let outcome = play(scene).await;
        table.add_row([
            format!("`{away:?}`"),
            promised(&outcome),
            most(&outcome),
            grouped(usize::try_from(outcome.alone()).unwrap()),
            gap(&outcome),
        ]);
    }
    println!("\n{table}");
}

fn promised(outcome: &Outcome) -> String {
    outcome.bound().map_or("none".to_owned(), grouped)
}

fn most(outcome: &Outcome) -> String {
    match outcome.late() {
        0 => grouped(outcome.most()),
        late => format!("{} ({late} late)", grouped(outcome.most())),
    }
}

fn share(outcome: &Outcome) -> String {
    format!("{:.3}", outcome.used())
}

fn gap(outcome: &Outcome) -> String {
    format!("{} ms", outcome.longest_gap().as_millis())
}

/// Returns a number with commas between groups of three digits.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
    let text = groups.join(&b',');
    String::from_utf8(text).unwrap()
}

fn headed<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
