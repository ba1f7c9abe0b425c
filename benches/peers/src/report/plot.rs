//! Figures over the number of waiters, as SVGs.

use std::{io, path::Path};

use plotters::{drawing::DrawingAreaErrorKind, prelude::*};

use super::{Figure, Section};
use crate::contenders::Role;

const FONT: &str = "sans-serif";
/// The colors of the peers. This crate is black, the floor grey.
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// Draws a panel for each group of sections: a figure of each contender over the number of waiters.
pub(crate) fn over_waiters(path: &Path, title: &str, figure: Figure, all: &[Section]) -> Drawn {
    let mut groups: Vec<&str> = Vec::new();
    for (group, _) in all.iter().filter_map(|section| section.at.as_ref()) {
        if !groups.contains(&group.as_str()) {
            groups.push(group);
        }
    }
    let rows = groups.len().div_ceil(2).max(1);
    let size = (1_200, 60 + 400 * rows as u32);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    let panels = root.titled(title, (FONT, 24))?.split_evenly((rows, 2));
    for (panel, group) in panels.iter().zip(groups) {
        let sections: Vec<(usize, &Section)> = all
            .iter()
            .filter_map(|section| Some((section.at.as_ref()?, section)))
            .filter(|((of, _), _)| of == group)
            .map(|((_, waiters), section)| (*waiters, section))
            .collect();
        draw(panel, group, figure, &sections)?;
    }
    root.present()
}

struct Line<'a> {
    name: &'a str,
    style: ShapeStyle,
    points: Vec<(f64, f64)>,
}

fn draw(
    panel: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    group: &str,
    figure: Figure,
    sections: &[(usize, &Section)],
) -> Drawn {
    let Some((_, any)) = sections.first() else { return Ok(()) };
    let mut colors = COLORS.iter().cycle();
    let lines: Vec<Line<'_>> = any
        .contenders()
        .map(|label| {
            let style = match label.role {
                Role::Ours => BLACK.stroke_width(3),
                Role::Floor => RGBColor(160, 160, 160).stroke_width(2),
                _ => colors.next().unwrap_or(&BLACK).stroke_width(2),
            };
            let point = |(waiters, section): &(usize, &Section)| {
                Some((*waiters as f64, section.value(&label.name, figure)?))
            };
            Line { name: &label.name, style, points: sections.iter().filter_map(point).collect() }
        })
        .collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    let most = points().map(|(_, value)| *value).fold(0.0, f64::max);
    let widest = points().map(|(waiters, _)| *waiters).fold(1.0, f64::max);
    let narrowest = points().map(|(waiters, _)| *waiters).fold(widest, f64::min);
    let digits = usize::from(most < 20.0);
    let mut chart = ChartBuilder::on(panel)
        .caption(group, (FONT, 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(
            (narrowest * 0.8..widest * 1.25).log_scale(),
            // The legend has room above the lines.
            0.0..(most * (1.0 + 0.1 * lines.len() as f64)).max(f64::MIN_POSITIVE),
        )?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("waiters")
        .y_desc(format!("{}, {}", figure.name, figure.unit))
        .x_label_formatter(&|waiters| format!("{waiters:.0}"))
        .y_label_formatter(&|value| format!("{value:.digits$}"))
        .draw()?;
    for Line { name, style, points } in lines {
        chart
            .draw_series(LineSeries::new(points, style).point_size(3))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font((FONT, 13))
        .background_style(WHITE.mix(0.8))
        .draw()
}
