//! The results as tables.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use super::{figures::Figures, load::Importance, plot::Results, run::Run, scene::Scene};

/// The candidates in one scene.
pub(crate) fn scene(scene: &Scene, results: Results<'_>) -> Table {
    let mut table = table([
        "limit",
        "offered per s",
        "in time per s",
        "of capacity",
        "p50 ms",
        "p99 ms",
        "rejected",
        "late",
        "mean limit",
    ]);
    let capacity = results.capacity * scene.share();
    for run in results.runs {
        let figures = Figures::of(run, &scene.settled());
        table.add_row([
            run.candidate.name(results.kind),
            format!("{:.0}", figures.offered),
            format!("{:.0}", figures.goodput),
            percent(figures.goodput / capacity),
            milliseconds(figures.median),
            milliseconds(figures.p99),
            percent(figures.rejected),
            percent(figures.late),
            figures.limit.map_or("-".to_owned(), |limit| format!("{limit:.1}")),
        ]);
    }
    table
}

/// The shares of each class that are in time.
pub(crate) fn classes(scenes: &[Scene], run: &Run) -> Table {
    let [critical, normal, sheddable] = Importance::ALL.map(Importance::name);
    let mut table = table(["in time", critical, normal, sheddable]);
    for scene in scenes {
        let in_time = |class| Figures::of_class(run, &scene.settled(), class).in_time();
        let [critical, normal, sheddable] = Importance::ALL.map(in_time).map(percent);
        table.add_row([scene.name.to_owned(), critical, normal, sheddable]);
    }
    table
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

fn milliseconds(time: Option<Duration>) -> String {
    time.map_or("-".to_owned(), |time| format!("{:.0}", 1000.0 * time.as_secs_f64()))
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
