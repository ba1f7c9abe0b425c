//! The queue of the requests that wait for their keys: runtimes, deadlines, drops, panics, wakers,
//! its order beside a naive one, and its memory.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Future, pending},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use allocation_counter::measure;
use futures::{FutureExt, future::join_all, poll};
use tokio::time::{advance, sleep};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    DeadlineLayer,
    keyed::{KeyedLimitLayer, Rule, RuleHandle},
};

use crate::{
    keyed_waiting::{Issues, LONG, Request, SECOND, client, of, rejected, send},
    paused_runtime::{self, runtime},
    paused_time::settle,
    support::{ms, now},
    wake_counter::WakeCounter,
};

/// Asserts that no request of the client holds anything or waits.
fn assert_unused(handle: &RuleHandle) {
    assert_eq!((handle.queued(), handle.live_keys()), (0, 0));
}

// --- Runtimes.

/// Its refill task goes with the runtime, and requests of other runtimes are served.
#[test]
fn c2_k17_shutdown_of_a_runtime_leaves_the_requests_of_others() {
    let rule = Rule::new("client", client).at_most(1, SECOND);
    let layer = KeyedLimitLayer::new(rule).wait(LONG);
    let issues = Issues::default();
    let service = layer.layer(issues.service());
    let handle = layer.handle("client");
    let [first, second] = [runtime(), runtime()];
    let mut moves = Box::pin(service.clone().oneshot(of(1, 2)));
    first.block_on(async {
        service.clone().oneshot(of(1, 0)).await.unwrap();
        drop(send(&service, of(1, 1)).await); // a task of this runtime
        assert!(poll!(&mut moves).is_pending());
    });
    let last = second.block_on(send(&service, of(1, 3)));
    assert_eq!(handle.queued(), 3);
    drop(first);
    assert_eq!(handle.queued(), 2, "its task is gone, and with it its request");
    second.block_on(async {
        moves.await.unwrap();
        last.await.unwrap().unwrap();
        sleep(2 * SECOND).await;
    });
    assert_eq!(issues.numbers(), [0, 2, 3]);
    assert_unused(&handle);
    assert_eq!(second.metrics().num_alive_tasks(), 0);
}

/// A request that was polled in a runtime that is gone, and is never polled again.
#[test]
fn c2_k17_request_that_is_left_behind_by_its_runtime_is_passed_when_it_is_dropped() {
    let rule = Rule::new("client", client).at_most(1, SECOND);
    let layer = KeyedLimitLayer::new(rule).wait(LONG);
    let issues = Issues::default();
    let service = layer.layer(issues.service());
    let (first, second) = (runtime(), runtime());
    let mut left_behind = Box::pin(service.clone().oneshot(of(1, 1)));
    let wakes = WakeCounter::new();
    first.block_on(async {
        service.clone().oneshot(of(1, 0)).await.unwrap();
        assert!(left_behind.poll_unpin(&mut Context::from_waker(&wakes.waker())).is_pending());
        settle().await;
    });
    assert_eq!(wakes.count(), 0);
    drop(first);
    assert_eq!(wakes.count(), 1, "to be polled in another one");
    second.block_on(async {
        let next = send(&service, of(1, 2)).await;
        sleep(5 * SECOND).await; // it is granted its permit, and does not take it
        assert_eq!(issues.numbers(), [0]);
        drop(left_behind);
        next.await.unwrap().unwrap();
    });
    assert_eq!(issues.numbers(), [0, 2]);
}

/// Each runtime has a task, which serves the requests of all of them.
#[test]
fn c2_k17_requests_of_three_runtimes_are_served_in_the_order_of_arrival() {
    let rule = Rule::new("client", client).at_most(2, SECOND);
    let layer = KeyedLimitLayer::new(rule).wait(LONG);
    let issues = Issues::default();
    let service = layer.layer(issues.service());
    let runtimes = [runtime(), runtime(), runtime()];
    let mut tasks: [Vec<_>; 3] = Default::default();
    for number in 0..12 {
        let at = number as usize % 3;
        tasks[at].push(runtimes[at].block_on(send(&service, of(1, number))));
    }
    assert_eq!(layer.handle("client").queued(), 10);
    // In turns, because a permit expires a window after its request is issued.
    for _ in 0..100 {
        for runtime in &runtimes {
            runtime.block_on(async { sleep(ms(100)).await });
        }
    }
    for (runtime, tasks) in runtimes.iter().zip(tasks) {
        let done = runtime.block_on(join_all(tasks));
        assert!(done.into_iter().all(|it| it.unwrap().is_ok()));
        runtime.block_on(settle());
        assert_eq!(runtime.metrics().num_alive_tasks(), 0);
    }
    let numbers = issues.numbers();
    for runtime in 0..3 {
        assert!(numbers.iter().filter(|number| *number % 3 == runtime).is_sorted());
    }
    assert_eq!((numbers.len(), layer.handle("client").queued()), (12, 0));
}

