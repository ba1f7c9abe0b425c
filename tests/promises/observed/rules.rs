//! Rules of keyed limits: counts, metrics, traces, and the list of the keys that are rejected most.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use allocation_counter::measure;
use fastrand::Rng;
use futures::poll;
use tokio::{
    task::{JoinHandle, yield_now},
    time::{advance, sleep},
};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    Rejected,
    keyed::{Key, KeyedLimitLayer, Plan, Rule, RuleHandle, RuleRejectedCounts, WithoutKey},
    observe::{Limits, Snapshot, TopKey},
};

use crate::{
    allocations::{Free, call},
    support::{ms, secs},
};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

/// The number of a client, shown in its label.
#[derive(Clone, Copy)]
struct Client;

impl Key<u32> for Client {
    fn hash_key<H: Hasher>(&self, client: &u32, state: &mut H) -> bool {
        client.hash(state);
        *client != NO_KEY
    }

    fn label(&self, client: &u32) -> Option<String> {
        (*client != SECRET).then(|| format!("client {client}"))
    }
}

const NO_KEY: u32 = u32::MAX;
const SECRET: u32 = u32::MAX - 1;

fn echo()
-> impl Service<u32, Response = u32, Error = Infallible, Future: Send + Unpin> + Clone + Send {
    service_fn(|client: u32| std::future::ready(Ok(client)))
}

/// Returns the metric of the key of a rank, of a rule.
#[cfg(feature = "metrics")]
fn of_rank(rule: &str, rank: u32) -> String {
    format!(
        "floodgate_top_key_rejections{{limiter={rule:?},kind=\"rule\",rank={:?}}}",
        rank.to_string()
    )
}

/// Returns the reasons with their names in metrics and traces.
fn by_reason(counts: RuleRejectedCounts) -> [(&'static str, u64); 7] {
    [
        ("limit_reached", counts.limit_reached),
        ("too_large", counts.too_large),
        ("no_key", counts.no_key),
        ("table_full", counts.table_full),
        ("paused", counts.paused),
        ("queue_full", counts.queue_full),
        ("wait_timeout", counts.wait_timeout),
    ]
}

/// Returns the reason as its predicates tell it.
fn reason_of(rejected: &Rejected) -> &'static str {
    let is = [
        (rejected.is_limit_reached(), "limit_reached"),
        (rejected.is_too_large(), "too_large"),
        (rejected.is_without_key(), "no_key"),
        (rejected.is_table_full(), "table_full"),
        (rejected.is_paused(), "paused"),
        (rejected.is_queue_full(), "queue_full"),
        (rejected.is_wait_timeout(), "wait_timeout"),
    ];
    let [(_, reason)] = is.into_iter().filter(|(is, _)| *is).collect::<Vec<_>>()[..] else {
        panic!("{rejected:?} has not one reason")
    };
    reason
}

/// A request of a client, with a cost. Its response takes `holds`.
#[derive(Clone, Copy, Debug)]
struct Request {
    client: Option<u32>,
    cost: u32,
    holds: Duration,
}

