//! Headers that report the state of a rate limit.

use std::{convert::Infallible, future::ready, io, time::Duration};

use futures::FutureExt;
use http::{HeaderMap, Request, Response, StatusCode};
use proptest::{prop_assert, prop_assert_eq, strategy::Strategy, test_runner::TestRunner};
use sfv::{BareItem, Item, List, ListEntry, Parser};
use tokio::{
    runtime,
    time::{advance, sleep},
};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    WindowRateLimitLayer,
    server::{RateLimitHeadersLayer, http_rejection},
};

use crate::full;

const SECOND: Duration = Duration::from_secs(1);

/// A limit without a queue, with its headers outside.
fn limited(
    limit: WindowRateLimitLayer,
    configure: impl FnOnce(RateLimitHeadersLayer) -> RateLimitHeadersLayer,
) -> impl Service<Request<()>, Response = Response<String>, Error = Infallible> + Clone {
    let headers = configure(RateLimitHeadersLayer::new("a", limit.handle()));
    let inner = service_fn(|_: Request<()>| async { Ok(Response::new("hello".to_owned())) });
    ServiceBuilder::new()
        .layer(headers)
        .layer(limit.max_queue(0).reject_with(http_rejection))
        .service(inner)
}

async fn get<S>(service: &S) -> (StatusCode, HeaderMap)
where
    S: Service<Request<()>, Response = Response<String>, Error = Infallible> + Clone,
{
    let (parts, _) = service.clone().oneshot(Request::new(())).await.unwrap().into_parts();
    (parts.status, parts.headers)
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

/// The name and the parameters of a list's single item.
fn item(headers: &HeaderMap, name: &str) -> (String, Vec<(String, i64)>) {
    let list: List = Parser::new(headers[name].as_bytes()).parse().unwrap();
    let [ListEntry::Item(Item { bare_item: BareItem::String(name), params })] = &list[..] else {
        panic!("one string: {list:?}")
    };
    let number = |value: &BareItem| i64::from(value.as_integer().unwrap());
    let params = params.iter().map(|(key, value)| (key.as_str().to_owned(), number(value)));
    (name.as_str().to_owned(), params.collect())
}

#[tokio::test(start_paused = true)]
async fn w9_headers_report_the_limit_on_accepted_and_rejected_requests() {
    let limit = WindowRateLimitLayer::new(2, SECOND * 10);
    let handle = limit.handle();
    let service = limited(limit, |headers| headers);
    let tell = async || {
        let (status, headers) = get(&service).await;
        assert_eq!(all(&headers, "x-ratelimit-limit").len(), 0);
        let policy = all(&headers, "ratelimit-policy").concat();
        (status.as_u16(), policy, all(&headers, "ratelimit").concat())
    };
    let said = |status, q, left: &str| (status, format!("\"a\";q={q};w=10"), left.to_owned());

    // With something left, `t` is the window.
    assert_eq!(tell().await, said(200, 2, "\"a\";r=1;t=10"));
    advance(Duration::from_millis(2500)).await;
    // With nothing left, `t` is the time until the next permit.
    assert_eq!(tell().await, said(200, 2, "\"a\";r=0;t=8"));
    assert_eq!(tell().await, said(429, 2, "\"a\";r=0;t=8"));
    advance(Duration::from_millis(7499)).await;
    assert_eq!(tell().await, said(429, 2, "\"a\";r=0;t=1"));
    advance(Duration::from_millis(1)).await;
    assert_eq!(tell().await, said(200, 2, "\"a\";r=0;t=3"));
    // Changes by the handle are reported at once.
    handle.set_limit(5).unwrap();
    assert_eq!(tell().await, said(200, 5, "\"a\";r=2;t=10"));
    handle.pause_for(SECOND * 77);
    assert_eq!(tell().await, said(429, 5, "\"a\";r=0;t=77"));
}

#[tokio::test(start_paused = true)]
async fn w9_policy_follows_changed_settings() {
    let limit = WindowRateLimitLayer::new(2, SECOND * 10);
    let handle = limit.handle();
    let service = limited(limit, |headers| headers);
    let settings = [(2, 10_000), (2, 20_000), (3, 20_000), (2, 10_000), (2, 10_500), (2, 10_000)];
    for (limit, millis) in settings {
        handle.set_limit(limit).unwrap();
        handle.set_window(Duration::from_millis(millis)).unwrap();
        let window =
            if millis % 1000 == 0 { format!(";w={}", millis / 1000) } else { String::new() };
        let (_, headers) = get(&service).await;
        assert_eq!(headers["ratelimit-policy"], format!("\"a\";q={limit}{window}"));
    }
}

/// Numbers of any length, from the smallest settings to the largest.
#[test]
fn w9_headers_of_any_settings_are_read_back() {
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap();
    let limits = (0..31_u32, 1..=u32::MAX).prop_map(|(bits, any)| 1 + any % (1 << bits));
    let windows = (0..32_u32, 1..=u32::MAX).prop_map(|(bits, any)| 1 + any % (1 << bits));
    TestRunner::default()
        .run(&(limits, windows), |(limit, secs)| {
            let layer = WindowRateLimitLayer::new(limit, Duration::from_secs(secs.into()));
            let (_, headers) = runtime.block_on(get(&limited(layer, |headers| headers)));
            let parameters = |both: [(&str, u32); 2]| {
                both.map(|(key, number)| (key.to_owned(), i64::from(number)))
            };
            let (_, policy) = item(&headers, "ratelimit-policy");
            prop_assert_eq!(policy, parameters([("q", limit), ("w", secs)]));
            let (_, state) = item(&headers, "ratelimit");
            prop_assert_eq!(state, parameters([("r", limit - 1), ("t", secs)]));
            Ok(())
        })
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn w9_headers_report_the_moment_of_the_response() {
    let limit = WindowRateLimitLayer::new(1, SECOND * 10);
    let service = ServiceBuilder::new()
        .layer(RateLimitHeadersLayer::new("a", limit.handle()))
        .layer(limit)
        .service(service_fn(|_: Request<()>| async {
            sleep(SECOND * 4).await;
            Ok::<_, Infallible>(Response::new(String::new()))
        }));
    let (_, headers) = get(&service).await;
    assert_eq!(headers["ratelimit"], "\"a\";r=0;t=6");
}

#[tokio::test(start_paused = true)]
async fn w9_headers_report_the_rest_of_a_fixed_window() {
    let service = limited(WindowRateLimitLayer::fixed(2, SECOND * 10), |headers| headers);
    advance(Duration::from_millis(13_500)).await;
    assert_eq!(get(&service).await.1["ratelimit"], "\"a\";r=1;t=7");
    assert_eq!(get(&service).await.1["ratelimit"], "\"a\";r=0;t=7");
}

#[tokio::test(start_paused = true)]
async fn w9_fractional_window_is_left_out_of_the_policy() {
    for millis in [1, 100, 999, 1001, 1500] {
        let window = Duration::from_millis(millis);
        let service = limited(WindowRateLimitLayer::new(7, window), |headers| headers);
        let (_, headers) = get(&service).await;
        assert_eq!(headers["ratelimit-policy"], "\"a\";q=7", "{window:?}");
        assert_eq!(headers["ratelimit"], format!("\"a\";r=6;t={}", millis.div_ceil(1000)));
    }
}

/// A client that sends no more than `r`, and waits for `t` when `r` is 0, is never rejected. Spread
/// over `t`, `r` is never faster than the policy.
#[test]
fn w9_client_that_obeys_the_headers_is_never_rejected() {
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap();
    let any = (1..6_u32, 1..4_000_u64, 0..600_u64, proptest::bool::ANY);
    TestRunner::default()
        .run(&any, |(limit, millis, gap, fixed)| {
            runtime.block_on(async {
                let window = Duration::from_millis(millis);
                let limit_layer = if fixed {
                    WindowRateLimitLayer::fixed(limit, window)
                } else {
                    WindowRateLimitLayer::new(limit, window)
                };
                let service = limited(limit_layer, |headers| headers);
                for _ in 0..20 {
                    advance(Duration::from_millis(gap)).await;
                    let (status, headers) = get(&service).await;
                    prop_assert_eq!(status, StatusCode::OK);
                    let (_, left) = item(&headers, "ratelimit");
                    let [(r, left), (t, secs)] = &left[..] else { panic!("{left:?}") };
                    prop_assert_eq!((r.as_str(), t.as_str()), ("r", "t"));
                    let (left, secs) =
                        (u64::try_from(*left).unwrap(), u64::try_from(*secs).unwrap());
                    prop_assert!(secs > 0);
                    if left == 0 {
                        advance(SECOND * u32::try_from(secs).unwrap()).await;
                    } else if !fixed {
                        prop_assert!(left * millis <= u64::from(limit) * secs * 1000);
                    }
                }
                Ok(())
            })
        })
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn w9_x_headers_are_optional_and_reset_at_a_unix_time() {
    #[allow(clippy::disallowed_methods, reason = "a time of the calendar is compared with one")]
    let calendar = || {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since_1970.unwrap().as_nanos().div_ceil(1_000_000_000) as u64
    };
    let limit = WindowRateLimitLayer::new(2, SECOND * 10);
    let service = limited(limit, RateLimitHeadersLayer::with_x_ratelimit);
    for (left, reset) in [("1", 10), ("0", 10), ("0", 10)] {
        let before = calendar();
        let (_, headers) = get(&service).await;
        let after = calendar();
        assert_eq!(headers["x-ratelimit-limit"], "2");
        assert_eq!(headers["x-ratelimit-remaining"], left);
        let told: u64 = headers["x-ratelimit-reset"].to_str().unwrap().parse().unwrap();
        assert!((before + reset..=after + reset).contains(&told), "{before} {told} {after}");
    }
}

#[tokio::test(start_paused = true)]
async fn w9_headers_of_several_limits_are_appended() {
    let burst = WindowRateLimitLayer::new(10, SECOND);
    let daily = WindowRateLimitLayer::new(500, SECOND * 86_400);
    let service = ServiceBuilder::new()
        .layer(RateLimitHeadersLayer::new("burst", burst.handle()).with_x_ratelimit())
        .layer(RateLimitHeadersLayer::new("daily", daily.handle()).with_x_ratelimit())
        .layer(burst)
        .layer(daily)
        .service(service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(Response::new(String::new()))
        }));
    let (_, headers) = get(&service).await;
    let policies = [r#""daily";q=500;w=86400"#, r#""burst";q=10;w=1"#];
    assert_eq!(all(&headers, "ratelimit-policy"), policies);
    let left = [r#""daily";r=499;t=86400"#, r#""burst";r=9;t=1"#];
    assert_eq!(all(&headers, "ratelimit"), left);
    assert_eq!(all(&headers, "x-ratelimit-limit"), ["500"], "the inner one's");
    assert_eq!(all(&headers, "x-ratelimit-remaining"), ["499"]);
    assert_eq!(all(&headers, "x-ratelimit-reset").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn w9_x_headers_come_from_one_limit() {
    for own in ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"] {
        let limit = WindowRateLimitLayer::new(2, SECOND);
        let service = ServiceBuilder::new()
            .layer(RateLimitHeadersLayer::new("a", limit.handle()).with_x_ratelimit())
            .layer(limit)
            .service(service_fn(move |_: Request<()>| async move {
                let response = Response::builder().header(own, "own").body(String::new());
                Ok::<_, Infallible>(response.unwrap())
            }));
        let (_, headers) = get(&service).await;
        let x_headers = headers.keys().filter(|name| name.as_str().starts_with("x-"));
        assert_eq!(x_headers.collect::<Vec<_>>(), [own]);
        assert_eq!(headers[own], "own");
        assert_eq!(headers["ratelimit"], "\"a\";r=1;t=1");
    }
}

#[tokio::test]
async fn c3_error_passes_rate_limit_headers_unchanged() {
    let limit = WindowRateLimitLayer::new(2, SECOND);
    let service = ServiceBuilder::new()
        .layer(RateLimitHeadersLayer::new("a", limit.handle()))
        .layer(limit)
        .service(service_fn(|_: Request<()>| async {
            Err::<Response<()>, _>(io::Error::other("disk"))
        }));
    assert_eq!(service.oneshot(Request::new(())).await.unwrap_err().to_string(), "disk");
}

/// The value of `RateLimit` is the only allocation: the policy is shared, and the map has room.
#[test]
fn c6_headers_allocate_one_value_for_each_response() {
    let limit = WindowRateLimitLayer::new(u32::MAX >> 1, SECOND);
    let mut service = ServiceBuilder::new()
        .layer(RateLimitHeadersLayer::new("a", limit.handle()))
        .layer(limit)
        .service(service_fn(|headers| {
            let mut response = Response::new(());
            *response.headers_mut() = headers;
            ready(Ok::<_, Infallible>(response))
        }));
    let mut call = |headers: HeaderMap| {
        let ready = service.ready().now_or_never().unwrap().unwrap();
        ready.call(headers).now_or_never().unwrap().unwrap()
    };
    call(HeaderMap::new()); // formats the policy
    call(HeaderMap::new()); // begins to count the references to it
    let headers = HeaderMap::with_capacity(8);
    let allocations = allocation_counter::measure(|| {
        assert_eq!(call(headers).headers().len(), 2);
    });
    assert_eq!(allocations.count_total, 1);
}

/// Headers without room are left out.
#[tokio::test(start_paused = true)]
async fn w9_response_with_full_headers_passes_unchanged() {
    let limit = WindowRateLimitLayer::new(2, SECOND);
    let service = ServiceBuilder::new()
        .layer(RateLimitHeadersLayer::new("a", limit.handle()).with_x_ratelimit())
        .layer(limit)
        .service(service_fn(|_: Request<()>| async {
            let mut response = Response::new("hello".to_owned());
            *response.headers_mut() = full();
            Ok::<_, Infallible>(response)
        }));
    assert_eq!(get(&service).await, (StatusCode::OK, full()));
}

#[test]
fn c7_name_is_reported_as_given_or_an_invalid_setting() {
    let runtime = runtime::Builder::new_current_thread().build().unwrap();
    TestRunner::default()
        .run(&proptest::string::string_regex("[ -~]{0,8}(.|\\PC|\"|\\\\)?").unwrap(), |name| {
            let limit = WindowRateLimitLayer::new(1, SECOND);
            let layer = RateLimitHeadersLayer::try_new(name.clone(), limit.handle());
            if name.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
                let service = ServiceBuilder::new().layer(layer.unwrap()).service(service_fn(
                    |_: Request<()>| async { Ok::<_, Infallible>(Response::new(String::new())) },
                ));
                let (_, headers) = runtime.block_on(get(&service));
                prop_assert_eq!(item(&headers, "ratelimit").0, name.clone());
                prop_assert_eq!(item(&headers, "ratelimit-policy").0, name);
            } else {
                let error = layer.unwrap_err();
                prop_assert_eq!(error.setting(), "name");
                let said = "it must be visible ASCII characters and spaces";
                prop_assert_eq!(error.to_string(), format!("name is {name:?}: {said}"));
            }
            Ok(())
        })
        .unwrap();
}
