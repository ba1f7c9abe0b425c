//! Reruns everything that shows the promises kept, breaks the sources on purpose to see that it is noticed,
//! and prints both tables: what `docs/verification.md` is about.
//!
//! ```text
//! cargo test --test verify                            everything, in its long form
//! cargo test --test verify -- --quick                 the same, as short as `cargo test` does it
//! cargo test --test verify -- --mutations             only the mutations
//! cargo test --test verify -- --mutations --only log  only those with "log" in their name or place
//! ```
//!
//! Not part of a bare `cargo test`: it runs that, many times. Ends with 0 only if every test passed, every
//! promise has a test and every test a promise, the code in `docs/frameworks.md` is that of the examples, and every
//! mutation was caught.

mod mutants;
mod mutations;
mod promises;
mod snippets;
mod suites;

use std::{error::Error, process::ExitCode};

use clap::Parser;
use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::{
    mutants::Outcome,
    promises::Promise,
    suites::{Length, Results},
};

/// Reruns everything that shows the promises kept.
#[derive(Debug, Parser)]
struct Args {
    /// Short forms only: those of a bare `cargo test`
    #[arg(long)]
    quick: bool,
    /// Only the mutations
    #[arg(long)]
    mutations: bool,
    /// Only mutations with this in what they do, in the file or in a test that catches them
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Of the mutations, only every so manyth
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    every: usize,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args = Args::parse();
    let mut faults = Vec::new();

    let promises = promises::read()?;
    let there = suites::names()?;
    faults.extend(promises::compare(&promises, &there));
    faults.extend(snippets::faults()?);
    let results = if args.mutations {
        None
    } else {
        let length = if args.quick { Length::Short } else { Length::Long };
        let results = suites::run(length)?;
        faults.extend(results.faults());
        let unheard = there.iter().filter(|test| !results.passed(test));
        faults.extend(unheard.map(|test| format!("the test {test} was not heard to pass")));
        faults.extend(mutants::models_without(&results));
        Some(results)
    };

    let outcomes = mutants::try_all(&args.only, args.every, results.is_some())?;
    faults.extend(outcomes.iter().flat_map(Outcome::faults));
    if outcomes.is_empty() {
        faults.push(format!("there is no mutation with {:?} in it", args.only));
    }
    println!("\n{}", mutation_table(&outcomes));
    if let Some(results) = &results {
        println!("\n{}", promise_table(&promises, results, &outcomes));
    }

    for fault in &faults {
        println!("NOT SHOWN: {fault}");
    }
    let caught = outcomes.iter().filter(|outcome| outcome.faults().is_empty()).count();
    println!("{caught} of {} mutations caught, {} faults", outcomes.len(), faults.len());
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
    table
}

fn mutation_table(outcomes: &[Outcome]) -> Table {
    let mut table = table(&["mutation", "in", "caught by"]);
    for outcome in outcomes {
        table.add_row([outcome.what(), outcome.place(), outcome.caught_by()]);
    }
    table
}

fn promise_table(promises: &[Promise], results: &Results, outcomes: &[Outcome]) -> Table {
    let mut table = table(&[
        "promise",
        "what",
        "tests passed",
        "of these contract",
        "random cases",
        "executions modelled",
        "storms",
        "mutations caught",
    ]);
    for promise in promises {
        let tests = &promise.tests;
        let passed = tests.iter().filter(|test| results.passed(test)).count();
        let caught = outcomes.iter().filter(|outcome| outcome.caught_by_any_of(tests)).count();
        let number = |number: u64| match number {
            0 => "-".to_owned(),
            number => number.to_string(),
        };
        let counts = [
            results.count("contract", tests),
            results.sum("oracle", "schedules", tests) + results.sum("scene", "schedules", tests),
            results.sum("model", "executions", tests),
            results.count("storms", tests),
            caught as u64,
        ];
        let mut row = vec![Cell::new(&promise.name), Cell::new(&promise.what)];
        row.push(Cell::new(format!("{passed} of {}", tests.len())));
        row.extend(counts.map(|count| Cell::new(number(count))));
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
