//! Limit, throughput and latency over time, as an SVG.

use std::{error::Error, path::Path};

use adaptive_simulation::{
    run::{BINS, Bin, Figures},
    world::World,
};
use plotters::{coord::Shift, prelude::*};

const FONT: &str = "sans-serif";
const ADAPTIVE: RGBColor = RGBColor(0, 114, 178);
const BEST: RGBColor = RGBColor(160, 160, 160);

type Drawn = Result<(), Box<dyn Error>>;

/// A figure of a part of a phase, of this length in seconds.
type Of = fn(&Bin, f64) -> f64;

/// Draws a world: the adaptive limit in blue, the best fixed one in grey.
pub(crate) fn draw(path: &Path, world: &World, adaptive: &[Figures], best: &[Figures]) -> Drawn {
    let root = SVGBackend::new(path, (900, 620)).into_drawing_area();
    root.fill(&WHITE)?;
    let names: Vec<_> = world.phases.iter().map(|phase| phase.name.as_str()).collect();
    let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
    let title = format!("{} (best fixed limit in grey)", names.join(", then "));
    let panels = root.titled(&title, (FONT, 17))?.split_evenly((3, 1));
    let figures: [(&str, Of); 3] = [
        ("limit", |bin, seconds| bin.limit / (1e9 * seconds)),
        ("responses a second", |bin, seconds| bin.served as f64 / seconds),
        ("mean time in service, ms", |bin, _| 1e3 * bin.seconds / bin.served.max(1) as f64),
    ];
    for (panel, (name, of)) in panels.iter().zip(figures) {
        let lines = [(BEST, points(world, best, of)), (ADAPTIVE, points(world, adaptive, of))];
        panel_of(panel, world, name, &lines)?;
    }
    root.present()?;
    Ok(())
}

/// Returns the course of a figure, in seconds since the start.
fn points(world: &World, phases: &[Figures], of: Of) -> Vec<(f64, f64)> {
    let mut start = 0.0;
    let mut points = Vec::new();
    for (phase, figures) in world.phases.iter().zip(phases) {
        let seconds = phase.seconds / BINS as f64;
        for (number, bin) in figures.bins.iter().enumerate() {
            points.push((start + (number as f64 + 0.5) * seconds, of(bin, seconds)));
        }
        start += phase.seconds;
    }
    points
}

fn panel_of(
    panel: &DrawingArea<SVGBackend<'_>, Shift>,
    world: &World,
    name: &str,
    lines: &[(RGBColor, Vec<(f64, f64)>)],
) -> Drawn {
    let end: f64 = world.phases.iter().map(|phase| phase.seconds).sum();
    let values = lines.iter().flat_map(|(_, points)| points.iter().map(|point| point.1));
    let top = values.fold(0.0, f64::max) * 1.05;
    let mut chart = ChartBuilder::on(panel)
        .margin(6)
        .x_label_area_size(22)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..end, 0.0..top.max(1e-3))?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .y_desc(name)
        .axis_desc_style((FONT, 13))
        .label_style((FONT, 12))
        .draw()?;
    let mut start = 0.0;
    for phase in &world.phases[..world.phases.len() - 1] {
        start += phase.seconds;
        let line = [(start, 0.0), (start, top)];
        chart.draw_series(LineSeries::new(line, BLACK.mix(0.4)))?;
    }
    for (color, points) in lines {
        let points = points.iter().copied();
        chart.draw_series(LineSeries::new(points, color.stroke_width(2)))?;
    }
    Ok(())
}
