//! CORE: at most N issues in a window, sliding or fixed.
//!
//! A window is a [`Gate`] with N places. A place is *taken* (reserved) when a service becomes ready,
//! stays taken when the request is *issued*, and comes back when the window lets go of that issue; a
//! reservation that is dropped unissued puts its place back at once. When the places of issues come back
//! is all that tells the windows apart:
//!
//! - **sliding**: a full length after the issue;
//! - **fixed**: at the next boundary of a grid that began with the layer.
//!
//! # Never too many
//!
//! 1. Taking a place happens before the issue, and the time noted for an issue in the [`log`] is read
//!    after it, so an issue lies between the two.
//! 2. A sliding place comes back when the noted time is a full length ago, so the next issue on the same
//!    place is at least a length later. There are N places: any half-open span of that length holds at
//!    most one issue of each.
//! 3. A fixed place comes back at the first boundary after the noted time, so two issues on one place are
//!    never in the same window of the grid.
//!
//! The counting is done in atomic steps on the gate's word and the log; nothing here takes a mutex while
//! nobody waits.
//!
//! # And nearly all of them
//!
//! Up to N = 256 every issue has its own time. Above, only every `stride`-th issue notes the time, for
//! itself and those before it, so that neither memory (8 KiB) nor the number of clock readings grows with
//! N: a place comes back late by the time its stride took to fill. The stride is less than N / 128, which
//! costs at most 0.8 % of the quota.
//!
//! A stride may stay open through a quiet time: its places would come back only after the next issues. So
//! whoever looks closes it, and notes the time itself. Up to then, less than a stride (0.8 %) of the places
//! may be counted as taken for longer than they need be.
//!
//! # Who looks, and who is told
//!
//! Places come back by time, so somebody has to look. A *ringer* looks for all who wait in its runtime, at
//! the time at which the place of the first of them is expected, and hands out all that has come back, in
//! order, to those of other runtimes, too. So the line doesn't stand or fall with one task that isn't polled,
//! or one runtime that stands still: those behind it go by a bell of their own, at the latest at the
//! time they last expected to. Two rules keep that exact:
//!
//! - *The head of the line is never rung for later than the next place comes back.* Places that come back
//!   early, waiters that give up and changed settings make the line move faster than was expected. After
//!   each such step the ringer is told if the head's time has become earlier ([`Gate::rouse`]).
//! - *Issues don't tell anybody.* An issue brings its place back a whole window later, so a ringer
//!   that knows of nothing to wait for looks again after a window.
//!
//! The thread of an issue may be held up between reading the time and noting it. So whoever works out a time
//! *settles* the log first: it reads the time, and then notes by itself what has been issued and is not noted.
//! An issue that is noted later has then read a later time. If the slot of an issue is claimed and its time not
//! yet written, the place may come back at any time, and the ringer looks again after a tick.

mod log;

use std::{task::Waker, time::Duration};

use self::log::{Log, Noted};
use crate::{
    clock::{Nanos, nanos},
    count::Count,
    gate::{Entry, Gate, GivenUp, Look, Now, Standing, Ticket},
    sync::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

/// Up to so many issues of a window have a time of their own.
const OBSERVATIONS: u32 = 256;
/// Twice that, for those who look, and for what is left of an old limit. Before it is full, the log is
/// thinned out.
const SLOTS: u16 = 2 * OBSERVATIONS as u16;
/// Nobody is asked to look again sooner than a timer can tell.
const TICK: Duration = Duration::from_millis(1);

/// When the place of an issue comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A full length after the issue.
    Sliding,
    /// At the next boundary of the grid.
    Fixed,
}

