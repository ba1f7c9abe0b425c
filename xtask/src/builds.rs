//! Builds the package from outside: a crate that depends on it, for each feature alone, none, the
//! default ones and all, with the lowest and the newest versions of all dependencies, the latter
//! for the `rust-version` of the package and for the newest compiler.
//!
//! Each build has a lock file of its own, so that nothing but the package chooses versions and
//! features. The code of the outside crate stands in `xtask/outside`, a file for each feature.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use cargo_metadata::{
    Dependency, DependencyKind, Metadata, MetadataCommand, Package,
    semver::{Version, VersionReq},
};
use serde_json::{Map, json};

use crate::package::{cargo, root};

/// Lints that do not depend on the versions of others.
const RUSTFLAGS: &str = "-D warnings -A deprecated";

/// Versions that others need and state too low, as of tonic 0.14. Without them, a build with the
/// lowest versions tells nothing of this package.
const STATED_TOO_LOW: &[(&str, &str)] = &[("tracing", "0.1.37")];

/// Chooses the versions of a lock file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Versions {
    /// The lowest that the manifests allow.
    Lowest,
    /// Those that cargo chooses for a new project with the `rust-version` of the package.
    Newest,
    /// Those that cargo chooses for a new project with the newest compiler.
    Latest,
}

/// Builds all, and returns the failures and the wrong statements of the manifest.
pub(crate) fn faults() -> anyhow::Result<Vec<String>> {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).exec()?;
    let package = metadata.root_package().context("the workspace has a package at its root")?;
    let mut faults = without_code(package);
    let mut lowest = BTreeMap::new();
    let mut silent = BTreeSet::new();
    for versions in [Versions::Lowest, Versions::Newest, Versions::Latest] {
        for (name, features) in combinations(package) {
            // The newest compiler and its versions differ little from those before: once is enough.
            if versions == Versions::Latest && name != "all" {
                continue;
            }
            let outside = Outside::write(package, versions, name, &features)?;
            let subject = format!("{name}, {} versions", versions.name());
            let locked = outside.lock().with_context(|| subject.clone())?;
            println!("{subject}: {} packages", locked.packages.len());
            if versions != Versions::Latest {
                faults.extend(too_new(package, &locked));
            }
            match versions {
                Versions::Lowest => note_lowest(package, &features, &locked, &mut lowest),
                Versions::Newest => {
                    let unstated = locked.packages.iter().filter(|it| it.rust_version.is_none());
                    silent.extend(unstated.map(|it| it.name.to_string()));
                }
                Versions::Latest => {}
            }
            if let Err(error) = outside.check() {
                faults.push(format!("{subject}: {error}"));
            }
        }
    }
    println!("no rust-version is stated by the newest {}", Vec::from_iter(silent).join(", "));
    faults.extend(untried(package, &lowest));
    faults.sort();
    faults.dedup();
    Ok(faults)
}

impl Versions {
    const fn name(self) -> &'static str {
        match self {
            Self::Lowest => "lowest",
            Self::Newest => "newest",
            Self::Latest => "latest",
        }
    }

    /// Returns the command that makes the lock file of the crate in `folder`.
    fn update(self, folder: &Path) -> Command {
        let mut update = cargo(folder, &["update", "--quiet"]);
        if self == Self::Lowest {
            // An option of nightly toolchains, for which the compiler does not matter.
            update.args(["-Z", "minimal-versions"]).env("RUSTC_BOOTSTRAP", "1");
        }
        if self == Self::Latest {
            update.env("CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS", "allow");
        }
        update
    }
}

/// Returns the code of the outside crate.
fn code() -> PathBuf {
    root().join("xtask/outside")
}

/// Returns the features but the default one.
fn features(package: &Package) -> impl Iterator<Item = &str> {
    package.features.keys().map(String::as_str).filter(|name| *name != "default")
}

/// Reports features that the outside crate does not use.
fn without_code(package: &Package) -> Vec<String> {
    let files = features(package).map(|feature| format!("{feature}.rs"));
    let absent = files.filter(|file| !code().join(file).exists());
    absent.map(|file| format!("xtask/outside/{file}: is needed to use the feature")).collect()
}

/// Returns the combinations of features to build, each with all that it includes.
fn combinations(package: &Package) -> Vec<(&str, BTreeSet<&str>)> {
    let groups =
        [("none", vec![]), ("default", vec!["default"]), ("all", features(package).collect())];
    let each = features(package).map(|feature| (feature, vec![feature]));
    let all = groups.into_iter().chain(each);
    all.map(|(name, chosen)| (name, closure(package, chosen))).collect()
}

/// Returns the features with those that they include, and the dependencies as `dep:name`.
fn closure<'a>(package: &'a Package, mut open: Vec<&'a str>) -> BTreeSet<&'a str> {
    let mut closed = BTreeSet::new();
    while let Some(feature) = open.pop() {
        if closed.insert(feature) {
            open.extend(package.features.get(feature).into_iter().flatten().map(String::as_str));
        }
    }
    closed
}

/// A crate that depends on the package.
struct Outside {
    folder: PathBuf,
    versions: Versions,
    /// Its own features, named as those of the package.
    features: String,
}

