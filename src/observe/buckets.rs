//! Bounds of the buckets of histograms, for exporters.

/// Bounds for the buckets of `floodgate_queue_wait_seconds`, in seconds.
///
/// They are those of OpenTelemetry's conventions for durations of HTTP requests, and three more. A
/// wait takes a millisecond at least, so the first bucket has the requests that did not wait. The
/// last two are for windows of a minute.
pub const QUEUE_WAIT_BUCKETS: [f64; 17] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0,
    60.0,
];

/// Bounds for the buckets of `floodgate_pause_seconds`, in seconds.
///
/// A server asks for a pause in whole seconds, or until the end of its window: a minute or an hour.
pub const PAUSE_BUCKETS: [f64; 12] =
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];

/// Bounds for the buckets of `floodgate_store_request_seconds`, in seconds.
///
/// From the round trip to a server beside the process to the longest timeout of a request.
pub const STORE_REQUEST_BUCKETS: [f64; 15] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0,
];

/// Bounds for the buckets of `floodgate_store_outage_seconds`, in seconds.
///
/// From an outage that the first probe ends to one of an hour.
pub const STORE_OUTAGE_BUCKETS: [f64; 13] =
    [0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];
