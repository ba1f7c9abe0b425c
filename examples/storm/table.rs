//! The results of the runs as tables.

use comfy_table::{CellAlignment, Table, presets};
use humantime::format_duration;

use crate::{
    bound::{Span, Spans},
    figures::Figures,
    strategy::Strategy,
};

/// The recovery of the server and the attempts per strategy: of several seeds, the medians.
pub(crate) fn outcomes(results: &[(Strategy, Vec<Figures>)]) -> Table {
    let mut table = table([
        "retries",
        "recovered after",
        "attempts per request",
        "in the outage",
        "most in a second",
        "after the outage",
        "requests answered",
    ]);
    for (strategy, runs) in results {
        let median = |number: &dyn Fn(&Figures) -> f64| median(runs.iter().map(number));
        table.add_row([
            strategy.name.to_owned(),
            recovered(runs),
            format!("{:.2}", median(&|run| run.amplification(run.all()))),
            format!("{:.2}", median(&|run| run.amplification(run.outage()))),
            format!("{:.0}", median(&|run| run.peak(run.all()) as f64)),
            format!("{:.0}", median(&|run| run.peak(run.after()) as f64)),
            format!("{:.1} %", 100.0 * median(&|run| run.answered)),
        ]);
    }
    table
}

/// The retries that the policies granted, and the most that the budgets allow.
///
/// Of several seeds, the run and the span that came closest to the bound.
pub(crate) fn budgets(held: &[(String, Vec<Spans>)]) -> Table {
    let mut table = table([
        "retries",
        "requests",
        "retries granted",
        "at most",
        "attempts per request",
        "at most",
        "fullest span",
    ]);
    for (name, runs) in held {
        let closest = |span: fn(&Spans) -> &Span| {
            runs.iter().map(span).max_by(|a, b| a.used().total_cmp(&b.used()))
        };
        let (Some(whole), Some(fullest)) =
            (closest(|spans| &spans.whole), closest(|spans| &spans.fullest))
        else {
            continue;
        };
        table.add_row([
            name.clone(),
            whole.requests.to_string(),
            whole.retries.to_string(),
            format!("{:.1}", whole.allowed()),
            format!("{:.3}", whole.amplification()),
            format!("{:.3}", whole.amplification_allowed()),
            format!(
                "{} of {:.1}, from {} s to {} s",
                fullest.retries,
                fullest.allowed(),
                fullest.seconds.start,
                fullest.seconds.end
            ),
        ]);
    }
    table
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn recovered(runs: &[Figures]) -> String {
    let after = runs.iter().map(|run| run.times.length - run.times.outage.end).max();
    let never = format!("not in {}", format_duration(after.unwrap_or_default()));
    // Runs without a recovery sort last.
    let times =
        runs.iter().map(|run| run.recovery.map_or(f64::INFINITY, |time| time.as_secs_f64()));
    let show = |time: f64| if time.is_finite() { format!("{time:.1} s") } else { never.clone() };
    let (middle, worst) = (median(times.clone()), times.fold(0.0, f64::max));
    if runs.len() == 1 || middle.is_infinite() {
        show(middle)
    } else {
        format!("{}, at worst {}", show(middle), show(worst))
    }
}

/// Returns the median: the middle number, or the mean of the middle two.
fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    let (low, high) = (numbers[(numbers.len() - 1) / 2], numbers[numbers.len() / 2]);
    f64::midpoint(low, high)
}
