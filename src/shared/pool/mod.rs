//! CORE: the pool of leased permits of one process, and the queue of the requests that wait for
//! some.
//!
//! The pool reads no clock and knows no store. The driver delivers leases to it; requests acquire
//! permits, which lapse at the deadline of their lease.
//!
//! # State
//!
//! One word holds the permits at hand, their deadline, and the flag GATED (`word`). An acquisition
//! without a wait is one compare-exchange on it. All other state is behind a lock, which a request
//! takes if it finds no permit or the flag.
//!
//! | step | lock | condition | the word |
//! | --- | --- | --- | --- |
//! | *acquire* | no | a permit that has not lapsed, not GATED | count - 1 |
//! | *arrive* | yes | – | as *acquire* if no request waits, or else GATED |
//! | *deliver* a lease | yes | – | its deadline, and the permits that no waiter gets |
//! | *withdraw* | yes | the permits have lapsed | count 0 |
//! | *release* a permit | yes | it has not lapsed, no waiter gets it, not closed | count + 1 |
//! | *cancel* | yes | a request leaves the queue | not GATED if it was the last one |
//! | *go away*, *come back* | yes | – | not GATED, since no request waits |
//! | *pause*, *close* | yes | – | GATED |
//! | *end a pause* | yes | its time has come | count 0 or the rest; not GATED if no request waits |
//!
//! GATED is set exactly while a request waits, or the pool is paused or closed. So no newcomer
//! overtakes a waiter.
//!
//! # Permits
//!
//! A permit carries the deadline of its lease, because another lease may have taken its place in
//! the pool before the permit is used. A permit that is granted to a waiter carries it, too. The
//! request compares it with the time once more before it is issued, unless it is issued at once.
//!
//! A pool holds permits of one lease. A lease that is delivered while permits of another one are
//! left displaces these, and they are refunded: the driver asks for more only when few are left.
//!
//! # Order
//!
//! Requests are numbered by their arrival, and served in that order. A request whose permit lapses
//! before it is issued keeps its number, and so its position. One that had none gets a number in
//! front of all.
//!
//! # Races
//!
//! - *A request finds no permit, and a lease is delivered before it has the lock.* It looks at the
//!   word once more under the lock.
//! - *A request finds no permit, queues, and the lease is delivered meanwhile.* Both hold the lock:
//!   the delivery finds the waiter, or the request the permits.
//! - *A lease is delivered while requests acquire the rest of the one before.* The delivery takes
//!   that rest by one exchange, so each of its permits is acquired or refunded, and never both.
//! - *A permit is acquired, and its deadline passes before the call.* It is refunded, and the
//!   request queues again, in front.
//! - *A waiter is granted a permit and cancelled.* Both hold the lock. The permit goes to the next
//!   waiter or to the pool, or is refunded if it does not belong to the lease at hand.
//! - *A request queues while an outage begins.* Both hold the lock: the request is told, or finds
//!   the pool away. Requests that find it so learn of the outage elsewhere. It is recorded there
//!   before the pool goes away, and removed after the pool has come back, so none looks in vain.
//! - *A schedule is set while a newer one is made.* Schedules are numbered by the state of which
//!   they are, and an older one does not replace a newer one.
//! - *A pause ends while another one begins.* Both hold the lock: the one that ends is the latest,
//!   or its time has come.
//!
//! # Memory ordering
//!
//! All operations on the word are `Relaxed`. A permit is the word's own content: no thread reads
//! other memory because of it. The entries behind the lock are ordered by the lock. An acquisition
//! is a read-modify-write, so it takes a permit of the newest word, or fails.
//!
//! The end of a pause is `Relaxed`, too. It is written behind the lock, and whatever depends on it
//! is read behind the lock. Without the lock, it only tells that no pause is to be ended.

mod schedule;
pub(super) mod word;

#[cfg(test)]
pub(super) mod looks;

use std::{
    collections::BTreeMap,
    mem,
    task::{Poll, Waker},
};

pub(super) use self::{
    schedule::Schedule,
    word::{Deadline, MAX_PERMITS},
};
use self::{
    schedule::{Expected, Plan},
    word::Word,
};
use crate::{
    sync::{AtomicU32, AtomicU64, Mutex, Ordering::Relaxed},
    time::Nanos,
};

/// The number of a request, by which it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// A number that is given to the first request. Those in front of all count down from it.
const FIRST: u64 = 1 << 63;

/// Permits that are not used, of the lease with this deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unused {
    pub(super) deadline: Deadline,
    pub(super) count: u32,
}

