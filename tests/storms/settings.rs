//! Storms of changed settings.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use tower_floodgate::{
    Quota,
    config::{ConcurrencyConfig, WindowConfig},
};

use crate::support::{Steps, guarded, storm};

const CHANGES: u32 = 50_000;

fn concurrency(limit: u32) -> ConcurrencyConfig {
    let mut config = ConcurrencyConfig::new(limit);
    config.max_queue = Some(limit);
    config.max_wait = Some(Duration::from_secs(limit.into()));
    config
}

fn window(limit: u32) -> WindowConfig {
    let wait = Duration::from_secs(limit.into());
    let mut config = WindowConfig::new(Quota::new(limit, wait));
    (config.max_queue, config.max_wait) = (Some(limit), Some(wait));
    config
}

/// Two threads read while another one changes all settings, which are equal in each change.
#[test]
fn s2_each_reading_is_of_one_change() {
    storm("settings", |_, line| {
        let in_flight = concurrency(1).try_layer().unwrap().handle();
        let rate = window(1).try_layer().unwrap().handle();
        let (steps, is_over) = (Steps::default(), AtomicBool::new(false));
        let count = steps.clone();
        let (watched, changed) = ((in_flight.clone(), rate.clone()), (in_flight, rate));
        let change = move || {
            thread::scope(|scope| {
                let readers = [(); 2].map(|()| {
                    scope.spawn(|| {
                        let mut readings = 0;
                        while !is_over.load(Relaxed) {
                            let read = changed.0.snapshot();
                            let wait = read.max_wait.map_or(0, |wait| wait.as_secs());
                            assert_eq!(
                                (read.max_queue, wait),
                                (Some(read.limit), read.limit.into()),
                                "{read:?}"
                            );
                            let read = changed.1.snapshot();
                            let wait = read.max_wait.map_or(0, |wait| wait.as_secs());
                            assert_eq!(
                                (read.max_queue, wait, read.window.as_secs()),
                                (Some(read.limit), read.limit.into(), read.limit.into()),
                                "{read:?}"
                            );
                            readings += 1;
                        }
                        readings
                    })
                });
                for (n, limit) in (0..CHANGES).zip([1, 2, 3, 70_000].into_iter().cycle()) {
                    count.note(n);
                    concurrency(limit).apply(&changed.0).unwrap();
                    window(limit).apply(&changed.1).unwrap();
                }
                is_over.store(true, Relaxed);
                readers.map(|reader| reader.join().unwrap()).iter().sum::<usize>()
            })
        };
        let readings = guarded(watched, || steps.get(), change);
        line.count("changes", CHANGES);
        line.count("readings", readings);
    });
}
