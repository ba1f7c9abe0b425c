//! Limits of each key.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt;
use tokio::time::advance;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, Rejected,
    keyed::{KeyedLimitLayer, Plan, Rule, WithoutKey},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A request of a client of a tenant.
#[derive(Clone, Debug, Default)]
struct Request {
    client: Option<u32>,
    tenant: Option<u32>,
    cost: u32,
    plan: usize,
}

fn of(client: u32) -> Request {
    Request { client: Some(client), tenant: Some(0), cost: 1, plan: 0 }
}

#[allow(clippy::unnecessary_wraps, reason = "a key function")]
fn client(request: &Request) -> Option<u32> {
    request.client
}

fn tenant(request: &Request) -> Option<u32> {
    request.tenant
}

/// Responds with the cost.
fn echo() -> impl Service<Request, Response = u32, Error = Infallible, Future: Send> + Clone {
    service_fn(|request: Request| async move { Ok(request.cost) })
}

fn rejected<T: std::fmt::Debug>(result: Result<T, BoxError>) -> Rejected {
    Rejected::find(&*result.expect_err("rejected")).expect("by the layer").clone()
}

#[tokio::test(start_paused = true)]
async fn k1_each_key_has_its_own_quota_in_any_span() {
    let layer = KeyedLimitLayer::new(Rule::new("client", client).at_most(3, SECOND));
    let service = layer.layer(echo());
    for key in [1, 2] {
        for _ in 0..3 {
            service.clone().oneshot(of(key)).await.unwrap();
        }
        let rejected = rejected(service.clone().oneshot(of(key)).await);
        assert!(rejected.is_limit_reached() && rejected.is_rate_limited());
        assert_eq!(rejected.rule().as_deref(), Some("client"));
        let wait = rejected.retry_after().unwrap();
        assert!((SECOND..Duration::from_millis(1_050)).contains(&wait), "{wait:?}");
    }
    assert_eq!(layer.handle("client").rejected(), 2);
    advance(Duration::from_millis(999)).await;
    rejected(service.clone().oneshot(of(1)).await);
    advance(Duration::from_millis(51)).await;
    service.oneshot(of(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn k3_request_that_a_later_rule_rejects_costs_nothing_in_an_earlier_one() {
    let layer = KeyedLimitLayer::new((
        Rule::new("client", client).at_most(5, SECOND).at_most(8, HOUR),
        Rule::new("tenant", tenant).at_most(2, HOUR),
        Rule::global("all").at_most(100, SECOND),
    ));
    let service = layer.layer(echo());
    for _ in 0..2 {
        service.clone().oneshot(of(1)).await.unwrap();
    }
    let rejected = rejected(service.clone().oneshot(of(1)).await);
    assert_eq!(rejected.rule().as_deref(), Some("tenant"));
    assert!(rejected.retry_after().unwrap() >= HOUR, "of the longest window");
    assert_eq!(layer.handle("client").remaining(1_u32), 3);
    assert_eq!(layer.handle("tenant").remaining(0_u32), 0);
    assert_eq!(layer.handle("all").remaining(()), 98);
}

#[tokio::test(start_paused = true)]
async fn k8_cost_is_acquired_as_a_whole_or_too_large() {
    let rule = Rule::new("client", client).at_most(10, SECOND).cost(|it: &Request| it.cost);
    let layer = KeyedLimitLayer::new(rule);
    let service = layer.layer(echo());
    let with = |cost| Request { cost, ..of(1) };
    service.clone().oneshot(with(7)).await.unwrap();
    assert!(rejected(service.clone().oneshot(with(4)).await).is_limit_reached());
    service.clone().oneshot(with(3)).await.unwrap();
    service.clone().oneshot(with(0)).await.unwrap();
    let too_large = rejected(service.clone().oneshot(with(11)).await);
    assert!(too_large.is_too_large() && too_large.retry_after().is_none());
}

/// A surplus is refunded to the permit, at each window. `None` costs what was acquired, as an error
/// and a drop do.
#[tokio::test(start_paused = true)]
async fn k8_cost_settled_below_the_estimate_is_refunded() {
    let rule = Rule::new("client", client)
        .at_most(10, SECOND)
        .at_most(30, HOUR)
        .cost(|it: &Request| it.cost)
        .settle(|cost: &u32| if *cost == 4 { None } else { Some(cost / 5) });
    let layer = KeyedLimitLayer::new(rule);
    let answer = service_fn(|request: Request| async move {
        if request.plan > 0 { Err(()) } else { Ok(request.cost) }
    });
    let mut service = layer.clone().reject_with(|_| 0).layer(answer);
    let handle = layer.handle("client");
    let left = || handle.remaining(1_u32);
    let with = |cost| Request { cost, ..of(1) };
    service.call(with(5)).await.unwrap();
    service.call(with(3)).await.unwrap();
    assert_eq!(left(), 10 - 1, "one of five, and none of three");
    service.call(with(4)).await.unwrap();
    assert_eq!(left(), 9 - 4);
    service.call(Request { plan: 1, ..with(3) }).await.unwrap_err();
    assert_eq!(left(), 5 - 3, "an error");
    drop(service.call(with(2)));
    assert_eq!(left(), 0, "a drop");
    // The hour has counted the same.
    for all in [20, 10] {
        advance(2 * SECOND).await;
        assert_eq!(left(), 10, "of {all}");
        for _ in 0..2 {
            drop(service.call(with(5)));
        }
    }
    advance(2 * SECOND).await;
    assert_eq!(left(), 0);
}

#[tokio::test(start_paused = true)]
async fn k9_plan_of_a_request_has_its_quota_and_keeps_what_was_used() {
    let plans = [Plan::new().at_most(2, HOUR), Plan::new().at_most(5, HOUR)];
    let rule = Rule::new("client", client).plans(plans, |it: &Request| it.plan);
    let layer = KeyedLimitLayer::new(rule);
    let service = layer.layer(echo());
    let with = |plan| Request { plan, ..of(1) };
    for _ in 0..2 {
        service.clone().oneshot(with(0)).await.unwrap();
    }
    rejected(service.clone().oneshot(with(0)).await);
    for _ in 0..3 {
        service.clone().oneshot(with(1)).await.unwrap();
    }
    rejected(service.clone().oneshot(with(1)).await);
    assert_eq!(layer.handle("client").remaining_in(1, 1_u32), 0);
}

#[tokio::test(start_paused = true)]
async fn k12_only_failures_cost_when_they_are_settled() {
    let is_failure = |cost: &u32| *cost > 5;
    let rule = Rule::new("login", client).at_most(2, HOUR).failures_only(is_failure);
    let service = KeyedLimitLayer::new(rule).layer(echo());
    let with = |cost| Request { cost, ..of(1) };
    for _ in 0..10 {
        service.clone().oneshot(with(1)).await.unwrap();
    }
    let (mut one, mut two, mut three) = (service.clone(), service.clone(), service.clone());
    let guesses = (one.call(with(9)), two.call(with(9)));
    rejected(three.call(with(1)).await); // before the responses
    guesses.0.await.unwrap();
    guesses.1.await.unwrap();
    rejected(service.clone().oneshot(with(1)).await);
}

#[tokio::test(start_paused = true)]
async fn k8_cost_settled_above_the_estimate_is_owed() {
    let rule = Rule::new("client", client).at_most(10, SECOND).settle(|cost: &u32| Some(*cost));
    let service = KeyedLimitLayer::new(rule).layer(echo());
    let with = |cost| Request { cost, ..of(1) };
    service.clone().oneshot(with(25)).await.unwrap();
    let wait = rejected(service.clone().oneshot(with(1)).await).retry_after().unwrap();
    assert!(wait > 2 * SECOND && wait < Duration::from_millis(3_200), "{wait:?}");
    advance(wait).await;
    service.clone().oneshot(with(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn k14_dry_run_counts_and_admits() {
    let layer = KeyedLimitLayer::new(Rule::new("client", client).at_most(1, HOUR).dry_run());
    let service = layer.layer(echo());
    for _ in 0..4 {
        service.clone().oneshot(of(1)).await.unwrap();
    }
    assert_eq!(layer.handle("client").rejected(), 3);
}

#[tokio::test(start_paused = true)]
async fn k16_requests_in_flight_of_a_key_are_bounded_until_their_response() {
    let layer = KeyedLimitLayer::new(Rule::new("client", client).max_in_flight(2));
    let mut service = layer.layer(echo());
    let (first, second) = (service.call(of(1)), service.call(of(1)));
    let rejected = rejected(service.call(of(1)).await);
    assert!(rejected.is_limit_reached() && rejected.retry_after().is_none());
    service.call(of(2)).await.unwrap();
    drop(first);
    service.call(of(1)).await.unwrap();
    second.await.unwrap();
    assert_eq!(layer.handle("client").live_keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn k18_requests_without_a_key_share_a_quota_unless_told_otherwise() {
    let none = Request { client: None, ..of(0) };
    let rule = || Rule::new("client", client).at_most(1, HOUR);
    let service = KeyedLimitLayer::new(rule()).layer(echo());
    service.clone().oneshot(none.clone()).await.unwrap();
    assert!(rejected(service.clone().oneshot(none.clone()).await).is_shared());
    service.oneshot(of(1)).await.unwrap();

    let service = KeyedLimitLayer::new(rule().without_key(WithoutKey::Exempt)).layer(echo());
    for _ in 0..3 {
        service.clone().oneshot(none.clone()).await.unwrap();
    }
    let service = KeyedLimitLayer::new(rule().without_key(WithoutKey::Reject)).layer(echo());
    assert!(rejected(service.oneshot(none).await).is_without_key());
}

#[tokio::test(start_paused = true)]
async fn k18_exempt_request_needs_nothing_of_its_rule_and_counts_at_others() {
    let layer = KeyedLimitLayer::new((
        Rule::new("client", client)
            .at_most(1, HOUR)
            .without_key(WithoutKey::Reject)
            .exempt(|request: &Request| request.plan == 1)
            .exempt(|request: &Request| request.plan == 2),
        Rule::new("tenant", tenant).at_most(5, HOUR),
    ));
    let service = layer.layer(echo());
    service.clone().oneshot(of(1)).await.unwrap();
    for plan in [1, 2] {
        service.clone().oneshot(Request { plan, ..of(1) }).await.unwrap();
        let without_key = Request { client: None, plan, ..of(1) };
        service.clone().oneshot(without_key).await.unwrap();
    }
    rejected(service.clone().oneshot(of(1)).await);
    let too_many = rejected(service.oneshot(Request { plan: 1, ..of(2) }).await);
    assert_eq!(too_many.rule().as_deref(), Some("tenant"));
    assert_eq!(layer.handle("client").live_keys(), 1);
}

/// A rule for all requests has one state, and no key.
#[tokio::test(start_paused = true)]
async fn k13_handle_of_a_rule_for_all_requests_reads_and_forgets_them() {
    let layer = KeyedLimitLayer::new(Rule::global("all").at_most(2, HOUR));
    let service = layer.layer(service_fn(|_: u32| async { Ok::<_, BoxError>(()) }));
    let handle = layer.handle("all");
    for request in 0..2 {
        service.clone().oneshot(request).await.unwrap();
    }
    assert_eq!((handle.remaining(()), handle.time_until_room(()).is_some()), (0, true));
    assert!(service.clone().oneshot(2).await.is_err());
    handle.forget(());
    assert_eq!((handle.remaining(()), handle.time_until_room(())), (2, None));
    service.oneshot(3).await.unwrap();
    assert_eq!((handle.snapshot().live_keys, handle.top().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn k13_forgotten_key_has_its_whole_quota() {
    let layer = KeyedLimitLayer::new(Rule::new("client", client).at_most(30, HOUR));
    let service = layer.layer(echo());
    for _ in 0..30 {
        service.clone().oneshot(of(1)).await.unwrap();
    }
    let handle = layer.handle("client");
    assert_eq!((handle.remaining(1_u32), handle.live_keys()), (0, 1));
    handle.forget(1_u32);
    assert_eq!((handle.remaining(1_u32), handle.live_keys()), (30, 0));
    assert_eq!((handle.remaining(2_u32), handle.live_keys()), (30, 0));
    service.oneshot(of(1)).await.unwrap();
}

/// A function of a rule may panic after an earlier rule has acquired.
#[tokio::test(start_paused = true)]
async fn c4_panic_of_a_rule_gives_back_what_others_have_acquired() {
    fn of_known(request: &Request) -> Option<u32> {
        Some(request.tenant.expect("a tenant"))
    }
    let layer = KeyedLimitLayer::new((
        Rule::new("client", client).at_most(2, SECOND).max_in_flight(1),
        Rule::new("tenant", of_known).at_most(9, HOUR),
    ));
    let mut service = layer.layer(echo());
    for _ in 0..3 {
        let without = Request { tenant: None, ..of(1) };
        catch_unwind(AssertUnwindSafe(|| drop(service.call(without)))).unwrap_err();
        assert_eq!(layer.handle("client").live_keys(), 0);
    }
    service.call(of(1)).await.unwrap();
}

/// A settlement that panics costs what was acquired, once, at each rule.
#[tokio::test(start_paused = true)]
async fn c4_panic_of_a_settlement_costs_what_was_acquired() {
    let layer = KeyedLimitLayer::new((
        Rule::new("client", client).at_most(30, SECOND).settle(|cost: &u32| Some(*cost)),
        Rule::new("tenant", tenant).at_most(30, SECOND).settle(|cost: &u32| {
            assert_ne!(*cost, 7, "a broken settlement");
            Some(*cost)
        }),
    ));
    let service = layer.layer(echo());
    let mut response = Box::pin(service.clone().oneshot(Request { cost: 7, ..of(1) }));
    catch_unwind(AssertUnwindSafe(|| response.as_mut().now_or_never())).unwrap_err();
    drop(response);
    let (client, tenant) = (layer.handle("client"), layer.handle("tenant"));
    assert_eq!((client.remaining(1_u32), tenant.remaining(0_u32)), (29, 29));
    advance(2 * SECOND).await;
    assert_eq!((client.live_keys(), tenant.live_keys()), (0, 0));
    service.oneshot(Request { cost: 30, ..of(1) }).await.unwrap();
    assert_eq!((client.remaining(1_u32), tenant.remaining(0_u32)), (0, 0));
}

/// A service that is ready once for each poll, and cannot be cloned.
struct Once {
    is_ready: bool,
}

impl Service<Request> for Once {
    type Response = u32;
    type Error = Infallible;
    type Future = std::future::Ready<Result<u32, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called without readiness");
        std::future::ready(Ok(request.cost))
    }
}

#[tokio::test(start_paused = true)]
async fn k15_instance_that_was_made_ready_is_called_and_stays_ready_at_a_rejection() {
    let layer = KeyedLimitLayer::new(Rule::new("client", client).at_most(1, HOUR));
    let mut service = layer.layer(Once { is_ready: false });
    service.ready().await.unwrap().call(of(1)).await.unwrap();
    assert!(!service.get_ref().is_ready);
    rejected(service.ready().await.unwrap().call(of(1)).await);
    assert!(service.get_ref().is_ready, "not called");
    service.call(of(2)).await.unwrap(); // by the readiness that is left
}

/// A rejection in `call` leaves the permit of a readiness to the next call, or to the drop.
#[tokio::test(start_paused = true)]
async fn k15_rejection_keeps_the_permit_of_a_limit_inside_and_none_of_a_limit_outside() {
    let keyed = || KeyedLimitLayer::new(Rule::new("client", client).at_most(1, HOUR));
    let limit = ConcurrencyBackpressureLayer::new(1);
    let handle = limit.handle();

    let mut inside = ServiceBuilder::new().layer(keyed()).layer(limit.clone()).service(echo());
    inside.ready().await.unwrap().call(of(1)).await.unwrap();
    rejected(inside.ready().await.unwrap().call(of(1)).await);
    assert_eq!(handle.in_flight(), 1);
    inside.ready().await.unwrap().call(of(2)).await.unwrap();
    assert_eq!(handle.in_flight(), 0);
    rejected(inside.ready().await.unwrap().call(of(1)).await);
    drop(inside);
    assert_eq!(handle.in_flight(), 0);

    let mut outside = ServiceBuilder::new().layer(limit).layer(keyed()).service(echo());
    outside.ready().await.unwrap().call(of(1)).await.unwrap();
    rejected(outside.ready().await.unwrap().call(of(1)).await);
    assert_eq!(handle.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn c1_services_of_one_keyed_layer_and_its_clones_have_one_state() {
    let layer = KeyedLimitLayer::new(Rule::new("client", client).at_most(3, HOUR));
    let (one, other) = (layer.layer(echo()), layer.clone().layer(echo()));
    let waits = layer.clone().wait(SECOND).layer(echo());
    one.clone().oneshot(of(1)).await.unwrap();
    other.clone().oneshot(of(1)).await.unwrap();
    waits.clone().oneshot(of(1)).await.unwrap();
    rejected(one.oneshot(of(1)).await);
    rejected(other.oneshot(of(1)).await);
    assert!(rejected(waits.oneshot(of(1)).await).is_wait_timeout());
    let apart = KeyedLimitLayer::new(Rule::new("client", client).at_most(3, HOUR));
    apart.layer(echo()).oneshot(of(1)).await.unwrap();
}

/// A table of two sets of eight slots, and a hundred clients.
#[tokio::test(start_paused = true)]
async fn k5_k6_full_table_shares_or_rejects_and_forgets_no_key() {
    let rule = || Rule::new("client", client).at_most(2, HOUR).max_keys(1);
    for (rule, is_sharing) in [(rule(), true), (rule().reject_when_full(), false)] {
        let layer = KeyedLimitLayer::new(rule);
        let service = layer.layer(echo());
        let mut issued = Vec::new();
        for key in 0..100 {
            match service.clone().oneshot(of(key)).await {
                Ok(_) => issued.push(key),
                Err(error) => {
                    let rejected = rejected::<()>(Err(error));
                    assert_eq!(rejected.is_shared(), is_sharing);
                    assert_eq!(rejected.is_limit_reached(), is_sharing);
                    assert_eq!(rejected.is_table_full(), !is_sharing);
                    assert_eq!(rejected.is_rate_limited(), is_sharing);
                    assert_eq!(rejected.retry_after().is_some(), is_sharing);
                }
            }
        }
        // One of each slot, and the quotas of the two overflows.
        assert_eq!(issued.len(), if is_sharing { 16 + 2 * 2 } else { 16 });
        assert_eq!(issued[..16], (0..16).collect::<Vec<_>>());
        let handle = layer.handle("client");
        assert_eq!(handle.live_keys(), 16);
        assert_eq!(handle.overflowed(), if is_sharing { 100 - 16 } else { 0 });
        for key in 0..16 {
            assert_eq!(handle.remaining(key), 1);
            service.clone().oneshot(of(key)).await.unwrap();
            assert!(!rejected(service.clone().oneshot(of(key)).await).is_shared());
        }
        advance(2 * HOUR).await;
        service.oneshot(of(100)).await.unwrap();
        assert_eq!((handle.live_keys(), handle.remaining(100_u32)), (1, 1));
    }
}
