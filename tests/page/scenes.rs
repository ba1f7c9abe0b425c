//! Scenes of the page: each opens a tab, and asserts that the browser noted no error.

use std::{
    convert::Infallible,
    hash::{Hash, Hasher},
    time::Duration,
};

use axum::{
    Router,
    response::{Sse, sse::Event},
    routing::get,
};
use futures::{StreamExt, stream};
use serde_json::json;
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, RejectedCounts,
    WindowRateLimitHandle, WindowRateLimitLayer,
    keyed::{Key, KeyedLimitLayer, Rule, RuleHandle},
    observe::{LimitCounts, Limits, RuleSnapshot, page::LimitsPage},
    shared::{Away, SharedRateLimitHandle, SharedWindow},
};

use crate::{
    chromium::{Browser, Tab},
    load::{Count, Load, NAMES},
    seen::{Card, Numbers},
    server::{INTERVAL, LOCAL, Server},
    small_store::SmallStore,
};

const HOUR: Duration = Duration::from_secs(3600);

/// The width of a small telephone.
const NARROW: u32 = 360;

/// A name that would be an image and run a script, if it were markup.
const HOSTILE: &str = "<img src=x onerror=\"window.hacked = true\">";

/// Asserts that the browser noted no error and sent requests to `server` only.
fn assert_clean(tab: &Tab, server: &Server) {
    assert_eq!(tab.errors(), Vec::<serde_json::Value>::new());
    assert_own_requests(tab, server);
}

fn assert_own_requests(tab: &Tab, server: &Server) {
    let requests = tab.requests();
    let own = format!("http://{}/", server.address);
    assert!(requests.contains(&server.url()), "{requests:?}");
    // An address that is data goes to no server.
    let others = requests.iter().filter(|url| !url.starts_with(&own) && *url != "data:,");
    assert_eq!(others.count(), 0, "{requests:?}");
}

fn numbers<'a>(values: impl IntoIterator<Item = (&'a str, String)>) -> Numbers {
    values.into_iter().map(|(label, value)| (label.to_owned(), value)).collect()
}

fn rejections(counts: RejectedCounts) -> [(&'static str, String); 4] {
    [
        ("Rejected: queue full", grouped(counts.queue_full)),
        ("Rejected: wait timeout", grouped(counts.wait_timeout)),
        ("Rejected: too late", grouped(counts.too_late)),
        ("Rejected: closed", grouped(counts.closed)),
    ]
}

/// Returns a number as the page writes it: in groups of three digits.
fn grouped(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).expect("is ASCII"))
        .collect();
    groups.join(",")
}

/// How the page writes that there is no value.
const ABSENT: &str = "\u{2013}";

fn yes(is: bool) -> String {
    (if is { "yes" } else { "no" }).to_owned()
}

/// Returns the rows that snapshots have for the events of a limit.
fn events(counts: Option<LimitCounts>) -> Vec<(&'static str, String)> {
    let Some(counts) = counts else { return vec![("Counts", ABSENT.to_owned())] };
    vec![
        ("Admitted", grouped(counts.admitted)),
        ("Unused", grouped(counts.unused)),
        ("Waited", grouped(counts.waited)),
        ("Cancelled", grouped(counts.cancelled)),
        ("Pauses", grouped(counts.pauses)),
        ("Limit changes", grouped(counts.limit_changes)),
    ]
}

/// Returns what the handle of a limit without a queue says.
fn of_concurrency(handle: &ConcurrencyBackpressureHandle) -> Numbers {
    let state = [
        ("Limit", grouped(handle.limit())),
        ("In flight", grouped(handle.in_flight())),
        ("Queued", grouped(handle.queued())),
        ("Queue age", ABSENT.to_owned()),
        ("Max queue", bound(handle.max_queue().map(grouped))),
        ("Max wait", bound(handle.max_wait().map(millis))),
        ("Closed", yes(handle.is_closed())),
    ];
    let snapshot = handle.snapshot();
    numbers(state.into_iter().chain(rejections(handle.rejected())).chain(events(snapshot.counts)))
}

fn bound(text: Option<String>) -> String {
    text.unwrap_or_else(|| ABSENT.to_owned())
}

/// Writes a time below a second.
fn millis(time: Duration) -> String {
    assert!(time < Duration::from_secs(1), "the page would write seconds");
    format!("{} ms", time.as_millis())
}

