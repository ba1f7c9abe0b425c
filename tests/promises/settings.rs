use std::time::Duration;

use tower::{BoxError, Layer, ServiceExt};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, InvalidSetting, Rejected, WindowRateLimitLayer,
    keyed::{KeyedLimitLayer, Plan, Rule},
    retry::{Backoff, Jitter, RetryBudget, Waits},
};

use crate::support::{Probe, secs};

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

fn message<T>(checked: Result<T, InvalidSetting>) -> String {
    checked.err().expect("refused").to_string()
}

#[test]
fn c7_invalid_setting_is_reported_with_name_value_and_range() {
    let nanosecond = Duration::from_nanos(1);
    assert_eq!(
        [
            message(ConcurrencyBackpressureLayer::try_new(0)),
            message(ConcurrencyBackpressureLayer::try_new(1 << 31)),
            message(ConcurrencyBackpressureLayer::try_new(u32::MAX)),
            message(WindowRateLimitLayer::try_new(0, secs(1))),
            message(WindowRateLimitLayer::try_new(u32::MAX, secs(1))),
            message(WindowRateLimitLayer::try_new(1, Duration::ZERO)),
            message(WindowRateLimitLayer::try_fixed(1, CENTURY + nanosecond)),
            message(ExponentialRetry::try_new(0)),
            message(Backoff::try_new(Duration::ZERO, secs(1))),
            message(Backoff::try_new(secs(2), secs(1))),
            message(Backoff::try_fixed(Duration::ZERO)),
            message(Backoff::try_uniform(Duration::ZERO..=Duration::ZERO)),
            message(Backoff::try_uniform(secs(2)..=secs(1))),
            message(Waits::try_chain([])),
            message(Waits::try_chain([secs(1), Duration::ZERO])),
            message(Waits::chain([secs(1)]).try_jitter(Jitter::Decorrelated)),
            message(Waits::from_fn(|_| secs(1)).try_jitter(Jitter::Uniform)),
            message(Backoff::default().try_factor(0.5)),
            message(Backoff::default().try_factor(f64::NAN)),
            message(Backoff::default().try_factor(f64::INFINITY)),
            message(RetryBudget::try_new(-0.1)),
            message(RetryBudget::try_new(f64::NAN)),
            message(RetryBudget::try_new(1000.5)),
        ],
        [
            "max_in_flight is 0: it must be between 1 and 2147483647",
            "max_in_flight is 2147483648: it must be between 1 and 2147483647",
            "max_in_flight is 4294967295: it must be between 1 and 2147483647",
            "limit is 0: it must be between 1 and 2147483647",
            "limit is 4294967295: it must be between 1 and 2147483647",
            "window is 0ns: it must be longer than zero and at most 100 years",
            "window is 3153600000.000000001s: it must be longer than zero and at most 100 years",
            "max_attempts is 0: it must be at least 1, which is the first attempt",
            "base is 0ns: it must be longer than zero and at most max (1s)",
            "base is 2s: it must be longer than zero and at most max (1s)",
            "wait is 0ns: it must be longer than zero",
            "range is 0ns..=0ns: it must be a range whose end is above zero and not before its start",
            "range is 2s..=1s: it must be a range whose end is above zero and not before its start",
            "waits is []: it must be a list of one wait or more, each longer than zero",
            "waits is [1s, 0ns]: it must be a list of one wait or more, each longer than zero",
            "jitter is Decorrelated: it must be Full, Equal or None, because these waits have no base and no max",
            "jitter is Uniform: it must be Full, Equal or None, because these waits have no base and no max",
            "factor is 0.5: it must be a finite number, 1 or above",
            "factor is NaN: it must be a finite number, 1 or above",
            "factor is inf: it must be a finite number, 1 or above",
            "ratio is -0.1: it must be between 0 and 1000",
            "ratio is NaN: it must be between 0 and 1000",
            "ratio is 1000.5: it must be between 0 and 1000",
        ]
    );
}

#[test]
fn c7_largest_settings_are_valid() {
    let most = (1 << 31) - 1;
    assert_eq!(ConcurrencyBackpressureLayer::new(most).handle().limit(), most);
    let rate = WindowRateLimitLayer::new(most, CENTURY);
    assert_eq!((rate.handle().limit(), rate.handle().window()), (most, CENTURY));
    let _ = WindowRateLimitLayer::new(1, Duration::from_nanos(1));
    let _ = ExponentialRetry::new(u32::MAX).max_elapsed(Duration::MAX).max_hint(Duration::MAX);
    let _ = Backoff::new(Duration::from_nanos(1), Duration::MAX).factor(f64::MAX);
    let _ = (RetryBudget::new(0.0), RetryBudget::new(1000.0));
}

