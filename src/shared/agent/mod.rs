//! CORE: decides what a process asks of the store, and takes the replies.
//!
//! The agent reads no clock, sends nothing and holds no task: the driver does. Each step is a
//! function of the state, the time and the reply.
//!
//! ```text
//!           demand or a low pool              reply: leases               all delivered
//!  idle ---------------------------> in flight -----------> delivering -----------------> idle
//!                                        |
//!                                        | an error, or no reply in time
//!                                        v
//!                                      away ---- probe, one at a time ----> in flight
//! ```

mod clock_watch;
mod ledger;
mod pace;
mod terms;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, time::Duration};

pub(super) use self::terms::Terms;
use self::{
    clock_watch::ClockWatch,
    ledger::Ledger,
    pace::Pace,
    terms::{from_micros, micros_down, micros_up, with_drift},
};
use super::{
    FleetCounts,
    pool::{Deadline, MAX_PERMITS, PoolView, Schedule, Unused},
    wire::{History, Reply, Request},
};
use crate::time::Nanos;

/// The part of a window for which a refusal of the store is believed: 1/16.
///
/// Another process may give permits back at any time. A full quota is asked for 16 times in a
/// window at most.
const BELIEVED_PART: u32 = 16;

/// A lease that waits for its begin.
#[derive(Clone, Copy, Debug)]
struct Pending {
    begin: Nanos,
    lease: Unused,
}

/// The next step of the driver.
#[derive(Debug)]
pub(super) enum Next {
    /// To deliver a lease.
    Deliver(Unused),
    /// To send a request.
    Ask(Box<Request>),
    /// To send a request, once that may be done.
    Blocked,
    /// To wait until then, or until something changes.
    Wait(Nanos),
    /// Nothing is left to do.
    End,
}

/// A remark of a reply, for logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remark {
    /// The state has another history: it was lost, or its server was started anew.
    EpochChanged,
    /// The clock of the store was set forward, by at least this.
    ClockStep(Duration),
    /// Another process has another limit or window under the same name.
    OtherTerms,
}

/// The side of the process in the protocol with the store.
#[derive(Debug)]
pub(super) struct Agent {
    terms: Terms,
    seen: History,
    ledger: Ledger,
    watch: ClockWatch,
    pace: Pace,
    pending: VecDeque<Pending>,
    /// Permits that were issued without a lease in force, to be reported.
    late: u64,
    late_in_flight: u64,
    /// The free permits of the latest reply.
    free: u32,
    /// Nothing is asked before: the next permit expires later, or the clock has been set.
    ask_at: Nanos,
    /// No permit comes before, by a reply that is believed for a while only.
    permit_at: Nanos,
    believed_until: Nanos,
    /// No permit comes before, whatever the store leases to others: the share of the process is
    /// full, or the clock has been set.
    permit_at_least: Nanos,
    /// The end of the pause after a step of the store's clock.
    stepped_until: Nanos,
    /// Permits that were given back bring about no request before: a lease after the latest that
    /// told of some, so that a stream of cancelled calls brings few.
    refund_at: Nanos,
    /// The number of the latest schedule.
    schedules: u64,
    /// Permits that were delivered, less those that came back.
    used: u64,
    /// The arrivals up to the latest request.
    arrivals: u64,
    /// No lease is delivered any more.
    is_closed: bool,
    counts: FleetCounts,
}

impl Agent {
    pub(super) fn new(terms: Terms, now: Nanos) -> Self {
        Self {
            terms,
            seen: History::default(),
            ledger: Ledger::default(),
            watch: ClockWatch::new(),
            pace: Pace::new(now),
            pending: VecDeque::new(),
            late: 0,
            late_in_flight: 0,
            free: terms.limit,
            ask_at: Nanos::ZERO,
            permit_at: Nanos::ZERO,
            believed_until: Nanos::ZERO,
            permit_at_least: Nanos::ZERO,
            stepped_until: Nanos::ZERO,
            refund_at: Nanos::ZERO,
            schedules: 0,
            used: 0,
            arrivals: 0,
            is_closed: false,
            counts: FleetCounts::default(),
        }
    }

