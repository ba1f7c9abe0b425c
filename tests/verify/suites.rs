//! Runs the test targets and reads what they print.

use std::{
    collections::BTreeMap,
    error::Error,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

/// Where the package is.
pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The test targets, each with the environment of its long form.
const SUITES: &[(&str, &[(&str, &str)])] = &[
    ("promises", &[("PROPTEST_CASES", "5000")]),
    ("contract", &[]),
    ("edges", &[("PROPTEST_CASES", "50000")]),
    ("http", &[("PROPTEST_CASES", "50000")]),
    ("sockets", &[]),
    ("models", &[]),
    ("shuttle", &[("SHUTTLE_ITERATIONS", "50000")]),
    ("storms", &[("STORM_ROUNDS", "10")]),
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Short,
    Long,
}

/// What a test printed about itself: `KIND NAME: KEY=VALUE, ...`.
struct Line {
    kind: &'static str,
    name: String,
    values: Vec<(String, String)>,
}

/// What came of running the suites.
#[derive(Default)]
pub(crate) struct Results {
    /// Of which suite each is, and whether it passed.
    tests: BTreeMap<String, (&'static str, bool)>,
    lines: Vec<Line>,
    broken: Vec<String>,
}

/// A cargo command for the package at `root`.
pub(crate) fn cargo(root: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root).env("RUST_BACKTRACE", "0").env("NO_COLOR", "1");
    command
}

/// The names of all tests there are.
pub(crate) fn names() -> Result<Vec<String>, Box<dyn Error>> {
    let mut names = Vec::new();
    for (suite, _) in SUITES {
        let output =
            cargo(ROOT, &["test", "--quiet", "--all-features", "--test", suite, "--", "--list"])
                .output()?;
        let said = String::from_utf8(output.stdout)?;
        let paths = said.lines().filter_map(|line| line.strip_suffix(": test"));
        names.extend(paths.map(|path| last(path).to_owned()));
    }
    Ok(names)
}

/// The last part of a path.
fn last(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

/// Runs them all, one after the other, and shows what they print about themselves.
pub(crate) fn run(length: Length) -> Result<Results, Box<dyn Error>> {
    let mut results = Results::default();
    for (suite, long) in SUITES {
        println!("== {suite}");
        let mut command =
            cargo(ROOT, &["test", "--all-features", "--test", suite, "--", "--nocapture"]);
        if length == Length::Long {
            command.envs(long.iter().copied());
        }
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().expect("piped");
        for line in BufReader::new(stdout).lines() {
            results.read(suite, &line?);
        }
        if !child.wait()?.success() {
            results.broken.push(format!("the suite {suite} failed"));
        }
    }
    results.broken.extend(outage(length)?);
    Ok(results)
}

/// Sends retries through a simulated outage, which checks itself.
fn outage(length: Length) -> Result<Option<String>, Box<dyn Error>> {
    println!("== outage");
    let arguments: &[&str] = match length {
        Length::Short => &["run", "--example", "storm"],
        Length::Long => &["run", "--release", "--example", "storm", "--", "--outage", "10m"],
    };
    let kept = cargo(ROOT, arguments).status()?.success();
    Ok((!kept).then(|| "the outage showed a budget overdrawn".to_owned()))
}

impl Results {
    fn read(&mut self, suite: &'static str, line: &str) {
        for kind in ["model", "oracle", "scene", "storm"] {
            // The test runner's dots and half lines may stand before it.
            if let Some((_, said)) = line.split_once(&format!("{kind} ")) {
                if let Some((name, values)) = said.split_once(": ") {
                    let values = values.split_whitespace().filter_map(|pair| pair.split_once('='));
                    let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
                    let values: Vec<_> = values.map(own).collect();
                    if !values.is_empty() {
                        println!("{kind} {said}");
                        self.lines.push(Line { kind, name: name.to_owned(), values });
                    }
                }
            }
        }
        if let Some((path, outcome)) =
            line.strip_prefix("test ").and_then(|l| l.split_once(" ... "))
        {
            let name = last(path).to_owned();
            match outcome.trim() {
                "ok" => drop(self.tests.insert(name, (suite, true))),
                "FAILED" => drop(self.tests.insert(name, (suite, false))),
                _ => {}
            }
        }
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        let failed = self.tests.iter().filter(|(_, (_, passed))| !passed);
        let failed = failed.map(|(name, _)| format!("the test {name} failed"));
        self.broken.iter().cloned().chain(failed).collect()
    }

    pub(crate) fn passed(&self, test: &str) -> bool {
        self.tests.get(test).is_some_and(|(_, passed)| *passed)
    }

    /// The names of all that said something of this kind.
    pub(crate) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.lines.iter().filter(move |line| line.kind == kind).map(|line| line.name.as_str())
    }

    /// How many of `tests` are of this suite and passed.
    pub(crate) fn count(&self, suite: &str, tests: &[String]) -> u64 {
        let of = |test: &&String| {
            self.tests.get(*test).is_some_and(|&(of, passed)| of == suite && passed)
        };
        tests.iter().filter(of).count() as u64
    }

    /// The sum of what `tests` said of `key`.
    pub(crate) fn sum(&self, kind: &str, key: &str, tests: &[String]) -> u64 {
        let said = self.lines.iter().filter(|line| line.kind == kind && tests.contains(&line.name));
        let values = said.flat_map(|line| &line.values).filter(|(name, _)| name == key);
        values.filter_map(|(_, value)| value.parse::<u64>().ok()).sum()
    }
}
