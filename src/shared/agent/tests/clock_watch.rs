use std::time::Duration;

use fastrand::Rng;

use super::{SECOND, any_window, at, cases, ms};
use crate::{shared::agent::clock_watch::ClockWatch, time::Nanos};

/// A store and a process, each with a clock.
struct Clocks {
    watch: ClockWatch,
    window: Duration,
    /// Real time, in nanoseconds.
    real: u64,
    /// The time of the process while that of the store is 0, and how far each clock runs wrong, in
    /// parts per million.
    process: i64,
    store: i64,
    /// The time by which the clock of the store was set ahead.
    ahead: i64,
}

/// The time of day at which the store begins, in nanoseconds.
const TODAY: i64 = 1_700_000_000_000_000_000;

#[allow(clippy::cast_possible_wrap, reason = "half of the range suffices")]
fn signed(number: u64) -> i64 {
    number as i64
}

impl Clocks {
    fn new(window: Duration, process: i64, store: i64) -> Self {
        Self { watch: ClockWatch::new(), window, real: 1_000_000_000, process, store, ahead: 0 }
    }

    fn pass(&mut self, time: Duration) {
        self.real += u64::try_from(time.as_nanos()).unwrap();
    }

    fn process_now(&self) -> Nanos {
        let real = i128::from(self.real);
        let wrong = real * i128::from(self.process) / 1_000_000;
        Nanos::new(u64::try_from(real + wrong).unwrap())
    }

    /// The time of the store, in whole microseconds.
    fn store_now(&self) -> i64 {
        let real = i128::from(self.real);
        let wrong = real * i128::from(self.store) / 1_000_000;
        let now = real + wrong + i128::from(TODAY + self.ahead);
        i64::try_from(now.div_euclid(1_000)).unwrap()
    }

    /// Sends a request that is `there` on its way to the store, and `back` on its way from it.
    fn ask(&mut self, there: Duration, back: Duration) -> Duration {
        let sent = self.process_now();
        self.pass(there);
        let now = self.store_now();
        self.pass(back);
        let recv = self.process_now();
        self.watch.check(sent, recv, now, self.window)
    }
}

fn part(random: &mut Rng, of: Duration) -> Duration {
    of.mul_f64(random.f64())
}

#[test]
fn d10_step_ahead_by_more_than_two_round_trips_is_noticed_and_not_overstated() {
    let mut random = Rng::with_seed(1);
    for _ in 0..cases() * 16 {
        let mut clocks = Clocks::new(SECOND, 0, 0);
        let mut least = Duration::ZERO;
        for _ in 0..random.u32(1..20) {
            let [there, back] = [(); 2].map(|()| part(&mut random, ms(5)));
            least = there + back;
            assert_eq!(clocks.ask(there, back), Duration::ZERO, "no clock was set");
            clocks.pass(part(&mut random, ms(100)));
        }
        let pause = part(&mut random, SECOND);
        clocks.pass(pause);
        let [there, back] = [(); 2].map(|()| part(&mut random, ms(5)));
        // At most 3.5 s have passed since the first reply, of which the drift is 3.5 ms.
        let unseen = least + there + back + ms(4);
        let beyond = 1 << random.u32(1..40);
        let step = unseen + Duration::from_nanos(random.u64(..beyond));
        clocks.ahead += signed(u64::try_from(step.as_nanos()).unwrap());
        let noticed = clocks.ask(there, back);
        assert!(noticed > Duration::ZERO, "{step:?} is not noticed");
        assert!(noticed <= step, "{noticed:?} of {step:?}");
        assert_eq!(clocks.ask(there, back), Duration::ZERO, "the comparison begins anew");
    }
}

#[test]
fn d10_step_below_a_round_trip_may_stay_unnoticed() {
    let mut clocks = Clocks::new(SECOND, 0, 0);
    assert_eq!(clocks.ask(ms(10), ms(0)), Duration::ZERO);
    clocks.ahead += 9_000_000;
    assert_eq!(clocks.ask(ms(0), ms(10)), Duration::ZERO);
    clocks.ahead += 21_000_000;
    assert!(clocks.ask(ms(10), ms(0)) > Duration::ZERO, "30 ms in two steps");
}

