//! The package under test: its folder, its suites, and cargo.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

/// The suites that show promises, in the names of their tests.
pub(crate) const SUITES: &[&str] = &[
    "lib", "promises", "adaptive", "contract", "edges", "http", "sockets", "models", "shared",
    "shuttle", "overload", "storms", OBSERVED, SERVER, FLEET,
];

/// The suite of the example that is a package of its own.
const OBSERVED: &str = "observed";

/// The suite of the store for Redis, which is a package of its own. It shows promises, and beside
/// them the codes of errors and the connections of the client.
pub(crate) const SERVER: &str = "server";

/// That of processes that share a quota through it.
const FLEET: &str = "fleet";

/// Returns the folder of the package.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the package").to_owned()
}

/// Returns a cargo command for the package at `root`.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root).env("RUST_BACKTRACE", "0").env("NO_COLOR", "1");
    command
}

/// Returns the arguments that choose `suite`. The tests that stand beside the sources are `lib`.
pub(crate) fn chosen(suite: &str) -> Vec<&str> {
    match suite {
        "lib" => vec!["--lib"],
        OBSERVED => vec!["--package", "floodgate-observe", "--test", suite],
        SERVER | FLEET => vec!["--package", "tower-floodgate-redis", "--test", suite],
        _ => vec!["--test", suite],
    }
}

/// Builds the test binary of `suite` in the package at `root`, and returns its path.
///
/// The target directory is that of the package itself, so that no dependency is built again.
pub(crate) fn test_binary(root: &Path, suite: &str) -> anyhow::Result<PathBuf> {
    let target = self::root().join("target");
    let target = env::var_os("CARGO_TARGET_DIR").map_or(target, PathBuf::from);
    let mut arguments = vec!["test", "--no-run", "--all-features", "--message-format=json"];
    arguments.extend(chosen(suite));
    let output = cargo(root, &arguments).env("CARGO_TARGET_DIR", target).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout)?;
    // Programs of the package that the tests start are built, too.
    let tests = stdout.lines().filter(|line| {
        line.split("\"profile\":").nth(1).is_some_and(|profile| profile.contains("\"test\":true"))
    });
    let executables = tests.filter_map(|line| line.split("\"executable\":\"").nth(1));
    let path = executables.filter_map(|rest| rest.split('"').next()).next_back();
    Ok(path.with_context(|| format!("cargo built no executable for {suite}"))?.into())
}

/// Returns the names of the tests of `suite`, without the modules that they stand in.
pub(crate) fn tests(suite: &str) -> anyhow::Result<Vec<String>> {
    listed(&test_binary(&root(), suite)?)
}

/// Returns the names of the tests in `binary`, without the modules that they stand in.
pub(crate) fn listed(binary: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new(binary).arg("--list").output()?;
    let listed = String::from_utf8(output.stdout)?;
    let paths = listed.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(paths.map(|path| path.rsplit("::").next().unwrap_or(path).to_owned()).collect())
}
