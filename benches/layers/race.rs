//! Lets contenders run in turns, and compares them within each round.

use std::time::Instant;

use comfy_table::{CellAlignment, Table, presets};

/// Calls in a batch: long enough for the caches to be warm, too short to be interrupted often.
pub(crate) const CALLS: u32 = 10_000;

pub(crate) struct Race {
    /// The first is the bare service.
    contenders: Vec<Contender>,
    section: &'static str,
}

struct Contender {
    section: &'static str,
    name: &'static str,
    /// Which contender it is compared with.
    against: usize,
    batch: Box<dyn FnMut()>,
    /// For a call, in each round.
    nanos: Vec<f64>,
}

impl Race {
    /// A race with the `bare` service, whose time is taken off everybody's.
    pub(crate) fn new(bare: impl FnMut() + 'static) -> Self {
        let mut race = Self { contenders: Vec::new(), section: "" };
        race.against(0, "bare service", bare);
        race
    }

    /// What the next contenders stand under.
    pub(crate) fn section(&mut self, section: &'static str) {
        self.section = section;
    }

    /// Adds one of tower's, and returns its number for others to be compared with.
    pub(crate) fn tower(&mut self, name: &'static str, batch: impl FnMut() + 'static) -> usize {
        let number = self.contenders.len();
        self.against(number, name, batch);
        number
    }

    /// Adds one that is compared with another.
    pub(crate) fn against(
        &mut self,
        against: usize,
        name: &'static str,
        batch: impl FnMut() + 'static,
    ) {
        let (section, batch) = (self.section, Box::new(batch));
        self.contenders.push(Contender { section, name, against, batch, nanos: Vec::new() });
    }

    /// Runs so many rounds, each in an order of its own: nobody always follows the same one.
    pub(crate) fn run(mut self, rounds: usize) -> Table {
        let mut order: Vec<usize> = (0..self.contenders.len()).collect();
        for _ in 0..rounds {
            fastrand::shuffle(&mut order);
            for &turn in &order {
                let Contender { batch, nanos, .. } = &mut self.contenders[turn];
                nanos.push(nanos_per_call(batch));
            }
        }
        self.table()
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["", "", "ns", "ratio", "middle half"]);
        let mut last = "";
        for contender in self.contenders.iter().skip(1) {
            let above = self.above_bare(contender);
            let tower = self.above_bare(&self.contenders[contender.against]);
            let [low, ratio, high] = quartiles(above.iter().zip(&tower).map(|(a, b)| a / b));
            let [_, nanos, _] = quartiles(above.iter().copied());
            let section = if contender.section == last { "" } else { contender.section };
            last = contender.section;
            let [nanos, ratio, half] = if tower == above {
                [format!("{nanos:.1}"), "1".into(), String::new()]
            } else {
                [format!("{nanos:.1}"), format!("{ratio:.2}"), format!("{low:.2} – {high:.2}")]
            };
            table.add_row([section, contender.name, &nanos, &ratio, &half]);
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    fn above_bare(&self, contender: &Contender) -> Vec<f64> {
        let bare = &self.contenders[0].nanos;
        contender.nanos.iter().zip(bare).map(|(nanos, bare)| nanos - bare).collect()
    }
}

#[allow(clippy::disallowed_methods, reason = "the real time it takes, whatever tokio's clock says")]
fn nanos_per_call(batch: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    batch();
    start.elapsed().as_nanos() as f64 / f64::from(CALLS)
}

/// The lower quartile, the median, the upper quartile.
fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[values.len() * quarter / 4])
}
