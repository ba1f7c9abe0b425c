//! Python's slowapi in front of starlette and uvicorn, with the headers that it writes by itself.
//!
//! Its moving window is exact for arrivals. Our window issues up to `RATE` in any second, and at
//! most one request per caller is under way. So `RATE + CALLERS` is enough at any speed of the
//! machine, and as many more because uvicorn may date those together that wait in its sockets.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    CALLERS, RATE,
    install::find_or_install,
    program::{Running, temporary},
};

const APP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/real_servers/slowapi/app.py");
const REQUIREMENTS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/real_servers/slowapi/requirements.txt");

/// # Errors
///
/// If there is no Python, the packages can't be installed, or the server doesn't start. The text
/// tells the remedy.
pub(crate) async fn start() -> Result<Running, String> {
    let python = environment()?;
    Running::start("slowapi", |_, address| {
        let mut command = Command::new(&python);
        command.arg(APP).arg(address.port().to_string());
        command.arg((RATE + 2 * CALLERS).to_string()).arg(RATE.to_string());
        command
    })
    .await
}

/// Returns the interpreter of a virtual environment with the required packages.
///
/// It is made once for each content of `requirements.txt`.
pub(crate) fn environment() -> Result<PathBuf, String> {
    let required = fs::read_to_string(REQUIREMENTS).unwrap();
    let name: String = required.chars().filter(|char| char.is_ascii_alphanumeric()).collect();
    let folder = temporary(&format!("python-{name}"));
    let python = folder.join("bin/python");
    let is_complete = folder.join("complete");
    if !is_complete.exists() {
        let system = find_or_install("python3", "python3-venv")?;
        let _ = fs::remove_dir_all(&folder);
        let folder: &Path = &folder;
        run(Command::new(system).args(["-m", "venv"]).arg(folder))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r", REQUIREMENTS]))?;
        fs::write(is_complete, "").unwrap();
    }
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let ended = command.status().map_err(|error| error.to_string());
    match ended {
        Ok(status) if status.success() => Ok(()),
        ended => Err(format!(
            "`{command:?}` failed: {ended:?}. The packages of {REQUIREMENTS} are needed in a virtual environment of \
             Python (on Debian and Ubuntu: `apt-get install python3-venv`)."
        )),
    }
}