/// Returns what the handle of a limit without a queue and with permits says.
fn of_window(handle: &WindowRateLimitHandle) -> Numbers {
    assert_eq!(handle.window().subsec_nanos(), 0, "the page would write milliseconds");
    let snapshot = handle.snapshot();
    let state = [
        ("Limit", grouped(handle.limit())),
        ("Window", format!("{} s", handle.window().as_secs())),
        ("Remaining", grouped(handle.remaining())),
        ("Queued", grouped(handle.queued())),
        ("Queue age", ABSENT.to_owned()),
        ("Estimated wait", "0 s".to_owned()),
        ("Paused for", "0 s".to_owned()),
        ("Max queue", bound(handle.max_queue().map(grouped))),
        ("Max wait", bound(handle.max_wait().map(millis))),
        ("Issued", grouped(snapshot.issued)),
        ("Closed", yes(handle.is_closed())),
    ];
    numbers(state.into_iter().chain(rejections(handle.rejected())).chain(events(snapshot.counts)))
}

/// Returns a screenshot of the page under load.
pub(crate) async fn numbers_are_those_of_the_handles(browser: &Browser, span: Duration) -> Vec<u8> {
    println!("\nnumbers, after {span:?} of load");
    let load = Load::new();
    let server = Server::start(&load.limits()).await;
    let tab = browser.open(&server.url()).await;
    tab.wait_for_status("Live: 3 limits.").await;

    let picture = async {
        tokio::time::sleep(span - Duration::from_millis(500)).await;
        tab.resize(1000, 760).await;
        let picture = tab.screenshot().await;
        tab.resize(1000, 800).await;
        picture
    };
    let ((), picture) = tokio::join!(load.run(span), picture);

    // Some requests stay in flight, so that not all is zero at last.
    let mut holds = JoinSet::new();
    (0..3).for_each(|_| load.hold(&mut holds));
    let cards = tab
        .wait_for_numbers(|| {
            vec![of_concurrency(&load.in_flight), of_window(&load.smooth), of_window(&load.strict)]
        })
        .await;
    assert_eq!(load.in_flight.in_flight(), 3);
    assert_eq!(cards[0].main, "3 of 20 in flight, 0 queued");
    assert!(cards[1].main.ends_with(" of 40 per 1 s used, 0 queued"), "{}", cards[1].main);
    let kinds: Vec<_> = cards.iter().map(|card| &*card.kind).collect();
    assert_eq!(kinds, ["concurrency limit", "rate limit", "rate limit"]);
    let names: Vec<_> = cards.iter().map(|card| &*card.name).collect();
    assert_eq!(names, NAMES);
    // The first line has moved with the load.
    for card in &cards {
        let heights = card.lines[0].split(' ').filter_map(|point| point.split(',').nth(1));
        let heights: std::collections::BTreeSet<_> = heights.collect();
        assert!(heights.len() > 3, "{}", card.lines[0]);
    }

    // The services behind the limits counted the same.
    let [first, second, third] = load.counts();
    println!("{first:?}\n{second:?}\n{third:?}");
    let rejected =
        |count: Count, counts: RejectedCounts| assert_eq!(count.rejected, counts.total());
    rejected(first, load.in_flight.rejected());
    rejected(second, load.smooth.rejected());
    rejected(third, load.strict.rejected());
    assert_eq!(cards[1].numbers["Issued"], grouped(second.served));
    assert_eq!(cards[2].numbers["Issued"], grouped(third.served));
    assert!(second.served > 0 && third.rejected > 0);
    let state = &*cards[2].state;
    assert!(state.ends_with(" rejected in the last minute"), "{state}");
    if span < Duration::from_secs(60) {
        assert_eq!(state, format!("{} rejected in the last minute", third.rejected));
    }

    tab.assert_fits(NARROW).await;
    tab.assert_contrast().await;
    assert_clean(&tab, &server);
    tab.close().await;
    server.stop().await;
    picture
}