/// A request that is granted its permit in a runtime that stands still keeps it for its own wait,
/// and no longer.
#[test]
fn c13_k17_permit_that_is_not_taken_in_time_is_granted_to_the_next() {
    let rule = Rule::new("client", client).at_most(1, SECOND);
    let layer = KeyedLimitLayer::new(rule);
    let handle = layer.handle("client");
    let issues = Issues::default();
    let stands_still = layer.clone().wait(5 * SECOND).layer(issues.service());
    let service = layer.wait(LONG).layer(issues.service());
    let (first, second) = (runtime(), runtime());
    let lazy = first.block_on(async {
        stands_still.clone().oneshot(of(1, 0)).await.unwrap();
        send(&stands_still, of(1, 1)).await
    });
    second.block_on(async {
        let start = now();
        let next = send(&service, of(1, 2)).await;
        next.await.unwrap().unwrap();
        let took = now() - start;
        assert!(took >= 5 * SECOND && took < ms(5_200), "{took:?}");
        sleep(2 * SECOND).await;
        assert_unused(&handle);
    });
    assert_eq!(issues.numbers(), [0, 2]);
    assert!(rejected(first.block_on(lazy).unwrap()).is_wait_timeout());
}

/// The refill task cannot be spawned.
#[test]
fn c2_k17_wait_in_a_runtime_that_cannot_serve_it_leaves_the_queue() {
    let rule = Rule::new("client", client).at_most(1, LONG);
    let layer = KeyedLimitLayer::new(rule).wait(20 * LONG);
    let service = layer.layer(Issues::default().service());
    let without_time = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let gone = runtime();
    gone.block_on(service.clone().oneshot(of(1, 0))).unwrap();
    let handle_of_gone = gone.handle().clone();
    drop(gone);
    for runtime in [without_time.handle(), &handle_of_gone] {
        let _inside = runtime.enter();
        let mut request = Box::pin(service.clone().oneshot(of(1, 1)));
        let waited = catch_unwind(AssertUnwindSafe(|| {
            request.poll_unpin(&mut Context::from_waker(Waker::noop())).is_pending()
        }));
        assert!(waited.is_err());
        assert_eq!(layer.handle("client").queued(), 0);
    }
    // The next runtime is not taken for one of those.
    let other = runtime();
    let waits = other.block_on(send(&service, of(1, 2)));
    assert_eq!(layer.handle("client").queued(), 1);
    waits.abort();
}

// --- Deadlines.

#[tokio::test(start_paused = true)]
async fn k17_r10_request_whose_deadline_passes_before_its_turn_holds_nothing() {
    let rule = Rule::new("client", client).at_most(10, LONG).max_in_flight(1);
    let layer = KeyedLimitLayer::new(rule).wait(LONG);
    let issues = Issues::default();
    let plain = layer.layer(issues.service());
    let timed = ServiceBuilder::new()
        .layer(DeadlineLayer::new(ms(300)))
        .layer(layer.clone())
        .service(issues.service());
    let start = now();
    let holder = send(&plain, Request { holds: SECOND, ..of(1, 0) }).await;
    let next = send(&plain, of(1, 2)).await;
    let late = rejected(timed.oneshot(of(1, 1)).await);
    assert!(late.is_deadline_exceeded(), "{late:?}");
    assert!(now() - start <= ms(302));
    assert_eq!(layer.handle("client").queued(), 1);
    holder.await.unwrap().unwrap();
    next.await.unwrap().unwrap();
    assert_eq!(issues.numbers(), [0, 2]);
    assert_eq!(layer.handle("client").remaining(1_u32), 8);
}

