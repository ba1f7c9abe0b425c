//! Storms at a limit that adapts while handles hold, set and close it.

use std::{
    error::Error,
    fmt, mem,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    thread,
};

use fastrand::Rng;
use futures::{
    FutureExt,
    future::{BoxFuture, try_join_all},
    pending, poll,
};
use tokio::task::yield_now;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, Rejected,
    backpressure::{Adaptive, Outcome, Terms},
};

use crate::support::{Line, guarded, guarded_task, runtime, storm};

const MIN: u32 = 2;
const MAX: u32 = 24;
const TASKS: usize = 100;
/// The requests of each task.
const EACH: usize = 500;
const REQUESTS: usize = TASKS * EACH;
/// More than enough requests at the limit for a few rounds.
const FURTHER: usize = 200_000;

/// A request, and all that the server and the judge do about it.
#[derive(Clone, Copy, Debug)]
struct Request {
    number: usize,
    does: Does,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Serve,
    Fail,
    Reject,
    PanicInCall,
    PanicInFuture,
    PanicInJudge,
}

/// The end of a request, as its caller sees it.
enum End {
    Result(thread::Result<Result<Does, BoxError>>),
    /// Dropped before the call.
    Uncalled,
    /// The response future was dropped.
    Dropped,
}

type Limited = BoxCloneSyncService<Request, Does, BoxError>;

#[derive(Debug)]
struct Fault;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fault of the server")
    }
}

impl Error for Fault {}

/// The payload of the panics that requests ask for.
struct Planned;

/// Panics without a report.
fn panic_as_planned() -> ! {
    resume_unwind(Box::new(Planned))
}

fn judge(result: &Result<Does, Fault>) -> Outcome {
    match result {
        Ok(Does::Reject) => Outcome::Overload,
        Ok(Does::PanicInJudge) => panic_as_planned(),
        Ok(_) => Outcome::Served,
        Err(Fault) => Outcome::Ignored,
    }
}

/// The requests that the server has seen.
#[derive(Debug)]
struct Seen {
    /// Of each request, its calls, and the ends of these.
    by_number: Vec<[AtomicU32; 2]>,
    calls: AtomicUsize,
    /// The requests in the server, and the largest number since the last reading.
    inside: Mutex<(u32, u32)>,
    /// Requests that have ended for their callers.
    ended: AtomicUsize,
}

impl Seen {
    fn new(requests: usize) -> Arc<Self> {
        Arc::new(Self {
            by_number: (0..requests).map(|_| Default::default()).collect(),
            calls: AtomicUsize::new(0),
            inside: Mutex::default(),
            ended: AtomicUsize::new(0),
        })
    }

    /// The largest number of requests in the server since the last reading.
    fn most_inside(&self) -> u32 {
        let mut inside = self.inside.lock().unwrap();
        let now = inside.0;
        mem::replace(&mut inside.1, now)
    }

    fn steps(&self) -> usize {
        self.calls.load(SeqCst) + self.ended.load(SeqCst)
    }
}

/// A request in the server.
struct Inside(Arc<Seen>, usize);

impl Inside {
    fn enter(seen: &Arc<Seen>, number: usize) -> Self {
        seen.by_number[number][0].fetch_add(1, SeqCst);
        seen.calls.fetch_add(1, SeqCst);
        let mut inside = seen.inside.lock().unwrap();
        *inside = (inside.0 + 1, inside.1.max(inside.0 + 1));
        Self(Arc::clone(seen), number)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.by_number[self.1][1].fetch_add(1, SeqCst);
        self.0.inside.lock().unwrap().0 -= 1;
    }
}

fn serve(
    seen: &Arc<Seen>,
) -> impl Fn(Request) -> BoxFuture<'static, Result<Does, Fault>> + Clone + Send + Sync + use<> {
    let seen = Arc::clone(seen);
    move |Request { number, does }| {
        let inside = Inside::enter(&seen, number);
        if does == Does::PanicInCall {
            panic_as_planned();
        }
        Box::pin(async move {
            let _inside = inside;
            for _ in 0..number % 4 {
                yield_now().await;
            }
            match does {
                Does::Fail => Err(Fault),
                Does::PanicInFuture => panic_as_planned(),
                _ => Ok(does),
            }
        })
    }
}

/// A limit that adapts, with both kinds of services.
struct Site {
    handle: ConcurrencyBackpressureHandle,
    services: [Limited; 2],
    seen: Arc<Seen>,
}

impl Site {
    fn new(is_observed: bool) -> Self {
        let seen = Seen::new(REQUESTS + FURTHER);
        let settings = Adaptive::new().between(MIN, MAX).start_at(8).judge(judge);
        let mut layer = ConcurrencyBackpressureLayer::adaptive(settings).reject_with_box_error();
        if is_observed {
            layer = layer.name("storm");
        }
        let handle = layer.handle();
        let server = service_fn(serve(&seen));
        let by_request = layer.clone().by_request(|_: &Request| Terms::new());
        let services =
            [Limited::new(layer.layer(server.clone())), Limited::new(by_request.layer(server))];
        Self { handle, services, seen }
    }

