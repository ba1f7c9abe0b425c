//! The code in `docs/frameworks.md` stands in the files that are named there, which are compiled.

use std::{error::Error, fs};

use crate::suites::ROOT;

const PAGE: &str = "docs/frameworks.md";

/// Of each snippet that doesn't stand in the file named last before it.
pub(crate) fn faults() -> Result<Vec<String>, Box<dyn Error>> {
    let page = fs::read_to_string(format!("{ROOT}/{PAGE}"))?;
    let (mut faults, mut compared) = (Vec::new(), 0);
    let mut compare = |snippet: &str, (path, text): &(String, String)| {
        compared += 1;
        if !text.contains(&without_space(snippet)) {
            faults.push(format!("{PAGE} has this of {path}, where it isn't: {snippet}"));
        }
    };
    let mut file = (String::new(), String::new());
    // A row of a table names its file behind the code, a section before it.
    let mut snippet: Option<String> = None;
    for line in page.lines() {
        if let Some(code) = &mut snippet {
            if line == "```" {
                compare(code, &file);
                snippet = None;
            } else {
                *code += line;
                *code += "\n";
            }
            continue;
        }
        if let Some((path, _)) = line.split_once("](../").and_then(|(_, it)| it.split_once(')')) {
            let text = fs::read_to_string(format!("{ROOT}/{path}"))?;
            file = (path.to_owned(), without_space(&text));
            if line.starts_with('|') {
                let code = line.split('`').skip(1).step_by(2).filter(|code| code.ends_with(';'));
                code.for_each(|code| compare(code, &file));
            }
        }
        if line == "```rust" {
            snippet = Some(String::new());
        }
    }
    if compared == 0 {
        faults.push(format!("{PAGE} has no snippets"));
    }
    Ok(faults)
}

/// Indented and broken as may be.
fn without_space(code: &str) -> String {
    code.split_whitespace().collect()
}