/// The end of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A permit of the lease with this deadline.
    Granted(Deadline),
    /// The request is to arrive again, with its ticket: other rules hold from now on.
    Again,
    /// No permit comes until then, and the request does not wait so long.
    Late(Nanos),
    Closed,
}

/// An acquisition without a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acquired {
    pub(super) deadline: Deadline,
    /// As many permits are left as the [low mark](LeasePool::set_low_mark).
    pub(super) is_low: bool,
}

/// A request that arrives.
#[derive(Debug)]
pub(super) struct Arrival<'a> {
    /// Of a request that has had one.
    pub(super) ticket: Option<Ticket>,
    /// It had a permit that has lapsed, and goes in front of all.
    pub(super) is_first: bool,
    pub(super) now: Nanos,
    pub(super) since: Nanos,
    /// The end of its wait.
    pub(super) deadline: Nanos,
    pub(super) max_queue: u32,
    /// Taken if the request waits. Otherwise it is dropped after the lock: a waker is foreign code.
    pub(super) waker: &'a mut Option<Waker>,
}

/// The outcome of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    Acquired(Acquired),
    Queued(Ticket),
    /// No request waits here: the store is away.
    Away,
    QueueFull,
    Late(Nanos),
    Closed,
}

struct Waiter {
    waker: Waker,
    since: Nanos,
    deadline: Nanos,
}

/// The state behind the lock.
struct Locked {
    /// The requests that wait, in the order in which they are served.
    waiting: BTreeMap<Ticket, Waiter>,
    /// The ends of waits that their requests have not learned yet.
    ended: BTreeMap<Ticket, Outcome>,
    next: u64,
    front: u64,
    /// No request that waits has an earlier deadline.
    soonest: Nanos,
    plan: Plan,
    /// A request waits that would be late if the schedule was still believed.
    is_doubted: bool,
    /// No request waits here.
    is_away: bool,
    is_closed: bool,
}

/// The pool of leased permits of one process.
pub(super) struct LeasePool {
    word: AtomicU64,
    /// A hint: `Relaxed`.
    low_mark: AtomicU32,
    /// The end of a pause; zero without one. Written behind the lock.
    paused_until: AtomicU64,
    locked: Mutex<Locked>,
}

/// A reading of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PoolView {
    /// The permits at hand that have not lapsed.
    pub(super) permits: u32,
    /// The time at which they lapse.
    pub(super) lapse: Nanos,
    pub(super) queued: u32,
    /// The arrival of the first request that waits.
    pub(super) since: Option<Nanos>,
    /// The earliest time at which a request that arrives now gets a permit, as far as that is
    /// known.
    pub(super) expected: Nanos,
    /// A request waits that would be late by that, which was learned too long ago: the store is to
    /// be asked again.
    pub(super) is_doubted: bool,
    /// The end of the present pause.
    pub(super) paused_until: Option<Nanos>,
    pub(super) is_closed: bool,
}

impl LeasePool {
    pub(super) fn new() -> Self {
        let locked = Locked {
            waiting: BTreeMap::new(),
            ended: BTreeMap::new(),
            next: FIRST,
            front: FIRST,
            soonest: Nanos::NEVER,
            plan: Plan::NONE,
            is_doubted: false,
            is_away: false,
            is_closed: false,
        };
        Self {
            word: AtomicU64::new(Word::EMPTY.0),
            low_mark: AtomicU32::new(0),
            paused_until: AtomicU64::new(0),
            locked: Mutex::new(locked),
        }
    }

    /// Acquires a permit that is at hand, if no request waits.
    #[inline]
    pub(super) fn try_acquire(&self, now: Nanos) -> Option<Acquired> {
        self.take(now, |word| !word.is_gated())
    }

    fn take(&self, now: Nanos, may_take: impl Fn(Word) -> bool) -> Option<Acquired> {
        let mut word = Word(self.word.load(Relaxed));
        loop {
            let taken = word.less_one(now).filter(|_| may_take(word))?;
            match self.word.compare_exchange_weak(word.0, taken.0, Relaxed, Relaxed) {
                Ok(_) => {
                    let is_low = taken.count() == self.low_mark.load(Relaxed);
                    return Some(Acquired { deadline: taken.deadline(), is_low });
                }
                Err(found) => word = Word(found),
            }
        }
    }