/// `K` says where somebody waits, and who looks for it: its runtime.
///
/// The two words that every call changes, the log's count and the gate's word, lie side by side in one cache
/// line, which is fetched once for both. What every call only reads (the stride) lies in another one, which
/// all processors may have at a time.
#[repr(C, align(64))]
pub(crate) struct Window<K> {
    log: Log,
    gate: Gate<K>,
    shape: Shape,
    /// In nanoseconds.
    length: AtomicU64,
    /// Every how many issues the time is noted: a power of two, less one.
    mask: AtomicU32,
    /// Up to so many issues have a time of their own.
    observations: u32,
    /// Nobody enters before. Written under the gate's mutex.
    paused_until: AtomicU64,
}

/// How things stand, for a reader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) limit: u32,
    pub(crate) length: Duration,
    /// How many could be issued now.
    pub(crate) remaining: u32,
    pub(crate) waiting: u32,
    /// How long a newcomer would wait.
    pub(crate) wait: Duration,
    /// How long until all that is used now has come back.
    pub(crate) reset: Duration,
}

/// `now` is a function because the time must be read after the counts it belongs to, and at best not
/// at all.
impl<K: Copy + Eq> Window<K> {
    pub(crate) fn new(shape: Shape, limit: u32, length: Duration) -> Self {
        Self::with_sizes(shape, limit, length, OBSERVATIONS, SLOTS)
    }

    /// For models, which need it small.
    pub(crate) fn with_sizes(
        shape: Shape,
        limit: u32,
        length: Duration,
        observations: u32,
        slots: u16,
    ) -> Self {
        Self {
            gate: Gate::new(limit),
            log: Log::new(slots),
            shape,
            length: AtomicU64::new(nanos(length)),
            mask: AtomicU32::new(mask(limit, observations)),
            observations,
            paused_until: AtomicU64::new(0),
        }
    }

    /// Reserves a place if that takes no more than taking it.
    #[inline]
    pub(crate) fn try_enter(&self) -> bool {
        self.gate.try_enter()
    }

    /// Reserves a place, or joins the line if `admit` says when to look again, if at all: whoever waits is to
    /// see to it that it is [minded](Self::mind). `admit` is told how many wait already, and may ask when the
    /// newcomer's place is expected.
    pub(crate) fn arrive<R>(
        &self,
        waker: &Waker,
        deadline: Nanos,
        now: Now<'_>,
        mut admit: impl FnMut(u32, &dyn Fn() -> Nanos) -> Result<Nanos, R>,
    ) -> Entry<R> {
        let moment = self.refill(now);
        if self.gate.try_enter() {
            return Entry::Entered; // on what has come back, without the mutex
        }
        let admit = |standing: Standing| admit(standing.ahead, &|| self.expected(standing, moment));
        self.gate.join(waker, deadline, admit)
    }

    /// Reserves a place that is free now, after a look at what has come back.
    pub(crate) fn acquire(&self, now: Now<'_>) -> bool {
        self.refill(now);
        self.gate.try_enter()
    }

    /// Looks whether the owner of `ticket` has a place by now, and lets it wait until `deadline` if not. `until`
    /// is told the time, may ask when the place is expected at the earliest (if all before it have given up,
    /// which is not known exactly), and says when to look again, if at all. Unless still waiting or expired,
    /// the ticket has served.
    pub(crate) fn look(
        &self,
        ticket: &Ticket,
        waker: &Waker,
        deadline: Nanos,
        now: Now<'_>,
        until: impl FnOnce(Nanos, &dyn Fn() -> Nanos) -> Nanos,
    ) -> Look {
        let moment = self.refill(now);
        self.gate.look(ticket, waker, deadline, |standing| {
            let earliest = || self.expected(Standing { ahead: 0, ..standing }, moment);
            until(moment, &earliest).max(moment.after(TICK))
        })
    }

    /// Lets the ringer of `key` look for the owner of `ticket`, who waits. True if there is no ringer: the
    /// caller sends one.
    pub(crate) fn mind(&self, ticket: &Ticket, key: K, now: Now<'_>) -> bool {
        let moment = self.settle(now);
        self.gate.mind(ticket, key, |standing| self.expected(standing, moment))
    }

