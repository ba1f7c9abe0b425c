//! Deadlines and classes of a concurrency limit, in scenes. `tests/overload` has the same under
//! load.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use tokio::{task::JoinHandle, time::advance};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, DeadlineLayer, Rejected,
    backpressure::{ByRequest, Class, Terms},
};
use tower_test::mock::Spawn;

use crate::support::{ms, now, secs, settle};

/// A request: its terms, and its time in service.
#[derive(Clone, Copy)]
struct Job {
    terms: Terms,
    takes: Duration,
}

/// Returns a request that takes a second.
fn job(deadline: impl Into<Option<Duration>>) -> Job {
    Job { terms: Terms::new().deadline(deadline), takes: secs(1) }
}

fn of_class(class: Class) -> Job {
    Job { terms: Terms::new().class(class), takes: secs(1) }
}

/// A server that counts the requests that reach it.
#[derive(Clone, Default)]
struct Server {
    sent: Arc<AtomicU32>,
}

impl Server {
    fn sent(&self) -> u32 {
        self.sent.load(SeqCst)
    }
}

impl Service<Job> for Server {
    type Response = ();
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, job: Job) -> Self::Future {
        self.sent.fetch_add(1, SeqCst);
        tokio::time::sleep(job.takes).map(Ok).boxed()
    }
}

type Limited = ByRequest<Server, fn(&Job) -> Terms, tower_floodgate::reject::RejectWithBoxError>;

/// A limit before a server, and the requests that are under way.
struct Scene {
    server: Server,
    service: Limited,
    handle: ConcurrencyBackpressureHandle,
}

impl Scene {
    fn new(layer: ConcurrencyBackpressureLayer) -> Self {
        let server = Server::default();
        let layer = layer.by_request((|job: &Job| job.terms) as fn(&Job) -> Terms);
        let service = layer.layer(server.clone());
        Self { server, service, handle: layer.handle() }
    }

    /// A limit of one request, whose pace and time in service, of a second each, are known. `ahead`
    /// requests are queued.
    async fn measured(ahead: u32) -> Self {
        let scene = Self::new(ConcurrencyBackpressureLayer::new(1));
        for _ in 0..20 + ahead {
            scene.send(job(secs(1_000))).await;
        }
        // One is done at each second, and another is sent.
        pass(19).await;
        assert_eq!((scene.server.sent(), scene.handle.queued()), (20, ahead));
        scene
    }

    /// Sends a request in a task of its own.
    async fn send(&self, job: Job) -> JoinHandle<Result<(), BoxError>> {
        let call = self.service.clone().call(job);
        let sent = tokio::spawn(call);
        settle().await;
        sent
    }

    /// Sends a request that is rejected at once.
    async fn rejected(&self, job: Job) -> Rejected {
        let sent = self.send(job).await;
        assert!(sent.is_finished(), "it waits");
        rejection(sent.await.unwrap())
    }
}

/// Lets seconds pass one by one, so that each request begins as the one before ends.
async fn pass(seconds: u32) {
    for _ in 0..seconds {
        advance(secs(1)).await;
        settle().await;
    }
}

fn rejection(result: Result<(), BoxError>) -> Rejected {
    Rejected::find(&*result.expect_err("it is rejected")).expect("a rejection").clone()
}

