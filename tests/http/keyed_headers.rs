//! Headers that report the keys of a request.

use std::{collections::HashSet, convert::Infallible, future::ready, io, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::get,
};
use futures::FutureExt;
use proptest::{
    collection::vec, option, prop_assert, prop_assert_eq, strategy::Strategy,
    test_runner::TestRunner,
};
use sfv::{BareItem, Item, List, ListEntry, Parser};
use tokio::{
    runtime,
    time::{Instant, advance, sleep},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    PauseOnHintLayer, WindowRateLimitLayer,
    client::HttpHints,
    keyed::{
        Header, IntoRules, KeyedLimitLayer, Plan, Rule, RuleHandle, Rules, SettleRules, WithoutKey,
    },
    server::{KeyedRateLimitHeadersLayer, http_rejection},
};

use crate::full;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

type Layers<R> = (KeyedLimitLayer<R>, KeyedRateLimitHeadersLayer<R>);

/// The layer of these rules, and that of its headers.
fn layers<I: IntoRules>(rules: I) -> Layers<I::Rules> {
    let limit = KeyedLimitLayer::new(rules);
    let headers = limit.rate_limit_headers();
    (limit, headers)
}

/// A router with a limit and its headers. Responds with the status in `x-status`.
fn app<R>((limit, headers): Layers<R>) -> Router
where
    R: Rules<Request> + SettleRules<Response, Infallible> + Send + Sync + 'static,
    R: tower_floodgate::keyed::RuleList<Held: Send, Subjects: Send>,
{
    let status = |request: Request| {
        let status = request.headers().get("x-status").map(|status| status.to_str().unwrap());
        ready(status.map_or(StatusCode::OK, |status| status.parse().unwrap()))
    };
    let limits = ServiceBuilder::new().layer(headers).layer(limit.reject_with(http_rejection));
    Router::new().route("/", get(status)).layer(limits)
}

