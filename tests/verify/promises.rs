//! Which tests hold us to which promise: what `tests/README.md` says.

use std::{error::Error, fs};

use crate::suites::ROOT;

pub(crate) struct Promise {
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) tests: Vec<String>,
}

/// Reads the tables: `| name | what | tests |`, the tests in backticks.
pub(crate) fn read() -> Result<Vec<Promise>, Box<dyn Error>> {
    let page = fs::read_to_string(format!("{ROOT}/tests/README.md"))?;
    let mut promises = Vec::new();
    for line in page.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, what, shown_by, _] = cells[..] else { continue };
        let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
        if letters.len() != 1 || letters == name {
            continue; // a header
        }
        let quoted = shown_by.split('`').skip(1).step_by(2);
        let tests = quoted.filter(|name| is_a_test(name)).map(str::to_owned);
        promises.push(Promise {
            name: name.to_owned(),
            what: what.to_owned(),
            tests: tests.collect(),
        });
    }
    Ok(promises)
}

/// Told from other things in backticks.
fn is_a_test(name: &str) -> bool {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.chars().all(letters) && name.matches('_').count() >= 2
}

/// Every test that is named is there, and every test that is there is named.
pub(crate) fn compare(promises: &[Promise], there: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    for Promise { name, tests, .. } in promises {
        if name != "C9" && tests.is_empty() {
            faults.push(format!("{name} has no test"));
        }
        for test in tests.iter().filter(|test| !there.contains(test)) {
            faults.push(format!("{name} names the test {test}, which is not there"));
        }
    }
    let named = |test: &&String| promises.iter().any(|promise| promise.tests.contains(test));
    for test in there.iter().filter(|test| !named(test)) {
        faults.push(format!("tests/README.md doesn't name the test {test}"));
    }
    faults
}
