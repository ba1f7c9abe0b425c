//! Runs a scene in a process of its own, to read its reports on standard error.

use std::{env, future::Future, process, process::Command, time::Duration};

use tokio::{runtime::Builder, time::timeout};

const CHILD: &str = "FLOODGATE_SCENE";
/// The exit status of a child after its scene has run to the end.
const PLAYED: i32 = 17;

/// The number of reports of a nested request.
pub(crate) const ONCE: usize = if cfg!(debug_assertions) { 1 } else { 0 };

/// Runs this binary again for `test` alone, in a process that plays `scene` under paused time and
/// ends. Returns the reports of the crate.
pub(crate) fn reports_of(test: &str, scene: impl Future<Output = ()>) -> Vec<String> {
    if env::var_os(CHILD).is_some() {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(scene);
        process::exit(PLAYED);
    }
    let program = env::current_exe().unwrap();
    let output = Command::new(program).args(["--exact", test]).env(CHILD, "1").output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(PLAYED), "{printed}");
    printed.lines().filter(|line| line.starts_with("tower-floodgate:")).map(str::to_owned).collect()
}

/// Returns whether `future` is still pending after an hour.
pub(crate) async fn hangs(future: impl Future) -> bool {
    timeout(Duration::from_secs(3600), future).await.is_err()
}