#[test]
fn c7_invalid_literal_panics_at_the_callers_line() {
    let panics: [(fn(), &str, u32); 7] = [
        (|| drop(ConcurrencyBackpressureLayer::new(0)), "max_in_flight is 0", line!()),
        (|| drop(WindowRateLimitLayer::new(1, Duration::ZERO)), "window is 0ns", line!()),
        (|| drop(ExponentialRetry::new(0)), "max_attempts is 0", line!()),
        (|| drop(RetryBudget::new(f64::NAN)), "ratio is NaN", line!()),
        (|| _ = Backoff::fixed(Duration::ZERO), "wait is 0ns", line!()),
        (|| _ = Backoff::uniform(secs(2)..=secs(1)), "range is 2s..=1s", line!()),
        (|| drop(Waits::chain([])), "waits is []", line!()),
    ];
    for (panics, reason, line) in panics {
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            // The hook is the process's, and tells the threads apart.
            let id = std::thread::current().id();
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if std::thread::current().id() == id {
                    let location = info.location().expect("always there");
                    let _ = sender.send((location.file().to_owned(), location.line()));
                } else {
                    before(info);
                }
            }));
            panics();
        });
        let message = thread.join().unwrap_err().downcast::<String>().expect("a message");
        assert!(message.starts_with(reason), "{message}");
        assert_eq!(receiver.recv().expect("panicked"), (file!().to_owned(), line));
    }
}

#[test]
fn c7_handle_refuses_an_invalid_setting_and_changes_nothing() {
    let concurrency = ConcurrencyBackpressureLayer::new(3).handle();
    let rate = WindowRateLimitLayer::new(3, secs(1)).handle();
    assert_eq!(concurrency.set_limit(0).unwrap_err().setting(), "max_in_flight");
    assert_eq!(rate.set_limit(1 << 31).unwrap_err().setting(), "limit");
    assert_eq!(rate.set_window(Duration::ZERO).unwrap_err().setting(), "window");
    assert_eq!((concurrency.limit(), rate.limit(), rate.window()), (3, 3, secs(1)));
}

fn is_queue_full(error: &BoxError) -> bool {
    Rejected::find(&**error).is_some_and(Rejected::is_queue_full)
}

/// Each setting is made after the limit has been shared and is in use.
#[tokio::test(start_paused = true)]
async fn c7_settings_in_any_order_share_the_limit() {
    let layer = ConcurrencyBackpressureLayer::new(1);
    let handle = layer.handle();
    let mut holder = layer.layer(Probe::new());
    holder.ready().await.unwrap();

    let queue = layer.clone().max_queue(0);
    let queue_and_wait = queue.clone().max_wait(secs(1));
    let wait_and_queue = layer.clone().max_wait(secs(1)).max_queue(0);
    let error = layer.clone().reject_with_box_error().max_queue(0);
    let own = layer.clone().reject_with_error::<BoxError>().max_queue(0);
    let response = queue.clone().reject_with(|_| 503);
    let response_first = layer.clone().reject_with(|_| 503).max_queue(0);

    for layer in [queue, queue_and_wait, wait_and_queue, error] {
        let error = layer.layer(Probe::new()).oneshot(0).await.unwrap_err();
        assert!(is_queue_full(&error));
    }
    let error = own.layer(Probe::new()).oneshot(0).await.unwrap_err();
    assert!(is_queue_full(&error));
    assert_eq!(response.layer(Probe::new()).oneshot(0).await.unwrap(), 503);
    assert_eq!(response_first.layer(Probe::new()).oneshot(0).await.unwrap(), 503);
    assert_eq!((handle.in_flight(), handle.rejected().queue_full), (1, 7));

    let window = WindowRateLimitLayer::new(1, secs(60));
    let handle = window.handle();
    window.layer(Probe::new()).oneshot(0).await.unwrap();
    let early = window.clone().max_wait(secs(1)).reject_with(|_| 429).max_queue(0);
    let late = window.max_queue(0).max_wait(secs(1)).reject_with(|_| 429);
    assert_eq!(early.layer(Probe::new()).oneshot(0).await.unwrap(), 429);
    assert_eq!(late.layer(Probe::new()).oneshot(0).await.unwrap(), 429);
    assert_eq!(handle.rejected().queue_full, 2);
}

