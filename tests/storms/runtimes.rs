//! Storms across runtimes, and on threads that have none.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Sender};
use std::{iter, sync::Arc, thread, time::Duration};

use fastrand::Rng;
use futures::future::try_join_all;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;
use tower::{Service, ServiceExt};

use crate::crowd::take_turns;
use crate::site::{Limited, Site};
use crate::support::{guarded, runtime};

const SURVIVORS: usize = 300;
const TURNS: usize = 20;
const DOOMED_RUNTIMES: usize = 12;
const DOOMED_TASKS: usize = 100;

/// Runtimes come and go, with tasks in line and in flight. One survives, and its tasks have their turns.
fn shutting_down(name: &str, site: fn() -> Site) {
    Site::storm(name, site, |seed, site, line| {
        let service = site.service.clone();
        // Steps are the survivors' turns: doomed tasks go on while survivors are stuck.
        let survivors_turns = Arc::new(AtomicUsize::new(0));
        let had = Arc::clone(&survivors_turns);
        let storm = move || shut_runtimes_down(&service, &had, seed);
        guarded(site.handle.clone(), || survivors_turns.load(Relaxed), storm);
        line.count("survivors", SURVIVORS);
        line.count("shut_down", DOOMED_RUNTIMES * DOOMED_TASKS);
    });
}

fn shut_runtimes_down(service: &Limited, had: &Arc<AtomicUsize>, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let survivor = runtime(2);
    let turns = Arc::new(Semaphore::new(0)); // one for each that has been had
    let each = (service.clone(), Arc::clone(&turns), Arc::clone(had));
    let survivors = iter::repeat_n(each, SURVIVORS).map(|(service, turns, had)| {
        survivor.spawn(async move {
            for _ in 0..TURNS {
                take_turns(1, service.clone()).await;
                turns.add_permits(1);
                had.fetch_add(1, Relaxed);
            }
        })
    });
    let survivors = survivor.spawn(try_join_all(survivors.collect::<Vec<_>>()));

    for _ in 0..DOOMED_RUNTIMES {
        let doomed = runtime(rng.usize(..3));
        for service in iter::repeat_n(service.clone(), DOOMED_TASKS) {
            doomed.spawn(take_turns(u32::MAX, service));
        }
        // Some of the survivors' turns later. After that a runtime without workers stands still for a
        // while: its tasks may be called, and don't hear of it.
        let some = rng.u32(1..=(SURVIVORS * TURNS / DOOMED_RUNTIMES) as u32);
        doomed.block_on(turns.acquire_many(some)).unwrap().forget();
        (0..rng.u32(..200)).for_each(|_| thread::yield_now());
        match rng.u8(..3) {
            0 => doomed.shutdown_background(),
            1 => doomed.shutdown_timeout(Duration::from_secs(1)),
            _ => drop(doomed),
        }
    }
    survivor.block_on(survivors).unwrap().unwrap();
}

/// Eight plain threads wait for places, without a runtime or with the timer of one. They use some
/// themselves, and pass others, ready or in flight, to a thread that uses them and never waits in line.
fn passing_on(name: &str, timed: bool, site: fn() -> Site) {
    Site::storm(name, site, |seed, site, line| {
        let service = site.service.clone();
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let threads = move || {
            let runtime = timed.then(|| runtime(1));
            let timer = runtime.as_ref().map(Runtime::handle);
            let (user, uses) = mpsc::channel::<Use>();
            let mut rng = Rng::with_seed(seed);
            thread::scope(|scope| {
                for _ in 0..8 {
                    let (service, user, rng) = (service.clone(), user.clone(), rng.fork());
                    let taken = &count;
                    scope.spawn(move || take_places(&service, &user, timer, rng, taken));
                }
                drop(user); // it is over when all threads are done with theirs
                for place in uses {
                    place();
                }
            });
        };
        guarded(site.handle.clone(), || taken.load(Relaxed), threads);
        line.count("taken", taken.load(Relaxed));
    });
}

const PLACES_EACH: usize = 2000;

/// What is done with a place, on whatever thread.
type Use = Box<dyn FnOnce() + Send>;

fn take_places(
    service: &Limited,
    user: &Sender<Use>,
    timer: Option<&Handle>,
    mut rng: Rng,
    taken: &AtomicUsize,
) {
    for _ in 0..PLACES_EACH {
        let (mut service, timer) = (service.clone(), timer.cloned());
        let Ok(_) = block_on(timer.as_ref(), service.ready());
        taken.fetch_add(1, Relaxed);
        let place: Use = match rng.u8(..3) {
            0 => Box::new(move || drop(service)),
            1 => Box::new(move || block_on(timer.as_ref(), service.call(())).unwrap()),
            _ => {
                let response = service.call(());
                Box::new(move || block_on(timer.as_ref(), response).unwrap())
            }
        };
        if rng.bool() { place() } else { user.send(place).unwrap() }
    }
}

fn block_on<F: Future>(timer: Option<&Handle>, future: F) -> F::Output {
    match timer {
        None => futures::executor::block_on(future),
        Some(timer) => timer.block_on(future),
    }
}

const WINDOW: fn() -> Site = || Site::window(false, 200, Duration::from_millis(10));
const GATE: fn() -> Site = || Site::gate(4);

#[test]
fn c2_c4_gate_outlives_the_runtimes_of_its_waiters() {
    shutting_down("gate_runtimes_shut_down", GATE);
}

#[test]
fn c2_c4_window_outlives_the_runtimes_of_its_waiters() {
    shutting_down("window_runtimes_shut_down", WINDOW);
}

#[test]
fn c2_c4_permits_of_a_gate_pass_among_plain_threads() {
    passing_on("gate_plain_threads", false, GATE);
}

#[test]
fn c2_c4_permits_of_a_window_pass_among_threads_that_block() {
    passing_on("window_blocking_threads", true, WINDOW);
}
