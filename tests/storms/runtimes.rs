//! Storms across runtimes, and on threads without one.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Sender};
use std::{iter, sync::Arc, thread, time::Duration};

use fastrand::Rng;
use futures::future::try_join_all;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;
use tower::{Service, ServiceExt};

use crate::crowd::make_requests;
use crate::site::{Limited, Site};
use crate::support::{guarded, runtime};

const SURVIVORS: usize = 300;
const REQUESTS: usize = 20;
const DOOMED_RUNTIMES: usize = 12;
const DOOMED_TASKS: usize = 100;

/// Runtimes with tasks in the queue and in flight are shut down. One survives, and its tasks are
/// served.
fn shutting_down(name: &str, site: fn() -> Site) {
    Site::storm(name, site, |seed, site, line| {
        let service = site.service.clone();
        // Steps are the survivors' requests: other tasks go on while survivors are stuck.
        let survivors_requests = Arc::new(AtomicUsize::new(0));
        let made = Arc::clone(&survivors_requests);
        let storm = move || shut_runtimes_down(&service, &made, seed);
        guarded(site.handle.clone(), || survivors_requests.load(Relaxed), storm);
        line.count("survivors", SURVIVORS);
        line.count("shut_down", DOOMED_RUNTIMES * DOOMED_TASKS);
    });
}

fn shut_runtimes_down(service: &Limited, made: &Arc<AtomicUsize>, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let survivor = runtime(2);
    let requests = Arc::new(Semaphore::new(0)); // a permit for each request of a survivor
    let each = (service.clone(), Arc::clone(&requests), Arc::clone(made));
    let survivors = iter::repeat_n(each, SURVIVORS).map(|(service, requests, made)| {
        survivor.spawn(async move {
            for _ in 0..REQUESTS {
                make_requests(1, service.clone()).await;
                requests.add_permits(1);
                made.fetch_add(1, Relaxed);
            }
        })
    });
    let survivors = survivor.spawn(try_join_all(survivors.collect::<Vec<_>>()));

    for _ in 0..DOOMED_RUNTIMES {
        let doomed = runtime(rng.usize(..3));
        for service in iter::repeat_n(service.clone(), DOOMED_TASKS) {
            doomed.spawn(make_requests(u32::MAX, service));
        }
        // After some requests of the survivors. A runtime without workers then pauses for a while:
        // its tasks may be granted permits, and are not polled.
        let some = rng.u32(1..=(SURVIVORS * REQUESTS / DOOMED_RUNTIMES) as u32);
        doomed.block_on(requests.acquire_many(some)).unwrap().forget();
        (0..rng.u32(..200)).for_each(|_| thread::yield_now());
        match rng.u8(..3) {
            0 => doomed.shutdown_background(),
            1 => doomed.shutdown_timeout(Duration::from_secs(1)),
            _ => drop(doomed),
        }
    }
    survivor.block_on(survivors).unwrap().unwrap();
}

/// Eight plain threads wait for permits, without a runtime or with the timer of one.
///
/// They use some themselves, and pass others, ready or in flight, to a thread that uses them and
/// never waits for one.
fn passing_on(name: &str, timed: bool, site: fn() -> Site) {
    Site::storm(name, site, |seed, site, line| {
        let service = site.service.clone();
        let acquired = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&acquired);
        let threads = move || {
            let runtime = timed.then(|| runtime(1));
            let timer = runtime.as_ref().map(Runtime::handle);
            let (user, uses) = mpsc::channel::<Use>();
            let mut rng = Rng::with_seed(seed);
            thread::scope(|scope| {
                for _ in 0..8 {
                    let (service, user, rng) = (service.clone(), user.clone(), rng.fork());
                    let acquired = &count;
                    scope.spawn(move || acquire_permits(&service, &user, timer, rng, acquired));
                }
                drop(user); // ends when all threads have dropped theirs
                for use_permit in uses {
                    use_permit();
                }
            });
        };
        guarded(site.handle.clone(), || acquired.load(Relaxed), threads);
        line.count("acquired", acquired.load(Relaxed));
    });
}

const PERMITS_EACH: usize = 2000;

/// Uses a permit, on any thread.
type Use = Box<dyn FnOnce() + Send>;

fn acquire_permits(
    service: &Limited,
    user: &Sender<Use>,
    timer: Option<&Handle>,
    mut rng: Rng,
    acquired: &AtomicUsize,
) {
    for _ in 0..PERMITS_EACH {
        let (mut service, timer) = (service.clone(), timer.cloned());
        let Ok(_) = block_on(timer.as_ref(), service.ready());
        acquired.fetch_add(1, Relaxed);
        let use_permit: Use = match rng.u8(..3) {
            0 => Box::new(move || drop(service)),
            1 => Box::new(move || block_on(timer.as_ref(), service.call(())).unwrap()),
            _ => {
                let response = service.call(());
                Box::new(move || block_on(timer.as_ref(), response).unwrap())
            }
        };
        if rng.bool() { use_permit() } else { user.send(use_permit).unwrap() }
    }
}

fn block_on<F: Future>(timer: Option<&Handle>, future: F) -> F::Output {
    match timer {
        None => futures::executor::block_on(future),
        Some(timer) => timer.block_on(future),
    }
}

const WINDOW: fn() -> Site = || Site::window(false, 200, Duration::from_millis(10));
const CONCURRENCY: fn() -> Site = || Site::concurrency(4);

#[test]
fn c2_c4_concurrency_limit_outlives_the_runtimes_of_its_waiters() {
    shutting_down("concurrency_runtimes_shut_down", CONCURRENCY);
}

#[test]
fn c2_c4_window_outlives_the_runtimes_of_its_waiters() {
    shutting_down("window_runtimes_shut_down", WINDOW);
}

#[test]
fn c2_c4_permits_of_a_concurrency_limit_pass_among_plain_threads() {
    passing_on("concurrency_plain_threads", false, CONCURRENCY);
}

#[test]
fn c2_c4_permits_of_a_window_pass_among_threads_that_block() {
    passing_on("window_blocking_threads", true, WINDOW);
}
