//! Settings of files: TOML and JSON.

use std::{fmt::Debug, time::Duration};

use proptest::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tower::{Layer, ServiceExt};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, Quota, Quotas, Rejected, WindowRateLimitLayer,
    config::{ApplyError, BudgetConfig, ConcurrencyConfig, RetryConfig, WindowConfig, WindowShape},
    retry::{Backoff, Jitter},
};

use crate::{
    hold::{hold, name_of},
    settings_text::quotas,
    support::{Probe, ms, secs},
};

/// The settings of an application.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    requests: ConcurrencyConfig,
    quota: WindowConfig,
    retry: RetryConfig,
}

const FILE: &str = r#"
[requests]
max_in_flight = 10
max_queue = 20
max_wait = "1s 500ms"

[quota]
quota = "100/1m"
shape = "fixed"

[retry]
max_attempts = 5
max_elapsed = "1m"
max_hint = "2m"
backoff = { base = "100ms", max = "10s", factor = 2, jitter = "equal" }
budget = { ratio = 0.2, floor_per_second = 5 }
"#;

fn settings() -> Settings {
    let mut requests = ConcurrencyConfig::new(10);
    (requests.max_queue, requests.max_wait) = (Some(20), Some(ms(1500)));
    let mut quota = WindowConfig::new(Quota::new(100, secs(60)));
    quota.shape = WindowShape::Fixed;
    let mut retry = RetryConfig::new(5);
    (retry.max_elapsed, retry.max_hint) = (Some(secs(60)), secs(120));
    retry.backoff = Backoff::new(ms(100), secs(10)).jitter(Jitter::Equal);
    let mut budget = BudgetConfig::new(0.2);
    budget.floor_per_second = 5;
    retry.budget = Some(budget);
    Settings { requests, quota, retry }
}

#[test]
fn s1_file_is_read_into_settings_and_written_back() {
    let read: Settings = toml::from_str(FILE).unwrap();
    assert_eq!(read, settings());
    let written = toml::to_string(&read).unwrap();
    assert_eq!(toml::from_str::<Settings>(&written).unwrap(), read, "{written}");
    let written = serde_json::to_string(&read).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&written).unwrap(), read, "{written}");
    assert_eq!(
        serde_json::to_string(&read.quota).unwrap(),
        r#"{"quota":"100/1m","shape":"fixed"}"#
    );
    assert_eq!(
        serde_json::to_string(&read.retry.backoff).unwrap(),
        r#"{"base":"100ms","max":"10s","factor":2.0,"jitter":"equal"}"#
    );
}

/// Without the fields that have defaults, and with `null` in JSON.
#[test]
fn s1_absent_fields_have_their_defaults() {
    let requests: ConcurrencyConfig = toml::from_str("max_in_flight = 3").unwrap();
    assert_eq!(requests, ConcurrencyConfig::new(3));
    let text = r#"{"max_in_flight": 3, "max_queue": null, "max_wait": null}"#;
    assert_eq!(serde_json::from_str::<ConcurrencyConfig>(text).unwrap(), requests);
    let quota: WindowConfig = toml::from_str("quota = '5/s'").unwrap();
    assert_eq!(quota, WindowConfig::new(Quota::new(5, secs(1))));
    let retry: RetryConfig = toml::from_str("max_attempts = 4").unwrap();
    assert_eq!(retry, RetryConfig::new(4));
    let retry: RetryConfig =
        toml::from_str("max_attempts = 4\nbudget = { ratio = 1 }\nbackoff = {}").unwrap();
    let mut expected = RetryConfig::new(4);
    expected.budget = Some(BudgetConfig::new(1.0));
    assert_eq!((retry.backoff, retry), (Backoff::default(), expected));
}

