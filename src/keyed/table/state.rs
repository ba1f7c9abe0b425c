//! CORE: the state of one key: a counter word, and a log word for each window.
//!
//! # Where a permit is
//!
//! A permit counts as *held* from its acquisition until it expires. Until then it is in exactly one
//! of these places:
//!
//! | place | whose | leaves |
//! | --- | --- | --- |
//! | *uncommitted* | the request that acquired it | by a commit or a refund |
//! | *unlogged* | a field of the counter word | in units, to the log; less than a unit expires with the log |
//! | *logged* | a one of the tape | when it expires |
//! | *in hand* | the task that moves it between two places | to the other place |
//!
//! The field *held* of the counter word is never smaller than the sum of the four, and alone
//! decides every admission. It may be larger for a moment, because an expiry changes the log first.
//!
//! # Steps
//!
//! | step | words, in order |
//! | --- | --- |
//! | *acquire* n | held + n, if that is at most the quota in all windows |
//! | *refund* n | held - n |
//! | *commit* n | the log is *advanced* to the present step; unlogged + n; *carry* |
//! | *carry* | unlogged - k units, now in hand; k ones are appended to the log |
//! | *expire units* | expired ones are removed from the log, now in hand; held - their permits |
//! | *expire the rest* | unlogged - all, now in hand; held - all, if the log is as old as a window |
//!
//! A commit of whole units takes them in hand at once and appends them with the advance, so it is
//! one step. A rule with quotas up to 23 has units of one permit, and needs no other.
//!
//! # At most N permits are issued in a span of a window
//!
//! 1. A commit follows the issue. It loads the log, then reads the time, then exchanges the log.
//!    So the current step of the log ends after the issue, and never steps back.
//! 2. Permits are put among the unlogged after that, by a release. A task that takes them in hand
//!    acquires, so the log that it loads then has a current step that ends after their issues.
//! 3. A unit is appended in the current step of such a log. It expires when a window has passed
//!    since the end of that step.
//! 4. The rest expires, in hand, only if the log that is loaded then has an empty tape, and a
//!    window has passed since the end of its current step.
//! 5. So a permit is held until a window after its issue, and at most N are held.
//!
//! # Races
//!
//! - *Two tasks expire the same units.* One compare-exchange of the log succeeds, and only its task
//!   subtracts.
//! - *A task that expires is slow.* A value of the log contains the times of its units. If it has
//!   the same value when it is exchanged, then the same units have expired (see
//!   [wrapping](super::log#wrapping)).
//! - *A commit comes between a look at the unlogged and their expiry.* They are taken in hand
//!   before the log is loaded, so what was taken is as old as that log, whatever happened between.
//!   If the log is younger than a window by then, they are put back.
//! - *The clock is read before the log.* The log could be advanced in between, by a thread with a
//!   later reading, and would look as if it wrapped. So a reading that is older than the load
//!   counts only if it finds the log young, or if the log has the value that it had before the
//!   reading; otherwise the time is read again ([`Now`]).
//! - *A plan with a larger quota takes over the log.* Its units are taken in hand by the exchange
//!   that names the new plan, and are committed again, so they expire later. A carry of the old
//!   plan finds the other plan in the log, and puts its permits back among the unlogged.
//! - *A plan takes over by an old reading, after an issue in the same step.* The plans of a window
//!   have the same steps, and the current one stays, so it still ends after that issue.

#[cfg(debug_assertions)]
use std::thread;
use std::{hint, mem, ptr, time::Duration};

use super::{
    Freed, Place,
    counts::{PAUSED, QUEUED, TAKEN, WindowFields},
    limits::{Ask, Limits},
    log::{Age, Log},
    shape::Shape,
};
use crate::{
    sync::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::{Nanos, Time},
};

/// The words of one key.
#[derive(Clone, Copy)]
pub(crate) struct State<'a> {
    counts: &'a AtomicU64,
    logs: &'a [super::Line],
    place: Place,
    limits: &'a Limits,
    /// The flags that do not refuse an acquisition.
    ignored: u64,
}

/// The outcome of one attempt to acquire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Acquired,
    /// No permits are left in a window.
    Full,
    /// As many requests are in flight as may be.
    Busy,
    /// The slot is being claimed.
    Taken,
    /// Requests wait, and come first.
    Queued,
    /// The flag of a pause is set.
    Paused,
}

