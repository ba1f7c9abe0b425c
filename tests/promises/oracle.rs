//! Random schedules against an obviously right version.
//!
//! The schedule is a list of small steps: a customer polls for readiness, calls, ends its request or
//! goes away; time passes; settings change. The oracle sees the same steps and says what must be true.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Waker},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::advance;
use tower::{Layer, Service, service_fn};
use tower_floodgate::{ConcurrencyBackpressureLayer, WindowRateLimitLayer};

use crate::support::{Wakes, most_in_any_span, now};

/// Who may be there at a time.
const CUSTOMERS: usize = 8;

#[derive(Clone, Debug)]
enum Step {
    Poll(usize),
    Call(usize),
    /// Drops the service, in whatever state it is, and what it has in flight.
    Leave(usize),
    /// Ends what is in flight.
    End(usize),
    Advance(u64),
    Limit(u32),
}

fn steps(longest: u64) -> impl Strategy<Value = Vec<Step>> {
    let who = 0..CUSTOMERS;
    let step = prop_oneof![
        6 => who.clone().prop_map(Step::Poll),
        4 => who.clone().prop_map(Step::Call),
        2 => who.clone().prop_map(Step::Leave),
        2 => who.prop_map(Step::End),
        3 => (1..longest).prop_map(Step::Advance),
        1 => (1..5_u32).prop_map(Step::Limit),
    ];
    proptest::collection::vec(step, 1..200)
}

fn paused(test: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(test)
}

/// The gate as anybody would write it down.
struct NaiveGate {
    limit: u32,
    holders: Vec<usize>,
    line: VecDeque<usize>,
}

impl NaiveGate {
    fn admit(&mut self) {
        while self.holders.len() < self.limit as usize {
            let Some(next) = self.line.pop_front() else { return };
            self.holders.push(next);
        }
    }

    /// True if `who` holds a place after it has asked for one.
    fn ask(&mut self, who: usize) -> bool {
        if !self.holders.contains(&who) && !self.line.contains(&who) {
            self.line.push_back(who);
            self.admit();
        }
        self.holders.contains(&who)
    }

