//! Crowds of tasks: half of them cancel, or the limit changes, or some clones are not polled again.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::{iter, sync::Arc, time::Duration};

use fastrand::Rng;
use futures::{FutureExt, future::try_join_all};
use tokio::{task::yield_now, time::timeout};
use tower::{Service, ServiceExt};

use crate::site::{Handle, Limited, Notes, Site};
use crate::support::{Line, guarded_task, wait_until};

/// A crowd and its progress, printed if it is stuck.
#[derive(Debug, Default)]
struct Crowd {
    tasks: usize,
    completed: AtomicUsize,
    cancelled: AtomicUsize,
}

impl Crowd {
    fn new(tasks: usize) -> Arc<Self> {
        Arc::new(Self { tasks, ..Self::default() })
    }

    /// A random half makes `requests` requests each, the others cancel at random times.
    async fn storm(self: Arc<Self>, requests: u32, service: Limited, seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let services = iter::repeat_n(service, self.tasks);
        let tasks = services.map(|service| {
            tokio::spawn(Arc::clone(&self).member(requests, rng.bool(), service, rng.fork()))
        });
        try_join_all(tasks.collect::<Vec<_>>()).await.unwrap();
    }

    async fn member(self: Arc<Self>, requests: u32, stays: bool, service: Limited, mut rng: Rng) {
        if stays {
            make_requests(requests, service).await;
            self.completed.fetch_add(1, Relaxed);
        } else {
            make_requests(rng.u32(..requests), service.clone()).await;
            cancel(service, rng).await;
            self.cancelled.fetch_add(1, Relaxed);
        }
    }

    /// The number of calls, and of members that have ended.
    fn steps(&self, notes: &Notes) -> usize {
        notes.calls() + self.completed.load(Relaxed) + self.cancelled.load(Relaxed)
    }

    fn count(&self, line: &mut Line) {
        line.count("tasks", self.tasks);
        line.count("cancelled", self.cancelled.load(Relaxed));
    }
}

/// Makes requests, each on a clone that was polled before with another waker.
pub(crate) async fn make_requests(requests: u32, service: Limited) {
    for _ in 0..requests {
        let mut service = service.clone();
        service.ready().now_or_never();
        let Ok(()) = service.oneshot(()).await;
    }
}

async fn cancel(mut service: Limited, mut rng: Rng) {
    match rng.u8(..5) {
        // Queued, or granted a permit and not polled since.
        0 => {
            service.ready().now_or_never();
            for _ in 0..rng.u8(..4) {
                yield_now().await;
            }
        }
        // Granted a permit: dropped when it is woken.
        1 => {
            if futures::poll!(service.ready()).is_pending() {
                futures::pending!();
            }
        }
        // Ready, and not called.
        2 => {
            let Ok(_) = service.ready().await;
            yield_now().await;
        }
        // In flight, with a response that is polled once or not at all.
        3 => {
            let Ok(service) = service.ready().await;
            let response = service.call(());
            if rng.bool() {
                response.now_or_never();
            }
        }
        // At a random time, in any state.
        _ => {
            let soon = Duration::from_micros(rng.u64(..300_000));
            timeout(soon, make_requests(u32::MAX, service)).await.unwrap_err();
        }
    }
}

/// Runs ten thousand tasks, half of which cancel.
pub(crate) fn cancelling(name: &str, workers: usize, requests: u32, site: fn() -> Site) {
    Site::storm(name, site, |seed, site, line| {
        let crowd = Crowd::new(10_000);
        let storm = Arc::clone(&crowd).storm(requests, site.service.clone(), seed);
        let state = (site.handle.clone(), Arc::clone(&crowd));
        guarded_task(workers, state, || crowd.steps(&site.notes), storm);
        crowd.count(line);
    });
}

/// Runs two thousand tasks among up to `most` clones that are polled once and not again. Some of
/// these are dropped now and then.
pub(crate) fn some_are_not_polled_again(name: &str, most: usize, site: fn() -> Site) {
    Site::storm(name, site, |seed, site, line| {
        let Site { service, notes, .. } = site.clone();
        let storm = async move {
            let services = iter::repeat_n(service.clone(), 2000);
            let tasks = services.map(|service| tokio::spawn(make_requests(10, service)));
            let tasks = tokio::spawn(try_join_all(tasks.collect::<Vec<_>>()));
            let mut rng = Rng::with_seed(seed);
            let (mut all, mut held) = (0, Vec::new());
            while !tasks.is_finished() {
                if held.len() == most {
                    rng.shuffle(&mut held);
                    held.truncate(rng.usize(..most));
                }
                let mut clone = service.clone();
                clone.ready().now_or_never();
                held.push(clone);
                all += 1;
                wait_until(|| notes.calls() >= 5 * all || tasks.is_finished()).await;
            }
            tasks.await.unwrap().unwrap();
            (all, held)
        };
        let steps = || site.notes.calls();
        let (all, held) = guarded_task(4, site.handle.clone(), steps, storm);
        line.count("tasks", 2000);
        line.count("not_polled_again", all);
        line.count("still_held", held.len());
        site.comes_to_rest(u32::try_from(held.len()).unwrap());
    });
}

/// Runs five thousand tasks, half of which cancel, while the limit changes at random up to the
/// site's, and `change` runs.
///
/// Once the requests over a lowered concurrency limit have completed, the limit holds.
pub(crate) fn changing(
    name: &str,
    requests: u32,
    site: fn() -> Site,
    change: impl Fn(&Handle, &mut Rng) + Copy + Send + 'static,
) {
    Site::storm(name, site, |seed, site, line| {
        let crowd = Crowd::new(5000);
        let storm = Arc::clone(&crowd).storm(requests, site.service.clone(), seed);
        let Site { handle, notes, limit: most, .. } = site.clone();
        let is_concurrency = matches!(handle, Handle::Concurrency(_));
        let changing = async move {
            let storm = tokio::spawn(storm);
            let mut rng = Rng::with_seed(seed);
            let (mut changes, mut most_inside) = (0, 0);
            while !storm.is_finished() {
                let limit = rng.u32(most / 8..=most);
                handle.set_limit(limit);
                change(&handle, &mut rng);
                changes += 1;
                if is_concurrency {
                    wait_until(|| handle.taken_and_queued().0 <= limit).await;
                    most_inside = notes.most_inside().max(most_inside);
                }
                let calls = notes.calls() + rng.usize(..50);
                wait_until(|| notes.calls() >= calls || storm.is_finished()).await;
                if is_concurrency {
                    let inside = notes.most_inside();
                    assert!(inside <= limit, "{inside} in flight at a limit of {limit}");
                }
            }
            storm.await.unwrap();
            handle.set_limit(most);
            (changes, most_inside)
        };
        let state = (site.handle.clone(), Arc::clone(&crowd));
        let steps = || crowd.steps(&site.notes);
        let (changes, most_inside) = guarded_task(4, state, steps, changing);
        crowd.count(line);
        line.count("changes", changes);
        if is_concurrency {
            line.count("most_inside", most_inside);
            assert!(most_inside <= most, "{most_inside} in flight");
        }
    });
}