    /// The ringer of `key` looks. Returns when it is to look again; `None` if nobody waits for it, and it is
    /// to go.
    pub(crate) fn attend(&self, key: K, waker: &Waker, now: Now<'_>) -> Option<Nanos> {
        let moment = self.refill(now);
        let due = self.gate.attend(key, waker, |standing| self.expected(standing, moment));
        due.map(|due| due.max(moment.after(TICK)))
    }

    /// The ringer of `key` is gone. Those who wait for it are woken.
    pub(crate) fn abandon(&self, key: K) {
        self.gate.abandon(key);
    }

    /// Gives up waiting. True if the owner of `ticket` has a reservation after all.
    pub(crate) fn give_up(&self, ticket: Ticket, now: Now<'_>) -> bool {
        let given_up = self.gate.give_up(ticket);
        if given_up == GivenUp::Head {
            self.rouse(self.settle(now));
        }
        given_up == GivenUp::Entered
    }

    /// Gives a reservation back, unissued.
    #[inline]
    pub(crate) fn give_back(&self, now: Now<'_>) {
        if self.gate.put_back(1, now) {
            self.rouse(self.settle(now));
        }
    }

    /// Turns a reservation into an issue. To be called after the issue.
    #[inline]
    pub(crate) fn issue(&self, now: impl Fn() -> Nanos) {
        let issued = self.log.issue();
        // Relaxed: whichever mask is seen, the log stays true.
        if issued.is_multiple(self.mask.load(Relaxed)) {
            self.observe_issue(issued, now);
        }
    }

    /// Out of line: of a stride, one issue comes here.
    #[cold]
    fn observe_issue(&self, issued: Count, now: impl Fn() -> Nanos) {
        self.observe(issued, &now);
    }

    /// Notes that all `issues` have happened by now, and makes room for that if there is none.
    fn observe(&self, issues: Count, now: Now<'_>) {
        let time = now();
        // Again if another thread thins the log out just then. If there is no room, a later observation
        // covers these issues.
        while !self.log.observe(issues, time) && self.thin(time) {}
    }

    /// Makes room in the log. True if there is some.
    #[cold]
    fn thin(&self, moment: Nanos) -> bool {
        let over = |time| self.due(time) <= moment;
        let same = |one, other| self.shape == Shape::Sliding || self.due(one) == self.due(other);
        self.gate.read(|_| self.log.thin(self.length(), over, same))
    }

    /// Notes what has been issued and is not noted. Returns a time from before: what is noted from now on has
    /// been issued later.
    fn settle(&self, now: Now<'_>) -> Nanos {
        let moment = now();
        self.close_stride(moment, now);
        moment
    }

    /// Notes what has been issued and is not noted.
    fn close_stride(&self, moment: Nanos, now: Now<'_>) {
        let held = self.log.held();
        if held.open > 0 {
            if held.is_tight {
                self.thin(moment); // so that those who issue find room, and need not do it
            }
            self.observe(self.log.issued(), now);
        }
    }

    /// Takes back the places whose time has come, ends a pause that is over, hands out what there is, and
    /// settles the log. Returns the time by which it did.
    pub(crate) fn refill(&self, now: Now<'_>) -> Nanos {
        let expired = self.gate.expire(now);
        let moment = now();
        let over = || moment.get() >= self.paused_until.load(Relaxed);
        let lifted = self.gate.is_barred() && self.gate.lift(over, now);
        let places = self.log.retire(|time| self.due(time) <= moment);
        let freed = places > 0 && self.gate.put_back(places, now);
        self.close_stride(moment, now);
        if expired || lifted || freed {
            self.rouse(moment);
        }
        moment
    }

    /// Tells the ringer of the head of the line if the head's place is expected sooner than it would look. At
    /// `moment` the log was settled.
    fn rouse(&self, moment: Nanos) {
        self.gate.rouse(|standing| self.expected(standing, moment));
    }

    /// When the place of an issue comes back.
    fn due(&self, time: Nanos) -> Nanos {
        let length = self.length();
        match self.shape {
            Shape::Sliding => time.after(length),
            Shape::Fixed => {
                let into = time.get() % nanos(length);
                Nanos::new(time.get() - into).after(length)
            }
        }
    }

