//! Growth: whether a call costs more with a larger limit, with more clones, or with more who wait.
//!
//! Ratios are to the smallest. The windows grow with their limits, 2 ns for each, so that none is ever
//! full. Clones are called in turn, so with many of them the caches take part. In front of a full limit
//! as many wait as said; each call is that of the head of the line, whose place goes to the next, and which then
//! waits again at the end: no runtime takes part.

use std::{
    future::Future,
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tower::{Layer, Service, limit::ConcurrencyLimitLayer};
use tower_floodgate::{ConcurrencyBackpressureLayer, WindowRateLimitLayer};

use crate::{
    args::Pace,
    field::{Field, Who, ours, same},
    race::{self, Batch},
    report::Section,
    service::{SMALL, call, calls},
    waiters::{in_line, ready},
};

const PLACES: usize = 1_000;
const WINDOW: (u64, Duration) = (100_000, Duration::from_micros(100));

pub(crate) fn run(pace: Pace) -> Vec<Section> {
    fields().iter().map(|field| race::counted(field, pace)).collect()
}

pub(crate) fn fields() -> Vec<Field> {
    let limits = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
    let clones = [1, 10, 100, 1_000, 10_000];
    let waiting = [100, 1_000, 10_000, 100_000];
    vec![
        over("gate, by its limit", &limits, |limit| {
            calls(ConcurrencyBackpressureLayer::new(limit).layer(SMALL))
        }),
        over("window, by its limit", &limits, |limit| {
            let window = Duration::from_nanos(2 * limit as u64);
            calls(WindowRateLimitLayer::new(limit as u64, window).layer(SMALL))
        }),
        over("tower ConcurrencyLimit, by clones", &clones, |clones| {
            in_turn(ConcurrencyLimitLayer::new(PLACES).layer(SMALL), clones)
        }),
        over("gate, by clones", &clones, |clones| {
            in_turn(ConcurrencyBackpressureLayer::new(PLACES).layer(SMALL), clones)
        }),
        over("window, by clones", &clones, |clones| {
            let (limit, window) = WINDOW;
            in_turn(WindowRateLimitLayer::new(limit, window).layer(SMALL), clones)
        }),
        over("tower ConcurrencyLimit, by waiters", &waiting, |waiting| {
            round_the_line(ConcurrencyLimitLayer::new(1).layer(SMALL), waiting)
        }),
        over("gate, by waiters", &waiting, |waiting| {
            round_the_line(ConcurrencyBackpressureLayer::new(1).layer(SMALL), waiting)
        }),
    ]
}

/// One contender for each size; the smallest is what the others are compared with.
fn over(title: &str, sizes: &[usize], make: fn(usize) -> Batch) -> Field {
    let field = Field::above(title, || calls(SMALL));
    sizes.iter().enumerate().fold(field, |field, (place, &size)| {
        let who: fn(String, &'static str) -> Who = if place == 0 { same } else { ours };
        field.with(who(size.to_string(), ""), move || make(size))
    })
}

fn in_turn<S: Service<u32> + Clone + Send + 'static>(service: S, clones: usize) -> Batch {
    let mut services = vec![service; clones];
    let mut next = 0;
    Box::new(move |calls| {
        for request in 0..calls {
            call(&mut services[next], request);
            next = (next + 1) % services.len();
        }
    })
}

fn round_the_line<S: Service<u32> + Clone + Send + 'static>(service: S, waiting: usize) -> Batch {
    let first = ready(&service);
    let mut line: Vec<S> = (0..waiting).map(|_| in_line(&service)).collect();
    drop(first);
    let mut head = 0;
    Box::new(move |calls| {
        let mut cx = Context::from_waker(Waker::noop());
        for request in 0..calls {
            let service = black_box(&mut line[head]);
            let readiness = service.poll_ready(&mut cx);
            assert!(matches!(readiness, Poll::Ready(Ok(()))), "it wasn't the next in line");
            let response = pin!(service.call(black_box(request))).poll(&mut cx);
            assert!(matches!(black_box(response), Poll::Ready(Ok(_))), "it was not answered");
            assert!(service.poll_ready(&mut cx).is_pending(), "nobody else had the place");
            head = (head + 1) % line.len();
        }
    })
}
