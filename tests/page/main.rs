//! The page of `observe::page` in a real browser, against the handles that it shows.
//!
//! ```text
//! cargo test --all-features --test page
//! cargo test --all-features --test page -- --screenshot docs/limits-page.png
//! ```
//!
//! Not part of a bare `cargo test`: it needs Chromium, installs it where possible, and takes real
//! time. The second command puts a minute of load on the limits and takes the picture of the
//! documentation. No verdict depends on the speed of the machine.

#![allow(clippy::unwrap_used, reason = "a scene that panics has failed")]

mod chromium;
#[path = "../support/install.rs"]
mod install;
mod load;
mod scenes;
mod seen;
mod server;
#[path = "../support/small_store.rs"]
mod small_store;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use self::chromium::Browser;

/// Long enough for any machine. A scene that has not ended by then is stuck.
const STUCK: Duration = Duration::from_secs(300);

/// Of the picture in the repository.
const MAX_SIZE: usize = 150 * 1024;

#[tokio::main]
async fn main() -> ExitCode {
    let all = async {
        let picture = picture()?;
        run(picture).await
    };
    match tokio::time::timeout(STUCK, all).await.expect("a scene is stuck") {
        Ok(()) => {
            println!("\nall scenes passed");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Where to put the picture of the documentation, from the root of the repository.
fn picture() -> Result<Option<PathBuf>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    match &env::args().skip(1).collect::<Vec<_>>()[..] {
        [] => Ok(None),
        [option, path] if option == "--screenshot" => Ok(Some(root.join(path))),
        other => Err(format!("{other:?} is given: nothing, or --screenshot PATH is expected")),
    }
}

async fn run(picture: Option<PathBuf>) -> Result<(), String> {
    let browser = Browser::start().await?;
    let span = Duration::from_secs(if picture.is_some() { 64 } else { 3 });
    let screenshot = scenes::numbers_are_those_of_the_handles(&browser, span).await;
    scenes::states_are_told(&browser).await;
    scenes::an_empty_set_says_so_and_later_limits_appear(&browser).await;
    scenes::fifty_limits_fit_and_are_filtered(&browser).await;
    scenes::keys_of_a_rule_are_shown_as_text(&browser).await;
    scenes::a_restarted_server_is_found_again(&browser).await;
    scenes::names_are_text_and_unknown_kinds_are_shown(&browser).await;
    browser.close().await;

    println!("a screenshot of {} bytes", screenshot.len());
    if screenshot.len() > MAX_SIZE {
        return Err(format!("it is larger than {MAX_SIZE}"));
    }
    let path = picture.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("page.png"));
    std::fs::write(&path, screenshot).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}
