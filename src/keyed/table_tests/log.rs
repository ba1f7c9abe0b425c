//! The log word against a list of steps and units.

use std::time::Duration;

use crate::{
    keyed::table::{
        log::{Log, PLANS, TAPE_BITS},
        shape::{ANCHOR, Shape, TICKS},
    },
    time::Nanos,
};

/// The ticks after which a stamp wraps.
const WRAP: u64 = 1 << 21;

/// The ticks in which the steps of the units began, oldest first, and that of the current step.
#[derive(Clone, Debug)]
struct Naive {
    stamp: u64,
    units: Vec<u64>,
}

impl Naive {
    /// The tick in which a unit of the step that began in `step` expires.
    fn expiry(step: u64, shape: &Shape) -> u64 {
        step + (u64::from(shape.steps) + 1) * TICKS
    }

    fn expire(&mut self, tick: u64, shape: &Shape) {
        self.units.retain(|step| Self::expiry(*step, shape) > tick);
    }

    fn advance(&mut self, tick: u64) {
        let steps = (tick - self.stamp) / TICKS;
        let anchored = self.units.is_empty() && steps > 0;
        self.stamp = if anchored { tick + ANCHOR - TICKS } else { self.stamp + steps * TICKS };
    }
}

/// An empty log whose first step is that of `now`.
fn empty(plan: usize, now: Nanos, shape: &Shape) -> Log {
    Log::from_word(0).advanced(now, shape).of_plan(plan)
}

fn shape(random: &mut fastrand::Rng) -> Shape {
    let quota = match random.u32(0..4) {
        0 => random.u32(1..=20),
        1 => random.u32(1..=100),
        2 => 20 * random.u32(1..=1_000),
        _ => random.u32(1..=u32::MAX),
    };
    Shape::new(quota, Duration::from_nanos(random.u64(1..=10_000_000_000)))
}

#[test]
fn k1_k2_k11_shape_of_any_quota_fits_the_tape_and_covers_the_window() {
    let quotas = (1..=2_000).chain([20_000, 40_000, 999_999, u32::MAX - 1, u32::MAX]);
    for quota in quotas {
        for nanos in [1, 7, 999, 1_000_000_007, 3_600_000_000_000] {
            let shape = Shape::new(quota, Duration::from_nanos(nanos));
            assert!(shape.capacity() + shape.steps <= TAPE_BITS, "{quota}");
            // A permit is late by at most a step, and by what its unit takes to fill.
            let least = if quota < 10 { 30 } else { 13 };
            assert!(shape.steps >= least, "{quota}: {shape:?}");
            assert!(shape.ticks(u64::from(shape.steps) * TICKS) >= nanos, "{quota} {nanos}");
            // The rest of the quota, which is in no unit, is less than a unit.
            let logged = u64::from(shape.capacity()) * u64::from(shape.unit);
            let rest = u64::from(quota) - logged;
            assert!(rest < u64::from(shape.unit), "{quota}");
        }
    }
}