    /// Runs the storm beside a thread that changes the limit, and returns the number of changes and
    /// the largest number of requests in the server.
    fn storm(&self, seed: u64, close_at: Option<usize>) -> (usize, u32, Vec<(Request, End)>) {
        let Self { handle, services, seen } = self;
        let (changed, seen, services) = (handle.clone(), Arc::clone(seen), services.clone());
        let state = (handle.clone(), Arc::clone(&seen));
        let steps = Arc::clone(&seen);
        guarded(
            state,
            move || steps.steps(),
            move || {
                let is_over = AtomicBool::new(false);
                thread::scope(|scope| {
                    let changing =
                        scope.spawn(|| change(&changed, &seen, &is_over, seed, close_at));
                    let ends = {
                        let _over = Over(&is_over);
                        let tasks = (0..TASKS).map(|task| {
                            let service = services[task % 2].clone();
                            let rng = Rng::with_seed(seed * TASKS as u64 + task as u64);
                            member(task, service, rng, Arc::clone(&seen))
                        });
                        let tasks: Vec<_> = tasks.collect();
                        let joined =
                            async { try_join_all(tasks.into_iter().map(tokio::spawn)).await };
                        runtime(4).block_on(joined).unwrap()
                    };
                    let (changes, most) = changing.join().unwrap();
                    (changes, most, ends.into_iter().flatten().collect())
                })
            },
        )
    }

    /// Asserts that each request ended as it was asked to, once, and that nothing is left.
    fn judge(&self, ends: &[(Request, End)], line: &mut Line) {
        let Self { handle, seen, .. } = self;
        let (mut rejected, mut served, mut dropped) = (0, 0, 0);
        for (Request { number, does }, end) in ends {
            let [calls, ended] = seen.by_number[*number].each_ref().map(|count| count.load(SeqCst));
            assert_eq!(calls, ended, "request {number}: {does:?}");
            match end {
                End::Uncalled => assert_eq!(calls, 0, "request {number}"),
                End::Dropped => {
                    assert!(calls <= 1, "request {number} was called {calls} times");
                    dropped += 1;
                }
                End::Result(Ok(Err(error))) if Rejected::find(&**error).is_some() => {
                    assert!(Rejected::find(&**error).unwrap().is_closed(), "{error}");
                    assert_eq!(calls, 0, "request {number}");
                    rejected += 1;
                }
                End::Result(result) => {
                    assert_eq!(calls, 1, "request {number}: {does:?}");
                    served += 1;
                    let is_as_asked = match (result, does) {
                        (Ok(Ok(done)), _) => done == does,
                        (Ok(Err(error)), Does::Fail) => error.is::<Fault>(),
                        (Err(panic), does) => {
                            let panics =
                                [Does::PanicInCall, Does::PanicInFuture, Does::PanicInJudge];
                            panic.is::<Planned>() && panics.contains(does)
                        }
                        _ => false,
                    };
                    assert!(is_as_asked, "request {number}: {does:?}");
                }
            }
        }
        assert_eq!(ends.len(), REQUESTS);
        assert_eq!((handle.in_flight(), handle.queued(), seen.inside.lock().unwrap().0), (0, 0, 0));
        assert_eq!(handle.rejected().total(), handle.rejected().closed);
        assert!(handle.rejected().closed >= rejected);
        if let Some(counts) = handle.snapshot().counts {
            let calls = seen.calls.load(SeqCst) as u64;
            assert_eq!(counts.admitted - counts.unused, calls, "{counts:?}");
        }
        line.count("ended", served);
        line.count("dropped", dropped);
        line.count("rejected", rejected);
    }

    /// Asserts that as many permits can be acquired as the limit has.
    fn has_all_permits(&self) {
        let limit = self.handle.limit();
        assert!((MIN..=MAX).contains(&limit), "{limit}");
        let permits = self.handle.try_acquire_many(limit).expect("no request is in flight");
        assert!(self.handle.try_acquire().is_err(), "more permits than the limit");
        drop(permits);
    }

    /// Asserts that the search goes on.
    fn adapts(&self) {
        let Self { handle, services, seen } = self;
        handle.adapt();
        let enough = handle.rounds() + 4;
        let next = Arc::new(AtomicUsize::new(REQUESTS));
        let tasks = (0..TASKS).map(|task| {
            let (handle, next) = (handle.clone(), Arc::clone(&next));
            let service = services[task % 2].clone();
            async move {
                while handle.rounds() < enough {
                    let number = next.fetch_add(1, SeqCst);
                    if number >= REQUESTS + FURTHER {
                        break;
                    }
                    let request = Request { number, does: Does::Serve };
                    service.clone().oneshot(request).await.unwrap();
                }
            }
        });
        let tasks: Vec<_> = tasks.collect();
        let load = async { try_join_all(tasks.into_iter().map(tokio::spawn)).await.unwrap() };
        guarded_task(4, handle.clone(), || seen.calls.load(SeqCst), load);
        assert!(handle.rounds() >= enough, "{handle:?}: {} rounds", handle.rounds());
    }
}

