//! Pauses of keys, and penalties.

use std::{convert::Infallible, time::Duration};

use futures::poll;
use tokio::time::advance;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    Rejected,
    keyed::{KeyedLimitLayer, Rule, TableFull},
};

use crate::support::{ms, now, secs, settle};

/// Fails, as a login with a wrong password.
const WRONG: u32 = 0;

/// A request of a client, with an outcome.
type Request = (u32, u32);

#[allow(clippy::unnecessary_wraps, reason = "a key function")]
fn client(request: &Request) -> Option<u32> {
    Some(request.0)
}

fn rule() -> Rule<fn(&Request) -> Option<u32>> {
    Rule::new("client", client)
}

/// Responds with the outcome.
fn echo() -> impl Service<Request, Response = u32, Error = Infallible, Future: Send> + Clone {
    service_fn(|request: Request| async move { Ok(request.1) })
}

fn rejected<T: std::fmt::Debug>(result: Result<T, BoxError>) -> Rejected {
    Rejected::find(&*result.expect_err("rejected")).expect("by the layer").clone()
}

#[tokio::test(start_paused = true)]
async fn k21_paused_key_admits_nothing_until_its_pause_ends() {
    let layer = KeyedLimitLayer::new((
        rule().at_most(2, secs(1)),
        Rule::global("all").at_most(1_000, secs(1)),
    ));
    let (service, clients) = (layer.layer(echo()), layer.handle("client"));
    // Of a key with a slot, and of one without.
    service.clone().oneshot((1, 1)).await.unwrap();
    for key in [1_u32, 2] {
        clients.pause_for(key, secs(60)).unwrap();
        assert_eq!(clients.paused_until(key), Some(now() + secs(60)));
        assert_eq!(clients.remaining(key), 0);
        assert_eq!(clients.time_until_room(key), Some(secs(60)));
        let rejected = rejected(service.clone().oneshot((key, 1)).await);
        assert!(rejected.is_paused() && rejected.is_rate_limited() && !rejected.is_shared());
        assert_eq!(rejected.rule().as_deref(), Some("client"));
        assert_eq!(rejected.retry_after(), Some(secs(60)));
    }
    assert_eq!((clients.live_keys(), clients.rejected()), (2, 2));
    assert_eq!(layer.handle("all").remaining(()), 999, "a rejection costs nothing");
    service.clone().oneshot((3, 1)).await.unwrap();

    advance(ms(59_999)).await;
    for key in [1, 2] {
        assert!(rejected(service.clone().oneshot((key, 1)).await).is_paused());
    }
    advance(ms(1)).await;
    assert_eq!(clients.paused_until(1_u32), None);
    assert_eq!(clients.live_keys(), 0);
    for key in [1, 2] {
        service.clone().oneshot((key, 1)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn k21_pause_moves_only_forward_until_it_is_resumed() {
    let layer = KeyedLimitLayer::new(rule().at_most(5, secs(1)));
    let (service, clients) = (layer.layer(echo()), layer.handle("client"));
    let start = now();
    clients.pause_until(1_u32, start).unwrap();
    assert_eq!((clients.paused_until(1_u32), clients.live_keys()), (None, 0), "it has passed");
    clients.pause_for(1_u32, secs(9)).unwrap();
    clients.pause_for(1_u32, secs(5)).unwrap();
    assert_eq!(clients.paused_until(1_u32), Some(start + secs(9)));
    clients.pause_until(1_u32, start + secs(20)).unwrap();
    assert_eq!(clients.paused_until(1_u32), Some(start + secs(20)));
    clients.forget(1_u32);
    assert!(rejected(service.clone().oneshot((1, 1)).await).is_paused());

    assert!(!clients.resume(2_u32), "another key");
    assert!(clients.resume(1_u32));
    assert!(!clients.resume(1_u32));
    service.clone().oneshot((1, 1)).await.unwrap();
    clients.pause_for(1_u32, secs(3)).unwrap();
    advance(secs(3)).await;
    assert!(!clients.resume(1_u32), "it has ended");
    service.oneshot((1, 1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn k21_request_that_was_admitted_is_not_held_back_by_a_pause() {
    let layer = KeyedLimitLayer::new(rule().at_most(5, secs(1)).max_in_flight(3));
    let (mut service, clients) = (layer.layer(echo()), layer.handle("client"));
    let admitted = service.call((1, 1));
    clients.pause_for(1_u32, secs(9)).unwrap();
    admitted.await.unwrap();
    assert_eq!(clients.live_keys(), 1);
    assert!(rejected(service.call((1, 1)).await).is_paused());
}

#[tokio::test(start_paused = true)]
async fn k21_key_that_finds_no_slot_is_not_paused_nor_is_any_other() {
    let layer = KeyedLimitLayer::new(rule().at_most(1, secs(60)).max_keys(1));
    let (service, clients) = (layer.layer(echo()), layer.handle("client"));
    let paused = (0..1_000_u32).filter(|key| clients.pause_for(*key, secs(9)).is_ok()).count();
    assert_eq!(paused, 16, "both sets");
    assert_eq!(clients.live_keys(), 16);
    let key = (0..1_000).find(|key| clients.paused_until(*key).is_none()).unwrap();
    let full: TableFull = clients.pause_for(key, secs(9)).unwrap_err();
    assert_eq!(
        full.to_string(),
        "too many keys at once: there is no slot for the key to be paused"
    );
    service.clone().oneshot((key, 1)).await.unwrap(); // in the overflow
    let rejected = rejected(service.oneshot((key, 1)).await);
    assert!(rejected.is_limit_reached() && rejected.is_shared());
    assert!(clients.pause_for(1_u32, secs(10)).is_ok(), "it has a slot");
    advance(secs(9)).await;
    assert_eq!(clients.live_keys(), 1, "the slots of pauses that have ended are idle");
}

#[tokio::test(start_paused = true)]
async fn k21_global_rule_is_paused_as_a_whole() {
    let layer = KeyedLimitLayer::new(Rule::global("all").at_most(9, secs(1)));
    let (service, all) = (layer.layer(echo()), layer.handle("all"));
    all.pause_for((), secs(9)).unwrap();
    assert_eq!(rejected(service.clone().oneshot((1, 1)).await).retry_after(), Some(secs(9)));
    assert!(all.resume(()));
    service.oneshot((1, 1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn k11_k21_time_of_a_rejection_is_the_longer_of_pause_and_window() {
    let layer = KeyedLimitLayer::new((
        rule().at_most(1, secs(60)),
        Rule::new("pair", |request: &Request| Some(*request)).at_most(1, secs(1)),
    ));
    let (service, clients) = (layer.layer(echo()), layer.handle("client"));
    clients.pause_for(1_u32, secs(5)).unwrap();
    layer.handle("pair").pause_for((1_u32, 1_u32), secs(7)).unwrap();
    // Of a later rule.
    let first = rejected(service.clone().oneshot((1, 1)).await);
    assert_eq!((first.is_paused(), first.retry_after()), (true, Some(secs(7))));
    assert_eq!(first.rule().as_deref(), Some("client"));
    // Of a window.
    assert!(clients.resume(1_u32));
    service.clone().oneshot((1, 2)).await.unwrap();
    clients.pause_for(1_u32, secs(5)).unwrap();
    let wait = rejected(service.oneshot((1, 3)).await).retry_after().unwrap();
    assert!((secs(60)..secs(63)).contains(&wait), "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn k21_penalty_pauses_a_key_that_a_window_rejects_and_is_not_prolonged() {
    let rule = rule().at_most(2, secs(1)).penalty(secs(60));
    let layer = KeyedLimitLayer::new(rule);
    let (service, clients) = (layer.layer(echo()), layer.handle("client"));
    for _ in 0..2 {
        service.clone().oneshot((1, 1)).await.unwrap();
    }
    assert_eq!(clients.paused_until(1_u32), None, "the quota may be used up");
    let first = rejected(service.clone().oneshot((1, 1)).await);
    assert!(first.is_limit_reached() && !first.is_paused());
    assert_eq!(first.retry_after(), Some(secs(60)));
    for second in 1..=59 {
        advance(secs(1)).await;
        let rejected = rejected(service.clone().oneshot((1, 1)).await);
        assert!(rejected.is_paused());
        assert_eq!(rejected.retry_after(), Some(secs(60 - second)));
        service.clone().oneshot((2, 1)).await.unwrap();
    }
    advance(secs(1)).await;
    for _ in 0..2 {
        service.clone().oneshot((1, 1)).await.unwrap();
    }
    rejected(service.clone().oneshot((1, 1)).await);
    assert_eq!(clients.paused_until(1_u32), Some(now() + secs(60)), "the next one");
}

#[tokio::test(start_paused = true)]
async fn k12_k21_penalty_of_failures_is_not_for_successes_at_the_same_time() {
    let rule = rule()
        .at_most(3, secs(3600))
        .failures_only(|outcome: &u32| *outcome == WRONG)
        .penalty(secs(900));
    let layer = KeyedLimitLayer::new(rule);
    let (service, logins) = (layer.layer(echo()), layer.handle("client"));
    // Three succeed at once, and a fourth comes before their responses.
    let mut clone = service.clone();
    let succeeding: Vec<_> = (0..3).map(|_| clone.call((1, 1))).collect();
    assert!(rejected(service.clone().oneshot((1, 1)).await).is_limit_reached());
    assert_eq!(logins.paused_until(1_u32), None);
    for login in succeeding {
        login.await.unwrap();
    }
    for _ in 0..3 {
        service.clone().oneshot((1, WRONG)).await.unwrap();
    }
    assert_eq!(rejected(service.clone().oneshot((1, 1)).await).rule().as_deref(), Some("client"));
    assert_eq!(logins.paused_until(1_u32), Some(now() + secs(900)));
    service.oneshot((2, 1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn k21_penalty_is_for_a_key_alone() {
    let some = |request: &Request| (request.0 > 0).then_some(request.0);
    let rule = || Rule::new("client", some).at_most(1, secs(1)).penalty(secs(60));
    let layer = KeyedLimitLayer::new(rule());
    let service = layer.layer(echo());
    service.clone().oneshot((0, 1)).await.unwrap();
    let shared = rejected(service.clone().oneshot((0, 1)).await);
    assert!(shared.is_shared() && shared.retry_after().unwrap() < secs(2), "without a key");

    let layer = KeyedLimitLayer::new(rule().max_keys(1));
    let service = layer.layer(echo());
    for key in 1..=1_000 {
        let _ = service.clone().oneshot((key, 1)).await;
    }
    for key in 1..=1_000 {
        let rejected = rejected(service.clone().oneshot((key, 1)).await);
        let wait = rejected.retry_after().unwrap();
        assert_eq!(rejected.is_shared(), wait < secs(2), "{wait:?}");
    }
    assert_eq!(layer.handle("client").live_keys(), 16);

    let global = KeyedLimitLayer::new(Rule::global("all").at_most(1, secs(1)).penalty(secs(60)));
    let service = global.layer(echo());
    service.clone().oneshot((1, 1)).await.unwrap();
    assert_eq!(rejected(service.oneshot((2, 1)).await).retry_after(), Some(secs(60)));
}

#[tokio::test(start_paused = true)]
async fn k14_k21_dry_run_counts_what_a_penalty_rejects_and_admits() {
    let rule = rule().at_most(1, secs(1)).penalty(secs(60)).dry_run();
    let layer = KeyedLimitLayer::new(rule);
    let service = layer.layer(echo());
    for second in 0..70_u64 {
        service.clone().oneshot((1, 1)).await.unwrap();
        service.clone().oneshot((1, 1)).await.unwrap();
        let expected = if second < 60 { 2 * second + 1 } else { 119 + second - 59 };
        assert!(layer.handle("client").rejected() >= expected.min(119), "{second}");
        advance(secs(1)).await;
    }
}

/// As without a dry run: a request that waits brings no penalty.
#[tokio::test(start_paused = true)]
async fn k14_k21_dry_run_of_a_layer_that_waits_brings_no_penalty() {
    let rule = rule().at_most(1, secs(1)).penalty(secs(60)).dry_run();
    let layer = KeyedLimitLayer::new(rule);
    let clients = layer.handle("client");
    let service = layer.wait(secs(30)).layer(echo());
    for _ in 0..3 {
        service.clone().oneshot((1, 1)).await.unwrap();
    }
    assert_eq!((clients.rejected(), clients.paused_until(1_u32)), (2, None));
}

#[tokio::test(start_paused = true)]
async fn k14_k17_dry_run_that_begins_lets_waiting_requests_go_on() {
    let limit = KeyedLimitLayer::new((
        rule().at_most(2, secs(1)).max_in_flight(1),
        Rule::global("all").at_most(2, secs(1)),
    ));
    let clients = limit.handle("client");
    let service = limit.wait(secs(30)).layer(echo());
    clients.pause_for(1_u32, secs(20)).unwrap();
    let mut requests: Vec<_> = (0..3).map(|_| Box::pin(service.clone().oneshot((1, 1)))).collect();
    for request in &mut requests {
        assert!(poll!(request).is_pending());
    }
    clients.set_dry_run(true);
    clients.pause_for(1_u32, secs(900)).unwrap();
    // The first two by both rules, and the third one by the other rule.
    let start = now();
    for request in requests {
        request.await.unwrap();
    }
    assert!((secs(1)..secs(2)).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!((clients.queued(), clients.rejected_by_reason().wait_timeout), (0, 0));
}

#[test]
fn c7_invalid_penalty_is_reported() {
    for penalty in [Duration::ZERO, secs(101 * 365 * 24 * 3600)] {
        let error = rule().try_penalty(penalty).unwrap_err();
        assert_eq!(error.setting(), "penalty");
        assert_eq!(error.expected(), "longer than zero and at most 100 years");
    }
}

#[tokio::test(start_paused = true)]
async fn k17_k21_requests_of_a_paused_key_wait_for_the_end_and_others_go_on() {
    let limit = KeyedLimitLayer::new(rule().at_most(2, secs(1)));
    let clients = limit.handle("client");
    let service = limit.wait(secs(30)).layer(echo());
    clients.pause_for(1_u32, secs(10)).unwrap();
    let start = now();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move {
                service.oneshot((1, 1)).await.map(|_| now()).map_err(|error| error.to_string())
            })
        })
        .collect();
    settle().await;
    assert_eq!(clients.queued(), 3);
    for _ in 0..2 {
        service.clone().oneshot((2, 1)).await.unwrap();
    }
    assert_eq!(now(), start, "another key is not delayed");
    // Longer, while they wait.
    clients.pause_for(1_u32, secs(12)).unwrap();
    let mut issued = Vec::new();
    for task in waiting {
        issued.push(task.await.unwrap().unwrap() - start);
    }
    assert_eq!(issued[..2], [secs(12); 2]);
    assert!((secs(13)..ms(13_100)).contains(&issued[2]), "{issued:?}");

    // One that ends too late.
    clients.pause_for(1_u32, secs(31)).unwrap();
    let start = now();
    let late = rejected(service.clone().oneshot((1, 1)).await);
    assert!(late.is_wait_timeout() && late.retry_after() == Some(secs(31)));
    assert_eq!(now(), start, "at once");
}

#[tokio::test(start_paused = true)]
async fn k17_k21_resumed_key_is_granted_to_its_waiters() {
    let limit = KeyedLimitLayer::new(rule().at_most(2, secs(1)));
    let clients = limit.handle("client");
    let service = limit.clone().wait(secs(30)).layer(echo());
    clients.pause_for(1_u32, secs(10)).unwrap();
    let mut waiting = std::pin::pin!(service.clone().oneshot((1, 1)));
    assert!(poll!(&mut waiting).is_pending());
    // The layer that rejects, too.
    assert!(rejected(limit.layer(echo()).oneshot((1, 1)).await).is_paused());
    let start = now();
    assert!(clients.resume(1_u32));
    waiting.await.unwrap();
    assert_eq!(now(), start);
    assert_eq!(clients.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn k21_hint_pauses_the_key_whose_response_carried_it() {
    let limit = KeyedLimitLayer::new(rule().at_most(100, secs(1)));
    let hint = |result: &Result<u32, Infallible>| match result {
        Ok(429) => Some(secs(20)),
        Ok(503) => Some(secs(1_000)),
        _ => None,
    };
    let service = ServiceBuilder::new()
        .layer(limit.clone().wait(secs(30)))
        .layer(limit.pause_on_hint("client", hint))
        .service(echo());
    let start = now();
    for (client, status) in [(1, 429), (2, 200), (3, 503)] {
        service.clone().oneshot((client, status)).await.unwrap();
    }
    let clients = limit.handle("client");
    assert_eq!(clients.paused_until(1_u32), Some(start + secs(20)));
    assert_eq!(clients.paused_until(2_u32), None);
    assert_eq!(clients.paused_until(3_u32), Some(start + secs(60)), "the bound");
    service.clone().oneshot((2, 200)).await.unwrap();
    assert_eq!(now(), start);
    service.clone().oneshot((1, 200)).await.unwrap();
    assert_eq!(now(), start + secs(20));
    assert!(rejected(service.oneshot((3, 200)).await).is_wait_timeout());

    let bounded = limit.pause_on_hint("client", hint).max_pause(secs(5)).layer(echo());
    bounded.oneshot((4, 429)).await.unwrap();
    assert_eq!(clients.paused_until(4_u32), Some(now() + secs(5)));
}

#[test]
#[should_panic(expected = r#"there is no rule "host": the layer has ["client"]"#)]
fn c7_hint_of_a_rule_that_is_missing_panics() {
    let hint = |_: &Result<u32, Infallible>| None::<Duration>;
    let _ = KeyedLimitLayer::new(rule().at_most(1, secs(1))).pause_on_hint("host", hint);
}
