//! CORE: the leases of a process that may still count against the limit (pure).

use std::{collections::VecDeque, time::Duration};

use crate::{
    shared::{
        pool::{Deadline, Unused},
        wire::{Micros, Refund},
    },
    time::Nanos,
};

/// A lease, as long as its permits may count. No two have the same deadline.
#[derive(Clone, Copy, Debug)]
struct Own {
    deadline: Deadline,
    epoch: Micros,
    mark: Micros,
    /// Permits that may count: those that were leased, less those whose refund is confirmed.
    count: u32,
    /// Permits that no request has refunded.
    refundable: u32,
    /// The time from which on they count no more.
    end: Nanos,
}

/// The most leases of which a request refunds permits.
const MAX_REFUNDS: usize = 16;

/// The leases of a process, in the order of their replies.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    leases: VecDeque<Own>,
    /// Permits to be refunded by the next request.
    unused: Vec<Unused>,
    /// Permits that the request in flight refunds.
    in_flight: Vec<Unused>,
    /// Numbers of permits that were issued without a lease, and when they count no more.
    alone: VecDeque<(Nanos, u64)>,
}

impl Ledger {
    /// Adds a lease, and returns the deadline that stands for it from now on: a tick earlier than
    /// that of another lease which has the same.
    pub(super) fn add(
        &mut self,
        deadline: Deadline,
        epoch: Micros,
        mark: Micros,
        count: u32,
        end: Nanos,
    ) -> Deadline {
        let mut free = deadline;
        while self.is_known(free) {
            let Some(earlier) = free.earlier() else { break };
            free = earlier;
        }
        let own = Own { deadline: free, epoch, mark, count, refundable: count, end };
        self.leases.push_back(own);
        free
    }

    /// Adds permits that were issued without a lease, which count for `length` from now on, and for
    /// a 64th of it longer: one entry holds all of such a time.
    pub(super) fn add_alone(&mut self, permits: u64, now: Nanos, length: Duration) {
        match self.alone.back_mut() {
            Some((end, count)) if *end >= now.after(length) => *count += permits,
            _ => {
                self.expire(now); // so that there are not many entries
                self.alone.push_back((now.after(length + length / 64), permits));
            }
        }
    }

    fn is_known(&self, deadline: Deadline) -> bool {
        self.leases.iter().any(|own| own.deadline == deadline)
    }

    /// Records permits that will not be used. Of a lease that is unknown by now, they are
    /// forgotten: they do not count any more.
    pub(super) fn refund(&mut self, unused: Unused) {
        if !self.is_known(unused.deadline) {
            return;
        }
        match self.unused.iter_mut().find(|of| of.deadline == unused.deadline) {
            Some(of) => of.count += unused.count,
            None => self.unused.push(unused),
        }
    }

    /// Returns the number of permits that the next request refunds, to a state with this `epoch`.
    pub(super) fn next_refunds(&self, epoch: Micros) -> u64 {
        let refundable = |of: &Unused| {
            let is_of = |own: &&Own| own.deadline == of.deadline && own.epoch == epoch;
            self.leases.iter().find(is_of).map_or(0, |own| own.refundable.min(of.count))
        };
        self.unused.iter().take(MAX_REFUNDS).map(|of| u64::from(refundable(of))).sum()
    }

    /// Returns the refunds of the next request, to a state with this `epoch`. Those of another one
    /// are given up, and so are those of leases that count no more.
    ///
    /// A permit is refunded by one request only, whatever becomes of it: permits that the store may
    /// have taken back already would be taken from others.
    pub(super) fn take_refunds(&mut self, epoch: Micros, now: Nanos) -> Vec<Refund> {
        self.expire(now);
        self.in_flight.clear();
        let taken = self.unused.len().min(MAX_REFUNDS);
        let mut refunds = Vec::with_capacity(taken);
        for Unused { deadline, count } in self.unused.drain(..taken) {
            let of = self.leases.iter_mut().find(|own| own.deadline == deadline);
            let Some(of) = of.filter(|own| own.epoch == epoch) else { continue };
            let count = count.min(of.refundable);
            if count > 0 {
                of.refundable -= count;
                refunds.push(Refund { mark: of.mark, count });
                self.in_flight.push(Unused { deadline, count });
            }
        }
        refunds
    }

    /// The store has received the refunds in flight.
    pub(super) fn confirm_refunds(&mut self, epoch: Micros) -> u64 {
        let mut confirmed = 0;
        for Unused { deadline, count } in self.in_flight.drain(..) {
            let is_of = |own: &&mut Own| own.deadline == deadline && own.epoch == epoch;
            if let Some(own) = self.leases.iter_mut().find(is_of) {
                own.count -= count;
                confirmed += u64::from(count);
            }
        }
        confirmed
    }

    /// The fate of the refunds in flight is unknown.
    pub(super) fn forget_refunds(&mut self) {
        self.in_flight.clear();
    }

    /// Returns the number of permits that may still count.
    pub(super) fn mine(&mut self, now: Nanos) -> u64 {
        self.expire(now);
        let leased: u64 = self.leases.iter().map(|own| u64::from(own.count)).sum();
        leased + self.alone.iter().map(|&(_, count)| count).sum::<u64>()
    }

    /// Returns the number of permits without a lease that may still count.
    pub(super) fn alone(&mut self, now: Nanos) -> u64 {
        self.expire(now);
        self.alone.iter().map(|&(_, count)| count).sum()
    }

    /// Returns the time at which the next permits cease to count.
    pub(super) fn next_end(&self) -> Option<Nanos> {
        let leased = self.leases.iter().filter(|own| own.count > 0).map(|own| own.end);
        leased.chain(self.alone.front().map(|&(end, _)| end)).min()
    }

    fn expire(&mut self, now: Nanos) {
        self.leases.retain(|own| own.end > now);
        self.alone.retain(|&(end, _)| end > now);
        let leases = &self.leases;
        self.unused.retain(|of| leases.iter().any(|own| own.deadline == of.deadline));
    }
}
