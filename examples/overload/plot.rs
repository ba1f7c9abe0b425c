//! The runs as an SVG: goodput above, latency and limits below, over time.

use std::{io, ops::Range, path::Path, time::Duration};

use plotters::{
    coord::{
        Shift,
        ranged1d::{AsRangedCoord, Ranged, ValueFormatter},
        types::RangedCoordf64,
    },
    drawing::DrawingAreaErrorKind,
    element::DashedPathElement,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{
    bottleneck::Kind,
    candidate::Candidate,
    figures::Figures,
    run::Run,
    scene::{DEADLINE, Scene},
};

const SIZE: (u32, u32) = (1200, 1140);
const FONT: &str = "sans-serif";
/// The spans of the first halves, in which limits may still search.
const SEARCHING: RGBColor = RGBColor(240, 240, 240);
const LOAD: RGBColor = RGBColor(120, 120, 120);
/// The length of the spans that a point of a line stands for.
const STEP: Duration = Duration::from_millis(250);

type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, Y>>;

/// The runs, and their surroundings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Results<'a> {
    pub(crate) kind: Kind,
    /// The full capacity in requests per second.
    pub(crate) capacity: f64,
    pub(crate) scenes: &'a [Scene],
    pub(crate) runs: &'a [Run],
}

/// Draws the load, the goodput, the latency and the limits, with a line for each candidate.
pub(crate) fn draw(path: &Path, results: Results<'_>) -> Drawn {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let titled = root.titled("A server under more load than it can serve", (FONT, 24))?;
    let (key, panels) = titled.split_vertically(30);
    draw_key(&key, results)?;
    let (load, panels) = panels.split_vertically(170);
    let (goodput, panels) = panels.split_vertically(340);
    let (latency, limits) = panels.split_vertically(280);
    draw_load(&load, results)?;
    draw_goodput(&goodput, results)?;
    draw_latency(&latency, results)?;
    draw_limits(&limits, results)?;
    root.present()
}

/// Each line is thinner than the ones before, so that lines on top of each other stay visible.
const fn style(candidate: Candidate) -> (RGBColor, u32) {
    match candidate {
        Candidate::Unlimited => (RGBColor(150, 150, 150), 4),
        Candidate::FixedTooHigh => (RGBColor(213, 94, 0), 2),
        Candidate::Fixed => (RGBColor(240, 170, 50), 4),
        Candidate::Adaptive => (RGBColor(0, 114, 178), 2),
        Candidate::AdaptiveTerms => (BLACK, 1),
    }
}

fn line(candidate: Candidate) -> ShapeStyle {
    let (color, width) = style(candidate);
    color.stroke_width(width)
}

fn draw_key(area: &Area<'_>, results: Results<'_>) -> Drawn {
    let mut at = 70;
    let mut text = |text: &str| {
        area.draw(&Text::new(text.to_owned(), (at + 34, 8), (FONT, 14)))?;
        let from = at;
        at += 70 + 7 * text.len() as i32;
        Ok::<_, DrawingAreaErrorKind<io::Error>>([(from, 14), (from + 26, 14)])
    };
    for run in results.runs {
        let place = text(&run.candidate.name(results.kind))?;
        area.draw(&PathElement::new(place, line(run.candidate)))?;
    }
    let place = text("capacity, deadline")?;
    area.draw(&DashedPathElement::new(place, 6, 4, BLACK.stroke_width(1)))?;
    let [(from, _), (to, _)] = text("limits may search")?;
    area.draw(&Rectangle::new([(from, 6), (to, 22)], SEARCHING.filled()))
}

fn draw_load(area: &Area<'_>, results: Results<'_>) -> Drawn {
    let most = results.scenes.iter().map(|scene| scene.load).fold(0.0, f64::max);
    let mut chart =
        chart(area, results, "load, of capacity", 0.0..most * 1.1, &|load| format!("{load:.0}"))?;
    let steps = |of: fn(&Scene) -> f64| {
        results.scenes.iter().flat_map(move |scene| {
            let ends = [scene.time.start, scene.time.end];
            ends.map(|time| (time.as_secs_f64(), of(scene)))
        })
    };
    chart.draw_series(LineSeries::new(steps(|scene| scene.load), LOAD.stroke_width(2)))?;
    dashed(&mut chart, steps(|scene| scene.share()))?;
    let anchor = (FONT, 13).into_text_style(area).pos(Pos::new(HPos::Left, VPos::Bottom));
    for scene in results.scenes.iter().filter(|scene| scene.has_outer_timeout()) {
        let place = (scene.time.start.as_secs_f64(), most * 0.75);
        chart.draw_series([Text::new(" outer timeout", place, anchor.clone())])?;
    }
    Ok(())
}

