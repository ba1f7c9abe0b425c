//! Measures comments and Markdown against the rules for the text in CONTRIBUTING.md.
//!
//! Code in backticks, fenced blocks and link targets do not count. Lines of tables and lines with
//! an address may be longer than the bound.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use anyhow::Context;
use regex::Regex;
use walkdir::WalkDir;

use crate::package::root;

const TREE: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "RELEASING.md",
    "SECURITY.md",
    "docs",
    "src",
    "tests",
    "examples",
    "redis",
    "benches",
    "xtask",
];

/// Pronouns of persons, per 1,000 words.
const MAX_PRONOUNS: f64 = 2.0;
/// Clauses with "what" and its kin, per 1,000 words.
const MAX_WHATS: f64 = 3.0;
const MAX_COLUMNS: usize = 100;

static PRONOUN: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        "who|whoever|whose|whom|somebody|nobody|anybody|everybody|those who|another one|one who",
    )
});
static WHAT: LazyLock<Regex> = LazyLock::new(|| pattern("what|whatever|wherever|whichever"));
static WORD: LazyLock<Regex> = LazyLock::new(|| regex("[A-Za-z][A-Za-z'-]*"));
static COMMENT: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s*//[/!]? ?(.*)"));
static CODE: LazyLock<Regex> = LazyLock::new(|| regex("`[^`]*`"));
static TARGET: LazyLock<Regex> = LazyLock::new(|| regex(r"\]\([^)]*\)"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("is a valid pattern")
}

fn pattern(words: &str) -> Regex {
    regex(&format!(r"(?i)\b({words})\b"))
}

/// Counts of one root.
#[derive(Default)]
struct Counts {
    words: usize,
    pronouns: usize,
    whats: usize,
    long_lines: usize,
}

impl Counts {
    #[allow(clippy::cast_precision_loss, reason = "texts have fewer than 2^52 words")]
    fn per_thousand(&self, count: usize) -> f64 {
        1000.0 * count as f64 / self.words.max(1) as f64
    }
}

/// Prints the counts of each root, and returns the bounds that are exceeded.
pub(crate) fn faults(paths: &[PathBuf], verbose: bool) -> anyhow::Result<Vec<String>> {
    let tree = || TREE.iter().map(|path| root().join(path)).filter(|path| path.exists()).collect();
    let roots = if paths.is_empty() { tree() } else { paths.to_vec() };
    let mut faults = Vec::new();
    for root in roots {
        let mut counts = Counts::default();
        for file in files(&root) {
            count(&file, &mut counts, verbose).with_context(|| file.display().to_string())?;
        }
        let name = root.file_name().unwrap_or(root.as_os_str()).to_string_lossy();
        let (pronouns, whats) =
            (counts.per_thousand(counts.pronouns), counts.per_thousand(counts.whats));
        println!(
            "{name:16} {:6} words {pronouns:5.1} pronouns {whats:5.1} what-clauses per 1,000 {:4} long lines",
            counts.words, counts.long_lines
        );
        let mut exceeded = |is: bool, what: String| {
            if is {
                faults.push(format!("{name} has {what}"));
            }
        };
        exceeded(pronouns > MAX_PRONOUNS, format!("{pronouns:.1} pronouns per 1,000 words"));
        exceeded(whats > MAX_WHATS, format!("{whats:.1} what-clauses per 1,000 words"));
        exceeded(counts.long_lines > 0, format!("{} long lines", counts.long_lines));
    }
    Ok(faults)
}

fn files(root: &Path) -> Vec<PathBuf> {
    let entries = WalkDir::new(root).sort_by_file_name().into_iter();
    let entries = entries.filter_entry(|entry| entry.file_name() != "target");
    let is_text = |path: &Path| path.extension().is_some_and(|it| it == "rs" || it == "md");
    entries
        .filter_map(Result::ok)
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.is_file() && is_text(path))
        .collect()
}

fn count(file: &Path, counts: &mut Counts, verbose: bool) -> anyhow::Result<()> {
    let is_rust = file.extension().is_some_and(|it| it == "rs");
    let mut is_fenced = false;
    for (index, line) in fs::read_to_string(file)?.lines().enumerate() {
        let text = match COMMENT.captures(line) {
            Some(comment) if is_rust => comment.get(1).map_or("", |text| text.as_str()),
            None if is_rust => continue,
            _ => line,
        };
        if text.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
            continue;
        }
        if is_fenced {
            continue;
        }
        let is_exempt = text.trim_start().starts_with('|') || text.contains("http");
        let is_long = line.chars().count() > MAX_COLUMNS && !is_exempt;
        let text = CODE.replace_all(text, "");
        let text = TARGET.replace_all(&text, "]");
        let pronouns = PRONOUN.find_iter(&text).count();
        let whats = WHAT.find_iter(&text).count();
        counts.words += WORD.find_iter(&text).count();
        counts.pronouns += pronouns;
        counts.whats += whats;
        counts.long_lines += usize::from(is_long);
        if verbose && (pronouns > 0 || whats > 0 || is_long) {
            println!("{}:{}: {}", file.display(), index + 1, line.trim());
        }
    }
    Ok(())
}