impl Outside {
    /// Writes the crate with `features`: those of the package, and its optional dependencies.
    ///
    /// The crate has the dependencies of the package without any features: it only names types.
    fn write(
        package: &Package,
        versions: Versions,
        name: &str,
        features: &BTreeSet<&str>,
    ) -> anyhow::Result<Self> {
        let is_declared = |name: &&str| self::features(package).any(|it| it == *name);
        let chosen: Vec<_> = features.iter().copied().filter(is_declared).collect();
        let mut dependencies = Map::new();
        for Dependency { name, req, .. } in used(package, features) {
            let plain = json!({ "version": req, "default-features": false });
            dependencies.insert(name.clone(), plain);
        }
        let of_package = json!({ "path": root(), "default-features": false, "features": &chosen });
        dependencies.insert(package.name.to_string(), of_package);
        let declared = self::features(package).map(|feature| (feature.to_owned(), json!([])));
        let manifest = json!({
            "package": {
                "name": "outside",
                "version": "0.0.0",
                "edition": "2024",
                "rust-version": package.rust_version.as_ref().context("rust-version is unset")?,
            },
            "workspace": {},
            "lib": { "path": code().join("lib.rs") },
            "features": declared.collect::<Map<_, _>>(),
            "dependencies": dependencies,
        });

        let folder = root().join("target/outside").join(versions.name()).join(name);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("Cargo.toml"), toml::to_string(&manifest)?)?;
        Ok(Self { folder, versions, features: chosen.join(",") })
    }

    /// Makes the lock file, and returns the packages in it.
    fn lock(&self) -> anyhow::Result<Metadata> {
        // An older one would keep its versions.
        let _ = fs::remove_file(self.folder.join("Cargo.lock"));
        run(&mut self.versions.update(&self.folder))?;
        if self.versions == Versions::Lowest {
            for (name, version) in STATED_TOO_LOW {
                // It fails where nothing depends on that package.
                let _ = cargo(&self.folder, &["update", "--quiet", name, "--precise", version])
                    .output();
            }
        }
        let mut metadata = MetadataCommand::new();
        metadata.manifest_path(self.folder.join("Cargo.toml")).other_options(["--locked".into()]);
        Ok(metadata.exec()?)
    }

    /// Compiles the crate. All share a target directory, so that a version is compiled once.
    fn check(&self) -> anyhow::Result<()> {
        let mut check = cargo(&self.folder, &["check", "--quiet", "--locked", "--features"]);
        check.arg(&self.features).env("RUSTFLAGS", RUSTFLAGS);
        run(check.env("CARGO_TARGET_DIR", root().join("target/outside/target")))
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Reports packages that need a newer compiler than the package states.
fn too_new(package: &Package, locked: &Metadata) -> Vec<String> {
    let needs_newer = |locked: &&Package| locked.rust_version > package.rust_version;
    let text = |it: &Package| {
        let needed = it.rust_version.as_ref().map_or(String::new(), ToString::to_string);
        format!("{} {} needs Rust {needed}", it.name, it.version)
    };
    locked.packages.iter().filter(needs_newer).map(text).collect()
}

/// Notes the lowest version of each dependency.
fn note_lowest(
    package: &Package,
    features: &BTreeSet<&str>,
    locked: &Metadata,
    lowest: &mut BTreeMap<String, Version>,
) {
    for Dependency { name, req, .. } in used(package, features) {
        let is_meant = |it: &&Package| it.name == *name && req.matches(&it.version);
        for tried in locked.packages.iter().filter(is_meant) {
            let noted = lowest.entry(name.clone()).or_insert_with(|| tried.version.clone());
            *noted = tried.version.clone().min(noted.clone());
        }
    }
}

/// Reports versions that the manifest states, and that no lock file has.
fn untried(package: &Package, lowest: &BTreeMap<String, Version>) -> Vec<String> {
    let all = closure(package, features(package).collect());
    let is_tried = |it: &&Dependency| stated(&it.req).as_ref() == lowest.get(&it.name);
    let untried = used(package, &all).filter(|dependency| !is_tried(dependency));
    let text = |it: &Dependency| match lowest.get(&it.name) {
        Some(tried) => format!("{} {} is stated, and {tried} the lowest tried", it.name, it.req),
        None => format!("{} {} is stated, and was not tried", it.name, it.req),
    };
    untried.map(text).collect()
}

/// Returns the dependencies with these features.
fn used<'a>(
    package: &'a Package,
    features: &BTreeSet<&str>,
) -> impl Iterator<Item = &'a Dependency> {
    package.dependencies.iter().filter(|dependency| {
        let optional = format!("dep:{}", dependency.name);
        dependency.kind == DependencyKind::Normal
            && (!dependency.optional || features.contains(&*optional))
    })
}

/// Returns the lowest version that a requirement allows.
fn stated(req: &VersionReq) -> Option<Version> {
    let lowest = req.comparators.first()?;
    Some(Version::new(lowest.major, lowest.minor.unwrap_or(0), lowest.patch.unwrap_or(0)))
}
