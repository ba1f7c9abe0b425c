//! The table against a list of all issues, under random schedules.
//!
//! The clock of a schedule takes steps of its own: whenever an operation reads it, other operations
//! run to their end before or after the reading. So operations are interleaved as those of threads
//! that stall there.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use super::{Hand, MS, cases, is_overflow};
use crate::{
    keyed::table::{
        KeyHash, Place, Refused, Table, WhenFull,
        counts::TAKEN,
        limits::{Ask, Limits, Window},
        shape::{Shape, TICKS},
        state::{Now, State},
    },
    time::{Nanos, Time},
};

/// What a family of schedules contains.
#[derive(Clone, Copy, Debug, Default)]
struct Kind {
    /// Without keys, all requests have the common state.
    keys: bool,
    plans: bool,
    debts: bool,
    in_flight: bool,
    forget: bool,
    /// Operations run inside of others.
    nested: bool,
    /// The clock leaps beyond the wrap of the stamps.
    wraps: bool,
    reject: bool,
}

/// Permits that were issued.
#[derive(Debug)]
struct Issue {
    at: u64,
    cost: u32,
    /// The time after the commit.
    committed: Cell<Option<u64>>,
}

/// An issue in the list of a state.
#[derive(Clone, Debug)]
struct Entry {
    issue: Rc<Issue>,
    forgotten: bool,
}

/// A request that was admitted, and whose permits are not committed.
#[derive(Debug)]
struct Request {
    key: usize,
    place: Place,
    ask: Ask,
    issue: Option<Rc<Issue>>,
}

/// What is known of a state.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The fingerprint of the key of a slot, while it is published.
    key: Option<u64>,
    issues: Vec<Entry>,
    in_flight: u32,
    /// The depth of the operation that claims the slot, and the issues of the overflow when it has
    /// read the time last, which it does after the moment that it copies.
    claimed: Option<(u32, Vec<Entry>)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    admitted: u64,
    full: u64,
    busy: u64,
    no_slot: u64,
    stalled: u64,
    claims: u64,
    copies: u64,
    overflowed: u64,
    nested: u64,
    times: u64,
    debts: u64,
}

struct Schedule {
    seed: u64,
    kind: Kind,
    table: Table,
    /// A table of one state, for copies of another.
    mirror: Table,
    keys: Vec<KeyHash>,
    /// All places of the table, and what is known of them.
    places: Vec<Place>,
    known: RefCell<Vec<Known>>,
    /// The lengths of the windows.
    lengths: Vec<u64>,
    clock: Cell<u64>,
    random: RefCell<fastrand::Rng>,
    depth: Cell<u32>,
    /// The issues of each key.
    issued: RefCell<Vec<Vec<Rc<Issue>>>>,
    requests: RefCell<Vec<Request>>,
    /// Places of requests in flight whose permits are committed.
    flying: RefCell<Vec<Place>>,
    seen: RefCell<Seen>,
}

/// The time reads itself, and lets others go first.
impl Time for Schedule {
    fn now(&self) -> Nanos {
        self.note_claims();
        self.interrupt();
        let now = self.clock.get();
        self.interrupt();
        Nanos::new(now)
    }
}

fn window_of(shape: &Shape) -> u64 {
    shape.ticks(u64::from(shape.steps) * TICKS)
}

fn step_of(shape: &Shape) -> u64 {
    shape.ticks(TICKS)
}