/// Tells the thread that changes the limit, after a panic, too.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Holds the limit, waits for the requests beyond it, lets it adapt, and so on.
fn change(
    handle: &ConcurrencyBackpressureHandle,
    seen: &Seen,
    is_over: &AtomicBool,
    seed: u64,
    close_at: Option<usize>,
) -> (usize, u32) {
    let mut rng = Rng::with_seed(seed);
    let (mut changes, mut most) = (0, 0);
    let wait_until = |is_done: &dyn Fn() -> bool| {
        while !is_done() {
            thread::yield_now();
        }
    };
    let pass = |calls: usize| {
        let calls = seen.steps() + calls;
        wait_until(&|| seen.steps() >= calls || is_over.load(SeqCst));
    };
    while !is_over.load(SeqCst) {
        let limit = rng.u32(MIN..=MAX);
        if rng.bool() { handle.hold(limit) } else { handle.set_limit(limit) }.unwrap();
        wait_until(&|| handle.in_flight() <= limit);
        most = seen.most_inside().max(most);
        pass(rng.usize(..20));
        assert_eq!(handle.limit(), limit, "held");
        let inside = seen.most_inside();
        assert!(inside <= limit, "{inside} in the server at a limit of {limit}");
        handle.adapt();
        if close_at.is_some_and(|at| seen.steps() >= at) {
            handle.close().unwrap();
        }
        pass(rng.usize(..200));
        let limit = handle.limit();
        assert!((MIN..=MAX).contains(&limit), "{limit}");
        changes += 1;
    }
    (changes, seen.most_inside().max(most))
}

/// Makes the requests of a task, one after the other.
async fn member(
    task: usize,
    service: Limited,
    mut rng: Rng,
    seen: Arc<Seen>,
) -> Vec<(Request, End)> {
    let mut ends = Vec::new();
    for number in task * EACH..(task + 1) * EACH {
        let does = match rng.u32(..40) {
            0 | 1 => Does::Reject,
            2 => Does::PanicInCall,
            3 => Does::PanicInFuture,
            4 => Does::PanicInJudge,
            5..10 => Does::Fail,
            _ => Does::Serve,
        };
        let request = Request { number, does };
        let end = make(service.clone(), request, &mut rng).await;
        seen.ended.fetch_add(1, SeqCst);
        ends.push((request, end));
    }
    ends
}

/// Makes a request, which is cancelled at times: queued, granted, ready or in service.
async fn make(mut service: Limited, request: Request, rng: &mut Rng) -> End {
    match rng.u32(..12) {
        // Queued, or granted a permit and not polled since.
        0 => {
            if let Some(Err(error)) = service.ready().now_or_never() {
                return End::Result(Ok(Err(error)));
            }
            for _ in 0..rng.u32(..4) {
                yield_now().await;
            }
            return End::Uncalled;
        }
        // Granted a permit, or rejected: dropped when it is woken.
        1 => {
            match poll!(service.ready()).map_err(|error| End::Result(Ok(Err(error)))) {
                Poll::Ready(Err(rejected)) => return rejected,
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => pending!(),
            }
            return End::Uncalled;
        }
        _ => {}
    }
    if let Err(error) = service.ready().await {
        return End::Result(Ok(Err(error)));
    }
    let (is_dropped, polls) = (rng.u32(..4) == 0, rng.u32(..4));
    if is_dropped && rng.u32(..4) == 0 {
        yield_now().await;
        return End::Uncalled;
    }
    let called = AssertUnwindSafe(async { service.call(request).await });
    let mut called = Box::pin(called.catch_unwind());
    if !is_dropped {
        return End::Result(called.await);
    }
    for _ in 0..polls {
        if let Poll::Ready(result) = poll!(&mut called) {
            return End::Result(result);
        }
        yield_now().await;
    }
    End::Dropped
}

#[test]
fn c4_b1_a6_a9_limit_that_moves_holds_and_loses_no_permit() {
    for (name, is_observed) in [("adaptive", false), ("adaptive_observed", true)] {
        storm(name, |seed, line| {
            let site = Site::new(is_observed);
            let (changes, most, ends) = site.storm(seed, None);
            assert!(most <= MAX, "{most} in the server");
            site.judge(&ends, line);
            line.count("changes", changes);
            line.count("most_inside", most);
            site.has_all_permits();
            site.adapts();
            site.has_all_permits();
        });
    }
}

#[test]
fn c4_b6_a6_close_of_a_limit_that_moves_ends_each_request_once() {
    storm("adaptive_closing", |seed, line| {
        let site = Site::new(true);
        let (changes, most, ends) = site.storm(seed, Some(REQUESTS));
        assert!(most <= MAX, "{most} in the server");
        assert!(site.handle.is_closed());
        site.judge(&ends, line);
        line.count("changes", changes);
        let handle = site.handle.clone();
        guarded_task(0, handle.clone(), || 0, async move { handle.drained().await });
        assert!(site.handle.rejected().closed > 0);
    });
}