#[test]
fn d10_clocks_that_run_500_ppm_wrong_are_never_noticed() {
    let mut random = Rng::with_seed(2);
    for _ in 0..cases() {
        let window = any_window(&mut random);
        let (process, store) = match random.u32(..4) {
            0 => (-500, 500),
            1 => (500, -500),
            _ => (random.i64(-500..=500), random.i64(-500..=500)),
        };
        let mut clocks = Clocks::new(window, process, store);
        for _ in 0..100 {
            let trip = if random.bool() { Duration::ZERO } else { ms(3) };
            let [there, back] = [(); 2].map(|()| part(&mut random, trip));
            let noticed = clocks.ask(there, back);
            assert_eq!(noticed, Duration::ZERO, "{process} and {store} ppm, {window:?}");
            let windows = [0, 1, 3][random.usize(..3)];
            clocks.pass(part(&mut random, window * windows));
        }
    }
}

#[test]
fn d10_clock_that_is_slewed_is_noticed_within_a_window() {
    let mut random = Rng::with_seed(3);
    for _ in 0..cases() {
        // chrony slews by up to 8 %.
        let slew = random.i64(30_000..=80_000);
        let mut clocks = Clocks::new(SECOND, 0, 0);
        let ask = |clocks: &mut Clocks, random: &mut Rng| {
            let [there, back] = [(); 2].map(|()| part(random, ms(5)));
            let noticed = clocks.ask(there, back);
            clocks.pass(part(random, ms(20)));
            noticed
        };
        while clocks.real < 3_000_000_000 {
            assert_eq!(ask(&mut clocks, &mut random), Duration::ZERO);
        }
        let begin = clocks.real;
        loop {
            let before = clocks.real;
            let noticed = ask(&mut clocks, &mut random);
            if noticed > Duration::ZERO {
                break;
            }
            clocks.ahead += signed(clocks.real - before) * slew / 1_000_000;
            assert!(clocks.real - begin < 1_000_000_000, "{slew} ppm for a window");
        }
        // Two round trips, the drift of three windows, and the time between two replies.
        assert!(clocks.ahead < 20_000_000 + 3_000_000 + 3_000_000, "{} ns ahead", clocks.ahead);
    }
}

#[test]
fn d10_step_back_is_none_ahead_and_the_step_forward_after_it_is_noticed() {
    let mut clocks = Clocks::new(SECOND, 0, 0);
    assert_eq!(clocks.ask(ms(1), ms(1)), Duration::ZERO);
    clocks.ahead -= 3_600_000_000_000;
    assert_eq!(clocks.ask(ms(1), ms(1)), Duration::ZERO);
    clocks.ahead += 50_000_000;
    let noticed = clocks.ask(ms(1), ms(1));
    assert!(noticed > ms(40) && noticed <= ms(50), "{noticed:?}");
}

#[test]
fn d10_step_is_noticed_by_a_process_that_has_asked_within_two_windows_and_by_no_other() {
    for (pause, is_noticed) in [(ms(1), true), (ms(1_990), true), (ms(2_100), false)] {
        let mut clocks = Clocks::new(SECOND, 0, 0);
        assert_eq!(clocks.ask(ms(1), ms(1)), Duration::ZERO);
        clocks.pass(pause);
        clocks.ahead += 100_000_000;
        assert_eq!(clocks.ask(ms(1), ms(1)) > Duration::ZERO, is_noticed, "after {pause:?}");
    }
    // The smallest bound is of the first reply, and the latest reply is recent.
    let mut clocks = Clocks::new(SECOND, 0, 0);
    assert_eq!(clocks.ask(ms(1), ms(1)), Duration::ZERO);
    clocks.pass(ms(990));
    assert_eq!(clocks.ask(ms(2), ms(2)), Duration::ZERO);
    clocks.pass(ms(1_100));
    clocks.ahead += 100_000_000;
    assert!(clocks.ask(ms(1), ms(1)) > Duration::ZERO);
}

#[test]
fn d10_numbers_at_their_edges_overflow_nothing() {
    let mut random = Rng::with_seed(4);
    for _ in 0..cases() {
        let mut watch = ClockWatch::new();
        for _ in 0..20 {
            let sent = Nanos::new(super::any_nanos(&mut random));
            let recv = sent.after(Duration::from_nanos(super::any_nanos(&mut random)));
            let now = [1, i64::MAX, random.i64(1..)][random.usize(..3)];
            watch.check(sent, recv, now, any_window(&mut random));
        }
        watch.check(at(SECOND), Nanos::NEVER, i64::MAX, SECOND);
    }
}