    /// Acquires a permit, or queues a request.
    pub(super) fn arrive(&self, arrival: Arrival<'_>) -> Arrived {
        let Arrival { ticket, is_first, now, since, deadline, max_queue, waker } = arrival;
        let mut locked = self.locked.lock();
        if locked.is_closed {
            return Arrived::Closed;
        }
        let is_next = match ticket {
            Some(ticket) => locked.waiting.range(..ticket).next().is_none(),
            None => is_first || locked.waiting.is_empty(),
        };
        if is_next && self.pause_end().is_none() {
            if let Some(acquired) = self.take(now, |_| true) {
                return Arrived::Acquired(acquired);
            }
        }
        if locked.is_away && self.pause_end().is_none() {
            return Arrived::Away;
        }
        let has_turn = ticket.is_some() || is_first;
        if !has_turn && locked.waiting.len() as u64 >= u64::from(max_queue) {
            return Arrived::QueueFull;
        }
        let ahead = match ticket {
            Some(ticket) => locked.ahead(ticket, deadline.max(now)),
            None if is_first => 0,
            None => locked.waiting.len() as u64,
        };
        let Expected { at, believed } = locked.plan.expected(ahead, now, self.not_before());
        if believed > deadline.max(now) {
            return Arrived::Late(at);
        }
        let Some(waker) = waker.take() else { return Arrived::QueueFull };
        let ticket = ticket.unwrap_or_else(|| locked.number(is_first));
        locked.queue(ticket, Waiter { waker, since, deadline });
        locked.is_doubted |= at > deadline.max(now);
        self.word.fetch_or(Word::EMPTY.gated().0, Relaxed);
        Arrived::Queued(ticket)
    }

    /// Polls a request that has queued. The previous waker is left in `waker`, to be dropped after
    /// the lock.
    pub(super) fn poll(&self, ticket: Ticket, waker: &mut Option<Waker>) -> Poll<Outcome> {
        let mut locked = self.locked.lock();
        if let Some(outcome) = locked.ended.remove(&ticket) {
            return Poll::Ready(outcome);
        }
        if let (Some(waiter), Some(own)) = (locked.waiting.get_mut(&ticket), waker.as_mut()) {
            if !waiter.waker.will_wake(own) {
                mem::swap(&mut waiter.waker, own);
            }
        }
        Poll::Pending
    }

    /// Ends a wait, or forgets its end. A permit that was granted is released.
    pub(super) fn cancel(&self, ticket: Ticket, now: Nanos) -> Freed {
        let mut locked = self.locked.lock();
        let waiter = locked.waiting.remove(&ticket);
        let freed = match locked.ended.remove(&ticket) {
            Some(Outcome::Granted(deadline)) => self.put_back(&mut locked, deadline, now),
            _ => Freed::default(),
        };
        self.ungate(&locked);
        drop(locked);
        drop(waiter); // its waker is foreign code
        freed
    }

    /// Releases a permit that was not used.
    pub(super) fn release(&self, deadline: Deadline, now: Nanos) -> Freed {
        let mut locked = self.locked.lock();
        let freed = self.put_back(&mut locked, deadline, now);
        self.ungate(&locked);
        freed
    }

    fn put_back(&self, locked: &mut Locked, deadline: Deadline, now: Nanos) -> Freed {
        let unused = Freed { unused: Some(Unused { deadline, count: 1 }), ..Freed::default() };
        if deadline.has_passed(now) || locked.is_closed {
            return unused;
        }
        if self.pause_end().is_none() {
            if let Some((ticket, waiter)) = locked.waiting.pop_first() {
                locked.ended.insert(ticket, Outcome::Granted(deadline));
                return Freed { waker: Some(waiter.waker), ..Freed::default() };
            }
        }
        let put = |word| {
            let word = Word(word);
            let is_of_lease = word.deadline() == deadline && word.count() < MAX_PERMITS;
            let count = if is_of_lease { word.count() + 1 } else { 1 };
            let fits = is_of_lease || word.count() == 0;
            fits.then(|| Word::new(deadline, count, word.is_gated()).0)
        };
        match self.word.fetch_update(Relaxed, Relaxed, put) {
            Ok(before) => Freed { is_back: Word(before).count() == 0, ..Freed::default() },
            Err(_) => unused,
        }
    }

    /// Grants the permits of a lease to waiters, in their order, and keeps the rest.
    ///
    /// Returns the permits of the lease before that were left. The wakers are to be woken after
    /// that.
    pub(super) fn deliver(&self, lease: Unused, wakers: &mut Vec<Waker>) -> Option<Unused> {
        let Unused { deadline, mut count } = lease;
        let mut locked = self.locked.lock();
        let before = Word(self.word.swap(Word::EMPTY.gated().0, Relaxed));
        while count > 0 && self.pause_end().is_none() {
            let Some((ticket, waiter)) = locked.waiting.pop_first() else { break };
            locked.ended.insert(ticket, Outcome::Granted(deadline));
            wakers.push(waiter.waker);
            count -= 1;
        }
        // Nothing else writes a gated word without the lock.
        let word = Word::new(deadline, count.min(MAX_PERMITS), self.needs_gate(&locked));
        self.word.store(word.0, Relaxed);
        let left = Unused { deadline: before.deadline(), count: before.count() };
        (left.count > 0).then_some(left)
    }