    fn leave(&mut self, who: usize) {
        self.holders.retain(|&holder| holder != who);
        self.line.retain(|&waiter| waiter != who);
        self.admit();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// B1, B2, B4, B6, C4: who holds and who waits is what the naive gate says, after each step; and
    /// whoever was called has been woken.
    #[test]
    fn b2_the_gate_is_as_the_naive_one(limit in 1..5_u32, steps in steps(2)) {
        let layer = ConcurrencyBackpressureLayer::new(limit as usize);
        let handle = layer.handle();
        let inner = service_fn(|(): ()| std::future::pending::<Result<(), ()>>());
        let mut naive = NaiveGate { limit, holders: Vec::new(), line: VecDeque::new() };
        let mut services: Vec<_> = (0..CUSTOMERS).map(|_| layer.layer(inner)).collect();
        let mut flights: Vec<_> = (0..CUSTOMERS).map(|_| None).collect();
        let mut ready = [false; CUSTOMERS];
        let wakes: Vec<_> = (0..CUSTOMERS).map(|_| Wakes::new()).collect();

        for step in steps {
            let waited = naive.line.clone();
            let woken: Vec<_> = wakes.iter().map(|wakes| wakes.count()).collect();
            match step {
                Step::Poll(who) if flights[who].is_none() => {
                    let waker = wakes[who].waker();
                    let polled = services[who].poll_ready(&mut Context::from_waker(&waker));
                    ready[who] = polled.is_ready();
                    prop_assert_eq!(ready[who], naive.ask(who));
                }
                Step::Call(who) if ready[who] => {
                    flights[who] = Some(services[who].call(()));
                    ready[who] = false;
                }
                Step::Leave(who) | Step::End(who) => {
                    if let Step::Leave(_) = step {
                        services[who] = layer.layer(inner);
                        ready[who] = false;
                    }
                    if flights[who].take().is_some() || matches!(step, Step::Leave(_)) {
                        naive.leave(who);
                    }
                }
                Step::Limit(limit) => {
                    handle.set_limit(limit as usize).unwrap();
                    naive.limit = limit;
                    naive.admit();
                }
                _ => {}
            }
            prop_assert_eq!(handle.in_flight(), naive.holders.len());
            prop_assert_eq!(handle.waiting(), naive.line.len());
            for who in waited {
                if naive.holders.contains(&who) && !matches!(step, Step::Poll(polled) if polled == who) {
                    prop_assert_eq!(wakes[who].count(), woken[who] + 1, "called without being woken");
                }
            }
        }
        drop((services, flights));
        prop_assert_eq!((handle.in_flight(), handle.waiting()), (0, 0), "something was lost");
    }

    /// W1, W3, W4: at every moment there is exactly as much room as the times of the last issues and the
    /// reservations leave, and no span of a window holds more than N.
    #[test]
    fn w1_the_sliding_window_is_as_the_naive_one(limit in 1..6_u32, steps in steps(700)) {
        paused(async move {
            const WINDOW: Duration = Duration::from_millis(1000);
            let began = now();
            let layer = WindowRateLimitLayer::new(limit.into(), WINDOW);
            let handle = layer.handle();
            let inner = service_fn(|(): ()| std::future::ready(Ok::<_, ()>(())));
            let mut services: Vec<_> = (0..CUSTOMERS).map(|_| layer.layer(inner)).collect();
            let mut ready = [false; CUSTOMERS];
            let mut issued: Vec<Duration> = Vec::new();

            for step in steps {
                match step {
                    // One who can't go gives up, so that nobody waits: this is about the counting.
                    Step::Poll(who) => {
                        let held = ready.iter().filter(|&&ready| ready).count();
                        let recent = issued.iter().filter(|&&at| at + WINDOW > began.elapsed()).count();
                        let room = held + recent < limit as usize;
                        prop_assert_eq!(handle.remaining(), (limit as usize - held - recent) as u64);
                        let polled = services[who].poll_ready(&mut Context::from_waker(Waker::noop()));
                        prop_assert_eq!(polled.is_ready(), ready[who] || room);
                        if polled.is_pending() {
                            services[who] = layer.layer(inner);
                        }
                        ready[who] = polled.is_ready();
                    }
                    Step::Call(who) if ready[who] => {
                        issued.push(began.elapsed());
                        drop(services[who].call(()));
                        ready[who] = false;
                    }
                    Step::Leave(who) => {
                        services[who] = layer.layer(inner);
                        ready[who] = false;
                    }
                    Step::Advance(millis) => advance(Duration::from_millis(millis)).await,
                    _ => {}
                }
            }
            prop_assert!(most_in_any_span(&issued, WINDOW) <= limit as usize);
            drop(services);
            advance(WINDOW).await;
            prop_assert_eq!(handle.remaining(), u64::from(limit), "something was lost");
            Ok(())
        })?;
    }

    /// W1, W8: above 256 the counting goes by strides. Never too many, and no more than a stride too few.
    #[test]
    fn w8_strides_never_let_too_many_through(
        limit in 257..2000_u64,
        bursts in proptest::collection::vec((1..600_usize, 1..400_u64), 1..20),
    ) {
        paused(async move {
            const WINDOW: Duration = Duration::from_millis(1000);
            let began = now();
            let layer = WindowRateLimitLayer::new(limit, WINDOW).max_waiting(0).respond(|_| ());
            let handle = layer.handle();
            let issued = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&issued);
            let mut service = layer.layer(service_fn(move |(): ()| {
                counted.fetch_add(1, SeqCst);
                std::future::ready(Ok::<_, ()>(()))
            }));
            let mut recent = VecDeque::new();
            let stride = limit.div_ceil(256).next_power_of_two() as usize;
            for (burst, pause) in bursts {
                let time = began.elapsed();
                recent.retain(|&at| at + WINDOW > time);
                for _ in 0..burst {
                    let before = issued.load(SeqCst);
                    prop_assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
                    drop(service.call(()));
                    if issued.load(SeqCst) > before {
                        recent.push_back(time);
                        prop_assert!(recent.len() <= limit as usize, "too many");
                    } else {
                        prop_assert!(recent.len() + stride > limit as usize, "more than a stride lost");
                    }
                }
                advance(Duration::from_millis(pause)).await;
            }
            drop(service);
            for _ in 0..2 {
                advance(WINDOW).await;
                let _ = handle.remaining();
            }
            prop_assert_eq!(handle.remaining(), limit, "something was lost");
            Ok(())
        })?;
    }
}
