//! Programs in processes of their own: the example, and those of a Debian package.

use std::{
    env, fs,
    io::{BufRead, BufReader, Lines, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};

/// A running process, killed by its drop.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Returns true if the process has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The example under load. It ends with its standard input.
pub(crate) struct Observe {
    process: Running,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Observe {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_observe"));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Running::start(&mut command);
        let lines = BufReader::new(process.0.stdout.take().expect("is piped")).lines();
        Self { process, lines }
    }

    /// Prints the lines up to the one that begins with `begin`. Returns the rest of that line.
    pub(crate) fn line(&mut self, begin: &str) -> String {
        for line in &mut self.lines {
            let line = line.unwrap();
            println!("{line}");
            if let Some(rest) = line.strip_prefix(begin) {
                return rest.to_owned();
            }
        }
        panic!("the program ended without a line that begins with {begin:?}");
    }

    pub(crate) fn end(mut self) -> ExitStatus {
        drop(self.process.0.stdin.take());
        self.process.0.wait().unwrap()
    }
}

/// Runs a checker with `input`, which must have nothing to say.
pub(crate) fn assert_silent(command: &mut Command, input: &str) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut checker = command.spawn().unwrap();
    checker.stdin.take().expect("is piped").write_all(input.as_bytes()).unwrap();
    let output = checker.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.is_empty(), "{command:?}: {}: {said}", output.status);
}

/// Returns a path in the build's folder for temporary files.
pub(crate) fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Returns the path of a program of Debian's package `prometheus`.
///
/// Where it is not installed, the package is unpacked in the build's folder. An installation would
/// start its service.
///
/// # Errors
///
/// If there is none, with the remedy.
pub(crate) fn of_prometheus(name: &str) -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(program) =
        env::split_paths(&path).map(|folder| folder.join(name)).find(|it| it.is_file())
    {
        return Ok(program);
    }
    let folder = temporary("prometheus-package");
    let program = folder.join("usr/bin").join(name);
    if program.is_file() {
        return Ok(program);
    }
    println!("{name} is not here: trying to unpack it");
    // The tests of one binary run together, and a folder is there once it is complete.
    let part = temporary(&format!("prometheus-package-{name}"));
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part).unwrap();
    let script = "set -e
        apt-get download -qq prometheus >&2 || { apt-get update -qq; apt-get download -qq prometheus >&2; }
        dpkg-deb -x prometheus_*.deb .
        rm prometheus_*.deb";
    let unpacked = Command::new("sh").args(["-c", script]).current_dir(&part).status();
    // Fails if the other test was faster.
    let _ = fs::rename(&part, &folder);
    match unpacked {
        Ok(status) if status.success() && program.is_file() => Ok(program),
        _ => Err(format!(
            "{name} is needed and not here. Install Prometheus (on Debian and Ubuntu: `apt-get install prometheus`, \
             as root) and run this again."
        )),
    }
}
