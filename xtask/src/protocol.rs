//! Breaks steps of the protocols, one at a time: the named models have to fail.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use serde::Deserialize;
use wait_timeout::ChildExt;
use walkdir::WalkDir;

use crate::package::{listed, root, test_binary};

const PAGE: &str = "tests/models/protocol.toml";

/// The parts of the package that a copy needs for its tests.
const COPIED: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "src",
    "tests",
    "examples",
    "benches",
    "docs",
    "xtask",
];

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
    let tree = Tree::copy()?;
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

/// A copy of the package, to be broken.
struct Tree(PathBuf);

impl Tree {
    fn copy() -> anyhow::Result<Self> {
        let copy = root().join("target/protocol");
        for folder in ["src", "tests"] {
            let _ = fs::remove_dir_all(copy.join(folder));
        }
        for part in COPIED {
            for entry in WalkDir::new(root().join(part)).into_iter().filter_map(Result::ok) {
                let to = copy.join(entry.path().strip_prefix(root())?);
                if entry.file_type().is_file() {
                    fs::create_dir_all(to.parent().expect("is inside the copy"))?;
                    fs::copy(entry.path(), to)?;
                }
            }
        }
        Ok(Self(copy))
    }

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
            let binary = test_binary(&self.0, suite)?;
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
        let path = self.0.join(&mutation.file);
        let whole = fs::read_to_string(&path)?;
        let Some(broken) = broken(&whole, mutation) else {
            return Ok(vec!["its text is not in the sources".to_owned()]);
        };
        fs::write(&path, broken)?;
        let unnoticed = self.unnoticed(mutation);
        fs::write(&path, whole)?;
        unnoticed
    }

    fn unnoticed(&self, mutation: &Mutation) -> anyhow::Result<Vec<String>> {
        let binary = match test_binary(&self.0, &mutation.suite) {
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
