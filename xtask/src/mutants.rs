//! Changes bodies, operators and match arms, one at a time: a test has to fail.
//!
//! cargo-mutants lists the mutants, by `.cargo/mutants.toml`. It would build the package anew for
//! each of them, which takes a minute; here each is written into one copy, which takes seconds.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use serde::Deserialize;
use wait_timeout::ChildExt;

use crate::{
    package::{root, test_binary},
    tree::Tree,
};

/// The tests take a few seconds. A mutant that hangs is noticed.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The suites to try, the likeliest first. Each is built only if those before pass.
const SUITES: &[&str] = &["edges", "contract", "promises", "http", "models", "sockets"];
const SUITES_OF_HTTP: &[&str] = &["http", "sockets", "promises"];

#[derive(Debug, Deserialize)]
struct Mutant {
    file: String,
    name: String,
    span: Span,
    replacement: String,
}

/// From `start` up to before `end`.
#[derive(Debug, Deserialize)]
struct Span {
    start: Position,
    end: Position,
}

/// Counted from 1, in characters.
#[derive(Debug, Deserialize)]
struct Position {
    line: usize,
    column: usize,
}

enum Outcome {
    Caught,
    DoesNotCompile,
    Survived,
}

/// Tries every n-th mutant of the files whose paths contain `only`, and reports the survivors.
pub(crate) fn faults(only: &str, every: usize) -> anyhow::Result<Vec<String>> {
    ensure!(every > 0, "--every 0: nothing would be tried; 1 tries all");
    let list = Command::new("cargo")
        .args(["mutants", "--list", "--json"])
        .current_dir(root())
        .output()
        .context("cargo-mutants: install it with `cargo install cargo-mutants --locked`")?;
    ensure!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
    let mutants: Vec<Mutant> = serde_json::from_slice(&list.stdout)?;
    let tree = Tree::copy("mutants")?;
    let mut survivors = Vec::new();
    let chosen = mutants.iter().filter(|mutant| mutant.file.contains(only)).step_by(every);
    for mutant in chosen {
        let change = |whole: &str| replaced(whole, mutant);
        let outcome = tree.with_change(&mutant.file, change, || try_suites(&tree, &mutant.file))?;
        let outcome =
            outcome.with_context(|| format!("{}: outside of its file", mutant.name))??;
        let said = match outcome {
            Outcome::Caught => "caught",
            Outcome::DoesNotCompile => "does not compile",
            Outcome::Survived => {
                survivors.push(mutant.name.clone());
                "SURVIVED"
            }
        };
        println!("{}: {said}", mutant.name);
    }
    Ok(survivors)
}

fn replaced(whole: &str, Mutant { span, replacement, .. }: &Mutant) -> Option<String> {
    let (start, end) = (offset(whole, &span.start)?, offset(whole, &span.end)?);
    Some([whole.get(..start)?, replacement, whole.get(end..)?].concat())
}

/// Returns the byte at a position.
fn offset(whole: &str, Position { line, column }: &Position) -> Option<usize> {
    let lines = whole.split_inclusive('\n');
    let before: usize = lines.clone().take(line.checked_sub(1)?).map(str::len).sum();
    let of_line = lines.clone().nth(line - 1)?;
    let (within, _) = of_line.char_indices().nth(column.checked_sub(1)?)?;
    Some(before + within)
}

fn try_suites(tree: &Tree, file: &str) -> anyhow::Result<Outcome> {
    let is_http = ["src/client", "src/server", "src/headers"].iter().any(|of| file.starts_with(of));
    for suite in if is_http { SUITES_OF_HTTP } else { SUITES } {
        let Ok(binary) = test_binary(tree.path(), suite) else {
            return Ok(Outcome::DoesNotCompile);
        };
        let mut run = Command::new(binary);
        run.current_dir(root()).env("PROPTEST_CASES", "32").env("RUST_BACKTRACE", "0");
        let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        match run.wait_timeout(TIME_LIMIT)? {
            Some(status) if status.success() => {}
            Some(_) => return Ok(Outcome::Caught),
            None => {
                run.kill()?;
                run.wait()?;
                return Ok(Outcome::Caught);
            }
        }
    }
    Ok(Outcome::Survived)
}