#[test]
fn s1_quota_is_read_from_text_from_a_map_and_from_a_list() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Limits {
        one: Quota,
        map: Quota,
        several: Quotas,
        list: Quotas,
    }
    let read: Limits = toml::from_str(
        r#"
        one = "100 per minute"
        map = { limit = 100, window = "1m" }
        several = "10/s; 100/m"
        list = ["10/s", { window = "1m", limit = 100 }]
        "#,
    )
    .unwrap();
    let several: Quotas = "10/s;100/m".parse().unwrap();
    assert_eq!((read.one, read.map), (several.as_slice()[1], several.as_slice()[1]));
    assert_eq!((&read.several, &read.list), (&several, &several));
    assert_eq!(serde_json::to_string(&several).unwrap(), r#""10/1s; 100/1m""#);
}

pub(crate) fn is_read_back<T: DeserializeOwned + PartialEq + Serialize + Debug>(
    value: &T,
) -> Result<(), TestCaseError> {
    let json = serde_json::to_string(value).unwrap();
    prop_assert_eq!(&serde_json::from_str::<T>(&json).unwrap(), value);
    let toml = toml::to_string(value).unwrap();
    prop_assert_eq!(&toml::from_str::<T>(&toml).unwrap(), value, "{}", toml);
    Ok(())
}

/// Waits that are counted in nanoseconds without a loss.
fn waits() -> impl Strategy<Value = Duration> {
    prop_oneof![0..u64::MAX, 0..10_000_000_000_u64].prop_map(Duration::from_nanos)
}

/// Numbers of few digits: by default, `serde_json` reads others with an error in the last one.
fn numbers(from: u32, to: u32) -> impl Strategy<Value = f64> {
    (from * 64..=to * 64).prop_map(|n| f64::from(n) / 64.0)
}

fn backoffs() -> impl Strategy<Value = Backoff> {
    let jitters = vec![Jitter::Full, Jitter::Equal, Jitter::Decorrelated, Jitter::None];
    let settings = (waits(), waits(), numbers(1, 1 << 20), proptest::sample::select(jitters));
    settings.prop_map(|(one, other, factor, jitter)| {
        let base = one.min(other).max(Duration::from_nanos(1));
        Backoff::new(base, one.max(other).max(base)).factor(factor).jitter(jitter)
    })
}

fn budgets() -> impl Strategy<Value = BudgetConfig> {
    (numbers(0, 1000), any::<u32>(), any::<u32>()).prop_map(|(ratio, floor, saved)| {
        let mut budget = BudgetConfig::new(ratio);
        (budget.floor_per_second, budget.max_saved) = (floor, saved);
        budget
    })
}

fn retries() -> impl Strategy<Value = RetryConfig> {
    let bounds = (1..=u32::MAX, proptest::option::of(waits()), waits());
    (bounds, backoffs(), proptest::option::of(budgets())).prop_map(|(bounds, backoff, budget)| {
        let mut retry = RetryConfig::new(bounds.0);
        (retry.max_elapsed, retry.max_hint) = (bounds.1, bounds.2);
        (retry.backoff, retry.budget) = (backoff, budget);
        retry
    })
}

#[test]
fn s1_random_settings_are_written_and_read_back_the_same() {
    let bounds = (any::<Option<u32>>(), proptest::option::of(waits()));
    let cases = (quotas(), any::<bool>(), bounds, retries());
    let test = |(quota, is_fixed, (max_queue, max_wait), retry): (Quota, _, _, RetryConfig)| {
        let mut window = WindowConfig::new(quota);
        (window.max_queue, window.max_wait) = (max_queue, max_wait);
        if is_fixed {
            window.shape = WindowShape::Fixed;
        }
        is_read_back(&window)?;
        let mut concurrency = ConcurrencyConfig::new(quota.limit());
        (concurrency.max_queue, concurrency.max_wait) = (max_queue, max_wait);
        is_read_back(&concurrency)?;
        is_read_back(&retry)?;
        prop_assert!(retry.try_policy().is_ok() && window.try_layer().is_ok());
        Ok(3)
    };
    hold(file!(), name_of(&test), cases, test);
}

#[track_caller]
pub(crate) fn error_of<T: DeserializeOwned + Debug>(text: &str) -> String {
    toml::from_str::<T>(text).expect_err(text).message().to_owned()
}

