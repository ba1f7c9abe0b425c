//! The file that is published: its contents, its examples, and the links of its front page.

use std::fs;

use anyhow::{Context, ensure};
use cargo_metadata::MetadataCommand;
use pulldown_cmark::{Event, Parser, Tag};

use crate::package::{cargo, root};

/// The names at its top. A user needs each; cargo adds the last three.
const CONTENTS: &[&str] = &[
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "docs",
    "examples",
    "src",
    "Cargo.lock",
    "Cargo.toml",
    "Cargo.toml.orig",
];

/// Beyond this, something has come in that users don't need.
const MAX_BYTES: u64 = 704 * 1024;

/// Packs the package as `cargo publish` does, and returns the faults of the result.
pub(crate) fn faults() -> anyhow::Result<Vec<String>> {
    let metadata =
        MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec()?;
    let package = metadata.root_package().context("the workspace has a package at its root")?;
    let packing = cargo(&root(), &["package", "--allow-dirty", "--color=never", "--package"])
        .arg(&*package.name)
        .output()?;
    let said = String::from_utf8_lossy(&packing.stderr);
    ensure!(packing.status.success(), "{said}");
    let warnings = said.lines().filter(|line| line.starts_with("warning"));
    let mut faults: Vec<_> = warnings.map(ToOwned::to_owned).collect();

    let unpacked = metadata.target_directory.join("package");
    let unpacked = unpacked.join(format!("{}-{}", package.name, package.version));
    let mut contents = Vec::new();
    for entry in fs::read_dir(&unpacked)? {
        contents.push(entry?.file_name().to_string_lossy().into_owned());
    }
    let is_of_cargo = |name: &str| name == ".cargo-ok" || name == ".cargo_vcs_info.json";
    let unexpected =
        contents.iter().filter(|name| !is_of_cargo(name) && !CONTENTS.contains(&&***name));
    faults.extend(unexpected.map(|name| format!("the package has {name}")));
    let absent = CONTENTS.iter().filter(|name| !contents.iter().any(|it| it == *name));
    faults.extend(absent.map(|name| format!("the package has no {name}")));

    let bytes = fs::metadata(format!("{unpacked}.crate"))?.len();
    println!("{} {}: {bytes} bytes", package.name, package.version);
    if bytes > MAX_BYTES {
        faults.push(format!("the package has {bytes} bytes, more than {MAX_BYTES}"));
    }

    // By the lock file in it, in the target directory that has most of it built.
    let check = ["check", "--quiet", "--locked", "--all-features", "--examples"];
    let examples = cargo(unpacked.as_std_path(), &check)
        .env("CARGO_TARGET_DIR", &metadata.target_directory)
        .output()?;
    if !examples.status.success() {
        let said = String::from_utf8_lossy(&examples.stderr);
        faults.push(format!("its examples do not compile: {said}"));
    }

    let readme = fs::read_to_string(unpacked.join("README.md"))?;
    let relative = targets(&readme).into_iter().filter(|to| !to.starts_with("https://"));
    faults.extend(relative.map(|to| format!("README.md: {to} leads nowhere on the registry")));
    Ok(faults)
}

/// Returns the targets of links and pictures, but for those on the page itself.
fn targets(markdown: &str) -> Vec<String> {
    let targets = Parser::new(markdown).filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url),
        _ => None,
    });
    targets.map(|to| to.to_string()).filter(|to| !to.starts_with('#')).collect()
}
