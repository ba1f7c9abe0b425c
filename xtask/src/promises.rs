//! The tests of each promise, by their names: `w3_w8_…` shows the promises W3 and W8.
//!
//! The promises stand in `docs/promises.md`, each in a list item that begins with its code.

use std::fs;

use anyhow::ensure;
use comfy_table::{Table, presets};

use crate::package::{SERVER, SUITES, root, tests};

const PAGE: &str = "docs/promises.md";

/// Promises that the compiler keeps.
const COMPILED: &[&str] = &["C9"];

struct Promise {
    code: String,
    title: String,
    /// Each with its suite.
    tests: Vec<(&'static str, String)>,
}

/// Prints the table, and returns the promises without tests and the tests without promises.
pub(crate) fn faults(verbose: bool) -> anyhow::Result<Vec<String>> {
    let mut promises = read()?;
    let mut faults = Vec::new();
    for suite in SUITES {
        for test in tests(suite)? {
            let codes = codes(&test);
            if codes.is_empty() && *suite != SERVER {
                faults.push(format!("{suite}: the name of {test} begins with no promise"));
            }
            for code in codes {
                match promises.iter_mut().find(|promise| promise.code == code) {
                    Some(promise) => promise.tests.push((suite, test.clone())),
                    None => {
                        faults.push(format!("{suite}: {test} names {code}, which {PAGE} has not"))
                    }
                }
            }
        }
    }
    println!("{}", table(&promises, verbose));
    let without = promises.iter().filter(|promise| promise.tests.is_empty());
    let without = without.filter(|promise| !COMPILED.contains(&promise.code.as_str()));
    faults.extend(without.map(|promise| format!("{} has no test", promise.code)));
    Ok(faults)
}

/// Reads items such as `- **C1 One layer, one limit.** State is …`.
fn read() -> anyhow::Result<Vec<Promise>> {
    let page = fs::read_to_string(root().join(PAGE))?;
    let items = page.lines().filter_map(|line| line.strip_prefix("- **"));
    let promises: Vec<_> = items
        .filter_map(|item| {
            let (code, rest) = item.split_once(' ')?;
            let title = rest.split("**").next()?.trim_end_matches('.');
            is_code(code).then(|| Promise { code: code.into(), title: title.into(), tests: vec![] })
        })
        .collect();
    ensure!(!promises.is_empty(), "{PAGE} has no item that begins with a promise");
    Ok(promises)
}

fn is_code(part: &str) -> bool {
    let number = part.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    part.len() == number.len() + 1 && !number.is_empty() && number.parse::<u32>().is_ok()
}

/// Returns the promises that the name of a test begins with.
fn codes(test: &str) -> Vec<String> {
    test.split('_').take_while(|part| is_code(part)).map(str::to_uppercase).collect()
}

fn table(promises: &[Promise], verbose: bool) -> Table {
    let mut table = Table::new();
    let of_suites = if verbose { &[] } else { SUITES };
    let header = ["promise", "", "tests"].into_iter().chain(of_suites.iter().copied());
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
    for Promise { code, title, tests } in promises {
        let names = || tests.iter().map(|(_, test)| test.as_str()).collect::<Vec<_>>().join("\n");
        let all = if verbose { names() } else { tests.len().to_string() };
        let of = |suite: &&str| tests.iter().filter(|(of, _)| of == suite).count();
        let counts = of_suites.iter().map(|suite| match of(suite) {
            0 => String::new(),
            count => count.to_string(),
        });
        table.add_row([code.clone(), title.clone(), all].into_iter().chain(counts));
    }
    table
}
