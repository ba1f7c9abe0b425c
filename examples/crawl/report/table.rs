//! The tables of the report.

use std::time::Duration;

use comfy_table::{
    CellAlignment, ContentArrangement, Table, TableComponent, presets::UTF8_BORDERS_ONLY,
};

use super::{Promise, secs};
use crate::log::{Attempt, Task};

/// The width beyond which long outcomes are wrapped.
const WIDTH: u16 = 80;

/// Makes a table with a row for each attempt.
pub(super) fn of_tasks(tasks: &[Task]) -> Table {
    let header = ["Task", "Made", "Entry", "Try", "Waited", "Sent", "Ended", "Outcome"];
    let mut table = headed(header);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    for (number, task) in (1..).zip(tasks) {
        let made = [number.to_string(), secs(task.made), optional(task.admitted)];
        if task.attempts.is_empty() {
            table.add_row(made);
            continue;
        }
        let waits = [None].into_iter().chain(task.waits().map(Some));
        for (attempt, (nth, wait)) in task.attempts.iter().zip((1..).zip(waits)) {
            let made = if nth == 1 { made.clone() } else { Default::default() };
            let sent = [nth.to_string(), optional(wait), secs(attempt.sent)];
            let ended =
                [optional(attempt.ended.as_ref().map(|(at, _)| *at)), outcome(task, nth, attempt)];
            table.add_row(made.into_iter().chain(sent).chain(ended));
        }
    }
    let numbers = header.len() - 1;
    for column in table.column_iter_mut().take(numbers) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn outcome(task: &Task, nth: usize, attempt: &Attempt) -> String {
    match &attempt.ended {
        Some((_, outcome)) if outcome.is_success() => format!("✓ {outcome}"),
        Some((_, outcome)) if nth < task.attempts.len() => format!("↻ {outcome}"),
        Some((_, outcome)) => format!("✗ {outcome}"),
        None => "never ended".to_owned(),
    }
}

/// Makes a table with a row for each promise.
pub(super) fn of_promises(promises: &[Promise]) -> Table {
    let mut table = headed(["", "Promise", "Measured", "Promised"]);
    for Promise { what, measured, promised, kept } in promises {
        let mark = match kept {
            Some(true) => "✓ kept",
            Some(false) => "✗ BROKEN",
            None => "– unchecked",
        };
        table.add_row([mark, what, measured, promised]);
    }
    table
}

fn headed<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_BORDERS_ONLY)
        .remove_style(TableComponent::VerticalLines)
        .set_header(header);
    table
}

fn optional(time: Option<Duration>) -> String {
    time.map(secs).unwrap_or_default()
}
