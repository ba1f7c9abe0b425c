use std::{
    convert::Infallible,
    fmt,
    future::{Future, poll_fn},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::{executor::block_on, future::join_all};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, Rejected,
    WindowRateLimitLayer,
};
use tower_test::mock::Spawn;

use crate::support::{Probe, WakeCounter, ms, now, poll_ready, secs, settle};

#[tokio::test(start_paused = true)]
async fn c1_one_layer_on_many_services_is_one_limit() {
    let probe = Probe::answering_after(ms(1));
    let notes = probe.notes();
    let layer = WindowRateLimitLayer::new(5, secs(60));
    let services: Vec<_> = (0..3).map(|_| layer.clone().layer(probe.clone())).collect();
    for service in &services {
        for _ in 0..5 {
            let mut service = Spawn::new(service.clone());
            if service.poll_ready::<u32>().is_ready() {
                service.call(0).await.unwrap();
            }
        }
    }
    assert_eq!(notes.calls().len(), 5, "tower's RateLimitLayer lets 15 through");

    let probe = Probe::answering_after(ms(1));
    let notes = probe.notes();
    let layer = ConcurrencyBackpressureLayer::new(2);
    let calls = (0..30).map(|n| layer.layer(probe.clone()).oneshot(n));
    join_all(calls).await;
    assert_eq!(notes.most_inside(), 2);
}

#[tokio::test(start_paused = true)]
async fn c1_per_service_gives_each_service_its_own_limit() {
    let layer = WindowRateLimitLayer::new(1, secs(60)).max_queue(0).per_service();
    let (one, other) = (layer.layer(Probe::new()), layer.layer(Probe::new()));
    one.clone().oneshot(0).await.unwrap();
    other.oneshot(0).await.unwrap();
    one.oneshot(0).await.unwrap_err(); // clones of one service share the limit, and keep the bounds

    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(0).per_service();
    let (mut one, mut other) = (layer.layer(Probe::new()), layer.layer(Probe::new()));
    let _held = one.ready().await.unwrap().call(0);
    other.ready().await.unwrap().call(0).await.unwrap();
    one.ready().await.unwrap().call(0).await.unwrap_err();
}

/// Each thread has an arc cache, which holds the limit that it used last.
#[tokio::test(start_paused = true)]
async fn c1_limits_used_in_turns_on_one_thread_stay_apart() {
    let concurrency_limits: Vec<_> = (1..5).map(ConcurrencyBackpressureLayer::new).collect();
    let windows: Vec<_> = (1..5).map(|limit| WindowRateLimitLayer::new(limit, secs(1))).collect();
    for turn in 0..100 {
        let (concurrency, window) = (&concurrency_limits[turn % 4], &windows[turn / 2 % 4]);
        let mut service = concurrency.layer(window.layer(Probe::new()));
        let response = service.clone().oneshot(0);
        service.ready().await.unwrap();
        for other in &concurrency_limits {
            let used = if other.handle().limit() == concurrency.handle().limit() { 1 } else { 0 };
            assert_eq!(other.handle().in_flight(), used);
        }
        drop((service, response));
        concurrency.layer(window.layer(Probe::new())).oneshot(0).await.unwrap();
        assert!(concurrency_limits.iter().all(|concurrency| concurrency.handle().in_flight() == 0));
        advance(secs(1)).await;
        for (limit, window) in (1..5).zip(&windows) {
            assert_eq!(window.handle().remaining(), limit);
        }
    }
}

static CONCURRENCY: LazyLock<ConcurrencyBackpressureLayer> =
    LazyLock::new(|| ConcurrencyBackpressureLayer::new(1));
static RATE: LazyLock<WindowRateLimitLayer> =
    LazyLock::new(|| WindowRateLimitLayer::new(1000, secs(1)));

