//! The load over time, as an SVG.

use std::{io, path::Path};

use plotters::{coord::Shift, drawing::DrawingAreaErrorKind, prelude::*};

use crate::{
    server::{CAPACITY, OUTAGE},
    simulation::{LENGTH, Run},
};

const OFFERED: RGBColor = RGBColor(213, 94, 0);
const ANSWERED: RGBColor = RGBColor(0, 114, 178);
const OUTAGE_SPAN: RGBColor = RGBColor(232, 232, 232);
const FONT: &str = "sans-serif";

type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// A column of panels for each kind of traffic, a row for each strategy.
pub(crate) fn draw(path: &Path, columns: &[(String, Vec<(&str, Run)>)]) -> Drawn {
    let rows = columns.iter().map(|(_, runs)| runs.len()).max().unwrap_or(0);
    let size = (560 * columns.len() as u32, 60 + 210 * rows as u32);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    let title = "A thousand clients and a server that stood still for ten seconds";
    let root = root.titled(title, (FONT, 24))?;

    for (column, (traffic, runs)) in root.split_evenly((1, columns.len())).iter().zip(columns) {
        let column = column.titled(traffic, (FONT, 18))?;
        let peak = runs.iter().flat_map(|(_, run)| run.offered()).max().unwrap_or(0);
        for (row, (panel, (strategy, run))) in
            column.split_evenly((rows, 1)).iter().zip(runs).enumerate()
        {
            draw_panel(panel, strategy, run, peak, row == 0)?;
        }
    }
    root.present()?;
    Ok(())
}

fn draw_panel(
    panel: &DrawingArea<SVGBackend<'_>, Shift>,
    strategy: &str,
    run: &Run,
    peak: u32,
    legend: bool,
) -> Drawn {
    let length = LENGTH.as_secs();
    let mut chart = ChartBuilder::on(panel)
        .caption(strategy, (FONT, 15))
        .margin_right(16)
        .x_label_area_size(34)
        .y_label_area_size(56)
        .build_cartesian_2d(0..length, 0..peak + peak / 10)?;

    let outage = [(OUTAGE.start.as_secs(), 0), (OUTAGE.end.as_secs(), peak + peak / 10)];
    chart.draw_series([Rectangle::new(outage, OUTAGE_SPAN.filled())])?
        .label("outage").legend(|(x, y)| Rectangle::new([(x, y - 5), (x + 20, y + 5)], OUTAGE_SPAN.filled()));
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("seconds")
        .y_desc("attempts per second")
        .y_labels(5)
        .draw()?;

    let capacity = [(0, CAPACITY), (length, CAPACITY)];
    chart.draw_series(DashedLineSeries::new(capacity, 6, 4, BLACK.stroke_width(1)))?
        .label("capacity").legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], BLACK.stroke_width(1)));
    for (label, color, counts) in
        [("offered", OFFERED, run.offered()), ("answered in time", ANSWERED, run.useful())]
    {
        let points = (0..).zip(counts);
        chart.draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(label).legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
    }
    if legend {
        chart.configure_series_labels().position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8)).label_font((FONT, 13)).draw()?;
    }
    Ok(())
}