/// The outcomes of the requests of a random schedule, by rule and reason.
type Outcomes = BTreeMap<(String, &'static str), u64>;

/// Runs a random schedule of requests that wait, are rejected at once, and are dropped. Returns the
/// handles of both rules, the outcomes, and the number of requests that were issued.
async fn random_schedule(seed: u64) -> ([RuleHandle; 2], Outcomes, u64) {
    let mut random = Rng::with_seed(seed);
    let client = Rule::new("client", |request: &Request| request.client)
        .at_most(6, ms(400))
        .max_in_flight(2)
        .max_keys(if seed % 2 == 0 { 1 } else { 100 })
        .reject_when_full()
        .without_key(WithoutKey::Reject)
        .cost(|request: &Request| request.cost)
        .count_admitted()
        .track_top(3);
    let shadow = Rule::global("shadow").at_most(9, ms(500)).dry_run().count_admitted();
    let layer = KeyedLimitLayer::new((client, shadow));
    let handles = ["client", "shadow"].map(|rule| layer.handle(rule));
    let issued = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&issued);
    let inner = service_fn(move |request: Request| {
        counted.fetch_add(1, Relaxed);
        async move {
            sleep(request.holds).await;
            Ok::<_, Infallible>(())
        }
    });
    let at_once = layer.layer(inner.clone());
    let waiting = layer.wait(ms(150)).max_queue_per_key(2).max_queue(20).layer(inner);

    let mut running: Vec<JoinHandle<Result<(), BoxError>>> = Vec::new();
    let mut outcomes = Outcomes::new();
    let mut note = |result: Result<Result<(), BoxError>, tokio::task::JoinError>| {
        if let Ok(Err(error)) = result {
            let rejected = Rejected::find(&*error).expect("by the layer");
            let rule = rejected.rule().expect("of a rule").to_string();
            *outcomes.entry((rule, reason_of(rejected))).or_default() += 1;
        }
    };
    for _ in 0..600 {
        let request = Request {
            client: (random.u8(..20) > 0).then(|| random.u32(..40) % random.u32(1..40)),
            cost: if random.u8(..20) == 0 { 7 } else { random.u32(1..3) },
            holds: ms(random.u64(..60)),
        };
        running.push(match random.bool() {
            true => tokio::spawn(waiting.clone().oneshot(request)),
            false => tokio::spawn(at_once.clone().oneshot(request)),
        });
        if random.u8(..3) == 0 {
            sleep(ms(random.u64(..40))).await;
        }
        if random.u8(..8) == 0 {
            running[random.usize(..running.len())].abort();
        }
    }
    for task in running {
        note(task.await);
    }
    (handles, outcomes, issued.load(Relaxed))
}

#[tokio::test(start_paused = true)]
async fn k19_counts_of_a_rule_are_those_of_its_outcomes() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..6 {
        let ([client, shadow], outcomes, issued) = random_schedule(seed).await;
        for (reason, count) in by_reason(client.rejected_by_reason()) {
            let outcome = outcomes.get(&("client".to_owned(), reason)).copied().unwrap_or(0);
            assert_eq!(count, outcome, "{reason} of seed {seed}");
            if count > 0 {
                seen.insert(reason);
            }
        }
        assert_eq!(client.rejected(), outcomes.values().sum::<u64>(), "of seed {seed}");
        assert_eq!(client.admitted(), Some(issued), "of seed {seed}");
        // A dry run rejects none, and counts each issue once: as admitted, or as a rejection.
        assert_eq!(shadow.admitted().unwrap() + shadow.rejected(), issued, "of seed {seed}");
        assert!(shadow.rejected() > 0 && shadow.admitted() > Some(0));
        assert_eq!((client.queued(), client.queue_age()), (0, None));
        // Each count of the list is that of a client, which is in reach of no minute here.
        let listed: u64 = client.top().iter().map(|key| key.rejected_at_least).sum();
        assert!(client.top().len() <= 3 && listed > 0 && listed <= client.rejected());
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
}