/// A reading of the time that is made when it is first needed, and shared by several logs.
pub(crate) struct Now<'a, T> {
    time: &'a T,
    read: Option<Nanos>,
    /// What has expired beside requests that wait: the queue is to be told.
    freed: Freed,
    /// A log, and its value before the reading.
    of: (*const AtomicU64, Log),
}

impl<'a, T: Time> Now<'a, T> {
    /// No reading yet.
    pub(crate) const fn of(time: &'a T) -> Self {
        Self { time, read: None, of: (ptr::null(), Log::from_word(0)), freed: Freed::Nothing }
    }

    /// Returns the age of `log`, the value of `word`.
    ///
    /// The log was loaded before the call. A log that is younger than a window has that age at an
    /// older reading, too.
    #[inline]
    fn age(&mut self, word: &AtomicU64, log: Log, shape: &Shape) -> Age {
        if let Some(now) = self.read {
            let age = log.age(now, shape);
            if age.steps <= u64::from(shape.steps) || self.of == (ptr::from_ref(word), log) {
                return age;
            }
        }
        self.of = (ptr::from_ref(word), log);
        log.age(self.again(), shape)
    }

    /// Reads the time again.
    #[inline]
    pub(super) fn again(&mut self) -> Nanos {
        *self.read.insert(self.time.now())
    }

    pub(crate) fn get(&mut self) -> Nanos {
        match self.read {
            Some(now) => now,
            None => self.again(),
        }
    }

    /// Returns true if the queue is to be told.
    #[inline]
    pub(crate) fn has_freed(&self) -> bool {
        self.freed != Freed::Nothing
    }

    /// Keeps it that permits were released, until the queue is told.
    pub(super) fn note(&mut self, freed: Freed) {
        self.freed = self.freed.and(freed);
    }

    /// Takes what the queue is to be told.
    pub(crate) fn take_freed(&mut self) -> Freed {
        mem::take(&mut self.freed)
    }
}

/// A decision that keeps an expiry from the queue would leave its requests asleep.
#[cfg(debug_assertions)]
impl<T> Drop for Now<'_, T> {
    fn drop(&mut self) {
        assert!(
            self.freed == Freed::Nothing || thread::panicking(),
            "the queue is told of an expiry"
        );
    }
}

impl<'a> State<'a> {
    #[inline]
    pub(super) const fn new(
        counts: &'a AtomicU64,
        logs: &'a [super::Line],
        place: Place,
        limits: &'a Limits,
        ignored: u64,
    ) -> Self {
        Self { counts, logs, place, limits, ignored }
    }