pub(crate) async fn states_are_told(browser: &Browser) {
    println!("\nqueued, paused and closed");
    let load = Load::new();
    let server = Server::start(&load.limits()).await;
    let tab = browser.open(&server.url()).await;
    tab.wait_for_status("Live: 3 limits.").await;

    let mut holds = JoinSet::new();
    (0..22).for_each(|_| load.hold(&mut holds));
    load.smooth.pause_for(Duration::from_secs(100));
    load.strict.close().unwrap();
    tab.wait_for(
        r#"(() => {
            const [first, second, third] = document.querySelectorAll("article");
            const seen = (card, text) => card.textContent.includes(text);
            return seen(first, "20 of 20 in flight, 2 queued")
                && /^paused for 9\d(\.\d+)? s/.test(second.querySelector(".state").textContent)
                && third.querySelector(".state").textContent === "closed";
        })()"#,
    )
    .await;
    let cards = tab.cards().await;
    assert_eq!(cards[0].numbers["Queued"], "2");
    assert_eq!(cards[2].numbers["Closed"], "yes");
    assert_eq!(cards[2].numbers["Estimated wait"], ABSENT);
    assert_clean(&tab, &server);
    tab.close().await;
    server.stop().await;
}

/// Returns what the handle of a shared limit of an hour says whose store is there.
fn of_shared(handle: &SharedRateLimitHandle) -> Numbers {
    let snapshot = handle.snapshot();
    let store = snapshot.store;
    let state = [
        ("Quota name", handle.quota_name().to_owned()),
        ("Limit", grouped(handle.limit())),
        ("Window", "60 min 0 s".to_owned()),
        ("Remaining", grouped(handle.remaining())),
        ("Free", grouped(snapshot.free)),
        ("Pooled", grouped(snapshot.pooled)),
        ("Held", grouped(snapshot.held)),
        ("Queued", "0".to_owned()),
        ("Queue age", ABSENT.to_owned()),
        ("Paused for", "0 s".to_owned()),
        ("Away for", ABSENT.to_owned()),
        ("Round trip", format!("{:.0} ms", snapshot.round_trip.as_secs_f64() * 1e3)),
        ("Max queue", bound(handle.max_queue().map(grouped))),
        ("Max wait", bound(handle.max_wait().map(millis))),
        ("Closed", yes(handle.is_closed())),
        ("Store requests", grouped(store.store_requests)),
        ("Store failures", grouped(store.store_failures)),
        ("Leased", grouped(store.leased)),
        ("Used", grouped(store.used)),
        ("Lapsed", grouped(store.lapsed)),
        ("Refunded", grouped(store.refunded)),
        ("Epoch changes", grouped(store.epoch_changes)),
        ("Clock steps", grouped(store.clock_steps)),
        ("Other terms", grouped(store.other_terms)),
        ("Issued late", grouped(store.issued_late)),
        ("Issued alone", grouped(store.issued_alone)),
        ("Issued unlimited", grouped(store.issued_unlimited)),
        ("Unavailable", grouped(store.unavailable)),
    ];
    numbers(state.into_iter().chain(rejections(handle.rejected())).chain(events(snapshot.counts)))
}

pub(crate) async fn an_empty_set_says_so_and_later_limits_appear(browser: &Browser) {
    println!("\nan empty set");
    let limits = Limits::new();
    let server = Server::start(&limits).await;
    let tab = browser.open(&server.url()).await;
    tab.wait_for_status("Live: 0 limits.").await;
    assert_eq!(tab.text("main").await, "No limits are registered.");
    tab.assert_fits(NARROW).await;

    let layer = ConcurrencyBackpressureLayer::new(1234).name(HOSTILE);
    limits.add(layer.handle());
    tab.wait_for_status("Live: 1 limit.").await;
    let cards = tab.wait_for_numbers(|| vec![of_concurrency(&layer.handle())]).await;
    assert_eq!(cards[0].numbers["Limit"], "1,234");
    assert!(!tab.text("main").await.contains("No limits"));
    assert_eq!(cards[0].name, HOSTILE);

    // One of many processes, without a name, and then without its store.
    let store = SmallStore::new();
    let quota = SharedWindow::new(store.clone(), HOSTILE, 10, HOUR, Away::Open);
    let shared = WindowRateLimitLayer::shared(quota).max_wait(Duration::from_millis(900));
    let handle = shared.handle();
    let inner = service_fn(|(): ()| async { Ok::<_, Infallible>(()) });
    shared.layer(inner).oneshot(()).await.unwrap();
    limits.add(handle.clone());
    tab.wait_for_status("Live: 2 limits.").await;
    let cards =
        tab.wait_for_numbers(|| vec![of_concurrency(&layer.handle()), of_shared(&handle)]).await;
    let Card { name, kind, main, state, .. } = &cards[1];
    assert_eq!((&**name, &**kind, &**state), (HOSTILE, "shared rate limit", ""));
    assert_eq!(main, "1 of 10 per 60 min 0 s held here, 0 queued");
    assert_eq!(cards[1].lines.len(), 3);
    store.state().error = Some(("io", "connection refused"));
    while handle.away_for().is_none() {
        shared.layer(inner).oneshot(()).await.unwrap();
    }
    tab.wait_for("/^store away for \\d/.test(document.querySelectorAll('.state')[1].textContent)")
        .await;
    assert_clean(&tab, &server);
    tab.close().await;
    server.stop().await;
}