#[cfg(all(feature = "metrics", feature = "tracing"))]
#[tokio::test(start_paused = true)]
async fn k19_metrics_and_traces_of_a_rule_are_its_counts() {
    use super::{recorded::TestRecorder, traced::Trace};

    let (recorder, trace) = (TestRecorder::new(), Trace::start());
    let _guard = recorder.install();
    let ([client, shadow], ..) = random_schedule(1).await;
    let limits: Limits = [client.clone(), shadow.clone()].into_iter().collect();
    limits.record_metrics();
    let recorded = recorder.read();
    let events = trace.take();
    for (handle, metric, message) in [
        (&client, "requests_rejected_total", "rejected"),
        (&shadow, "dry_run_rejections_total", "would be rejected"),
    ] {
        let snapshot = handle.snapshot();
        let name = &*snapshot.name;
        let labels = format!("limiter={name:?},kind=\"rule\"");
        for (reason, count) in by_reason(snapshot.rejected) {
            let key = format!("floodgate_{metric}{{{labels},reason={reason:?}}}");
            assert_eq!(recorded.counter(&key), count, "{key}");
            let is = |field: &str, value: &str, event: &&super::traced::Traced| {
                event.field(field) == Some(&format!("{value:?}"))
            };
            let events = events.iter().filter(|event| event.message() == message);
            let events = events.filter(|it| is("limiter", name, it) && is("reason", reason, it));
            assert_eq!(events.count() as u64, count, "{reason} of {name}");
        }
        let admitted = format!("floodgate_requests_admitted_total{{{labels}}}");
        assert_eq!(Some(recorded.counter(&admitted)), snapshot.admitted);
    }
    // Nothing of a request, and no event of an admitted one.
    let known = ["limiter", "kind", "reason", "retry_after", "message"];
    for event in &events {
        assert_eq!(event.fields().find(|field| !known.contains(field)), None);
    }
    assert_eq!(events.len() as u64, client.rejected() + shadow.rejected());
}

#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn k19_labels_of_a_rule_are_its_name_the_kind_and_the_reason() {
    use super::recorded::TestRecorder;

    let recorder = TestRecorder::new();
    let _guard = recorder.install();
    let layer = KeyedLimitLayer::new((
        Rule::new("client", Client).at_most(2, HOUR).max_keys(8).track_top(5),
        Rule::new("new plan", Client).at_most(1, HOUR).dry_run().count_admitted(),
    ));
    let key = |metric: &str, name: &str| match metric.split_once('/') {
        Some((metric, reason)) => {
            format!("floodgate_{metric}{{limiter={name:?},kind=\"rule\",reason={reason:?}}}")
        }
        None => format!("floodgate_{metric}{{limiter={name:?},kind=\"rule\"}}"),
    };
    let reasons = by_reason(RuleRejectedCounts::default()).map(|(reason, _)| reason);
    let mut expected: Vec<String> = ["client", "new plan"]
        .into_iter()
        .zip(["requests_rejected_total", "dry_run_rejections_total"])
        .flat_map(|(name, metric)| reasons.map(|reason| key(&format!("{metric}/{reason}"), name)))
        .collect();
    expected.sort();
    // Each has a value before its first event.
    assert_eq!(recorder.read().keys(), expected);

    for client in 0..1_000 {
        let _ = layer.layer(echo()).oneshot(client).await;
    }
    let limits = Limits::new();
    limits.add(layer.handle("client"));
    limits.add(layer.handle("new plan"));
    limits.record_metrics();
    let gauges = [
        "live_keys",
        "max_keys",
        "queue_age_seconds",
        "requests_overflowed_total",
        "requests_queued",
    ];
    for name in ["client", "new plan"] {
        expected.extend(gauges.map(|gauge| key(gauge, name)));
    }
    expected.push(key("requests_admitted_total", "new plan"));
    expected.extend((1..=5).map(|rank| of_rank("client", rank)));
    expected.sort();
    let recorded = recorder.read();
    assert_eq!(recorded.keys(), expected);
    let handle = layer.handle("client");
    assert!((1..=16).contains(&handle.live_keys()));
    assert_eq!(recorded.gauge(&key("live_keys", "client")), handle.live_keys() as f64);
    assert_eq!(recorded.gauge(&key("max_keys", "client")), 8.0);
    let overflowed = recorded.counter(&key("requests_overflowed_total", "client"));
    assert!(overflowed > 900 && overflowed == handle.overflowed());
}