/// A window tells that the turn comes after the deadline: at the arrival, or as soon as another
/// rule is in the way.
#[tokio::test(start_paused = true)]
async fn k11_k17_r10_request_that_cannot_be_issued_by_its_deadline_is_rejected_before() {
    let layer = KeyedLimitLayer::new((
        Rule::new("client", client).max_in_flight(1),
        Rule::global("all").at_most(2, SECOND),
    ))
    .wait(LONG);
    let issues = Issues::default();
    let plain = layer.layer(issues.service());
    let timed = ServiceBuilder::new()
        .layer(DeadlineLayer::new(ms(500)))
        .layer(layer.clone())
        .service(issues.service());
    let start = now();
    let holder = send(&plain, Request { holds: ms(200), ..of(1, 0) }).await;
    let waits = send(&timed, of(1, 1)).await; // for the one in flight
    plain.oneshot(of(2, 2)).await.unwrap();
    assert_eq!(layer.handle("client").queued(), 1);
    let at_once = rejected(timed.oneshot(of(3, 3)).await);
    assert!(at_once.is_wait_timeout() && at_once.retry_after().unwrap() > ms(900));
    assert_eq!(now(), start);
    holder.await.unwrap().unwrap();
    let moved = rejected(waits.await.unwrap());
    assert!(moved.is_wait_timeout() && moved.rule().as_deref() == Some("all"), "{moved:?}");
    assert!(now() - start <= ms(202), "not at the deadline");
    assert_eq!((layer.handle("client").queued(), layer.handle("all").queued()), (0, 0));
    assert_eq!(issues.numbers(), [0, 2]);
}

/// A deadline inside begins with the call: the wait does not count.
#[tokio::test(start_paused = true)]
async fn k17_r10_deadline_inside_begins_after_the_wait() {
    let rule = Rule::new("client", client).max_in_flight(1);
    let layer = KeyedLimitLayer::new(rule).wait(LONG);
    let service = ServiceBuilder::new()
        .layer(layer)
        .layer(DeadlineLayer::new(ms(300)))
        .service(Issues::default().service());
    let requests = (0..5).map(|n| service.clone().oneshot(Request { holds: ms(200), ..of(1, n) }));
    assert!(join_all(requests).await.iter().all(Result::is_ok));
}

// --- Drops.

/// Ready when it is told to be. Its responses never come.
#[derive(Clone, Default)]
struct Slow(Arc<AtomicBool>);

impl Service<Request> for Slow {
    type Response = u32;
    type Error = BoxError;
    type Future = futures::future::Pending<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.0.load(SeqCst) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, _: Request) -> Self::Future {
        futures::future::pending()
    }
}

/// Dropped at a point of its life, a request releases what it has there, and the one behind it has
/// its turn: in the queue, granted, granted and driven, in flight.
#[tokio::test(start_paused = true)]
async fn c4_k17_request_that_is_dropped_releases_what_it_has_at_that_point() {
    for point in 0..4 {
        let layer = KeyedLimitLayer::new((
            Rule::new("client", client).at_most(10, LONG).max_in_flight(1),
            Rule::global("all").at_most(10, LONG),
        ))
        .wait(LONG);
        let slow = Slow::default();
        let mut service = layer.layer(slow.clone());
        let (client, all) = (layer.handle("client"), layer.handle("all"));
        let mut requests: Vec<_> = (0..3).map(|n| Box::pin(service.call(of(1, n)))).collect();
        for request in &mut requests {
            assert!(poll!(request).is_pending());
        }
        let left = || (client.remaining(1_u32), all.remaining(()), client.queued());
        assert_eq!(left(), (9, 9, 2), "the first drives, and has permits");
        if point > 0 {
            drop(requests.remove(0));
            assert_eq!(left(), (9, 9, 1), "the second is granted its permits");
        }
        if point > 1 {
            slow.0.store(point == 3, SeqCst);
            assert!(poll!(&mut requests[0]).is_pending());
        }
        let committed = u32::from(point == 3);
        drop(requests.remove(usize::from(point == 0)));
        slow.0.store(false, SeqCst);
        assert_eq!(left(), (9 - committed, 9 - committed, usize::from(point == 0)), "at {point}");
        drop(requests);
        assert_eq!(left(), (10 - committed, 10 - committed, 0), "at {point}");
    }
}

// --- Panics.

