//! The table against a list of all issues, under random schedules.
//!
//! The clock of a schedule takes steps of its own: whenever an operation reads it, other operations
//! run to their end before or after the reading. So operations are interleaved as those of threads
//! that stall there.

mod checks;
mod known;
mod steps;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use super::{Hand, MS, cases};
use crate::{
    keyed::table::{
        KeyHash, Place, Table, WhenFull,
        limits::{Ask, Limits, Window},
        shape::{Shape, TICKS},
        state::Now,
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
    pauses: bool,
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
    paused: u64,
    pauses: u64,
    no_pause: u64,
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
    /// The ends of the pauses of each key.
    ends: RefCell<Vec<u64>>,
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
            ends: RefCell::new(vec![0; count]),
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
        if self.kind.pauses && self.chance(4) {
            self.pause();
        }
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

    /// Everything is idle at the end.
    fn finish(&self) {
        while let Some(request) = self.not_issued() {
            let _ = self.table.state(request.place).undo(request.ask);
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
        let unpaused = self.ends.borrow().iter().copied().max().unwrap_or(0);
        let before = self.clock.get();
        self.clock.set(unpaused.max(before + late * rounds));
        let expire = || {
            for place in self.places.iter().copied() {
                self.table.expire(place, &mut Now::of(&Hand::at(self.clock.get())));
            }
        };
        expire();
        // After a wrap of a stamp, the permits of a window may count for another one.
        let leap = self.clock.get() - before;
        let mut shapes = self.windows().iter().flat_map(|window| &window.shapes);
        if shapes.any(|shape| leap >= shape.ticks(1 << 21)) {
            self.clock.set(self.clock.get() + late);
            expire();
        }
        for place in self.places.iter().copied() {
            assert!(self.table.state(place).is_idle(), "{self}: {place:?} is live");
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
        all.paused += seen.paused;
        all.pauses += seen.pauses;
        all.no_pause += seen.no_pause;
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

#[test]
fn k21_paused_keys_admit_nothing_stay_live_and_delay_no_other() {
    let kind = Kind { pauses: true, ..Kind::default() };
    let seen = run(Kind { in_flight: true, forget: true, ..kind }, 1_000);
    assert!(seen.pauses > 10 * cases() && seen.paused > 30 * cases(), "{seen:?}");
    run(Kind { nested: true, wraps: true, debts: true, ..kind }, 500);
    let kind = Kind { keys: true, ..kind };
    let seen = run(Kind { in_flight: true, ..kind }, 1_000);
    assert!(seen.pauses > 10 * cases() && seen.no_pause > 3 * cases(), "{seen:?}");
    let seen = run(Kind { nested: true, forget: true, ..kind }, 400);
    assert!(seen.paused > cases(), "{seen:?}");
    run(Kind { reject: true, nested: true, ..kind }, 400);
}
