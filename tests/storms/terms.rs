//! Storms at a limit whose requests have deadlines and classes.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::timeout};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, Rejected,
    backpressure::{Class, Terms},
};

use crate::support::{Steps, guarded, runtime, storm};

const TASKS: u64 = 48;
const EACH: u32 = 150;
const MOST: u32 = 6;

/// A request, and what is drawn for it.
#[derive(Clone, Copy)]
struct Job {
    terms: Terms,
    takes: Duration,
}

fn draw(rng: &mut fastrand::Rng) -> Job {
    let class = Class::ALL[rng.usize(..3)];
    let deadline = (rng.u32(..4) > 0).then(|| Duration::from_micros(rng.u64(0..8_000)));
    Job {
        terms: Terms::new().class(class).deadline(deadline),
        takes: Duration::from_micros(rng.u64(0..1_500)),
    }
}

/// Requests by both ways to tell terms share a limit that changes. Some are cancelled: in the
/// queue, in service, or ready and not called.
#[test]
fn c4_b1_a11_deadlines_and_cancellations_lose_no_permit() {
    storm("terms", |seed, line| {
        let layer = ConcurrencyBackpressureLayer::new(MOST).max_queue(24);
        let (handle, steps) = (layer.handle(), Steps::default());
        let inside = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let counted = Arc::clone(&inside);
        let inner = service_fn(move |job: Job| {
            let counted = Arc::clone(&counted);
            async move {
                struct Leave(Arc<[AtomicU32; 2]>);
                impl Drop for Leave {
                    fn drop(&mut self) {
                        self.0[0].fetch_sub(1, Relaxed);
                    }
                }
                counted[1].fetch_max(counted[0].fetch_add(1, Relaxed) + 1, Relaxed);
                let _leave = Leave(counted);
                tokio::time::sleep(job.takes).await;
                Ok::<_, Infallible>(())
            }
        });
        let by_request = layer.clone().by_request(|job: &Job| job.terms).layer(inner.clone());
        let with_terms = layer.with_terms().layer(inner);
        let (changed, count) = (handle.clone(), steps.clone());
        let work = move || {
            runtime(4).block_on(async move {
                let mut tasks = JoinSet::new();
                for task in 0..TASKS {
                    let (by_request, mut with_terms) = (by_request.clone(), with_terms.clone());
                    let (changed, count) = (changed.clone(), count.clone());
                    let mut rng = fastrand::Rng::with_seed(seed * TASKS + task);
                    tasks.spawn(async move {
                        let (mut served, mut too_late, mut others) = (0_u32, 0_u32, 0_u32);
                        for number in 0..EACH {
                            let job = draw(&mut rng);
                            let patience = Duration::from_micros(rng.u64(0..20_000));
                            let result = if rng.bool() {
                                timeout(patience, by_request.clone().oneshot(job)).await
                            } else {
                                with_terms.terms(job.terms);
                                let call = async { with_terms.ready().await?.call(job).await };
                                timeout(patience, call).await
                            };
                            match result {
                                Ok(Ok(())) => served += 1,
                                Ok(Err(error))
                                    if Rejected::find(&*error).unwrap().is_too_late() =>
                                {
                                    too_late += 1;
                                }
                                Ok(Err(_)) | Err(_) => others += 1,
                            }
                            if rng.u32(..64) == 0 {
                                changed.set_limit(rng.u32(1..=MOST)).unwrap();
                            }
                            count.note(number);
                        }
                        (served, too_late, others)
                    });
                }
                let mut sum = (0, 0, 0);
                while let Some(counts) = tasks.join_next().await {
                    let (served, too_late, others) = counts.unwrap();
                    sum = (sum.0 + served, sum.1 + too_late, sum.2 + others);
                }
                sum
            })
        };
        let (served, too_late, others) = guarded(handle.clone(), || steps.get(), work);
        let most = inside[1].load(Relaxed);
        line.count("served", served);
        line.count("too_late", too_late);
        line.count("others", others);
        line.count("most_inside", most);
        assert!(most <= MOST, "{most} in service");
        assert_eq!((handle.in_flight(), handle.queued()), (0, 0));
        assert_eq!(inside[0].load(Relaxed), 0);
        assert!(handle.rejected().too_late >= u64::from(too_late));
        let limit = handle.limit();
        let permits = handle.try_acquire_many(limit).unwrap();
        assert!(handle.try_acquire().is_err(), "more permits than the limit");
        drop(permits);
    });
}
