//! Weakens every memory ordering of the cores, one at a time: a model has to fail.
//!
//! The `sync` of the models names the site of every atomic operation (`tests/models/sync.rs`). No
//! list is kept: an operation is covered as soon as a model passes it.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::ensure;

use crate::package::{root, test_binary};

/// The models that pass each site. A site is `FILE:LINE:COLUMN OPERATION ORDERING`.
type Sites = BTreeMap<String, Vec<String>>;

/// Tries every n-th weakening of a site that a model with `only` in its name passes, and returns
/// those that no such model notices.
pub(crate) fn faults(only: &str, every: usize) -> anyhow::Result<Vec<String>> {
    let binary = test_binary(&root(), "models")?;
    let sites = list(&binary, only)?;
    let weakenings = sites.iter().flat_map(|(site, models)| {
        weaker(site).iter().map(move |weak| (format!("{site} {weak}"), models))
    });
    let mut faults = Vec::new();
    // The models that noticed the last weakenings, the latest first: neighbours share them.
    let mut likely: Vec<&String> = Vec::new();
    for (weakening, models) in weakenings.step_by(every.max(1)) {
        let mut order: Vec<_> = likely.iter().copied().filter(|it| models.contains(it)).collect();
        order.extend(models.iter().filter(|model| !likely.contains(model)));
        let mut noticed = None;
        for model in order {
            if fails(&binary, model, &weakening)? {
                noticed = Some(model);
                break;
            }
        }
        if let Some(model) = noticed {
            println!("{}: {model}", shown(&weakening));
            likely.retain(|other| *other != model);
            likely.insert(0, model);
        } else {
            println!("{}: NOT NOTICED", shown(&weakening));
            faults.push(format!("no model notices {}", shown(&weakening)));
        }
    }
    Ok(faults)
}

/// Returns `site` without the way from the models to the sources.
fn shown(site: &str) -> &str {
    site.rsplit_once("../").map_or(site, |(_, source)| source)
}

/// Runs the models with `only` in their names, and returns the sites that they pass.
fn list(binary: &Path, only: &str) -> anyhow::Result<Sites> {
    let output = models(binary, "list").args(["--nocapture", only]).output()?;
    ensure!(output.status.success(), "a model fails with the orderings as they are");
    let mut sites = Sites::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        // The test runner may have begun the line.
        let listed = line.split_once("ordering ").and_then(|(_, listed)| listed.split_once(' '));
        if let Some((model, site)) = listed {
            sites.entry(site.to_owned()).or_default().push(model.to_owned());
        }
    }
    ensure!(!sites.is_empty(), "no model names a site");
    Ok(sites)
}

/// Returns the orderings to try in the place of that at `site`.
fn weaker(site: &str) -> &'static [&'static str] {
    match site.rsplit(' ').next() {
        Some("SeqCst") => &["AcqRel"],
        Some("AcqRel") => &["Acquire", "Release"],
        Some("Acquire" | "Release") => &["Relaxed"],
        _ => &[],
    }
}

/// Returns whether `model` fails with the weakened ordering. A deadlock ends its process.
fn fails(binary: &Path, model: &str, weakening: &str) -> anyhow::Result<bool> {
    let output = models(binary, weakening).args(["--exact", model]).output()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    ensure!(stdout.contains("running 1 test"), "there is no model {model}");
    Ok(!output.status.success())
}

fn models(binary: &Path, orderings: &str) -> Command {
    let mut command = Command::new(binary);
    command.current_dir(root()).env("MODEL_ORDERINGS", orderings).env("RUST_BACKTRACE", "0");
    command
}
