//! Rejections in several threads, of which the list of a rule may miss some.

use std::{
    convert::Infallible,
    future::Future,
    hash::{Hash, Hasher},
    pin::pin,
    sync::Barrier,
    task::{Context, Poll, Waker},
    thread,
};

use fastrand::Rng;
use tokio::runtime::Builder;
use tower::{Layer, Service, service_fn};
use tower_floodgate::keyed::{Key, KeyedLimitLayer, Rule};

use crate::support::storm;

const THREADS: u64 = 4;
const REQUESTS: u64 = 20_000;
/// The keys of the attackers come first.
const ATTACKERS: u32 = 3;
const KEYS: u32 = 2_000;

struct Client;

impl Key<u32> for Client {
    fn hash_key<H: Hasher>(&self, client: &u32, state: &mut H) -> bool {
        client.hash(state);
        true
    }

    fn label(&self, client: &u32) -> Option<String> {
        Some(client.to_string())
    }
}

#[test]
fn k19_k20_counts_of_threads_are_exact_and_bounds_hold() {
    storm("keyed_top", |seed, line| {
        // Its time stands still, so no count halves.
        let time = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _guard = time.enter();
        let rule = Rule::new("client", Client).max_in_flight(1).count_admitted().track_top(3);
        let layer = KeyedLimitLayer::new(rule);
        let hang = service_fn(|_: u32| std::future::pending::<Result<(), Infallible>>());
        let mut service = layer.clone().reject_with(|_| ()).layer(hang);
        // One request of each client stays in flight, so each further one is rejected.
        let flying: Vec<_> = (0..KEYS).map(|client| service.call(client)).collect();
        let start = Barrier::new(THREADS as usize);
        let mut truth = vec![0; KEYS as usize];
        thread::scope(|scope| {
            let attacks = |thread| {
                let (mut service, start, time) = (service.clone(), &start, time.handle());
                move || {
                    let _guard = time.enter();
                    let mut random = Rng::with_seed(seed << 8 | thread);
                    let mut sent = vec![0; KEYS as usize];
                    start.wait();
                    for _ in 0..REQUESTS {
                        let keys = if random.bool() { ATTACKERS } else { KEYS };
                        let client = random.u32(..keys);
                        sent[client as usize] += 1;
                        let mut cx = Context::from_waker(Waker::noop());
                        let polled = pin!(service.call(client)).poll(&mut cx);
                        assert!(matches!(polled, Poll::Ready(Ok(()))), "{polled:?}");
                    }
                    sent
                }
            };
            let threads: Vec<_> = (0..THREADS).map(|it| scope.spawn(attacks(it))).collect();
            for sent in threads.into_iter().map(|thread| thread.join().unwrap()) {
                truth.iter_mut().zip(sent).for_each(|(all, sent)| *all += sent);
            }
        });
        drop(flying);
        let snapshot = layer.handle("client").snapshot();
        assert_eq!(snapshot.rejected.limit_reached, THREADS * REQUESTS);
        assert_eq!(snapshot.admitted, Some(KEYS.into()));
        let top = &snapshot.top;
        assert_eq!(top.len(), 3, "{top:?}");
        for key in top {
            let client: usize = key.label.as_ref().unwrap().parse().unwrap();
            assert!(client < ATTACKERS as usize, "{top:?}");
            let bounds = key.rejected_at_least..=key.rejected_at_most;
            assert!(bounds.contains(&truth[client]), "{key:?} of {}", truth[client]);
            line.count("sent", truth[client]);
            line.count("counted", key.rejected_at_least);
            line.count("most_apart", key.rejected_at_most - key.rejected_at_least);
        }
    });
}
