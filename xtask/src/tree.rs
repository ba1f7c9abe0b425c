//! A copy of the package, to be changed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use walkdir::WalkDir;

use crate::package::{cargo, root};

/// The parts of the package that a copy needs for its tests.
const COPIED: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "src",
    "tests",
    "examples",
    "redis",
    "benches",
    "docs",
    "xtask",
];

/// The packages of the copy that are built again after a change.
const BUILT: &[&str] = &["tower-floodgate", "floodgate-tests", "adaptive-simulation"];

/// A copy in the target directory.
pub(crate) struct Tree(PathBuf);

impl Tree {
    pub(crate) fn copy(name: &str) -> anyhow::Result<Self> {
        let copy = root().join("target").join(name);
        for folder in ["src", "tests"] {
            let _ = fs::remove_dir_all(copy.join(folder));
        }
        for part in COPIED {
            for entry in WalkDir::new(root().join(part)).into_iter().filter_map(Result::ok) {
                let to = copy.join(entry.path().strip_prefix(root())?);
                if entry.file_type().is_file() {
                    fs::create_dir_all(to.parent().expect("is inside the copy"))?;
                    fs::copy(entry.path(), to)?;
                }
            }
        }
        Ok(Self(copy))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Changes `file` for the time of `run`. Returns `None` if `change` does.
    pub(crate) fn with_change<T>(
        &self,
        file: &str,
        change: impl FnOnce(&str) -> Option<String>,
        run: impl FnOnce() -> T,
    ) -> anyhow::Result<Option<T>> {
        let path = self.0.join(file);
        let whole = fs::read_to_string(&path)?;
        let Some(changed) = change(&whole) else { return Ok(None) };
        fs::write(&path, changed)?;
        let result = run();
        fs::write(&path, whole)?;
        Ok(Some(result))
    }
}

/// Removes what was built of the copy. cargo knows a package by its path in the workspace, so it
/// would take a library with a change for the one of these sources, which are older.
impl Drop for Tree {
    fn drop(&mut self) {
        let packages = BUILT.iter().flat_map(|package| ["--package", *package]);
        let arguments: Vec<_> = ["clean", "--quiet"].into_iter().chain(packages).collect();
        match cargo(&root(), &arguments).status() {
            Ok(status) if status.success() => {}
            failed => eprintln!("`cargo {}`: {failed:?}", arguments.join(" ")),
        }
    }
}
