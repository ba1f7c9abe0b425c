//! Properties, tried with random cases.

#[path = "test_name.rs"]
mod test_name;

use std::{cell::Cell, env};

use proptest::{
    prelude::*,
    test_runner::{FileFailurePersistence, TestRunner},
};

pub(crate) use self::test_name::name_of;

/// Tries random cases, and prints the numbers of cases and of steps.
///
/// `file` is the file of the test. The seeds of cases that fail are kept in `proptest-regressions`
/// beside the tests. `test` returns the number of its steps.
pub(crate) fn hold<S: Strategy>(
    file: &'static str,
    name: &str,
    cases: S,
    test: impl Fn(S::Value) -> Result<usize, TestCaseError>,
) {
    hold_slowly(u32::MAX, file, name, cases, test);
}

/// Tries up to `most` random cases, each of which takes long, unless `PROPTEST_CASES` is set.
pub(crate) fn hold_slowly<S: Strategy>(
    most: u32,
    file: &'static str,
    name: &str,
    cases: S,
    test: impl Fn(S::Value) -> Result<usize, TestCaseError>,
) {
    let config = ProptestConfig::default();
    let is_set = env::var_os("PROPTEST_CASES").is_some();
    let kept = FileFailurePersistence::SourceParallel("proptest-regressions");
    let mut runner = TestRunner::new(ProptestConfig {
        cases: if is_set { config.cases } else { config.cases.min(most) },
        source_file: Some(file),
        failure_persistence: Some(Box::new(kept)),
        ..config
    });
    let (tried, steps) = (Cell::new(0_u64), Cell::new(0));
    let outcome = runner.run(&cases, |case| {
        tried.set(tried.get() + 1);
        steps.set(steps.get() + test(case)?);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    println!("oracle {name}: schedules={} steps={}", tried.get(), steps.get());
}