#[test]
fn s3_wrong_field_of_a_file_is_reported_with_its_name_its_value_and_the_remedy() {
    let concurrency = error_of::<ConcurrencyConfig>;
    let with_unit = r#"text with a unit, such as "30s" or "250ms""#;
    let permits = "a whole number between 1 and 2147483647";
    assert_eq!(
        concurrency("max_in_flight = 0"),
        format!("max_in_flight is 0: it must be {permits}")
    );
    assert_eq!(
        concurrency("max_in_flight = -1"),
        format!("max_in_flight is -1: it must be {permits}")
    );
    assert_eq!(
        concurrency("max_in_flight = 2.5"),
        format!("max_in_flight is 2.5: it must be {permits}")
    );
    assert_eq!(
        concurrency("max_in_flight = 'ten'"),
        format!("invalid type: string \"ten\", expected max_in_flight to be {permits}")
    );
    assert_eq!(concurrency(""), "missing field `max_in_flight`");
    let misspelled = concurrency("max_in_flight = 1\nmax_que = 5");
    assert!(misspelled.starts_with("unknown field `max_que`, expected one of"), "{misspelled}");
    for (value, shown) in [("30", "30"), ("1.5", "1.5"), ("-3", "-3")] {
        assert_eq!(
            concurrency(&format!("max_in_flight = 1\nmax_wait = {value}")),
            format!("max_wait is {shown}: it must be {with_unit}")
        );
    }
    assert_eq!(
        concurrency("max_in_flight = 1\nmax_wait = '30 fortnights'"),
        "max_wait is \"30 fortnights\": expected a unit of time, such as ms, s, m, h or d, found \
         \"fortnights\" at byte 3"
    );
    assert_eq!(
        concurrency("max_in_flight = 1\nmax_wait = '30'"),
        "max_wait is \"30\": expected a unit of time, such as ms, s, m, h or d, and the text ends"
    );
    assert_eq!(
        concurrency("max_in_flight = 1\nmax_wait = true"),
        format!("invalid type: boolean `true`, expected max_wait to be {with_unit}")
    );

    let window = error_of::<WindowConfig>;
    assert_eq!(
        window("quota = '0/s'"),
        r#"invalid quota "0/s": expected a limit between 1 and 2147483647, found "0" at byte 0"#
    );
    assert_eq!(
        window("quota = 5"),
        "invalid type: integer `5`, expected a quota, such as \"100/1m\", or a map of limit and \
         window"
    );
    assert_eq!(
        window("quota = { limit = 5, window = '0s' }"),
        "window is 0ns: it must be longer than zero and at most 100 years"
    );
    assert_eq!(
        window("quota = { limit = 5, window = 60 }"),
        format!("window is 60: it must be {with_unit}")
    );
    assert_eq!(
        window("quota = { limit = 5, per = '1s' }"),
        "unknown field `per`, expected `limit` or `window`"
    );
    assert_eq!(
        window("quota = '1/s'\nshape = 'tumbling'"),
        "unknown variant `tumbling`, expected `sliding` or `fixed`"
    );

    let retry = |rest: &str| error_of::<RetryConfig>(&format!("max_attempts = 3\n{rest}"));
    assert_eq!(
        error_of::<RetryConfig>("max_attempts = 0"),
        "max_attempts is 0: it must be a whole number between 1 and 4294967295"
    );
    assert_eq!(
        retry("backoff = { factor = nan }"),
        "factor is NaN: it must be a finite number, 1 or above"
    );
    assert_eq!(
        retry("backoff = { base = '5s', max = '1s' }"),
        "base is 5s: it must be longer than zero and at most max (1s)"
    );
    assert_eq!(
        retry("backoff = { base = '0s' }"),
        "base is 0ns: it must be longer than zero and at most max (20s)"
    );
    assert_eq!(
        retry("backoff = { jitter = 'some' }"),
        "unknown variant `some`, expected one of `full`, `equal`, `decorrelated`, `uniform`, `none`"
    );
    assert_eq!(retry("budget = { ratio = nan }"), "ratio is NaN: it must be between 0 and 1000");
    assert_eq!(
        retry("budget = { ratio = 20000 }"),
        "ratio is 20000.0: it must be between 0 and 1000"
    );
    assert_eq!(
        retry("budget = { ratio = 'few' }"),
        "invalid type: string \"few\", expected ratio to be a number"
    );
    assert_eq!(retry("budget = {}"), "missing field `ratio`");
    assert_eq!(
        serde_json::from_str::<Quotas>("[]").unwrap_err().to_string(),
        "invalid length 0, expected at least one quota at line 1 column 2"
    );
}

