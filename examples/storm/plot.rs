//! The load over time, as an SVG: a column of panels for each kind of traffic, a row for each strategy.

use std::{io, path::Path};

use plotters::{
    coord::Shift, drawing::DrawingAreaErrorKind, element::DashedPathElement, prelude::*,
};

use crate::{
    server::{CAPACITY, OUTAGE},
    simulation::{LENGTH, Run},
};

const OFFERED: RGBColor = RGBColor(213, 94, 0);
const IN_TIME: RGBColor = RGBColor(0, 114, 178);
const STANDSTILL: RGBColor = RGBColor(228, 228, 228);
const FONT: &str = "sans-serif";

type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub(crate) fn draw(path: &Path, columns: &[(&str, Vec<(&str, Run)>)]) -> Drawn {
    let rows = columns.iter().map(|(_, runs)| runs.len()).max().unwrap_or(0);
    let size = (600 * columns.len() as u32, 100 + 210 * rows as u32);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    let title = format!(
        "What retries do to a server that stands still for {:?}",
        OUTAGE.end - OUTAGE.start
    );
    let root = root.titled(&title, (FONT, 24))?;
    let (key, panels) = root.split_vertically(30);
    draw_key(&key)?;

    for (area, (traffic, runs)) in panels.split_evenly((1, columns.len())).iter().zip(columns) {
        let area = area.titled(traffic, (FONT, 18))?;
        let peak = runs.iter().map(|(_, run)| run.peak()).max().unwrap_or(0);
        for (panel, (strategy, run)) in area.split_evenly((rows, 1)).iter().zip(runs) {
            draw_panel(panel, strategy, run, f64::from(peak) * 1.05)?;
        }
    }
    root.present()
}

fn draw_panel(panel: &Area<'_>, strategy: &str, run: &Run, top: f64) -> Drawn {
    let length = LENGTH.as_secs_f64();
    let mut chart = ChartBuilder::on(panel)
        .caption(format!("retries: {strategy}"), (FONT, 14))
        .margin_right(20)
        .margin_left(8)
        .x_label_area_size(32)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..length, 0.0..top)?;

    // First what lies behind: the outage, then the grid.
    let outage = [(OUTAGE.start.as_secs_f64(), 0.0), (OUTAGE.end.as_secs_f64(), top)];
    chart.draw_series([Rectangle::new(outage, STANDSTILL.filled())])?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("time in s")
        .y_desc("attempts per s")
        .y_labels(5)
        .x_label_formatter(&|time| format!("{time:.0}"))
        .y_label_formatter(&|count| format!("{count:.0}"))
        .draw()?;

    let capacity = [0.0, length].map(|time| (time, f64::from(CAPACITY)));
    chart.draw_series(DashedLineSeries::new(capacity, 6, 4, BLACK.stroke_width(1)))?;
    for (counts, color) in [(run.offered(), OFFERED), (run.in_time(), IN_TIME)] {
        // A second's count stands in the middle of the second.
        let points =
            (0..).zip(counts).map(|(second, count)| (f64::from(second) + 0.5, f64::from(count)));
        chart.draw_series(LineSeries::new(points, color.stroke_width(2)))?;
    }
    Ok(())
}

/// One key for all panels.
fn draw_key(area: &Area<'_>) -> Drawn {
    let text = |x, text| Text::new(text, (x + 34, 8), (FONT, 14));
    let line = |x, style| PathElement::new([(x, 14), (x + 26, 14)], style);

    area.draw(&line(200, OFFERED.stroke_width(2)))?;
    area.draw(&text(200, "attempts offered"))?;
    area.draw(&line(400, IN_TIME.stroke_width(2)))?;
    area.draw(&text(400, "answered in time"))?;
    area.draw(&DashedPathElement::new([(600, 14), (626, 14)], 6, 4, BLACK.stroke_width(1)))?;
    area.draw(&text(600, "the server's capacity"))?;
    area.draw(&Rectangle::new([(830, 6), (856, 22)], STANDSTILL.filled()))?;
    area.draw(&text(830, "outage"))
}
