//! Lets contenders run in turns, and compares them within each round.

use std::{hint::black_box, time::Instant};

use comfy_table::{CellAlignment, Table, TableComponent, presets};

/// Calls in a batch: long enough for the caches to be warm, too short to be interrupted often.
pub(crate) const CALLS: u32 = 10_000;

/// In each section first the bare service, whose time is taken off everybody's, then tower's, which
/// the others are compared with.
#[derive(Default)]
pub(crate) struct Race {
    contenders: Vec<Contender>,
    section: &'static str,
}

struct Contender {
    section: &'static str,
    name: &'static str,
    batch: Box<dyn FnMut()>,
    /// For a call, in each round.
    nanos: Vec<f64>,
}

impl Race {
    /// Begins a section.
    pub(crate) fn section(&mut self, title: &'static str, bare: impl FnMut() + 'static) {
        self.section = title;
        self.add("bare service", bare);
    }

    /// Adds a contender, which runs a batch of calls each time it is its turn.
    pub(crate) fn add(&mut self, name: &'static str, batch: impl FnMut() + 'static) {
        let (section, batch) = (self.section, Box::new(batch));
        self.contenders.push(Contender { section, name, batch, nanos: Vec::new() });
    }

    /// Runs so many rounds, each in an order of its own: nobody always follows the same one.
    pub(crate) fn run(mut self, rounds: usize) -> Table {
        let mut order: Vec<usize> = (0..self.contenders.len()).collect();
        for _ in 0..rounds {
            fastrand::shuffle(&mut order);
            for &turn in &order {
                let Contender { batch, nanos, .. } = &mut self.contenders[turn];
                nanos.push(nanos_per_call(batch, fastrand::u32(..64)));
            }
        }
        self.table()
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table
            .load_preset(presets::UTF8_HORIZONTAL_ONLY)
            .remove_style(TableComponent::HorizontalLines);
        table.remove_style(TableComponent::MiddleIntersections);
        table.set_header(["", "", "ns", "ratio", "middle half", "quiet"]);
        for section in self.contenders.chunk_by(|a, b| a.section == b.section) {
            let bare = &section[0].nanos;
            let above = |contender: &Contender| -> Vec<f64> {
                contender.nanos.iter().zip(bare).map(|(nanos, bare)| nanos - bare).collect()
            };
            let tower = above(&section[1]);
            for (place, contender) in section.iter().enumerate().skip(1) {
                let own = above(contender);
                let ratios: Vec<f64> =
                    own.iter().zip(&tower).map(|(own, tower)| own / tower).collect();
                let nanos = format!("{:.1}", percentile(&own, 50));
                let [title, ratio, half, quiet] = if place == 1 {
                    [contender.section.into(), "1".into(), String::new(), "1".into()]
                } else {
                    let [low, high] = [25, 75].map(|percent| percentile(&ratios, percent));
                    let quiet = percentile(&own, 10) / percentile(&tower, 10);
                    let ratio = percentile(&ratios, 50);
                    let half = format!("{low:.2} – {high:.2}");
                    [String::new(), format!("{ratio:.2}"), half, format!("{quiet:.2}")]
                };
                table.add_row([&title, contender.name, &nanos, &ratio, &half, &quiet]);
            }
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

/// Runs a batch so many levels down the stack. A random number of them puts it anywhere on a page:
/// where a future happens to lie makes a difference to how fast it is moved, and is nobody's merit.
#[inline(never)]
#[allow(clippy::disallowed_methods, reason = "the real time it takes, whatever tokio's clock says")]
fn nanos_per_call(batch: &mut dyn FnMut(), levels: u32) -> f64 {
    let level = black_box([0_u8; 64]);
    let nanos = if levels > 0 {
        nanos_per_call(batch, levels - 1)
    } else {
        let start = Instant::now();
        batch();
        start.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    black_box(level);
    nanos
}

/// The value below which so many percent of the `values` are.
fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() * percent / 100]
}