/// Functions of the user panic while requests wait, at any of the calls of a decision.
#[tokio::test(start_paused = true)]
async fn c4_k17_panic_of_a_function_of_a_rule_leaves_nothing() {
    let countdown = Arc::new(AtomicU32::new(u32::MAX));
    let panics = |countdown: &Arc<AtomicU32>| {
        let countdown = Arc::clone(countdown);
        move || assert!(countdown.fetch_sub(1, SeqCst) > 1, "by the user")
    };
    let [in_key, in_cost, in_other] = [0; 3].map(|_| panics(&countdown));
    let layer = KeyedLimitLayer::new((
        Rule::new("client", move |request: &Request| {
            in_key();
            request.client
        })
        .at_most(3, SECOND)
        .max_in_flight(2)
        .cost(move |request: &Request| {
            in_cost();
            request.cost
        }),
        Rule::new("other", move |_: &Request| {
            in_other();
            Some(1)
        })
        .at_most(5, SECOND),
    ))
    .wait(LONG);
    let issues = Issues::default();
    let service = layer.layer(issues.service());
    let mut panicked = 0;
    for calls in 1..=8 {
        let holder = send(&service, Request { holds: ms(100), ..of(1, 0) }).await;
        let waiter = send(&service, Request { cost: 3, ..of(1, 1) }).await;
        assert_eq!(layer.handle("client").queued(), 1);
        countdown.store(calls, SeqCst);
        let mut newcomer = Box::pin(service.clone().oneshot(of(1, 2)));
        let polled = AssertUnwindSafe(async { poll!(&mut newcomer) }).catch_unwind().await;
        countdown.store(u32::MAX, SeqCst);
        panicked += u32::from(polled.is_err());
        assert_eq!(layer.handle("client").queued(), if polled.is_err() { 1 } else { 2 });
        drop(newcomer);
        holder.await.unwrap().unwrap();
        waiter.await.unwrap().unwrap();
        sleep(3 * SECOND).await;
        assert_unused(&layer.handle("client"));
        assert_unused(&layer.handle("other"));
    }
    assert!(panicked >= 4, "{panicked}");
}

#[tokio::test(start_paused = true)]
async fn c4_k17_panic_of_the_readiness_or_the_call_lets_the_next_proceed() {
    struct Panics(bool);
    impl Clone for Panics {
        fn clone(&self) -> Self {
            Self(self.0)
        }
    }
    impl Service<Request> for Panics {
        type Response = u32;
        type Error = Infallible;
        type Future = std::future::Ready<Result<u32, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            assert!(!self.0, "in readiness");
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request) -> Self::Future {
            assert!(request.number > 0, "in call");
            std::future::ready(Ok(0))
        }
    }
    for in_readiness in [true, false] {
        let rule = Rule::new("client", client).at_most(3, LONG).max_in_flight(1);
        let layer = KeyedLimitLayer::new(rule).wait(LONG);
        let good = layer.layer(Issues::default().service());
        let holder = send(&good, Request { holds: SECOND, ..of(1, 9) }).await;
        let panics = send(&layer.layer(Panics(in_readiness)), of(1, 0)).await;
        let next = send(&good, of(1, 1)).await;
        assert_eq!(layer.handle("client").queued(), 2);
        holder.await.unwrap().unwrap();
        assert!(panics.await.unwrap_err().is_panic());
        next.await.unwrap().unwrap();
        let spent = if in_readiness { 2 } else { 3 }; // a call may have issued it
        assert_eq!(layer.handle("client").remaining(1_u32), 3 - spent);
    }
}

// --- Wakers.

/// The task that polled last is woken, and no other.
#[tokio::test(start_paused = true)]
async fn c5_k17_request_that_moves_to_another_task_wakes_that_one() {
    let rule = Rule::new("client", client).max_in_flight(1);
    let layer = KeyedLimitLayer::new(rule).wait(LONG);
    let mut service = layer.layer(Slow(Arc::new(AtomicBool::new(true))));
    let mut holder = Box::pin(service.call(of(1, 0)));
    assert!(poll!(&mut holder).is_pending());
    let mut waiter = Box::pin(service.call(of(1, 1)));
    let tasks = [0; 3].map(|_| WakeCounter::new());
    for task in &tasks {
        assert!(waiter.as_mut().poll(&mut Context::from_waker(&task.waker())).is_pending());
    }
    assert!(tasks[..2].iter().all(|task| Arc::strong_count(task) == 1), "no old waker is kept");
    drop(holder);
    assert_eq!(tasks.map(|task| task.count()), [0, 0, 1]);
}