/// The format adds the line.
#[test]
fn s3_wrong_field_of_a_file_is_reported_with_its_line() {
    let text = FILE.replace("\"1s 500ms\"", "1500");
    let error = toml::from_str::<Settings>(&text).unwrap_err().to_string();
    assert!(error.contains("line 5") && error.contains("max_wait = 1500"), "{error}");
    assert!(error.contains("max_wait is 1500: it must be text with a unit"), "{error}");
    let json = "{\n  \"max_in_flight\": 1,\n  \"max_wait\": 1500\n}";
    let error = serde_json::from_str::<ConcurrencyConfig>(json).unwrap_err().to_string();
    assert_eq!(
        error,
        "max_wait is 1500: it must be text with a unit, such as \"30s\" or \"250ms\" at line 3 \
         column 18"
    );
}

/// From the file to layers that limit, and to running limits.
#[tokio::test(start_paused = true)]
async fn s2_settings_of_a_file_make_layers_and_change_running_limits() {
    let Settings { requests, quota, retry } = toml::from_str(FILE).unwrap();
    let limit = requests.try_layer().unwrap();
    let (requests_handle, service) = (limit.handle(), limit.layer(Probe::new()));
    let limit = quota.try_layer().unwrap();
    let (quota_handle, rated) = (limit.handle(), limit.layer(service));
    let debug = format!("{limit:?}");
    assert!(debug.contains("Fixed") && debug.contains("RejectWithBoxError"), "{debug}");
    let policy = format!("{:?}", retry.try_policy().unwrap());
    for part in ["max_attempts: 5", "max_hint: 120s", "Some(60s)", "Equal", "base: 100ms"] {
        assert!(policy.contains(part), "{part} is not in {policy}");
    }
    assert_eq!(rated.oneshot(7).await.unwrap(), 7);
    let bounds = (requests_handle.max_queue(), requests_handle.max_wait());
    assert_eq!((requests_handle.limit(), bounds), (10, (Some(20), Some(ms(1500)))));
    assert_eq!((quota_handle.quota(), quota_handle.remaining()), (quota.quota, 99));

    let changed = FILE.replace("100/1m", "3/1m").replace("= 10\n", "= 1\n");
    let changed: Settings = toml::from_str(&changed.replace("max_queue = 20\n", "")).unwrap();
    changed.requests.apply(&requests_handle).unwrap();
    changed.quota.apply(&quota_handle).unwrap();
    assert_eq!((requests_handle.limit(), requests_handle.max_queue()), (1, None));
    assert_eq!((quota_handle.limit(), quota_handle.remaining()), (3, 2));
}