    #[inline]
    pub(in crate::keyed) const fn counts(&self) -> &'a AtomicU64 {
        self.counts
    }

    #[inline]
    pub(in crate::keyed) fn log(&self, window: usize) -> &'a AtomicU64 {
        self.logs[window].at(self.place.lane())
    }

    #[inline]
    fn fields(&self, window: usize) -> WindowFields {
        self.limits.layout.windows()[window]
    }

    #[inline]
    fn load_log(&self, window: usize) -> Log {
        // Acquire: what happened before the log was exchanged.
        Log::from_word(self.log(window).load(Acquire))
    }

    #[inline]
    fn exchange_log(&self, window: usize, from: Log, to: Log) -> bool {
        // Release: to the next load of the log, which acquires.
        self.log(window).compare_exchange(from.word(), to.word(), Release, Relaxed).is_ok()
    }

    // --- Acquire and refund.

    /// Acquires the permits of `ask` in all windows, and a request in flight, or nothing.
    #[inline]
    pub(crate) fn try_acquire(&self, ask: Ask) -> Attempt {
        // Relaxed: the exchange checks the value.
        let mut word = self.counts.load(Relaxed);
        loop {
            match self.added(word, ask) {
                Ok(new) => {
                    // Acquire: the claim of the slot, and the release of a permit, happened before.
                    match self.counts.compare_exchange_weak(word, new, Acquire, Relaxed) {
                        Ok(_) => return Attempt::Acquired,
                        Err(now) => word = now,
                    }
                }
                Err(refused) => return refused,
            }
        }
    }

    /// Returns `word` with the permits of `ask`.
    #[inline]
    fn added(&self, word: u64, ask: Ask) -> Result<u64, Attempt> {
        let flags = word & (TAKEN | QUEUED | PAUSED) & !self.ignored;
        if flags != 0 {
            return Err(match flags {
                flags if flags & TAKEN != 0 => Attempt::Taken,
                flags if flags & PAUSED != 0 => Attempt::Paused,
                _ => Attempt::Queued,
            });
        }
        let layout = &self.limits.layout;
        for (window, fields) in self.limits.windows.iter().zip(layout.windows()) {
            let quota = u64::from(window.shapes[ask.plan].quota);
            if fields.held.get(word) + u64::from(ask.cost) > quota {
                return Err(Attempt::Full);
            }
        }
        if let Some(field) = layout.in_flight() {
            if field.get(word) >= u64::from(self.limits.max_in_flight[ask.plan]) {
                return Err(Attempt::Busy);
            }
        }
        Ok(word + layout.permits(ask.cost) + layout.request())
    }

    /// Releases permits that were acquired and not committed. Returns the word before.
    #[must_use]
    pub(crate) fn refund(&self, permits: u32) -> u64 {
        // Release: happens before the next acquisition, or a claim of the slot.
        self.counts.fetch_sub(self.limits.layout.permits(permits), Release)
    }

    /// Undoes an acquisition. Returns the word before.
    #[inline]
    #[must_use]
    pub(crate) fn undo(&self, ask: Ask) -> u64 {
        let layout = &self.limits.layout;
        // Release: as for a refund.
        self.counts.fetch_sub(layout.permits(ask.cost) + layout.request(), Release)
    }

    /// Releases a request in flight. Returns the word before.
    #[must_use]
    pub(crate) fn release(&self) -> u64 {
        // Release: as for a refund.
        self.counts.fetch_sub(self.limits.layout.request(), Release)
    }

    /// Acquires permits beyond the quota, as far as they can be counted. Returns how many.
    pub(crate) fn owe(&self, permits: u32) -> u32 {
        let layout = &self.limits.layout;
        let mut word = self.counts.load(Relaxed);
        loop {
            // The last one is for a pin.
            let room = layout.room(word).saturating_sub(1);
            let owed = u32::try_from(room).unwrap_or(u32::MAX).min(permits);
            // Relaxed: the permits of the caller keep the slot from being claimed.
            let new = word + layout.permits(owed);
            match self.counts.compare_exchange_weak(word, new, Relaxed, Relaxed) {
                Ok(_) => return owed,
                Err(now) => word = now,
            }
        }
    }

    // --- The flag of the queue.

    /// Returns this state for a request whose turn it is: others that wait do not refuse it.
    pub(crate) const fn in_turn(self) -> Self {
        Self { ignored: self.ignored | QUEUED, ..self }
    }

    /// Returns true if requests wait.
    ///
    /// A task that has released permits before looks at a word that is no older: if the flag was
    /// set before the release, it is found, and if it is set later, its task finds the permits.
    pub(crate) fn is_queued(&self) -> bool {
        // Relaxed: the lock of the queue orders the rest.
        self.counts.load(Relaxed) & QUEUED != 0
    }

    /// Sets the flag. Returns false if the state is being claimed for another key.
    pub(crate) fn try_set_queued(&self) -> bool {
        let mut word = self.counts.load(Relaxed);
        while word & TAKEN & !self.ignored == 0 {
            // Acquire: as for an acquisition, after which the key is looked up again.
            match self.counts.compare_exchange_weak(word, word | QUEUED, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Clears the flag.
    pub(crate) fn clear_queued(&self) {
        // Relaxed: the releases of permits are passed on to a claim of the slot.
        self.counts.fetch_and(!QUEUED, Relaxed);
    }

    // --- The flag of a pause. It changes in the hands of the task that has taken the end.

    /// Returns true if the flag is set.
    #[inline]
    pub(crate) fn is_paused(&self) -> bool {
        // Relaxed: a flag of before is taken for a pause only if the end tells of one.
        self.counts.load(Relaxed) & PAUSED != 0
    }

    /// Sets the flag. Returns false if the state is being claimed.
    pub(super) fn try_set_paused(&self) -> bool {
        let mut word = self.counts.load(Relaxed);
        while word & TAKEN & !self.ignored == 0 {
            // Acquire: as for an acquisition, after which the key is looked up again.
            match self.counts.compare_exchange_weak(word, word | PAUSED, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Clears the flag. Returns the word before.
    pub(super) fn clear_paused(&self) -> u64 {
        // Release: a resume happens before the next acquisition.
        self.counts.fetch_and(!PAUSED, Release)
    }

    // --- Commit.

    /// Commits permits whose request was issued before the call, and before the reading of `now`.
    pub(crate) fn commit<T: Time>(&self, ask: Ask, now: &mut Now<'_, T>) {
        for window in 0..self.limits.windows.len() {
            self.commit_in(window, ask, now);
        }
    }

    fn commit_in<T: Time>(&self, window: usize, ask: Ask, now: &mut Now<'_, T>) {
        let cost = ask.cost;
        let shapes = &*self.limits.windows[window].shapes;
        loop {
            let log = self.load_log(window);
            let old = &shapes[log.plan()];
            let age = now.age(self.log(window), log, old);
            let kept = log.expired(age.steps, old);
            let is_old = age.steps > u64::from(old.steps);
            if is_old && self.has_unlogged(window) && self.expire_in(window, now) {
                continue; // permits of before are not to become younger
            }
            let freed = if kept == log { 0 } else { (log.units() - kept.units()) * old.unit };
            let (shape, advanced, again) = if log.plan() == ask.plan {
                (old, kept.advanced_to(age), 0)
            } else {
                self.advanced(kept, window, ask.plan, now.get())
            };
            let units = if again == 0 { whole_units(cost, advanced, shape) } else { 0 };
            let new = advanced.with_units(units);
            if new != log && !self.exchange_log(window, log, new) {
                continue;
            }
            let unlogged = u64::from(cost - units * shape.unit) + u64::from(again);
            let unlogged = self.add_unlogged(window, unlogged, freed);
            // The unit of another plan may be smaller than what was less than a unit.
            if unlogged >= u64::from(shape.unit) || new.plan() != log.plan() {
                self.carry(window);
            }
            return;
        }
    }

    /// Returns `log` with the present step, by the units of a plan with a quota as large as that of
    /// `plan`, after their shape. The number is the permits of units of before, now in hand.
    #[cold]
    fn advanced(&self, log: Log, window: usize, plan: usize, now: Nanos) -> (&Shape, Log, u32) {
        let shapes = &self.limits.windows[window].shapes;
        let (old, new) = (&shapes[log.plan()], &shapes[plan]);
        let takes_over = new.quota > old.quota || new.quota < old.quota && log.units() == 0;
        let advanced = log.advanced(now, old);
        if plan != log.plan() && takes_over {
            return (new, advanced.of_plan(plan), log.units() * old.unit);
        }
        (old, advanced, 0)
    }

    /// Counts `permits` more as unlogged, and `freed` fewer as held. Returns the unlogged permits.
    #[inline]
    fn add_unlogged(&self, window: usize, permits: u64, freed: u32) -> u64 {
        let WindowFields { held, unlogged } = self.fields(window);
        if permits == 0 && freed == 0 {
            return 0; // whole units only, as always if a unit is one permit
        }
        let (added, removed) = (unlogged.of(permits), held.of(freed.into()));
        // Release: the log that was advanced happens before the permits are taken in hand.
        // Acquire is in the exchange that takes them.
        let before = self.counts.fetch_add(added.wrapping_sub(removed), Release);
        unlogged.get(before) + permits
    }

    /// Moves full units from the unlogged permits to the log, as far as it has room.
    #[cold]
    fn carry(&self, window: usize) {
        let unlogged = self.fields(window).unlogged;
        loop {
            let log = self.load_log(window);
            let plan = log.plan();
            let shape = &self.limits.windows[window].shapes[plan];
            let word = self.counts.load(Relaxed);
            let permits = u32::try_from(unlogged.get(word)).unwrap_or(u32::MAX);
            let units = whole_units(permits, log, shape);
            if units == 0 {
                return;
            }
            let taken = unlogged.of(u64::from(units * shape.unit));
            if !self.take_in_hand(word, taken) {
                continue;
            }
            let mut log = self.load_log(window);
            while log.plan() == plan && log.units() + units <= shape.capacity() {
                if self.exchange_log(window, log, log.with_units(units)) {
                    return;
                }
                log = self.load_log(window);
            }
            self.put_back(taken);
        }
    }

    /// Subtracts unlogged permits, which are in the hands of the caller then.
    fn take_in_hand(&self, word: u64, taken: u64) -> bool {
        // Acquire: the log that is loaded next is as new as those of the commits. All steps on the
        // word exchange or add, so they pass on the release of each commit.
        self.counts.compare_exchange(word, word - taken, Acquire, Relaxed).is_ok()
    }

    fn put_back(&self, taken: u64) {
        // Relaxed: the releases of the commits are passed on.
        self.counts.fetch_add(taken, Relaxed);
    }

    // --- Expiry.

    /// Expires all that has expired. Returns true if permits were released or may be by a further
    /// call.
    pub(crate) fn expire<T: Time>(&self, now: &mut Now<'_, T>) -> bool {
        let mut any = false;
        for window in 0..self.limits.windows.len() {
            any |= self.expire_in(window, now);
        }
        any
    }

    fn expire_in<T: Time>(&self, window: usize, now: &mut Now<'_, T>) -> bool {
        let log = self.load_log(window);
        let shape = &self.limits.windows[window].shapes[log.plan()];
        let steps = now.age(self.log(window), log, shape).steps;
        let kept = log.expired(steps, shape);
        let freed = (log.units() - kept.units()) * shape.unit;
        if freed > 0 {
            // Relaxed: a task that copies these units into this slot has taken the slot, when no
            // permit was held, before it has read a time at which they had not expired. This task
            // has read a later one, so it finds the slot taken.
            let held = self.fields(window).held.get(self.counts.load(Relaxed));
            if held < u64::from(freed) {
                return self.load_log(window) != log; // another task has expired them
            }
            if !self.exchange_log(window, log, kept) {
                return true;
            }
            // Release: as for a refund.
            let before = self.counts.fetch_sub(self.fields(window).held.of(freed.into()), Release);
            now.note(Freed::by(before, self.place));
        }
        let rest = steps > u64::from(shape.steps) && self.expire_old(window, kept, now);
        freed > 0 || rest
    }

    #[inline]
    fn has_unlogged(&self, window: usize) -> bool {
        // Relaxed: the expiry checks the value.
        self.fields(window).unlogged.get(self.counts.load(Relaxed)) > 0
    }

    /// Expires unlogged permits, if the log is empty and as old as a window. If they are owed, the
    /// next of them enter the log, as of that time. Less than the largest unit is not owed: it may
    /// be left of the plan with that unit. Returns true if anything was changed.
    fn expire_old<T: Time>(&self, window: usize, log: Log, now: &mut Now<'_, T>) -> bool {
        let WindowFields { held, unlogged } = self.fields(window);
        let word = self.counts.load(Relaxed);
        let permits = unlogged.get(word);
        if permits == 0 || log.units() > 0 {
            return false;
        }
        let of_window = &self.limits.windows[window];
        let largest = of_window.largest();
        let shape = &of_window.shapes[largest];
        let is_owed = permits >= u64::from(of_window.largest_unit());
        let owed = if is_owed { u32::try_from(permits).unwrap_or(u32::MAX) } else { 0 };
        let units = whole_units(owed, log, shape);
        let taken = if units > 0 { u64::from(units * shape.unit) } else { permits };
        if !self.take_in_hand(word, unlogged.of(taken)) {
            return true;
        }
        let current = self.load_log(window);
        let is_old =
            current.units() == 0 && current.age(now.again(), shape).steps > u64::from(shape.steps);
        let next = current.next_round(largest, units, shape);
        if is_old && units == 0 {
            // Release: as for a refund.
            let before = self.counts.fetch_sub(held.of(taken), Release);
            now.note(Freed::by(before, self.place));
        } else if !is_old || !self.exchange_log(window, current, next) {
            self.put_back(unlogged.of(taken));
            self.carry(window); // with the permits of commits that found less than a unit
        }
        true
    }

    /// Holds one permit more, beyond any quota, so that the slot keeps its key. Returns false if no
    /// permit is held.
    pub(in crate::keyed) fn try_pin(&self) -> bool {
        let layout = &self.limits.layout;
        let mut word = self.counts.load(Relaxed);
        while layout.is_held(word) {
            if layout.room(word) == 0 {
                hint::spin_loop(); // until another task has released its pin
                word = self.counts.load(Relaxed);
                continue;
            }
            let new = word + layout.permits(1);
            // Acquire: the claim of the slot happened before, so its key is known.
            match self.counts.compare_exchange_weak(word, new, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Expires all permits that are committed, however young they are. The slot is pinned.
    pub(in crate::keyed) fn forget(&self) {
        for window in 0..self.limits.windows.len() {
            let WindowFields { held, unlogged } = self.fields(window);
            loop {
                let log = self.load_log(window);
                let shape = &self.limits.windows[window].shapes[log.plan()];
                let freed = u64::from(log.units() * shape.unit);
                let word = self.counts.load(Relaxed);
                let rest = unlogged.get(word);
                // Relaxed: the release of the pin comes later.
                if freed > 0 && self.exchange_log(window, log, log.emptied()) {
                    self.counts.fetch_sub(held.of(freed), Relaxed);
                } else if freed == 0 && rest == 0 {
                    break;
                } else if freed == 0 && self.take_in_hand(word, unlogged.of(rest)) {
                    self.counts.fetch_sub(held.of(rest), Relaxed);
                }
            }
        }
    }

    // --- Readings.

    /// Returns the permits that are left in `window`.
    pub(crate) fn remaining(&self, window: usize, plan: usize) -> u32 {
        // Relaxed: a count.
        let held = self.fields(window).held.get(self.counts.load(Relaxed));
        let quota = self.limits.windows[window].shapes[plan].quota;
        quota.saturating_sub(u32::try_from(held).unwrap_or(u32::MAX))
    }

    /// Returns the permits that are committed in `window`, as far as no other task moves them.
    pub(crate) fn committed(&self, window: usize) -> u64 {
        let log = self.load_log(window);
        let unit = self.limits.windows[window].shapes[log.plan()].unit;
        // Relaxed: a count.
        let unlogged = self.fields(window).unlogged.get(self.counts.load(Relaxed));
        u64::from(log.units()) * u64::from(unit) + unlogged
    }

    /// Returns the time until `cost` permits are available in `window`.
    pub(crate) fn time_until_room(&self, window: usize, ask: Ask, now: Nanos) -> Duration {
        let log = self.load_log(window);
        let word = self.counts.load(Relaxed);
        let quota = u64::from(self.limits.windows[window].shapes[ask.plan].quota);
        let held = self.fields(window).held.get(word);
        let missing = (held + u64::from(ask.cost)).saturating_sub(quota);
        if missing == 0 { Duration::ZERO } else { self.time_until(window, missing, word, log, now) }
    }

    /// Returns the time until `missing` of the held permits have expired. Permits that are not
    /// committed yet are assumed to be committed now.
    fn time_until(&self, window: usize, missing: u64, word: u64, log: Log, now: Nanos) -> Duration {
        let shape = &self.limits.windows[window].shapes[log.plan()];
        let unit = u64::from(shape.unit);
        let logged = u64::from(log.units()) * unit;
        if missing <= logged {
            let n = u32::try_from(missing.div_ceil(unit)).unwrap_or(u32::MAX);
            return log.time_until(log.ticks_until_expiry(n, shape), now, shape);
        }
        let all = Log::ticks_until_all(shape);
        let unlogged = self.fields(window).unlogged.get(word);
        if missing > logged + unlogged {
            let kept = log.expired(log.steps_until(now, shape), shape);
            return kept.advanced(now, shape).time_until(all, now, shape);
        }
        // Less than a unit expires with the log; what is owed enters it when it is empty.
        let window = &self.limits.windows[window];
        let owed = &window.shapes[window.largest()];
        let round = u64::from(owed.unit) * u64::from(owed.capacity());
        let is_last_owed = unlogged % round >= u64::from(window.largest_unit());
        let all_rounds = unlogged / round + u64::from(is_last_owed);
        let rounds = (missing - logged).div_ceil(round).min(all_rounds);
        let ticks = all.saturating_add(rounds.saturating_mul(all - super::shape::TICKS));
        log.time_until(ticks, now, shape)
    }

    /// Returns true if no permit is held.
    pub(crate) fn is_idle(&self) -> bool {
        // Relaxed: a claim checks the word again.
        self.counts.load(Relaxed) == 0
    }
}

/// Returns the units that `permits` fill, as far as `log` has room for them.
#[inline]
fn whole_units(permits: u32, log: Log, shape: &Shape) -> u32 {
    // A division is left out where it is known, as for most requests.
    let units = match shape.unit {
        1 => permits,
        unit if permits < unit => return 0,
        unit => permits / unit,
    };
    units.min(shape.capacity().saturating_sub(log.units()))
}