/// Reads the queue whenever the waker is cloned, woken or dropped.
struct Reads(RuleHandle, AtomicU32);

impl Wake for Reads {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, SeqCst);
        let _ = self.0.queued();
    }
}

impl Drop for Reads {
    fn drop(&mut self) {
        let _ = self.0.queued();
    }
}

/// A waker is foreign code, which may use the limit.
#[tokio::test(start_paused = true)]
async fn c5_k17_waker_may_use_the_limit() {
    let rule = Rule::new("client", client).max_in_flight(1);
    let layer = KeyedLimitLayer::new(rule).wait(LONG).max_queue_per_key(1);
    let mut service = layer.layer(Slow(Arc::new(AtomicBool::new(true))));
    let reads = || Arc::new(Reads(layer.handle("client"), AtomicU32::new(0)));
    fn poll<F: Future>(future: &mut Pin<Box<F>>, reads: &Arc<Reads>) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(reads));
        future.as_mut().poll(&mut Context::from_waker(&waker))
    }
    let mut holder = Box::pin(service.call(of(1, 0)));
    assert!(poll(&mut holder, &reads()).is_pending());
    let mut waiter = Box::pin(service.call(of(1, 1)));
    let kept = reads();
    assert!(poll(&mut waiter, &reads()).is_pending());
    assert!(poll(&mut waiter, &kept).is_pending());
    let mut rejected = Box::pin(service.call(of(1, 2)));
    assert!(poll(&mut rejected, &reads()).is_ready());
    drop(holder);
    assert_eq!(kept.1.load(SeqCst), 1);
    assert!(poll(&mut waiter, &reads()).is_pending(), "it is issued");
    let mut dropped = Box::pin(service.call(of(1, 3)));
    assert!(poll(&mut dropped, &reads()).is_pending());
    drop((dropped, waiter));
    assert_unused(&layer.handle("client"));
}

// --- Order.

/// One key beside a naive queue: requests arrive, are polled, respond, and are dropped at random.
fn order(seed: u64) -> [usize; 3] {
    let mut random = fastrand::Rng::with_seed(seed);
    let (flying, most) = (random.usize(1..4), random.usize(0..6));
    let rule = Rule::new("client", client).max_in_flight(flying as u32);
    let layer = KeyedLimitLayer::new(rule).wait(LONG).max_queue_per_key(most as u32);
    let issued = Arc::new(Mutex::new(Vec::new()));
    let mut service = layer.layer({
        let issued = Arc::clone(&issued);
        service_fn(move |request: Request| {
            issued.lock().unwrap().push(request.number);
            pending::<Result<u32, Infallible>>()
        })
    });
    // All that have permits, and all that wait. Those of the first that were not issued yet.
    let (mut inside, mut line, mut granted) = (Vec::new(), VecDeque::new(), VecDeque::new());
    let mut expected = Vec::new();
    let mut futures: Vec<(u32, Pin<Box<_>>)> = Vec::new();
    let [mut waited, mut refused, mut dropped] = [0; 3];
    for number in 0..200 {
        match random.u8(..10) {
            0..5 => {
                let mut future = Box::pin(service.call(of(1, number)));
                let polled = Future::poll(future.as_mut(), &mut Context::from_waker(Waker::noop()));
                if inside.len() < flying {
                    assert!(polled.is_pending());
                    inside.push(number);
                    expected.push(number);
                } else if line.len() < most {
                    assert!(polled.is_pending());
                    line.push_back(number);
                    waited += 1;
                } else {
                    assert!(polled.is_ready(), "seed {seed}: the queue is full");
                    refused += 1;
                    continue;
                }
                futures.push((number, future));
            }
            5..8 if !futures.is_empty() => {
                let (number, _) = futures.swap_remove(random.usize(..futures.len()));
                dropped += 1;
                line.retain(|other| *other != number);
                granted.retain(|other| *other != number);
                let before = inside.len();
                inside.retain(|other| *other != number);
                if inside.len() < before {
                    if let Some(next) = line.pop_front() {
                        inside.push(next);
                        granted.push_back(next);
                    }
                }
            }
            _ if !futures.is_empty() => {
                let at = random.usize(..futures.len());
                let (number, future) = &mut futures[at];
                let mut cx = Context::from_waker(Waker::noop());
                assert!(Future::poll(future.as_mut(), &mut cx).is_pending());
                if granted.contains(number) {
                    granted.retain(|other| other != number);
                    expected.push(*number);
                }
            }
            _ => {}
        }
        assert_eq!(*issued.lock().unwrap(), expected, "seed {seed}");
        assert_eq!(layer.handle("client").queued(), line.len(), "seed {seed}");
    }
    drop(futures);
    assert_unused(&layer.handle("client"));
    [waited, refused, dropped]
}