pub(crate) async fn fifty_limits_fit_and_are_filtered(browser: &Browser) {
    println!("\nfifty limits");
    let of_size = |limit| WindowRateLimitLayer::new(limit, Duration::from_secs(60)).handle();
    let handles: Vec<_> = (1..=50).map(of_size).collect();
    let limits: Limits = handles.iter().cloned().collect();
    let server = Server::start(&limits).await;
    let tab = browser.open(&server.url()).await;
    tab.wait_for_status("Live: 50 limits.").await;
    tab.wait_for_numbers(|| handles.iter().map(of_window).collect()).await;
    tab.assert_fits(NARROW).await;
    tab.assert_fits(1000).await;

    let shown = "[...document.querySelectorAll('article')].filter(it => it.checkVisibility())
        .map(it => it.querySelector('h2').textContent)";
    assert_eq!(tab.read(shown).await.as_array().unwrap().len(), 50);
    tab.read(
        "(() => {
            const input = document.querySelector('#find input');
            if (!input.checkVisibility()) throw new Error('there is no filter');
            input.value = 'Limit 4';
            input.dispatchEvent(new Event('input', { bubbles: true }));
        })()",
    )
    .await;
    let wanted = ["limit 4"].map(str::to_owned).into_iter();
    let wanted: Vec<_> = wanted.chain((40..50).map(|at| format!("limit {at}"))).collect();
    assert_eq!(tab.read(shown).await, json!(wanted));
    // The next event does not undo it.
    tokio::time::sleep(2 * INTERVAL).await;
    assert_eq!(tab.read(shown).await, json!(wanted));
    assert_clean(&tab, &server);
    tab.close().await;
    server.stop().await;
}

/// A key that the client writes, and that is shown.
struct Sent;

impl Key<&'static str> for Sent {
    fn hash_key<H: Hasher>(&self, request: &&'static str, state: &mut H) -> bool {
        request.hash(state);
        true
    }

    fn label(&self, request: &&'static str) -> Option<String> {
        (!request.starts_with("secret")).then(|| (*request).to_owned())
    }
}

/// Returns what the handle of a rule says whose requests do not wait.
fn of_rule(handle: &RuleHandle) -> Numbers {
    let RuleSnapshot { live_keys, max_keys, overflowed, admitted, rejected, .. } =
        handle.snapshot();
    numbers([
        ("Dry run", "no".to_owned()),
        ("Live keys", grouped(live_keys)),
        ("Max keys", grouped(max_keys)),
        ("Overflowed", grouped(overflowed)),
        ("Queued", "0".to_owned()),
        ("Queue age", ABSENT.to_owned()),
        ("Admitted", admitted.map_or_else(|| ABSENT.to_owned(), grouped)),
        ("Rejected: limit reached", grouped(rejected.limit_reached)),
        ("Rejected: too large", grouped(rejected.too_large)),
        ("Rejected: no key", grouped(rejected.no_key)),
        ("Rejected: table full", grouped(rejected.table_full)),
        ("Rejected: paused", grouped(rejected.paused)),
        ("Rejected: queue full", grouped(rejected.queue_full)),
        ("Rejected: wait timeout", grouped(rejected.wait_timeout)),
    ])
}