    /// Takes the permits at hand that have lapsed.
    pub(super) fn withdraw(&self, now: Nanos) -> Option<Unused> {
        let _locked = self.locked.lock();
        let withdraw = |word| {
            let word = Word(word);
            let has_lapsed = word.count() > 0 && word.deadline().has_passed(now);
            has_lapsed.then(|| Word::new(word.deadline(), 0, word.is_gated()).0)
        };
        let before = self.word.fetch_update(Relaxed, Relaxed, withdraw).map(Word).ok()?;
        Some(Unused { deadline: before.deadline(), count: before.count() })
    }

    /// Sets the leases that are granted for later. Waiters that would get a permit too late are
    /// rejected, by the leases or by a pause, and those behind them move up. An older schedule than
    /// the present one has no effect.
    pub(super) fn set_schedule(&self, schedule: Schedule, now: Nanos, wakers: &mut Vec<Waker>) {
        let mut locked = self.locked.lock();
        if schedule.number < locked.plan.number {
            return;
        }
        (locked.plan, locked.is_doubted) = (Plan::new(schedule), false);
        locked.reject_late(now, self.not_before(), wakers);
        self.ungate(&locked);
    }

    /// Lets acquisitions report that this many permits are left; 0 for none.
    pub(super) fn set_low_mark(&self, permits: u32) {
        // With 0, the report of the last permit brings the driver to look at the queue once.
        self.low_mark.store(permits, Relaxed);
    }

    /// Lets all waiters arrive again, and no request wait, but for the end of a pause, until the
    /// pool has [come back](Self::come_back).
    pub(super) fn go_away(&self, wakers: &mut Vec<Waker>) {
        self.end_all(Outcome::Again, wakers, |locked| locked.is_away = true);
    }

    pub(super) fn come_back(&self) {
        self.locked.lock().is_away = false;
    }

    /// Lets all waiters arrive again.
    pub(super) fn send_away(&self, wakers: &mut Vec<Waker>) {
        self.end_all(Outcome::Again, wakers, |_| {});
    }

    /// Rejects all waiters, and all requests from now on.
    pub(super) fn close(&self, wakers: &mut Vec<Waker>) {
        self.end_all(Outcome::Closed, wakers, |locked| locked.is_closed = true);
    }

    fn end_all(&self, outcome: Outcome, wakers: &mut Vec<Waker>, change: impl FnOnce(&mut Locked)) {
        let mut locked = self.locked.lock();
        change(&mut locked);
        if locked.is_closed {
            self.word.fetch_or(Word::EMPTY.gated().0, Relaxed);
        }
        locked.end_all(outcome, wakers);
        self.ungate(&locked);
    }

    /// Grants no permit until `until`. Returns false if it is paused for as long already.
    pub(super) fn pause(&self, until: Nanos) -> bool {
        let _locked = self.locked.lock();
        if self.paused_until.fetch_max(until.get(), Relaxed) >= until.get() {
            return false;
        }
        self.word.fetch_or(Word::EMPTY.gated().0, Relaxed);
        true
    }

    /// Returns the end of the present pause; ends it if its time has come. Permits at hand go to
    /// the waiters then.
    pub(super) fn paused_until(&self, now: Nanos, wakers: &mut Vec<Waker>) -> Option<Nanos> {
        self.pause_end()?; // almost always none, which needs no lock
        let locked = &mut *self.locked.lock();
        let end = self.pause_end()?;
        if end > now {
            return Some(end);
        }
        self.paused_until.store(0, Relaxed);
        if locked.is_away {
            locked.end_all(Outcome::Again, wakers);
        }
        while !locked.waiting.is_empty() {
            let Some(Acquired { deadline, .. }) = self.take(now, |_| true) else { break };
            let (&ticket, _) = locked.waiting.first_key_value().expect("is not empty");
            locked.end(ticket, Outcome::Granted(deadline), wakers);
        }
        self.ungate(locked);
        None
    }

    /// Returns the end of a pause that has not been ended.
    fn pause_end(&self) -> Option<Nanos> {
        let end = self.paused_until.load(Relaxed);
        (end != 0).then_some(Nanos::new(end))
    }