#[test]
fn c7_invalid_rule_is_reported_with_its_remedy() {
    let rule = || Rule::new("client", |request: &u32| Some(*request));
    let plan = |limit, window| Plan::new().at_most(limit, window);
    let of = |request: &u32| *request as usize;
    let layer = |plans: Vec<Plan>| message(KeyedLimitLayer::try_new(rule().plans(plans, of)));
    let large = || rule().at_most(i32::MAX as u32, secs(1));
    let late = |limit| rule().at_most(limit, secs(1)).settle(|cost: &u32| Some(*cost));
    assert_eq!(
        [
            message(KeyedLimitLayer::try_new(rule())),
            message(KeyedLimitLayer::try_new(Rule::global("").at_most(1, secs(1)))),
            message(KeyedLimitLayer::try_new((
                rule().at_most(1, secs(1)),
                rule().max_in_flight(1)
            ))),
            layer(vec![plan(1, secs(1)), plan(1, secs(2))]),
            layer(vec![plan(1, secs(1)), plan(1, secs(1)).max_in_flight(1)]),
            message(KeyedLimitLayer::try_new(large())),
            message(KeyedLimitLayer::try_new(late(1 << 28))),
            message(KeyedLimitLayer::try_new(large().at_most(i32::MAX as u32, secs(60)))),
            message(KeyedLimitLayer::try_new(rule().at_most(10, secs(1)).at_most(5, secs(3600)))),
            message(KeyedLimitLayer::try_new(rule().at_most(5, secs(3600)).at_most(10, secs(1)))),
            message(KeyedLimitLayer::try_new(rule().at_most(2, secs(60)).at_most(3, secs(60)))),
            layer(vec![
                plan(1, secs(1)).at_most(1, secs(60)),
                plan(9, secs(1)).at_most(8, secs(60)),
            ]),
            message(rule().try_plans([], of)),
            message(rule().try_max_keys(0)),
            message(rule().try_max_keys((1 << 28) + 1)),
            message(rule().try_max_in_flight(0)),
            message(rule().try_penalty(Duration::ZERO)),
            message(Plan::new().try_max_in_flight(1 << 31)),
            message(rule().try_track_top(0)),
            message(rule().try_track_top(101)),
        ],
        [
            r#"rule is "client": it must be one with a limit, by at_most or max_in_flight"#,
            r#"name of a rule is "": it must be a text that is not empty"#,
            r#"name of a rule is "client": it must be another one than that of each other rule"#,
            r#"windows of a plan is [2s]: it must be [1s], as in the first plan of rule "client""#,
            r#"max_in_flight of a plan is None: it must be set in all plans of rule "client", or in none"#,
            r#"limit is 2147483647: it must be at most 1073741822 in rule "client""#,
            r#"limit is 268435456: it must be at most 268435455 in rule "client""#,
            r#"rule is "client": it must be one whose counts fit into a word, which has 67 bits too few: make its windows rules of their own, by the same key"#,
            r#"quota is 10/1s: it must be at most 5/1s in rule "client", whose 5/1h is reached before"#,
            r#"quota is 10/1s: it must be at most 5/1s in rule "client", whose 5/1h is reached before"#,
            r#"quota is 3/1m: it must be at most 2/1m in rule "client", whose 2/1m is reached before"#,
            r#"quota is 9/1s: it must be at most 8/1s in rule "client", whose 8/1m is reached before"#,
            "plans is 0: it must be a list of 1 to 8 plans",
            "max_keys is 0: it must be between 1 and 268435456",
            "max_keys is 268435457: it must be between 1 and 268435456",
            "max_in_flight is 0: it must be between 1 and 2147483647",
            "penalty is 0ns: it must be longer than zero and at most 100 years",
            "max_in_flight is 2147483648: it must be between 1 and 2147483647",
            "track_top is 0: it must be between 1 and 100",
            "track_top is 101: it must be between 1 and 100",
        ]
    );
    drop(KeyedLimitLayer::new(rule().max_in_flight(1).max_keys(1).track_top(100)));
    // In any order, and for a plan that has no use for the shorter window.
    let in_any_order = rule().at_most(9, secs(60)).at_most(3, secs(1)).at_most(9, secs(3600));
    drop(KeyedLimitLayer::new(in_any_order.max_keys(1)));
    drop(KeyedLimitLayer::new(rule().max_keys(1).at_most((1 << 30) - 2, secs(1))));
    drop(KeyedLimitLayer::new(late((1 << 28) - 1).max_keys(1)));
}