fn draw_goodput(area: &Area<'_>, results: Results<'_>) -> Drawn {
    let range = 0.0..results.capacity * 1.25;
    let mut chart = chart(area, results, "in time per s", range, &|count| format!("{count:.0}"))?;
    for scene in results.scenes {
        let capacity = results.capacity * scene.share();
        let ends = [scene.time.start, scene.time.end].map(|time| (time.as_secs_f64(), capacity));
        dashed(&mut chart, ends)?;
    }
    lines(&mut chart, results, |figures| Some(figures.goodput))
}

fn draw_latency(area: &Area<'_>, results: Results<'_>) -> Drawn {
    let range = (10.0..2000.0).log_scale();
    let mut chart =
        chart(area, results, "p99 of admitted, ms", range, &|time| format!("{time:.0}"))?;
    let end = results.scenes.last().map_or(0.0, |scene| scene.time.end.as_secs_f64());
    let deadline = 1000.0 * DEADLINE.as_secs_f64();
    dashed(&mut chart, [(0.0, deadline), (end, deadline)])?;
    lines(&mut chart, results, |figures| Some(1000.0 * figures.p99?.as_secs_f64().min(2.0)))
}

fn draw_limits(area: &Area<'_>, results: Results<'_>) -> Drawn {
    let range = (1.0..1000.0).log_scale();
    let mut chart = chart(area, results, "limit", range, &|limit| format!("{limit:.0}"))?;
    for run in results.runs {
        let points = run.limits.iter().map(|&(at, limit)| (at.as_secs_f64(), f64::from(limit)));
        chart.draw_series(LineSeries::new(points, line(run.candidate)))?;
    }
    Ok(())
}

/// Makes a chart with axes over the time of the runs, the first half of each scene, and a grid.
fn chart<'a, 'b, Y>(
    panel: &'a Area<'b>,
    results: Results<'_>,
    unit: &str,
    range: Y,
    label: &dyn Fn(&f64) -> String,
) -> Result<Chart<'a, 'b, Y::CoordDescType>, DrawingAreaErrorKind<io::Error>>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let end = results.scenes.last().map_or(0.0, |scene| scene.time.end.as_secs_f64());
    let mut chart = ChartBuilder::on(panel)
        .margin_right(20)
        .margin_left(8)
        .margin_top(8)
        .x_label_area_size(32)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..end, range)?;
    // The first halves and the grid come first because later series are drawn over them.
    let Range { start: bottom, end: top } = chart.y_range();
    for scene in results.scenes {
        let [from, to] = [scene.time.start, scene.settled().start].map(|it| it.as_secs_f64());
        let corners = [(from, bottom), (to, top)];
        chart.draw_series([Rectangle::new(corners, SEARCHING.filled())])?;
    }
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("time in s")
        .y_desc(unit)
        .y_labels(6)
        .x_label_formatter(&|time| format!("{time:.0}"))
        .y_label_formatter(label)
        .draw()?;
    Ok(chart)
}

/// Draws a line for each candidate, with a point for each span of [`STEP`].
fn lines<Y: Ranged<ValueType = f64>>(
    chart: &mut Chart<'_, '_, Y>,
    results: Results<'_>,
    of: impl Fn(&Figures) -> Option<f64>,
) -> Drawn {
    let end = results.scenes.last().map_or(Duration::ZERO, |scene| scene.time.end);
    let steps = (end.as_millis() / STEP.as_millis()) as u32;
    for run in results.runs {
        let points = (0..steps).filter_map(|step| {
            let span = step * STEP..(step + 1) * STEP;
            Some(((span.start + STEP / 2).as_secs_f64(), of(&Figures::of(run, &span))?))
        });
        chart.draw_series(LineSeries::new(points, line(run.candidate)))?;
    }
    Ok(())
}

fn dashed<Y: Ranged<ValueType = f64>>(
    chart: &mut Chart<'_, '_, Y>,
    points: impl IntoIterator<Item = (f64, f64)>,
) -> Drawn {
    let points: Vec<_> = points.into_iter().collect();
    chart.draw_series(DashedLineSeries::new(points, 6, 4, BLACK.stroke_width(1)))?;
    Ok(())
}