#[tokio::test(start_paused = true)]
async fn a11_request_that_cannot_be_done_in_time_is_rejected_on_arrival_with_its_time() {
    let scene = Scene::measured(9).await;
    // Its turn comes in 10 s, and the service takes one more.
    let rejected = scene.rejected(job(secs(5))).await;
    assert!(rejected.is_too_late());
    assert_eq!(rejected.retry_after(), Some(secs(6)));
    assert_eq!(scene.handle.rejected().too_late, 1);
    assert_eq!(scene.rejected(job(ms(10_999))).await.retry_after(), Some(ms(1)));

    pass(6).await;
    let later = scene.send(job(secs(5))).await;
    assert!(!later.is_finished(), "the time that was told has passed");
    later.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a11_rejection_has_no_time_if_the_service_alone_takes_too_long() {
    let scene = Scene::measured(3).await;
    let rejected = scene.rejected(job(ms(999))).await;
    assert!(rejected.is_too_late());
    assert_eq!(rejected.retry_after(), None);
    assert_eq!(
        rejected.to_string(),
        "too many requests in flight, and the request could not be done by its deadline",
    );
}

#[tokio::test(start_paused = true)]
async fn a11_waiter_with_too_little_time_at_its_turn_is_never_sent() {
    let scene = Scene::measured(0).await;
    let sent = scene.server.sent();
    // The request that is in service has a second left. The first waiter is not judged before.
    let late = scene.send(job(ms(1_500))).await;
    let next = scene.send(job(None)).await;
    advance(secs(1)).await;
    settle().await;
    let rejected = rejection(late.await.unwrap());
    assert!(rejected.is_too_late());
    assert_eq!(scene.server.sent(), sent + 1, "its permit is that of the next");
    next.await.unwrap().unwrap();
    assert_eq!(scene.handle.in_flight(), 0);
}

/// The task of a waiter is polled late, as by a busy thread.
#[tokio::test(start_paused = true)]
async fn a11_request_whose_deadline_passes_between_grant_and_poll_is_not_sent() {
    let scene = Scene::new(ConcurrencyBackpressureLayer::new(1));
    let permit = scene.handle.try_acquire().unwrap();
    let mut service = scene.service.clone();
    let mut call = task::spawn(service.call(job(secs(3))));
    assert_pending!(call.poll());
    advance(ms(2_990)).await;
    drop(permit);
    assert!(call.is_woken());
    advance(ms(10)).await;
    assert!(rejection(assert_ready!(call.poll())).is_too_late());
    assert_eq!((scene.server.sent(), scene.handle.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a11_a14_late_request_of_a_class_is_told_the_time_after_which_it_would_fit() {
    let scene = Scene::measured(9).await;
    let terms = Terms::new().deadline(secs(5)).class(Class::Sheddable);
    let hasty = Job { terms, takes: secs(1) };
    let rejected = scene.rejected(hasty).await;
    assert!(rejected.is_too_late());
    // A wait of a second, times 4, and a second in service.
    assert_eq!(rejected.retry_after(), Some(secs(9)));
    pass(8).await;
    assert_eq!(scene.rejected(hasty).await.retry_after(), Some(secs(1)));
    pass(1).await;
    scene.send(hasty).await.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a11_deadline_that_has_passed_is_too_late_by_both_ways_to_tell_terms() {
    let late = job(Duration::ZERO);
    for layer in [
        ConcurrencyBackpressureLayer::new(1).max_queue(0),
        ConcurrencyBackpressureLayer::new(1).max_wait(Duration::ZERO),
    ] {
        let _permit = layer.handle().try_acquire().unwrap();
        let by_request = layer.clone().by_request(|job: &Job| job.terms);
        assert!(rejection(by_request.layer(Server::default()).call(late).await).is_too_late());

        let mut with_terms = layer.with_terms().layer(Server::default());
        with_terms.terms(late.terms);
        let result = with_terms.ready().await.unwrap().call(late).await;
        assert!(rejection(result).is_too_late());
    }
}

#[tokio::test(start_paused = true)]
async fn a11_waiter_is_rejected_at_its_deadline_though_nothing_else_happens() {
    let scene = Scene::new(ConcurrencyBackpressureLayer::new(1));
    let _holder = scene.send(Job { takes: secs(100), ..job(None) }).await;
    let begun = now();
    let waiter = scene.send(job(secs(3))).await;
    assert!(rejection(waiter.await.unwrap()).is_too_late());
    assert_eq!(now() - begun, secs(3));
    assert_eq!((scene.server.sent(), scene.handle.queued()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a12_first_waiter_is_not_rejected_by_prediction() {
    let scene = Scene::measured(0).await;
    let first = scene.send(job(ms(1_500))).await;
    assert!(!first.is_finished());
    // It is judged at its turn: a deadline that is too short for its service even then.
    pass(1).await;
    assert!(rejection(first.await.unwrap()).is_too_late());
}

#[tokio::test(start_paused = true)]
async fn a12_without_a_measured_pace_no_arrival_is_rejected() {
    let scene = Scene::new(ConcurrencyBackpressureLayer::new(1));
    for _ in 0..20 {
        let waiter = scene.send(job(secs(3))).await;
        assert!(!waiter.is_finished());
    }
    assert_eq!(scene.handle.queued(), 19);
}

#[tokio::test(start_paused = true)]
async fn a12_pace_is_forgotten_with_the_queue() {
    let scene = Scene::measured(0).await;
    advance(secs(1_000)).await;
    settle().await;
    for _ in 0..10 {
        let sent = scene.send(job(secs(3))).await;
        assert!(!sent.is_finished(), "no pace is known across the gap");
    }
}

#[tokio::test(start_paused = true)]
async fn a12_free_permit_admits_unless_the_deadline_has_passed() {
    let scene = Scene::measured(0).await;
    advance(secs(1)).await;
    settle().await;
    assert_eq!(scene.handle.in_flight(), 0);
    let hasty = scene.send(Job { takes: ms(1), ..job(ms(5)) }).await;
    hasty.await.unwrap().unwrap();

    let sent = scene.server.sent();
    let rejected = scene.rejected(job(Duration::ZERO)).await;
    assert!(rejected.is_too_late());
    assert_eq!((rejected.retry_after(), scene.server.sent()), (None, sent));
    assert_eq!(scene.handle.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a11_deadline_beyond_the_clock_is_none() {
    let scene = Scene::measured(3).await;
    let sent = scene.send(job(Duration::MAX)).await;
    sent.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a11_current_deadline_is_one_of_the_request() {
    let scene = Scene::measured(9).await;
    let service = DeadlineLayer::new(secs(5)).layer(scene.service.clone());
    let begun = now();
    let error = service.oneshot(job(None)).await.unwrap_err();
    let rejected = Rejected::find(&*error).unwrap();
    assert!(rejected.is_too_late() && !rejected.is_deadline_exceeded());
    assert_eq!((rejected.retry_after(), now() - begun), (Some(secs(6)), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a11_panic_of_the_reader_leaks_no_permit() {
    let layer = ConcurrencyBackpressureLayer::new(1).by_request(|job: &Job| {
        assert!(job.takes != Duration::ZERO, "no time");
        job.terms
    });
    let mut service = layer.layer(Server::default());
    let call = std::panic::AssertUnwindSafe(|| service.call(Job { takes: ms(0), ..job(None) }));
    assert!(std::panic::catch_unwind(call).is_err());
    assert_eq!(layer.handle().in_flight(), 0);
    service.call(job(None)).await.unwrap();
}

/// A service whose clones are not ready before a time.
#[derive(Clone)]
struct Slow(Server, tokio::time::Instant);

impl Service<Job> for Slow {
    type Response = ();
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if now() >= self.1 { Poll::Ready(Ok(())) } else { Poll::Pending } // wakes no task
    }

    fn call(&mut self, job: Job) -> Self::Future {
        self.0.call(job)
    }
}

#[tokio::test(start_paused = true)]
async fn a11_deadline_that_passes_while_the_clone_becomes_ready_releases_the_permit() {
    let layer = ConcurrencyBackpressureLayer::new(1).by_request(|job: &Job| job.terms);
    let (server, handle) = (Server::default(), layer.handle());
    let service = layer.layer(Slow(server.clone(), now() + secs(10)));
    let begun = now();
    let error = service.oneshot(job(secs(3))).await.unwrap_err();
    assert!(Rejected::find(&*error).unwrap().is_too_late());
    assert_eq!((now() - begun, server.sent(), handle.in_flight()), (secs(3), 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a11_service_time_is_that_of_requests_with_a_deadline_to_their_response() {
    let scene = Scene::new(ConcurrencyBackpressureLayer::new(10));
    // Requests without a deadline are not measured.
    for _ in 0..32 {
        scene.send(Job { takes: secs(100), ..job(None) }).await;
    }
    advance(secs(400)).await;
    settle().await;
    // Abandoned ones are, if they took longer than most.
    for _ in 0..16 {
        scene.send(job(secs(1_000))).await;
    }
    advance(secs(2)).await;
    settle().await;
    for _ in 0..16 {
        scene.send(Job { takes: secs(100), ..job(secs(1_000)) }).await.abort();
    }
    scene.handle.drained().await;
    let _holders = futures::future::join_all((0..10).map(|_| scene.send(job(None)))).await;
    let waiter = scene.send(job(ms(1_999))).await;
    advance(secs(1)).await;
    settle().await;
    assert!(rejection(waiter.await.unwrap()).is_too_late(), "a second is in reserve");
}

#[tokio::test(start_paused = true)]
async fn a15_arrival_with_a_longer_predicted_wait_is_rejected_at_once() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(secs(20));
    let handle = layer.handle();
    let service = layer.layer(Server::default());
    let send = || tokio::spawn(service.clone().oneshot(job(None)));
    for _ in 0..19 {
        send();
        settle().await;
    }
    assert_eq!(handle.queued(), 18, "the pace is unknown");
    pass(9).await;
    // One is granted a permit at each second, and nine are queued.
    handle.set_max_wait(Some(ms(10_500))).unwrap();
    let last = send();
    settle().await;
    assert!(!last.is_finished(), "it waits for 10 s");
    let begun = now();
    let rejected = rejection(send().await.unwrap());
    assert!(rejected.is_wait_timeout());
    assert_eq!((rejected.retry_after(), now() - begun), (Some(ms(500)), Duration::ZERO));
    assert_eq!(handle.rejected().wait_timeout, 1);
    last.await.unwrap().unwrap();
    assert_eq!(now() - begun, secs(11), "after its wait and its service");
}

#[tokio::test(start_paused = true)]
async fn a15_first_waiter_is_rejected_after_max_wait_and_not_before() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(secs(20));
    let handle = layer.handle();
    let service = layer.layer(Server::default());
    for _ in 0..12 {
        tokio::spawn(service.clone().oneshot(job(None)));
        settle().await;
    }
    pass(11).await;
    assert_eq!(handle.queued(), 0);
    handle.set_max_wait(Some(ms(500))).unwrap();
    let (begun, first) = (now(), service.clone().oneshot(job(None)));
    assert!(rejection(first.await).is_wait_timeout());
    assert_eq!(now() - begun, ms(500));
}

#[tokio::test(start_paused = true)]
async fn a15_grants_of_a_raised_limit_are_no_pace() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(secs(1_000));
    let handle = layer.handle();
    let service = layer.layer(Server::default());
    let send = || tokio::spawn(service.clone().oneshot(Job { takes: secs(100), ..job(None) }));
    for _ in 0..40 {
        send();
        settle().await;
    }
    handle.set_limit(20).unwrap();
    settle().await;
    assert_eq!(handle.in_flight(), 20);
    handle.set_max_wait(Some(ms(1))).unwrap();
    let arrival = send();
    settle().await;
    assert!(!arrival.is_finished(), "no pace is known");
    assert_eq!(handle.queued(), 21);
}

#[tokio::test(start_paused = true)]
async fn a14_class_may_join_while_the_queue_is_shorter_than_its_share() {
    let scene = Scene::new(ConcurrencyBackpressureLayer::new(1));
    scene.handle.set_max_queue(Some(8)).unwrap();
    scene.send(of_class(Class::Sheddable)).await; // a free permit admits any class
    for (class, share) in [(Class::Sheddable, 2), (Class::Normal, 4), (Class::Critical, 8)] {
        while scene.handle.queued() < share {
            assert!(!scene.send(of_class(class)).await.is_finished());
        }
        let rejected = scene.rejected(of_class(class)).await;
        assert!(rejected.is_queue_full());
        assert_eq!(rejected.class(), Some(class));
    }
    scene.rejected(of_class(Class::Sheddable)).await;
    let by_class = scene.handle.rejected_by_class().unwrap();
    assert_eq!(Class::ALL.map(|class| by_class.of(class)), [1, 1, 2]);
    assert_eq!(scene.handle.rejected().queue_full, 4);
    assert_eq!(scene.handle.snapshot().rejected_by_class, Some(by_class));
}

/// Neither a class nor an earlier deadline overtakes.
#[tokio::test(start_paused = true)]
async fn a14_b2_waiters_of_all_classes_are_served_in_order_of_arrival() {
    let scene = Scene::new(ConcurrencyBackpressureLayer::new(1));
    scene.send(job(None)).await;
    let mut waiting = Vec::new();
    for number in 0..30 {
        let class = Class::ALL[[2, 0, 1, 1, 0, 2, 0][number % 7]];
        let terms = Terms::new().class(class).deadline(secs(1_000 - 10 * number as u64));
        waiting.push(scene.send(Job { terms, takes: secs(1) }).await);
    }
    for served in 0..=waiting.len() {
        pass(1).await;
        let finished: Vec<_> = waiting.iter().map(JoinHandle::is_finished).collect();
        assert!(finished.iter().take(served).all(|&is_finished| is_finished), "{finished:?}");
        assert!(!finished.iter().skip(served).any(|&is_finished| is_finished), "{finished:?}");
    }
}

/// Waiters with a deadline that has passed take no room from others.
#[tokio::test(start_paused = true)]
async fn a14_expired_waiters_leave_their_share_of_the_queue() {
    let scene = Scene::new(ConcurrencyBackpressureLayer::new(1));
    scene.handle.set_max_queue(Some(8)).unwrap();
    scene.send(Job { terms: Terms::new(), takes: secs(1_000) }).await;
    let sheddable = |seconds| Job {
        terms: Terms::new().class(Class::Sheddable).deadline(secs(seconds)),
        takes: secs(1),
    };
    for _ in 0..10 {
        let waiting = [scene.send(sheddable(5)).await, scene.send(sheddable(5)).await];
        assert!(scene.rejected(sheddable(5)).await.is_queue_full());
        assert_eq!(scene.handle.queued(), 2);
        pass(5).await;
        for waiter in waiting {
            assert!(rejection(waiter.await.unwrap()).is_too_late());
        }
    }
    assert_eq!((scene.handle.queued(), scene.server.sent()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a14_shares_are_rounded_down_and_at_least_one() {
    let queued = async |max_queue: u32, sheddable: f64| {
        let server = Server::default();
        let layer = ConcurrencyBackpressureLayer::new(1)
            .max_queue(max_queue)
            .by_request(|_: &Job| Terms::new().class(Class::Sheddable))
            .shares(1.0, 1.0, sheddable);
        let service = layer.layer(server);
        let _calls: Vec<_> = (0..=max_queue + 1)
            .map(|_| {
                let mut call = task::spawn(service.clone().call(job(None)));
                let _ = call.poll();
                call
            })
            .collect();
        layer.handle().queued()
    };
    assert_eq!(queued(0, 0.5).await, 0);
    assert_eq!(queued(1, 0.1).await, 1);
    assert_eq!(queued(7, 0.5).await, 3);
    assert_eq!(queued(100, 0.29).await, 29);
    assert_eq!(queued(9, 1.0).await, 9);
}

#[tokio::test]
async fn a14_c7_invalid_shares_are_reported() {
    let layer = || ConcurrencyBackpressureLayer::new(1).with_terms();
    for (critical, normal, sheddable) in [
        (0.0, 0.0, 0.0),
        (1.1, 0.5, 0.2),
        (f64::NAN, 0.5, 0.2),
        (0.5, 0.6, 0.2),
        (1.0, 0.2, 0.3),
        (1.0, f64::NAN, 0.3),
    ] {
        assert!(layer().try_shares(critical, normal, sheddable).is_err());
    }
    let error = layer().try_shares(1.0, 0.2, 0.3).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the share of sheddable requests is 0.3: it must be above 0, and at most that of normal \
         ones",
    );
    assert!(layer().try_shares(1.0, 1.0, 1.0).is_ok());
}

/// A limit of one request for requests with terms, which is held.
fn held() -> (impl Clone + Fn() -> Spawn<TermsService>, ConcurrencyBackpressureHandle, Held) {
    let layer = ConcurrencyBackpressureLayer::new(1).with_terms();
    let service = layer.layer(Server::default());
    let handle = layer.handle();
    let permit = handle.try_acquire().unwrap();
    (move || Spawn::new(service.clone()), handle, permit)
}

type TermsService = tower_floodgate::backpressure::TermsBackpressure<Server>;
type Held = tower_floodgate::backpressure::ConcurrencyPermit;

#[tokio::test(start_paused = true)]
async fn a11_terms_of_a_service_hold_for_its_next_call_only() {
    let (service, handle, permit) = held();
    let mut service = service();
    service.get_mut().terms(Terms::new().deadline(secs(3)));
    assert_pending!(service.poll_ready::<Job>());
    assert_pending!(Spawn::new(service.get_ref().clone()).poll_ready::<Job>());
    advance(secs(3)).await;
    assert_ready_ok!(service.poll_ready::<Job>());
    let rejected = rejection(service.call(job(None)).await);
    assert!(rejected.is_too_late());
    assert_eq!(handle.rejected().too_late, 1);

    assert_pending!(service.poll_ready::<Job>());
    advance(secs(100)).await;
    assert_pending!(service.poll_ready::<Job>());
    drop(permit);
    assert_ready_ok!(service.poll_ready::<Job>());
    service.call(job(None)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn c12_a11_terms_of_an_abandoned_wait_do_not_reach_the_next_request() {
    let (service, handle, permit) = held();
    for after in [secs(1), secs(4)] {
        let mut service = service();
        service.get_mut().terms(Terms::new().deadline(secs(3)));
        assert_pending!(service.poll_ready::<Job>());
        advance(after).await;
        // Another task polls the service, for another request.
        let mut service = Spawn::new(service.into_inner());
        assert_pending!(service.poll_ready::<Job>());
        advance(secs(100)).await;
        assert_pending!(service.poll_ready::<Job>());
        assert_eq!(handle.queued(), 1);
    }
    drop(permit);
    assert_eq!(handle.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn c12_a14_class_of_an_abandoned_wait_is_not_that_of_the_next_request() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(secs(3)).with_terms();
    let _permit = layer.handle().try_acquire().unwrap();
    let mut service = Spawn::new(layer.layer(Server::default()));
    service.get_mut().terms(Terms::new().class(Class::Sheddable));
    assert_pending!(service.poll_ready::<Job>());
    let mut service = Spawn::new(service.into_inner()); // another task
    assert_pending!(service.poll_ready::<Job>());
    advance(secs(3)).await;
    assert_ready_ok!(service.poll_ready::<Job>());
    let rejected = rejection(service.call(job(None)).await);
    assert!(rejected.is_wait_timeout());
    assert_eq!(rejected.class(), None);
}

/// The same task cannot be told from one that is polled late for the same request.
#[tokio::test(start_paused = true)]
async fn c12_a11_terms_that_are_set_begin_a_request() {
    let (service, handle, permit) = held();
    for after in [secs(1), secs(4)] {
        let mut service = service();
        service.get_mut().terms(Terms::new().deadline(secs(3)));
        assert_pending!(service.poll_ready::<Job>());
        advance(after).await;
        service.get_mut().terms(Terms::new());
        assert_pending!(service.poll_ready::<Job>());
        advance(secs(100)).await;
        assert_pending!(service.poll_ready::<Job>());
        assert_eq!(handle.queued(), 1);
    }
    drop(permit);
    assert_eq!(handle.in_flight(), 0);
}

/// The task is polled 101 ms and more after the deadline, as on a busy runtime.
#[tokio::test(start_paused = true)]
async fn a11_late_poll_of_a_wait_with_terms_keeps_its_deadline() {
    for late in [ms(101), secs(60)] {
        let (service, handle, permit) = held();
        let mut service = service();
        service.get_mut().terms(Terms::new().deadline(secs(3)));
        assert_pending!(service.poll_ready::<Job>());
        advance(secs(3) + late).await;
        assert_ready_ok!(service.poll_ready::<Job>());
        drop(permit);
        assert!(rejection(service.call(job(None)).await).is_too_late());
        assert_eq!((service.get_ref().get_ref().sent(), handle.in_flight()), (0, 0));
        assert_ready_ok!(service.poll_ready::<Job>());
        service.call(job(None)).await.unwrap();
    }
}

/// A wait that has ended by `max_wait`, and is polled late, begins anew with its terms.
#[tokio::test(start_paused = true)]
async fn a11_deadline_outlives_a_wait_that_begins_anew() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(secs(1)).with_terms();
    let _permit = layer.handle().try_acquire().unwrap();
    let mut service = Spawn::new(layer.layer(Server::default()));
    service.get_mut().terms(Terms::new().deadline(ms(2_200)).class(Class::Critical));
    assert_pending!(service.poll_ready::<Job>());
    advance(ms(1_500)).await;
    assert_pending!(service.poll_ready::<Job>());
    advance(ms(700)).await;
    assert!(service.is_woken());
    assert_ready_ok!(service.poll_ready::<Job>());
    let rejected = rejection(service.call(job(None)).await);
    assert!(rejected.is_too_late());
    assert_eq!(rejected.class(), Some(Class::Critical));
}

/// A permit is free at each of the polls and at the call.
#[tokio::test(start_paused = true)]
async fn a11_late_request_is_not_sent_long_after_readiness() {
    for (polls, later) in [(0, ms(99)), (0, ms(101)), (1, ms(99)), (1, ms(101)), (3, ms(101))] {
        let (service, handle, permit) = held();
        let mut service = service();
        service.get_mut().terms(Terms::new().deadline(secs(3)));
        assert_pending!(service.poll_ready::<Job>());
        advance(secs(3)).await;
        assert_ready_ok!(service.poll_ready::<Job>());
        drop(permit);
        advance(later).await;
        for _ in 0..polls {
            assert_ready_ok!(service.poll_ready::<Job>());
            advance(later).await;
        }
        assert!(rejection(service.call(job(None)).await).is_too_late());
        assert_eq!((service.get_ref().get_ref().sent(), handle.in_flight()), (0, 0));
        assert_eq!(handle.rejected().too_late, 1);
    }
}

/// A waiter that is passed over with half a second left, and no other one behind it: its permit is
/// free at each of the polls and at the call.
#[tokio::test(start_paused = true)]
async fn a11_waiter_with_terms_and_too_little_time_at_its_turn_is_never_sent() {
    for (polls, later) in [(0, ms(0)), (1, ms(0)), (0, ms(101)), (2, ms(101))] {
        let layer = ConcurrencyBackpressureLayer::new(1).with_terms();
        let (server, handle) = (Server::default(), layer.handle());
        let mut waiter = Spawn::new(layer.layer(server.clone()));
        for _ in 0..16 {
            let client = waiter.get_mut();
            client.terms(Terms::new().deadline(secs(100)));
            client.ready().await.unwrap().call(job(None)).await.unwrap();
        }
        let permit = handle.try_acquire().unwrap();
        waiter.get_mut().terms(Terms::new().deadline(ms(1_500)));
        assert_pending!(waiter.poll_ready::<Job>());
        advance(secs(1)).await;
        drop(permit);
        assert!(waiter.is_woken());
        assert_ready_ok!(waiter.poll_ready::<Job>());
        for _ in 0..polls {
            advance(later).await;
            assert_ready_ok!(waiter.poll_ready::<Job>());
            assert_eq!(handle.in_flight(), 0);
        }
        advance(later).await;
        assert!(rejection(waiter.call(job(None)).await).is_too_late());
        assert_eq!((server.sent(), handle.in_flight()), (16, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a14_rejection_long_after_readiness_is_counted_by_class() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(0).with_terms();
    let handle = layer.handle();
    let _permit = handle.try_acquire().unwrap();
    let mut service = Spawn::new(layer.layer(Server::default()));
    let polls_and_times = [(1, ms(99)), (1, ms(101)), (2, ms(99)), (2, ms(101))];
    for (polls, later) in polls_and_times {
        service.get_mut().terms(Terms::new().class(Class::Critical));
        for _ in 0..polls {
            assert_ready_ok!(service.poll_ready::<Job>());
            advance(later).await;
        }
        let rejected = rejection(service.call(job(None)).await);
        assert_eq!(rejected.class(), Some(Class::Critical), "{polls} polls, {later:?} apart");
    }
    assert_eq!(handle.rejected_by_class().unwrap().critical, 4);
}

#[tokio::test(start_paused = true)]
async fn a11_deadline_that_passes_while_the_inner_service_is_not_ready_ends_poll_ready() {
    let layer = ConcurrencyBackpressureLayer::new(1).with_terms();
    let (server, handle, begun) = (Server::default(), layer.handle(), now());
    let service = layer.layer(Slow(server.clone(), begun + secs(10)));
    let mut first = service.clone();
    first.terms(Terms::new().deadline(secs(3)));
    let first = async {
        let result = first.ready().await.unwrap().call(job(None)).await;
        assert!(rejection(result).is_too_late());
        (now() - begun, server.sent())
    };
    let next = async {
        tokio::task::yield_now().await;
        assert_eq!((handle.in_flight(), handle.queued()), (1, 0));
        drop(handle.acquire().await.unwrap());
        now() - begun
    };
    assert_eq!(tokio::join!(first, next), ((secs(3), 0), secs(3)));
    assert_eq!((handle.in_flight(), handle.rejected().too_late), (0, 1));

    // Without a deadline, and with a later one, the service becomes ready.
    for terms in [Terms::new(), Terms::new().deadline(secs(20))] {
        let mut service = Spawn::new(service.clone());
        service.get_mut().terms(terms);
        let _ = service.poll_ready::<Job>();
        advance(secs(7)).await;
        assert_ready_ok!(service.poll_ready::<Job>());
        service.call(job(None)).await.unwrap();
    }
    assert_eq!((server.sent(), handle.in_flight()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a11_deadline_that_passes_after_readiness_rejects_the_call() {
    let (service, handle, permit) = held();
    drop(permit);
    let mut service = service();
    service.get_mut().terms(Terms::new().deadline(secs(3)));
    assert_ready_ok!(service.poll_ready::<Job>());
    assert_eq!(handle.in_flight(), 1);
    advance(secs(3)).await;
    assert!(rejection(service.call(job(None)).await).is_too_late());
    assert_eq!(handle.in_flight(), 0);
    assert_ready_ok!(service.poll_ready::<Job>());
    service.get_mut().terms(Terms::new());
    assert_eq!(handle.in_flight(), 0, "new terms release the permit");
}

#[tokio::test(start_paused = true)]
async fn a11_deadline_has_passed_before_readiness() {
    let (service, handle, permit) = held();
    drop(permit);
    let mut service = service();
    service.get_mut().terms(Terms::new().deadline(Duration::ZERO));
    assert_ready_ok!(service.poll_ready::<Job>());
    assert_eq!(handle.in_flight(), 0, "nothing is acquired");
    let rejected = rejection(service.call(job(None)).await);
    assert!(rejected.is_too_late() && rejected.retry_after().is_none());
}

#[tokio::test(start_paused = true)]
async fn c4_dropped_call_with_terms_leaves_the_queue_or_releases_its_permit() {
    let scene = Scene::new(ConcurrencyBackpressureLayer::new(1));
    let mut service = scene.service.clone();
    let mut holder = task::spawn(service.call(job(secs(10))));
    assert_pending!(holder.poll());
    let mut waiter = task::spawn(service.call(job(secs(10))));
    assert_pending!(waiter.poll());
    assert_eq!((scene.handle.in_flight(), scene.handle.queued()), (1, 1));
    drop(waiter);
    assert_eq!(scene.handle.queued(), 0);
    drop(service.call(job(secs(10)))); // never polled
    drop(holder);
    assert_eq!(scene.handle.in_flight(), 0);
    scene.handle.close().unwrap();
    let mut closed = task::spawn(service.call(job(secs(10))));
    let error = assert_ready_err!(closed.poll());
    assert!(Rejected::find(&*error).unwrap().is_closed());
}

#[tokio::test(start_paused = true)]
async fn c1_limit_by_request_is_shared_or_one_for_each_service() {
    let layer = ConcurrencyBackpressureLayer::new(1).by_request(|job: &Job| job.terms);
    let (one, other) = (layer.layer(Server::default()), layer.layer(Server::default()));
    let mut holder = task::spawn(one.clone().call(job(None)));
    assert_pending!(holder.poll());
    let mut waiter = task::spawn(other.clone().call(job(None)));
    assert_pending!(waiter.poll());
    assert_eq!((other.handle().in_flight(), one.handle().queued()), (1, 1));

    let layer = layer.per_service();
    let handles = [(); 2].map(|()| {
        let service = layer.layer(Server::default());
        let handle = service.handle();
        tokio::spawn(service.oneshot(job(None)));
        handle
    });
    settle().await;
    assert_eq!(handles.map(|handle| handle.in_flight()), [1, 1]);
}

#[tokio::test]
async fn c10_o3_limit_by_request_has_the_name_and_the_policies_of_other_limits() {
    let layer = ConcurrencyBackpressureLayer::new(1)
        .by_request(|job: &Job| job.terms)
        .reject_with(|_| Ok::<(), Infallible>(()))
        .reject_with_box_error()
        .name("jobs");
    assert_eq!(layer.handle().snapshot().name.as_deref(), Some("jobs"));
    assert!(layer.clone().try_name("other").is_err());
    layer.handle().close().unwrap();
    let mut service = layer.layer(Server::default());
    let error: BoxError = service.call(job(None)).await.unwrap_err();
    assert!(Rejected::find(&*error).unwrap().is_closed());
}