#[test]
fn c2_layers_are_built_and_used_without_a_runtime() {
    let service = ServiceBuilder::new()
        .layer(CONCURRENCY.clone())
        .layer(ExponentialRetryLayer::new(ExponentialRetry::new(3)))
        .layer(RATE.clone())
        .service(service_fn(|n: u32| async move { Ok::<_, Infallible>(n) }));
    assert_eq!(block_on(service.clone().oneshot(1)), Ok(1));

    // A wait for a permit that is released needs no timer: only a wait for a time does.
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let service = service.clone();
            std::thread::spawn(move || {
                (0..100).for_each(|_| assert_eq!(block_on(service.clone().oneshot(n)), Ok(n)));
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(CONCURRENCY.handle().in_flight(), 0);
}

#[test]
fn c2_c4_wait_for_a_window_without_a_runtime_panics_and_leaves_the_queue() {
    let layer = WindowRateLimitLayer::new(1, secs(3600));
    let handle = layer.handle();
    let service = layer.layer(service_fn(|(): ()| async { Ok::<_, Infallible>(()) }));
    block_on(service.clone().oneshot(())).unwrap();
    let panicked = std::thread::spawn(move || block_on(service.oneshot(()))).join().unwrap_err();
    let message = panicked.downcast_ref::<String>().expect("tokio's message");
    assert!(message.contains("Tokio"), "{message}");
    assert_eq!(handle.queued(), 0, "the waiter is still queued");
}

#[tokio::test(start_paused = true)]
async fn c3_inner_service_is_called_on_the_instance_polled_ready() {
    // The probe panics otherwise; its clones are not ready.
    let probe = Probe::new();
    let notes = probe.notes();
    let mut service = ServiceBuilder::new()
        .layer(ConcurrencyBackpressureLayer::new(2))
        .layer(ExponentialRetryLayer::new(ExponentialRetry::new(3)))
        .layer(WindowRateLimitLayer::new(3, ms(10)))
        .layer(ConcurrencyBackpressureLayer::new(1).max_queue(5).max_wait(secs(1)))
        .layer(WindowRateLimitLayer::fixed(3, ms(10)).max_wait(secs(1)))
        .service(probe);
    for n in 0..20 {
        assert_eq!(service.ready().await.unwrap().call(n).await.unwrap(), n);
        assert_eq!(service.clone().oneshot(n).await.unwrap(), n);
    }
    assert_eq!(notes.calls().len(), 40);
}

/// A service with the given readiness.
#[derive(Clone)]
struct Readiness(Poll<Result<(), &'static str>>);

impl Service<()> for Readiness {
    type Response = ();
    type Error = BoxError;
    type Future = futures::future::Ready<Result<(), BoxError>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.map_err(Into::into)
    }
    fn call(&mut self, (): ()) -> Self::Future {
        futures::future::ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn c3_readiness_error_passes_and_releases_the_permit() {
    let concurrency = ConcurrencyBackpressureLayer::new(1);
    let rate = WindowRateLimitLayer::new(1, secs(1));
    let mut limited = concurrency.layer(Readiness(Poll::Ready(Err("dead"))));
    let mut rated = rate.layer(Readiness(Poll::Ready(Err("dead"))));
    assert_eq!(limited.ready().await.err().unwrap().to_string(), "dead");
    assert_eq!(rated.ready().await.err().unwrap().to_string(), "dead");
    // The services are alive, and hold no permit.
    assert_eq!(concurrency.handle().in_flight(), 0);
    assert_eq!(rate.handle().remaining(), 1);
    drop((limited, rated));
    assert_eq!(concurrency.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn c3_repeated_poll_ready_acquires_one_permit() {
    let concurrency = ConcurrencyBackpressureLayer::new(3);
    let rate = WindowRateLimitLayer::new(3, secs(1));
    let mut service =
        ServiceBuilder::new().layer(concurrency.clone()).layer(rate.clone()).service(Probe::new());
    for _ in 0..10 {
        ServiceExt::<u32>::ready(&mut service).await.unwrap();
    }
    assert_eq!((concurrency.handle().in_flight(), rate.handle().remaining()), (1, 2));

    // A waiter is queued once.
    let layer = ConcurrencyBackpressureLayer::new(1);
    let (mut held, mut waiter) = (layer.layer(Probe::new()), layer.layer(Probe::new()));
    ServiceExt::<u32>::ready(&mut held).await.unwrap();
    for _ in 0..10 {
        assert!(poll_ready::<_, u32>(&mut waiter, Waker::noop()).is_pending());
    }
    assert_eq!(layer.handle().queued(), 1);
}

#[tokio::test(start_paused = true)]
async fn c3_permit_is_held_while_the_inner_service_gets_ready() {
    let concurrency = ConcurrencyBackpressureLayer::new(1);
    let mut service = concurrency.layer(Readiness(Poll::Pending));
    assert!(poll_ready(&mut service, Waker::noop()).is_pending());
    assert_eq!(concurrency.handle().in_flight(), 1);
    *service.get_mut() = Readiness(Poll::Ready(Ok(())));
    service.ready().await.unwrap().call(()).await.unwrap();
    drop(service.into_inner());
    assert_eq!(concurrency.handle().in_flight(), 0);
}

#[test]
fn c3_c4_call_without_readiness_panics_with_a_message() {
    fn message<S: Service<()> + Send + 'static>(mut service: S, polled: bool) -> String {
        let panicked = std::thread::spawn(move || {
            if polled {
                assert!(poll_ready(&mut service, Waker::noop()).is_pending());
            }
            drop(service.call(()));
        });
        *panicked
            .join()
            .unwrap_err()
            .downcast::<&str>()
            .map(|text| text.to_string().into())
            .unwrap_or_else(|any| any.downcast::<String>().expect("a message"))
    }
    let concurrency = ConcurrencyBackpressureLayer::new(1);
    let rate = WindowRateLimitLayer::new(1, secs(1));
    let pending = || Readiness(Poll::Pending);
    for message in [
        message(concurrency.layer(pending()), false),
        message(rate.layer(pending()), false),
        // The service holds a permit, but the inner one is not ready.
        message(concurrency.layer(pending()), true),
        message(rate.layer(pending()), true),
    ] {
        assert!(
            message.starts_with("called without readiness: `poll_ready` must return"),
            "{message}"
        );
    }
    assert_eq!((concurrency.handle().in_flight(), rate.handle().remaining()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn c3_rejection_is_the_result_of_call_and_the_service_stays_usable() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(0);
    let mut service = layer.layer(Probe::new());
    let mut other = layer.layer(Probe::new());
    let held = other.ready().await.unwrap().call(0);

    for _ in 0..3 {
        // The service stays ready until it is called.
        assert!(matches!(poll_ready(&mut service, Waker::noop()), Poll::Ready(Ok(()))));
    }
    assert_eq!(layer.handle().rejected().total(), 0, "counted at the call");
    service.call(1).await.unwrap_err();
    assert_eq!(layer.handle().rejected().total(), 1);
    drop(held);
    assert_eq!(service.ready().await.unwrap().call(2).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn c4_panic_in_the_inner_service_releases_the_permit() {
    let layer = ConcurrencyBackpressureLayer::new(1);
    let at_once = layer.layer(service_fn(|(): ()| -> std::future::Ready<Result<(), ()>> {
        panic!("in the call")
    }));
    let later = layer.layer(service_fn(|(): ()| async { panic!("in the future") }));
    assert!(tokio::spawn(at_once.oneshot(())).await.unwrap_err().is_panic());
    let later: tower::util::BoxCloneService<(), (), ()> = tower::util::BoxCloneService::new(later);
    assert!(tokio::spawn(later.oneshot(())).await.unwrap_err().is_panic());
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn c4_response_future_drop_releases_the_permit() {
    let layer = ConcurrencyBackpressureLayer::new(1);
    let mut service = layer.layer(Probe::answering_after(secs(1)));
    drop(service.ready().await.unwrap().call(0)); // never polled
    let mut response = task::spawn(service.ready().await.unwrap().call(0));
    assert_pending!(response.poll());
    assert_eq!(layer.handle().in_flight(), 1);
    drop(response);
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn c5_b2_waiter_is_woken_once_when_it_is_granted_a_permit() {
    let concurrency = ConcurrencyBackpressureLayer::new(1);
    let mut held = concurrency.layer(Probe::new());
    ServiceExt::<u32>::ready(&mut held).await.unwrap();
    let wakes: Vec<_> = (0..100).map(|_| WakeCounter::new()).collect();
    let mut waiters: Vec<_> = wakes
        .iter()
        .map(|wakes| {
            let mut service = concurrency.layer(Probe::new());
            assert!(poll_ready::<_, u32>(&mut service, &wakes.waker()).is_pending());
            service
        })
        .collect();
    drop(held);
    for turn in 0..100 {
        let counts: Vec<_> = wakes.iter().map(|wakes| wakes.count()).collect();
        assert!(counts.iter().enumerate().all(|(n, &woken)| woken == usize::from(n <= turn)));
        drop(waiters.remove(0)); // its permit goes to the next
    }
}

#[tokio::test(start_paused = true)]
async fn c5_undisturbed_window_wakes_once_per_admission() {
    let layer = WindowRateLimitLayer::new(10, ms(100));
    let service = layer.layer(Probe::new());
    let waiters: Vec<_> = (0..500)
        .map(|n| {
            let mut service = service.clone();
            tokio::spawn(async move {
                let mut polls = 0;
                let ready = poll_fn(|cx| {
                    polls += 1;
                    service.poll_ready(cx)
                });
                ready.await.unwrap();
                service.call(n).await.unwrap();
                polls
            })
        })
        .collect();
    for polls in join_all(waiters).await {
        let wakes = polls.unwrap() - 1;
        assert!(wakes <= 1, "woken {wakes} times");
    }
}

/// The waiter moves to another task between its polls.
#[tokio::test(start_paused = true)]
async fn c5_last_waker_that_polled_is_woken() {
    let concurrency = ConcurrencyBackpressureLayer::new(1);
    let mut held = concurrency.layer(Probe::new());
    let mut waiter = concurrency.layer(Probe::new());
    ServiceExt::<u32>::ready(&mut held).await.unwrap();
    let (old, new) = (WakeCounter::new(), WakeCounter::new());
    assert!(poll_ready::<_, u32>(&mut waiter, &old.waker()).is_pending());
    assert!(poll_ready::<_, u32>(&mut waiter, &new.waker()).is_pending());
    drop(held);
    assert_eq!((old.count(), new.count()), (0, 1));
}

/// The timer resolves a millisecond.
#[tokio::test(start_paused = true)]
async fn c5_wait_shorter_than_a_timer_tick_does_not_spin() {
    let window = std::time::Duration::from_micros(50);
    let mut service = WindowRateLimitLayer::new(1, window).layer(Probe::new());
    for n in 0..20 {
        let mut polls = 0;
        let began = now();
        poll_fn(|cx| {
            polls += 1;
            Service::<u32>::poll_ready(&mut service, cx)
        })
        .await
        .unwrap();
        service.call(n).await.unwrap();
        assert!(polls <= 3 && began.elapsed() <= ms(1), "{polls} polls in {:?}", began.elapsed());
    }
}

#[derive(Debug)]
struct NotCloneNotSend(#[allow(dead_code)] std::rc::Rc<()>);

/// Neither `Clone` nor `Send` nor `'static`, like its requests and responses.
struct Borrowing<'a>(&'a str, std::rc::Rc<()>);

impl<'a> Service<&'a str> for Borrowing<'a> {
    type Response = (&'a str, &'a str, NotCloneNotSend);
    type Error = NotCloneNotSend;
    type Future = futures::future::Ready<Result<Self::Response, NotCloneNotSend>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NotCloneNotSend>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: &'a str) -> Self::Future {
        let token = NotCloneNotSend(std::rc::Rc::clone(&self.1));
        futures::future::ready(Ok((self.0, request, token)))
    }
}

#[tokio::test]
async fn c6_inner_service_request_and_response_need_no_bounds() {
    let (name, request) = (String::from("name"), String::from("request"));
    let mut service = ServiceBuilder::new()
        .layer(ConcurrencyBackpressureLayer::new(1))
        .layer(WindowRateLimitLayer::new(1, secs(1)))
        .service(Borrowing(&name, std::rc::Rc::default()));
    let response = service.ready().await.unwrap().call(&request).await.unwrap();
    assert_eq!((response.0, response.1), ("name", "request"));
}

#[tokio::test]
async fn c10_error_type_is_the_inner_one_where_nothing_is_rejected() {
    fn error_of<S: Service<u32, Error = E>, E>(_: &S) {}
    let inner = || service_fn(|_: u32| async { Err::<(), _>(io::Error::other("disk")) });
    error_of::<_, io::Error>(&ConcurrencyBackpressureLayer::new(1).layer(inner()));
    error_of::<_, io::Error>(&WindowRateLimitLayer::new(1, secs(1)).layer(inner()));
    let retried = ExponentialRetryLayer::new(ExponentialRetry::new(1)).layer(inner());
    error_of::<_, io::Error>(&retried);

    // The same where a rejection becomes a response.
    let responding = ConcurrencyBackpressureLayer::new(1).max_queue(0).reject_with(|_| ());
    error_of::<_, io::Error>(&responding.layer(inner()));
    let error = responding.layer(inner()).oneshot(1).await.unwrap_err();
    assert_eq!(error.to_string(), "disk");
}

#[derive(Debug)]
enum Own {
    Rejected(Rejected),
    Inner(io::Error),
}

impl From<Rejected> for Own {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

impl From<io::Error> for Own {
    fn from(error: io::Error) -> Self {
        Self::Inner(error)
    }
}

#[tokio::test(start_paused = true)]
async fn c10_rejection_is_an_error_an_own_error_type_or_a_response() {
    let full = || WindowRateLimitLayer::new(1, secs(9)).max_queue(0);
    let inner = || {
        service_fn(|n: u32| async move {
            if n == 0 { Err(io::Error::other("disk")) } else { Ok(format!("200 {n}")) }
        })
    };

    let service = full().layer(inner());
    assert_eq!(service.clone().oneshot(0).await.unwrap_err().to_string(), "disk");
    let error: BoxError = service.oneshot(1).await.unwrap_err();
    assert!(Rejected::find(&*error).is_some_and(Rejected::is_rate_limited));
    let said = "too many requests in this window, and the queue is full; there is room in 9s";
    assert_eq!(error.to_string(), said);

    let service = full().reject_with_error::<Own>().layer(inner());
    let error = service.clone().oneshot(0).await;
    assert!(matches!(error, Err(Own::Inner(error)) if error.to_string() == "disk"));
    assert!(matches!(service.oneshot(1).await, Err(Own::Rejected(why)) if why.is_queue_full()));

    // The bounds and the reject policy may be set in either order.
    let too_many = |why: Rejected| format!("429 after {:?}", why.retry_after().unwrap());
    for layer in [
        full().reject_with(too_many),
        WindowRateLimitLayer::new(1, secs(9)).reject_with(too_many).max_queue(0),
    ] {
        let service = layer.layer(inner());
        assert_eq!(service.clone().oneshot(1).await.unwrap(), "200 1");
        advance(secs(2)).await;
        assert_eq!(service.oneshot(1).await.unwrap(), "429 after 7s");
    }
}

#[test]
fn c10_rejection_is_found_behind_wrapping_errors() {
    #[derive(Debug)]
    struct Wrapper(BoxError);
    impl fmt::Display for Wrapper {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("wrapped")
        }
    }
    impl std::error::Error for Wrapper {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&*self.0)
        }
    }
    let mut service = ConcurrencyBackpressureLayer::new(1)
        .max_queue(0)
        .layer(service_fn(|(): ()| std::future::pending::<Result<(), BoxError>>()));
    let error = block_on(async {
        let _held = service.ready().await.unwrap().call(());
        service.ready().await.unwrap().call(()).await.unwrap_err()
    });
    let wrapped = Wrapper(Box::new(Wrapper(error)));
    let rejected = Rejected::find(&wrapped).unwrap();
    assert_eq!(rejected.to_string(), "too many requests in flight, and the queue is full");
    assert!(Rejected::find(&io::Error::other("disk")).is_none());
    // The source of an `io::Error` is not the error that it wraps.
    let inside = io::Error::other(Wrapper(Box::new(rejected.clone())));
    assert_eq!(Rejected::find(&inside), Some(rejected));
    let bare = io::Error::other(rejected.clone());
    assert_eq!(Rejected::find(&bare), Some(rejected));
}

/// The limits stand behind a `Buffer`, a `Timeout` and a `LoadShed`.
#[tokio::test(start_paused = true)]
async fn c3_layers_stack_with_buffer_timeout_and_load_shed() {
    let service = ServiceBuilder::new()
        .buffer(10)
        .layer(ConcurrencyBackpressureLayer::new(2))
        .timeout(secs(10))
        .layer(WindowRateLimitLayer::new(4, secs(1)))
        .service(Probe::answering_after(ms(10)));
    let calls: Vec<_> = (0..8).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }

    let concurrency = ConcurrencyBackpressureLayer::new(1);
    let shedding = ServiceBuilder::new()
        .load_shed()
        .layer(concurrency.clone())
        .service(Probe::answering_after(secs(1)));
    let held = tokio::spawn(shedding.clone().oneshot(1));
    settle().await;
    shedding.clone().oneshot(2).await.unwrap_err();
    // `LoadShed` polled readiness once and rejected the request: no waiter is left.
    assert_eq!(concurrency.handle().queued(), 0);
    held.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn c8_paused_clock_controls_the_window() {
    let service = WindowRateLimitLayer::new(1, secs(3600)).layer(Probe::new());
    let mut service = Spawn::new(service);
    assert_ready_ok!(service.poll_ready::<u32>());
    drop(service.call(0));
    assert_pending!(service.poll_ready::<u32>());
    advance(secs(3600)).await;
    assert!(service.is_woken());
    assert_ready_ok!(service.poll_ready::<u32>());
}

#[test]
fn c6_futures_have_names() {
    use tower_floodgate::{backpressure, rate_limit, reject::NeverReject, retry};
    type Inner = std::future::Ready<Result<(), ()>>;
    fn future<F: Future>() {}
    future::<backpressure::ResponseFuture<Inner, NeverReject>>();
    future::<rate_limit::ResponseFuture<Inner, NeverReject>>();
    future::<retry::future::Delay>();
    future::<backpressure::Drained>();
    future::<backpressure::Closed>();
    future::<rate_limit::Drained>();
    future::<rate_limit::Closed>();
}

/// A waker that panics at the next wake-up once it is armed.
#[derive(Default)]
struct Panicking(AtomicBool);

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        assert!(!self.0.swap(false, SeqCst), "in a waker");
    }
}

#[tokio::test(start_paused = true)]
async fn c4_panicking_waker_loses_no_permit_and_no_wake_up() {
    // The refill task wakes all waiters of its runtime.
    let layer = WindowRateLimitLayer::new(2, secs(1));
    let handle = layer.handle();
    let mut service = layer.layer(Probe::new());
    for n in 0..2 {
        service.ready().await.unwrap().call(n).await.unwrap();
    }
    let (mut head, mut second) = (service.clone(), service.clone());
    let panicking = Arc::<Panicking>::default();
    let panicking_waker = Waker::from(Arc::clone(&panicking));
    assert!(poll_ready(&mut head, &panicking_waker).is_pending());
    let wakes = WakeCounter::new();
    assert!(poll_ready(&mut second, &wakes.waker()).is_pending());
    panicking.0.store(true, SeqCst);
    advance(secs(1)).await;
    settle().await;
    assert!(!panicking.0.load(SeqCst), "it was not woken");
    assert!(wakes.count() > 0, "the next waiter was not woken");
    assert!(poll_ready(&mut second, Waker::noop()).is_ready());
    drop((head, second));
    assert_eq!((handle.remaining(), handle.queued()), (2, 0));

    // Later waiters are woken, too.
    for n in 0..2 {
        service.ready().await.unwrap().call(n).await.unwrap();
    }
    let began = now();
    let next = tokio::time::timeout(secs(100), service.ready()).await;
    next.expect("the window is not refilled").unwrap().call(3).await.unwrap();
    assert_eq!(began.elapsed(), secs(1));

    // The next waiter of a concurrency limit is granted its permit.
    let layer = ConcurrencyBackpressureLayer::new(1);
    let handle = layer.handle();
    let mut held = layer.layer(Probe::new());
    ServiceExt::<u32>::ready(&mut held).await.unwrap();
    let (mut first, mut second) = (held.clone(), held.clone());
    let wakes = WakeCounter::new();
    assert!(poll_ready(&mut first, &panicking_waker).is_pending());
    assert!(poll_ready(&mut second, &wakes.waker()).is_pending());
    panicking.0.store(true, SeqCst);
    assert!(catch_unwind(AssertUnwindSafe(|| handle.set_limit(3))).is_err());
    assert_eq!((handle.in_flight(), handle.queued(), wakes.count()), (3, 0, 1));

    // The next waiter is rejected if closing woke it.
    let layer = ConcurrencyBackpressureLayer::new(1).reject_with_box_error();
    let handle = layer.handle();
    let mut held = layer.layer(Probe::new());
    ServiceExt::<u32>::ready(&mut held).await.unwrap();
    let (mut first, mut second) = (held.clone(), held.clone());
    let wakes = WakeCounter::new();
    assert!(poll_ready::<_, u32>(&mut first, &panicking_waker).is_pending());
    assert!(poll_ready::<_, u32>(&mut second, &wakes.waker()).is_pending());
    panicking.0.store(true, SeqCst);
    assert!(catch_unwind(AssertUnwindSafe(|| handle.close())).is_err());
    assert_eq!((handle.in_flight(), handle.queued(), wakes.count()), (1, 0, 1));
    assert!(poll_ready::<_, u32>(&mut second, Waker::noop()).is_ready(), "rejected");
}
