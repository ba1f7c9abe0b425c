//! Counts the instructions of an admitted call, and compares them with the recorded numbers.
//!
//! valgrind's callgrind counts them, independently of other load: a program that calls n times is
//! compared with one that calls 2n times. The numbers are those of a release build:
//!
//! ```text
//! cargo test --release -p instructions
//! cargo test --release -p instructions --features metrics
//! ```
//!
//! There is some slack, because compilers differ. If a count has grown for a reason, or has become
//! smaller, record the new one here.

use std::{
    convert::Infallible,
    env,
    fmt::Debug,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    process::{Command, ExitCode},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, WindowRateLimitLayer,
    reject::RejectWithBoxError, retry::RetryBudget,
};

/// Makes the given number of calls.
type Run = fn(u64);

/// The names of the stacks, their calls, and the recorded instructions per call.
///
/// A *clone* is a service that is cloned for each request, as axum, hyper and tonic do. A *large
/// response* has a kilobyte.
const CALLS: [(&str, Run, u64); 14] = [
    ("concurrency limit", |calls| call(calls, concurrency().layer(Echo)), 85),
    ("concurrency limit, bounded", |calls| call(calls, bounded().layer(Echo)), 89),
    ("concurrency limit, clone", |calls| oneshot(calls, &concurrency().layer(Echo)), 229),
    ("concurrency limit, large response", |calls| call(calls, concurrency().layer(Large)), 409),
    (
        "concurrency limit, bounded, large response",
        |calls| call(calls, bounded().layer(Large)),
        588,
    ),
    ("window", |calls| call(calls, window().layer(Echo)), 50),
    ("window, clone", |calls| oneshot(calls, &window().layer(Echo)), 186),
    ("retry", |calls| call(calls, retry().layer(Echo)), 91),
    ("retry with a budget", |calls| call(calls, budgeted().layer(Echo)), 151),
    ("all three", |calls| call(calls, stack(Echo)), 340),
    ("all three, clone", |calls| oneshot(calls, &stack(Echo)), 706),
    (
        "concurrency limit, named",
        |calls| call(calls, concurrency().name("a").layer(Echo)),
        NAMED[0],
    ),
    (
        "concurrency limit, named, clone",
        |calls| oneshot(calls, &concurrency().name("a").layer(Echo)),
        NAMED[1],
    ),
    ("window, named", |calls| call(calls, window().name("a").layer(Echo)), NAMED[2]),
];

/// The instructions of calls of limits with names. With metrics, no recorder is installed.
const NAMED: [u64; 3] = if cfg!(feature = "metrics") { [305, 449, 268] } else { [153, 297, 116] };

/// The slack, in percent.
const SLACK: u64 = 25;

/// The calls of the shorter run.
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

/// Returns the instructions of a run of this program with the given number of calls.
fn instructions(name: &str, calls: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().expect("this program"))
        .args([name, &calls.to_string()])
        .output()
        .expect("valgrind must be installed");
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report.lines().find_map(|line| line.split_once("Collected :"));
    let count = collected.and_then(|(_, count)| count.trim().parse().ok());
    count.unwrap_or_else(|| panic!("valgrind counted nothing:\n{report}"))
}

fn concurrency() -> ConcurrencyBackpressureLayer {
    ConcurrencyBackpressureLayer::new(100)
}

fn bounded() -> ConcurrencyBackpressureLayer<RejectWithBoxError> {
    concurrency().max_queue(10)
}

/// Returns a window that is never used up, so that the clock is read rarely: under valgrind that is
/// a system call.
fn window() -> WindowRateLimitLayer {
    WindowRateLimitLayer::new(100_000_000, Duration::from_secs(1))
}

fn retry() -> ExponentialRetryLayer {
    ExponentialRetryLayer::new(ExponentialRetry::new(3))
}

fn budgeted() -> ExponentialRetryLayer {
    ExponentialRetryLayer::new(ExponentialRetry::new(3).budget(RetryBudget::new(0.2)))
}

fn stack(echo: Echo) -> impl Service<u64, Response = u64, Error = Infallible> + Clone {
    ServiceBuilder::new().layer(concurrency()).layer(retry()).layer(window()).service(echo)
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

#[derive(Clone)]
struct Large;

/// A kilobyte. Equal to the request that it answers.
#[derive(Debug)]
struct Kilobyte([u64; 128]);

impl PartialEq<u64> for Kilobyte {
    fn eq(&self, request: &u64) -> bool {
        self.0[0] == *request
    }
}

impl Service<u64> for Large {
    type Response = Kilobyte;
    type Error = Infallible;
    type Future = Ready<Result<Kilobyte, Infallible>>;

    #[inline(never)]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        black_box(self);
        Poll::Ready(Ok(()))
    }

    #[inline(never)]
    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(Kilobyte([black_box(request); 128])))
    }
}

fn call<S>(calls: u64, mut service: S)
where
    S: Service<u64>,
    S::Response: PartialEq<u64> + Debug,
{
    let mut cx = Context::from_waker(Waker::noop());
    for request in 0..calls {
        assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))), "the call waits");
        complete(service.call(request), request, &mut cx);
    }
}

fn oneshot<S>(calls: u64, service: &S)
where
    S: Service<u64> + Clone,
    S::Response: PartialEq<u64> + Debug,
{
    let mut cx = Context::from_waker(Waker::noop());
    for request in 0..calls {
        complete(service.clone().oneshot(request), request, &mut cx);
    }
}

fn complete<R, E>(future: impl Future<Output = Result<R, E>>, request: u64, cx: &mut Context<'_>)
where
    R: PartialEq<u64> + Debug,
{
    let Poll::Ready(Ok(response)) = pin!(future).poll(cx) else {
        panic!("the response is pending")
    };
    assert_eq!(black_box(response), request);
}
