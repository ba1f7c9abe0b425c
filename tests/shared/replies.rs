//! Stores that are broken: replies of any numbers.

use std::{
    cell::Cell,
    convert::Infallible,
    panic,
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};
use tower_floodgate::{
    Rejected, WindowRateLimitLayer,
    shared::{Away, SharedWindow, Store, StoreError},
};

use crate::{
    hold::{hold_slowly, name_of},
    paused_runtime::run,
    shared_store::model::{State, apply},
};

/// A store that changes numbers of its replies.
#[derive(Clone)]
struct Broken {
    state: Arc<Mutex<Option<State>>>,
    /// For each reply, the index and the number that takes the place of the right one.
    changes: Arc<Mutex<Vec<Change>>>,
    /// Permits that were leased.
    leased: Arc<Mutex<i64>>,
}

#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Number(usize, i64),
    /// By so much.
    Add(usize, i64),
    Cut(usize),
    All(Vec<i64>),
}

impl Store for Broken {
    async fn acquire(&self, _: &str, request: &[i64]) -> Result<Vec<i64>, StoreError> {
        let wall = 1_800_000_000_000_000;
        // Of a process that has seen a time beyond any server's.
        if request[7] > 2 * wall {
            return Err(StoreError::new("io"));
        }
        let mut reply = apply(&mut self.state.lock().unwrap(), request, wall, 1);
        match self.changes.lock().unwrap().pop().unwrap_or(Change::Nothing) {
            Change::Nothing => {}
            Change::Number(index, number) => {
                let index = index % reply.len();
                reply[index] = number;
            }
            Change::Add(index, number) => {
                let index = index % reply.len();
                reply[index] = reply[index].wrapping_add(number);
            }
            Change::Cut(length) => reply.truncate(length),
            Change::All(numbers) => reply = numbers,
        }
        let counts = reply.iter().skip(7).step_by(3).filter(|count| **count > 0);
        let leased = &mut *self.leased.lock().unwrap();
        *leased = counts.fold(*leased, |sum, count| sum.saturating_add(*count));
        Ok(reply)
    }
}

fn number() -> impl Strategy<Value = i64> {
    let edges = vec![0, 1, -1, i64::MAX, i64::MIN, i64::MAX / 2, 1 << 31, 1 << 32, 1 << 62];
    prop_oneof![proptest::sample::select(edges), any::<i64>(), -2000..2000_i64]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        1 => Just(Change::Nothing),
        3 => (0..12_usize, number()).prop_map(|(index, number)| Change::Number(index, number)),
        2 => (0..12_usize, number()).prop_map(|(index, number)| Change::Add(index, number)),
        1 => (0..12_usize).prop_map(Change::Cut),
        1 => proptest::collection::vec(number(), 0..13).prop_map(Change::All),
    ]
}

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// Counts the panics of each thread: one in a task has no other trace.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            before(info);
        }));
    });
}

/// A reply that no store sends is an error, and never a panic or a permit.
#[test]
fn d11_replies_of_any_numbers_are_errors_or_leases_and_never_panic() {
    count_panics();
    let limit = prop_oneof![1..200_u32, Just(i32::MAX as u32)];
    let window = prop_oneof![Just(100_u64), Just(1000), Just(2_592_000_000)];
    let cases = (limit, window, proptest::collection::vec(change(), 1..12));
    let test = |(limit, window, changes): (u32, u64, Vec<_>)| {
        let steps = changes.len();
        let store = Broken {
            state: Arc::default(),
            changes: Arc::new(Mutex::new(changes)),
            leased: Arc::default(),
        };
        let issued = Arc::new(Mutex::new(0_i64));
        let panics = PANICS.get();
        run(async {
            let window = Duration::from_millis(window);
            let quota = SharedWindow::new(store.clone(), "quota", limit, window, Away::Closed);
            let layer = WindowRateLimitLayer::shared(quota).max_wait(Duration::from_millis(300));
            let issued = Arc::clone(&issued);
            let service = layer.layer(service_fn(move |(): ()| {
                *issued.lock().unwrap() += 1;
                async { Ok::<_, Infallible>(()) }
            }));
            for _ in 0..60 {
                tokio::spawn(service.clone().oneshot(()));
                sleep(Duration::from_millis(41)).await;
            }
            // All calls end.
            sleep(Duration::from_secs(1)).await;
            assert_eq!(service.handle().queued(), 0);
            let _ = service.handle().snapshot();
        });
        prop_assert_eq!(PANICS.get(), panics, "a task has panicked");
        let (issued, leased) = (*issued.lock().unwrap(), *store.leased.lock().unwrap());
        prop_assert!(issued <= leased, "{issued} of {leased}");
        Ok(steps)
    };
    hold_slowly(256, file!(), name_of(&test), cases, test);
}

/// Such a store is away as any other, and its panic is shown once for each request.
#[test]
fn d11_store_that_panics_is_away() {
    struct Panicking;

    impl Store for Panicking {
        async fn acquire(&self, _: &str, _: &[i64]) -> Result<Vec<i64>, StoreError> {
            panic!("a store that panics");
        }
    }

    count_panics();
    let panics = PANICS.get();
    run(async {
        let window = Duration::from_secs(1);
        let quota = SharedWindow::new(Panicking, "quota", 10, window, Away::Closed);
        let layer = WindowRateLimitLayer::shared(quota).max_wait(Duration::from_secs(10));
        let service = layer.layer(service_fn(|(): ()| async { Ok::<_, Infallible>(()) }));
        let calls: Vec<_> = (0..100).map(|_| tokio::spawn(service.clone().oneshot(()))).collect();
        for call in calls {
            let error = call.await.unwrap().unwrap_err();
            assert!(Rejected::find(&*error).unwrap().is_unavailable());
        }
        let fleet = service.handle().snapshot().store;
        assert_eq!(fleet.store_requests, fleet.store_failures);
        assert!((8..=40).contains(&fleet.store_requests), "{fleet:?}");
        assert_eq!(fleet.store_requests, (PANICS.get() - panics) as u64);
    });
}
