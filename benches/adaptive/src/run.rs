//! The event loop: arrivals, limiters, and one server. Time is a number; nothing waits.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use crate::{
    algorithm::{Algorithm, End, Stamp},
    world::{Course, Phase, Server, World},
};

const SECOND: f64 = 1e9;
/// The time of a request that fails or is shed, in nanoseconds.
const FAST: u64 = 200_000;

/// The result of a run, for each phase.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Responses in the last 40 % of the phase.
    pub served: u64,
    /// Their time in service, in seconds.
    pub seconds: f64,
    /// Responses in the whole phase.
    pub all: u64,
    /// Responses by limiter, in the last 40 %.
    pub by_limiter: Vec<u64>,
    /// The course of the phase.
    pub bins: Vec<Bin>,
}

/// A part of a phase.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bin {
    /// The sum of the limits over time, in nanoseconds.
    pub limit: f64,
    /// Responses.
    pub served: u64,
    /// Their time in service, in seconds.
    pub seconds: f64,
}

/// The number of parts of a phase.
pub const BINS: usize = 120;

impl Figures {
    /// Returns the mean time in service, in seconds.
    pub fn latency(&self) -> f64 {
        self.seconds / self.served.max(1) as f64
    }

    /// Returns Jain's index of the limiters.
    pub fn fairness(&self) -> f64 {
        let served = self.by_limiter.iter().map(|&served| served as f64);
        let (sum, squares) =
            served.fold((0.0, 0.0), |(sum, squares), one| (sum + one, squares + one * one));
        sum * sum / (self.by_limiter.len() as f64 * squares)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Phase(usize),
    Arrival(u32),
    /// Of a request that has this version.
    Done(usize, u32),
    /// A request of the shared server is done, at this version of it.
    Shared(u64),
    Timeout(usize, u32),
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Nowhere,
    Waiting,
    InService,
    /// Without a place at the server.
    Fast(End),
}

#[derive(Clone)]
struct Request {
    version: u32,
    limiter: u32,
    draws: [f64; 3],
    /// Chooses failures and replicas.
    lot: f64,
    arrived: u64,
    called: u64,
    stamp: Option<Stamp>,
    place: Place,
    replica: usize,
    /// In the shared server: the virtual time at which it is done.
    done: f64,
}

struct Limiter {
    algorithm: Box<dyn Algorithm>,
    in_flight: u32,
    queue: VecDeque<usize>,
    /// The time since which the limit was added to the bins.
    since: u64,
}

struct Run<'a> {
    world: &'a World,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    number: u64,
    arrivals: fastrand::Rng,
    draws: fastrand::Rng,
    limiters: Vec<Limiter>,
    requests: Vec<Request>,
    free: Vec<usize>,
    phase: usize,
    /// The start of the phase.
    start: u64,
    figures: Vec<Figures>,
    // The server.
    waiting: Vec<VecDeque<usize>>,
    busy: Vec<u32>,
    shared: BinaryHeap<Reverse<(u64, u32, usize)>>,
    in_shared: u32,
    virtual_time: f64,
    at: u64,
    shared_version: u64,
}

/// Runs a world. `algorithm` creates the limit of each limiter; it is told the phases.
pub fn run(
    world: &World,
    seed: u64,
    algorithm: &mut dyn FnMut(u32) -> Box<dyn Algorithm>,
) -> Vec<Figures> {
    let servers = match world.server {
        Server::Replicas => {
            world.phases.iter().map(|phase| phase.capacity).max().unwrap_or(1) as usize
        }
        _ => 1,
    };
    let limiters = (0..world.limiters)
        .map(|index| Limiter {
            algorithm: algorithm(index),
            in_flight: 0,
            queue: VecDeque::new(),
            since: 0,
        })
        .collect();
    let figures = Figures {
        by_limiter: vec![0; world.limiters as usize],
        bins: vec![Bin::default(); BINS],
        ..Figures::default()
    };
    let mut run = Run {
        world,
        now: 0,
        events: BinaryHeap::new(),
        number: 0,
        arrivals: fastrand::Rng::with_seed(seed.wrapping_mul(2) + 1),
        draws: fastrand::Rng::with_seed(seed.wrapping_mul(2) + 2),
        limiters,
        requests: Vec::new(),
        free: Vec::new(),
        phase: 0,
        start: 0,
        figures: vec![figures; world.phases.len()],
        waiting: vec![VecDeque::new(); servers],
        busy: vec![0; servers],
        shared: BinaryHeap::new(),
        in_shared: 0,
        virtual_time: 0.0,
        at: 0,
        shared_version: 0,
    };
    run.all();
    run.figures
}

