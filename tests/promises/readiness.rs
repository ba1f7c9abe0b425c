//! Old readiness, and waits that outlive their requests.

use std::{
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    sync::Semaphore,
    time::{advance, sleep, timeout},
};
use tokio_test::{assert_pending, assert_ready_ok};
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt, balance::p2c::Balance, buffer::Buffer,
    discover::ServiceList, load::Constant, service_fn, steer::Steer, timeout::TimeoutLayer,
};
use tower_floodgate::{
    ConcurrencyBackpressure, ConcurrencyBackpressureLayer, Rejected, WindowRateLimitLayer,
    reject::RejectWithBoxError,
};
use tower_test::mock::Spawn;

use crate::support::{Probe, WakeCounter, ms, now, poll_ready, secs, settle};

const HOUR: Duration = Duration::from_secs(3600);

/// The rejection behind an error.
#[track_caller]
fn rejected(error: &BoxError) -> &Rejected {
    Rejected::find(&**error).expect("a rejection")
}

/// Polls readiness once, as a task that goes away after that.
fn poll_once<S: Service<u32>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    poll_ready(service, Waker::noop())
}

/// A service without a free permit, and the holder of the only one.
async fn full(layer: ConcurrencyBackpressureLayer<RejectWithBoxError>) -> (Limited, Limited) {
    let service = layer.layer(Probe::new());
    let mut holder = service.clone();
    holder.ready().await.unwrap();
    (service, holder)
}

type Limited = ConcurrencyBackpressure<Probe, RejectWithBoxError>;

/// Releases the permit of `holder`, in another task.
fn release_after<T: Send + 'static>(time: Duration, holder: T) {
    tokio::spawn(async move {
        sleep(time).await;
        drop(holder);
    });
}

