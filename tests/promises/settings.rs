use std::time::Duration;

use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, InvalidSetting, WindowRateLimitLayer,
    retry::{Backoff, RetryBudget},
};

use crate::support::secs;

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
    let panics: [(fn(), &str, u32); 4] = [
        (|| drop(ConcurrencyBackpressureLayer::new(0)), "max_in_flight is 0", line!()),
        (|| drop(WindowRateLimitLayer::new(1, Duration::ZERO)), "window is 0ns", line!()),
        (|| drop(ExponentialRetry::new(0)), "max_attempts is 0", line!()),
        (|| drop(RetryBudget::new(f64::NAN)), "ratio is NaN", line!()),
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
