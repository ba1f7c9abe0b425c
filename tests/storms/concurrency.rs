//! Storms at a limit of the requests in flight.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::{convert::Infallible, future::ready, hint, thread};

use futures::executor::block_on;
use tower::{Layer, ServiceExt, service_fn};
use tower_floodgate::{ConcurrencyBackpressureLayer, Rejected};

use crate::crowd::{cancelling, changing, some_are_not_polled_again};
use crate::site::Site;
use crate::support::{Steps, guarded, storm};

#[test]
fn c4_b1_cancellations_at_a_concurrency_limit_lose_no_permit() {
    cancelling("concurrency_cancelling", 4, 20, || Site::concurrency(8));
}

#[test]
fn c4_b1_cancellations_at_a_concurrency_limit_lose_no_permit_on_one_thread() {
    cancelling("concurrency_cancelling_on_one_thread", 0, 20, || Site::concurrency(8));
}

#[test]
fn b5_tasks_that_are_not_polled_again_cost_one_permit_each() {
    some_are_not_polled_again("concurrency_not_polled_again", 7, || Site::concurrency(8));
}

#[test]
fn c4_b6_changing_limit_holds_for_newcomers_and_loses_no_permit() {
    changing("concurrency_changing", 10, || Site::concurrency(32), |_, _| {});
}

/// Four plain threads make requests, most of which are rejected rather than queued.
///
/// With one permit the limit is a mutex: a sum that the inner service loads and stores in two steps
/// is exact. Threads yield rarely: a yield lasts as long as the scheduler runs other programs.
fn millions(name: &str, limit: u32) {
    const EACH: u32 = 200_000;
    storm(name, |_, line| {
        let layer = ConcurrencyBackpressureLayer::new(limit).reject_with(|_: Rejected| false);
        let (handle, steps) = (layer.handle(), Steps::default());
        let count = steps.clone();
        let threads = move || {
            let [inside, most_inside, sum] = [(); 3].map(|()| AtomicU32::new(0));
            let inner = service_fn(|()| {
                most_inside.fetch_max(inside.fetch_add(1, Relaxed) + 1, Relaxed);
                let loaded = sum.load(Relaxed);
                match loaded {
                    // Other threads make requests meanwhile, on any processor.
                    _ if loaded % 256 == 0 => thread::yield_now(),
                    _ if loaded % 8 == 0 => (0..100).for_each(|_| hint::spin_loop()),
                    _ => {}
                }
                sum.store(loaded + 1, Relaxed);
                inside.fetch_sub(1, Relaxed);
                ready(Ok::<_, Infallible>(true))
            });
            let waiting = layer.layer(inner);
            let rejecting = layer.clone().max_queue(0).layer(inner);
            let pass = || {
                let (mut requests, mut admitted, mut rejected_in_a_row) = (0, 0, 0);
                while admitted < EACH {
                    let waits = requests % 64 == 0;
                    let service = if waits { waiting.clone() } else { rejecting.clone() };
                    if block_on(service.oneshot(())) == Ok(true) {
                        count.note(admitted);
                        (admitted, rejected_in_a_row) = (admitted + 1, 0);
                    } else {
                        rejected_in_a_row += 1;
                        // The thread that holds the permit may need this processor.
                        if rejected_in_a_row % 16 == 0 {
                            thread::yield_now();
                        }
                    }
                    requests += 1;
                }
            };
            thread::scope(|scope| [(); 4].map(|()| scope.spawn(pass)).map(drop));
            (most_inside.into_inner(), sum.into_inner())
        };
        let (most, sum) = guarded(handle.clone(), || steps.get(), threads);
        let left = (handle.in_flight(), handle.queued());
        line.count("admitted", 4 * EACH);
        line.count("rejected", handle.rejected().total());
        line.count("most_inside", most);
        line.count("left_in_flight", left.0);
        line.count("left_queued", left.1);
        assert!(most <= limit, "{most} in flight");
        assert!(limit > 1 || sum == 4 * EACH, "the inner service counted {sum}");
        assert_eq!(left, (0, 0), "left in flight and queued");
    });
}

#[test]
fn b1_millions_pass_a_concurrency_limit_and_never_too_many_at_once() {
    millions("concurrency_millions", 1);
    millions("concurrency_millions_three_permits", 3);
}