#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn k19_rejection_is_traced_in_the_span_of_its_caller() {
    use super::traced::Trace;
    use tracing::{Instrument, Level, info_span};

    let trace = Trace::start();
    let rule = Rule::new("client", Client).at_most(1, secs(10));
    let layer = KeyedLimitLayer::new(rule);
    let waiting = layer.clone().wait(secs(30)).max_queue_per_key(1).layer(echo());
    layer.layer(echo()).oneshot(1).await.unwrap();
    layer.layer(echo()).oneshot(1).instrument(info_span!("at once")).await.unwrap_err();
    let waits = tokio::spawn(waiting.clone().oneshot(1));
    yield_now().await;
    waiting.clone().oneshot(1).instrument(info_span!("full")).await.unwrap_err();
    waits.await.unwrap().unwrap();
    let [one, two] = trace.take().try_into().expect("two events");
    assert_eq!((one.level, one.message(), one.span), (Level::INFO, "rejected", Some("at once")));
    assert_eq!((two.level, two.message(), two.span), (Level::INFO, "rejected", Some("full")));
    for (event, reason) in [(&one, "\"limit_reached\""), (&two, "\"queue_full\"")] {
        assert_eq!(event.target, "tower_floodgate");
        assert_eq!(event.field("limiter"), Some("\"client\""));
        assert_eq!(event.field("kind"), Some("\"rule\""));
        assert_eq!(event.field("reason"), Some(reason));
        let after: f64 = event.field("retry_after").unwrap().parse().unwrap();
        assert!((10.0..21.5).contains(&after), "{after}");
    }
}

#[tokio::test(start_paused = true)]
async fn k19_snapshot_has_the_settings_and_the_state_of_a_rule() {
    let plans = [
        Plan::new().at_most(1, secs(1)).at_most(30, HOUR).max_in_flight(2),
        Plan::new().at_most(10, secs(1)).at_most(300, HOUR).max_in_flight(4),
    ];
    let rule = Rule::new("client", Client).plans(plans, |_: &u32| 0).max_keys(50);
    let layer = KeyedLimitLayer::new(rule);
    let waiting = layer.clone().wait(MINUTE).layer(echo());
    waiting.clone().oneshot(1).await.unwrap();
    let mut waits = waiting.clone().oneshot(1);
    assert!(poll!(&mut waits).is_pending());
    advance(ms(700)).await;
    let mut other = waiting.oneshot(2);
    assert!(poll!(&mut other).is_ready());

    let snapshot = layer.handle("client").snapshot();
    assert_eq!((&*snapshot.name, snapshot.is_dry_run), ("client", false));
    let plans: Vec<(Vec<String>, _)> = (snapshot.plans.iter())
        .map(|plan| (plan.quotas.iter().map(ToString::to_string).collect(), plan.max_in_flight))
        .collect();
    let texts = |quotas: [&str; 2]| quotas.map(str::to_owned).to_vec();
    assert_eq!(plans, [(texts(["1/1s", "30/1h"]), Some(2)), (texts(["10/1s", "300/1h"]), Some(4))]);
    assert_eq!((snapshot.live_keys, snapshot.max_keys, snapshot.overflowed), (2, 50, 0));
    assert_eq!((snapshot.queued, snapshot.queue_age), (1, Some(ms(700))));
    // Neither is asked for.
    assert_eq!((snapshot.admitted, &snapshot.top[..]), (None, &[][..]));
    assert_eq!(snapshot.rejected, RuleRejectedCounts::default());
    let of_set = Limits::from_iter([layer.handle("client")]).snapshots();
    assert_eq!(of_set, [Snapshot::from(snapshot)]);
    assert_eq!((of_set[0].kind(), of_set[0].name().map(|name| &**name)), ("rule", Some("client")));
}