    pub(super) const fn terms(&self) -> Terms {
        self.terms
    }

    /// Replaces the settings. Leases that were granted stay.
    pub(super) fn set_terms(&mut self, terms: Terms, now: Nanos) {
        self.terms = terms;
        self.set_times(self.stepped_until, self.stepped_until, now);
    }

    /// Sets the times before which nothing is asked, and no permit comes beyond the leases.
    ///
    /// A full share brings no request, but a permit that is given back does.
    fn set_times(&mut self, ask_at: Nanos, permit_at: Nanos, now: Nanos) {
        let next_share = match self.share(now) {
            0 => self.next_share(now),
            _ => Nanos::ZERO,
        };
        self.permit_at_least = self.stepped_until.max(next_share);
        (self.ask_at, self.permit_at) = (ask_at, permit_at.max(self.permit_at_least));
        self.believed_until = now.after(self.terms.window / BELIEVED_PART);
    }

    pub(super) const fn counts(&self) -> FleetCounts {
        self.counts
    }

    /// Returns the permits that were used, or are about to be, with this many at hand.
    pub(super) fn used(&self, pooled: u32) -> u64 {
        self.used.saturating_sub(pooled.into())
    }

    /// The free permits of the latest reply.
    pub(super) const fn free(&self) -> u32 {
        self.free
    }

    pub(super) fn round_trip(&self) -> Duration {
        self.pace.round_trip()
    }

    /// Returns the permits of own leases that may still count.
    pub(super) fn mine(&mut self, now: Nanos) -> u64 {
        self.ledger.mine(now)
    }

    /// Takes back permits that will not be used. Returns true if permits may come sooner than by
    /// the latest schedule: the store leases these again once it has learned of them.
    pub(super) fn unused(&mut self, unused: Unused) -> bool {
        self.used = self.used.saturating_sub(unused.count.into());
        self.counts.lapsed += u64::from(unused.count);
        let before = self.permit_from();
        self.ledger.refund(unused);
        self.permit_from() < before
    }

    /// Returns the time before which nothing is asked.
    fn ask_from(&self) -> Nanos {
        self.or_refund(self.ask_at)
    }

    /// Returns the time before which no permit comes beyond the leases, as far as is known.
    fn permit_from(&self) -> Nanos {
        self.or_refund(self.permit_at)
    }

    /// Returns `at`, or the time at which the store is told of permits that were given back.
    fn or_refund(&self, at: Nanos) -> Nanos {
        let has_refunds = self.ledger.next_refunds(self.seen.epoch) > 0;
        if has_refunds { at.min(self.refund_at.max(self.stepped_until)) } else { at }
    }