/// A request with these headers.
fn request(headers: &[(&'static str, &str)]) -> Request {
    let request = headers
        .iter()
        .fold(Request::get("/"), |request, (name, value)| request.header(*name, *value));
    request.body(Body::empty()).unwrap()
}

async fn ask(app: &Router, headers: &[(&'static str, &str)]) -> (StatusCode, HeaderMap) {
    let (parts, _) = app.clone().oneshot(request(headers)).await.unwrap().into_parts();
    (parts.status, parts.headers)
}

/// An item of one of the headers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    name: String,
    /// `q` or `r`.
    count: u64,
    /// `w` or `t`.
    time: Option<u64>,
    key: Option<Vec<u8>>,
}

fn told(headers: &HeaderMap, header: &str) -> Vec<Told> {
    let Some(value) = headers.get(header) else { return Vec::new() };
    let list: List = Parser::new(value.as_bytes()).parse().unwrap();
    let read = |entry: &ListEntry| {
        let ListEntry::Item(Item { bare_item: BareItem::String(name), params }) = entry else {
            panic!("a string: {entry:?}")
        };
        let number = |key: &str| {
            let value = params.get(key)?;
            Some(u64::try_from(i64::from(value.as_integer().unwrap())).unwrap())
        };
        Told {
            name: name.as_str().to_owned(),
            count: number("q").or_else(|| number("r")).unwrap(),
            time: number("w").or_else(|| number("t")),
            key: params.get("pk").map(|key| key.as_byte_sequence().unwrap().to_vec()),
        }
    };
    list.iter().map(read).collect()
}

fn names(headers: &HeaderMap) -> Vec<String> {
    let names = |header| told(headers, header).into_iter().map(|it| it.name).collect::<Vec<_>>();
    assert_eq!(names("ratelimit"), names("ratelimit-policy"));
    names("ratelimit")
}

#[allow(clippy::disallowed_methods, reason = "tests look at tokio's clock, too")]
fn now() -> Instant {
    Instant::now()
}

fn header(name: &'static str) -> Header {
    Header::named(name)
}

#[tokio::test(start_paused = true)]
async fn k11_headers_report_each_window_of_each_rule() {
    let app = app(layers((
        Rule::new("client", header("x-client")).at_most(2, SECOND * 10).at_most(3, HOUR),
        Rule::new("tenant", header("x-tenant")).at_most(19, SECOND * 60).at_most(20, HOUR * 24),
    )));
    let from = |client| [("x-client", client), ("x-tenant", "t")];
    let policy = "\"client\";q=2;w=10, \"client/1h\";q=3;w=3600, \
                  \"tenant\";q=19;w=60, \"tenant/1d\";q=20;w=86400";
    let tell = async |client: &'static str| {
        let (status, headers) = ask(&app, &from(client)).await;
        assert_eq!(headers["ratelimit-policy"], policy);
        let left = told(&headers, "ratelimit").iter().map(|it| it.count).collect::<Vec<_>>();
        let times = told(&headers, "ratelimit").iter().map(|it| it.time).collect::<Vec<_>>();
        let after = headers.get("retry-after").map(|it| it.to_str().unwrap().parse().unwrap());
        (status.as_u16(), left, times, after)
    };
    // With permits left, until all that are held have expired.
    let (status, left, times, after) = tell("a").await;
    assert_eq!((status, left, after), (200, vec![1, 2, 18, 19], None));
    for (time, window) in times.into_iter().zip([10, 3600, 60, 86_400]) {
        assert!((window + 1..=window + window / 20 + 1).contains(&time.unwrap()), "{time:?}");
    }
    // With none left, until there is one.
    advance(SECOND * 4).await;
    let (status, left, times, _) = tell("a").await;
    assert_eq!((status, left, times[0]), (200, vec![0, 1, 17, 18], Some(7)));
    let (status, left, times, after) = tell("a").await;
    assert_eq!((status, left, times[0], after), (429, vec![0, 1, 17, 18], Some(7), Some(7)));
    // Another key of one rule, and the same of the other.
    assert_eq!(tell("b").await.1, [1, 2, 16, 17]);
    // The longest window.
    advance(SECOND * 7).await;
    assert_eq!(tell("a").await.1, [0, 0, 15, 16]);
    let (status, left, times, after) = tell("a").await;
    assert_eq!((status, left), (429, vec![0, 0, 15, 16]));
    assert_eq!((times[1], after), (after, times[1]));
    assert!((3589..=3689).contains(&after.unwrap()), "{after:?}");
}

/// A client that sends no more than `r` of each window, and waits for `t` where `r` is 0, is never
/// rejected. Spread over `t`, `r` is never faster than the policy.
#[test]
fn k11_client_that_obeys_the_headers_of_its_key_is_never_rejected() {
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap();
    let quota = (1..50_u32, 1..4_000_u64);
    let any = (quota.clone(), quota, 0..600_u64);
    TestRunner::default()
        .run(&any, |((first, short), (second, more), gap)| {
            runtime.block_on(async {
                let windows = [(first.min(second), short), (first.max(second), short + more)];
                let rule = windows
                    .iter()
                    .fold(Rule::new("client", header("x-client")), |rule, (limit, millis)| {
                        rule.at_most(*limit, Duration::from_millis(*millis))
                    });
                let app = app(layers(rule));
                let hints = HttpHints::new();
                for _ in 0..30 {
                    advance(Duration::from_millis(gap)).await;
                    let (status, headers) = ask(&app, &[("x-client", "a")]).await;
                    prop_assert_eq!(status, StatusCode::OK);
                    let mut longest = None;
                    for (told, (limit, millis)) in told(&headers, "ratelimit").iter().zip(windows) {
                        let (left, secs) = (told.count, told.time.unwrap());
                        prop_assert!(secs > 0);
                        if left == 0 {
                            longest = longest.max(Some(SECOND * u32::try_from(secs).unwrap()));
                        } else {
                            prop_assert!(left * millis <= u64::from(limit) * secs * 1000);
                        }
                    }
                    // Our client reads the same from them.
                    let wait = hints.read(status, &headers, || panic!("no dates"));
                    prop_assert_eq!(wait, longest);
                    advance(wait.unwrap_or_default()).await;
                }
                Ok(())
            })
        })
        .unwrap();
}

/// The lengths of all pauses, of a client that is limited by the hints of the server alone.
#[tokio::test(start_paused = true)]
async fn k11_client_of_ours_pauses_as_long_as_the_keys_need() {
    let layers = layers((
        Rule::new("client", header("x-client")).at_most(5, SECOND * 2).at_most(20, SECOND * 60),
        Rule::new("tenant", header("x-tenant")).at_most(8, SECOND * 5),
    ));
    let handles = [layers.0.handle("client"), layers.0.handle("tenant")];
    let app = app(layers);
    let own = WindowRateLimitLayer::new(1_000_000, SECOND);
    let handle = own.handle();
    let client = ServiceBuilder::new()
        .layer(own)
        .layer(PauseOnHintLayer::new(handle.clone(), HttpHints::new()))
        .service(app);
    let room = |handle: &RuleHandle| handle.time_until_room("a").unwrap_or_default();
    let start = now();
    for sent in 1..=60 {
        let response =
            client.clone().oneshot(request(&[("x-client", "a"), ("x-tenant", "a")])).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "request {sent}");
        let needed = handles.iter().map(room).max().unwrap();
        let paused = handle.estimated_wait();
        // Whole seconds, and not one more.
        assert!((needed..needed + SECOND).contains(&paused), "{needed:?} {paused:?}");
        assert_eq!(needed.is_zero(), paused.is_zero());
    }
    // Three times twenty a minute: two minutes, the lateness, and whole seconds.
    let elapsed = start.elapsed();
    assert!((SECOND * 120..SECOND * 140).contains(&elapsed), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn k11_headers_of_a_key_report_the_moment_of_the_response() {
    let limit =
        KeyedLimitLayer::new(Rule::new("client", header("x-client")).at_most(1, SECOND * 10));
    let service = ServiceBuilder::new().layer(limit.rate_limit_headers()).layer(limit).service(
        service_fn(|_: Request| async {
            sleep(SECOND * 4).await;
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }),
    );
    let response = service.oneshot(request(&[("x-client", "a")])).await.unwrap();
    assert_eq!(response.headers()["ratelimit"], "\"client\";r=0;t=7");
}

#[tokio::test(start_paused = true)]
async fn k11_headers_have_no_items_of_rules_that_limit_the_request_in_no_window() {
    let app = app(layers((
        Rule::new("shares", header("x-client")).at_most(9, HOUR),
        Rule::new("exempts", header("x-client")).at_most(9, HOUR).without_key(WithoutKey::Exempt),
        Rule::new("spares", header("x-client"))
            .at_most(9, HOUR)
            .exempt(|request: &Request| request.headers().contains_key("x-free")),
        Rule::new("tries", header("x-client")).at_most(9, HOUR).dry_run(),
        Rule::new("holds", header("x-client")).max_in_flight(9),
        Rule::global("all").at_most(9, HOUR),
    )));
    let (_, headers) = ask(&app, &[("x-client", "a")]).await;
    assert_eq!(names(&headers), ["shares", "exempts", "spares", "all"]);
    let (_, headers) = ask(&app, &[("x-client", "a"), ("x-free", "yes")]).await;
    assert_eq!(names(&headers), ["shares", "exempts", "all"]);
    let (_, headers) = ask(&app, &[]).await;
    assert_eq!(names(&headers), ["shares", "spares", "all"]);
    let left = told(&headers, "ratelimit").iter().map(|it| it.count).collect::<Vec<_>>();
    assert_eq!(left, [8, 8, 6], "of the requests without a key, and of all");
}

#[tokio::test(start_paused = true)]
async fn k11_response_without_items_has_no_headers() {
    let rejects = Rule::new("rejects", header("x-client")).at_most(9, HOUR);
    let (limit, headers) = layers(rejects.without_key(WithoutKey::Reject));
    let app = app((limit, headers.with_x_ratelimit().with_partition_keys()));
    let (status, headers) = ask(&app, &[]).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(!headers.keys().any(|name| name.as_str().contains("ratelimit")), "{headers:?}");
}

#[tokio::test(start_paused = true)]
async fn k9_headers_report_the_plan_of_the_request() {
    let plans = [Plan::new().at_most(2, HOUR), Plan::new().at_most(5, HOUR)];
    let paid = |request: &Request| usize::from(request.headers().contains_key("x-paid"));
    let app = app(layers(Rule::new("client", header("x-client")).plans(plans, paid)));
    let mut left = Vec::new();
    for (paid, q) in [(true, 5), (true, 5), (true, 5), (false, 2), (true, 5)] {
        let request: &[_] = &[("x-client", "a"), ("x-paid", "yes")];
        let (_, headers) = ask(&app, &request[..1 + usize::from(paid)]).await;
        assert_eq!(headers["ratelimit-policy"], format!("\"client\";q={q};w=3600"));
        left.push(told(&headers, "ratelimit")[0].count);
    }
    assert_eq!(left, [4, 3, 2, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn k8_headers_count_permits_and_debts() {
    let cost = |request: &Request| {
        request.headers().get("x-cost").map_or(1, |cost| cost.to_str().unwrap().parse().unwrap())
    };
    let rule = Rule::new("client", header("x-client")).at_most(10, SECOND * 10).cost(cost);
    let app_of_costs = app(layers(rule));
    let with = async |cost| {
        let (status, headers) = ask(&app_of_costs, &[("x-client", "a"), ("x-cost", cost)]).await;
        let after = headers.get("retry-after").map(|it| it.to_str().unwrap().parse().unwrap());
        (status.as_u16(), told(&headers, "ratelimit")[0].count, after)
    };
    assert_eq!(with("7").await, (200, 3, None));
    assert_eq!(with("4").await, (429, 3, Some(11)), "the time is that of the cost");
    assert_eq!(with("11").await, (429, 3, None), "too large");
    assert_eq!(with("0").await, (200, 3, None));
    assert_eq!(with("3").await, (200, 0, None));

    // A cost that is settled with the response is in its headers.
    let settle = |response: &Response| Some(u32::from(response.status().as_u16()) - 200);
    let rule = Rule::new("client", header("x-client")).at_most(10, SECOND * 10).settle(settle);
    let app = app(layers(rule));
    let (status, headers) = ask(&app, &[("x-client", "a"), ("x-status", "226")]).await;
    assert_eq!(status.as_u16(), 226);
    let told = told(&headers, "ratelimit").remove(0);
    assert_eq!(told.count, 0);
    assert!((21..=32).contains(&told.time.unwrap()), "two windows pay the debt: {told:?}");
    advance(SECOND * u32::try_from(told.time.unwrap()).unwrap()).await;
    assert_eq!(ask(&app, &[("x-client", "a")]).await.0, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn k11_partition_keys_are_those_of_keys_by_choice() {
    let rules = || {
        (
            Rule::new("client", header("x-client")).at_most(5, SECOND).at_most(9, HOUR),
            Rule::new("tenant", header("x-client")).at_most(9, HOUR),
            Rule::global("all").at_most(9, HOUR),
        )
    };
    let (limit, headers) = layers(rules());
    let apps = [(), ()].map(|()| app((limit.clone(), headers.clone().with_partition_keys())));
    let keys = async |app: &Router, request: &[(&'static str, &str)]| {
        let (_, headers) = ask(app, request).await;
        let keys = |header| told(&headers, header).into_iter().map(|it| it.key).collect::<Vec<_>>();
        assert_eq!(keys("ratelimit"), keys("ratelimit-policy"));
        keys("ratelimit")
    };
    let first = keys(&apps[0], &[("x-client", "a")]).await;
    let [Some(client), Some(same), Some(tenant), None] = &first[..] else { panic!("{first:?}") };
    assert_eq!((client.len(), client), (8, same));
    assert_ne!(client, tenant, "the hash is that of the rule");
    assert_eq!(keys(&apps[0], &[("x-client", "a")]).await, first);
    let other = keys(&apps[0], &[("x-client", "b")]).await;
    assert!(other[..3].iter().zip(&first).all(|(other, first)| other != first));
    let seeded_anew = keys(&apps[1], &[("x-client", "a")]).await;
    assert!(seeded_anew[..3].iter().zip(&first).all(|(other, first)| other != first));
    assert_eq!(keys(&apps[0], &[]).await, [None, None, None, None]);
    assert_eq!(keys(&app((limit, headers)), &[("x-client", "a")]).await, vec![None; 4]);
}

/// Neither a name nor a key breaks the values.
#[test]
fn c7_name_of_a_rule_is_reported_as_given_or_an_invalid_setting() {
    let runtime = runtime::Builder::new_current_thread().build().unwrap();
    let name = proptest::string::string_regex("[ -~]{1,8}(.|\\PC|\"|\\\\)?").unwrap();
    let key = option::of(
        vec(0x20..=0xff_u8, 0..40)
            .prop_filter("no header", |key| http::HeaderValue::from_bytes(key).is_ok()),
    );
    TestRunner::default()
        .run(&(name, key), |(name, key)| {
            let rule = Rule::new(name.as_str(), header("x-client")).at_most(3, SECOND);
            let limit = KeyedLimitLayer::new(rule.at_most(9, HOUR).max_keys(8));
            let layer = limit.try_rate_limit_headers();
            if !name.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
                let error = layer.unwrap_err();
                prop_assert_eq!(error.setting(), "name of a rule");
                let said = "it must be visible ASCII characters and spaces";
                prop_assert_eq!(error.to_string(), format!("name of a rule is {name:?}: {said}"));
                return Ok(());
            }
            let app = app((limit, layer.unwrap().with_partition_keys().with_x_ratelimit()));
            let mut request = request(&[]);
            let has_key = key.is_some();
            if let Some(key) = key {
                let key = http::HeaderValue::from_bytes(&key).unwrap();
                request.headers_mut().insert("x-client", key);
            }
            let response = runtime.block_on(app.oneshot(request)).unwrap();
            prop_assert_eq!(names(response.headers()), [name.clone(), format!("{name}/1h")]);
            for told in told(response.headers(), "ratelimit") {
                prop_assert_eq!(told.key.is_some(), has_key);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn c7_windows_with_one_name_are_an_invalid_setting_of_the_headers() {
    let rule = |name: &str| Rule::new(name, header("x-client")).at_most(1, SECOND);
    let twice = KeyedLimitLayer::new(rule("a").at_most(2, HOUR).at_most(2, HOUR));
    let clash = KeyedLimitLayer::new((rule("a").at_most(9, HOUR), rule("a/1h")));
    let errors =
        [twice.try_rate_limit_headers().unwrap_err(), clash.try_rate_limit_headers().unwrap_err()];
    for error in errors {
        assert_eq!((error.setting(), error.value()), ("name of a policy", "\"a/1h\""));
    }
    let apart = KeyedLimitLayer::new((rule("a").at_most(9, HOUR), rule("b").at_most(9, HOUR)));
    apart.try_rate_limit_headers().unwrap();
}

#[tokio::test(start_paused = true)]
async fn k11_x_headers_are_those_of_the_strictest_window() {
    let (limit, headers) = layers((
        Rule::new("client", header("x-client")).at_most(3, SECOND * 10).at_most(4, HOUR),
        Rule::new("tenant", header("x-client")).at_most(2, SECOND * 60),
    ));
    let app = app((limit, headers.with_x_ratelimit()));
    let mut told = Vec::new();
    for step in [0, 0, 63, 0, 0] {
        advance(SECOND * step).await;
        let (_, headers) = ask(&app, &[("x-client", "a")]).await;
        let number = |name| headers[name].to_str().unwrap().parse::<u64>().unwrap();
        told.push((number("x-ratelimit-limit"), number("x-ratelimit-remaining")));
    }
    // With as many left in the hour as to the tenant, the longer time counts.
    assert_eq!(told, [(2, 1), (2, 0), (4, 1), (4, 0), (4, 0)]);
}

#[tokio::test(start_paused = true)]
async fn k11_response_with_full_headers_passes_unchanged() {
    let (limit, headers) = layers(Rule::new("client", header("x-client")).at_most(2, SECOND));
    let service = ServiceBuilder::new().layer(headers.with_x_ratelimit()).layer(limit).service(
        service_fn(|_: Request| async {
            let mut response = Response::new(Body::empty());
            *response.headers_mut() = full();
            Ok::<_, Infallible>(response)
        }),
    );
    assert_eq!(*service.oneshot(request(&[])).await.unwrap().headers(), full());
}

#[tokio::test]
async fn c3_error_passes_the_headers_of_keys_unchanged() {
    let (limit, headers) = layers(Rule::new("client", header("x-client")).at_most(2, SECOND));
    let service = ServiceBuilder::new()
        .layer(headers)
        .layer(limit.reject_with(http_rejection))
        .service(service_fn(|_: Request| async { Err::<Response, _>(io::Error::other("disk")) }));
    assert_eq!(service.oneshot(request(&[])).await.unwrap_err().to_string(), "disk");
}

/// One for each of the two values, if they have one item: the map has room.
#[test]
fn c6_headers_of_a_key_allocate_two_values() {
    let rule = Rule::new("a", |_: &HeaderMap| Some(7)).at_most(1_000_000, SECOND);
    let (limit, headers) = layers(rule);
    let mut service = headers.with_partition_keys().layer(limit.layer(service_fn(|headers| {
        let mut response = Response::new(());
        *response.headers_mut() = headers;
        ready(Ok::<_, Infallible>(response))
    })));
    let mut call = |headers: HeaderMap| {
        let ready = service.ready().now_or_never().unwrap().unwrap();
        ready.call(headers).now_or_never().unwrap().unwrap()
    };
    call(HeaderMap::new());
    let headers = HeaderMap::with_capacity(8);
    let allocations = allocation_counter::measure(|| {
        assert_eq!(call(headers).headers().len(), 2);
    });
    assert_eq!(allocations.count_total, 2);
}

/// A slot whose key has gone is claimed for others: the headers of a key never show their counts.
#[tokio::test(start_paused = true)]
async fn k13_headers_make_no_slot_and_show_no_other_key() {
    let rule = Rule::new("client", header("x-client")).at_most(1, SECOND).max_keys(8);
    let (limit, headers) = layers(rule.reject_when_full());
    let handle = limit.handle("client");
    let app = app((limit, headers));
    let mut admitted = HashSet::new();
    for client in 0..200 {
        let (status, headers) = ask(&app, &[("x-client", &client.to_string())]).await;
        let left = told(&headers, "ratelimit")[0].count;
        match status {
            StatusCode::OK => assert_eq!((left, admitted.insert(client)), (0, true)),
            // The table is full, not the quota of the key.
            StatusCode::SERVICE_UNAVAILABLE => assert_eq!(left, 1),
            other => panic!("{other}"),
        }
    }
    assert_eq!(handle.live_keys(), admitted.len());
    assert!((8..=16).contains(&admitted.len()), "{}", admitted.len());
}