    /// When somebody can go who has `ahead` before it, if whoever can go before it goes at once. At `moment`
    /// the log was settled; if not, the time may be too late.
    ///
    /// The places come back in the order of their issues: first those that are taken now, then those
    /// taken by the ones ahead. So one who goes on the place of another goes one round later.
    fn expected(&self, standing: Standing, moment: Nanos) -> Nanos {
        let limit = i64::from(standing.limit);
        let taken = i64::from(standing.taken());
        // Which of the places that come back is the asker's? Below zero: one of those that are free.
        let index = i64::from(standing.ahead) - standing.room;
        let rounds = if index < taken { 0 } else { (index - taken) / limit + 1 };
        let first = match u32::try_from(index - rounds * limit) {
            Err(_) => moment,
            Ok(index) => match self.log.time_of(index) {
                Noted::At(time) => self.due(time),
                Noted::Soon => moment,
                // Only reserved, or issued since.
                Noted::Not => self.due(moment),
            },
        };
        let mut at = first.max(moment).max(Nanos::new(self.paused_until.load(Relaxed)));
        if rounds > 0 {
            let further = u64::try_from(rounds - 1).unwrap_or(0);
            let further = nanos(self.length()).saturating_mul(further);
            at = self.due(at).after(Duration::from_nanos(further));
        }
        at
    }

    fn length(&self) -> Duration {
        Duration::from_nanos(self.length.load(Relaxed))
    }

    /// The limit and the length as they are set.
    pub(crate) fn settings(&self) -> (u32, Duration) {
        (self.gate.read(|standing| standing.limit), self.length())
    }

    /// How things stand, after a look at what has come back.
    pub(crate) fn read(&self, now: Now<'_>) -> Reading {
        let moment = self.refill(now);
        let (standing, at) = self.gate.read(|standing| (standing, self.expected(standing, moment)));
        let free = standing.ahead == 0 && at <= moment;
        Reading {
            limit: standing.limit,
            length: self.length(),
            remaining: if free { u32::try_from(standing.room).unwrap_or(0) } else { 0 },
            waiting: standing.ahead,
            wait: at.since(moment),
            reset: self.due(moment).since(moment),
        }
    }

    /// How long a newcomer would wait, as far as has been looked.
    pub(crate) fn wait(&self, now: Now<'_>) -> Duration {
        let moment = now();
        self.gate.read(|standing| self.expected(standing, moment)).since(moment)
    }

    /// Changes how many are issued in a window: more admit those who wait at once; fewer count from
    /// now on, while what is reserved may still be issued.
    pub(crate) fn set_limit(&self, limit: u32, now: Now<'_>) {
        let mask = mask(limit, self.observations);
        let mut is_changed = false;
        // Under the mutex: of two who change it, the same one leaves limit and mask.
        let note = || is_changed = self.mask.swap(mask, Relaxed) != mask;
        self.gate.set_limit(limit, note, now);
        if is_changed {
            // An open stride may be long by the new measure.
            self.observe(self.log.issued(), now);
        }
        self.rouse(self.settle(now));
    }

    /// Changes the length of the window, for the issues that are still held, too.
    pub(crate) fn set_length(&self, length: Duration, now: Now<'_>) {
        self.length.store(nanos(length), Relaxed);
        self.rouse(self.refill(now));
    }

    /// Nobody enters before `until`. Moves only forward.
    pub(crate) fn pause(&self, until: Nanos, now: Now<'_>) {
        self.gate.bar(|| {
            self.paused_until.fetch_max(until.get(), Relaxed);
        });
        self.refill(now); // it may be over already
    }
}

/// The stride for `limit` issues, less one: the smallest power of two that leaves no more than so many
/// observations.
const fn mask(limit: u32, observations: u32) -> u32 {
    limit.div_ceil(observations).next_power_of_two() - 1
}
