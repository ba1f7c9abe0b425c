//! Programs of others, installed where they can be.

use std::{env, path::PathBuf, process::Command};

/// Returns the path of a program, after installing Debian's `package` where one command can.
///
/// # Errors
///
/// If there is none, with the remedy.
pub(crate) fn find_or_install(name: &str, package: &str) -> Result<PathBuf, String> {
    if let Some(program) = find(name) {
        return Ok(program);
    }
    println!("{name} is not here: trying to install it");
    // The package may start a service unless a policy forbids it.
    let script = format!(
        "set -e
        [ \"$(id -u)\" = 0 ] && command -v apt-get >/dev/null
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends {package} >/dev/null
        invoke-rc.d {package} stop >/dev/null 2>&1 || true"
    );
    let installed = Command::new("sh").args(["-c", &script]).status();
    match find(name) {
        Some(program) if installed.is_ok_and(|status| status.success()) => Ok(program),
        _ => Err(format!(
            "{name} is needed and not here. Install it (on Debian and Ubuntu: \
             `apt-get install {package}`, as root) and run this again."
        )),
    }
}

/// Returns the path of a program that is installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    // Its folder may not be in `PATH`.
    let path = env::var_os("PATH").unwrap_or_default();
    let folders =
        env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}
