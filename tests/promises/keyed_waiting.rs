//! Requests that wait for their keys.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    future::{Future, pending},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use allocation_counter::measure;
use futures::{FutureExt, future::join_all, poll};
use tokio::{
    task::{JoinHandle, yield_now},
    time::{Instant, advance, sleep},
};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    Rejected,
    keyed::{KeyedLimitLayer, Rule},
};

use crate::{
    allocations::{Free, call},
    paused_time::settle,
    support::{ms, now},
    wake_counter::WakeCounter,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// A request of a client, with a number. The response takes `holds`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) client: Option<u32>,
    pub(crate) number: u32,
    pub(crate) cost: u32,
    pub(crate) holds: Duration,
}

pub(crate) fn of(client: u32, number: u32) -> Request {
    Request { client: Some(client), number, cost: 1, holds: Duration::ZERO }
}

pub(crate) fn client(request: &Request) -> Option<u32> {
    request.client
}

/// Records the requests that are issued, and the numbers in flight of each client: now, and most.
#[derive(Clone, Default)]
pub(crate) struct Issues(Arc<Mutex<Vec<(Instant, Request)>>>, Arc<Mutex<BTreeMap<u32, [u32; 2]>>>);

struct InFlight(Issues, u32);

impl InFlight {
    fn new(issues: &Issues, client: u32) -> Self {
        let mut in_flight = issues.1.lock().unwrap();
        let [now, most] = in_flight.entry(client).or_default();
        (*now, *most) = (*now + 1, (*now + 1).max(*most));
        Self(issues.clone(), client)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.1.lock().unwrap().entry(self.1).and_modify(|[now, _]| *now -= 1);
    }
}

impl Issues {
    pub(crate) fn service(
        &self,
    ) -> impl Service<Request, Response = u32, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + 'static {
        let issues = self.clone();
        service_fn(move |request: Request| {
            issues.0.lock().unwrap().push((now(), request));
            let in_flight = InFlight::new(&issues, request.client.unwrap_or(u32::MAX));
            async move {
                let _in_flight = in_flight;
                if !request.holds.is_zero() {
                    sleep(request.holds).await;
                }
                Ok(request.cost)
            }
        })
    }

    pub(crate) fn all(&self) -> Vec<(Instant, Request)> {
        self.0.lock().unwrap().clone()
    }

    fn most_in_flight(&self, client: u32) -> u32 {
        self.1.lock().unwrap().get(&client).map_or(0, |[_, most]| *most)
    }

    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.all().iter().map(|(_, request)| request.number).collect()
    }

    fn clients(&self) -> Vec<u32> {
        self.all().iter().filter_map(|(_, request)| request.client).collect()
    }
}

pub(crate) fn rejected<T: std::fmt::Debug>(result: Result<T, BoxError>) -> Rejected {
    Rejected::find(&*result.expect_err("rejected")).expect("by the layer").clone()
}

/// Sends a request in a task of its own, which has arrived when this returns.
pub(crate) async fn send<S>(service: &S, request: Request) -> JoinHandle<Result<u32, BoxError>>
where
    S: Service<Request, Response = u32, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    let task = tokio::spawn(service.clone().oneshot(request));
    settle().await;
    task
}

