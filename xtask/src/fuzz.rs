//! Fuzzes the readers of headers and the replay of bodies, guided by coverage.
//!
//! The targets are those of cargo-fuzz, which need not be installed: a stable compiler has the pass
//! that counts coverage, and libFuzzer is built from the source in `libfuzzer-sys`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use crate::package::{cargo, root};

const TARGETS: &[&str] = &["hints", "replay"];

/// The flags of cargo-fuzz without a sanitizer: the crate has no `unsafe`.
const RUSTFLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
];

/// An input may take this many seconds; a usual one takes microseconds.
const TIMEOUT: &str = "-timeout=10";

/// The longest input, in bytes. Longer ones find nothing new, and make a large corpus.
const MAX_LEN: &str = "-max_len=1024";

/// Runs the targets on one input. Returns those that crash.
pub(crate) fn crashes(only: &str, input: &Path) -> anyhow::Result<Vec<String>> {
    ensure!(input.is_file(), "{} is no file", input.display());
    let mut faults = Vec::new();
    for target in chosen(only) {
        if !Command::new(build(target)?).arg(input).status()?.success() {
            faults.push(format!("{target} crashes on {}", input.display()));
        }
    }
    Ok(faults)
}

fn chosen(only: &str) -> impl Iterator<Item = &'static str> {
    TARGETS.iter().copied().filter(move |target| target.contains(only))
}

/// Runs each target for `seconds`, from the checked-in inputs on. Returns the targets that crash.
///
/// With `keep`, adds to the checked-in inputs those that cover more, and drops those that others
/// cover.
pub(crate) fn faults(only: &str, seconds: u32, keep: bool) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    for target in chosen(only) {
        let fuzz = Fuzz { binary: build(target)?, target };
        if !fuzz.run(seconds)? {
            let artifacts = fuzz.artifacts();
            faults.push(format!("{target} crashes on the latest input in {}", artifacts.display()));
        } else if keep {
            fuzz.minimize()?;
        }
    }
    Ok(faults)
}

/// Builds the target with coverage, and returns its binary.
fn build(target: &str) -> anyhow::Result<PathBuf> {
    let version = Command::new("rustc").arg("-vV").output()?;
    let version = String::from_utf8(version.stdout)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc names no host")?;
    // With a target, the flags apply neither to build scripts nor to procedural macros.
    let arguments = ["build", "--release", "--locked", "--bin", target, "--target", host];
    let status = cargo(&folder(), &arguments)
        .env("RUSTFLAGS", RUSTFLAGS.join(" "))
        .env("CARGO_TARGET_DIR", built())
        .status()?;
    ensure!(status.success(), "{target} does not build");
    Ok(built().join(host).join("release").join(target))
}

fn folder() -> PathBuf {
    root().join("fuzz")
}

fn built() -> PathBuf {
    root().join("target").join("fuzz")
}

struct Fuzz<'a> {
    binary: PathBuf,
    target: &'a str,
}

impl Fuzz<'_> {
    /// The inputs that are checked in.
    fn corpus(&self) -> PathBuf {
        folder().join("corpus").join(self.target)
    }

    /// The inputs found by this machine.
    fn found(&self) -> PathBuf {
        built().join("corpus").join(self.target)
    }

    fn artifacts(&self) -> PathBuf {
        built().join("artifacts").join(self.target)
    }

    fn libfuzzer(&self, folders: &[&Path]) -> anyhow::Result<Command> {
        let mut command = Command::new(&self.binary);
        for folder in folders {
            fs::create_dir_all(folder)?;
            command.arg(folder);
        }
        command.args([TIMEOUT, MAX_LEN, "-rss_limit_mb=1024"]);
        Ok(command)
    }

    /// Returns false if an input crashes.
    fn run(&self, seconds: u32) -> anyhow::Result<bool> {
        fs::create_dir_all(self.artifacts())?;
        let mut command = self.libfuzzer(&[&self.found(), &self.corpus()])?;
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", self.artifacts().display()))
            // The same inputs in each run, as far as the time goes: a crash is found anew.
            .args(["-print_final_stats=1", "-seed=1"]);
        let dictionary = folder().join(format!("{}.dict", self.target));
        if dictionary.exists() {
            command.arg(format!("-dict={}", dictionary.display()));
        }
        Ok(command.status()?.success())
    }

    fn minimize(&self) -> anyhow::Result<()> {
        let merged = built().join("merged");
        let _ = fs::remove_dir_all(&merged);
        let mut command = self.libfuzzer(&[&merged, &self.corpus(), &self.found()])?;
        // By edges alone: one input for each number of passes would be thousands.
        command.args(["-set_cover_merge=1", "-use_counters=0"]);
        ensure!(command.status()?.success(), "the inputs do not merge");
        fs::remove_dir_all(self.corpus())?;
        fs::rename(merged, self.corpus())?;
        Ok(())
    }
}
