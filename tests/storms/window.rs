//! Storms at a limit of the requests in a window.

use std::{convert::Infallible, future::ready, thread, time::Duration};

use fastrand::Rng;
use futures::FutureExt;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_floodgate::Rejected;

use crate::crowd::{cancelling, changing, some_are_not_polled_again};
use crate::site::{Handle, Site};
use crate::spans::Span;
use crate::support::{Steps, guarded, nanos_at_the_end, storm};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn c4_w1_cancellations_at_a_sliding_window_lose_no_permit() {
    cancelling("window_cancelling", 4, 1, || Site::window(false, 1000, ms(100)));
    cancelling("window_cancelling_short", 4, 1, || Site::window(false, 50, ms(10)));
}

#[test]
fn c4_w1_cancellations_at_a_sliding_window_lose_no_permit_on_one_thread() {
    cancelling("window_cancelling_on_one_thread", 0, 1, || Site::window(false, 1000, ms(100)));
    cancelling("window_cancelling_short_on_one_thread", 0, 1, || Site::window(false, 50, ms(10)));
}

#[test]
fn c4_w2_cancellations_at_a_fixed_window_lose_no_permit() {
    cancelling("window_cancelling_fixed", 4, 1, || Site::window(true, 1000, ms(100)));
    cancelling("window_cancelling_short_fixed", 4, 1, || Site::window(true, 50, ms(10)));
}

#[test]
fn b5_tasks_that_are_not_polled_again_at_a_window_delay_no_waiter() {
    some_are_not_polled_again("window_not_polled_again", 50, || Site::window(false, 200, ms(10)));
}

/// Limit and length change, and there are pauses. At most the highest limit is issued in any span
/// of the shortest length.
///
/// Take the request of a span that was granted its permit last. The others held theirs by then, and
/// none of these had expired, by the steps at [`Span::judge`]. So all of them were within the limit
/// of that time.
#[test]
fn c4_w1_w9_changing_window_holds_and_loses_no_permit() {
    changing(
        "window_changing",
        3,
        || Site::window(false, 200, ms(5)),
        |handle, rng| {
            let Handle::Window(handle) = handle else { unreachable!() };
            match rng.u8(..4) {
                0 => handle.pause_for(Duration::from_micros(rng.u64(..2000))),
                1 => handle.set_window(ms(rng.u64(5..=15))).unwrap(),
                _ => {}
            }
        },
    );
}

/// Four plain threads make requests that are issued at once or rejected. Now and then one has
/// twenty clones ready before it calls, so that permits are held for a while.
///
/// The number of requests is fixed, so that slow machines reach the limit, too.
fn millions(name: &str, fixed: bool) {
    const EACH: u32 = 400_000;
    storm(name, |seed, line| {
        let (layer, span) = Span::new(fixed, 4000, ms(20));
        let (handle, steps) = (layer.handle(), Steps::default());
        let count = steps.clone();
        let layer = layer.max_queue(0).reject_with(|_: Rejected| None);
        let service =
            layer.layer(service_fn(|()| ready(Ok::<_, Infallible>(Some(nanos_at_the_end())))));
        let hammer = move |mut rng: Rng| {
            let mut times = Vec::new();
            for n in 0..EACH {
                count.note(n);
                let mut clones = vec![service.clone(); if rng.u8(..) == 0 { 20 } else { 1 }];
                for clone in &mut clones {
                    clone.ready().now_or_never().expect("no request waits").unwrap();
                }
                let responses = clones.iter_mut().map(|clone| clone.call(()).now_or_never());
                times.extend(responses.filter_map(|response| response.unwrap().unwrap()));
            }
            times
        };
        let threads = move || {
            thread::scope(|scope| {
                let rngs = [0, 1, 2, 3].map(|thread| Rng::with_seed(4 * seed + thread));
                let threads = rngs.map(|rng| scope.spawn(|| hammer(rng)));
                threads.map(|thread| thread.join().unwrap()).concat()
            })
        };
        let times = guarded(handle.clone(), || steps.get(), threads);
        line.count("admitted", times.len());
        line.count("rejected", handle.rejected().total());
        span.judge(times, line);
        let all_expire = {
            let handle = handle.clone();
            move || {
                while handle.remaining() < handle.limit() {
                    thread::yield_now();
                }
            }
        };
        guarded(handle, || 0, all_expire);
    });
}

#[test]
fn w1_w2_millions_at_a_window_are_never_too_many() {
    millions("window_millions", false);
    millions("window_millions_fixed", true);
}
