//! Crowds: half of which gives up, or at a limit that changes, or among clones that are not polled again.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::{iter, sync::Arc, time::Duration};

use fastrand::Rng;
use futures::{FutureExt, future::try_join_all};
use tokio::{task::yield_now, time::timeout};
use tower::{Service, ServiceExt};

use crate::site::{Handle, Limited, Notes, Site};
use crate::support::{Line, guarded_task, wait_until};

/// The progress of a crowd, printed if it is stuck.
#[derive(Debug, Default)]
struct Crowd {
    tasks: usize,
    had_all_turns: AtomicUsize,
    gave_up: AtomicUsize,
}

impl Crowd {
    fn new(tasks: usize) -> Arc<Self> {
        Arc::new(Self { tasks, ..Self::default() })
    }

    /// A random half has so many turns, the others give up at random moments.
    async fn storm(self: Arc<Self>, turns: u32, service: Limited, seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let services = iter::repeat_n(service, self.tasks);
        let tasks = services.map(|service| {
            tokio::spawn(Arc::clone(&self).member(turns, rng.bool(), service, rng.fork()))
        });
        try_join_all(tasks.collect::<Vec<_>>()).await.unwrap();
    }

    async fn member(self: Arc<Self>, turns: u32, stays: bool, service: Limited, mut rng: Rng) {
        if stays {
            take_turns(turns, service).await;
            self.had_all_turns.fetch_add(1, Relaxed);
        } else {
            take_turns(rng.u32(..turns), service.clone()).await;
            give_up(service, rng).await;
            self.gave_up.fetch_add(1, Relaxed);
        }
    }

    /// Calls, and members that are done.
    fn steps(&self, notes: &Notes) -> usize {
        notes.calls() + self.had_all_turns.load(Relaxed) + self.gave_up.load(Relaxed)
    }

    fn count(&self, line: &mut Line) {
        line.count("tasks", self.tasks);
        line.count("gave_up", self.gave_up.load(Relaxed));
    }
}

/// Each turn is a clone's that has looked before, with another waker.
pub(crate) async fn take_turns(turns: u32, service: Limited) {
    for _ in 0..turns {
        let mut service = service.clone();
        service.ready().now_or_never();
        let Ok(()) = service.oneshot(()).await;
    }
}

async fn give_up(mut service: Limited, mut rng: Rng) {
    match rng.u8(..5) {
        // In the line, or called there and not told.
        0 => {
            service.ready().now_or_never();
            for _ in 0..rng.u8(..4) {
                yield_now().await;
            }
        }
        // Called: when woken in the line, it goes instead of looking why.
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
        // In flight, its response polled once or not at all.
        3 => {
            let Ok(service) = service.ready().await;
            let response = service.call(());
            if rng.bool() {
                response.now_or_never();
            }
        }
        // At some time or other, whatever it is doing then.
        _ => {
            let soon = Duration::from_micros(rng.u64(..300_000));
            timeout(soon, take_turns(u32::MAX, service)).await.unwrap_err();
        }
    }
}

/// Ten thousand, of whom half give up.
pub(crate) fn giving_up(name: &str, workers: usize, turns: u32, site: fn() -> Site) {
    Site::storm(name, site, |seed, site, line| {
        let crowd = Crowd::new(10_000);
        let storm = Arc::clone(&crowd).storm(turns, site.service.clone(), seed);
        let state = (site.handle.clone(), Arc::clone(&crowd));
        guarded_task(workers, state, || crowd.steps(&site.notes), storm);
        crowd.count(line);
    });
}

/// Two thousand, among clones that are polled once and not again: up to `most` at a time, of which some
/// are dropped now and then.
pub(crate) fn some_are_not_polled_again(name: &str, most: usize, site: fn() -> Site) {
    Site::storm(name, site, |seed, site, line| {
        let Site { service, notes, .. } = site.clone();
        let storm = async move {
            let services = iter::repeat_n(service.clone(), 2000);
            let tasks = services.map(|service| tokio::spawn(take_turns(10, service)));
            let tasks = tokio::spawn(try_join_all(tasks.collect::<Vec<_>>()));
            let mut rng = Rng::with_seed(seed);
            let (mut in_all, mut held) = (0, Vec::new());
            while !tasks.is_finished() {
                if held.len() == most {
                    rng.shuffle(&mut held);
                    held.truncate(rng.usize(..most));
                }
                let mut clone = service.clone();
                clone.ready().now_or_never();
                held.push(clone);
                in_all += 1;
                wait_until(|| notes.calls() >= 5 * in_all || tasks.is_finished()).await;
            }
            tasks.await.unwrap().unwrap();
            (in_all, held)
        };
        let steps = || site.notes.calls();
        let (in_all, held) = guarded_task(4, site.handle.clone(), steps, storm);
        line.count("tasks", 2000);
        line.count("not_polled_again", in_all);
        line.count("still_held", held.len());
        site.comes_to_rest(held.len());
    });
}

/// Five thousand, of whom half give up while the limit changes: it is random up to the site's, and
/// `change` does more. Once those are gone whom a lower one found at a gate, it holds for all who come.
pub(crate) fn changing(
    name: &str,
    turns: u32,
    site: fn() -> Site,
    change: impl Fn(&Handle, &mut Rng) + Copy + Send + 'static,
) {
    Site::storm(name, site, |seed, site, line| {
        let crowd = Crowd::new(5000);
        let storm = Arc::clone(&crowd).storm(turns, site.service.clone(), seed);
        let Site { handle, notes, limit: most, .. } = site.clone();
        let is_gate = matches!(handle, Handle::Gate(_));
        let changing = async move {
            let storm = tokio::spawn(storm);
            let mut rng = Rng::with_seed(seed);
            let (mut changes, mut most_inside) = (0, 0);
            while !storm.is_finished() {
                let limit = rng.usize(most / 8..=most);
                handle.set_limit(limit);
                change(&handle, &mut rng);
                changes += 1;
                if is_gate {
                    wait_until(|| handle.taken_and_waiting().0 <= limit).await;
                    most_inside = notes.most_inside().max(most_inside);
                }
                let calls = notes.calls() + rng.usize(..50);
                wait_until(|| notes.calls() >= calls || storm.is_finished()).await;
                if is_gate {
                    let inside = notes.most_inside();
                    assert!(inside <= limit, "{inside} inside at a limit of {limit}");
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
        if is_gate {
            line.count("most_inside", most_inside);
            assert!(most_inside <= most, "{most_inside} inside");
        }
    });
}
