// Counts the instructions per call of the calls of a table. Included, and not a module: calls
// across codegen units are inlined otherwise, which changes the counts.

use std::{
    convert::Infallible,
    env,
    fmt::Debug,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    process::{Command, ExitCode},
    task::{Context, Poll, Waker},
};

use tower::{Service, ServiceExt};

/// A stack, its calls of the given number, and the recorded instructions per call.
type Call = (&'static str, fn(u64), u64);

/// The slack, in percent.
const SLACK: u64 = 25;

/// The calls of the shorter run.
const N: u64 = 10_000;

/// Makes the calls that the arguments name, or compares the instructions of all with the recorded.
fn check(table: &[Call]) -> ExitCode {
    let arguments: Vec<_> = env::args().collect();
    if let [_, name, calls] = &arguments[..] {
        let (_, run, _) = table.iter().find(|(of, ..)| of == name).expect("one of the calls");
        run(calls.parse().expect("a number"));
        return ExitCode::SUCCESS;
    }

    println!("instructions per call:");
    let mut grown = 0;
    for (name, _, stored) in table {
        let counted = (instructions(name, 2 * N) - instructions(name, N)) / N;
        let most = stored + stored * SLACK / 100;
        let verdict = if counted > most { "TOO MANY" } else { "ok" };
        println!("{name}: {counted}, at most {most} ({stored} and {SLACK} %): {verdict}");
        grown += usize::from(counted > most);
    }
    println!("\n{} passed, {grown} failed", table.len() - grown);
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
