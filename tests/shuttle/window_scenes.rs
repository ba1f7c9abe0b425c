//! Scenes at a window, with a clock, refill tasks, and the timers that they set.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Poll, Waker},
    time::Duration,
};

use fastrand::Rng;
use futures::task::noop_waker;
use shuttle::{
    future::block_on,
    thread::{JoinHandle, yield_now},
};

use crate::{
    Scene,
    adapter::{Acquired, Polled, TestClock, TestWindow},
    join,
    semaphore::WaiterKey,
    spawn,
    steps::{Counted, Steps},
    time::{Nanos, Time},
    window::Shape,
};

/// A tick of the clock: the resolution of timers.
const TICK: Duration = Duration::from_millis(1);

/// Runtimes that waiters queue in.
const RUNTIMES: u32 = 2;

/// State of one refill task, beside the window's own.
#[derive(Default)]
struct Task {
    /// Its timer and its waker, as long as the timer has not fired.
    timer: Mutex<Option<(Nanos, Waker)>>,
    /// No wake-up has reached it since its last poll.
    asleep: Arc<AtomicBool>,
    ended: AtomicBool,
}

/// A window, the tasks around it, and counts of its own.
struct Limited {
    window: TestWindow,
    clock: TestClock,
    ticks: AtomicUsize,
    /// The last tick in which an issue was recorded with a time from before the tick.
    recorded_late: AtomicUsize,
    steps: Steps,
    /// Checks in progress.
    checks: AtomicUsize,
    tasks: Mutex<Vec<Arc<Task>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Wake-ups of waiters.
    wakes: Arc<AtomicUsize>,
    /// For each queued waiter, whether no wake-up has reached it since its last poll.
    waiters: Mutex<Vec<Arc<AtomicBool>>>,
    /// Threads that still take turns.
    busy: AtomicUsize,
    /// The times of the issues.
    issues: Mutex<Vec<u64>>,
    /// Refill tasks end now and then before their time, as where a runtime shuts down.
    runtimes_stop: bool,
}

impl Limited {
    fn new(shape: Shape, limit: u32, length: u32, runtimes_stop: bool) -> Arc<Self> {
        let clock = TestClock::new();
        Arc::new(Self {
            window: TestWindow::small(shape, limit, TICK * length, &clock),
            clock,
            ticks: AtomicUsize::new(0),
            recorded_late: AtomicUsize::new(usize::MAX),
            steps: Steps::default(),
            checks: AtomicUsize::new(0),
            tasks: Mutex::default(),
            threads: Mutex::default(),
            wakes: Arc::default(),
            waiters: Mutex::default(),
            busy: AtomicUsize::new(0),
            issues: Mutex::default(),
            runtimes_stop,
        })
    }

    fn now(&self) -> Nanos {
        self.clock.now()
    }

    /// Runs one step, and asks the oracle if the scene is at rest after it.
    fn step<T>(&self, run: impl FnOnce(&TestWindow) -> T) -> T {
        let result = self.steps.step(|| run(&self.window));
        self.assert_in_time();
        result
    }

    /// Asserts that no permit is due for a waiter before a refill task reads the window.
    ///
    /// If the scene is at rest and the timers of all refill tasks are still to fire, a reader that
    /// refills the window grants nothing. Where a refill task has been dropped, its waiters have
    /// been woken, and the scene is at rest once they are polled.
    ///
    /// A refill task that finds the time of an issue not yet written reads again a tick later, and
    /// so may be late by one.
    fn assert_in_time(&self) {
        // A check is no step, and refills the window: another check may be halfway through that.
        if self.checks.fetch_add(1, Relaxed) > 0 {
            self.checks.fetch_sub(1, Relaxed);
            return;
        }
        let grants = self.steps.at_rest(|| {
            let now = self.now();
            let tasks = self.tasks.lock().expect("a panic ends the scene");
            let sleeps = |task: &Task| {
                let timer = task.timer.lock().expect("a panic ends the scene");
                let later = timer.as_ref().is_some_and(|(at, _)| *at > now);
                task.ended.load(Relaxed) || (later && task.asleep.load(Relaxed))
            };
            let may_be_late = self.recorded_late.load(Relaxed) == self.ticks.load(Relaxed);
            if may_be_late || !tasks.iter().all(|task| sleeps(task)) {
                return (0, now);
            }
            drop(tasks);
            let waiters = self.waiters.lock().expect("a panic ends the scene");
            if self.runtimes_stop && !waiters.iter().all(|asleep| asleep.load(Relaxed)) {
                return (0, now);
            }
            drop(waiters);
            let before = self.wakes.load(Relaxed);
            self.window.read();
            (self.wakes.load(Relaxed) - before, now)
        });
        self.checks.fetch_sub(1, Relaxed);
        if let Some((grants @ 1.., now)) = grants {
            panic!("{grants} permits were due at {now:?}, before the refill tasks read the window");
        }
    }