/// All is checked before anything is changed.
#[tokio::test(start_paused = true)]
async fn s2_apply_changes_all_settings_or_none() {
    let layer = ConcurrencyBackpressureLayer::new(3);
    let (handle, _service) = (layer.handle(), layer.layer(Probe::new()));
    let mut config = ConcurrencyConfig::new(5);
    config.max_wait = Some(secs(1));
    assert!(matches!(config.apply(&handle).unwrap_err(), ApplyError::Bound(_)));
    assert_eq!((handle.limit(), handle.max_wait()), (3, None));
    config.max_wait = None;
    config.apply(&handle).unwrap();
    assert_eq!(handle.limit(), 5);
    config.max_in_flight = 0;
    let error = config.apply(&handle).unwrap_err();
    assert_eq!(error.to_string(), "max_in_flight is 0: it must be between 1 and 2147483647");
    assert_eq!(config.try_layer().unwrap_err().setting(), "max_in_flight");
    assert_eq!(handle.limit(), 5);

    let layer = WindowRateLimitLayer::fixed(3, secs(1));
    let (handle, _service) = (layer.handle(), layer.layer(Probe::new()));
    let mut config = WindowConfig::new(Quota::new(9, secs(9)));
    let error = config.apply(&handle).unwrap_err().to_string();
    let shape = "as that of the running limit: a limit keeps its shape";
    assert_eq!(error, format!("shape is sliding: it must be fixed, {shape}"));
    config.shape = WindowShape::Fixed;
    config.max_queue = Some(0);
    let error = config.apply(&handle).unwrap_err().to_string();
    assert!(error.contains("without a reject policy") && error.contains("`max_queue`"), "{error}");
    assert_eq!(handle.quota(), Quota::new(3, secs(1)));
    config.max_queue = None;
    config.apply(&handle).unwrap();
    assert_eq!(handle.quota(), config.quota);
}

/// Bounds of a layer are replaced, and removed where the settings have none.
#[tokio::test(start_paused = true)]
async fn s2_applied_settings_replace_the_bounds_of_all_layers() {
    let layer = WindowRateLimitLayer::new(1, secs(60)).max_queue(0);
    let (handle, service) = (layer.handle(), layer.layer(Probe::new()));
    let other = layer.max_queue(5).max_wait(secs(1)).layer(Probe::new());
    service.clone().oneshot(1).await.unwrap();
    let mut config = WindowConfig::new(Quota::new(1, secs(60)));
    config.apply(&handle).unwrap();
    assert_eq!(service.clone().oneshot(2).await.unwrap(), 2, "waits");
    assert_eq!(other.clone().oneshot(3).await.unwrap(), 3, "waits");
    config.max_wait = Some(secs(59));
    config.apply(&handle).unwrap();
    for service in [service, other] {
        let error = service.oneshot(4).await.unwrap_err();
        assert!(Rejected::find(&*error).is_some_and(Rejected::is_wait_timeout));
    }
}

/// `check` has the error of `apply`, decides nothing and changes nothing.
#[test]
fn s2_check_reports_what_apply_would_and_changes_nothing() {
    let layer = ConcurrencyBackpressureLayer::new(3);
    let handle = layer.handle();
    let mut config = ConcurrencyConfig::new(5);
    config.max_queue = Some(2);
    config.check(&handle).unwrap();
    assert_eq!((handle.limit(), handle.max_queue()), (3, None));
    let _service = layer.layer(Probe::new()); // panics if the limit is bounded already
    assert_eq!(config.check(&handle), config.apply(&handle));
    assert!(matches!(config.check(&handle), Err(ApplyError::Bound(_))));
    config.max_queue = None;
    config.max_in_flight = 0;
    assert_eq!(config.check(&handle), config.apply(&handle));
    assert!(matches!(config.check(&handle), Err(ApplyError::Invalid(_))));
    assert_eq!((handle.limit(), handle.max_queue()), (3, None));

    let layer = WindowRateLimitLayer::new(3, secs(1));
    let handle = layer.handle();
    let mut config = WindowConfig::new(Quota::new(9, secs(9)));
    config.max_wait = Some(secs(1));
    config.check(&handle).unwrap();
    assert_eq!((handle.limit(), handle.max_wait()), (3, None));
    let _service = layer.layer(Probe::new());
    assert_eq!(config.check(&handle), config.apply(&handle));
    assert!(matches!(config.check(&handle), Err(ApplyError::Bound(_))));
    config.max_wait = None;
    config.shape = WindowShape::Fixed;
    assert_eq!(config.check(&handle), config.apply(&handle));
    assert_eq!(
        config.check(&handle).unwrap_err().to_string(),
        "shape is fixed: it must be sliding, as that of the running limit: a limit keeps its shape"
    );
    assert_eq!(handle.quota(), Quota::new(3, secs(1)));
}