pub(crate) async fn keys_of_a_rule_are_shown_as_text(browser: &Browser) {
    println!("\nkeys of a rule");
    let script = "<script>window.hacked = true</script>";
    let rule = Rule::new("per client", Sent)
        .at_most(3, HOUR)
        .max_in_flight(2_000)
        .max_keys(1_000)
        .count_admitted()
        .track_top(4);
    let layer = KeyedLimitLayer::new((rule, Rule::global(HOSTILE).at_most(50, HOUR).dry_run()));
    let handles = [layer.handle("per client"), layer.handle(HOSTILE)];
    let server = Server::start(&handles.iter().cloned().collect()).await;
    let tab = browser.open(&server.url()).await;
    tab.wait_for_status("Live: 2 limits.").await;

    let echo = layer.layer(service_fn(async |key: &'static str| Ok::<_, Infallible>(key)));
    let send = async |key, times| {
        for _ in 0..times {
            let _ = echo.clone().oneshot(key).await;
        }
    };
    for (key, times) in [(script, 33), (HOSTILE, 23), ("secret token", 13), ("calm", 2)] {
        send(key, times).await;
    }
    let cards = tab
        .wait_for_numbers(|| {
            let [rule, all] = &handles;
            let mut all = of_rule(all);
            all.insert("Dry run".to_owned(), "yes".to_owned());
            vec![of_rule(rule), all]
        })
        .await;
    let [first, second] = &cards[..] else { panic!("{cards:?}") };
    assert_eq!((&*first.name, &*first.kind), ("per client", "limit of each key"));
    assert_eq!(first.main, "4 of 1,000 keys live, 0 queued");
    assert_eq!(first.state, "60 rejected in the last minute");
    assert_eq!(first.numbers["Admitted"], "11");
    let id = handles[0].top()[2].id;
    let used = "3 of 3 per 60 min 0 s";
    let expected =
        [[script, used, "30"], [HOSTILE, used, "20"], [&format!("key {id:08x}"), used, "10"]];
    assert_eq!(first.keys, expected.map(|row| row.map(str::to_owned)));
    let quotas = "[...document.querySelectorAll('.kind')].map(it => it.textContent)[1]";
    assert_eq!(tab.read(quotas).await, "Each key: 3/1h, 2,000 in flight");
    assert_eq!((&*second.name, &*second.state), (HOSTILE, "dry run"));
    assert_eq!(second.main, "0 rejected, 0 queued");

    // The markup of a key makes no element.
    assert_eq!(tab.read("document.querySelectorAll('img, main script').length").await, 0);
    assert_eq!(tab.read("window.hacked === undefined").await, true);

    // A key that falls behind leaves the list.
    for key in ["a", "b", "c"] {
        send(key, 103).await;
    }
    tab.wait_for("document.querySelector('.keys tbody th')?.textContent === 'a'").await;
    let keys = tab.cards().await.remove(0).keys;
    assert_eq!(keys.iter().map(|row| &*row[0]).collect::<Vec<_>>(), ["a", "b", "c", script]);
    assert!(keys[0][2].ends_with("100"), "{keys:?}");
    tab.assert_fits(NARROW).await;
    assert_clean(&tab, &server);
    tab.close().await;
    server.stop().await;
}

pub(crate) async fn a_restarted_server_is_found_again(browser: &Browser) {
    println!("\na restart");
    let layer = ConcurrencyBackpressureLayer::new(5).name("a").reject_with_box_error();
    let handle = layer.handle();
    let server = Server::start(&[handle.clone()].into_iter().collect()).await;
    let tab = browser.open(&server.url()).await;
    tab.wait_for_status("Live: 1 limit.").await;
    handle.close().unwrap();
    let echo = layer.layer(service_fn(async |()| Ok::<_, Infallible>(())));
    echo.oneshot(()).await.unwrap_err();
    let cards = tab.wait_for_numbers(|| vec![of_concurrency(&handle)]).await;
    assert_eq!(cards[0].changes["Rejected: closed"], "+1");
    assert_clean(&tab, &server);

    // It stops although the page is open.
    let address = server.address;
    server.stop().await;
    tab.wait_for_status("The server does not respond. Reconnecting.").await;
    assert_eq!(tab.cards().await.len(), 1, "the last numbers stay");

    // As by a proxy, whose server is not there yet: a browser then gives up by itself.
    let proxy = Server::serve(&address, |_| Router::new()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(tab.requests().len() > 3, "{:?}", tab.requests());
    proxy.stop().await;

    // A new process has a new limit, whose counts begin at zero.
    let handle = ConcurrencyBackpressureLayer::new(7).name("a").handle();
    let server = Server::start_on(&address, &[handle.clone()].into_iter().collect()).await;
    tab.wait_for_status("Live: 1 limit.").await;
    let cards = tab.wait_for_numbers(|| vec![of_concurrency(&handle)]).await;
    assert_eq!(cards[0].numbers["Limit"], "7");
    assert_eq!(cards[0].changes["Rejected: closed"], "");
    // The browser itself notes that it could not connect.
    for error in tab.errors() {
        assert_eq!(error["entry"]["source"], "network", "{error:#}");
    }
    assert_own_requests(&tab, &server);
    tab.close().await;
    server.stop().await;
}

pub(crate) async fn names_are_text_and_unknown_kinds_are_shown(browser: &Browser) {
    println!("\nhostile names and unknown kinds");
    let hostile = HOSTILE;
    let script = "</script><script>window.hacked = true</script>";
    let long = "x".repeat(300);
    let snapshots = json!([
        { "kind": "concurrency", "name": hostile, "limit": 10, "in_flight": 4, "queued": 1 },
        { "kind": hostile, "name": script, hostile: hostile, "list": [hostile], "total": 5 },
        {
            "kind": "adaptive_limit", "name": null, "gradient": 1.25, "short_rtt_seconds": 0.02,
            "probes": { "by_reason": { "timer": 12345 } }, "is_probing": true, "zone": "b",
        },
        { "kind": "constructor", "name": "__proto__", "__proto__": 1, "toString": 2 },
        { "kind": "retry", "name": long, "requests": 100, "retries": 7, "give_ups": { "deadline": 2, "max_attempts": 1 }, (&*long): 3 },
        { "kind": "empty" },
    ]);
    let events = snapshots.to_string();
    let server = Server::serve(&LOCAL.parse().unwrap(), |stopped| {
        let events = move || {
            let event = Ok::<_, Infallible>(Event::default().data(&events));
            let events = stream::iter([event]).chain(stream::pending());
            let mut stopped = stopped.clone();
            async move { Sse::new(events.take_until(async move { drop(stopped.changed().await) })) }
        };
        // The page itself, with events that no limit has.
        let page = Router::new().nest("/page", LimitsPage::new(Limits::new()).into_router());
        let own = Router::new().route("/ops/limits/events", get(events));
        own.route("/ops/limits", get(|request| forward(page, request)))
    })
    .await;
    let tab = browser.open(&server.url()).await;
    tab.wait_for_status("Live: 6 limits.").await;
    let cards = tab.cards().await;
    let headings: Vec<_> = cards.iter().map(|card| (&*card.name, &*card.kind)).collect();
    let expected = [
        (hostile, "concurrency limit"),
        (script, hostile),
        ("adaptive limit 3", "adaptive limit"),
        ("__proto__", "constructor"),
        (&*long, "retry"),
        ("empty 6", "empty"),
    ];
    assert_eq!(headings, expected);
    assert_eq!(cards[0].main, "4 of 10 in flight, 1 queued");
    let shown = [(hostile, hostile), ("List", &*json!([hostile]).to_string()), ("Total", "5")];
    assert_eq!(cards[1].numbers, numbers(shown.map(|(label, value)| (label, value.to_owned()))));
    let shown = [
        ("Gradient", "1.25"),
        ("Short rtt", "20 ms"),
        ("Probes: by reason: timer", "12,345"),
        ("Probing", "yes"),
        ("Zone", "b"),
    ];
    assert_eq!(cards[2].numbers, numbers(shown.map(|(label, value)| (label, value.to_owned()))));
    assert!(!cards[2].lines[0].is_empty());
    assert_eq!(cards[4].main, "7 retries of 100 requests, 3 give-ups");
    let made = "document.querySelectorAll('img, main script').length";
    assert_eq!(tab.read(made).await, 0);
    assert_eq!(tab.read("window.hacked === undefined").await, true);
    tab.assert_fits(NARROW).await;
    assert_clean(&tab, &server);
    tab.close().await;
    server.stop().await;
}

/// Responds as `page` does at `/page`.
async fn forward(page: Router, mut request: axum::extract::Request) -> axum::response::Response {
    *request.uri_mut() = "/page".parse().unwrap();
    let Ok(response) = tower::ServiceExt::oneshot(page, request).await;
    response
}