impl Run<'_> {
    fn all(&mut self) {
        self.plan(0, Event::Phase(0));
        for limiter in 0..self.world.limiters {
            self.plan(0, Event::Arrival(limiter));
        }
        while let Some(Reverse((time, _, event))) = self.events.pop() {
            self.now = time;
            match event {
                Event::Phase(phase) if phase == self.world.phases.len() => {
                    (0..self.limiters.len()).for_each(|limiter| self.note_limit(limiter));
                    return;
                }
                Event::Phase(phase) => self.begin(phase),
                Event::Arrival(limiter) => self.arrive(limiter),
                Event::Done(request, version) if self.requests[request].version == version => {
                    self.done(request);
                }
                Event::Shared(version) if self.shared_version == version => self.shared_done(),
                Event::Timeout(request, version) if self.requests[request].version == version => {
                    self.abandon(request);
                }
                Event::Done(..) | Event::Shared(_) | Event::Timeout(..) => {}
            }
        }
    }

    fn plan(&mut self, time: u64, event: Event) {
        self.number += 1;
        self.events.push(Reverse((time, self.number, event)));
    }

    fn phase(&self) -> &Phase {
        &self.world.phases[self.phase]
    }

    fn begin(&mut self, phase: usize) {
        (0..self.limiters.len()).for_each(|limiter| self.note_limit(limiter));
        self.advance_shared();
        self.phase = phase;
        self.start = self.now;
        let length = (self.phase().seconds * SECOND) as u64;
        self.plan(self.now + length, Event::Phase(phase + 1));
        for limiter in 0..self.limiters.len() {
            let share = self.phase().best(self.world.server).div_ceil(self.world.limiters);
            self.limiters[limiter].algorithm.phase(share);
            self.grant(limiter);
        }
        (0..self.waiting.len()).for_each(|server| self.start_next(server));
        self.plan_shared();
    }

    fn arrive(&mut self, limiter: u32) {
        let gap = -(1.0 - self.arrivals.f64()).ln() * f64::from(self.world.limiters)
            / self.phase().arrivals()
            * SECOND;
        self.plan(self.now + gap as u64 + 1, Event::Arrival(limiter));
        let draws = [(); 3].map(|()| self.draws.f64());
        let lot = self.draws.f64();
        let new = Request {
            version: 0,
            limiter,
            draws,
            lot,
            arrived: self.now,
            called: 0,
            stamp: None,
            place: Place::Nowhere,
            replica: 0,
            done: 0.0,
        };
        let index = limiter as usize;
        let max_queue = self.world.max_queue;
        self.give_up(index);
        let Limiter { algorithm, in_flight, queue, .. } = &self.limiters[index];
        let admits = queue.is_empty() && *in_flight < algorithm.limit();
        if !admits && queue.len() >= max_queue {
            return;
        }
        let request = match self.free.pop() {
            Some(free) => {
                let version = self.requests[free].version;
                self.requests[free] = Request { version, ..new };
                free
            }
            None => {
                self.requests.push(new);
                self.requests.len() - 1
            }
        };
        if admits {
            self.call(request);
        } else {
            self.limiters[index].queue.push_back(request);
        }
    }

    /// Takes the requests out of the queue whose callers have given up.
    fn give_up(&mut self, limiter: usize) {
        let Some(patience) = self.phase().patience else { return };
        let Limiter { queue, .. } = &mut self.limiters[limiter];
        while let Some(&first) = queue.front() {
            if self.now < self.requests[first].arrived + (patience * SECOND) as u64 {
                break;
            }
            queue.pop_front();
            self.requests[first].version += 1;
            self.free.push(first);
        }
    }

    /// Grants permits to waiters.
    fn grant(&mut self, limiter: usize) {
        self.give_up(limiter);
        while self.limiters[limiter].in_flight < self.limiters[limiter].algorithm.limit() {
            let Some(request) = self.limiters[limiter].queue.pop_front() else { return };
            self.call(request);
        }
    }

    /// Acquires a permit, and calls the server.
    fn call(&mut self, request: usize) {
        let limiter = &mut self.limiters[self.requests[request].limiter as usize];
        limiter.in_flight += 1;
        let is_last = limiter.in_flight == limiter.algorithm.limit();
        let stamp = if is_last { limiter.algorithm.stamp() } else { None };
        let lot = self.requests[request].lot;
        let in_service = self.in_server();
        let phase = self.phase();
        let end = match phase.sheds_above {
            _ if lot < phase.failing => Some(End::Ignored),
            Some(most) if in_service >= most => Some(End::Overload),
            _ => None,
        };
        let timeout = phase.timeout;
        let of = &mut self.requests[request];
        of.stamp = stamp;
        of.called = self.now;
        let version = of.version;
        if let Some(patience) = self.phase().patience {
            let end = self.requests[request].arrived + (patience * SECOND) as u64;
            self.plan(end.max(self.now), Event::Timeout(request, version));
        }
        if let Some(timeout) = timeout {
            self.plan(self.now + (timeout * SECOND) as u64, Event::Timeout(request, version));
        }
        if let Some(end) = end {
            self.requests[request].place = Place::Fast(end);
            self.plan(self.now + FAST, Event::Done(request, version));
            return;
        }
        self.requests[request].place = Place::Waiting;
        match self.world.server {
            Server::Fifo => {
                self.waiting[0].push_back(request);
                self.start_next(0);
            }
            Server::Replicas => {
                let replicas = f64::from(self.phase().capacity);
                let replica = (lot * replicas) as usize;
                self.requests[request].replica = replica;
                self.waiting[replica].push_back(request);
                self.start_next(replica);
            }
            Server::Shared | Server::Retrograde(_) => {
                self.advance_shared();
                self.in_shared += 1;
                let done = self.virtual_time + self.work(request);
                let of = &mut self.requests[request];
                of.done = done;
                of.place = Place::InService;
                self.shared.push(Reverse((done.to_bits(), version, request)));
                self.plan_shared();
            }
        }
    }

    fn in_server(&self) -> u32 {
        let waiting: usize = self.waiting.iter().map(VecDeque::len).sum();
        self.in_shared + self.busy.iter().sum::<u32>() + waiting as u32
    }

    /// Returns the work of a request that starts now, in nanoseconds.
    fn work(&self, request: usize) -> f64 {
        let phase = self.phase();
        let since = (self.now - self.start) as f64 / SECOND;
        let course = match phase.course {
            Course::Steady | Course::Pauses => 1.0,
            Course::Drift(to) => 1.0 + (to - 1.0) * (since / phase.seconds),
            Course::Breathing => 1.0 + 0.5 * (std::f64::consts::TAU * since).sin(),
        };
        let sample = phase.times.sample(self.requests[request].draws);
        (sample * course * phase.service * SECOND).max(1.0)
    }

    /// Starts waiting requests of a FIFO server or a replica.
    fn start_next(&mut self, server: usize) {
        let permits = match self.world.server {
            Server::Fifo => self.phase().capacity,
            _ => 1,
        };
        while self.busy[server] < permits {
            let Some(request) = self.waiting[server].pop_front() else { return };
            if self.requests[request].place != Place::Waiting {
                self.free.push(request); // abandoned
                continue;
            }
            self.busy[server] += 1;
            self.requests[request].place = Place::InService;
            let mut end = self.now + self.work(request) as u64;
            if self.phase().course == Course::Pauses {
                // In each 5 s, the last 200 ms stand still.
                let (period, run) = (5_000_000_000, 4_800_000_000);
                let mut at = (self.now - self.start) % period;
                let mut work = end - self.now;
                end = self.now;
                loop {
                    let step = run - at.min(run);
                    if work <= step {
                        end += work;
                        break;
                    }
                    work -= step;
                    end += period - at;
                    at = 0;
                }
            }
            let version = self.requests[request].version;
            self.plan(end, Event::Done(request, version));
        }
    }

    /// Returns the progress of each request of the shared server in a nanosecond.
    fn rate(&self) -> f64 {
        let (capacity, number) = (f64::from(self.phase().capacity), f64::from(self.in_shared));
        let share = (capacity / number.max(1.0)).min(1.0);
        match self.world.server {
            Server::Retrograde(fall) => share / (1.0 + fall * (number / capacity - 1.0).max(0.0)),
            _ => share,
        }
    }

    fn advance_shared(&mut self) {
        self.virtual_time += (self.now - self.at) as f64 * self.rate();
        self.at = self.now;
    }

    fn plan_shared(&mut self) {
        self.shared_version += 1;
        while let Some(&Reverse((_, version, request))) = self.shared.peek() {
            let is_gone = self.requests[request].version != version;
            if !is_gone {
                break;
            }
            self.shared.pop();
        }
        let Some(&Reverse((done, ..))) = self.shared.peek() else { return };
        let left = (f64::from_bits(done) - self.virtual_time).max(0.0) / self.rate();
        self.plan(self.now + left.ceil() as u64, Event::Shared(self.shared_version));
    }

    fn shared_done(&mut self) {
        self.advance_shared();
        if let Some(Reverse((_, _, request))) = self.shared.pop() {
            self.in_shared -= 1;
            self.end(request, End::Served);
            self.plan_shared();
        }
    }

    fn done(&mut self, request: usize) {
        let Request { place, replica, .. } = self.requests[request];
        if let Place::Fast(end) = place {
            self.end(request, end);
            return;
        }
        self.busy[replica] -= 1;
        self.end(request, End::Served);
        self.start_next(replica);
    }

    fn abandon(&mut self, request: usize) {
        let Request { place, replica, .. } = self.requests[request];
        match (self.world.server, place) {
            (_, Place::Nowhere | Place::Fast(_)) => self.end(request, End::Abandoned),
            (Server::Shared | Server::Retrograde(_), _) => {
                self.advance_shared();
                self.in_shared -= 1;
                self.end(request, End::Abandoned);
                self.plan_shared();
            }
            (_, Place::InService) => {
                self.busy[replica] -= 1;
                self.end(request, End::Abandoned);
                self.start_next(replica);
            }
            // It is still in the list of those that wait: it is freed where it leaves that.
            (_, Place::Waiting) => {
                self.end(request, End::Abandoned);
                self.free.pop();
            }
        }
    }

    /// Ends a request, and grants its permit.
    fn end(&mut self, request: usize, end: End) {
        let of = &mut self.requests[request];
        of.version += 1;
        of.place = Place::Nowhere;
        let (index, called, stamp) = (of.limiter as usize, of.called, of.stamp.take());
        self.free.push(request);
        let nanos = self.now - called;
        if end == End::Served {
            let seconds = nanos as f64 / SECOND;
            let (_, bin) = self.bin(self.now);
            let length = (self.phase().seconds * SECOND) as u64;
            let is_late = self.now - self.start >= length / 5 * 3;
            let figures = &mut self.figures[self.phase];
            figures.all += 1;
            if is_late {
                figures.served += 1;
                figures.seconds += seconds;
                figures.by_limiter[index] += 1;
            }
            figures.bins[bin].served += 1;
            figures.bins[bin].seconds += seconds;
        }
        self.limiters[index].in_flight -= 1;
        if let Some(stamp) = stamp {
            self.note_limit(index);
            self.limiters[index].algorithm.ended(stamp, end, nanos, self.now);
        }
        self.grant(index);
    }

    /// Returns the bin of a time of this phase, and its end.
    fn bin(&self, time: u64) -> (u64, usize) {
        let width = ((self.phase().seconds * SECOND) as u64).div_ceil(BINS as u64);
        let bin = ((time - self.start) / width).min(BINS as u64 - 1);
        (self.start + (bin + 1) * width, bin as usize)
    }

    /// Adds the present limit to the bins, up to now.
    fn note_limit(&mut self, index: usize) {
        let limit = f64::from(self.limiters[index].algorithm.limit());
        let mut since = self.limiters[index].since.max(self.start);
        while since < self.now {
            let (end, bin) = self.bin(since);
            let until = end.min(self.now).max(since + 1);
            self.figures[self.phase].bins[bin].limit += limit * (until - since) as f64;
            since = until;
        }
        self.limiters[index].since = self.now;
    }
}