/// Returns random limits, and the lengths of their windows.
fn limits(random: &mut fastrand::Rng, kind: Kind) -> (Limits, Vec<u64>) {
    loop {
        let plans = if kind.plans { random.usize(1..=3) } else { 1 };
        let count = random.usize(1..=3);
        let mut lengths = Vec::new();
        let windows = (0..count).map(|_| {
            let length = match random.u32(0..4) {
                0 if kind.wraps => random.u64(1..1_000),
                1 => 10 * MS,
                _ => random.u64(10 * MS..1_000 * MS),
            };
            let quota = |random: &mut fastrand::Rng| match random.u32(0..4) {
                0 => random.u32(1..=5),
                1 => random.u32(1..=60),
                2 => 20 * random.u32(1..=5),
                _ => random.u32(1..=2_000),
            };
            let quotas: Vec<u32> = (0..plans).map(|_| quota(random)).collect();
            lengths.push(length);
            Window::new(&quotas, Duration::from_nanos(length))
        });
        let windows = windows.collect();
        let in_flight =
            (0..if kind.in_flight { plans } else { 0 }).map(|_| random.u32(1..6)).collect();
        let debt = if kind.debts { random.u64(1..4) } else { 0 };
        if let Ok(limits) = Limits::new(windows, in_flight, debt) {
            return (limits, lengths);
        }
    }
}