#[tokio::test(start_paused = true)]
async fn k19_request_that_leaves_before_it_learns_of_its_rejection_is_not_counted() {
    let rule = Rule::new("client", Client).max_in_flight(1).count_admitted();
    let layer = KeyedLimitLayer::new(rule);
    let hang = service_fn(|_: u32| std::future::pending::<Result<(), Infallible>>());
    let waiting = layer.clone().wait(secs(1)).layer(hang);
    let mut first = waiting.clone().oneshot(1);
    assert!(poll!(&mut first).is_pending());
    let mut kept = waiting.clone().oneshot(1);
    let mut dropped = waiting.oneshot(1);
    assert!(poll!(&mut kept).is_pending() && poll!(&mut dropped).is_pending());
    sleep(secs(2)).await;
    let handle = layer.handle("client");
    assert_eq!((handle.queued(), handle.rejected()), (0, 0));
    drop(dropped);
    assert!(kept.await.is_err());
    assert_eq!(handle.rejected_by_reason().wait_timeout, 1);
    assert_eq!((handle.rejected(), handle.admitted()), (1, Some(1)));
}

// --- The keys that are rejected most.

/// Sends requests of a client that reject at a limit of one in an hour.
fn exhaust(service: &mut impl Service<u32>, client: u32, times: u64) {
    (0..times).for_each(|_| call(service, client));
}

fn labels(top: &[TopKey]) -> Vec<Option<&str>> {
    top.iter().map(|key| key.label.as_deref()).collect()
}

fn bounds(top: &[TopKey]) -> Vec<(u64, u64)> {
    top.iter().map(|key| (key.rejected_at_least, key.rejected_at_most)).collect()
}

#[tokio::test(start_paused = true)]
async fn k20_keys_are_listed_by_their_rejections_with_what_they_use() {
    let rule = Rule::new("client", Client)
        .at_most(3, secs(10))
        .at_most(1_000, HOUR)
        .max_keys(100)
        .without_key(WithoutKey::Reject)
        .track_top(3);
    let layer = KeyedLimitLayer::new(rule);
    let mut service = layer.clone().reject_with(|_| u32::MAX).layer(Free);
    for (client, times) in [(1, 13), (2, 33), (SECRET, 23), (3, 3), (4, 5), (NO_KEY, 50)] {
        exhaust(&mut service, client, times);
    }
    let top = layer.handle("client").top();
    // Of a secret, and of requests without a key, nothing is shown.
    assert_eq!(labels(&top), [Some("client 2"), None, Some("client 1")]);
    assert_eq!(bounds(&top), [(30, 30), (20, 20), (10, 10)]);
    for key in &top {
        assert_eq!((key.used, key.limit, key.window), (3, 3, Some(secs(10))));
        assert!(!key.is_shared);
    }
    let ids = |top: &[TopKey]| top.iter().map(|key| key.id).collect::<Vec<_>>();
    assert_eq!(ids(&layer.handle("client").top()), ids(&top));

    // What is used is that of now; what was rejected counts half after a minute.
    advance(MINUTE).await;
    let later = layer.handle("client").top();
    assert_eq!(bounds(&later), [(15, 15), (10, 10), (5, 5)]);
    assert_eq!((later[0].used, later[0].limit), (3, 1_000));
    advance(MINUTE * 2).await;
    assert_eq!(bounds(&layer.handle("client").top()), [(3, 4), (2, 3), (1, 2)]);
    advance(HOUR * 10_000).await;
    assert_eq!(layer.handle("client").top(), []);
}

/// A rank that has lost its key is 0, and rules of one name have one list.
#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn k20_metrics_have_the_rejections_of_each_rank() {
    use super::recorded::TestRecorder;

    let recorder = TestRecorder::new();
    let _guard = recorder.install();
    let layer = |keys| {
        let rule = Rule::new("client", Client).at_most(1, secs(10)).max_keys(100);
        KeyedLimitLayer::new(rule.track_top(keys))
    };
    let (one, other) = (layer(2), layer(3));
    let mut first = one.clone().reject_with(|_| u32::MAX).layer(Free);
    let mut second = other.clone().reject_with(|_| u32::MAX).layer(Free);
    let limits = Limits::from_iter([one.handle("client"), other.handle("client")]);
    let recorded = || {
        limits.record_metrics();
        let recorded = recorder.read();
        let ranks: Vec<f64> =
            (1..=3).map(|rank| recorded.gauge(&of_rank("client", rank))).collect();
        assert!(!recorded.keys().contains(&&*of_rank("client", 4)));
        ranks
    };
    assert_eq!(recorded(), [0.0, 0.0, 0.0]);
    exhaust(&mut first, 1, 1 + 20);
    exhaust(&mut first, 2, 1 + 8);
    exhaust(&mut second, 3, 1 + 40);
    exhaust(&mut second, 4, 1 + 4);
    assert_eq!(recorded(), [40.0, 20.0, 8.0]);
    advance(MINUTE * 5).await;
    assert_eq!(recorded(), [1.0, 0.0, 0.0]);
}