    /// Lets the time pass while threads take turns, and fires timers.
    fn run_clock(&self) {
        while self.busy.load(Relaxed) > 0 {
            // A tick during a check would spoil it.
            if self.checks.load(Relaxed) > 0 {
                yield_now();
                continue;
            }
            self.step(|_| {
                self.ticks.fetch_add(1, Relaxed);
                let now = self.clock.advance(TICK);
                let mut due = Vec::new();
                for task in self.tasks.lock().expect("a panic ends the scene").iter() {
                    let mut timer = task.timer.lock().expect("a panic ends the scene");
                    due.extend(timer.take_if(|(at, _)| *at <= now));
                }
                due.into_iter().for_each(|(_, waker)| waker.wake());
            });
            yield_now();
        }
    }

    /// Lets up to three ticks pass.
    fn dwell(&self, rng: &mut Rng) {
        let until = self.ticks.load(Relaxed) + rng.usize(..4);
        while self.ticks.load(Relaxed) < until && self.busy.load(Relaxed) > 0 {
            yield_now();
        }
    }

    /// Spawns a refill task in `runtime`, in the course of a step.
    fn refill_in(self: &Arc<Self>, runtime: u32, rng: &mut Rng) {
        let task = Arc::<Task>::default();
        let stops = if self.runtimes_stop && rng.bool() { rng.u32(1..4) } else { u32::MAX };
        self.tasks.lock().expect("a panic ends the scene").push(Arc::clone(&task));
        let thread = spawn(self, move |limited| limited.run_refill(runtime, &task, stops));
        self.threads.lock().expect("a panic ends the scene").push(thread);
    }

    fn run_refill(&self, runtime: u32, task: &Task, mut stops: u32) {
        block_on(poll_fn(|cx| {
            let waker = Waker::from(Arc::new(Counted {
                inner: cx.waker().clone(),
                wakes: Arc::default(),
                asleep: Arc::clone(&task.asleep),
            }));
            stops -= 1;
            let ended = self.steps.step(|| {
                // Before the window is read: a wake-up from now on counts.
                task.asleep.store(true, Relaxed);
                let due = if stops == 0 {
                    self.window.abandon(runtime);
                    None
                } else {
                    self.window.attend(runtime, &waker)
                };
                *task.timer.lock().expect("a panic ends the scene") =
                    due.map(|at| (at, waker.clone()));
                // The clock may have ticked since the window was read.
                if due.is_some_and(|at| at <= self.now()) {
                    waker.wake();
                }
                task.ended.store(due.is_none(), Relaxed);
                due.is_none()
            });
            self.assert_in_time();
            if ended { Poll::Ready(()) } else { Poll::Pending }
        }));
    }

    /// Waits for a permit, polled by several wakers and in any runtime. False if cancelled.
    fn acquire(self: &Arc<Self>, rng: &mut Rng) -> bool {
        let flag = Arc::new(AtomicBool::new(true));
        let counted = |inner: Waker| {
            let (wakes, asleep) = (Arc::clone(&self.wakes), Arc::clone(&flag));
            Waker::from(Arc::new(Counted { inner, wakes, asleep }))
        };
        let runtime = rng.u32(..RUNTIMES);
        let queued = self.step(|window| {
            let (acquired, is_missing) = window.acquire_in(runtime, &counted(noop_waker()));
            if is_missing {
                self.refill_in(runtime, rng);
            }
            if matches!(acquired, Acquired::Queued(_)) {
                let mut waiters = self.waiters.lock().expect("a panic ends the scene");
                waiters.push(Arc::clone(&flag));
            }
            acquired
        });
        let key: WaiterKey = match queued {
            Acquired::Granted => return true,
            Acquired::Queued(key) => key,
            Acquired::Refused => unreachable!("windows are not closed"),
        };
        if rng.u8(..4) == 0 {
            self.dwell(rng);
            self.step(|window| {
                window.cancel(key);
                self.forget(&flag);
            });
            return false;
        }
        block_on(poll_fn(|cx| {
            let runtime = rng.u32(..RUNTIMES);
            let polled = self.step(|window| {
                flag.store(true, Relaxed);
                let waker = counted(cx.waker().clone());
                let (polled, is_missing) = window.poll_in(runtime, &key, &waker);
                if is_missing {
                    self.refill_in(runtime, rng);
                }
                if polled != Polled::Queued {
                    self.forget(&flag);
                }
                polled
            });
            match polled {
                Polled::Queued => Poll::Pending,
                Polled::Granted => Poll::Ready(()),
                other => unreachable!("no wait ends without a permit: {other:?}"),
            }
        }));
        true
    }

    fn forget(&self, waiter: &Arc<AtomicBool>) {
        let mut waiters = self.waiters.lock().expect("a panic ends the scene");
        waiters.retain(|other| !Arc::ptr_eq(other, waiter));
    }