impl Schedule {
    fn new(seed: u64, kind: Kind) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let (limits, lengths) = limits(&mut random, kind);
        let when_full = if kind.reject { WhenFull::Reject } else { WhenFull::Share };
        let table = Table::new(u32::from(kind.keys), limits, when_full);
        let count = if kind.keys { random.usize(1..50) } else { 1 };
        let keys = (0..count).map(|_| KeyHash::new(random.u64(..))).collect();
        let mirror = Table::new(0, table.limits().clone(), WhenFull::Share);
        let overflows = (0..table.sets).map(|home| table.overflow_of(home));
        let places: Vec<_> = table.slots().chain(overflows).chain([table.common()]).collect();
        Self {
            seed,
            kind,
            mirror,
            keys,
            clock: Cell::new(if random.bool() { 0 } else { random.u64(..1_000_000 * MS) }),
            random: RefCell::new(random),
            depth: Cell::new(0),
            known: RefCell::new(vec![Known::default(); places.len()]),
            places,
            lengths,
            issued: RefCell::new(vec![Vec::new(); count]),
            requests: RefCell::new(Vec::new()),
            flying: RefCell::new(Vec::new()),
            seen: RefCell::new(Seen::default()),
            table,
        }
    }

    fn index(&self, place: Place) -> usize {
        self.places.iter().position(|known| *known == place).expect("it is a place of the table")
    }

    fn random(&self, below: u32) -> u32 {
        self.random.borrow_mut().u32(..below)
    }

    fn chance(&self, percent: u32) -> bool {
        self.random(100) < percent
    }

    fn windows(&self) -> &[Window] {
        &self.table.limits().windows
    }

    /// Runs other operations inside of one.
    fn interrupt(&self) {
        self.sync();
        if self.kind.nested && self.depth.get() < 3 && self.chance(12) {
            self.depth.set(self.depth.get() + 1);
            self.seen.borrow_mut().nested += 1;
            for _ in 0..=self.random(3) {
                self.step();
            }
            self.depth.set(self.depth.get() - 1);
        }
    }

    fn step(&self) {
        self.sync();
        match self.random(100) {
            0..25 => self.pass_time(),
            25..65 => self.acquire(),
            65..80 => self.commit(),
            80..84 => self.issue(),
            84..87 => self.undo(),
            87..89 => self.refund(),
            89..91 if self.kind.debts => self.owe(),
            91..93 => self.release(),
            93 if self.kind.forget => self.forget(),
            94.. => self.check_times(),
            _ => {}
        }
        self.sync();
        self.check_states();
    }

    // --- Steps.

    fn pass_time(&self) {
        let window = &self.windows()[self.random(self.windows().len() as u32) as usize];
        let shape = &window.shapes[0];
        let most = match self.random(100) {
            0..40 => shape.ticks(1),
            40..80 => step_of(shape),
            80..97 => window_of(shape) / 3,
            97..99 => 3 * window_of(shape),
            _ if self.kind.wraps => {
                let wraps = 1 + u64::from(self.random(3));
                self.clock.set(self.clock.get() + shape.ticks(wraps << 21));
                2 * step_of(shape)
            }
            _ => 5 * window_of(shape),
        };
        let passed = self.random.borrow_mut().u64(..=most);
        self.clock.set(self.clock.get() + passed);
    }

    fn ask(&self) -> Ask {
        let plans = self.windows()[0].shapes.len();
        let plan = self.random(plans as u32) as usize;
        let most = self.table.limits().max_cost(plan);
        let cost = match self.random(10) {
            0..5 => 1,
            5..8 => 1 + self.random(most.min(5)),
            8 => 1 + self.random(most),
            _ => most,
        };
        Ask { plan, cost }
    }

    fn acquire(&self) {
        if self.requests.borrow().len() > 20 {
            return;
        }
        let (key, ask) = (self.random(self.keys.len() as u32) as usize, self.ask());
        let before = self.seen.borrow().nested;
        let mut now = Now::of(self);
        let outcome = if self.kind.keys {
            self.table.acquire(self.keys[key], ask, &mut now)
        } else {
            let common = self.table.common();
            self.table.acquire_at(common, ask, &mut now).map(|()| common)
        };
        self.sync();
        let undisturbed = before == self.seen.borrow().nested;
        let mut seen = self.seen.borrow_mut();
        match outcome {
            Ok(place) => {
                seen.admitted += 1;
                seen.overflowed += u64::from(is_overflow(&self.table, place));
                self.fly(place, 1);
                self.requests.borrow_mut().push(Request { key, place, ask, issue: None });
                drop(seen);
                self.check_admission(key, place, ask);
            }
            Err(Refused::Full { place }) => {
                seen.full += 1;
                if undisturbed && self.depth.get() == 0 && self.is_exact() {
                    let mut windows = self.windows().iter().enumerate();
                    let is_full = |(index, window): (usize, &Window)| {
                        let quota = u64::from(window.shapes[ask.plan].quota);
                        self.most(place, index) + u64::from(ask.cost) > quota
                    };
                    assert!(windows.any(is_full), "{self}: no window is full at {place:?}");
                }
            }
            Err(Refused::Busy(place)) => {
                seen.busy += 1;
                let max = self.table.limits().max_in_flight[ask.plan];
                let in_flight = self.known.borrow()[self.index(place)].in_flight;
                assert!(!undisturbed || in_flight >= max, "{self}: {in_flight} of {max}");
            }
            Err(Refused::NoSlot) => {
                assert!(self.kind.reject, "{self}");
                seen.no_slot += 1;
                if undisturbed && self.depth.get() == 0 && self.is_exact() {
                    let sets = self.table.sets_of(self.keys[key]);
                    for place in sets.into_iter().flat_map(Table::lanes) {
                        let is_live = |window| self.most(place, window) > 0;
                        let in_flight = self.known.borrow()[self.index(place)].in_flight;
                        assert!(
                            in_flight > 0 || (0..self.windows().len()).any(is_live),
                            "{self}: an idle slot is not used"
                        );
                    }
                }
            }
            Err(Refused::Stalled) => {
                seen.stalled += 1;
                assert!(self.depth.get() > 0, "{self}: no other operation is under way");
            }
        }
    }

    /// Removes a random request, of those that are issued or not.
    fn take(&self) -> Option<Request> {
        let count = self.requests.borrow().len() as u32;
        (count > 0).then(|| self.requests.borrow_mut().swap_remove(self.random(count) as usize))
    }

    fn issue_now(&self, request: &mut Request) -> Rc<Issue> {
        let issue = request.issue.get_or_insert_with(|| {
            let (at, cost) = (self.clock.get(), request.ask.cost);
            let issue = Rc::new(Issue { at, cost, committed: Cell::new(None) });
            let entry = Entry { issue: issue.clone(), forgotten: false };
            self.known.borrow_mut()[self.index(request.place)].issues.push(entry);
            self.issued.borrow_mut()[request.key].push(issue.clone());
            issue
        });
        issue.clone()
    }

    /// Issues a request, whose task stalls then.
    fn issue(&self) {
        if let Some(mut request) = self.take() {
            self.issue_now(&mut request);
            self.requests.borrow_mut().push(request);
        }
    }

    fn commit(&self) {
        if let Some(mut request) = self.take() {
            let issue = self.issue_now(&mut request);
            self.table.state(request.place).commit(request.ask, &mut Now::of(self));
            issue.committed.set(Some(self.clock.get()));
            self.flying.borrow_mut().push(request.place);
            if self.chance(70) {
                self.release();
            }
        }
    }

    fn not_issued(&self) -> Option<Request> {
        let mut requests = self.requests.borrow_mut();
        let at = requests.iter().position(|request| request.issue.is_none())?;
        Some(requests.swap_remove(at))
    }

    fn undo(&self) {
        if let Some(request) = self.not_issued() {
            self.table.state(request.place).undo(request.ask);
            self.fly(request.place, -1);
        }
    }

    fn refund(&self) {
        if let Some(mut request) = self.not_issued() {
            let permits = self.random(request.ask.cost);
            self.table.state(request.place).refund(permits);
            request.ask.cost -= permits;
            self.requests.borrow_mut().push(request);
        }
    }

    fn owe(&self) {
        if let Some(mut request) = self.not_issued() {
            let permits = 1 + self.random(3 * request.ask.cost);
            let owed = self.table.state(request.place).owe(permits);
            assert!(owed <= permits);
            request.ask.cost += owed;
            self.requests.borrow_mut().push(request);
            self.seen.borrow_mut().debts += u64::from(owed > 0);
        }
    }

    fn release(&self) {
        let count = self.flying.borrow().len() as u32;
        if count > 0 {
            let place = self.flying.borrow_mut().swap_remove(self.random(count) as usize);
            self.table.state(place).release();
            self.fly(place, -1);
        }
    }

    fn forget(&self) {
        let key = self.random(self.keys.len() as u32) as usize;
        let place = if self.kind.keys {
            self.table.forget(self.keys[key]);
            let Some(place) = self.table.find(self.keys[key]) else { return };
            if self.table.state(place).counts().load(Relaxed) & TAKEN != 0 {
                return;
            }
            place
        } else {
            let state = self.table.state(self.table.common());
            if state.try_pin() {
                state.forget();
                state.refund(1);
            }
            self.table.common()
        };
        // Those whose commit is under way may be forgotten in part.
        let list = &mut self.known.borrow_mut()[self.index(place)].issues;
        list.retain(|entry| entry.issue.committed.get().is_none());
        list.iter_mut().for_each(|entry| entry.forgotten = true);
        self.issued.borrow_mut()[key].clear();
    }

    // --- The naive version.

    /// Counts a request in flight, if they are limited.
    fn fly(&self, place: Place, more: i32) {
        if self.kind.in_flight {
            let in_flight = &mut self.known.borrow_mut()[self.index(place)].in_flight;
            *in_flight = in_flight.checked_add_signed(more).expect("it is in flight");
        }
    }

    /// Notes the issues of the overflow, if the present operation claims a slot.
    fn note_claims(&self) {
        let (mut known, depth) = (self.known.borrow_mut(), self.depth.get());
        for place in self.table.slots() {
            let at = self.index(place);
            if self.table.state(place).counts().load(Relaxed) & TAKEN == 0 {
                known[at].claimed = None;
            } else if known[at].claimed.as_ref().is_none_or(|(owner, _)| *owner == depth) {
                let copied = self.overflow_of(self.table.tag(place).load(Relaxed));
                known[at].claimed = Some((depth, known[copied].issues.clone()));
            }
        }
    }

    /// Returns the index of the overflow of a key.
    fn overflow_of(&self, key: u64) -> usize {
        let [home, _] = self.table.sets_of(KeyHash::new(key));
        self.index(self.table.overflow_of(home))
    }

    /// Finds the slots that were given to other keys, with a copy of the overflow.
    fn sync(&self) {
        let mut known = self.known.borrow_mut();
        for place in self.table.slots() {
            let at = self.index(place);
            let word = self.table.state(place).counts().load(Relaxed);
            let tag = self.table.tag(place).load(Relaxed);
            let key = (tag != 0 && word & TAKEN == 0).then_some(tag);
            if known[at].key == key {
                if word & TAKEN == 0 {
                    known[at].claimed = None; // in vain
                }
                continue;
            }
            // K5: the key of before has nothing left.
            let now = self.clock.get();
            let issues = &known[at].issues;
            for length in &self.lengths {
                let live = |entry: &&Entry| !entry.forgotten && entry.issue.at + *length > now;
                assert_eq!(issues.iter().find(live).map(|_| ()), None, "{self}: was forgotten");
            }
            assert_eq!(known[at].in_flight, 0, "{self}: was forgotten in flight");
            let claimed = known[at].claimed.take();
            known[at] = Known { key, ..Known::default() };
            if word & TAKEN != 0 {
                known[at].claimed = claimed;
            } else if let Some(key) = key {
                let present = || known[self.overflow_of(key)].issues.clone();
                let copied = claimed.map_or_else(present, |(_, copied)| copied);
                assert!(copied.iter().all(|entry| entry.issue.committed.get().is_some()), "{self}");
                let mut seen = self.seen.borrow_mut();
                seen.claims += 1;
                let is_live =
                    |entry: &Entry| self.lengths.iter().any(|length| entry.issue.at + length > now);
                seen.copies += u64::from(copied.iter().any(is_live));
                known[at].issues = copied;
            }
        }
    }

    /// Returns the permits of `place` that are not issued.
    fn not_issued_of(&self, is_of: impl Fn(&Request) -> bool) -> u64 {
        let requests = self.requests.borrow();
        let open = requests.iter().filter(|request| request.issue.is_none() && is_of(request));
        open.map(|request| u64::from(request.ask.cost)).sum()
    }

    /// Returns the permits that `place` must hold at least.
    fn least(&self, place: Place, window: usize) -> u64 {
        let (now, length) = (self.clock.get(), self.lengths[window]);
        let known = self.known.borrow();
        let live = known[self.index(place)]
            .issues
            .iter()
            .filter(|entry| !entry.forgotten && entry.issue.at + length > now);
        let issued: u64 = live.map(|entry| u64::from(entry.issue.cost)).sum();
        issued + self.not_issued_of(|request| request.place == place)
    }

    /// Returns true if permits expire by the lateness of one log.
    fn is_exact(&self) -> bool {
        !self.kind.plans && !self.kind.debts && !self.kind.wraps
    }

    /// Returns the permits that `place` may hold at most, after an expiry.
    fn most(&self, place: Place, window: usize) -> u64 {
        let shape = &self.windows()[window].shapes[0];
        let (now, late) = (self.clock.get(), window_of(shape) + step_of(shape));
        let known = self.known.borrow();
        let is_late = |issue: &Issue| issue.committed.get().is_some_and(|at| at + late <= now);
        let live = known[self.index(place)].issues.iter().filter(|entry| !is_late(&entry.issue));
        let issued: u64 = live.map(|entry| u64::from(entry.issue.cost)).sum();
        let open = self.not_issued_of(|request| request.place == place);
        // The first of a unit expire with the last.
        let rest = if issued + open > 0 { u64::from(shape.unit) - 1 } else { 0 };
        issued + open + rest
    }

    /// K1, K9: with this request, its key has at most the quota of its plan.
    fn check_admission(&self, key: usize, place: Place, ask: Ask) {
        let now = self.clock.get();
        for (index, window) in self.windows().iter().enumerate() {
            let quota = u64::from(window.shapes[ask.plan].quota);
            let issued = &self.issued.borrow()[key];
            let live = issued.iter().filter(|issue| issue.at + self.lengths[index] > now);
            let of_key = live.map(|issue| u64::from(issue.cost)).sum::<u64>()
                + self.not_issued_of(|request| request.key == key);
            assert!(of_key <= quota, "{self}: {of_key} of {quota} for a key");
            let of_place = self.least(place, index);
            assert!(of_place <= quota, "{self}: {of_place} of {quota} at a place");
        }
        if let Some(max) = self.table.limits().max_in_flight.get(ask.plan) {
            let in_flight = self.known.borrow()[self.index(place)].in_flight;
            assert!(in_flight <= *max, "{self}: {in_flight} of {max} in flight");
        }
    }

    /// Copies a state to a mirror.
    fn copy(&self, place: Place) -> State<'_> {
        let (from, to) = (self.table.state(place), self.mirror.state(self.mirror.common()));
        to.counts().store(from.counts().load(Relaxed) & !TAKEN, Relaxed);
        for window in 0..self.windows().len() {
            to.log(window).store(from.log(window).load(Relaxed), Relaxed);
        }
        to
    }

    fn a_place(&self) -> Place {
        self.places[self.random(self.places.len() as u32) as usize]
    }

    /// K1, K5: a state holds what was issued in a window, and little more.
    fn check_states(&self) {
        for place in [self.a_place(), self.a_place()] {
            self.check_state(place);
        }
    }

    fn check_state(&self, place: Place) {
        let state = self.copy(place);
        let time = Hand::at(self.clock.get());
        while state.expire(&mut Now::of(&time)) {}
        let word = state.counts().load(Relaxed);
        for (window, fields) in self.table.limits().layout.windows().iter().enumerate() {
            let held = fields.held.get(word);
            let least = self.least(place, window);
            assert!(held >= least, "{self}: held {held}, issued {least} at {place:?}");
            if self.depth.get() == 0 && self.is_exact() {
                let most = self.most(place, window);
                assert!(held <= most, "{self}: held {held}, issued {most} at {place:?}");
            }
        }
        if let Some(field) = self.table.limits().layout.in_flight() {
            let in_flight = self.known.borrow()[self.index(place)].in_flight;
            if self.depth.get() == 0 {
                assert_eq!(field.get(word), u64::from(in_flight), "{self}");
            }
        }
        if let Some(key) = self.known.borrow()[self.index(place)].key {
            if word != 0 && self.depth.get() == 0 {
                assert_eq!(self.table.find(KeyHash::new(key)), Some(place), "{self}");
            }
        }
    }

    /// K11, K13: readings of a state tell what an acquisition finds.
    fn check_times(&self) {
        if self.depth.get() > 0 {
            return;
        }
        let place = self.a_place();
        let now = self.clock.get();
        let of_place = |request: &Request| request.place == place;
        let is_committed = !self.requests.borrow().iter().any(of_place);
        let (plan, windows) = (self.ask().plan, 0..self.windows().len());
        // What remains, in the window that has least.
        let state = self.copy(place);
        let word = state.counts().load(Relaxed);
        let in_flight = self.table.limits().layout.in_flight().map_or(0, |field| field.get(word));
        for _ in 0..in_flight {
            state.release();
        }
        let time = Hand::at(now);
        while state.expire(&mut Now::of(&time)) {}
        let remaining = windows.clone().map(|at| state.remaining(at, plan)).min();
        let remaining = remaining.expect("there is a window");
        let try_acquire = |cost, at: u64| {
            let time = Hand::at(at);
            let mirror = &self.mirror;
            let got = mirror.acquire_at(mirror.common(), Ask { plan, cost }, &mut Now::of(&time));
            if got.is_ok() {
                state.undo(Ask { plan, cost });
            }
            got
        };
        let got = try_acquire(remaining + 1, now);
        assert!(matches!(got, Err(Refused::Full { .. })), "{self}: more than {remaining} remain");
        if remaining > 0 {
            assert_eq!(try_acquire(remaining, now), Ok(()), "{self}: remaining {remaining}");
        }
        // The time until there is room.
        let most = self.table.limits().max_cost(plan);
        if remaining >= most {
            return;
        }
        let cost = remaining + 1 + self.random(most - remaining);
        let ask = Ask { plan, cost };
        let waits = windows.clone().map(|at| state.time_until_room(at, ask, Nanos::new(now)));
        let wait = waits.max().expect("there is a window").as_nanos() as u64;
        assert!(wait > 0, "{self}: no time");
        if !is_committed {
            return;
        }
        self.seen.borrow_mut().times += 1;
        let got = try_acquire(cost, now + wait - 1);
        assert!(got.is_err(), "{self}: there is room before {wait}");
        let got = try_acquire(cost, now + wait);
        assert_eq!(got, Ok(()), "{self}: there is no room after {wait}");
        if self.is_exact() {
            let exact = windows.map(|window| self.latest(place, window, ask)).max();
            assert!(Some(now + wait) <= exact, "{self}: {} {exact:?}", now + wait);
        }
    }

    /// Returns the time at which a list of the issues has room at the latest, with the lateness of
    /// a log.
    fn latest(&self, place: Place, window: usize, ask: Ask) -> u64 {
        let shape = &self.windows()[window].shapes[0];
        let mut commits: Vec<u64> = Vec::new();
        for Entry { issue, .. } in &self.known.borrow()[self.index(place)].issues {
            let at = issue.committed.get().expect("all are committed");
            commits.extend((0..issue.cost).map(|_| at));
        }
        commits.sort_unstable();
        // The newest that has to expire, and the last of its unit.
        let kept = (shape.quota - ask.cost) as usize;
        let count = commits.len() + shape.unit as usize;
        let Some(last) = count.checked_sub(kept + 2) else { return 0 };
        let last = last.min(commits.len() - 1);
        commits[last] + window_of(shape) + step_of(shape)
    }

    /// Everything is idle at the end.
    fn finish(&self) {
        while let Some(request) = self.not_issued() {
            self.table.state(request.place).undo(request.ask);
            self.fly(request.place, -1);
        }
        while !self.requests.borrow().is_empty() {
            self.commit();
        }
        while !self.flying.borrow().is_empty() {
            self.release();
        }
        let shapes = self.windows().iter().flat_map(|window| &window.shapes);
        let late = shapes.map(|shape| window_of(shape) + step_of(shape)).max().unwrap_or(0);
        // Debts expire by a quota in each window, by the smallest at worst.
        let rounds = if self.kind.debts { 20_000 } else { 1 };
        self.clock.set(self.clock.get() + late * rounds);
        for place in self.places.iter().copied() {
            let state = self.table.state(place);
            while state.expire(&mut Now::of(&Hand::at(self.clock.get()))) {}
            assert!(state.is_idle(), "{self}: {place:?} is live");
        }
    }

    fn run(&self, steps: u32) -> Seen {
        for _ in 0..steps {
            self.step();
            if self.random(50) == 0 {
                self.prune();
            }
        }
        self.finish();
        *self.seen.borrow()
    }

    /// Drops issues that are old in all windows.
    fn prune(&self) {
        let shapes = self.windows().iter().flat_map(|window| &window.shapes);
        let late = shapes.map(|shape| window_of(shape) + step_of(shape)).max().unwrap_or(0);
        let now = self.clock.get();
        let is_old = |issue: &Issue| issue.committed.get().is_some_and(|at| at + late <= now);
        for known in self.known.borrow_mut().iter_mut() {
            known.issues.retain(|entry| !is_old(&entry.issue));
        }
        for issued in self.issued.borrow_mut().iter_mut() {
            issued.retain(|issue| !is_old(issue));
        }
    }
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let quotas = |(window, length): (&Window, &u64)| {
            let quotas: Vec<u32> = window.shapes.iter().map(|shape| shape.quota).collect();
            (quotas, Duration::from_nanos(*length))
        };
        let windows: Vec<_> = self.windows().iter().zip(&self.lengths).map(quotas).collect();
        write!(f, "seed {} at {} by {windows:?}", self.seed, self.clock.get())
    }
}