#[test]
fn s2_check_of_a_retry_reports_a_budget_that_cannot_come_or_go() {
    let mut config = RetryConfig::new(5);
    let handle = config.try_policy().unwrap().name("without").handle();
    config.max_attempts = 2;
    config.check(&handle).unwrap();
    config.budget = Some(BudgetConfig::new(0.2));
    assert_eq!(config.check(&handle), config.apply(&handle));
    assert_eq!(
        config.check(&handle).unwrap_err().to_string(),
        "budget is present: it must be absent, as that of the running policy: a running policy \
         takes no budget"
    );
    assert_eq!(handle.settings().max_attempts, 5);

    let handle = config.try_policy().unwrap().name("with").handle();
    config.max_attempts = 7;
    config.budget = Some(BudgetConfig::new(0.9));
    config.check(&handle).unwrap();
    config.budget = None;
    assert_eq!(config.check(&handle), config.apply(&handle));
    assert_eq!(
        config.check(&handle).unwrap_err().to_string(),
        "budget is absent: it must be present, as that of the running policy: a running policy \
         keeps its budget"
    );
    config.budget = Some(BudgetConfig::new(-1.0));
    assert_eq!(config.check(&handle), config.apply(&handle));
    config.budget = Some(BudgetConfig::new(0.2));
    config.max_attempts = 0;
    assert_eq!(config.check(&handle), config.apply(&handle));
    assert_eq!(
        config.check(&handle).unwrap_err().to_string(),
        "max_attempts is 0: it must be at least 1, which is the first attempt"
    );
    assert_eq!(handle.settings().max_attempts, 2);
}

/// The counts tell changes of limit and window alone, however often the same is set.
#[test]
fn s2_unchanged_settings_are_reported_as_no_change() {
    let layer = ConcurrencyBackpressureLayer::new(3).reject_with_box_error().name("requests");
    let handle = layer.handle();
    let changes = || handle.snapshot().counts.unwrap().limit_changes;
    let mut config = ConcurrencyConfig::new(3);
    config.max_queue = Some(5);
    config.apply(&handle).unwrap();
    handle.set_limit(3).unwrap();
    assert_eq!((changes(), handle.max_queue()), (0, Some(5)));
    config.max_in_flight = 4;
    config.apply(&handle).unwrap();
    config.apply(&handle).unwrap();
    assert_eq!(changes(), 1);
    handle.set_limit(3).unwrap();
    handle.set_limit(3).unwrap();
    assert_eq!(changes(), 2);

    for shape in [WindowShape::Sliding, WindowShape::Fixed] {
        let mut config = WindowConfig::new(Quota::new(3, secs(1)));
        config.shape = shape;
        let handle = config.try_layer().unwrap().name("quota").handle();
        let changes = || handle.snapshot().counts.unwrap().limit_changes;
        config.max_wait = Some(secs(5));
        config.apply(&handle).unwrap();
        handle.set_quota(config.quota);
        handle.set_limit(3).unwrap();
        handle.set_window(secs(1)).unwrap();
        assert_eq!((changes(), handle.max_wait()), (0, Some(secs(5))));
        config.quota = Quota::new(3, secs(2)); // only the window
        config.apply(&handle).unwrap();
        config.apply(&handle).unwrap();
        assert_eq!(changes(), 1);
        handle.set_quota(Quota::new(4, secs(2))); // only the limit
        handle.set_quota(Quota::new(4, secs(2)));
        assert_eq!(changes(), 2);
        handle.set_limit(5).unwrap();
        handle.set_limit(5).unwrap();
        assert_eq!(changes(), 3);
        handle.set_window(secs(1)).unwrap();
        handle.set_window(secs(1)).unwrap();
        assert_eq!(changes(), 4);
    }
}