#[tokio::test(start_paused = true)]
async fn k17_requests_of_a_key_are_issued_in_the_order_of_arrival() {
    let layer = KeyedLimitLayer::new(Rule::new("client", client).at_most(2, SECOND)).wait(LONG);
    let issues = Issues::default();
    let service = layer.layer(issues.service());
    let start = now();
    let mut tasks = Vec::new();
    for number in 0..9 {
        tasks.push(send(&service, of(1, number)).await);
    }
    assert_eq!((issues.numbers(), layer.handle("client").queued()), (vec![0, 1], 7));
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(issues.numbers(), (0..9).collect::<Vec<_>>());
    let took = now() - start;
    assert!(took >= 4 * SECOND && took < Duration::from_millis(4_250), "{took:?}");
    assert_eq!(layer.handle("client").queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn k17_newcomer_of_a_key_never_overtakes_a_waiter() {
    let layer = KeyedLimitLayer::new(Rule::new("client", client).max_in_flight(1)).wait(LONG);
    let issues = Issues::default();
    let mut service = layer.layer(issues.service());
    let holds = Request { holds: SECOND, ..of(1, 0) };
    let first = send(&service, holds).await;
    let mut waiter = Box::pin(service.call(of(1, 1)));
    assert!(poll!(&mut waiter).is_pending());
    first.await.unwrap().unwrap();
    // The waiter has the permit, and its task has not polled yet.
    let mut newcomer = Box::pin(service.call(of(1, 2)));
    assert!(poll!(&mut newcomer).is_pending());
    assert_eq!(issues.numbers(), [0]);
    waiter.await.unwrap();
    newcomer.await.unwrap();
    assert_eq!(issues.numbers(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn k17_newcomer_waits_while_an_expensive_request_does() {
    let rule = Rule::new("client", client).at_most(10, SECOND).cost(|it: &Request| it.cost);
    let layer = KeyedLimitLayer::new(rule).wait(LONG);
    let issues = Issues::default();
    let service = layer.layer(issues.service());
    let with = |number, cost| Request { cost, ..of(1, number) };
    send(&service, with(0, 6)).await.await.unwrap().unwrap();
    let expensive = send(&service, with(1, 10)).await;
    let cheap = send(&service, with(2, 1)).await;
    assert_eq!(issues.numbers(), [0], "4 permits are left, and 10 are wanted first");
    expensive.await.unwrap().unwrap();
    cheap.await.unwrap().unwrap();
    assert_eq!(issues.numbers(), [0, 1, 2]);
    let too_large = rejected(service.oneshot(with(3, 11)).await);
    assert!(too_large.is_too_large());
}

#[tokio::test(start_paused = true)]
async fn k7_k17_waiters_of_a_key_delay_no_other_key() {
    let layer = KeyedLimitLayer::new(Rule::new("client", client).at_most(1, LONG)).wait(20 * LONG);
    let issues = Issues::default();
    let service = layer.layer(issues.service());
    let mut tasks = Vec::new();
    for number in 0..3 {
        tasks.push(send(&service, of(1, number)).await);
    }
    for key in 2..50 {
        service.clone().oneshot(of(key, 0)).now_or_never().expect("has room").unwrap();
    }
    assert_eq!(layer.handle("client").queued(), 2);
    tasks.iter().for_each(JoinHandle::abort);
}

#[test]
fn c6_k17_call_that_does_not_wait_allocates_nothing_while_other_keys_wait() {
    let rules = (
        Rule::new("number", |number: &u32| Some(number % 1_000)).at_most(100, LONG),
        Rule::global("all").at_most(1_000_000, LONG).max_in_flight(1_000),
    );
    let layer = KeyedLimitLayer::new(rules).wait(20 * LONG);
    crate::paused_runtime::run(async {
        let mut service = layer.layer(Free);
        for n in 0..1_000 {
            call(&mut service, n); // each key has its slot
        }
        for _ in 1..100 {
            call(&mut service, 7);
        }
        let mut waiter = Box::pin(service.clone().oneshot(7));
        assert!(poll!(&mut waiter).is_pending());
        let counted = measure(|| {
            for n in (0..1_000).filter(|n| *n != 7) {
                call(&mut service, n);
                call(&mut service.clone(), n);
            }
        });
        assert_eq!(counted.count_total, 0);
        assert_eq!(layer.handle("number").queued(), 1);
    });
}

#[tokio::test(start_paused = true)]
async fn k17_waiter_holds_no_permit_of_any_rule() {
    let layer = KeyedLimitLayer::new((
        Rule::global("all").at_most(10, LONG),
        Rule::new("client", client).at_most(1, LONG).max_in_flight(5),
        Rule::global("flying").max_in_flight(10),
    ))
    .wait(20 * LONG);
    let issues = Issues::default();
    let service = layer.layer(issues.service());
    let mut tasks = Vec::new();
    for number in 0..4 {
        tasks.push(send(&service, of(1, number)).await);
    }
    assert_eq!(layer.handle("client").queued(), 3);
    assert_eq!(layer.handle("all").remaining(()), 9);
    assert_eq!(layer.handle("all").queued(), 0);
    for key in 2..11 {
        service.clone().oneshot(of(key, 0)).await.unwrap();
    }
    assert_eq!(layer.handle("all").remaining(()), 0);
    tasks.iter().for_each(JoinHandle::abort);
    settle().await;
    assert_eq!(layer.handle("client").queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn k17_waiter_moves_to_the_rule_that_rejects_it_in_its_turn() {
    let layer = KeyedLimitLayer::new((
        Rule::new("client", client).at_most(1, SECOND),
        Rule::global("all").at_most(1, 10 * SECOND),
    ))
    .wait(LONG);
    let issues = Issues::default();
    let service = layer.layer(issues.service());
    send(&service, of(1, 0)).await.await.unwrap().unwrap();
    let waiter = send(&service, of(1, 1)).await;
    let (client, all) = (layer.handle("client"), layer.handle("all"));
    assert_eq!((client.queued(), all.queued()), (1, 0));
    advance(Duration::from_millis(1_100)).await;
    settle().await;
    assert_eq!((client.queued(), all.queued()), (0, 1));
    assert_eq!(client.remaining(1_u32), 1, "the waiter holds nothing of it");
    waiter.await.unwrap().unwrap();
    assert_eq!((client.queued(), all.queued()), (0, 0));
}

/// A polite client behind a greedy one, at a rule that both share.
macro_rules! greedy_and_polite {
    ($rules:expr) => {
        let layer = KeyedLimitLayer::new($rules).wait(LONG).max_queue_per_key(1_000);
        let issues = Issues::default();
        let service = layer.layer(issues.service());
        let mut tasks = Vec::new();
        let request = |client, number| Request { holds: ms(10), ..of(client, number) };
        tasks.extend((0..1_000).map(|n| tokio::spawn(service.clone().oneshot(request(1, n)))));
        settle().await;
        tasks.extend((2..7).map(|key| tokio::spawn(service.clone().oneshot(request(key, 0)))));
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let clients = issues.clients();
        let before = clients.iter().position(|client| *client == 6).unwrap();
        // The first of all, and one turn of each other key.
        assert!(before <= 1 + 1 + 4, "{before} before");
        let all = issues.all();
        let of_greedy = all.iter().filter(|(_, it)| it.client == Some(1)).map(|(_, it)| it.number);
        assert!(of_greedy.is_sorted(), "FIFO within the key");
    };
}

#[tokio::test(start_paused = true)]
async fn k17_keys_take_turns_at_a_shared_rule() {
    let all = || Rule::global("all").max_in_flight(1);
    let per_client = || Rule::new("client", client).max_in_flight(50);
    greedy_and_polite!((per_client(), all()));
    greedy_and_polite!((all(), per_client()));
    let all = || Rule::global("all").at_most(1, ms(50));
    greedy_and_polite!((per_client(), all()));
    // A rule of a tenant, in which both clients are.
    let tenant = Rule::new("tenant", |_: &Request| Some(5)).max_in_flight(1);
    greedy_and_polite!((per_client(), tenant));
}

#[tokio::test(start_paused = true)]
async fn k17_keys_in_an_overflow_wait_in_its_line() {
    // Two sets of eight slots, which other keys fill.
    let rule = || Rule::new("client", client).max_in_flight(1).max_keys(1);
    let layer = KeyedLimitLayer::new(rule()).wait(LONG).max_queue_per_key(1_000);
    let issues = Issues::default();
    let service = layer.layer(issues.service());
    let hold = |client| Request { holds: LONG, ..of(client, 0) };
    let mut fillers = Vec::new();
    for key in 1_000..1_100 {
        fillers.push(send(&service, hold(key)).await);
    }
    let handle = layer.handle("client");
    assert_eq!(handle.live_keys(), 16);
    // The others share two overflows, each with one request in flight.
    assert_eq!((issues.all().len(), handle.queued()), (18, 82));
    fillers.iter().for_each(JoinHandle::abort);
    settle().await;
    assert_eq!((handle.live_keys(), handle.queued()), (0, 0));
    service.oneshot(of(1, 0)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn k17_queue_of_a_key_and_the_whole_queue_are_bounded() {
    let layer = KeyedLimitLayer::new((
        Rule::new("client", client).max_in_flight(1),
        Rule::global("all").at_most(100, SECOND),
    ))
    .wait(LONG)
    .max_queue_per_key(2)
    .max_queue(3);
    let service = layer.layer(Issues::default().service());
    let hold = |client| Request { holds: LONG, ..of(client, 0) };
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(send(&service, hold(1)).await);
    }
    let full = rejected(service.clone().oneshot(hold(1)).await);
    assert!(full.is_queue_full() && full.is_rate_limited() && full.retry_after().is_none());
    assert_eq!(full.rule().as_deref(), Some("client"));
    tasks.push(send(&service, hold(2)).await);
    tasks.push(send(&service, hold(2)).await);
    assert_eq!(layer.handle("client").queued(), 3);
    assert!(rejected(service.clone().oneshot(hold(2)).await).is_queue_full());
    service.clone().oneshot(of(3, 0)).await.unwrap(); // does not wait
    assert_eq!(layer.handle("client").rejected(), 2);
    tasks[1].abort();
    settle().await;
    tasks.push(send(&service, hold(2)).await);
    assert_eq!(layer.handle("client").queued(), 3);
    tasks.iter().for_each(JoinHandle::abort);
    settle().await;
    assert_eq!((layer.handle("client").queued(), layer.handle("client").live_keys()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn k11_k17_request_that_cannot_be_issued_in_time_is_rejected_at_once() {
    let layer = KeyedLimitLayer::new((
        Rule::new("client", client).at_most(2, SECOND),
        Rule::global("all").at_most(1_000, LONG),
    ))
    .wait(ms(2_500));
    let issues = Issues::default();
    let service = layer.layer(issues.service());
    let start = now();
    let mut tasks = Vec::new();
    for number in 0..6 {
        tasks.push(send(&service, of(1, number)).await);
    }
    // Two now, two after a window, two after another one. The next would wait for a third.
    assert_eq!(layer.handle("client").queued(), 4);
    let late = rejected(service.clone().oneshot(of(1, 9)).await);
    assert_eq!(now(), start, "at once");
    assert!(late.is_wait_timeout() && late.is_rate_limited());
    let wait = late.retry_after().unwrap();
    assert!(wait >= 3 * SECOND && wait < Duration::from_millis(3_100), "{wait:?}");
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(issues.numbers(), (0..6).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn k17_request_that_waits_too_long_for_a_request_in_flight_is_rejected() {
    let layer = KeyedLimitLayer::new(Rule::new("client", client).max_in_flight(1)).wait(ms(300));
    let issues = Issues::default();
    let service = layer.layer(issues.service());
    let start = now();
    let holder = send(&service, Request { holds: ms(500), ..of(1, 0) }).await;
    let late = send(&service, of(1, 1)).await;
    advance(ms(250)).await;
    let next = send(&service, of(1, 2)).await;
    let late = rejected(late.await.unwrap());
    assert!(late.is_wait_timeout() && late.retry_after().is_none() && late.is_rate_limited());
    let waited = now() - start;
    assert!(waited >= ms(300) && waited <= ms(302), "{waited:?}");
    holder.await.unwrap().unwrap();
    next.await.unwrap().unwrap();
    assert_eq!(issues.numbers(), [0, 2]);

    let layer = KeyedLimitLayer::new(Rule::new("client", client).max_in_flight(1));
    let service = layer.wait(Duration::ZERO).layer(issues.service());
    let holder = send(&service, Request { holds: ms(500), ..of(1, 0) }).await;
    assert!(rejected(service.oneshot(of(1, 3)).await).is_wait_timeout());
    holder.abort();
}

#[tokio::test(start_paused = true)]
async fn c4_k17_request_that_is_dropped_at_any_point_leaves_nothing_and_lets_the_next_proceed() {
    let rule = Rule::new("client", client).at_most(3, LONG).max_in_flight(1);
    let layer = KeyedLimitLayer::new(rule).wait(20 * LONG);
    let issues = Issues::default();
    let mut service = layer.layer(issues.service());
    let handle = layer.handle("client");
    drop(service.call(of(1, 0))); // never polled
    let mut holder = Box::pin(service.call(Request { holds: LONG, ..of(1, 1) }));
    assert!(poll!(&mut holder).is_pending());
    let mut waiters: Vec<_> = (2..6).map(|n| Box::pin(service.call(of(1, n)))).collect();
    for waiter in &mut waiters {
        assert!(poll!(waiter).is_pending());
    }
    assert_eq!((handle.queued(), handle.remaining(1_u32)), (4, 2));
    drop(waiters.remove(1)); // in the queue, not the first
    assert_eq!(handle.queued(), 3);
    drop(holder); // in flight: the first waiter is granted its permits
    assert_eq!((handle.queued(), handle.remaining(1_u32)), (2, 1));
    drop(waiters.remove(0)); // granted, and not polled
    assert_eq!((handle.queued(), handle.remaining(1_u32)), (1, 1));
    for waiter in waiters {
        waiter.await.unwrap();
    }
    assert_eq!(issues.numbers(), [1, 4, 5]);
    assert_eq!((handle.queued(), handle.remaining(1_u32)), (0, 0));
}

/// Ready when it is told to be.
#[derive(Clone)]
struct Slow(Arc<Mutex<(usize, bool)>>);

impl Service<Request> for Slow {
    type Response = u32;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<u32, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let mut state = self.0.lock().unwrap();
        state.0 += 1;
        if state.1 { Poll::Ready(Err("no connection".into())) } else { Poll::Pending }
    }

    fn call(&mut self, _: Request) -> Self::Future {
        Box::pin(pending())
    }
}

#[tokio::test(start_paused = true)]
async fn c3_k17_readiness_that_is_cancelled_or_fails_refunds_the_permits() {
    let layer = KeyedLimitLayer::new(Rule::new("client", client).at_most(1, LONG)).wait(20 * LONG);
    let state = Arc::new(Mutex::new((0, false)));
    let mut service = layer.layer(Slow(Arc::clone(&state)));
    let handle = layer.handle("client");
    let mut driven = Box::pin(service.call(of(1, 0)));
    assert!(poll!(&mut driven).is_pending());
    assert_eq!((handle.remaining(1_u32), state.lock().unwrap().0), (0, 1));
    let mut waiter = Box::pin(service.call(of(1, 1)));
    assert!(poll!(&mut waiter).is_pending());
    assert_eq!(state.lock().unwrap().0, 1, "not polled for a request that waits");
    drop(driven);
    assert_eq!((handle.queued(), handle.remaining(1_u32)), (0, 0));
    assert!(poll!(&mut waiter).is_pending());
    assert_eq!(state.lock().unwrap().0, 2);
    state.lock().unwrap().1 = true;
    assert_eq!(waiter.await.unwrap_err().to_string(), "no connection");
    assert_eq!(handle.remaining(1_u32), 1);
}

#[tokio::test(start_paused = true)]
async fn c4_k17_panic_of_the_inner_call_commits_the_permits() {
    let layer = KeyedLimitLayer::new(Rule::new("client", client).at_most(2, LONG).max_in_flight(1))
        .wait(LONG);
    let service =
        layer.layer(service_fn(|_: Request| -> std::future::Ready<Result<u32, Infallible>> {
            panic!("in call")
        }));
    assert!(tokio::spawn(service.oneshot(of(1, 0))).await.unwrap_err().is_panic());
    assert_eq!(layer.handle("client").remaining(1_u32), 1);
}

#[tokio::test(start_paused = true)]
async fn k8_k17_refund_by_the_response_is_granted_to_a_waiter() {
    let rule = Rule::new("client", client)
        .at_most(10, LONG)
        .cost(|_: &Request| 10)
        .settle(|cost: &u32| Some(*cost));
    let layer = KeyedLimitLayer::new(rule).wait(20 * LONG);
    let issues = Issues::default();
    let service = layer.layer(issues.service());
    let first = send(&service, Request { cost: 0, holds: SECOND, ..of(1, 0) }).await;
    let second = send(&service, Request { cost: 7, ..of(1, 1) }).await;
    assert_eq!((issues.numbers(), layer.handle("client").queued()), (vec![0], 1));
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(layer.handle("client").remaining(1_u32), 3);
}

#[tokio::test(start_paused = true)]
async fn k13_k17_forgotten_key_is_granted_to_its_waiters() {
    let layer = KeyedLimitLayer::new(Rule::new("client", client).at_most(2, LONG)).wait(20 * LONG);
    let issues = Issues::default();
    let service = layer.layer(issues.service());
    let mut tasks = Vec::new();
    for number in 0..5 {
        tasks.push(send(&service, of(1, number)).await);
    }
    layer.handle("client").forget(1_u32);
    settle().await;
    assert_eq!((issues.numbers().len(), layer.handle("client").queued()), (4, 1));
    tasks.iter().for_each(JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn k17_layer_that_rejects_lets_no_request_overtake_those_that_wait() {
    let rule = Rule::new("client", client).at_most(10, SECOND).cost(|it: &Request| it.cost);
    let rejecting = KeyedLimitLayer::new(rule);
    let issues = Issues::default();
    let waits = rejecting.clone().wait(LONG).layer(issues.service());
    let rejects = rejecting.layer(issues.service());
    let with = |number, cost| Request { cost, ..of(1, number) };
    rejects.clone().oneshot(with(0, 6)).await.unwrap();
    let waiter = send(&waits, with(1, 10)).await;
    assert!(rejected(rejects.clone().oneshot(with(2, 1)).await).is_limit_reached());
    waiter.await.unwrap().unwrap();
    assert!(rejected(rejects.clone().oneshot(with(3, 1)).await).is_limit_reached());
    advance(2 * SECOND).await;
    rejects.oneshot(with(4, 1)).await.unwrap();
    assert_eq!(issues.numbers(), [0, 1, 4]);
}

#[tokio::test(start_paused = true)]
async fn c5_k17_waiter_is_woken_once() {
    let layer = KeyedLimitLayer::new((
        Rule::new("client", client).at_most(5, SECOND),
        Rule::global("all").at_most(7, SECOND),
    ))
    .wait(LONG);
    let issues = Issues::default();
    let mut service = layer.layer(issues.service());
    let mut waiters = Vec::new();
    for number in 0..60 {
        let mut future = Box::pin(service.call(of(number % 3, number)));
        let wakes = WakeCounter::new();
        let waker = wakes.waker();
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            waiters.push((future, wakes));
        }
    }
    assert_eq!(waiters.len(), 53);
    while !waiters.is_empty() {
        sleep(ms(1)).await;
        waiters.retain_mut(|(future, wakes)| {
            assert!(wakes.count() <= 1);
            if wakes.count() == 0 {
                return true;
            }
            let polled = future.as_mut().poll(&mut Context::from_waker(&wakes.waker()));
            assert!(matches!(polled, Poll::Ready(Ok(_))), "woken to proceed");
            false
        });
    }
    assert_eq!(issues.all().len(), 60);
}

/// A task that is granted permits and does not poll holds up its own request only.
#[tokio::test(start_paused = true)]
async fn c13_k17_waiter_that_is_not_polled_holds_up_no_other() {
    let layer = KeyedLimitLayer::new(Rule::new("client", client).at_most(3, SECOND)).wait(LONG);
    let issues = Issues::default();
    let mut service = layer.layer(issues.service());
    for number in 0..3 {
        service.call(of(1, number)).await.unwrap();
    }
    let mut lazy = Box::pin(service.call(of(1, 3)));
    assert!(poll!(&mut lazy).is_pending());
    let others = [4, 5].map(|number| Box::pin(service.call(of(1, number))));
    assert!(join_all(others).await.iter().all(Result::is_ok));
    assert_eq!(issues.numbers(), [0, 1, 2, 4, 5]);
    lazy.await.unwrap();
}

#[test]
fn c2_k17_wait_needs_a_runtime_and_the_rest_does_not() {
    let layer = KeyedLimitLayer::new(Rule::new("client", client).at_most(1, LONG)).wait(20 * LONG);
    let service = layer.layer(Issues::default().service());
    service.clone().oneshot(of(2, 0)).now_or_never();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        service.clone().oneshot(of(2, 1)).now_or_never()
    }));
    let text = *panic.unwrap_err().downcast::<String>().unwrap();
    assert!(
        text.starts_with("KeyedQueueLayer: a wait for a permit needs a Tokio runtime"),
        "{text}"
    );
    assert_eq!(layer.handle("client").queued(), 0);
}

/// A schedule of requests, some of which are dropped.
async fn oracle(seed: u64) -> [usize; 3] {
    let mut random = fastrand::Rng::with_seed(seed);
    let clients = random.u32(1..6);
    let (quota, window) = (random.u32(1..40), ms(random.u64(50..2_000)));
    let (total, of_all) = (random.u32(1..80), ms(random.u64(50..2_000)));
    let flying = random.u32(1..5);
    let max_wait = ms(random.u64(1..5_000));
    let max_cost = quota.min(total).min(3);
    let cost = |it: &Request| it.cost;
    let rules = (
        Rule::new("client", client).at_most(quota, window).max_in_flight(flying).cost(cost),
        Rule::global("all").at_most(total, of_all).cost(cost),
    );
    let layer = KeyedLimitLayer::new(rules).wait(max_wait).max_queue_per_key(20).max_queue(50);
    let issues = Issues::default();
    let service = layer.layer(issues.service());
    let mut tasks: VecDeque<JoinHandle<_>> = VecDeque::new();
    let mut dropped = 0;
    for number in 0..random.u32(1..300) {
        let key = random.u32(0..clients);
        let request = Request {
            client: Some(key),
            number,
            cost: random.u32(1..=max_cost),
            holds: ms(random.u64(0..300)),
        };
        let service = service.clone();
        tasks.push_back(tokio::spawn(async move {
            let arrived = now();
            let result = service.oneshot(request).await;
            (now() - arrived, request, result.map_err(|error| rejected::<u32>(Err(error))))
        }));
        yield_now().await; // arrives
        if random.u32(..10) == 0 {
            tasks.remove(random.usize(..tasks.len())).unwrap().abort();
            dropped += 1;
        }
        if random.bool() {
            sleep(ms(random.u64(0..100))).await;
        }
    }
    let (mut served, mut refused) = (0, 0);
    for task in tasks {
        let (took, request, result) = task.await.unwrap();
        match result {
            Ok(_) => {
                served += 1;
                assert!(took <= max_wait + request.holds + ms(3), "{took:?} of {max_wait:?}");
            }
            Err(rejected) => {
                refused += 1;
                assert!(rejected.is_queue_full() || rejected.is_wait_timeout(), "{rejected:?}");
                if rejected.is_queue_full() {
                    assert!(took.is_zero());
                } else if took < max_wait && rejected.is_wait_timeout() {
                    // The window told so: at once, or when another rule refused it.
                    assert!(rejected.retry_after().unwrap() + took > max_wait - ms(1));
                } else {
                    assert!(took <= max_wait + ms(2), "{took:?} of {max_wait:?}");
                }
            }
        }
    }
    let all = issues.all();
    for key in 0..clients {
        let of_key: Vec<_> = all.iter().filter(|(_, it)| it.client == Some(key)).collect();
        let numbers = of_key.iter().map(|(_, it)| it.number);
        assert!(numbers.is_sorted(), "seed {seed}: {key} in order");
        assert!(most_cost(&of_key, window) <= quota, "seed {seed}");
        assert!(issues.most_in_flight(key) <= flying, "seed {seed}");
    }
    assert!(most_cost(&all.iter().collect::<Vec<_>>(), of_all) <= total, "seed {seed}");
    let (client, all) = (layer.handle("client"), layer.handle("all"));
    assert_eq!((client.queued(), all.queued()), (0, 0));
    sleep(2 * (window + of_all)).await;
    assert_eq!((client.live_keys(), all.remaining(())), (0, total), "seed {seed}");
    for key in 0..clients {
        assert_eq!(client.remaining(key), quota, "seed {seed}");
    }
    [served, refused, dropped]
}

/// The largest cost in a half-open span.
fn most_cost(issues: &[&(Instant, Request)], span: Duration) -> u32 {
    let cost_from = |from: Instant| {
        let inside = issues.iter().filter(|(at, _)| *at >= from && *at < from + span);
        inside.map(|(_, request)| request.cost).sum::<u32>()
    };
    issues.iter().map(|(at, _)| cost_from(*at)).max().unwrap_or(0)
}

#[test]
fn k1_k16_k17_random_schedules_keep_order_and_limits_and_leave_nothing() {
    let (mut served, mut refused, mut dropped) = (0, 0, 0);
    for seed in 0..150 {
        let [ok, no, gone] = crate::paused_runtime::run(oracle(seed));
        (served, refused, dropped) = (served + ok, refused + no, dropped + gone);
    }
    println!("oracle keyed_waiting: served={served} rejected={refused} dropped={dropped}");
    assert!(served > 5_000 && refused > 1_500 && dropped > 1_000);
}
