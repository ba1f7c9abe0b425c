//! A client with this crate's layers, and a real nginx that counts by itself.
//!
//! ```text
//! cargo test --all-features --test nginx
//! ```
//!
//! Not part of a bare `cargo test`: it needs nginx, installs it where possible, and takes a minute
//! of real time. No verdict depends on the speed of the machine: the used share of a quota is
//! printed, not judged.

#![allow(clippy::unwrap_used, reason = "a scene that panics has failed")]

mod obeying;
mod overrunning;
mod server;

use std::{process::ExitCode, time::Duration};

use server::Nginx;

/// nginx's rate: requests per second in the long run.
const RATE: u32 = 100;

/// Long enough for any machine. A scene that has not ended by then is stuck.
const STUCK: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> ExitCode {
    let zones = [obeying::ZONE, overrunning::HINTING, overrunning::SILENT];
    let nginx = match Nginx::start(&zones).await {
        Ok(nginx) => nginx,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let scenes = async {
        obeying::scene(&nginx).await;
        overrunning::scene(&nginx, overrunning::HINTING).await;
        overrunning::scene(&nginx, overrunning::SILENT).await;
    };
    tokio::time::timeout(STUCK, scenes).await.expect("a scene is stuck");
    println!("\nall scenes passed");
    ExitCode::SUCCESS
}

/// Returns the output of `scene` and its duration.
async fn timed<T>(scene: impl Future<Output = T>) -> (T, Duration) {
    #[allow(clippy::disallowed_methods, reason = "scenes take real time")]
    let began = tokio::time::Instant::now();
    let result = scene.await;
    (result, began.elapsed())
}
