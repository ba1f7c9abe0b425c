//! Random schedules. After each step, the pool and the naive version agree, and each permit is
//! held, at hand or unused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Poll, Wake, Waker},
    time::Duration,
};

use fastrand::Rng;

use super::{
    cases,
    naive::{Asked, Naive},
};
use crate::{
    shared::pool::{
        Arrival, Arrived, Deadline, Freed, LeasePool, Outcome, PoolView, Schedule, Ticket, Unused,
    },
    time::Nanos,
};

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// The ticket of a request, and its turn in the naive version.
#[derive(Default)]
struct Request {
    ticket: Option<(Ticket, i64)>,
    is_queued: bool,
    wakes: Arc<Wakes>,
}

struct Scene {
    pool: LeasePool,
    naive: Naive,
    now: u64,
    requests: Vec<Request>,
    /// Permits in the hands of requests.
    held: Vec<(usize, Deadline)>,
    leased: u64,
    unused: u64,
    random: Rng,
}

fn ms(ms: u64) -> Nanos {
    Nanos::ZERO.after(Duration::from_millis(ms))
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

impl Scene {
    fn new(seed: u64) -> Self {
        Self {
            pool: LeasePool::new(),
            naive: Naive::new(),
            now: 1,
            requests: Vec::new(),
            held: Vec::new(),
            leased: 0,
            unused: 0,
            random: Rng::with_seed(seed),
        }
    }

    fn now(&self) -> Nanos {
        ms(self.now)
    }

    /// Returns a time around now.
    fn soon(&mut self) -> Nanos {
        ms((self.now + self.random.u64(..20)).saturating_sub(5))
    }

    fn step(&mut self) {
        match self.random.u32(..100) {
            0..15 => self.call(),
            15..40 => self.arrive(None),
            40..50 => self.come_back(),
            50..60 => self.deliver(),
            60..65 => self.withdraw(),
            65..72 => self.release(),
            72..80 => self.cancel(),
            80..84 => self.pause(),
            84..88 => self.schedule(),
            88..90 => {
                wakes(|wakers| self.pool.send_away(wakers));
                self.naive.end_all(Outcome::Again);
            }
            90 => {
                wakes(|wakers| self.pool.go_away(wakers));
                self.naive.end_all(Outcome::Again);
                self.naive.is_away = true;
            }
            91..93 => {
                self.pool.come_back();
                self.naive.is_away = false;
            }
            93 => {
                self.naive.low_mark = self.random.u32(..4);
                self.pool.set_low_mark(self.naive.low_mark);
            }
            94 if self.random.u32(..10) == 0 => {
                wakes(|wakers| self.pool.close(wakers));
                self.naive.end_all(Outcome::Closed);
                self.naive.is_closed = true;
            }
            _ => self.now += self.random.u64(..8),
        }
        self.end_pause();
        self.poll_all();
        self.check();
    }

    fn call(&mut self) {
        // An old time, as of a thread that was preempted.
        let now = ms(self.now.saturating_sub(self.random.u64(..3)));
        let acquired = self.pool.try_acquire(now);
        assert_eq!(acquired, self.naive.try_acquire(now));
        if let Some(acquired) = acquired {
            self.hold(None, acquired.deadline);
        }
    }

    fn hold(&mut self, request: Option<usize>, deadline: Deadline) {
        let request = request.unwrap_or_else(|| {
            self.requests.push(Request::default());
            self.requests.len() - 1
        });
        self.held.push((request, deadline));
    }

    /// A request arrives, or one that has lapsed arrives again.
    fn arrive(&mut self, again: Option<usize>) {
        let request = again.unwrap_or_else(|| {
            self.requests.push(Request::default());
            self.requests.len() - 1
        });
        let asked = Asked {
            request,
            turn: self.requests[request].ticket.map(|(_, turn)| turn),
            is_first: again.is_some() && self.requests[request].ticket.is_none(),
            now: self.now(),
            deadline: if self.random.bool() { Nanos::NEVER } else { self.soon() },
            max_queue: self.random.u32(..8),
        };
        let mut waker = Some(Waker::from(Arc::clone(&self.requests[request].wakes)));
        let arrived = self.pool.arrive(Arrival {
            ticket: self.requests[request].ticket.map(|(ticket, _)| ticket),
            is_first: asked.is_first,
            now: asked.now,
            since: asked.now,
            deadline: asked.deadline,
            max_queue: asked.max_queue,
            waker: &mut waker,
        });
        let (expected, turn) = self.naive.arrive(asked);
        match (arrived, turn) {
            (Arrived::Queued(ticket), Some(turn)) => {
                let of = &mut self.requests[request];
                assert!(of.ticket.is_none_or(|(before, _)| before == ticket), "another number");
                (of.ticket, of.is_queued) = (Some((ticket, turn)), true);
            }
            _ => assert_eq!(Some(arrived), expected, "{asked:?}"),
        }
        assert_eq!(waker.is_none(), turn.is_some(), "the waker is kept if it waits");
        if let Arrived::Acquired(acquired) = arrived {
            self.hold(Some(request), acquired.deadline);
        }
    }

    /// A request whose permit has lapsed arrives again.
    fn come_back(&mut self) {
        let now = self.now();
        let lapsed = self.held.iter().position(|(_, deadline)| deadline.has_passed(now));
        if let Some(index) = lapsed {
            let (request, deadline) = self.held.swap_remove(index);
            let freed = self.pool.release(deadline, now);
            let expected = self.naive.release(deadline, now);
            self.freed(freed, expected);
            self.arrive(Some(request));
        }
    }

    fn deliver(&mut self) {
        let lease = Unused { deadline: Deadline::at(self.soon()), count: self.random.u32(1..5) };
        self.leased += u64::from(lease.count);
        let left = wakes(|wakers| self.pool.deliver(lease, wakers));
        assert_eq!(left, self.naive.deliver(lease));
        self.unused(left);
    }

    fn unused(&mut self, unused: Option<Unused>) {
        self.unused += unused.map_or(0, |unused| u64::from(unused.count));
    }

    fn withdraw(&mut self) {
        let unused = self.pool.withdraw(self.now());
        assert_eq!(unused, self.naive.withdraw(self.now()));
        self.unused(unused);
    }

    fn freed(&mut self, freed: Freed, expected: Option<Unused>) {
        assert_eq!(freed.unused, expected);
        self.unused(freed.unused);
        wake(freed.waker);
    }

    /// Releases a permit, or issues a request on it.
    fn release(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let index = self.random.usize(..self.held.len());
        let (_, deadline) = self.held.swap_remove(index);
        if self.random.bool() {
            self.unused += 1; // issued: it is out of the pool
            return;
        }
        let now = self.now();
        let freed = self.pool.release(deadline, now);
        let expected = self.naive.release(deadline, now);
        self.freed(freed, expected);
    }

    fn cancel(&mut self) {
        let queued = |(index, request): (usize, &Request)| request.is_queued.then_some(index);
        let queued: Vec<_> = self.requests.iter().enumerate().filter_map(queued).collect();
        let Some(&request) = self.random.choice(&queued) else { return };
        let of = &mut self.requests[request];
        of.is_queued = false;
        let (ticket, _) = of.ticket.expect("has queued");
        let now = ms(self.now);
        // Perhaps with a permit that it has not learned of.
        let granted = self.random.bool();
        if granted {
            let lease = Unused { deadline: Deadline::at(self.soon()), count: 1 };
            self.leased += 1;
            let left = wakes(|wakers| self.pool.deliver(lease, wakers));
            assert_eq!(left, self.naive.deliver(lease));
            self.unused(left);
        }
        let freed = self.pool.cancel(ticket, now);
        let expected = self.naive.cancel(request, now);
        self.freed(freed, expected);
    }

    fn pause(&mut self) {
        let until = self.soon().max(ms(1));
        let is_longer = self.naive.paused_until.is_none_or(|before| until > before);
        assert_eq!(self.pool.pause(until), is_longer);
        if is_longer {
            self.naive.paused_until = Some(until);
        }
    }

    /// Ends a pause at any later step.
    fn end_pause(&mut self) {
        if self.naive.paused_until.is_some() && self.random.bool() {
            let until = wakes(|wakers| self.pool.paused_until(self.now(), wakers));
            assert_eq!(until, self.naive.end_pause(self.now()));
        }
    }

    fn schedule(&mut self) {
        // Now and then an older one, of a thread that was preempted.
        let number = (self.naive.schedule.number + self.random.u64(..4)).saturating_sub(1);
        let count = self.random.usize(..3);
        let mut begins: Vec<_> = (0..count).map(|_| self.soon()).collect();
        begins.sort();
        let leases: Vec<_> = begins.into_iter().map(|at| (at, self.random.u32(1..3))).collect();
        let last = leases.last().map_or(Nanos::ZERO, |&(begin, _)| begin);
        let (one, other) = (last.max(self.soon()), last.max(self.soon()));
        let (then, at_least) = (one.max(other), one.min(other));
        let schedule = Schedule { number, leases, then, until: self.soon(), at_least };
        wakes(|wakers| self.pool.set_schedule(schedule.clone(), self.now(), wakers));
        self.naive.set_schedule(schedule, self.now());
    }

    /// Polls all requests that wait.
    fn poll_all(&mut self) {
        for request in 0..self.requests.len() {
            let of = &self.requests[request];
            let Some((ticket, _)) = of.ticket.filter(|_| of.is_queued) else { continue };
            let mut waker = Some(Waker::from(Arc::clone(&of.wakes)));
            let polled = self.pool.poll(ticket, &mut waker);
            let expected = self.naive.poll(request);
            assert_eq!(polled, expected.map_or(Poll::Pending, Poll::Ready));
            let woken = of.wakes.0.swap(0, Relaxed);
            assert_eq!(woken, usize::from(polled.is_ready()), "{polled:?}, woken {woken} times");
            let Poll::Ready(outcome) = polled else { continue };
            self.requests[request].is_queued = false;
            match outcome {
                Outcome::Granted(deadline) => self.hold(Some(request), deadline),
                Outcome::Again if self.random.bool() => self.arrive(Some(request)),
                Outcome::Again | Outcome::Late(_) | Outcome::Closed => {}
            }
        }
    }

    fn check(&self) {
        let now = self.now();
        let Naive { at_hand, waiting, paused_until, is_closed, .. } = &self.naive;
        let has_permit = self.naive.has_permit(now);
        let PoolView { permits, queued, expected, is_doubted, lapse, .. } = self.pool.view(now);
        assert_eq!(permits, if has_permit { at_hand.count } else { 0 });
        let naive_lapse = (at_hand.count > 0).then(|| at_hand.deadline.lapse());
        assert_eq!(lapse, naive_lapse.unwrap_or(Nanos::NEVER));
        assert_eq!(queued as usize, waiting.len());
        let is_at_hand = has_permit && waiting.is_empty();
        let soonest = if is_at_hand {
            now.max(self.naive.pause_end())
        } else {
            self.naive.expected(waiting.len())
        };
        assert_eq!(expected, soonest);
        assert_eq!(is_doubted, self.naive.is_doubted && !waiting.is_empty());
        assert_eq!(self.pool.view(now).paused_until, *paused_until);
        assert_eq!(self.pool.is_closed(), *is_closed);
        assert!(
            waiting.is_empty() || paused_until.is_some() || !has_permit,
            "a request waits beside a permit"
        );
        let held = self.held.len() as u64;
        assert_eq!(self.leased, held + u64::from(at_hand.count) + self.unused, "permits");
    }
}

/// Makes a step, and wakes the tasks of which it brings the wakers.
fn wakes<T>(step: impl FnOnce(&mut Vec<Waker>) -> T) -> T {
    let mut wakers = Vec::new();
    let result = step(&mut wakers);
    wake(wakers);
    result
}

#[test]
fn d6_d12_pool_agrees_with_a_list_under_random_schedules() {
    let mut served = 0;
    for seed in 0..cases() * 4 {
        let mut scene = Scene::new(seed);
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..300).for_each(|_| scene.step());
        }));
        assert!(run.is_ok(), "the schedule {seed} fails");
        served += scene.requests.iter().filter(|request| request.ticket.is_some()).count();
    }
    assert!(served > 1_000, "{served} requests have queued");
}
