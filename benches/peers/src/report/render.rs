//! Figures and ratios as tables or as lines of JSON.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use super::section::{References, Row, Section, ratio};

/// Returns a scenario as tables.
pub(crate) fn tables(scenario: &str, sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        text += &format!("{scenario} · {}\n{}", section.title, table(section));
        if let Some(note) = &section.note {
            text += &format!("{note}\n");
        }
        text.push('\n');
    }
    text
}

/// Returns a scenario as a line of JSON for each figure.
pub(crate) fn lines(scenario: &str, sections: &[Section]) -> String {
    let lines = sections.iter().flat_map(|section| json(section, scenario));
    lines.map(|line| line + "\n").collect()
}

fn table(section: &Section) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let mut header = vec![String::new(), String::new()];
    for &figure in &section.figures {
        header.push(format!("{}\n{}", figure.name, figure.unit));
        let References { best, governor, floor } = section.references(figure);
        header.extend(best.map(|best| format!("to {}", best.label.name.replacen(' ', "\n", 1))));
        header.extend(governor.map(|_| "to\ngovernor".to_owned()));
        header.extend(floor.map(|_| "to\nfloor".to_owned()));
    }
    table.set_header(header);
    for row in &section.rows {
        let mut cells = vec![row.label.name.clone(), row.label.does.to_owned()];
        for &figure in &section.figures {
            cells.push(row.value(figure).map_or_else(String::new, short));
            let References { best, governor, floor } = section.references(figure);
            for reference in [best, governor, floor].into_iter().flatten() {
                cells.push(ratio(row, reference, figure).map_or_else(String::new, short));
            }
        }
        table.add_row(cells);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn json(section: &Section, scenario: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for row in &section.rows {
        for &figure in &section.figures {
            let Some(value) = row.value(figure) else { continue };
            let References { best, governor, floor } = section.references(figure);
            let to = |reference: Option<&Row>| ratio(row, reference?, figure);
            let line = json!({
                "scenario": format!("{scenario} {}", section.title),
                "contender": row.label.name,
                "does": row.label.does,
                "figure": figure.name,
                "unit": figure.unit,
                "value": value,
                "to_best_peer": to(best),
                "best_peer": best.map(|best| &best.label.name),
                "to_governor": to(governor),
                "to_floor": to(floor),
            });
            lines.push(line.to_string());
        }
    }
    lines
}

/// Formats three significant digits.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}
