//! How many instructions an admitted call takes, compared with what it took when it was last looked at.
//!
//! Counted by valgrind's callgrind, so that the machine need not be quiet: a program that calls n times is
//! compared with one that calls 2n times. What is counted is what a release build makes of it:
//!
//! ```text
//! cargo test --release --test instructions
//! ```
//!
//! Another compiler makes other code, so there is some slack. If a count has grown for a reason, or has
//! become smaller, note the new one here.

use std::{
    convert::Infallible,
    env,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    process::{Command, ExitCode},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tower::{Layer, Service, ServiceBuilder};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, WindowRateLimitLayer,
    retry::RetryBudget,
};

/// A number of calls.
type Run = fn(u64);

/// What is called, and how many instructions a call took.
const CALLS: [(&str, Run, u64); 6] = [
    ("gate", |calls| call(calls, gate().layer(Echo)), 91),
    ("gate, bounded", |calls| call(calls, gate().max_waiting(10).layer(Echo)), 106),
    ("window", |calls| call(calls, window().layer(Echo)), 50),
    ("retry", |calls| call(calls, retry().layer(Echo)), 92),
    ("retry with a budget", |calls| call(calls, budgeted().layer(Echo)), 160),
    ("all three", |calls| call(calls, stack(Echo)), 369),
];

/// In percent.
const SLACK: u64 = 25;

/// Of the shorter run.
const N: u64 = 10_000;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().collect();
    if let [_, name, calls] = &arguments[..] {
        let (_, run, _) = CALLS.iter().find(|(of, ..)| of == name).expect("one of the calls");
        run(calls.parse().expect("a number"));
        return ExitCode::SUCCESS;
    }

    println!("instructions per call:");
    let mut grown = 0;
    for (name, _, stored) in CALLS {
        let counted = (instructions(name, 2 * N) - instructions(name, N)) / N;
        let most = stored + stored * SLACK / 100;
        let verdict = if counted > most { "TOO MANY" } else { "ok" };
        println!("{name}: {counted}, at most {most} ({stored} and {SLACK} %): {verdict}");
        grown += usize::from(counted > most);
    }
    println!("\n{} passed, {grown} failed", CALLS.len() - grown);
    if grown == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Of a run of this program with so many calls.
fn instructions(name: &str, calls: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().expect("this program"))
        .args([name, &calls.to_string()])
        .output()
        .expect("valgrind must be installed");
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    let count = collected.and_then(|(_, count)| count.trim().parse().ok());
    count.unwrap_or_else(|| panic!("valgrind counted nothing:\n{said}"))
}

fn gate() -> ConcurrencyBackpressureLayer {
    ConcurrencyBackpressureLayer::new(100)
}

/// Never fills, so that the clock is read now and then only: under valgrind that is a system call.
fn window() -> WindowRateLimitLayer {
    WindowRateLimitLayer::new(100_000_000, Duration::from_secs(1))
}

fn retry() -> ExponentialRetryLayer {
    ExponentialRetryLayer::new(ExponentialRetry::new(3))
}

fn budgeted() -> ExponentialRetryLayer {
    ExponentialRetryLayer::new(ExponentialRetry::new(3).budget(RetryBudget::new(0.2)))
}

fn stack(echo: Echo) -> impl Service<u64, Response = u64, Error = Infallible> {
    ServiceBuilder::new().layer(gate()).layer(retry()).layer(window()).service(echo)
}

#[derive(Clone)]
struct Echo;

impl Service<u64> for Echo {
    type Response = u64;
    type Error = Infallible;
    type Future = Ready<Result<u64, Infallible>>;

    #[inline(never)]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        black_box(self);
        Poll::Ready(Ok(()))
    }

    #[inline(never)]
    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(black_box(request)))
    }
}

fn call<S: Service<u64, Response = u64>>(calls: u64, mut service: S) {
    let mut cx = Context::from_waker(Waker::noop());
    for request in 0..calls {
        assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))), "it had to wait");
        let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut cx) else {
            panic!("it was not answered")
        };
        assert_eq!(black_box(response), request);
    }
}