#[tokio::test(start_paused = true)]
async fn c11_steered_service_polled_while_full_admits_an_hour_later() {
    let (limited, holder) = full(ConcurrencyBackpressureLayer::new(1).max_queue(0)).await;
    let boxed = limited.boxed();
    let other = service_fn(|n: u32| async move { Ok::<_, BoxError>(n + 100) }).boxed();
    let pick = |request: &u32, _: &[_]| usize::from(*request > 5);
    let mut steer = Steer::new([boxed, other], pick);
    assert_eq!(steer.ready().await.unwrap().call(6).await.unwrap(), 106);
    drop(holder);
    advance(HOUR).await;
    assert_eq!(steer.ready().await.unwrap().call(1).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn c11_balanced_endpoint_polled_while_full_admits_an_hour_later() {
    let (limited, holder) = full(ConcurrencyBackpressureLayer::new(1).max_queue(0)).await;
    let endpoints = ServiceList::new([Constant::new(limited, 1)]);
    let mut balance = Balance::new(endpoints);
    balance.ready().await.unwrap();
    drop(holder);
    advance(HOUR).await;
    assert_eq!(balance.ready().await.unwrap().call(1).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn c3_balance_passes_over_a_full_endpoint_unless_it_rejects() {
    let other = || service_fn(|n: u32| async move { Ok::<_, BoxError>(n + 100) }).boxed();
    let balance = |full| {
        // The full endpoint looks less loaded, as one does that rejects at once.
        Balance::new(ServiceList::new([Constant::new(full, 1), Constant::new(other(), 2)]))
    };

    let (rejecting, _holder) = full(ConcurrencyBackpressureLayer::new(1).max_queue(0)).await;
    let mut balance_of_rejecting = balance(rejecting.boxed());
    let error = balance_of_rejecting.ready().await.unwrap().call(1).await.unwrap_err();
    assert!(rejected(&error).is_queue_full());

    let waiting = ConcurrencyBackpressureLayer::new(1).layer(Probe::new());
    let mut holder = waiting.clone();
    holder.ready().await.unwrap();
    let mut balance_of_waiting = balance(waiting.map_err(BoxError::from).boxed());
    assert_eq!(balance_of_waiting.ready().await.unwrap().call(1).await.unwrap(), 101);
}

#[tokio::test(start_paused = true)]
async fn b3_max_wait_bounds_the_queue_and_a_timeout_around_the_limit_does_not() {
    let (limited, _holder) = full(ConcurrencyBackpressureLayer::new(1).max_wait(secs(5))).await;
    let service = ServiceBuilder::new().layer(TimeoutLayer::new(secs(1))).service(limited);
    let began = now();
    let error = service.oneshot(1).await.unwrap_err();
    assert!(rejected(&error).is_wait_timeout());
    assert_eq!(now() - began, secs(5));
}

#[tokio::test(start_paused = true)]
async fn c11_window_polled_again_decides_again() {
    for (later, expected) in [(HOUR, None), (secs(50), Some(secs(10))), (ms(1), Some(ms(59_999)))] {
        let layer = WindowRateLimitLayer::new(1, secs(60)).max_queue(0);
        let mut service = layer.layer(Probe::new());
        service.ready().await.unwrap().call(1).await.unwrap();
        service.ready().await.unwrap();
        advance(later).await;
        let outcome = service.ready().await.unwrap().call(2).await;
        let wait = outcome.err().map(|error| rejected(&error).retry_after().expect("known"));
        assert_eq!(wait, expected, "after {later:?}");
        assert_eq!(layer.handle().rejected().total(), u64::from(expected.is_some()));
    }
}

#[tokio::test(start_paused = true)]
async fn c11_window_called_without_another_poll_decides_again() {
    for (later, expected) in [(HOUR, None), (secs(50), Some(secs(10)))] {
        let layer = WindowRateLimitLayer::new(1, secs(60)).max_queue(0);
        let mut service = layer.layer(Probe::new());
        service.ready().await.unwrap().call(1).await.unwrap();
        service.ready().await.unwrap();
        advance(later).await;
        let wait = service.call(2).await.err().map(|error| rejected(&error).retry_after());
        assert_eq!(wait, expected.map(Some), "after {later:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn c11_rejection_without_a_call_is_not_counted() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(0);
    let handle = layer.handle();
    let (mut service, _holder) = full(layer).await;
    for _ in 0..5 {
        service.ready().await.unwrap();
        advance(HOUR).await;
    }
    assert_eq!(handle.rejected().total(), 0);
    service.call(1).await.unwrap_err();
    assert_eq!(handle.rejected().total(), 1);
    service.ready().await.unwrap();
    drop(service);
    assert_eq!(handle.rejected().total(), 1);
}

#[tokio::test(start_paused = true)]
async fn c11_rejection_after_close_says_closed() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(0);
    let handle = layer.handle();
    let (mut service, _holder) = full(layer).await;
    service.ready().await.unwrap();
    handle.close().unwrap();
    assert!(rejected(&service.call(1).await.unwrap_err()).is_closed());
    assert_eq!((handle.rejected().closed, handle.rejected().total()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn c11_old_rejection_polled_again_waits_if_the_queue_has_room() {
    let (mut service, holder) = full(ConcurrencyBackpressureLayer::new(1).max_queue(1)).await;
    let mut waiter = Spawn::new(service.clone());
    assert_pending!(waiter.poll_ready::<u32>());
    service.ready().await.unwrap(); // the queue is full
    drop(waiter);
    advance(secs(1)).await;
    release_after(ms(500), holder);
    let began = now();
    assert_eq!(service.ready().await.unwrap().call(1).await.unwrap(), 1);
    assert_eq!(began.elapsed(), ms(500));
}

/// That polls the inner service, in a task that it can wake.
#[tokio::test(start_paused = true)]
async fn c11_rejection_polled_again_acquires_a_permit_that_is_free_by_then() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(0);
    let inner = ConcurrencyBackpressureLayer::new(1);
    let mut occupied = inner.layer(Probe::new());
    occupied.ready().await.unwrap();
    let mut holder = layer.layer(Probe::new());
    holder.ready().await.unwrap();
    let mut service = layer.layer(inner.layer(Probe::new()));
    service.ready().await.unwrap(); // with a rejection
    drop(holder);
    release_after(ms(10), occupied);
    let began = now();
    assert_eq!(service.ready().await.unwrap().call(1).await.unwrap(), 1);
    assert_eq!((began.elapsed(), layer.handle().rejected().total()), (ms(10), 0));
}

/// An inner service that is pending while its flag is set, and then fails.
#[derive(Clone, Debug)]
struct Dying(Arc<AtomicBool>);

impl Service<u32> for Dying {
    type Response = u32;
    type Error = io::Error;
    type Future = Ready<Result<u32, io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        if self.0.load(SeqCst) { Poll::Pending } else { Poll::Ready(Err(io::Error::other("dead"))) }
    }

    fn call(&mut self, _: u32) -> Self::Future {
        panic!("called unready")
    }
}

#[tokio::test(start_paused = true)]
async fn c11_call_refunds_a_permit_if_the_inner_service_is_not_ready() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(0);
    let window = WindowRateLimitLayer::new(1, secs(60)).max_queue(0);
    let busy = Arc::new(AtomicBool::new(true));
    let inner = Dying(Arc::clone(&busy));
    let mut other = layer.layer(service_fn(|_: u32| async { Ok::<_, io::Error>(0) }));
    let mut issued = window.layer(service_fn(|_: u32| async { Ok::<_, io::Error>(0) }));
    issued.ready().await.unwrap().call(0).await.unwrap();
    other.ready().await.unwrap();
    let mut service = layer.layer(inner.clone());
    let mut windowed = window.layer(inner);
    assert_ready_ok!(poll_once(&mut service));
    assert_ready_ok!(poll_once(&mut windowed));
    drop(other);
    advance(HOUR).await;
    assert!(rejected(&service.call(1).await.unwrap_err()).is_queue_full());
    assert!(rejected(&windowed.call(1).await.unwrap_err()).is_queue_full());
    assert_eq!((layer.handle().in_flight(), window.handle().remaining()), (0, 1));
    // A readiness error is the result of the next poll.
    busy.store(false, SeqCst);
    let error = service.ready().await.unwrap_err();
    assert_eq!(error.to_string(), "dead");
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn c12_timeout_around_readiness_does_not_burden_the_next_request() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(secs(1));
    let (mut service, holder) = full(layer).await;
    timeout(ms(100), service.ready()).await.unwrap_err();
    advance(secs(600)).await;
    release_after(ms(500), holder);
    let began = now();
    assert_eq!(service.ready().await.unwrap().call(1).await.unwrap(), 1);
    assert_eq!(began.elapsed(), ms(500));
}

#[tokio::test(start_paused = true)]
async fn c12_next_request_is_rejected_after_its_own_max_wait() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(secs(1));
    let (mut service, _holder) = full(layer).await;
    for _ in 0..3 {
        timeout(ms(100), service.ready()).await.unwrap_err();
        advance(secs(600)).await;
        let began = now();
        let error = service.ready().await.unwrap().call(1).await.unwrap_err();
        assert!(rejected(&error).is_wait_timeout());
        assert_eq!(began.elapsed(), secs(1));
    }
}

#[tokio::test(start_paused = true)]
async fn c12_another_task_waits_its_own_max_wait_in_the_old_position() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(secs(1));
    let (mut service, holder) = full(layer).await;
    assert_pending!(poll_once(&mut service));
    let mut behind = Spawn::new(service.clone());
    assert_pending!(behind.poll_ready::<u32>());
    advance(ms(900)).await;
    release_after(ms(900), holder); // at 1800 ms
    let next = tokio::spawn(async move {
        let began = now();
        service.ready().await.unwrap().call(1).await.unwrap();
        began.elapsed()
    });
    assert_eq!(next.await.unwrap(), ms(900));
    assert_ready_ok!(behind.poll_ready::<u32>(), "late, but a permit is free");
}

/// A `select!` loop polls one wait repeatedly, which is no new request.
#[tokio::test(start_paused = true)]
async fn b3_wait_polled_again_by_its_task_keeps_its_deadline() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(secs(1));
    let (mut service, _holder) = full(layer).await;
    let began = now();
    loop {
        tokio::select! {
            biased;
            ready = service.ready() => {
                let error = ready.unwrap().call(1).await.unwrap_err();
                assert!(rejected(&error).is_wait_timeout());
                break;
            }
            () = sleep(ms(90)) => {}
        }
    }
    assert_eq!(began.elapsed(), secs(1));
}

#[tokio::test(start_paused = true)]
async fn c12_abandoned_waits_leave_the_queue_after_their_own_max_wait() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(3).max_wait(secs(1));
    let handle = layer.handle();
    let (service, holder) = full(layer).await;
    let mut abandoned: Vec<_> = (0..3).map(|_| service.clone()).collect();
    for service in &mut abandoned {
        timeout(ms(10), service.ready()).await.unwrap_err();
    }
    assert_eq!(handle.queued(), 3);
    advance(ms(969)).await;
    assert_eq!(handle.queued(), 3);
    advance(ms(1)).await;
    assert_eq!(handle.queued(), 2, "the first has waited for a second");
    advance(secs(600)).await;

    release_after(ms(500), holder);
    let began = now();
    assert_eq!(service.clone().oneshot(1).await.unwrap(), 1);
    assert_eq!(began.elapsed(), ms(500));
    assert_eq!((handle.queued(), handle.in_flight()), (0, 0));
    handle.drained().await;
    assert_eq!(handle.rejected().total(), 0);
    // Each of their services is usable.
    for service in &mut abandoned {
        assert_eq!(service.ready().await.unwrap().call(2).await.unwrap(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn c12_permit_released_after_abandoned_waits_goes_to_the_next_waiter() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(secs(1));
    let (service, holder) = full(layer).await;
    let mut abandoned = service.clone();
    assert_pending!(poll_once(&mut abandoned));
    advance(ms(800)).await;
    let waiter = tokio::spawn(service.oneshot(1));
    settle().await;
    advance(ms(300)).await; // the abandoned wait is over, the other is not
    drop(holder);
    settle().await;
    assert_eq!(waiter.now_or_never().expect("served at once").unwrap().unwrap(), 1);
}

/// Unlike a wait without a bound, which costs its permit for good (B5).
#[tokio::test(start_paused = true)]
async fn c12_permit_granted_to_an_abandoned_wait_returns_after_its_deadline() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(secs(1));
    let handle = layer.handle();
    let (service, holder) = full(layer).await;
    let mut abandoned = service.clone();
    timeout(ms(100), abandoned.ready()).await.unwrap_err();
    drop(holder);
    assert_eq!(handle.in_flight(), 1, "granted");
    advance(ms(999)).await;
    assert_eq!(handle.in_flight(), 1, "its task may be 100 ms late");
    advance(ms(1)).await;
    assert_eq!(handle.in_flight(), 0);
    assert_eq!(service.oneshot(1).await.unwrap(), 1);
    assert_eq!(abandoned.ready().await.unwrap().call(2).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn c12_permit_of_a_window_granted_to_an_abandoned_wait_is_refunded() {
    let layer = WindowRateLimitLayer::new(1, secs(10)).max_wait(secs(15));
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    service.clone().oneshot(0).await.unwrap();
    let mut abandoned = service.clone();
    timeout(secs(1), abandoned.ready()).await.unwrap_err();
    assert_eq!(handle.queued(), 1);
    sleep(secs(13)).await;
    assert_eq!((handle.queued(), handle.remaining()), (0, 0), "granted");
    sleep(secs(600)).await;
    assert_eq!(handle.remaining(), 1);
    assert_eq!(service.oneshot(1).await.unwrap(), 1);
    // The next request on that service waits for the next permit, ten seconds later.
    let began = now();
    assert_eq!(abandoned.ready().await.unwrap().call(2).await.unwrap(), 2);
    assert_eq!(began.elapsed(), secs(10));
}

/// The queue has filled up since, with another request.
#[tokio::test(start_paused = true)]
async fn c12_wait_polled_after_its_deadline_times_out_before_a_full_queue() {
    let layer = WindowRateLimitLayer::new(1, secs(1)).max_queue(1);
    let patient = layer.clone().max_wait(HOUR).layer(Probe::new());
    let mut late = layer.clone().max_wait(secs(2)).layer(Probe::new());
    patient.clone().oneshot(0).await.unwrap();
    assert_pending!(poll_once(&mut late));
    layer.handle().pause_for(secs(60));
    advance(ms(2_050)).await;
    let mut waiter = patient.clone();
    assert_pending!(poll_once(&mut waiter));
    assert_ready_ok!(poll_once(&mut late));
    assert!(rejected(&late.call(1).await.unwrap_err()).is_wait_timeout());
    assert!(rejected(&patient.oneshot(2).await.unwrap_err()).is_queue_full());
}

/// The refill task takes the permit back for a waiter behind, which has no timer of its own.
#[tokio::test(start_paused = true)]
async fn c12_grant_to_an_abandoned_wait_at_a_window_is_taken_back_for_the_next_waiter() {
    let layer = WindowRateLimitLayer::new(1, HOUR);
    let began = now();
    let bounded = layer.clone().max_wait(secs(1)).layer(Probe::new());
    let unbounded = layer.layer(Probe::new());
    unbounded.clone().oneshot(0).await.unwrap();
    sleep(HOUR - ms(500)).await;
    let mut abandoned = bounded.clone();
    assert_pending!(poll_once(&mut abandoned));
    assert_eq!(unbounded.oneshot(1).await.unwrap(), 1);
    // Its max_wait ends 500 ms after the permit has expired, and its grant 100 ms later.
    assert_eq!(began.elapsed(), HOUR + ms(600));
    drop(abandoned);
}

/// The permit was available to the second waiter before its own max_wait ended.
#[tokio::test(start_paused = true)]
async fn c12_grant_that_is_taken_back_goes_to_the_next_waiter_in_order() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(secs(1));
    let (service, holder) = full(layer).await;
    let mut abandoned = service.clone();
    assert_pending!(poll_once(&mut abandoned));
    sleep(ms(500)).await;
    let second = tokio::spawn(service.clone().oneshot(1));
    sleep(ms(100)).await;
    let third = tokio::spawn(service.oneshot(2));
    sleep(ms(300)).await;
    drop(holder); // granted to the abandoned wait until 1100 ms
    assert_eq!(second.await.unwrap().unwrap(), 1);
    assert_eq!(third.await.unwrap().unwrap(), 2);
    drop(abandoned);
}

#[tokio::test(start_paused = true)]
async fn c12_delayed_wait_at_a_window_leaves_the_queue_after_its_own_max_wait() {
    let layer = WindowRateLimitLayer::new(1, secs(1)).max_queue(1).max_wait(secs(2));
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    service.clone().oneshot(0).await.unwrap();
    let mut abandoned = service.clone();
    assert_pending!(poll_once(&mut abandoned));
    handle.pause_for(secs(60));
    sleep(secs(59)).await;
    assert_eq!(handle.queued(), 0);
    let began = now();
    assert_eq!(service.oneshot(1).await.unwrap(), 1, "its own max_wait allows for one second");
    assert_eq!(began.elapsed(), secs(1));
}

/// The worker of a `Buffer` keeps the wait of a cancelled message until the next message.
#[tokio::test(start_paused = true)]
async fn c12_message_cancelled_in_a_buffer_does_not_burden_the_next() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(secs(1));
    let handle = layer.handle();
    let (service, holder) = full(layer).await;
    let mut buffer = Buffer::new(service, 8);
    let first = tokio::spawn(buffer.ready().await.unwrap().call(1));
    settle().await;
    assert_eq!(handle.queued(), 1);
    first.abort();
    settle().await;
    sleep(secs(600)).await;
    assert_eq!(handle.queued(), 0);
    release_after(ms(500), holder);
    let began = now();
    assert_eq!(buffer.ready().await.unwrap().call(2).await.unwrap(), 2);
    assert_eq!(began.elapsed(), ms(500));
}

/// Such a task, as under an overload, is rejected in the end.
#[tokio::test(start_paused = true)]
async fn b3_wait_of_a_task_that_is_always_late_ends() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(secs(10));
    let (mut service, _holder) = full(layer).await;
    let wakes = WakeCounter::new();
    assert_pending!(poll_ready::<_, u32>(&mut service, &wakes.waker()));
    advance(secs(11)).await;
    assert_pending!(poll_ready::<_, u32>(&mut service, &wakes.waker()), "taken for a new request");
    advance(secs(11)).await;
    assert_ready_ok!(poll_ready::<_, u32>(&mut service, &wakes.waker()), "as late again");
    let error = service.call(1).await.unwrap_err();
    assert!(rejected(&error).is_wait_timeout());
}

/// Waits are abandoned by timeouts and resumed by the same tasks.
#[tokio::test(start_paused = true)]
async fn c4_c12_counts_are_exact_after_waits_are_abandoned_and_resumed() {
    let layer = ConcurrencyBackpressureLayer::new(2).max_queue(4).max_wait(ms(300));
    let handle = layer.handle();
    let service = layer.layer(Probe::answering_after(ms(70)));
    let stopped = Arc::new(Semaphore::new(0));
    let tasks: Vec<_> = (0..6_u64)
        .map(|n| {
            let (mut service, stopped) = (service.clone(), Arc::clone(&stopped));
            tokio::spawn(async move {
                let mut served = 0;
                for round in 0..50 {
                    let patience = ms(10 + (n * 37 + round * 53) % 500);
                    if timeout(patience, service.ready()).await.is_ok() {
                        served += u64::from(service.call(1).await.is_ok());
                    } else {
                        sleep(ms((n * 91 + round * 17) % 900)).await;
                    }
                }
                stopped.add_permits(1);
                served
            })
        })
        .collect();
    let mut served = 0;
    for task in tasks {
        served += task.await.unwrap();
    }
    assert_eq!(stopped.available_permits(), 6);
    assert!(served > 100, "{served}");
    drop(service);
    assert_eq!((handle.in_flight(), handle.queued()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn c3_rejection_does_not_poll_the_inner_service() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(0);
    let polls = Arc::new(AtomicBool::new(false));
    let polled = Arc::clone(&polls);
    let inner = service_fn(|n: u32| ready(Ok::<_, Infallible>(n)));
    let mut holder = layer.layer(inner);
    holder.ready().await.unwrap();
    let mut service = layer.layer(Polled(polled));
    poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    service.call(1).await.unwrap_err();
    assert!(!polls.load(SeqCst));
}

#[derive(Clone)]
struct Polled(Arc<AtomicBool>);

impl Service<u32> for Polled {
    type Response = u32;
    type Error = Infallible;
    type Future = Ready<Result<u32, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.store(true, SeqCst);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        ready(Ok(request))
    }
}

/// A request that was rejected on arrival is one that comes now by the time of its call.
#[tokio::test(start_paused = true)]
async fn c11_reason_is_that_of_the_call() {
    // The queue is full at the poll. At the call it has room, and the wait is too long.
    let layer = WindowRateLimitLayer::new(1, secs(60)).max_queue(1).max_wait(secs(10));
    let mut service = layer.layer(Probe::new());
    service.ready().await.unwrap().call(0).await.unwrap();
    advance(secs(55)).await;
    let mut waiter = Spawn::new(service.clone());
    assert_pending!(waiter.poll_ready::<u32>());
    service.ready().await.unwrap();
    advance(secs(5)).await;
    assert_ready_ok!(waiter.poll_ready::<u32>());
    drop(waiter.call(1));
    let error = service.call(2).await.unwrap_err();
    assert!(rejected(&error).is_wait_timeout(), "{error}");
    assert_eq!(rejected(&error).retry_after(), Some(secs(60)));

    // The wait is too long at the poll. At the call it would not be, but the queue is full.
    advance(secs(40)).await;
    service.ready().await.unwrap();
    advance(secs(15)).await;
    let mut waiter = Spawn::new(service.clone());
    assert_pending!(waiter.poll_ready::<u32>());
    let error = service.call(3).await.unwrap_err();
    assert!(rejected(&error).is_queue_full(), "{error}");
    assert_eq!(layer.handle().rejected().queue_full, 1);
    assert_eq!(layer.handle().rejected().wait_timeout, 1);
    drop(waiter);

    // It waited itself, and the queue is full by its call.
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(1).max_wait(secs(1));
    let (service, _holder) = full(layer).await;
    let mut waited = Spawn::new(service.clone());
    assert_pending!(waited.poll_ready::<u32>());
    advance(secs(1)).await;
    assert_ready_ok!(waited.poll_ready::<u32>());
    let mut other = Spawn::new(service);
    assert_pending!(other.poll_ready::<u32>());
    let error = waited.call(1).await.unwrap_err();
    assert!(rejected(&error).is_wait_timeout(), "{error}");

    // The same a second after the poll: a call that late is another request's.
    drop(other);
    let mut other = Spawn::new(waited.get_ref().clone());
    assert_pending!(waited.poll_ready::<u32>());
    advance(secs(1)).await;
    assert_ready_ok!(waited.poll_ready::<u32>());
    advance(secs(1)).await;
    assert_pending!(other.poll_ready::<u32>());
    let error = waited.call(1).await.unwrap_err();
    assert!(rejected(&error).is_queue_full(), "{error}");
}