/// Runs [`cases`] schedules, and returns how often each thing has happened.
fn run(kind: Kind, steps: u32) -> Seen {
    let mut all = Seen::default();
    for seed in 0..cases() {
        let seen = Schedule::new(seed, kind).run(steps);
        all.admitted += seen.admitted;
        all.full += seen.full;
        all.busy += seen.busy;
        all.no_slot += seen.no_slot;
        all.stalled += seen.stalled;
        all.claims += seen.claims;
        all.copies += seen.copies;
        all.overflowed += seen.overflowed;
        all.nested += seen.nested;
        all.times += seen.times;
        all.debts += seen.debts;
    }
    all
}

#[test]
fn k1_issues_of_one_state_never_exceed_the_quota_in_any_span() {
    let seen = run(Kind { forget: true, in_flight: true, ..Kind::default() }, 1_000);
    assert!(seen.admitted > 30 * cases() && seen.full > 30 * cases(), "{seen:?}");
}

#[test]
fn k1_issues_of_one_state_with_stalling_tasks_never_exceed_the_quota() {
    let seen = run(Kind { nested: true, ..Kind::default() }, 1_000);
    assert!(seen.nested > 50 * cases(), "{seen:?}");
}

#[test]
fn k1_issues_across_wraps_of_the_stamp_never_exceed_the_quota() {
    let seen = run(Kind { wraps: true, nested: true, debts: true, ..Kind::default() }, 1_000);
    assert!(seen.nested > 50 * cases(), "{seen:?}");
}