#[test]
fn c4_k16_k17_random_schedules_are_those_of_a_naive_queue() {
    let mut all = [0; 3];
    paused_runtime::run(async {
        for seed in 0..300 {
            let counts = order(seed);
            (0..3).for_each(|at| all[at] += counts[at]);
        }
    });
    println!("keyed_queue: waited={} refused={} dropped={}", all[0], all[1], all[2]);
    assert!(all.iter().all(|count| *count > 3_000));
}

/// Each of three rules is in the way in turn.
#[tokio::test(start_paused = true)]
async fn k3_k17_request_that_three_rules_refuse_in_turn_is_issued_once_all_have_room() {
    let layer = KeyedLimitLayer::new((
        Rule::new("client", client).max_in_flight(1),
        Rule::new("tenant", |_: &Request| Some(1)).at_most(2, SECOND),
        Rule::global("all").at_most(3, 5 * SECOND),
    ))
    .wait(LONG);
    let issues = Issues::default();
    let service = layer.layer(issues.service());
    let handles = ["client", "tenant", "all"].map(|name| layer.handle(name));
    let queued = || handles.each_ref().map(RuleHandle::queued);
    let holder = send(&service, Request { holds: ms(500), ..of(1, 0) }).await;
    let waiter = send(&service, of(1, 1)).await;
    assert_eq!(queued(), [1, 0, 0]);
    service.clone().oneshot(of(2, 2)).await.unwrap();
    holder.await.unwrap().unwrap();
    assert_eq!(queued(), [0, 1, 0]);
    advance(ms(600)).await;
    settle().await;
    // Its tenant has room by then, and the waiter takes the last permit of all.
    waiter.await.unwrap().unwrap();
    let last = send(&service, of(1, 3)).await;
    assert_eq!(queued(), [0, 0, 1]);
    assert_eq!(handles[0].live_keys(), 0, "it holds nothing of its client");
    last.await.unwrap().unwrap();
    assert_eq!(issues.numbers(), [0, 2, 1, 3]);
    assert_eq!(queued(), [0, 0, 0]);
}

// --- Memory.

/// After a burst of 10,000 requests, less than four kibibytes stay, those of the refill task among
/// them; each takes up to half a kibibyte. Of one client, and of as many clients.
#[test]
fn k4_k17_memory_of_the_queue_is_freed_when_no_request_waits() {
    for clients in [1, 10_000] {
        let layer = KeyedLimitLayer::new((
            Rule::new("client", client).max_in_flight(1),
            Rule::global("all").max_in_flight(1),
        ))
        .wait(LONG)
        .max_queue_per_key(10_000);
        let mut service = layer.layer(Slow(Arc::new(AtomicBool::new(true))));
        let queued = || layer.handle("client").queued() + layer.handle("all").queued();
        paused_runtime::run(async {
            let mut holder = Box::pin(service.call(of(0, 0)));
            assert!(poll!(&mut holder).is_pending());
            let mut cx = Context::from_waker(Waker::noop());
            let all = measure(|| {
                let mut requests: Vec<_> =
                    (0..10_000).map(|n| Box::pin(service.call(of(n % clients, n)))).collect();
                let waits = measure(|| {
                    for request in &mut requests {
                        assert!(request.as_mut().poll(&mut cx).is_pending());
                    }
                });
                assert_eq!(queued(), 10_000);
                println!("{clients}: {} {}", waits.bytes_max, waits.bytes_current);
                assert!(waits.bytes_max <= 10_000 * 1024, "{} bytes", waits.bytes_max);
            });
            assert_eq!(queued(), 0);
            assert!(all.bytes_current < 4_096, "{} bytes stay", all.bytes_current);
        });
    }
}
