use std::time::Duration;

use tower_floodgate::{
    ConcurrencyBackpressureLayer, WindowRateLimitLayer,
    observe::{
        Limits, PAUSE_BUCKETS, QUEUE_WAIT_BUCKETS, STORE_OUTAGE_BUCKETS, STORE_REQUEST_BUCKETS,
    },
};

pub fn recorded() -> Limits {
    let limits = Limits::new();
    limits.add(ConcurrencyBackpressureLayer::new(5).name("database").handle());
    limits.add(WindowRateLimitLayer::new(5, Duration::from_secs(1)).name("github").handle());
    limits.record_metrics();
    limits
}

pub fn buckets() -> [&'static [f64]; 4] {
    [&QUEUE_WAIT_BUCKETS, &PAUSE_BUCKETS, &STORE_REQUEST_BUCKETS, &STORE_OUTAGE_BUCKETS]
}
