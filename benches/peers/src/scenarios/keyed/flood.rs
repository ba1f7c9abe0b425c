//! S9: a flood of new keys, ten million against a table for 100,000.
//!
//! One thread calls once for each new key, as fast as it can. Another thread calls for clients that
//! are known since before the flood, half as many as the table is for. They share the quota with no
//! other, and keep below it. In between, one attacker calls all the time, and new honest clients
//! call once each.
//!
//! - *memory*: the bytes on the heap that the flood has left behind.
//! - *most of an attacker*: the most of its calls that were admitted in any span of a window, as a
//!   share of N.
//! - *p99*: of the decisions for known clients, each timed by itself, before the flood and in it.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;
use tower::Layer;

use super::layer;
use crate::{
    contenders::{
        Label,
        keys::{Ask, Key, key, respond},
        other, ours, peers,
    },
    measure::allocations::{live_bytes, uncounted},
    pace::Pace,
    report::{Figure, Section, less, plain, stats::percentile},
    service::SMALL,
};

const QUOTA: u32 = 10;
const WINDOW: Duration = Duration::from_secs(4);

const MEMORY: Figure = plain("memory", "bytes");
const ATTACKER: Figure = plain("most of an attacker", "/ N");
const KNOWN: Figure = plain("known clients", "% admitted");
const NEW: Figure = plain("new clients", "% admitted");
const IDLE: Figure = plain("p99 before", "ns");
const FLOODED: Figure = plain("p99 in it", "ns");
const RATIO: Figure = less("p99", "/ before");
const HALF: Figure = plain("median in it", "ns");
const RATE: Figure = plain("flood", "million/s");

/// The numbers of the clients of each kind.
const ATTACK: u32 = 1 << 28;
const NEW_CLIENTS: u32 = 1 << 29;
const FLOOD: u32 = 1 << 30;

struct Size {
    max_keys: u32,
    flood: u32,
    /// Of the thread of known clients, before the flood.
    idle: Duration,
}

/// Makes a limit, for the thread that floods and for that of the known clients.
type Make = dyn Fn(&Size) -> [Box<dyn Ask>; 2];

pub(in super::super) fn run(pace: Pace) -> Vec<Section> {
    let million = 1_000_000;
    let size = Size {
        max_keys: pace.pick(1_000, 100_000, 100_000),
        flood: pace.pick(20_000, 2 * million, 10 * million),
        idle: Duration::from_millis(pace.pick(10, 1_000, 2_000)),
    };
    let rounds = pace.pick(1, 1, 3);
    let mut section = Section::new("a flood of new keys");
    let governor = |_: &Size| {
        let limiter: Arc<governor::DefaultKeyedRateLimiter<Key>> =
            peers::keyed_governor(QUOTA, WINDOW).into();
        let ask = |limiter: Arc<governor::DefaultKeyedRateLimiter<Key>>| -> Box<dyn Ask> {
            let mut inner = respond(SMALL);
            Box::new(move |client| limiter.check_key(&key(client)).is_ok() && inner(client))
        };
        [ask(Arc::clone(&limiter)), ask(limiter)]
    };
    let own = |size: &Size| {
        let service = layer(&[(QUOTA, WINDOW)], size.max_keys).layer(SMALL);
        [service.clone(), service].map(|service| -> Box<dyn Ask> { Box::new(respond(service)) })
    };
    let contenders: [(Label, &Make); 2] =
        [(other("governor", "up to 2 N"), &governor), (ours("keyed limit", "exact"), &own)];
    for _ in 0..rounds {
        for (label, make) in &contenders {
            for (figure, value) in flood(make(&size), &size) {
                section.push(label, figure, vec![value]);
            }
        }
    }
    section
        .note
        .replace(format!("{} keys, max_keys {}, {rounds} rounds.", size.flood, size.max_keys));
    vec![section]
}

fn flood([mut flooder, mut tracker]: [Box<dyn Ask>; 2], size: &Size) -> Vec<(Figure, f64)> {
    let known = size.max_keys / 2;
    (0..known).for_each(|client| assert!(tracker(client), "the first request is admitted"));
    let begin = Instant::now();
    let idle = track(&mut *tracker, known, &mut || begin.elapsed() < size.idle);
    let has_ended = AtomicBool::new(false);
    let runtime = Handle::current();
    let ((bytes, took), flooded) = thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            let _inside = runtime.enter();
            let begin = Instant::now();
            let ((), bytes) = live_bytes(|| {
                (0..size.flood).for_each(|client| _ = black_box(flooder(FLOOD + client)));
            });
            has_ended.store(true, Ordering::Relaxed);
            (bytes, begin.elapsed().as_secs_f64())
        });
        let flooded =
            uncounted(|| track(&mut *tracker, known, &mut || !has_ended.load(Ordering::Relaxed)));
        (flooding.join().expect("the thread does not panic"), flooded)
    });
    let (before, after) = (idle.p99(), flooded.p99());
    vec![
        (MEMORY, bytes),
        (ATTACKER, flooded.most() as f64 / f64::from(QUOTA)),
        (KNOWN, 100.0 * flooded.known.share()),
        (NEW, 100.0 * flooded.new.share()),
        (IDLE, before),
        (FLOODED, after),
        (HALF, percentile(&flooded.nanos, 50).unwrap_or_default()),
        (RATIO, after / before),
        (RATE, f64::from(size.flood) / took / 1e6),
    ]
}

#[derive(Default)]
struct Share {
    admitted: u32,
    asked: u32,
}

impl Share {
    fn count(&mut self, is_admitted: bool) {
        self.asked += 1;
        self.admitted += u32::from(is_admitted);
    }

    fn share(&self) -> f64 {
        f64::from(self.admitted) / f64::from(self.asked)
    }
}

/// What one thread has seen.
#[derive(Default)]
struct Tracked {
    known: Share,
    new: Share,
    /// The time before and after each admitted call of the attacker.
    attacks: Vec<(Instant, Instant)>,
    nanos: Vec<f64>,
}

impl Tracked {
    fn p99(&self) -> f64 {
        percentile(&self.nanos, 99).unwrap_or_default()
    }

    /// Returns the largest number of issues of the attacker that certainly were in one window.
    fn most(&self) -> usize {
        let mut most = 0;
        let mut end = 0;
        for (start, (before, _)) in self.attacks.iter().enumerate() {
            while end < self.attacks.len() && self.attacks[end].1 < *before + WINDOW {
                end += 1;
            }
            most = most.max(end - start);
        }
        most
    }
}

/// Calls for the known clients in turn, each at most 8 times in a window.
fn track(
    ask: &mut dyn FnMut(u32) -> bool,
    known: u32,
    goes_on: &mut dyn FnMut() -> bool,
) -> Tracked {
    let mut tracked = Tracked::default();
    while goes_on() {
        let begin = Instant::now();
        for client in 0..known {
            let before = Instant::now();
            let is_admitted = ask(client);
            tracked.nanos.push(before.elapsed().as_nanos() as f64);
            tracked.known.count(is_admitted);
            if client % 16 == 0 {
                let before = Instant::now();
                if ask(ATTACK) {
                    tracked.attacks.push((before, Instant::now()));
                }
            }
            if client % 100 == 0 {
                tracked.new.count(ask(NEW_CLIENTS + tracked.new.asked));
            }
        }
        while begin.elapsed() < WINDOW / 8 {
            std::hint::spin_loop();
        }
    }
    tracked
}
