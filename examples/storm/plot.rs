//! The runs as SVGs: the load over time, and the attempts per request.

use std::{io, ops::Range, path::Path};

use plotters::{
    coord::{Shift, types::RangedCoordf64},
    drawing::DrawingAreaErrorKind,
    element::DashedPathElement,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    bound::Span,
    figures::Figures,
    server::CAPACITY,
    strategy::{ATTEMPTS, Strategy, Waits},
};

const OFFERED: RGBColor = RGBColor(213, 94, 0);
const IN_TIME: RGBColor = RGBColor(0, 114, 178);
const STANDSTILL: RGBColor = RGBColor(228, 228, 228);
const FONT: &str = "sans-serif";

/// Each line is thinner than the ones before, so that lines on top of each other stay visible.
const LINES: [(Waits, &str, RGBColor, u32); 3] = [
    (Waits::AtOnce, "at once", RGBColor(240, 170, 50), 5),
    (Waits::Exponential, "exponential", RGBColor(0, 114, 178), 3),
    (Waits::ExponentialJitter, "exponential, jitter", BLACK, 1),
];

type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
/// A kind of traffic, and a run of each strategy.
pub(crate) type Column<'a> = (&'a str, Vec<(Strategy, &'a Figures)>);

/// Draws the load: a column of panels for each kind of traffic, a row for each strategy.
pub(crate) fn load(path: &Path, title: &str, columns: &[Column<'_>]) -> Drawn {
    let rows = columns.iter().map(|(_, runs)| runs.len()).max().unwrap_or(0);
    let root = sheet(path, (600 * columns.len() as u32, 100 + 180 * rows as u32))?;
    let titled = root.titled(title, (FONT, 24))?;
    let (key, panels) = titled.split_vertically(30);
    let mut key = Key { area: &key, at: 200 };
    key.line("attempts offered", OFFERED.stroke_width(2))?;
    key.line("answered in time", IN_TIME.stroke_width(2))?;
    key.dashes("the server's capacity")?;
    key.outage()?;

    for (area, (traffic, runs)) in panels.split_evenly((1, columns.len())).iter().zip(columns) {
        let area = area.titled(traffic, (FONT, 18))?;
        let peak = runs.iter().map(|(_, run)| run.peak(run.all())).max().unwrap_or(0);
        for (panel, (strategy, run)) in area.split_evenly((rows, 1)).iter().zip(runs) {
            let caption = format!("retries: {}", strategy.name);
            let mut chart = chart(
                panel,
                &caption,
                "attempts per s",
                run,
                run.all(),
                0.0..peak as f64 * 1.05,
                0,
            )?;
            let capacity = [0.0, run.all().end as f64].map(|time| (time, f64::from(CAPACITY)));
            dashed(&mut chart, capacity)?;
            for (counts, color) in [(&run.attempts, OFFERED), (&run.in_time, IN_TIME)] {
                // The count of a second is drawn at its middle.
                let middle = |(second, &count)| (second as f64 + 0.5, count as f64);
                let points = counts.iter().enumerate().map(middle);
                chart.draw_series(LineSeries::new(points, color.stroke_width(2)))?;
            }
        }
    }
    root.present()
}

/// Draws the attempts per request, with a column for each kind of traffic.
///
/// The upper panel has all strategies over time. The lower one has those with a budget in the first
/// minute of the outage, and the most that the budgets allow.
pub(crate) fn amplification(path: &Path, title: &str, columns: &[Column<'_>]) -> Drawn {
    let root = sheet(path, (600 * columns.len() as u32, 800))?;
    let titled = root.titled(title, (FONT, 24))?;
    let (key, panels) = titled.split_vertically(30);
    let mut key = Key { area: &key, at: 110 };
    for (_, name, color, width) in LINES {
        key.line(name, color.stroke_width(width))?;
    }
    key.dashes("the most that the budget allows")?;
    key.outage()?;

    for (area, (traffic, runs)) in panels.split_evenly((1, columns.len())).iter().zip(columns) {
        let area = area.titled(traffic, (FONT, 18))?;
        let (above, below) = area.split_vertically(area.dim_in_pixel().1 / 2);
        over_time(&above, runs)?;
        first_minute(&below, runs)?;
    }
    root.present()
}

fn over_time(area: &Area<'_>, runs: &[(Strategy, &Figures)]) -> Drawn {
    let Some((_, any)) = runs.first() else { return Ok(()) };
    let step = if any.all().len() > 120 { 10 } else { 1 };
    let points = |run: &Figures| -> Vec<(f64, f64)> {
        let spans = run.all().step_by(step).map(|from| from..run.all().end.min(from + step));
        let middle = |span: &Range<usize>| (span.start + span.end) as f64 / 2.0;
        let points = spans.map(|span| (middle(&span), run.amplification(span)));
        points.filter(|(_, ratio)| ratio.is_finite()).collect()
    };
    let unit = if step == 1 { "second".to_owned() } else { format!("{step} s") };
    let caption = format!("attempts begun per request begun, in each {unit}");
    // With few requests the ratio means little, so a line may leave the panel.
    let range = 0.0..f64::from(ATTEMPTS) + 2.0;
    let mut chart = chart(area, &caption, "attempts per request", any, any.all(), range, 0)?;
    for (waits, _, color, width) in LINES {
        for (_, run) in runs.iter().filter(|(strategy, _)| strategy.waits == Some(waits)) {
            chart.draw_series(LineSeries::new(points(run), color.stroke_width(width)))?;
        }
    }
    let middle = any.outage().start.midpoint(any.outage().end) as f64;
    let style = (FONT, 14).into_text_style(area).pos(Pos::new(HPos::Center, VPos::Center));
    for (text, height) in [("without a budget", 3.6), ("with a budget", 1.6)] {
        chart.draw_series([Text::new(text, (middle, height), style.clone())])?;
    }
    Ok(())
}

fn first_minute(area: &Area<'_>, runs: &[(Strategy, &Figures)]) -> Drawn {
    let budgets = || runs.iter().filter(|(strategy, _)| strategy.budget);
    let Some((_, any)) = runs.first() else { return Ok(()) };
    let from = any.outage().start;
    let shown = 0..any.all().end.min(from + 60);
    let caption = "attempts per request since the outage began, with a budget";
    let mut chart = chart(area, caption, "attempts per request", any, shown.clone(), 1.0..1.5, 1)?;
    for (waits, _, color, width) in LINES {
        for (_, run) in budgets().filter(|(strategy, _)| strategy.waits == Some(waits)) {
            let points = (from + 1..=shown.end).map(|to| (to as f64, run.amplification(from..to)));
            chart.draw_series(LineSeries::new(points, color.stroke_width(width)))?;
        }
    }
    // In closed traffic the number of requests depends on the strategy: take the lowest bound.
    let allowed = (from + 1..=shown.end).map(|to| {
        let all = budgets().map(|(_, run)| Span::of(run, from..to).amplification_allowed());
        (to as f64, all.fold(f64::INFINITY, f64::min))
    });
    dashed(&mut chart, allowed)
}

fn sheet(path: &Path, size: (u32, u32)) -> Result<Area<'_>, DrawingAreaErrorKind<io::Error>> {
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    Ok(root)
}

/// Makes a chart with axes over the time of a run, its outage, and a grid.
fn chart<'a, 'b>(
    panel: &'a Area<'b>,
    caption: &str,
    unit: &str,
    run: &Figures,
    seconds: Range<usize>,
    range: Range<f64>,
    digits: usize,
) -> Result<Chart<'a, 'b>, DrawingAreaErrorKind<io::Error>> {
    let mut chart = ChartBuilder::on(panel)
        .caption(caption, (FONT, 14))
        .margin_right(20)
        .margin_left(8)
        .x_label_area_size(32)
        .y_label_area_size(52)
        .build_cartesian_2d(seconds.start as f64..seconds.end as f64, range.clone())?;
    // The outage and the grid come first because later series are drawn over them.
    let outage = run.outage().start..run.outage().end.min(seconds.end);
    let corners = [(outage.start as f64, range.start), (outage.end as f64, range.end)];
    chart.draw_series([Rectangle::new(corners, STANDSTILL.filled())])?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("time in s")
        .y_desc(unit)
        .y_labels(8)
        .x_label_formatter(&|time| format!("{time:.0}"))
        .y_label_formatter(&|count| format!("{count:.digits$}"))
        .draw()?;
    Ok(chart)
}

fn dashed(chart: &mut Chart<'_, '_>, points: impl IntoIterator<Item = (f64, f64)>) -> Drawn {
    let points: Vec<_> = points.into_iter().collect();
    chart.draw_series(DashedLineSeries::new(points, 6, 4, BLACK.stroke_width(1)))?;
    Ok(())
}

/// The key of all panels, from left to right.
struct Key<'a, 'b> {
    area: &'a Area<'b>,
    at: i32,
}

impl Key<'_, '_> {
    fn line(&mut self, text: &str, style: ShapeStyle) -> Drawn {
        self.area.draw(&PathElement::new([(self.at, 14), (self.at + 26, 14)], style))?;
        self.text(text)
    }

    fn dashes(&mut self, text: &str) -> Drawn {
        let line = [(self.at, 14), (self.at + 26, 14)];
        self.area.draw(&DashedPathElement::new(line, 6, 4, BLACK.stroke_width(1)))?;
        self.text(text)
    }

    fn outage(&mut self) -> Drawn {
        let corners = [(self.at, 6), (self.at + 26, 22)];
        self.area.draw(&Rectangle::new(corners, STANDSTILL.filled()))?;
        self.text("outage")
    }

    fn text(&mut self, text: &str) -> Drawn {
        self.area.draw(&Text::new(text.to_owned(), (self.at + 34, 8), (FONT, 14)))?;
        self.at += 80 + 8 * text.len() as i32;
        Ok(())
    }
}
