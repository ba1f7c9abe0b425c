//! Headers as servers send them: the pause of all callers, and the retry of one request.

use std::{io, time::Duration};

use http::{Request, Response};
use tower_floodgate::{
    client::{HttpClassifier, HttpHints},
    pause_on_hint::ReadHint,
    retry::{Classify, Verdict},
};

/// The time of each response: 1,700,000,000 seconds since 1970.
const DATE: (&str, &str) = ("date", "Tue, 14 Nov 2023 22:13:20 GMT");

fn response(status: u16, lines: &[(&str, &str)]) -> Response<()> {
    let mut response = Response::builder().status(status).header(DATE.0, DATE.1);
    for (name, value) in lines {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap()
}

/// The pause in milliseconds, and the verdict on a GET.
fn outcome(status: u16, lines: &[(&str, &str)]) -> (Option<u64>, Verdict) {
    let result = Ok::<_, io::Error>(response(status, lines));
    let pause = HttpHints::new().read_hint(&result);
    let verdict = HttpClassifier::new().classify(&Request::get("/").body(()).unwrap(), &result);
    (pause.map(|pause| u64::try_from(pause.as_millis()).unwrap()), verdict)
}

const fn after(millis: u64) -> Verdict {
    Verdict::RetryAfter(Duration::from_millis(millis))
}

const DONE: Verdict = Verdict::Done;
const RETRY: Verdict = Verdict::Retry;

type Case<'a> = (&'a str, u16, &'a [(&'a str, &'a str)], Option<u64>, Verdict);

/// Waits stated by `Retry-After` and its relatives.
const WAITS: &[Case<'_>] = &[
    ("Shopify", 429, &[("retry-after", "2.0")], Some(2_000), after(2_000)),
    ("Space Traders", 429, &[("retry-after", "0.5")], Some(500), after(500)),
    ("several", 429, &[("retry-after", "59.914")], Some(59_914), after(59_914)),
    ("Slack", 429, &[("retry-after", "30")], Some(30_000), after(30_000)),
    (
        "Azure",
        429,
        &[("retry-after-ms", "20000"), ("x-ms-ratelimit-remaining-resource", "Get3Min;46")],
        Some(20_000),
        after(20_000),
    ),
    ("Cosmos", 429, &[("x-ms-retry-after-ms", "9500")], Some(9_500), after(9_500)),
    ("OpenAI", 429, &[("retry-after-ms", "412"), ("retry-after", "1")], Some(412), after(412)),
    ("Zoom", 429, &[("retry-after", "2023-11-14T22:14:00Z")], Some(40_000), after(40_000)),
    (
        "RubyGems",
        429,
        &[("retry-after", "Tue, 14 Nov 2023 22:13:50 GMT")],
        Some(30_000),
        after(30_000),
    ),
    ("Docker Hub", 429, &[("x-retry-after", "1700000030")], Some(30_000), after(30_000)),
    (
        "Cloud Foundry",
        429,
        &[("retry-after", "1700000030"), ("x-ratelimit-reset", "1700000030")],
        Some(30_000),
        after(30_000),
    ),
    ("Help Scout", 429, &[("x-ratelimit-retry-after", "30")], Some(30_000), after(30_000)),
    ("Binance", 418, &[("retry-after", "30")], Some(30_000), after(30_000)),
    (
        "GitHub, secondary limit",
        403,
        &[
            ("retry-after", "60"),
            ("x-ratelimit-remaining", "4290"),
            ("x-ratelimit-reset", "1700003000"),
        ],
        Some(60_000),
        after(60_000),
    ),
    (
        "Sentry",
        429,
        &[
            ("retry-after", "60"),
            ("x-sentry-rate-limits", "60:transaction:key, 90:default;error:organization"),
        ],
        Some(90_000),
        after(90_000),
    ),
    (
        "Traefik",
        429,
        &[("retry-after", "1"), ("x-retry-in", "996.940104ms")],
        Some(1_000),
        after(1_000),
    ),
    ("tower_governor", 429, &[("x-ratelimit-after", "9")], Some(9_000), after(9_000)),
    (
        "actix-governor",
        429,
        &[
            ("x-ratelimit-limit", "5"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-after", "9"),
            ("retry-after", "9"),
        ],
        Some(9_000),
        after(9_000),
    ),
    ("AWS, in milliseconds", 503, &[("x-amz-retry-after", "1500")], Some(1_500), after(1_500)),
    ("Cloudflare", 522, &[("retry-after", "120")], None, after(120_000)),
    (
        "Anthropic",
        529,
        &[("x-should-retry", "true"), ("retry-after", "5")],
        Some(5_000),
        after(5_000),
    ),
    (
        "a cache",
        503,
        &[("age", "110"), ("retry-after", "Tue, 14 Nov 2023 22:15:20 GMT")],
        Some(10_000),
        after(10_000),
    ),
    ("a poll interval", 202, &[("retry-after", "5")], None, DONE),
    ("a redirect", 301, &[("retry-after", "5")], None, DONE),
    ("a request too large for now", 413, &[("retry-after", "5")], None, DONE),
];

/// Resets of quotas of which nothing remains.
const SPENT: &[Case<'_>] = &[
    (
        "Reddit",
        200,
        &[("x-ratelimit-remaining", "0.0"), ("x-ratelimit-reset", "25")],
        Some(25_000),
        DONE,
    ),
    (
        "GitHub",
        403,
        &[
            ("x-ratelimit-limit", "60"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1700000030"),
            ("x-ratelimit-resource", "core"),
        ],
        Some(30_000),
        after(30_000),
    ),
    (
        "GitLab",
        429,
        &[
            ("ratelimit-limit", "60"),
            ("ratelimit-name", "throttle_unauthenticated_web"),
            ("ratelimit-observed", "67"),
            ("ratelimit-remaining", "0"),
            ("ratelimit-reset", "1700000030"),
            ("ratelimit-resettime", "Tue, 14 Nov 2023 22:13:50 GMT"),
            ("retry-after", "30"),
        ],
        Some(30_000),
        after(30_000),
    ),
    (
        "X",
        429,
        &[("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "1700000030")],
        Some(30_000),
        after(30_000),
    ),
    (
        "X, by application",
        429,
        &[
            ("x-rate-limit-remaining", "9"),
            ("x-rate-limit-reset", "1700000030"),
            ("x-app-limit-24hour-remaining", "0"),
            ("x-app-limit-24hour-reset", "1700000040"),
        ],
        Some(40_000),
        after(40_000),
    ),
    (
        "Discord",
        429,
        &[
            ("x-ratelimit-limit", "10"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1700000000.65"),
            ("x-ratelimit-reset-after", "0.65"),
            ("x-ratelimit-bucket", "abcd1234"),
            ("x-ratelimit-scope", "user"),
        ],
        Some(650),
        after(650),
    ),
    (
        "Atlassian",
        429,
        &[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "2023-11-14T22:14Z"),
            ("x-ratelimit-nearlimit", "true"),
        ],
        Some(40_000),
        after(40_000),
    ),
    (
        "Atlassian, beta",
        429,
        &[
            ("beta-ratelimit", r#""tenant-app-quota";r=0;t=28"#),
            ("x-beta-ratelimit-reset", "2023-11-14T22:00Z"),
            ("x-ratelimit-limit", "400"),
            ("x-ratelimit-remaining", "399"),
        ],
        Some(28_000),
        after(28_000),
    ),
    (
        "OpenAI",
        429,
        &[
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "6m0s"),
            ("x-ratelimit-remaining-tokens", "149"),
            ("x-ratelimit-reset-tokens", "24h"),
        ],
        Some(360_000),
        after(360_000),
    ),
    (
        "Groq",
        429,
        &[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "2m59.56s")],
        Some(179_560),
        after(179_560),
    ),
    (
        "Anthropic",
        429,
        &[
            ("anthropic-ratelimit-requests-remaining", "9"),
            ("anthropic-ratelimit-requests-reset", "2023-11-14T23:13:20Z"),
            ("anthropic-ratelimit-tokens-remaining", "0"),
            ("anthropic-ratelimit-tokens-reset", "2023-11-14T22:13:50Z"),
        ],
        Some(30_000),
        after(30_000),
    ),
    (
        "Cerebras",
        429,
        &[
            ("x-ratelimit-remaining-requests-day", "0"),
            ("x-ratelimit-reset-requests-day", "33011.382867097855"),
        ],
        Some(33_011_382),
        Verdict::RetryAfter(Duration::new(33_011, 382_867_097)),
    ),
    (
        "Linear",
        400,
        &[("x-ratelimit-requests-remaining", "0"), ("x-ratelimit-requests-reset", "1700000030500")],
        Some(30_500),
        DONE,
    ),
    (
        "Hugging Face",
        429,
        &[
            ("ratelimit", r#""api";r=0;t=55"#),
            ("ratelimit-policy", r#""fixed window";"api";q=500;w=300"#),
        ],
        Some(55_000),
        after(55_000),
    ),
    (
        "Envoy",
        429,
        &[
            ("x-ratelimit-limit", r#"10, 10;w=1;name="x""#),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1"),
            ("x-envoy-ratelimited", "true"),
        ],
        Some(1_000),
        after(1_000),
    ),
    (
        "Kong",
        429,
        &[
            ("x-ratelimit-limit-minute", "5"),
            ("x-ratelimit-remaining-minute", "0"),
            ("ratelimit-limit", "5"),
            ("ratelimit-remaining", "0"),
            ("ratelimit-reset", "41"),
            ("retry-after", "41"),
        ],
        Some(41_000),
        after(41_000),
    ),
    (
        "Vimeo",
        429,
        &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2023-11-14T22:13:50+00:00")],
        Some(30_000),
        after(30_000),
    ),
    (
        "GoCardless",
        429,
        &[("ratelimit-remaining", "0"), ("ratelimit-reset", "Tue, 14 Nov 2023 22:13:50 GMT")],
        Some(30_000),
        after(30_000),
    ),
    (
        "Twitch",
        429,
        &[
            ("ratelimit-limit", "800"),
            ("ratelimit-remaining", "0"),
            ("ratelimit-reset", "1700000030"),
        ],
        Some(30_000),
        after(30_000),
    ),
    (
        "Akamai",
        429,
        &[("x-ratelimit-remaining", "0"), ("x-ratelimit-next", "2023-11-14T22:13:20.5Z")],
        Some(500),
        after(500),
    ),
    (
        "Akamai, another product",
        429,
        &[("akamai-ratelimit-remaining", "0"), ("akamai-ratelimit-next", "2023-11-14T22:13:50Z")],
        Some(30_000),
        after(30_000),
    ),
    (
        "Tumblr",
        429,
        &[
            ("x-ratelimit-perday-remaining", "4000"),
            ("x-ratelimit-perday-reset", "60000"),
            ("x-ratelimit-perhour-remaining", "0"),
            ("x-ratelimit-perhour-reset", "1200"),
        ],
        Some(1_200_000),
        after(1_200_000),
    ),
    (
        "Imgur",
        429,
        &[
            ("x-ratelimit-userremaining", "0"),
            ("x-ratelimit-userreset", "1700000030"),
            ("x-ratelimit-clientremaining", "12000"),
        ],
        Some(30_000),
        after(30_000),
    ),
    (
        "Fastly",
        429,
        &[("fastly-ratelimit-remaining", "0"), ("fastly-ratelimit-reset", "1700000030")],
        Some(30_000),
        after(30_000),
    ),
    (
        "Zendesk",
        429,
        &[
            ("x-rate-limit-remaining", "300"),
            ("zendesk-ratelimit-tickets-index", "total=100; remaining=0; resets=49"),
        ],
        Some(49_000),
        after(49_000),
    ),
    (
        "Contentful",
        429,
        &[("x-contentful-ratelimit-second-remaining", "0"), ("x-contentful-ratelimit-reset", "1")],
        Some(1_000),
        after(1_000),
    ),
    (
        "BigCommerce",
        429,
        &[("x-rate-limit-requests-left", "0"), ("x-rate-limit-time-reset-ms", "3000")],
        Some(3_000),
        after(3_000),
    ),
    (
        "KuCoin",
        429,
        &[("gw-ratelimit-remaining", "0"), ("gw-ratelimit-reset", "13020")],
        Some(13_020),
        after(13_020),
    ),
    (
        "Bybit",
        403,
        &[("x-bapi-limit-status", "0"), ("x-bapi-limit-reset-timestamp", "1700000000500")],
        Some(500),
        after(500),
    ),
    (
        "Gate",
        429,
        &[
            ("x-gate-ratelimit-requests-remain", "0"),
            ("x-gate-ratelimit-reset-timestamp", "1700000002"),
        ],
        Some(2_000),
        after(2_000),
    ),
    (
        "EVE",
        420,
        &[("x-esi-error-limit-remain", "0"), ("x-esi-error-limit-reset", "30")],
        Some(30_000),
        after(30_000),
    ),
    (
        "Azure Resource Graph",
        429,
        &[("x-ms-user-quota-remaining", "0"), ("x-ms-user-quota-resets-after", "00:00:03")],
        Some(3_000),
        after(3_000),
    ),
    (
        "Mailgun",
        429,
        &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1700000030500")],
        Some(30_500),
        after(30_500),
    ),
    (
        "a gateway that writes underscores",
        429,
        &[("http_x_ratelimit_remaining", "0"), ("http_x_ratelimit_reset", "30")],
        Some(30_000),
        after(30_000),
    ),
    (
        "Okta, its reset has passed",
        429,
        &[("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "1699999999")],
        Some(0),
        after(0),
    ),
    ("no rest stated", 429, &[("x-ratelimit-reset", "30")], Some(30_000), after(30_000)),
];

/// Nothing that holds back other callers.
const NO_DEMAND: &[Case<'_>] = &[
    (
        "Reddit, not for its quota",
        503,
        &[("x-ratelimit-remaining", "598.0"), ("x-ratelimit-reset", "590")],
        None,
        RETRY,
    ),
    (
        "Docker Hub",
        429,
        &[("x-ratelimit-remaining", "76;w=21600"), ("x-ratelimit-reset", "20000")],
        None,
        RETRY,
    ),
    (
        "Docker Hub, no reset",
        429,
        &[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "0;w=21600")],
        None,
        RETRY,
    ),
    ("Heroku", 429, &[("ratelimit-remaining", "0")], None, RETRY),
    ("Etsy", 429, &[("x-limit-per-day", "10000"), ("x-remaining-today", "0")], None, RETRY),
    ("Cloudflare", 200, &[("ratelimit", r#""default";r=50;t=30"#)], None, DONE),
    (
        "HubSpot",
        429,
        &[
            ("x-hubspot-ratelimit-daily-remaining", "0"),
            ("x-hubspot-ratelimit-interval-milliseconds", "10000"),
            ("x-hubspot-ratelimit-remaining", "9"),
        ],
        None,
        RETRY,
    ),
    ("Salesforce", 403, &[("sforce-limit-info", "api-usage=18/5000")], None, DONE),
    ("Riot", 404, &[("x-app-rate-limit", "20:1,100:120")], None, DONE),
    (
        "Strava",
        429,
        &[("x-ratelimit-limit", "600,30000"), ("x-ratelimit-usage", "600,27536")],
        None,
        RETRY,
    ),
    ("AWS", 429, &[("x-amzn-ratelimit-limit", "0.5")], None, RETRY),
    (
        "unreadable, on a rejection",
        429,
        &[("x-ratelimit-remaining", "unlimited"), ("x-ratelimit-reset", "30")],
        None,
        RETRY,
    ),
    ("a password, not a quota", 429, &[("x-password-reset-after", "30")], None, RETRY),
    ("forbidden", 403, &[], None, DONE),
    ("forbidden, a reset alone", 403, &[("x-ratelimit-reset", "30")], None, DONE),
    (
        "forbidden, quota left",
        403,
        &[("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "30")],
        None,
        DONE,
    ),
    ("Stripe forbids", 429, &[("stripe-should-retry", "false")], None, Verdict::Never),
    ("Stripe allows", 409, &[("stripe-should-retry", "true")], None, RETRY),
    ("OpenAI forbids", 500, &[("x-should-retry", "false")], None, Verdict::Never),
    (
        "a refusal counts first",
        503,
        &[("x-should-retry", "true"), ("stripe-should-retry", "FALSE")],
        None,
        Verdict::Never,
    ),
    ("a list, from two proxies", 503, &[("x-should-retry", "true, false")], None, Verdict::Never),
    ("in quotes", 503, &[("x-should-retry", r#""false""#)], None, Verdict::Never),
    ("neither", 409, &[("x-should-retry", "maybe")], None, DONE),
    ("a final status is final anyway", 404, &[("x-should-retry", "false")], None, DONE),
    ("a success is done", 200, &[("x-should-retry", "true")], None, DONE),
];

#[test]
fn r4_r9_headers_that_servers_send_are_obeyed() {
    for &(sender, status, lines, pause, verdict) in [WAITS, SPENT, NO_DEMAND].into_iter().flatten()
    {
        assert_eq!(outcome(status, lines), (pause, verdict), "{sender}: {status} {lines:?}");
    }
}

/// The order of a response's headers does not matter.
#[test]
fn r4_r9_order_of_headers_has_no_effect() {
    for &(sender, status, lines, pause, verdict) in [WAITS, SPENT, NO_DEMAND].into_iter().flatten()
    {
        let mut lines = lines.to_vec();
        for _ in 0..lines.len() {
            lines.rotate_left(1);
            assert_eq!(outcome(status, &lines), (pause, verdict), "{sender}: {status} {lines:?}");
        }
        lines.reverse();
        assert_eq!(outcome(status, &lines), (pause, verdict), "{sender}: {status} {lines:?}");
    }
}

/// On a 200, quotas that are spent pause all the same, and nothing else does.
#[test]
fn r9_only_a_spent_quota_pauses_on_success() {
    for &(sender, _, lines, pause, _) in SPENT {
        let pause = pause.filter(|_| sender != "no rest stated");
        // Their `Retry-After` and their reset are equal.
        assert_eq!(outcome(200, lines), (pause, DONE), "{sender}: {lines:?}");
    }
    for &(sender, _, lines, ..) in WAITS.iter().chain(NO_DEMAND) {
        assert_eq!(outcome(200, lines), (None, DONE), "{sender}: {lines:?}");
    }
}