    /// Records that no lease is delivered any more.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        for pending in self.pending.drain(..) {
            self.counts.lapsed += u64::from(pending.lease.count);
        }
    }

    /// Counts permits that were issued without a lease in force: the store is told of them, and
    /// they count for a window.
    pub(super) fn issued_late(&mut self, permits: u64, is_fault: bool, now: Nanos) {
        self.late += permits;
        self.ledger.add_alone(permits, now, with_drift(self.terms.window));
        if is_fault {
            self.counts.issued_late += permits;
        }
    }

    /// Counts permits that were granted to waiters, and those that lapsed before their requests
    /// ran.
    pub(super) fn served(&mut self, granted: u64, lapsed: u64) {
        self.pace.served(granted, lapsed);
    }

    /// Decides the next step.
    pub(super) fn next(&mut self, now: Nanos, pool: &PoolView, may_ask: bool) -> Next {
        while let Some(&Pending { begin, lease }) = self.pending.front() {
            if begin > now {
                return Next::Wait(begin);
            }
            self.pending.pop_front();
            if !lease.deadline.has_passed(now) {
                self.used += u64::from(lease.count);
                return Next::Deliver(lease);
            }
            // The driver was late: its waiters would lose their turns.
            self.counts.lapsed += u64::from(lease.count);
            self.ledger.refund(lease);
        }
        self.ledger.expire(now);
        let arrivals = self.used.saturating_sub(pool.permits.into()) + u64::from(pool.queued);
        self.pace.arrived(arrivals, now, &self.terms);
        // Only calls bring requests: a pool that lapses unused is not filled again.
        let low_mark = self.low_mark(now);
        let is_low = low_mark > 0 && pool.permits <= low_mark && arrivals > self.arrivals;
        if pool.queued == 0 && !is_low {
            return match self.end(pool) {
                Some(end) if end > now => Next::Wait(end),
                _ => Next::End,
            };
        }
        // Before a request is made, which takes the refunds and the late permits with it.
        let ask_from = if pool.is_doubted { self.stepped_until } else { self.ask_from() };
        let ask_at = ask_from.max(pool.paused_until.unwrap_or(Nanos::ZERO));
        if ask_at > now {
            return Next::Wait(ask_at);
        }
        let length = self.pace.length(now, &self.terms);
        let advance = self.pace.in_advance(self.free, length, now, &self.terms);
        let want = pool.queued.saturating_add(advance).min(self.terms.limit).min(MAX_PERMITS);
        let share = self.share(now);
        if share == 0 {
            return Next::Wait(self.next_share(now));
        }
        let want = want.min(share);
        if want == 0 {
            // Only permits in advance were wanted, and few are free.
            return Next::Wait(self.end(pool).unwrap_or(now).max(now.after(length)));
        }
        if !may_ask {
            return Next::Blocked;
        }
        self.arrivals = arrivals;
        Next::Ask(Box::new(self.request(want, length, now)))
    }

    /// Returns the number of permits at hand at which more are asked for; 0 if none are prefetched.
    pub(super) fn low_mark(&self, now: Nanos) -> u32 {
        self.pace.low_mark(now, &self.terms)
    }

    /// Returns a request that only learns whether the store is there.
    pub(super) fn probe(&mut self, queued: u32, now: Nanos) -> Box<Request> {
        let length = self.pace.length(now, &self.terms);
        let is_paused = now < self.stepped_until;
        let want = queued.min(self.terms.chunk()).min(self.share(now));
        let want = if is_paused { 0 } else { want };
        Box::new(self.request(want, length, now))
    }

    /// Returns the permits that the process may lease within its share. Those that the same request
    /// gives back leave room.
    fn share(&mut self, now: Nanos) -> u32 {
        let Terms { limit, max_share, .. } = self.terms;
        if max_share == limit {
            return limit; // the store decides
        }
        let mine = self.ledger.mine(now).saturating_sub(self.ledger.next_refunds(self.seen.epoch));
        u32::try_from(mine).map_or(0, |mine| max_share.saturating_sub(mine))
    }

    fn request(&mut self, want: u32, length: Duration, now: Nanos) -> Request {
        let terms = &self.terms;
        self.counts.store_requests += 1;
        // Those of a request whose driver is gone are reported once more.
        self.late_in_flight += std::mem::take(&mut self.late);
        // Those of a long outage have expired, but for the latest.
        self.late_in_flight = self.late_in_flight.min(self.ledger.alone(now));
        let mine = self.ledger.mine(now);
        let refunds = self.ledger.take_refunds(self.seen.epoch, now);
        if !refunds.is_empty() {
            self.refund_at = now.after(length);
        }
        Request {
            limit: terms.limit,
            window: terms.window_on_wire(),
            length: micros_up(length),
            max_length: micros_up(terms.max_length()),
            want,
            horizon: micros_down(terms.horizon()),
            seen: self.seen,
            // Those that are told as late are not told twice.
            mine: mine.saturating_sub(self.late_in_flight),
            late: self.late_in_flight,
            is_strict: terms.is_strict,
            refunds,
        }
    }

    /// Takes a reply, and returns remarks on it.
    pub(super) fn reply(
        &mut self,
        request: &Request,
        reply: &Reply,
        sent: Nanos,
        recv: Nanos,
    ) -> Vec<Remark> {
        let mut remarks = Vec::new();
        let terms = self.terms;
        let step = self.watch.check(sent, recv, reply.now, terms.window);
        if self.seen.epoch == reply.seen.epoch {
            self.counts.refunded += self.ledger.confirm_refunds(reply.seen.epoch);
        } else {
            self.ledger.forget_refunds();
            if self.seen.epoch != 0 {
                self.counts.epoch_changes += 1;
                remarks.push(Remark::EpochChanged);
            }
        }
        self.late_in_flight = 0;
        self.seen = reply.seen;
        self.free = reply.free;
        self.pace.replied(sent, recv, reply.free, &terms);
        if reply.is_other {
            self.counts.other_terms += 1;
            remarks.push(Remark::OtherTerms);
        }
        let length = from_micros(request.length);
        for leased in &reply.leases {
            let delay = from_micros(leased.delay);
            let end = sent.after(terms.counts_for(recv.since(sent) + delay, length));
            let deadline = Deadline::at(sent.after(delay + length));
            self.counts.leased += u64::from(leased.count);
            let deadline =
                self.ledger.add(deadline, reply.seen.epoch, leased.mark, leased.count, end);
            let lease = Unused { deadline, count: leased.count };
            let begin = recv.after(delay);
            if step.is_zero() && !deadline.has_passed(begin) && !self.is_closed {
                self.pending.push_back(Pending { begin, lease });
                continue;
            }
            self.counts.lapsed += u64::from(leased.count);
            if step.is_zero() {
                self.ledger.refund(lease);
            }
        }
        let (ask_at, permit_at) = if !step.is_zero() {
            self.counts.clock_steps += 1;
            remarks.push(Remark::ClockStep(step));
            // Other leases from before the step may begin as late as the horizon.
            let rest = terms.window + terms.max_length() + terms.horizon();
            self.stepped_until = recv.after(with_drift(rest));
            (self.stepped_until, self.stepped_until)
        } else if reply.leases.is_empty() && request.want > 0 {
            // The next permit expires beyond the horizon.
            let when = from_micros(reply.when).min(terms.window * 2); // whatever a store replies
            let wait = when.saturating_sub(terms.horizon()).max(Duration::from_millis(1));
            (recv.after(wait), recv.after(when))
        } else {
            let at = recv.max(self.stepped_until);
            (at, at)
        };
        self.set_times(ask_at, permit_at, recv);
        remarks
    }

    /// A request has failed, or its reply came too late. Nothing of it is sent again: the store may
    /// have received it.
    pub(super) fn failed(&mut self) {
        self.counts.store_failures += 1;
        self.ledger.forget_refunds();
        // Permits without a lease are no permission: counted twice, they cost some of the quota.
        self.late += std::mem::take(&mut self.late_in_flight);
    }

    /// Returns the leases that wait for their begins, for requests that arrive.
    pub(super) fn schedule(&mut self) -> Schedule {
        self.schedules += 1;
        let leases: Vec<_> = self.pending.iter().map(|of| (of.begin, of.lease.count)).collect();
        let last = leases.last().map_or(Nanos::ZERO, |&(begin, _)| begin);
        Schedule {
            number: self.schedules,
            leases,
            then: last.max(self.permit_from()),
            until: self.believed_until,
            at_least: last.max(self.or_refund(self.permit_at_least)),
        }
    }

    /// Returns the time until which the process holds leases.
    fn end(&self, pool: &PoolView) -> Option<Nanos> {
        let lapse = (pool.lapse != Nanos::NEVER).then_some(pool.lapse);
        lapse.into_iter().chain(self.ledger.next_end()).min()
    }

    /// Returns the time at which the process may lease more within its share.
    fn next_share(&self, now: Nanos) -> Nanos {
        let pause = now.after(self.terms.window / 64);
        self.ledger.next_end().unwrap_or(pause).max(pause)
    }
}
