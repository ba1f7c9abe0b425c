//! Settings of keyed limits in files.

use std::{collections::BTreeMap, fmt::Debug};

use http::Request as Message;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_floodgate::{
    Quota, Quotas, Rejected,
    config::{
        ApplyError, ClientIpConfig, ClientIpHeader, KeyedQueueConfig, PlanConfig, RuleConfig,
    },
    keyed::{Everyone, Key, KeyedLimitLayer, OnePermit, PeerAddr, Rule, WithoutKey},
};

use crate::{
    hold::{hold, name_of},
    settings_files::{error_of, is_read_back},
    support::{ms, secs},
};

/// The settings of an application.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    clients: ClientIpConfig,
    client: RuleConfig,
    tenant: RuleConfig,
    all: RuleConfig,
    queue: KeyedQueueConfig,
}

const FILE: &str = r#"
[clients]
networks = ["10.0.0.0/8", "2001:db8::/32"]
header = "forwarded"
ipv6_prefix = 56

[client]
quotas = ["10/s", "1000/h"]
max_in_flight = 4
max_keys = 50_000
reject_when_full = true
without_key = "reject"
penalty = "15m"
dry_run = true
count_admitted = true
track_top = 10

[tenant]
quotas = "2/h"
max_in_flight = 2

[tenant.plans]
paid = "5/h"
partner = { quotas = "7/h", max_in_flight = 3 }
trial = { max_in_flight = 1 }

[all]
quotas = "5000/s"

[queue]
max_wait = "1s 500ms"
max_queue_per_key = 20
"#;

fn quotas(text: &str) -> Quotas {
    text.parse().unwrap()
}

fn settings() -> Settings {
    let mut clients = ClientIpConfig::new(["10.0.0.0/8", "2001:db8::/32"]);
    (clients.header, clients.ipv6_prefix) = (ClientIpHeader::Forwarded, 56);
    let mut client = RuleConfig::new(quotas("10/s, 1000/h"));
    (client.max_in_flight, client.max_keys) = (Some(4), 50_000);
    (client.reject_when_full, client.dry_run) = (true, true);
    client.without_key = WithoutKey::Reject;
    (client.penalty, client.count_admitted, client.track_top) = (Some(secs(900)), true, Some(10));
    let mut tenant = RuleConfig::new(quotas("2/h"));
    tenant.max_in_flight = Some(2);
    let mut trial = PlanConfig::new(quotas("1/s"));
    (trial.quotas, trial.max_in_flight) = (None, Some(1));
    let mut partner = PlanConfig::new(quotas("7/h"));
    partner.max_in_flight = Some(3);
    let plans = [("trial", trial), ("paid", PlanConfig::new(quotas("5/h"))), ("partner", partner)];
    tenant.plans = plans.map(|(name, plan)| (name.to_owned(), plan)).into();
    let all = RuleConfig::new(quotas("5000/s"));
    let mut queue = KeyedQueueConfig::new(ms(1500));
    queue.max_queue_per_key = 20;
    Settings { clients, client, tenant, all, queue }
}

