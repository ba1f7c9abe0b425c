//! Allocations and memory, counted in this thread by a counting allocator.

use std::{
    future::{Future, Ready, ready},
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use tower::{Layer, Service, ServiceBuilder, retry::Retry};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, DeadlineLayer, ExponentialRetry, ExponentialRetryLayer,
    WindowRateLimitLayer,
    backpressure::{Class, Terms},
    keyed::{KeyedLimitLayer, Rule},
    retry::RetryBudget,
};

use crate::support::secs;

#[derive(Clone)]
pub(crate) struct Free;

impl Service<u32> for Free {
    type Response = u32;
    type Error = std::convert::Infallible;
    type Future = Ready<Result<u32, Self::Error>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: u32) -> Self::Future {
        ready(Ok(request))
    }
}

pub(crate) fn call<S: Service<u32>>(service: &mut S, request: u32) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let future = std::pin::pin!(service.call(request));
    assert!(future.poll(&mut cx).is_ready());
}

/// A hit, the first request of a key, and a rejection: in a slot, and in a full table.
#[test]
fn k4_flood_of_new_keys_allocates_nothing() {
    let rule = Rule::new("client", |client: &u32| Some(*client));
    let rule = rule.at_most(10, secs(3600)).max_keys(1_000);
    let layer = KeyedLimitLayer::new(rule).reject_with(|_| 0);
    let handle = layer.handle("client");
    let mut service = layer.layer(Free);
    call(&mut service, 0);
    let counted = measure(|| {
        for client in 0..20_000 {
            call(&mut service, 1);
            call(&mut service, client);
        }
    });
    assert_eq!(counted.count_total, 0);
    assert!(handle.live_keys() > 1_000 && handle.overflowed() > 10_000);
    assert!(handle.rejected() > 30_000, "{}", handle.rejected());
    assert_eq!(handle.remaining(1), 0);
}

#[test]
fn c6_call_that_does_not_wait_allocates_nothing() {
    let policy = ExponentialRetry::new(3).budget(RetryBudget::new(0.1)).max_elapsed(secs(60));
    let retry = ExponentialRetryLayer::new(policy);
    let stack = |window| {
        ServiceBuilder::new()
            .layer(ConcurrencyBackpressureLayer::new(10).max_queue(10).max_wait(secs(1)))
            .layer(retry.clone())
            .layer(window)
            .service(Free)
    };
    // Among them a window that refills at each call, and one with strides.
    for layer in [
        WindowRateLimitLayer::new(1, Duration::from_nanos(1)),
        WindowRateLimitLayer::new(1_000_000, secs(3600)),
        WindowRateLimitLayer::fixed(100, Duration::from_nanos(1)),
    ] {
        let mut service = stack(layer);
        call(&mut service, 0);
        let counted = measure(|| (0..1000).for_each(|n| call(&mut service, n)));
        assert_eq!(counted.count_total, 0);
        // The same for a clone that is called once, as in servers, and with a deadline.
        let counted = measure(|| (0..1000).for_each(|n| call(&mut service.clone(), n)));
        assert_eq!(counted.count_total, 0);
        let mut service = DeadlineLayer::new(secs(1)).layer(service);
        let counted = measure(|| (0..1000).for_each(|n| call(&mut service, n)));
        assert_eq!(counted.count_total, 0);
    }
}

#[test]
fn c6_p1_p2_permit_of_a_handle_without_a_wait_allocates_nothing() {
    fn ready<F: Future>(future: F) -> F::Output {
        let future = std::pin::pin!(future);
        let Poll::Ready(output) = future.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("there is room")
        };
        output
    }
    let requests = ConcurrencyBackpressureLayer::new(10).handle();
    // Among them a window that refills at each commit, and one with strides.
    let brief = WindowRateLimitLayer::new(3, Duration::from_nanos(1)).handle();
    let long = WindowRateLimitLayer::new(1_000_000, secs(3600)).handle();
    let counted = measure(|| {
        for _ in 0..1000 {
            drop(ready(requests.acquire()).unwrap());
            drop(ready(requests.acquire_many(10)).unwrap());
            drop((requests.try_acquire().unwrap(), requests.try_acquire_many(9).unwrap()));
            for quota in [&brief, &long] {
                ready(quota.acquire()).unwrap().commit();
                ready(quota.acquire_many(2)).unwrap().commit();
                quota.try_acquire().unwrap().commit();
                drop(quota.try_acquire_many(2).unwrap());
            }
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn c6_wait_allocates_nothing_once_the_queue_has_been_as_long() {
    let layer = ConcurrencyBackpressureLayer::new(1);
    let mut holder = layer.layer(Free);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(holder.poll_ready(&mut cx).is_ready());
    let mut waiters: Vec<_> = (0..100).map(|_| layer.layer(Free)).collect();
    let mut round = || {
        let mut cx = Context::from_waker(Waker::noop());
        for service in &mut waiters {
            assert!(service.poll_ready(&mut cx).is_pending());
        }
        for service in &mut waiters {
            *service = service.clone(); // cancels the wait
        }
    };
    round();
    assert_eq!(measure(round).count_total, 0);
}

#[test]
fn w8_memory_does_not_grow_with_the_limit() {
    let bytes = |limit| measure(|| drop(WindowRateLimitLayer::new(limit, secs(1)))).bytes_max;
    let (small, large) = (bytes(1), bytes((1 << 31) - 1));
    assert_eq!(small, large);
    assert!(large < 10 * 1024, "{large} bytes");

    let concurrency = |limit| measure(|| drop(ConcurrencyBackpressureLayer::new(limit))).bytes_max;
    assert_eq!(concurrency(1), concurrency((1 << 31) - 1));
    assert!(concurrency(1) <= 704, "{} bytes", concurrency(1));
}

#[test]
fn c6_r1_successful_request_in_towers_retry_allocates_nothing() {
    let mut service = Retry::new(ExponentialRetry::new(3), Free);
    assert_eq!(measure(|| call(&mut service, 1)).count_total, 0);
}

#[test]
fn c6_o5_successful_request_of_a_named_policy_allocates_nothing() {
    assert_no_allocation(ExponentialRetry::new(3).name("api"));
    assert_no_allocation(ExponentialRetry::new(3).budget(RetryBudget::new(0.1)).name("api"));
}

/// Asserts that requests which succeed at once allocate nothing after the first.
pub(crate) fn assert_no_allocation<P>(policy: P)
where
    P: tower::retry::Policy<u32, u32, std::convert::Infallible> + Clone,
{
    let mut service = Retry::new(policy, Free);
    call(&mut service, 0);
    assert_eq!(measure(|| (0..1000).for_each(|n| call(&mut service, n))).count_total, 0);
    assert_eq!(measure(|| (0..1000).for_each(|n| call(&mut service.clone(), n))).count_total, 0);
}

/// A call that finds a permit, with terms or without.
#[test]
fn c6_call_with_terms_that_finds_a_permit_allocates_nothing() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(8);
    let by_request = layer.clone().by_request(|request: &u32| {
        let terms = Terms::new().class(Class::Sheddable);
        if request % 2 == 0 { terms } else { terms.deadline(secs(1)) }
    });
    let mut by_request = by_request.layer(Free);
    let mut with_terms = layer.with_terms().layer(Free);
    let mut send = |request| {
        call(&mut by_request, request);
        call(&mut with_terms, request);
        with_terms.terms(Terms::new().deadline(secs(1)));
        call(&mut with_terms, request);
    };
    send(0);
    assert_eq!(measure(|| (0..100).for_each(&mut send)).count_total, 0);
}
