//! Makes the mutations, one at a time, in a copy of the sources, and runs the tests that must fail then.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    mutations::{MUTATIONS, Mutation},
    suites::{ROOT, Results, cargo},
};

/// What is copied.
const SOURCES: &[&str] =
    &["Cargo.toml", "Cargo.lock", "README.md", "src", "tests", "examples", "benches"];

/// A test that takes longer hangs, which is no way to notice something.
const TIME_LIMIT: Duration = Duration::from_secs(180);

/// What came of a mutation.
pub(crate) struct Outcome {
    mutation: &'static Mutation,
    survived: Vec<String>,
}

impl Outcome {
    pub(crate) fn what(&self) -> String {
        self.mutation.what.to_owned()
    }

    pub(crate) fn place(&self) -> String {
        self.mutation.file.trim_start_matches("src/").to_owned()
    }

    pub(crate) fn caught_by(&self) -> String {
        if self.survived.is_empty() {
            self.mutation.caught_by.join(", ")
        } else {
            "NOT CAUGHT".to_owned()
        }
    }

    pub(crate) fn caught_by_any_of(&self, tests: &[String]) -> bool {
        self.survived.is_empty()
            && self.mutation.caught_by.iter().any(|by| tests.iter().any(|test| test == by))
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        let what = self.mutation.what;
        self.survived.iter().map(|why| format!("{what}: {why}")).collect()
    }
}

/// Models, oracles and scenes that no mutation makes fail.
pub(crate) fn models_without(results: &Results) -> Vec<String> {
    let caught = |model: &str| MUTATIONS.iter().any(|mutation| mutation.caught_by.contains(&model));
    let named = ["model", "oracle", "scene"].into_iter().flat_map(|kind| results.of_kind(kind));
    let without = named.filter(|name| !caught(name));
    without.map(|name| format!("no mutation makes {name} fail")).collect()
}

/// Tries those with `only` in them, of these every so manyth. If it isn't `known` that the tests that
/// are to fail pass as long as nothing is wrong, they are run to see that, too.
pub(crate) fn try_all(
    only: &str,
    every: usize,
    known: bool,
) -> Result<Vec<Outcome>, Box<dyn Error>> {
    let tree = Tree::copy()?;
    let chosen = |mutation: &&Mutation| {
        mutation.what.contains(only)
            || mutation.file.contains(only)
            || mutation.caught_by.iter().any(|test| test.contains(only))
    };
    let chosen: Vec<_> = MUTATIONS.iter().filter(chosen).step_by(every.max(1)).collect();
    if !known {
        tree.passes_as_it_is(&chosen)?;
    }
    let mut outcomes = Vec::new();
    for mutation in chosen {
        let outcome = tree.attempt(mutation)?;
        println!("{}: {}", outcome.what(), outcome.caught_by());
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// A copy of the package, to be broken.
struct Tree {
    root: PathBuf,
}

impl Tree {
    fn copy() -> io::Result<Self> {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        fs::create_dir_all(&root)?;
        for source in SOURCES {
            copy(&Path::new(ROOT).join(source), &root.join(source))?;
        }
        Ok(Self { root })
    }

    fn passes_as_it_is(&self, mutations: &[&Mutation]) -> Result<(), Box<dyn Error>> {
        let mut tests: Vec<_> = mutations
            .iter()
            .flat_map(|mutation| mutation.caught_by.iter().map(|test| (mutation.target, *test)))
            .collect();
        tests.sort_unstable();
        tests.dedup();
        for (target, test) in tests {
            if self.fails(target, test)? {
                return Err(format!("{test} fails as things are").into());
            }
        }
        Ok(())
    }

    /// Breaks the sources, runs what must notice, and mends them again.
    fn attempt(&self, mutation: &'static Mutation) -> Result<Outcome, Box<dyn Error>> {
        let path = self.root.join(mutation.file);
        let whole = fs::read_to_string(&path)?;
        let mut survived = Vec::new();
        match broken(&whole, mutation) {
            None => survived.push("its place is not in the sources any more".to_owned()),
            Some(broken) => {
                fs::write(&path, broken)?;
                survived.extend(self.survivors(mutation)?);
                fs::write(&path, whole)?;
                // What failed here is no case for the next one.
                let _ = fs::remove_dir_all(self.root.join("tests/proptest-regressions"));
            }
        }
        Ok(Outcome { mutation, survived })
    }

    fn survivors(&self, mutation: &Mutation) -> Result<Vec<String>, Box<dyn Error>> {
        let build = self
            .cargo(&["test", "--quiet", "--no-run", "--all-features", "--test", mutation.target])
            .output()?;
        if !build.status.success() {
            return Ok(vec![format!("it doesn't compile: {}", first_error(&build.stderr))]);
        }
        let mut survived = Vec::new();
        for test in mutation.caught_by {
            if !self.fails(mutation.target, test)? {
                survived.push(format!("{test} passes all the same"));
            }
        }
        Ok(survived)
    }

    #[allow(clippy::disallowed_methods, reason = "how long a test takes is real time")]
    fn fails(&self, target: &str, test: &str) -> Result<bool, Box<dyn Error>> {
        // Into files: a pipe that is full would hold it up.
        let said = |name: &str| Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let (stdout, stderr) = (said("mutant.stdout"), said("mutant.stderr"));
        let mut run = self.cargo(&["test", "--all-features", "--test", target, "--", test]);
        run.stdout(fs::File::create(&stdout)?).stderr(fs::File::create(&stderr)?);
        let mut run = run.spawn()?;
        let began = Instant::now();
        let status = loop {
            if let Some(status) = run.try_wait()? {
                break status;
            }
            if began.elapsed() > TIME_LIMIT {
                run.kill()?;
                return Err(format!("{test} in {target} hangs").into());
            }
            thread::sleep(Duration::from_millis(10));
        };
        let (said, complained) = (fs::read(&stdout)?, fs::read(&stderr)?);
        let said = String::from_utf8_lossy(&said);
        // By the exit status: a deadlocked model ends its process.
        match said.lines().find(|line| line.starts_with("running ")) {
            Some("running 1 test") => Ok(!status.success()),
            Some(ran) => Err(format!("{test} in {target}: {ran}").into()),
            None => Err(format!("{test} in {target}: {}", first_error(&complained)).into()),
        }
    }

    /// The target directory is the package's own, so that nothing else is built again.
    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo(self.root.to_str().expect("cargo gave the path"), arguments);
        let target =
            Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in the target");
        // The same schedules each time: caught once is caught always.
        command.env("CARGO_TARGET_DIR", target).env("PROPTEST_RNG_SEED", "1");
        command.env("SHUTTLE_RANDOM_SEED", "1");
        command
    }
}

fn first_error(stderr: &[u8]) -> String {
    let stderr = String::from_utf8_lossy(stderr);
    stderr.lines().find(|line| line.starts_with("error")).unwrap_or("nothing ran").to_owned()
}

fn broken(whole: &str, mutation: &Mutation) -> Option<String> {
    let start = whole.find(mutation.within)?;
    let at = start + whole[start..].find(mutation.from)?;
    let (before, rest) = whole.split_at(at);
    Some([before, mutation.to, &rest[mutation.from.len()..]].concat())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
