//! Properties: random cases, counted, and the seeds of those that fail kept.

use std::{any::type_name, cell::Cell};

use proptest::{
    prelude::*,
    test_runner::{FileFailurePersistence, TestRunner},
};

/// Tries random cases, and prints how many, and how many steps they took in all.
///
/// `file` is where the test stands: its failures are kept in `proptest-regressions` beside the tests.
pub(crate) fn hold<S: Strategy>(
    file: &'static str,
    name: &str,
    cases: S,
    test: impl Fn(S::Value) -> Result<usize, TestCaseError>,
) {
    let kept = FileFailurePersistence::SourceParallel("proptest-regressions");
    let mut runner = TestRunner::new(ProptestConfig {
        source_file: Some(file),
        failure_persistence: Some(Box::new(kept)),
        ..ProptestConfig::default()
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

/// The name of the test that this closure was written in.
pub(crate) fn name_of<T>(_: &T) -> &'static str {
    let name = type_name::<T>().trim_end_matches("::{{closure}}");
    name.rsplit("::").next().unwrap_or(name)
}
