//! A client of this crate's beside a real nginx, which counts by itself.
//!
//! ```text
//! cargo test --all-features --test nginx
//! ```
//!
//! Not part of a bare `cargo test`: it needs nginx, and installs it where it can. It takes a minute of real time.
//! No verdict depends on how fast the machine is: how much of a quota was used is printed, not judged.

#![allow(clippy::unwrap_used, reason = "a scene that panics has failed")]

mod obeying;
mod overrunning;
mod server;

use std::{process::ExitCode, time::Duration};

use server::Nginx;

/// What nginx lets pass in a second, on the long run.
const RATE: u32 = 100;

/// Long enough for any machine: a scene that isn't over by then is stuck.
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
    println!("\nall went as promised");
    ExitCode::SUCCESS
}

/// The time that `scene` takes.
async fn timed<T>(scene: impl Future<Output = T>) -> (T, Duration) {
    #[allow(clippy::disallowed_methods, reason = "scenes take real time")]
    let began = tokio::time::Instant::now();
    let result = scene.await;
    (result, began.elapsed())
}
