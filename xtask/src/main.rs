//! Runs the checks that take longer than a test, and those of the text.
//!
//! ```text
//! cargo xtask prose         the text against the rules of CONTRIBUTING.md
//! cargo xtask promises      which tests show which promise
//! cargo xtask builds        outside crates that depend on the package
//! cargo xtask package       the file that is published
//! cargo xtask orderings     every memory ordering weakened: a model has to fail
//! cargo xtask protocol      steps of the protocols broken: the named models have to fail
//! cargo xtask mutants       cargo-mutants, all or a sample
//! cargo xtask fuzz          headers and bodies, guided by coverage
//! cargo xtask redis-servers the store against other versions of Redis
//! cargo xtask verify        all of them, and the suites in their long form
//! ```

mod builds;
mod crate_file;
mod fuzz;
mod mutants;
mod orderings;
mod package;
mod promises;
mod prose;
mod protocol;
mod redis_servers;
mod suites;
mod tree;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Runs the checks of tower-floodgate that take longer than a test.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    check: Check,
}

#[derive(Debug, Subcommand)]
enum Check {
    /// Measures comments and Markdown against the rules of CONTRIBUTING.md
    Prose {
        /// Files or folders; by default the whole tree
        paths: Vec<PathBuf>,
        /// Lists every place that counts
        #[arg(short, long)]
        verbose: bool,
    },
    /// Prints the tests of each promise, and reports promises and tests without the other
    Promises {
        /// Prints the names of the tests instead of their numbers
        #[arg(short, long)]
        verbose: bool,
    },
    /// Compiles a crate that depends on the package: features, lowest and newest versions
    Builds,
    /// Packs the package: warnings, contents, size, examples, links of the README
    Package,
    /// Weakens every memory ordering that a model passes, one at a time
    Orderings {
        /// Runs only models with this text in their names, and weakens what they pass
        #[arg(long, value_name = "TEXT", default_value = "")]
        only: String,
        /// Tries only every n-th
        #[arg(long, value_name = "N", default_value_t = 1)]
        every: usize,
    },
    /// Breaks steps of the protocols, one at a time (`tests/models/protocol.toml`)
    Protocol {
        /// Tries only mutations with this text in their description, file or tests
        #[arg(long, value_name = "TEXT", default_value = "")]
        only: String,
        /// Tries only every n-th
        #[arg(long, value_name = "N", default_value_t = 1)]
        every: usize,
    },
    /// Tries the mutants that cargo-mutants lists (`.cargo/mutants.toml`)
    Mutants {
        /// Tries only mutants of files with this text in their paths
        #[arg(long, value_name = "TEXT", default_value = "")]
        only: String,
        /// Tries only every n-th
        #[arg(long, value_name = "N", default_value_t = 1)]
        every: usize,
    },
    /// Fuzzes the readers of headers and the replay of bodies
    Fuzz {
        /// Runs only targets with this text in their names
        #[arg(long, value_name = "TEXT", default_value = "")]
        only: String,
        /// Runs each target for this long
        #[arg(long, value_name = "SECONDS", default_value_t = 30)]
        seconds: u32,
        /// Adds the inputs that cover more to the checked-in ones
        #[arg(long)]
        keep: bool,
        /// Runs this input alone, as after a crash
        #[arg(long, value_name = "FILE", conflicts_with = "keep")]
        input: Option<PathBuf>,
    },
    /// Runs the tests of the store against the oldest and the newest Redis that PyPI has
    RedisServers,
    /// Runs every suite in its long form, and all other checks
    Verify,
}

fn main() -> anyhow::Result<ExitCode> {
    let faults = match Args::parse().check {
        Check::Prose { paths, verbose } => prose::faults(&paths, verbose)?,
        Check::Promises { verbose } => promises::faults(verbose)?,
        Check::Builds => builds::faults()?,
        Check::Package => crate_file::faults()?,
        Check::Orderings { only, every } => orderings::faults(&only, every)?,
        Check::Protocol { only, every } => protocol::faults(&only, every)?,
        Check::Mutants { only, every } => mutants::faults(&only, every)?,
        Check::Fuzz { only, input: Some(input), .. } => fuzz::crashes(&only, &input)?,
        Check::Fuzz { only, seconds, keep, input: None } => fuzz::faults(&only, seconds, keep)?,
        Check::RedisServers => redis_servers::faults()?,
        Check::Verify => verify()?,
    };
    for fault in &faults {
        println!("FAULT: {fault}");
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verify() -> anyhow::Result<Vec<String>> {
    let mut faults = prose::faults(&[], false)?;
    faults.extend(promises::faults(false)?);
    faults.extend(builds::faults()?);
    faults.extend(crate_file::faults()?);
    faults.extend(suites::faults()?);
    faults.extend(redis_servers::faults()?);
    faults.extend(fuzz::faults("", 600, false)?);
    faults.extend(orderings::faults("", 1)?);
    faults.extend(protocol::faults("", 1)?);
    faults.extend(mutants::faults("", 1)?);
    Ok(faults)
}
