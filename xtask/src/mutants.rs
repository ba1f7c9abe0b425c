//! Runs cargo-mutants: bodies, operators and match arms. Its settings are in `.cargo/mutants.toml`.

use std::process::Command;

use anyhow::{Context, ensure};

use crate::package::root;

/// Tries every n-th mutant, and reports whether any survives.
pub(crate) fn faults(every: usize, options: &[String]) -> anyhow::Result<Vec<String>> {
    ensure!(every > 0, "--every 0: nothing would be tried; 1 tries all");
    let mut mutants = Command::new("cargo");
    mutants.arg("mutants").args(options).current_dir(root());
    if every > 1 {
        mutants.args(["--sharding", "round-robin", "--shard", &format!("0/{every}")]);
    }
    let status =
        mutants.status().context("cargo-mutants: install it with `cargo install cargo-mutants`")?;
    Ok((!status.success())
        .then(|| "cargo-mutants reports survivors or errors".to_owned())
        .into_iter()
        .collect())
}
