//! Breaks steps of the protocols, one at a time: the named models have to fail.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use serde::Deserialize;
use wait_timeout::ChildExt;

use crate::{
    package::{listed, root, test_binary},
    tree::Tree,
};

const PAGE: &str = "tests/models/protocol.toml";

/// A test that takes longer hangs, which is reported as a fault of the list.
const TIME_LIMIT: Duration = Duration::from_secs(180);

#[derive(Deserialize)]
struct Page {
    mutation: Vec<Mutation>,
}

/// One broken step.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutation {
    breaks: String,
    file: String,
    /// The replaced text is the first `from` after this.
    within: String,
    from: String,
    to: String,
    suite: String,
    /// All of these fail.
    caught_by: Vec<String>,
}

/// Tries every n-th mutation with `only` in it, and returns those that go unnoticed.
pub(crate) fn faults(only: &str, every: usize) -> anyhow::Result<Vec<String>> {
    let page: Page = toml::from_str(&fs::read_to_string(root().join(PAGE))?)?;
    let concerns = |mutation: &&Mutation| {
        let tests = mutation.caught_by.iter().map(String::as_str);
        [&*mutation.breaks, &*mutation.file].into_iter().chain(tests).any(|it| it.contains(only))
    };
    let chosen: Vec<_> = page.mutation.iter().filter(concerns).step_by(every.max(1)).collect();
    if chosen.is_empty() {
        bail!("{PAGE} has no mutation with {only:?} in it");
    }
    let tree = Tree::copy("protocol")?;
    let mut faults = tree.faults_as_it_is(&chosen)?;
    for mutation in chosen {
        let unnoticed = tree.attempt(mutation).with_context(|| mutation.breaks.clone())?;
        println!(
            "{}: {}",
            mutation.breaks,
            if unnoticed.is_empty() { "noticed" } else { "NOT NOTICED" }
        );
        faults.extend(unnoticed.into_iter().map(|why| format!("{}: {why}", mutation.breaks)));
    }
    Ok(faults)
}

impl Tree {
    /// Returns the named tests that fail, or are missing, before anything is broken.
    fn faults_as_it_is(&self, mutations: &[&Mutation]) -> anyhow::Result<Vec<String>> {
        let tests = mutations
            .iter()
            .flat_map(|mutation| mutation.caught_by.iter().map(|test| (&*mutation.suite, &**test)));
        let mut tests: Vec<_> = tests.collect();
        tests.sort_unstable();
        tests.dedup();
        let mut faults = Vec::new();
        for suite in ["models", "shuttle"] {
            let named: Vec<_> = tests.iter().filter(|(of, _)| *of == suite).collect();
            if named.is_empty() {
                continue;
            }
            let binary = test_binary(self.path(), suite)?;
            let listed = listed(&binary)?;
            for (_, test) in named {
                if !listed.iter().any(|name| name == test) {
                    faults.push(format!("{suite} has no test {test}"));
                } else if fails(&binary, test)? {
                    faults.push(format!("{test} fails before anything is broken"));
                }
            }
        }
        Ok(faults)
    }

    /// Breaks the sources, runs the tests that have to fail, and restores the sources.
    fn attempt(&self, mutation: &Mutation) -> anyhow::Result<Vec<String>> {
        let change = |whole: &str| broken(whole, mutation);
        let unnoticed = self.with_change(&mutation.file, change, || self.unnoticed(mutation))?;
        unnoticed.unwrap_or_else(|| Ok(vec!["its text is not in the sources".to_owned()]))
    }

    fn unnoticed(&self, mutation: &Mutation) -> anyhow::Result<Vec<String>> {
        let binary = match test_binary(self.path(), &mutation.suite) {
            Ok(binary) => binary,
            Err(error) => return Ok(vec![format!("does not compile: {error}")]),
        };
        let mut unnoticed = Vec::new();
        for test in &mutation.caught_by {
            if !fails(&binary, test)? {
                unnoticed.push(format!("{test} passes"));
            }
        }
        Ok(unnoticed)
    }
}

fn broken(whole: &str, mutation: &Mutation) -> Option<String> {
    let start = whole.find(&mutation.within)?;
    let at = start + whole[start..].find(&mutation.from)?;
    let (before, rest) = whole.split_at(at);
    Some([before, &mutation.to, &rest[mutation.from.len()..]].concat())
}

/// Returns whether `test` fails. A model that deadlocks ends its process.
fn fails(binary: &Path, test: &str) -> anyhow::Result<bool> {
    let mut run = Command::new(binary);
    // The same schedules each time.
    run.arg(test).current_dir(root()).env("SHUTTLE_RANDOM_SEED", "1").env("RUST_BACKTRACE", "0");
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    match run.wait_timeout(TIME_LIMIT)? {
        Some(status) => Ok(!status.success()),
        None => {
            run.kill()?;
            run.wait()?;
            bail!("{test} hangs");
        }
    }
}