#[test]
fn k1_log_agrees_with_a_list_of_its_steps_and_units() {
    let (mut expired, mut appended, mut rounds, mut wraps) = (0, 0, 0, 0);
    for seed in 0..3_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let shape = shape(&mut random);
        let tick_nanos = shape.ticks(1);
        let plan = random.usize(..PLANS);
        let window = u64::from(shape.steps) * TICKS;
        // Near a wrap of the stamp.
        let mut tick = random.u64(1..3) * WRAP - random.u64(..4 * window);
        let mut now = Nanos::new(tick * tick_nanos);
        let mut log = empty(plan, now, &shape);
        // A step that begins with the stamps begins with its first tick.
        let stamp = tick - (TICKS - ANCHOR).min(tick % WRAP);
        let mut naive = Naive { stamp, units: Vec::new() };
        for _ in 0..60 {
            tick += match random.u32(0..10) {
                0 => random.u64(..3 * window),
                1..6 => random.u64(..2 * TICKS),
                _ => 0,
            };
            now = Nanos::new(tick * tick_nanos + random.u64(..tick_nanos));
            assert_eq!(log.steps_until(now, &shape), (tick - naive.stamp) / TICKS, "seed {seed}");
            match random.u32(0..10) {
                0 => {
                    // An empty log, whose current step has expired too.
                    log = log.emptied();
                    naive.units.clear();
                    if (tick - naive.stamp) / TICKS > u64::from(shape.steps) {
                        let units = random.u32(1..=shape.capacity());
                        log = log.next_round(plan, units, &shape);
                        naive.stamp += window;
                        naive.units = vec![naive.stamp; units as usize];
                        rounds += 1;
                    }
                }
                1..4 => {
                    let before = naive.units.len();
                    log = log.expired(log.steps_until(now, &shape), &shape);
                    naive.expire(tick, &shape);
                    expired += before - naive.units.len();
                }
                _ => {
                    log = log.expired(log.steps_until(now, &shape), &shape);
                    naive.expire(tick, &shape);
                    log = log.advanced(now, &shape);
                    naive.advance(tick);
                    let room = shape.capacity() - log.units();
                    let most = random.u32(1..=20).min(room);
                    let units = random.u32(0..=most);
                    log = log.with_units(units);
                    naive.units.extend((0..units).map(|_| naive.stamp));
                    appended += units;
                }
            }
            assert_eq!(log.units() as usize, naive.units.len(), "seed {seed}");
            assert_eq!(log.plan(), plan, "seed {seed}");
            assert_eq!(log, Log::from_word(log.word()));
            for (index, step) in naive.units.iter().enumerate() {
                let ticks = log.ticks_until_expiry(index as u32 + 1, &shape);
                let expiry = Naive::expiry(*step, &shape);
                assert_eq!(naive.stamp + ticks, expiry, "seed {seed}");
                // At that time and not before it is removed.
                if expiry > tick {
                    let wait = log.time_until(ticks, now, &shape);
                    let at = now.after(wait);
                    assert_eq!(shape.tick_of(at), expiry, "seed {seed}");
                    assert!(shape.tick_of(Nanos::new(at.get() - 1)) < expiry, "seed {seed}");
                    let left = log.expired(log.steps_until(at, &shape), &shape).units() as usize;
                    let all = naive.units.iter().filter(|unit| *unit > step).count();
                    assert_eq!(left, all, "seed {seed}");
                }
            }
            wraps += u32::from(naive.stamp % WRAP < TICKS * 20);
        }
    }
    let seen = (expired, appended, rounds, wraps);
    assert!(expired > 10_000 && appended > 50_000 && rounds > 500 && wraps > 10, "{seen:?}");
}

#[test]
fn k1_log_after_an_idle_wrap_counts_old_permits_once_more() {
    let shape = Shape::new(20, Duration::from_secs(1));
    let at = |tick: u64| Nanos::new(tick * shape.ticks(1));
    let log = empty(0, at(1_000), &shape).with_units(3);
    for (idle, left) in [(WRAP / 2, 0), (WRAP - TICKS, 0), (WRAP, 3), (WRAP + 200, 0)] {
        let later = log.expired(log.steps_until(at(1_000 + idle), &shape), &shape);
        assert_eq!(later.units(), left, "{idle}");
    }
}

#[test]
fn k1_log_at_a_time_before_its_stamp_looks_like_an_old_one() {
    let shape = Shape::new(20, Duration::from_secs(1));
    let at = |tick: u64| Nanos::new(tick * shape.ticks(1));
    let log = empty(0, at(1_000), &shape);
    let stamp = 1_000 + ANCHOR - TICKS;
    assert_eq!(log.steps_until(at(stamp), &shape), 0);
    assert!(log.steps_until(at(stamp - 1), &shape) > u64::from(shape.steps));
}