    fn turns(self: &Arc<Self>, mut rng: Rng) {
        for _ in 0..3 {
            if !self.acquire(&mut rng) {
                continue;
            }
            if rng.u8(..4) == 0 {
                self.dwell(&mut rng);
                self.step(|window| window.refund());
                continue;
            }
            self.step(|window| {
                // The request is issued at this time.
                let at = self.now().get();
                let tick = self.ticks.load(Relaxed);
                window.commit();
                let recorded = self.ticks.load(Relaxed);
                if recorded != tick {
                    self.recorded_late.store(recorded, Relaxed);
                }
                self.issues.lock().expect("a panic ends the scene").push(at);
            });
        }
        self.busy.fetch_sub(1, Relaxed);
    }

    /// Lets `threads` take turns while `control` runs, and waits for the end of all tasks.
    fn run(self: &Arc<Self>, threads: usize, rng: &mut Rng, control: impl FnOnce(&mut Rng)) {
        self.busy.store(threads, Relaxed);
        let clock = spawn(self, |limited| limited.run_clock());
        let turns: Vec<_> = (0..threads)
            .map(|_| {
                let rng = rng.fork();
                spawn(self, |limited| limited.turns(rng))
            })
            .collect();
        control(rng);
        join(turns);
        join([clock]);
        let threads = std::mem::take(&mut *self.threads.lock().expect("a panic ends the scene"));
        join(threads);
    }

    /// Asserts that in the end every permit has expired, and no waiter is queued.
    fn assert_whole(&self, limit: u32) {
        // Twice: the first reading closes an open stride.
        for _ in 0..2 {
            self.clock.advance(Duration::from_secs(1));
            self.window.read();
        }
        let reading = self.window.read();
        let is_whole = (reading.remaining, reading.queued) == (limit, 0);
        assert!(is_whole, "a permit or a waiter is lost: {reading:?}");
    }

    /// Asserts that at most `limit` requests were issued in any half-open span of `length` ticks.
    fn assert_at_most(&self, limit: u32, length: u32) {
        let issues = self.issues.lock().expect("a panic ends the scene");
        let span = u64::try_from((TICK * length).as_nanos()).expect("is short");
        for from in issues.iter() {
            let inside = issues.iter().filter(|&at| (*from..from + span).contains(at)).count();
            assert!(inside <= limit as usize, "{inside} were issued from {from} on: {issues:?}");
        }
    }

    /// Asserts that at most `limit` requests were issued in each window of a grid of `length`
    /// ticks.
    fn assert_at_most_on_grid(&self, limit: u32, length: u32) {
        let issues = self.issues.lock().expect("a panic ends the scene");
        let length = u64::try_from((TICK * length).as_nanos()).expect("is short");
        for at in issues.iter() {
            let inside = issues.iter().filter(|&other| other / length == at / length).count();
            assert!(inside <= limit as usize, "{inside} in the window of {at}: {issues:?}");
        }
    }
}

/// Permits expire, are refunded and cancelled in two runtimes that may stop.
#[test]
fn c4_c5_w1_w4_sliding_permits_reach_waiters_in_runtimes_that_stop() {
    Scene { threads: 5 }.explore(|mut rng| {
        let (limit, length) = (rng.u32(1..=2), rng.u32(1..=4));
        let stop = rng.bool();
        let limited = Limited::new(Shape::Sliding, limit, length, stop);
        limited.run(4, &mut rng, |_| {});
        limited.assert_at_most(limit, length);
        limited.assert_whole(limit);
    });
}

/// The same on the grid of a fixed window.
#[test]
fn c4_c5_w2_w4_fixed_permits_reach_waiters_and_stay_on_the_grid() {
    Scene { threads: 5 }.explore(|mut rng| {
        let (limit, length) = (rng.u32(1..=2), rng.u32(1..=4));
        let limited = Limited::new(Shape::Fixed, limit, length, false);
        limited.run(4, &mut rng, |_| {});
        limited.assert_at_most_on_grid(limit, length);
        limited.assert_whole(limit);
    });
}

/// Limit and length change, and there are pauses, while permits expire.
#[test]
fn s2_c5_w7_w9_changed_windows_and_pauses_reach_waiters_in_time() {
    Scene { threads: 5 }.explore(|mut rng| {
        let limited = Limited::new(Shape::Sliding, 2, 6, false);
        limited.run(3, &mut rng, |rng| {
            for _ in 0..6 {
                match rng.u8(..5) {
                    0 => limited.step(|window| {
                        let until = TICK * rng.u32(1..4);
                        window.pause(limited.now().after(until));
                    }),
                    1 => limited.step(|window| {
                        window.set_length(TICK * rng.u32(2..9));
                    }),
                    2 => limited.step(|window| {
                        window.set_quota(rng.u32(1..=3), TICK * rng.u32(2..9), || {});
                    }),
                    _ => limited.step(|window| {
                        window.set_limit(rng.u32(1..=3));
                    }),
                }
                limited.dwell(rng);
            }
        });
        limited.assert_at_most(3, 2);
        limited.step(|window| window.set_limit(2));
        limited.assert_whole(2);
    });
}