    /// Returns the time before which no permit is granted because of a pause.
    fn not_before(&self) -> Nanos {
        self.pause_end().unwrap_or(Nanos::ZERO)
    }

    fn needs_gate(&self, locked: &Locked) -> bool {
        !locked.waiting.is_empty() || locked.is_closed || self.pause_end().is_some()
    }

    /// Clears the flag if nothing needs it.
    fn ungate(&self, locked: &Locked) {
        if !self.needs_gate(locked) {
            self.word.fetch_and(Word(u64::MAX).ungated().0, Relaxed);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.locked.lock().is_closed
    }

    /// Returns the state of this moment.
    pub(super) fn view(&self, now: Nanos) -> PoolView {
        let locked = self.locked.lock();
        let word = Word(self.word.load(Relaxed));
        let has_lapsed = word.count() == 0 || word.deadline().has_passed(now);
        let ahead = locked.waiting.len() as u64;
        let is_at_hand = ahead == 0 && !has_lapsed;
        let pause_end = self.not_before();
        let expected = match is_at_hand {
            true => now.max(pause_end),
            false => locked.plan.expected(ahead, now, pause_end).at,
        };
        PoolView {
            permits: if has_lapsed { 0 } else { word.count() },
            lapse: if word.count() == 0 { Nanos::NEVER } else { word.deadline().lapse() },
            queued: u32::try_from(ahead).unwrap_or(u32::MAX),
            since: locked.waiting.first_key_value().map(|(_, waiter)| waiter.since),
            expected,
            is_doubted: locked.is_doubted && ahead > 0,
            paused_until: self.pause_end(),
            is_closed: locked.is_closed,
        }
    }
}

/// A permit that was released: granted to a waiter, at hand again, or to be refunded.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Freed {
    /// To be refunded.
    pub(super) unused: Option<Unused>,
    /// At hand again, in a pool that was empty: it is to be taken out when it lapses.
    pub(super) is_back: bool,
    /// To be woken after the lock.
    pub(super) waker: Option<Waker>,
}

impl Locked {
    fn number(&mut self, is_first: bool) -> Ticket {
        if is_first {
            self.front -= 1;
            return Ticket(self.front);
        }
        self.next += 1;
        Ticket(self.next - 1)
    }

    fn queue(&mut self, ticket: Ticket, waiter: Waiter) {
        if self.waiting.is_empty() {
            self.soonest = Nanos::NEVER;
        }
        self.soonest = self.soonest.min(waiter.deadline);
        self.waiting.insert(ticket, waiter);
    }

    /// Returns the number of requests ahead of one that arrives again: of a thousand that do so,
    /// each would count all of those before it. So no more are counted than make a difference.
    fn ahead(&self, ticket: Ticket, latest: Nanos) -> u64 {
        if self.plan.is_in_time(latest) {
            return 0;
        }
        let most = usize::try_from(self.plan.covered()).unwrap_or(usize::MAX);
        let ahead = self.waiting.range(..ticket).take(most).count();
        #[cfg(test)]
        looks::add(ahead);
        ahead as u64
    }

    /// Ends the waits of the requests that would get a permit too late.
    fn reject_late(&mut self, now: Nanos, pause_end: Nanos, wakers: &mut Vec<Waker>) {
        let least = self.soonest.max(now);
        if self.plan.is_in_time(least) && pause_end <= least {
            return;
        }
        #[cfg(test)]
        looks::add(self.waiting.len());
        let (mut ahead, mut late) = (0, Vec::new());
        self.soonest = Nanos::NEVER;
        for (&ticket, waiter) in &self.waiting {
            let Expected { at, believed } = self.plan.expected(ahead, now, pause_end);
            if believed > waiter.deadline.max(now) {
                late.push((ticket, at));
                continue;
            }
            self.is_doubted |= at > waiter.deadline.max(now);
            self.soonest = self.soonest.min(waiter.deadline);
            ahead += 1;
        }
        for (ticket, expected) in late {
            self.end(ticket, Outcome::Late(expected), wakers);
        }
    }

    fn end_all(&mut self, outcome: Outcome, wakers: &mut Vec<Waker>) {
        while let Some((ticket, waiter)) = self.waiting.pop_first() {
            self.ended.insert(ticket, outcome);
            wakers.push(waiter.waker);
        }
    }

    fn end(&mut self, ticket: Ticket, outcome: Outcome, wakers: &mut Vec<Waker>) {
        if let Some(waiter) = self.waiting.remove(&ticket) {
            self.ended.insert(ticket, outcome);
            wakers.push(waiter.waker);
        }
    }
}
