//! A quota that real processes share through a real `redis-server`, and faults of all of them.
//!
//! ```text
//! cargo test -p tower-floodgate-redis --test fleet
//! ```
//!
//! The binary starts itself as four processes. Each notes the time of its issues by the machine's
//! monotonic clock, right at the issue. All issues together are checked against the limit, which
//! holds by argument and not by the speed of the machine. `cargo bench -p tower-floodgate-redis
//! --bench faults` plays the same scenes for longer, and prints figures.

#![allow(clippy::unwrap_used, reason = "a scene that panics has failed")]
#![allow(clippy::disallowed_methods, reason = "scenes take real time")]

mod process;
mod scene;
#[allow(dead_code, reason = "the other suite uses more of it")]
#[path = "../support/mod.rs"]
mod support;
mod trail;

use std::{ffi::OsString, time::Duration};

use tokio::join;
use tower_floodgate::shared::Away;

use self::{
    process::Load,
    scene::{Fault, Outcome, Scene},
};

/// A process of the fleet. The other tests start it.
#[test]
#[ignore = "is started by the other tests"]
fn d1_process_that_the_other_tests_start() {
    assert!(process::run_if_started_as_one(), "is started by the other tests");
}

async fn play(scene: Scene) -> Outcome {
    let arguments =
        ["--ignored", "--exact", "d1_process_that_the_other_tests_start", "--nocapture"]
            .map(OsString::from);
    let outcome = scene.play(&arguments).await;
    println!("{scene:?}: {}", outcome.summary());
    outcome.check();
    outcome
}

const SECOND: Duration = Duration::from_secs(1);

/// Plays scenes at the same time, because all of them mostly wait.
async fn play_lengths(limit: u32) {
    let scene = |window, load| {
        let (before, after) = (window, window * 3 / 2);
        play(Scene { load, before, after, ..Scene::new(limit, window, Fault::None) })
    };
    join!(
        async {
            scene(SECOND / 10, Load::Saturating).await;
            scene(SECOND / 10, Load::Bursty).await;
            scene(SECOND / 10, Load::Steady).await;
        },
        scene(SECOND, Load::Saturating),
        scene(SECOND, Load::Bursty),
        scene(SECOND, Load::Steady),
    );
}

async fn play_long(limit: u32) {
    let (before, after) = (SECOND, SECOND * 10);
    play(Scene { before, after, ..Scene::new(limit, SECOND * 10, Fault::None) }).await;
}

async fn play_fault(fault: Fault) -> [Outcome; 2] {
    let scene = Scene::new(1000, SECOND, fault);
    join!(play(scene), play(Scene { load: Load::Steady, ..scene })).into()
}

async fn play_loss(fault: Fault) {
    let scene = Scene { load: Load::Bursty, ..Scene::new(1000, SECOND, fault) };
    join!(play_fault(fault), play(scene), play(Scene { is_strict: true, ..scene }));
}

#[tokio::test]
async fn d1_processes_issue_at_most_10_in_any_span() {
    play_lengths(10).await;
}

#[tokio::test]
async fn d1_processes_issue_at_most_100_in_any_span() {
    play_lengths(100).await;
}

#[tokio::test]
async fn d1_processes_issue_at_most_1000_in_any_span() {
    play_lengths(1000).await;
}

#[tokio::test]
async fn d1_processes_issue_at_most_10_000_in_any_span() {
    play_lengths(10_000).await;
}

#[tokio::test]
async fn d1_processes_keep_the_limit_in_any_ten_seconds() {
    join!(play_long(10), play_long(1000));
}

#[tokio::test]
async fn d9_flush_lets_twice_the_limit_pass_once_and_the_limit_if_strict() {
    play_loss(Fault::Flush).await;
}

#[tokio::test]
async fn d9_older_copy_of_the_state_lets_twice_the_limit_pass_once_and_the_limit_if_strict() {
    play_loss(Fault::Restore).await;
}

#[tokio::test]
async fn d9_killed_server_lets_twice_the_limit_pass_once_and_the_limit_if_strict() {
    play_loss(Fault::KillServer).await;
}

#[tokio::test]
async fn d1_killed_server_with_a_log_lets_no_more_than_the_limit_pass() {
    play_fault(Fault::KillServerWithLog).await;
}

#[tokio::test]
async fn d9_promoted_replica_lets_twice_the_limit_pass_once_and_the_limit_if_strict() {
    play_loss(Fault::Promote).await;
}

#[tokio::test]
async fn d1_paused_clients_issue_at_most_the_limit() {
    play_fault(Fault::PauseClients).await;
}

#[tokio::test]
async fn d1_stopped_server_lets_no_more_than_the_limit_pass() {
    play_fault(Fault::StopServer).await;
}

#[tokio::test]
async fn d12_flushed_scripts_are_sent_again_and_no_request_fails() {
    play_fault(Fault::FlushScripts).await;
}

#[tokio::test]
async fn d2_stopped_process_issues_nothing_on_lapsed_leases() {
    play_fault(Fault::StopProcess).await;
}

#[tokio::test]
async fn d8_killed_process_and_its_successor_keep_the_limit() {
    for outcome in play_fault(Fault::KillProcess).await {
        assert_eq!(outcome.trails.len(), 5);
    }
}

#[tokio::test]
async fn d1_slow_network_keeps_the_limit() {
    play_fault(Fault::Delay).await;
}

#[tokio::test]
async fn d2_late_replies_issue_nothing() {
    play_fault(Fault::DelayBeyondTimeout).await;
}

#[tokio::test]
async fn d1_cut_connections_keep_the_limit() {
    play_fault(Fault::Cut).await;
}

#[tokio::test]
async fn d1_trickling_network_keeps_the_limit() {
    play_fault(Fault::Trickle).await;
}

#[tokio::test]
async fn d12_replies_that_are_lost_are_leases_that_are_never_used() {
    play_fault(Fault::Silence).await;
}

#[tokio::test]
async fn d11_open_fleet_issues_while_the_store_is_away() {
    let scene = Scene::new(1000, SECOND, Fault::StopServer);
    let outcome = play(Scene { away: Away::Open, load: Load::Heavy, ..scene }).await;
    assert!(outcome.alone() > 0, "requests were issued without a lease");
}

#[tokio::test]
async fn d11_sharing_fleet_issues_its_shares_while_the_store_is_away() {
    let away = Away::Share { processes: Scene::PROCESSES };
    let outcome = play(Scene { away, ..Scene::new(1000, SECOND, Fault::StopServerForLong) }).await;
    assert!(outcome.alone() > 0, "requests were issued without a lease");
}
