//! An unstable API behind an exponential retry.
//!
//! ```text
//! cargo run --example retry
//! ```
//!
//! The waits are 1, 2, 4 s and so on up to 10 s. They are exact because this demonstration turns
//! jitter off: keep it where more than one client calls a server.
//!
//! The clock is tokio's, paused: the times are exact and pass at once.

use std::{
    cell::RefCell,
    error::Error,
    fmt, future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    ExponentialRetry, ExponentialRetryLayer,
    retry::{Backoff, Jitter, StopReason},
};

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    println!("3 attempts at an API that fails twice:");
    let run = request(3, 2).await;
    assert_eq!(run.answer, Ok("the answer to call 3".to_owned()));
    assert_eq!(run.calls, [0, 1, 3].map(Duration::from_secs));
    assert_eq!(run.stopped, None);

    println!("\n3 attempts at an API that is down:");
    let run = request(3, u32::MAX).await;
    assert_eq!(run.answer, Err(Unavailable { call: 3 }), "the last error, unchanged");
    assert_eq!(run.calls, [0, 1, 3].map(Duration::from_secs));
    assert_eq!(run.stopped, Some(StopReason::MaxAttempts));

    println!("\n6 attempts at an API that is down:");
    let run = request(6, u32::MAX).await;
    assert_eq!(run.answer, Err(Unavailable { call: 6 }));
    // Waits of 1, 2, 4, 8 and then 10 s: 16 s would exceed the maximum.
    assert_eq!(run.calls, [0, 1, 3, 7, 15, 25].map(Duration::from_secs));
    assert_eq!(run.stopped, Some(StopReason::MaxAttempts));
}

/// The course and the result of one request.
struct Run {
    answer: Result<String, Unavailable>,
    calls: Vec<Duration>,
    stopped: Option<StopReason>,
}

/// Sends one request with up to `max_attempts` to an API that fails its first `failures` calls.
async fn request(max_attempts: u32, failures: u32) -> Run {
    let start = now();
    let calls = RefCell::new(Vec::new());
    let stopped = Arc::new(OnceLock::new());

    let policy = ExponentialRetry::new(max_attempts)
        .backoff(Backoff::new(Duration::from_secs(1), Duration::from_secs(10)).jitter(Jitter::None))
        // A real program has its logs and metrics here.
        .on_decision({
            let stopped = Arc::clone(&stopped);
            move |decision| {
                let attempt = decision.attempt();
                match decision.retry_in() {
                    Ok(wait) => println!("          attempt {attempt} failed: retry in {wait:?}"),
                    Err(why) => {
                        println!("          attempt {attempt} failed: no retry, {why}");
                        let _ = stopped.set(why);
                    }
                }
            }
        });

    let api = service_fn(|_question: &'static str| {
        println!("  {:>3} s   the API is called", start.elapsed().as_secs());
        calls.borrow_mut().push(start.elapsed());
        let call = calls.borrow().len() as u32;
        future::ready(match call {
            _ if call <= failures => Err(Unavailable { call }),
            _ => Ok(format!("the answer to call {call}")),
        })
    });

    let service = ServiceBuilder::new().layer(ExponentialRetryLayer::new(policy)).service(api);
    let answer = service.oneshot("the question").await;
    match &answer {
        Ok(answer) => println!("  the caller receives {answer:?}"),
        Err(error) => println!("  the caller receives an error: {error}"),
    }
    Run { answer, calls: calls.into_inner(), stopped: stopped.get().copied() }
}

#[derive(Clone, Debug, PartialEq)]
struct Unavailable {
    call: u32,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "503 Service Unavailable (call {})", self.call)
    }
}

impl Error for Unavailable {}

#[allow(clippy::disallowed_methods, reason = "the demonstration shows times")]
fn now() -> Instant {
    Instant::now()
}