#[tokio::test(start_paused = true)]
async fn k20_label_is_read_at_the_second_rejection_and_bounded() {
    struct Long(Arc<AtomicU64>);
    impl Key<u32> for Long {
        fn hash_key<H: Hasher>(&self, client: &u32, state: &mut H) -> bool {
            client.hash(state);
            true
        }
        fn label(&self, _: &u32) -> Option<String> {
            self.0.fetch_add(1, Relaxed);
            Some("é".repeat(1_000))
        }
    }
    let read = Arc::new(AtomicU64::new(0));
    let rule = Rule::new("client", Long(Arc::clone(&read))).at_most(1, HOUR).track_top(1);
    let layer = KeyedLimitLayer::new(rule);
    let mut service = layer.clone().reject_with(|_| u32::MAX).layer(Free);
    exhaust(&mut service, 1, 2);
    assert_eq!((labels(&layer.handle("client").top()), read.load(Relaxed)), (vec![None], 0));
    exhaust(&mut service, 1, 100);
    assert_eq!(read.load(Relaxed), 1);
    let label = layer.handle("client").top().remove(0).label.unwrap();
    assert_eq!(label, format!("{}…", "é".repeat(100)));
}

#[tokio::test(start_paused = true)]
async fn k20_panic_of_a_label_loses_no_permit_and_no_later_rejection() {
    struct Panics;
    impl Key<u32> for Panics {
        fn hash_key<H: Hasher>(&self, client: &u32, state: &mut H) -> bool {
            client.hash(state);
            true
        }
        fn label(&self, _: &u32) -> Option<String> {
            panic!("on purpose")
        }
    }
    let shadow = Rule::new("shadow", Panics).at_most(1, HOUR).dry_run().track_top(2);
    let layer = KeyedLimitLayer::new((Rule::global("all").max_in_flight(1), shadow));
    let at_once = layer.layer(echo());
    for _ in 0..2 {
        at_once.clone().oneshot(1).await.unwrap();
    }
    let waiting = layer.clone().wait(secs(1)).layer(echo());
    for service in [false, true, false, true] {
        let (at_once, waiting) = (at_once.clone(), waiting.clone());
        let task = tokio::spawn(async move {
            if service { drop(waiting.oneshot(1).await) } else { drop(at_once.oneshot(1).await) }
        });
        assert!(task.await.unwrap_err().is_panic());
    }
    assert_eq!(layer.handle("all").snapshot().queued, 0);
    // The request in flight of the panics is released, or this one would be rejected.
    at_once.oneshot(2).await.unwrap();
    assert_eq!(bounds(&layer.handle("shadow").top()), [(5, 5)]);
}

