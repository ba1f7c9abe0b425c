//! Runs the suites in their long form.

use crate::package::{SUITES, cargo, chosen, root};

/// More cases, schedules and rounds than `cargo test` runs.
const LONG: &[(&str, &str)] =
    &[("PROPTEST_CASES", "50000"), ("SHUTTLE_ITERATIONS", "50000"), ("STORM_ROUNDS", "10")];

/// The simulated outage checks itself.
const OUTAGE: &[&str] = &["run", "--release", "--example", "storm", "--", "--outage", "10m"];

/// So does the overloaded server.
const OVERLOAD: &[&str] = &["run", "--release", "--example", "overload"];

/// Returns the suites that fail.
pub(crate) fn faults() -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    for suite in SUITES {
        let mut test = cargo(&root(), &["test", "--all-features"]);
        test.args(chosen(suite)).envs(LONG.iter().copied());
        // Each case of the promises' oracles, and of the key table's, is a schedule of many steps.
        if matches!(*suite, "lib" | "promises") {
            test.env("PROPTEST_CASES", "5000");
        }
        if !test.status()?.success() {
            faults.push(format!("the suite {suite} fails"));
        }
    }
    if !cargo(&root(), OUTAGE).status()?.success() {
        faults.push("the outage overdraws the budget".to_owned());
    }
    if !cargo(&root(), OVERLOAD).status()?.success() {
        faults.push("a claim about limits before an overloaded server is broken".to_owned());
    }
    Ok(faults)
}