#[test]
fn s1_rules_of_a_file_are_read_and_written_back() {
    let read: Settings = toml::from_str(FILE).unwrap();
    assert_eq!(read, settings());
    is_read_back(&read).unwrap();
    assert_eq!(
        serde_json::to_string(&read.tenant.plans).unwrap(),
        r#"{"paid":"5/1h","partner":{"quotas":"7/1h","max_in_flight":3},"trial":{"max_in_flight":1}}"#
    );
    let plans = |text: &str| serde_json::from_str::<BTreeMap<String, PlanConfig>>(text).unwrap();
    assert_eq!(
        plans(r#"{"a": ["5/s", {"limit": 7, "window": "1m"}], "b": {"quotas": "5/s; 7/m"}}"#),
        plans(r#"{"a": "5/s; 7/m", "b": ["5/s", "7/m"]}"#)
    );
}

#[test]
fn s1_absent_fields_of_a_rule_have_their_defaults() {
    let rule: RuleConfig = toml::from_str("quotas = '5/s'").unwrap();
    assert_eq!(rule, RuleConfig::new("5/s".parse::<Quota>().unwrap()));
    let text = r#"{"quotas": null, "max_in_flight": 3}"#;
    let rule: RuleConfig = serde_json::from_str(text).unwrap();
    assert_eq!((rule.quotas, rule.max_in_flight, rule.max_keys), (None, Some(3), 100_000));
    let queue: KeyedQueueConfig = toml::from_str("max_wait = '1s'").unwrap();
    assert_eq!((queue.max_queue_per_key, queue.max_queue), (100, 10_000));
    let clients: ClientIpConfig = toml::from_str("header = 'X-Forwarded-For'").unwrap();
    assert_eq!(clients, ClientIpConfig::new::<&str>([]));
}

/// Limits whose counts fit into a word: two windows, and requests in flight.
fn rules() -> impl Strategy<Value = RuleConfig> {
    let quota = |limit: u32, window: u64| Quota::new(limit, ms(window));
    let limits = (1..1_u32 << 9, 1..1_u32 << 15, proptest::option::of(1..1_u32 << 8));
    let plan = (limits, any::<bool>());
    let plans = proptest::collection::btree_map("[a-z \"=é]{0,5}", plan, 0..=7);
    let others = (any::<bool>(), any::<bool>(), 1..=1_u32 << 28, 0..3_usize);
    let observed = (proptest::option::of(1..u64::from(u32::MAX)), any::<bool>(), 0..=100_u32);
    (plans, 1..u64::from(u32::MAX), 1..u64::from(u32::MAX), (others, observed), 1..1_u32 << 8)
        .prop_map(move |(plans, short, long, (others, observed), in_flight)| {
            let (reject, dry_run, max_keys, without_key) = others;
            // A longer window has no smaller limit, in either order.
            let of = |one: u32, other: u32| {
                let (less, more) = (one.min(other), one.max(other));
                let [first, second] = if short < long { [less, more] } else { [more, less] };
                quotas(&format!("{};{}", quota(first, short), quota(second, long)))
            };
            let mut rule = RuleConfig::new(of(1, 1));
            rule.max_in_flight = Some(in_flight);
            rule.plans = (plans.into_iter())
                .map(|(name, ((first, second, in_flight), has_quotas))| {
                    let mut plan = PlanConfig::new(of(first, second));
                    plan.max_in_flight = in_flight;
                    if !has_quotas {
                        plan.quotas = None;
                    }
                    (name, plan)
                })
                .collect();
            (rule.reject_when_full, rule.dry_run, rule.max_keys) = (reject, dry_run, max_keys);
            rule.penalty = observed.0.map(ms);
            (rule.count_admitted, rule.track_top) =
                (observed.1, Some(observed.2).filter(|keys| *keys > 0));
            rule.without_key =
                [WithoutKey::Share, WithoutKey::Exempt, WithoutKey::Reject][without_key];
            rule
        })
}

fn key(request: &Option<u32>) -> Option<u32> {
    *request
}

fn no_plan(_: &Option<u32>) -> Option<&str> {
    None
}

#[test]
fn s1_random_rules_are_written_and_read_back_the_same() {
    let queues = (0..u64::MAX, any::<u32>(), any::<u32>());
    let test = |(mut rule, (wait, per_key, in_all)): (RuleConfig, _)| {
        is_read_back(&rule)?;
        let mut queue = KeyedQueueConfig::new(std::time::Duration::from_nanos(wait));
        (queue.max_queue_per_key, queue.max_queue) = (per_key, in_all);
        is_read_back(&queue)?;
        // What is read can be made, and is the running rule then.
        rule.max_keys = rule.max_keys.min(100);
        let made = rule.try_rule_with_plans("client", key, no_plan);
        let layer =
            KeyedLimitLayer::try_new(made.map_err(|it| TestCaseError::fail(it.to_string()))?);
        let handle = layer.map_err(|it| TestCaseError::fail(it.to_string()))?.handle("client");
        prop_assert_eq!(rule.check(&handle), Ok(()));
        Ok(2)
    };
    hold(file!(), name_of(&test), (rules(), queues), test);
}

/// The text of a plan may be that of quotas only.
#[test]
fn s1_any_text_is_a_plan_exactly_if_it_is_quotas() {
    let part = proptest::sample::select(vec!["1", "20", "/", "s", " per ", "min", ";", "é", "\0"]);
    let texts = prop_oneof![
        any::<String>(),
        proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat()),
    ];
    let test = |text: String| {
        let json = serde_json::to_string(&text).unwrap();
        let plan = serde_json::from_str::<PlanConfig>(&json).ok();
        prop_assert_eq!(plan, text.parse::<Quotas>().ok().map(PlanConfig::new));
        Ok(1)
    };
    hold(file!(), name_of(&test), texts, test);
}

/// Lines of a file, in any order and number.
#[test]
fn s3_any_text_is_read_as_rules_or_reported() {
    let part = proptest::sample::select(vec![
        "quotas = '5/s'\n",
        "quotas = ['5/s', '9/h']\n",
        "quotas = []\n",
        "quotas = '2147483647/s'\n",
        "max_in_flight = 3\n",
        "max_in_flight = 0\n",
        "max_keys = 268435456\n",
        "max_keys = -1\n",
        "without_key = 'exempt'\n",
        "without_key = 'none'\n",
        "dry_run = true\n",
        "networks = ['10.0.0.0/8', '::/1']\n",
        "networks = [1]\n",
        "ipv6_prefix = 300\n",
        "header = 'forwarded'\n",
        "max_wait = '1s'\n",
        "plans = { a = '7/s', b = { quotas = '8/s' } }\n",
        "plans = { a = '7/m' }\n",
        "plans = { '' = { max_in_flight = 9 } }\n",
        "plans = 5\n",
        "[plans]\n",
        "a = '9/s'\n",
        "é",
        "=",
        "'",
        "\n",
    ]);
    let texts = prop_oneof![
        1 => any::<String>(),
        8 => proptest::collection::vec(part, 0..6).prop_map(|parts| parts.concat()),
        1 => Just("quotas = '5/s'\npenalty = '1h'\n".to_owned()),
    ];
    let read = std::cell::Cell::new(0);
    let test = |text: String| {
        let _ =
            (toml::from_str::<ClientIpConfig>(&text), serde_json::from_str::<RuleConfig>(&text));
        let _ = toml::from_str::<KeyedQueueConfig>(&text);
        if let Ok(rule) = toml::from_str::<RuleConfig>(&text) {
            read.set(read.get() + 1);
            is_read_back(&rule)?;
            prop_assert!(rule.try_rule_with_plans("client", key, |_: &Option<u32>| None).is_ok());
        }
        Ok(1)
    };
    hold(file!(), name_of(&test), texts, test);
    assert!(read.get() > 0, "no text was valid");
}

#[test]
fn s3_wrong_field_of_a_rule_is_reported_with_its_name_its_value_and_the_remedy() {
    let rule = error_of::<RuleConfig>;
    let with = |rest: &str| rule(&format!("quotas = '5/s; 9/h'\n{rest}"));
    let reports = [
        (rule(""), "quotas is absent: it must be present, or max_in_flight"),
        (
            rule("plans = { a = '5/s' }"),
            "quotas is absent: it must be present, or max_in_flight: the limits of requests \
             without a plan",
        ),
        (
            rule("quotas = '0/s'"),
            r#"invalid quota "0/s": expected a limit between 1 and 2147483647, found "0" at byte 0"#,
        ),
        (
            rule("quotas = '2147483647/s'"),
            r#"quotas is "2147483647/1s": it must be at most 1073741822 requests in a window"#,
        ),
        (
            rule("quotas = '2147483646/s; 2147483647/h'"),
            "quotas is \"2147483646/1s; 2147483647/1h\": it must be a list whose counts, with \
             max_in_flight and those of all plans, fit into a word, which has 65 bits too few: make \
             them rules of their own, by the same key",
        ),
        (
            rule("quotas = '9/h; 10/s'"),
            "quotas is \"9/1h; 10/1s\": it must be a list in which a longer window has no smaller \
             limit: 9/1h is reached before 10/1s",
        ),
        (
            with("plans = { a = '8/s; 7/h' }"),
            "quotas is \"8/1s; 7/1h\": it must be a list in which a longer window has no smaller \
             limit: 7/1h is reached before 8/1s",
        ),
        (
            with("max_in_flight = 0"),
            "max_in_flight is 0: it must be a whole number between 1 and 2147483647",
        ),
        (
            with("penalty = '0s'"),
            "penalty is 0ns: it must be longer than zero and at most 100 years",
        ),
        (with("track_top = 0"), "track_top is 0: it must be a whole number between 1 and 100"),
        (with("max_keys = 0"), "max_keys is 0: it must be a whole number between 1 and 268435456"),
        (
            with("without_key = 'none'"),
            "unknown variant `none`, expected one of `share`, `exempt`, `reject`",
        ),
        (with("dry_run = 'no'"), "invalid type: string \"no\", expected a boolean"),
        (
            with("plans = { a = '5/h; 9/s' }"),
            "quotas is \"5/1h; 9/1s\": it must be quotas by 1s and 1h in this order in plan \"a\"",
        ),
        (
            with("plans = { a = { max_in_flight = 5 } }"),
            "max_in_flight is absent: it must be present, because it is in plan \"a\"",
        ),
        (
            with("plans = { a = 5 }"),
            "invalid type: integer `5`, expected a plan: quotas, such as \"10/1s; 100/1m\", a \
             sequence of them, or a map of quotas and max_in_flight",
        ),
        (
            with("plans = { a = { quota = '5/s' } }"),
            "unknown field `quota`, expected `quotas` or `max_in_flight`",
        ),
        (
            with(
                &("abcdefgh".chars()).map(|of| format!("plans.{of} = {{}}\n")).collect::<String>(),
            ),
            "plans is 8: it must be a map of at most 7 plans",
        ),
        (error_of::<KeyedQueueConfig>(""), "missing field `max_wait`"),
        (
            error_of::<KeyedQueueConfig>("max_wait = 5"),
            "max_wait is 5: it must be text with a unit, such as \"30s\" or \"250ms\"",
        ),
        (
            error_of::<ClientIpConfig>("ipv6_prefix = 24"),
            "ipv6_prefix is 24: it must be a whole number between 32 and 128",
        ),
        (
            error_of::<ClientIpConfig>("header = 'x-real-ip'"),
            "unknown variant `x-real-ip`, expected one of `X-Forwarded-For`, `x-forwarded-for`, \
             `Forwarded`, `forwarded`",
        ),
        (
            error_of::<ClientIpConfig>("networks = ['0.0.0.0/1', '128.0.0.0/1']"),
            "networks is [\"0.0.0.0/1\", \"128.0.0.0/1\"]: it must be the networks of the proxies \
             alone: if all addresses were trusted, each client could choose its own",
        ),
    ];
    for (report, expected) in reports {
        assert_eq!(report, expected);
    }
    let unknown = with("quota = '5/s'");
    assert!(unknown.starts_with("unknown field `quota`, expected one of `quotas`"), "{unknown}");
}

/// The format adds the place.
#[test]
fn s3_wrong_field_of_a_rule_is_reported_with_its_line() {
    let error = |of: &str, by: &str| {
        assert!(FILE.contains(of), "{of}");
        toml::from_str::<Settings>(&FILE.replace(of, by)).unwrap_err().to_string()
    };
    let network = error("2001:db8::/32", "192.168.1.1/16");
    assert!(network.contains("line 3, column 12"), "{network}");
    assert!(network.contains("it must be 192.168.0.0/16 for the network, or"), "{network}");
    let keys = error("50_000", "0");
    assert!(keys.contains("line 10") && keys.contains("max_keys is 0"), "{keys}");
    // Settings that do not fit together have the place of their table.
    let windows = error("\"5/h\"", "\"5/m\"");
    assert!(windows.contains("quotas is \"5/1m\": it must be quotas by 1h"), "{windows}");
    assert!(windows.contains("line 18, column 1"), "{windows}");
}

fn rejected<T: Debug>(result: Result<T, BoxError>) -> Rejected {
    Rejected::find(&*result.expect_err("rejected")).expect("by the layer").clone()
}

/// A request with a plan by name.
#[derive(Clone, Debug)]
struct Order {
    tenant: u32,
    plan: Option<&'static str>,
}

#[tokio::test(start_paused = true)]
async fn k9_plan_of_a_file_is_chosen_by_its_name() {
    let Settings { tenant, .. } = toml::from_str(FILE).unwrap();
    let rule = tenant.try_rule_with_plans(
        "tenant",
        |order: &Order| Some(order.tenant),
        |order: &Order| order.plan,
    );
    let layer = KeyedLimitLayer::try_new(rule.unwrap()).unwrap();
    let service = layer.layer(service_fn(|order: Order| async move { Ok::<_, BoxError>(order) }));
    let plans = [(None, 2), (Some("paid"), 5), (Some("partner"), 7), (Some("trial"), 2)];
    let unknown = [(Some("gold"), 2), (Some(""), 2)];
    for (tenant, (plan, limit)) in (0_u32..).zip(plans.into_iter().chain(unknown)) {
        for _ in 0..limit {
            service.clone().oneshot(Order { tenant, plan }).await.unwrap();
        }
        rejected(service.clone().oneshot(Order { tenant, plan }).await);
    }
    let handle = layer.handle("tenant");
    assert_eq!(["paid", "partner", "trial", "gold"].map(|of| tenant.plan_index(of)), [1, 2, 3, 0]);
    assert_eq!(handle.remaining_in(tenant.plan_index("partner"), 1_u32), 2); // 5 of 7 are used
}

#[tokio::test(start_paused = true)]
async fn s2_rules_of_a_file_make_layers_and_their_dry_run_ends_at_run_time() {
    let Settings { client, all, mut queue, .. } = toml::from_str(FILE).unwrap();
    let rules = || (client.try_rule("client", key).unwrap(), all.try_global("all").unwrap());
    let (made, global): (Rule<_, OnePermit>, Rule<Everyone>) = rules();
    let debug = format!("{made:?} {global:?}");
    let parts = ["max_keys: 50000", "when_full: Reject", "without_key: Reject", "dry_run: true"];
    let observed = ["penalty: Some(900s)", "counts_admitted: true", "top: 10"];
    for part in parts.into_iter().chain(observed).chain(["max_in_flight: Some(4)", "max_keys: 0"]) {
        assert!(debug.contains(part), "{part} is not in {debug}");
    }
    let layer = KeyedLimitLayer::try_new((made, global)).unwrap();
    let service = layer.layer(service_fn(|of: Option<u32>| async move { Ok::<_, BoxError>(of) }));
    let handle = layer.handle("client");
    for _ in 0..12 {
        service.clone().oneshot(Some(1)).await.unwrap();
    }
    assert_eq!((handle.rejected(), handle.is_dry_run()), (2, true));

    let mut changed = client.clone();
    changed.dry_run = false;
    changed.apply(&handle).unwrap();
    rejected(service.clone().oneshot(Some(1)).await);
    assert!(rejected(service.clone().oneshot(None).await).is_without_key());
    client.apply(&handle).unwrap();
    service.clone().oneshot(Some(1)).await.unwrap();
    all.apply(&layer.handle("all")).unwrap();

    // The bounds of the queue.
    changed.dry_run = true;
    (queue.max_wait, queue.max_queue) = (secs(9), 7);
    let debug = format!("{:?}", queue.layer(layer));
    for part in ["max_wait: 9s", "max_queue_per_key: 20", "max_queue: 7"] {
        assert!(debug.contains(part), "{part} is not in {debug}");
    }
}

/// What a running rule cannot change is an error, also of `check`, and nothing is changed.
#[test]
fn s2_other_settings_of_a_running_rule_do_not_change() {
    let Settings { client, tenant, all, .. } = toml::from_str(FILE).unwrap();
    let layer = KeyedLimitLayer::new((
        client.try_rule("client", key).unwrap(),
        tenant.try_rule_with_plans("tenant", key, no_plan).unwrap(),
        all.try_global("all").unwrap(),
    ));
    let reported = |config: &RuleConfig, rule: &str, change: &dyn Fn(&mut RuleConfig)| {
        let handle = layer.handle(rule);
        let mut changed = config.clone();
        changed.dry_run = !config.dry_run;
        change(&mut changed);
        let error = changed.check(&handle).unwrap_err();
        assert_eq!(changed.apply(&handle), Err(error.clone()));
        assert_eq!(handle.is_dry_run(), config.dry_run);
        assert!(matches!(error, ApplyError::Invalid(_)));
        error.to_string()
    };
    let that =
        |text: &str| format!("{text}, as that of the running rule: another one needs a new layer");
    let client = |change: &dyn Fn(&mut RuleConfig)| reported(&client, "client", change);
    assert_eq!(
        client(&|it| it.quotas = Some(quotas("20/s; 1000/h"))),
        that(r#"quotas is "20/1s; 1000/1h": it must be 10/1s; 1000/1h"#)
    );
    assert_eq!(
        client(&|it| it.max_in_flight = None),
        that("max_in_flight is absent: it must be 4")
    );
    assert_eq!(client(&|it| it.max_keys = 7), that("max_keys is 7: it must be 50000"));
    assert_eq!(
        client(&|it| it.reject_when_full = false),
        that("reject_when_full is false: it must be true")
    );
    assert_eq!(
        client(&|it| it.without_key = WithoutKey::Share),
        that("without_key is share: it must be reject")
    );
    assert_eq!(client(&|it| it.penalty = None), that("penalty is absent: it must be 15m"));
    assert_eq!(
        client(&|it| it.count_admitted = false),
        that("count_admitted is false: it must be true")
    );
    assert_eq!(client(&|it| it.track_top = Some(9)), that("track_top is 9: it must be 10"));
    assert_eq!(
        client(&|it| it.penalty = Some(secs(0))),
        "penalty is 0ns: it must be longer than zero and at most 100 years"
    );
    assert_eq!(
        client(&|it| it.track_top = Some(0)),
        "track_top is 0: it must be between 1 and 100"
    );
    assert_eq!(client(&|it| it.max_keys = 0), "max_keys is 0: it must be between 1 and 268435456");
    let tenant = |change: &dyn Fn(&mut RuleConfig)| reported(&tenant, "tenant", change);
    let names = r#"["paid", "partner", "trial"]"#;
    let plans = |new: &str| {
        let limits = "with the limits of the running rule: another one needs a new layer";
        format!("plans is {new}: it must be {names} {limits}")
    };
    assert_eq!(tenant(&|it| drop(it.plans.remove("trial"))), plans(r#"["paid", "partner"]"#));
    assert_eq!(
        tenant(&|it| it.plans.get_mut("paid").unwrap().max_in_flight = Some(9)),
        plans(names)
    );
    let renamed = tenant(&|it| {
        let trial = it.plans.remove("trial").unwrap();
        it.plans.insert("try".to_owned(), trial);
    });
    assert_eq!(renamed, plans(r#"["paid", "partner", "try"]"#));
    assert_eq!(
        reported(&all, "all", &|it| it.quotas = Some(quotas("1/s"))),
        that(r#"quotas is "1/1s": it must be 5000/1s"#)
    );
}

#[test]
fn c7_rule_of_a_file_with_plans_that_no_function_chooses_is_an_error() {
    let Settings { tenant, mut client, .. } = toml::from_str(FILE).unwrap();
    let expected = "plans is [\"paid\", \"partner\", \"trial\"]: it must be absent, because the \
                    program chooses none for its requests";
    assert_eq!(tenant.try_rule("tenant", key).unwrap_err().to_string(), expected);
    assert_eq!(tenant.try_global("tenant").unwrap_err().to_string(), expected);
    client.max_in_flight = Some(0);
    assert_eq!(client.try_rule("client", key).unwrap_err().setting(), "max_in_flight");
    (client.max_in_flight, client.quotas) = (None, None);
    assert_eq!(client.try_rule("client", key).unwrap_err().setting(), "quotas");
}

#[test]
fn k10_client_of_a_file_is_read_from_the_header_of_its_proxies() {
    let label = |config: &ClientIpConfig| {
        let peer: std::net::IpAddr = "10.0.0.1".parse().unwrap();
        let message = Message::builder()
            .extension(PeerAddr::from(peer))
            .header("forwarded", "for=\"[2001:db7:0:1234::1]\"")
            .header("x-forwarded-for", "203.0.113.7")
            .body(())
            .unwrap();
        config.try_key().unwrap().label(&message).unwrap()
    };
    let mut clients = settings().clients;
    assert_eq!(label(&clients), "2001:db7:0:1200::/56");
    clients.header = ClientIpHeader::XForwardedFor;
    assert_eq!(label(&clients), "203.0.113.7");
    clients.networks.clear();
    assert_eq!(label(&clients), "10.0.0.1");
    clients.networks.push("0.0.0.0/0".to_owned());
    assert_eq!(clients.try_key().unwrap_err().setting(), "networks");
    (clients.networks, clients.ipv6_prefix) = (Vec::new(), 24);
    assert_eq!(clients.try_key().unwrap_err().setting(), "ipv6_prefix");
}