#[test]
fn k20_flood_of_keys_takes_no_memory_and_hides_no_attacker() {
    let rule = Rule::new("client", Client).at_most(1, HOUR).max_keys(10).track_top(5);
    let layer = KeyedLimitLayer::new(rule);
    let mut service = layer.clone().reject_with(|_| u32::MAX).layer(Free);
    const FLOOD: u32 = 100_000;
    // The counters have keys, and the attackers their labels.
    (0..1_000).for_each(|client| call(&mut service, client));
    (FLOOD..FLOOD + 2).for_each(|attacker| exhaust(&mut service, attacker, 3));
    let before = layer.handle("client").rejected();
    let counted = measure(|| {
        for client in 1_000..FLOOD {
            call(&mut service, client);
            if client % 10 == 0 {
                (FLOOD..FLOOD + 2).for_each(|attacker| call(&mut service, attacker));
            }
        }
    });
    let sent = u64::from(FLOOD - 1_000) * 12 / 10;
    assert_eq!(layer.handle("client").rejected(), before + sent);
    assert_eq!((counted.count_total, counted.bytes_max), (0, 0));
    let top = layer.handle("client").top();
    assert!(labels(&top).starts_with(&[Some("client 100000"), Some("client 100001")]), "{top:?}");
    let truth = u64::from(FLOOD - 1_000) / 10 + 3;
    for (at_least, at_most) in &bounds(&top)[..2] {
        // The first may have taken a slot or be in an overflow that has a permit left.
        assert!((at_least - 1..=*at_most).contains(&truth), "{at_least} to {at_most}, of {truth}");
        assert!(at_most - at_least <= (before + sent) / 40, "{at_least} to {at_most}");
    }
}

#[tokio::test(start_paused = true)]
async fn k20_bounds_hold_for_any_traffic() {
    for seed in 0..30 {
        let mut random = Rng::with_seed(seed);
        let keys = random.u32(2..400);
        let listed = random.u32(1..6);
        let rule = Rule::new("client", Client).max_in_flight(1).track_top(listed);
        let layer = KeyedLimitLayer::new(rule);
        // One request of each client stays in flight, so each further one is rejected.
        let hang = service_fn(|_: u32| std::future::pending::<Result<u32, Infallible>>());
        let mut service = layer.clone().reject_with(|_| 0).layer(hang);
        let flying: Vec<_> = (0..keys).map(|client| service.call(client)).collect();
        let mut truth = vec![0.0; keys as usize];
        for _ in 0..random.u32(1..8) {
            for _ in 0..random.u32(0..4_000) {
                // The smaller, the more often.
                let client = random.u32(..keys) % random.u32(1..=keys);
                drop(service.call(client));
                truth[client as usize] += 1.0;
            }
            check(&layer.handle("client").top(), &truth, listed, seed);
            advance(MINUTE).await;
            truth.iter_mut().for_each(|count| *count /= 2.0);
            check(&layer.handle("client").top(), &truth, listed, seed);
        }
        drop(flying);
    }
}

/// Asserts that the bounds hold, that they are as near as promised, and that the list is sorted.
fn check(top: &[TopKey], truth: &[f64], listed: u32, seed: u64) {
    assert!(top.len() <= listed as usize);
    assert!(top.is_sorted_by_key(|key| std::cmp::Reverse(key.rejected_at_least)), "{top:?}");
    let apart = truth.iter().sum::<f64>() / f64::from(8 * listed) + 3.0;
    for key in top {
        let (least, most) = (key.rejected_at_least as f64, key.rejected_at_most as f64);
        assert!(most - least <= apart, "{key:?}, {apart} of seed {seed}");
        assert_eq!((key.used, key.limit, key.window), (1, 1, None));
        let Some(label) = &key.label else { continue }; // rejected once
        let client: usize = label.strip_prefix("client ").unwrap().parse().unwrap();
        assert!(least <= truth[client], "{key:?}, {} of seed {seed}", truth[client]);
        assert!(most >= truth[client], "{key:?}, {} of seed {seed}", truth[client]);
    }
    // A key that is rejected more often than that, and than what is listed, is listed.
    if let Some(last) = top.get(listed as usize - 1) {
        let bound = last.rejected_at_most as f64 + apart;
        for (client, count) in truth.iter().enumerate().filter(|(_, count)| **count > bound) {
            let label = format!("client {client}");
            let is_listed = top.iter().any(|key| key.label.as_ref() == Some(&label));
            assert!(is_listed, "{label}, {count} above {bound} of seed {seed}, in {top:?}");
        }
    }
}