#[test]
fn k9_issues_by_changing_plans_never_exceed_the_quota_of_the_plan() {
    let kind = Kind { plans: true, ..Kind::default() };
    let seen = run(Kind { in_flight: true, ..kind }, 1_000);
    assert!(seen.admitted > 30 * cases() && seen.times > 2 * cases(), "{seen:?}");
    run(Kind { nested: true, ..kind }, 1_000);
}

#[test]
fn k8_debts_expire_after_the_permits_in_the_log() {
    let kind = Kind { debts: true, ..Kind::default() };
    let seen = run(kind, 1_000);
    assert!(seen.debts > 5 * cases() && seen.times > 2 * cases(), "{seen:?}");
    run(Kind { plans: true, nested: true, forget: true, ..kind }, 1_000);
}

#[test]
fn k6_keys_without_a_slot_share_a_quota_and_none_is_forgotten() {
    let kind = Kind { keys: true, ..Kind::default() };
    let seen = run(Kind { in_flight: true, ..kind }, 2_000);
    assert!(seen.claims > 10 * cases() && seen.copies > cases(), "{seen:?}");
    assert!(seen.overflowed > 10 * cases(), "{seen:?}");
    let kind = Kind { nested: true, forget: true, ..kind };
    let seen = run(kind, 2_000);
    assert!(seen.stalled > cases(), "{seen:?}");
    run(Kind { plans: true, debts: true, wraps: true, ..kind }, 2_000);
}

#[test]
fn k6_keys_are_rejected_only_while_no_slot_is_idle() {
    let kind = Kind { keys: true, reject: true, forget: true, ..Kind::default() };
    let seen = run(kind, 2_000);
    assert!(seen.no_slot > 10 * cases(), "{seen:?}");
    run(Kind { nested: true, in_flight: true, ..kind }, 2_000);
}
