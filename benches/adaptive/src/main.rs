//! Prints the tables of `docs/adaptive.md`, and draws its plots.

mod plot;

use std::{error::Error, fs, path::PathBuf, thread};

use adaptive_simulation::{
    algorithm::Best,
    core::Core,
    known, random,
    run::{Figures, run},
    world::{Phase, Server, World},
};
use clap::Parser;
use comfy_table::{Table, presets};

/// Simulates the adaptive concurrency limit beside the best fixed one.
#[derive(Parser)]
struct Arguments {
    /// Draws the plots of the known worlds into this folder.
    #[arg(long)]
    plots: Option<PathBuf>,
    /// The number of random worlds.
    #[arg(long, default_value_t = 160)]
    worlds: u64,
    /// The first seed of the random worlds. The constants of the search were chosen with seeds
    /// below 200.
    #[arg(long, default_value_t = 1_000)]
    from: u64,
    /// Prints the phases of the random worlds that are not met.
    #[arg(long)]
    unmet: bool,
}

/// The seconds in which a limit may grow.
const GROWTH: f64 = 120.0;
/// The seeds of a known world.
const SEEDS: u64 = 5;

/// The figures of the last 40 % of a phase, relative to those of the best fixed limit.
#[derive(Clone, Copy)]
struct Ratio {
    throughput: f64,
    latency: f64,
    fairness: f64,
}

impl Ratio {
    fn of(adaptive: &Figures, best: &Figures) -> Self {
        Self {
            throughput: adaptive.served as f64 / best.served as f64,
            latency: adaptive.latency() / best.latency(),
            fairness: adaptive.fairness(),
        }
    }

    fn is_met(self) -> bool {
        self.throughput >= 0.90 && self.latency <= 1.25
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    if let Some(folder) = &arguments.plots {
        fs::create_dir_all(folder)?;
    }
    println!("{}", known_worlds(&arguments)?);
    let growth = median((0..SEEDS * 8).map(growth).collect());
    println!("growth from 10 to 36 permits of 40, at 100 requests a second: {growth:.1} s\n");
    println!("{}", random_worlds(&arguments));
    Ok(())
}

/// Runs a world with the adaptive limit and with the best fixed one.
fn both(world: &World, seed: u64) -> [Vec<Figures>; 2] {
    let sharers = world.limiters.max(2);
    [
        run(world, seed, &mut |_| Box::new(Core::shared_by(sharers))),
        run(world, seed, &mut |_| Box::new(Best::default())),
    ]
}

fn ratios([adaptive, best]: &[Vec<Figures>; 2]) -> Vec<Ratio> {
    adaptive.iter().zip(best).map(|(adaptive, best)| Ratio::of(adaptive, best)).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns the table of the known kinds of phases.
fn known_worlds(arguments: &Arguments) -> Result<Table, Box<dyn Error>> {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["kind of phase", "throughput", "latency", "met"]);
    let (mut met, mut all) = (0, 0);
    for world in known::worlds() {
        let runs: Vec<_> = (0..SEEDS).map(|seed| both(&world, seed)).collect();
        if let Some(folder) = &arguments.plots {
            let [adaptive, best] = &runs[0];
            let path = folder.join(format!("{}.svg", world.name.replace(' ', "-")));
            plot::draw(&path, &world, adaptive, best)?;
        }
        let ratios: Vec<_> = runs.iter().map(ratios).collect();
        for (number, phase) in world.phases.iter().enumerate() {
            if phase.name.is_empty() {
                continue;
            }
            let of = |of: fn(&Ratio) -> f64| {
                median(ratios.iter().map(|ratios| of(&ratios[number])).collect())
            };
            let ratio = Ratio {
                throughput: of(|ratio| ratio.throughput),
                latency: of(|ratio| ratio.latency),
                fairness: of(|ratio| ratio.fairness),
            };
            met += u32::from(ratio.is_met());
            all += 1;
            let mut name = phase.name.clone();
            if world.limiters > 1 {
                name += &format!(" (Jain's index {:.2})", ratio.fairness);
            }
            table.add_row([
                name,
                format!("{:.2}", ratio.throughput),
                format!("{:.2}", ratio.latency),
                (if ratio.is_met() { "yes" } else { "no" }).to_owned(),
            ]);
        }
    }
    table.add_row(["all".to_owned(), String::new(), String::new(), format!("{met} of {all}")]);
    Ok(table)
}

/// Returns the seconds from a growth of the capacity to the time at which the limit has followed.
fn growth(seed: u64) -> f64 {
    let phases = vec![
        Phase { capacity: 10, ..Phase::new("", 30.0) },
        Phase { service: 0.1, ..Phase::new("", GROWTH) },
    ];
    let world =
        World { name: String::new(), server: Server::Fifo, limiters: 1, max_queue: 400, phases };
    let [adaptive, _] = both(&world, seed);
    let bins = &adaptive[1].bins;
    let seconds = GROWTH / bins.len() as f64;
    let followed = bins.iter().position(|bin| bin.limit / (1e9 * seconds) >= 36.0);
    followed.unwrap_or(bins.len()) as f64 * seconds
}

/// Whether a phase with this number of requests belongs to a group.
type IsOfGroup = fn(&Phase, u64) -> bool;

/// Returns the table of the random worlds.
fn random_worlds(arguments: &Arguments) -> Table {
    let seeds: Vec<_> = (arguments.from..arguments.from + arguments.worlds).collect();
    let halves = seeds.chunks(seeds.len().div_ceil(2).max(1));
    let of_seeds = |seeds: &[u64]| -> Vec<_> {
        let of_seed = |&seed: &u64| {
            let world = random::world(seed);
            let figures = both(&world, seed);
            let requests: Vec<_> = figures[1].iter().map(|best| best.all).collect();
            (seed, world, ratios(&figures), requests)
        };
        seeds.iter().map(of_seed).collect()
    };
    let all: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = halves.map(|half| scope.spawn(move || of_seeds(half))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });

    let groups: [(&str, IsOfGroup); 4] = [
        ("all", |_, _| true),
        ("at least 8 permits and 40,000 requests", |phase, requests| {
            phase.capacity >= 8 && requests >= 40_000
        }),
        ("2 to 7 permits", |phase, _| phase.capacity < 8),
        ("fewer than 40,000 requests", |_, requests| requests < 40_000),
    ];
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["random worlds", "phases", "met", "worst throughput", "worst latency"]);
    for (name, is_of_group) in groups {
        let (mut met, mut phases, mut throughput, mut latency) = (0, 0, 1.0_f64, 0.0_f64);
        for (seed, world, ratios, requests) in &all {
            for ((phase, ratio), &requests) in world.phases.iter().zip(ratios).zip(requests) {
                if !is_of_group(phase, requests) {
                    continue;
                }
                phases += 1;
                met += u32::from(ratio.is_met());
                throughput = throughput.min(ratio.throughput);
                latency = latency.max(ratio.latency);
                if arguments.unmet && name == "all" && !ratio.is_met() {
                    println!(
                        "seed {seed}, {requests} requests, {:.2} / {:.2}: {:?}, {phase:?}",
                        ratio.throughput, ratio.latency, world.server
                    );
                }
            }
        }
        table.add_row([
            name.to_owned(),
            phases.to_string(),
            format!("{:.2}", f64::from(met) / f64::from(phases.max(1))),
            format!("{throughput:.2}"),
            format!("{latency:.1}"),
        ]);
    }
    table
}
