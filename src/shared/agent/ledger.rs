//! CORE: the leases of a process that may still count against the limit (pure).
//!
//! # Old leases
//!
//! A permit names its lease by the deadline, and the store knows the lease by its mark. A busy
//! process has thousands of leases in a window, of a few hundred marks. So a lease that has lapsed
//! for a while is merged with the others of its epoch and mark. Of these, only the first and the
//! last deadline are kept.
//!
//! A permit that comes back later than that may be of several merged leases. It is refunded to the
//! one with the earliest mark. Let that be `a`, while the permit is of `b`. Until the mark of `a`,
//! the store counts one permit less of `a`, and the unused one of `b` in its place. From then on,
//! the latter counts in vain. A refund to a later mark would free a permit that is in use. So
//! permits that may be of a lease that has ended, or of two epochs, are not refunded.

use std::{collections::VecDeque, mem, time::Duration};

use crate::{
    shared::{
        pool::{Deadline, Unused},
        wire::{Micros, Refund},
    },
    time::Nanos,
};

/// A lease, or several old ones with one epoch and mark, as long as its permits may count.
#[derive(Clone, Copy, Debug)]
struct Own {
    /// The deadlines. No lease has one in the range of another one.
    first: Deadline,
    last: Deadline,
    epoch: Micros,
    mark: Micros,
    /// Permits that may count: those that were leased, less those whose refund is confirmed.
    count: u64,
    /// Permits that no request has refunded.
    refundable: u64,
    /// Those of them that will not be used, to be refunded by the next request.
    unused: u64,
    /// Permits that the request in flight refunds.
    in_flight: u64,
    /// The time from which on they count no more.
    end: Nanos,
}

/// The most leases of which a request refunds permits.
const MAX_REFUNDS: usize = 16;

/// The number of leases that are not looked at one by one whether they are old.
const FEW: usize = 32;

/// The leases of a process.
#[derive(Debug)]
pub(super) struct Ledger {
    /// In the order of their replies.
    leases: Vec<Own>,
    /// Merged ones.
    old: Vec<Own>,
    /// The number of leases above which old ones are merged.
    merged_above: usize,
    /// Of all leases, the sums of the permits that may count, of the unused ones, and of those that
    /// the request in flight refunds.
    count: u64,
    unused: u64,
    in_flight: u64,
    /// The earliest end of a lease.
    next_end: Nanos,
    /// Numbers of permits that were issued without a lease, and when they count no more.
    alone: VecDeque<(Nanos, u64)>,
    /// The last deadline of the leases that have ended.
    ended: Option<Deadline>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            leases: Vec::new(),
            old: Vec::new(),
            merged_above: FEW,
            count: 0,
            unused: 0,
            in_flight: 0,
            next_end: Nanos::NEVER,
            alone: VecDeque::new(),
            ended: None,
        }
    }
}

impl Own {
    fn has(&self, deadline: Deadline) -> bool {
        (self.first..=self.last).contains(&deadline)
    }

    /// Returns true if the lease has lapsed for a 64th of the time for which it counts after that.
    fn is_old(&self, now: Nanos) -> bool {
        let lapse = self.last.lapse();
        now >= lapse.after(self.end.since(lapse) / 64)
    }

    fn merge(&mut self, of: &Self) {
        let Self { first, last, epoch: _, mark: _, count, refundable, unused, in_flight, end } = of;
        self.first = self.first.min(*first);
        self.last = self.last.max(*last);
        self.count += count;
        self.refundable += refundable;
        self.unused += unused;
        self.in_flight += in_flight;
        self.end = self.end.max(*end);
    }
}

impl Ledger {
    /// Adds a lease, and returns the deadline that stands for it from now on: earlier than that of
    /// another lease which has the same.
    pub(super) fn add(
        &mut self,
        deadline: Deadline,
        epoch: Micros,
        mark: Micros,
        count: u32,
        end: Nanos,
    ) -> Deadline {
        let mut free = deadline;
        while let Some(own) = self.all().find(|own| own.has(free)) {
            let Some(earlier) = own.first.earlier() else { break };
            free = earlier;
        }
        let count = u64::from(count);
        let (first, last) = (free, free);
        let own = Own {
            first,
            last,
            epoch,
            mark,
            count,
            refundable: count,
            unused: 0,
            in_flight: 0,
            end,
        };
        self.leases.push(own);
        self.count += count;
        self.next_end = self.next_end.min(end);
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

    fn all(&self) -> impl Iterator<Item = &Own> {
        self.old.iter().chain(&self.leases)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Own> {
        self.old.iter_mut().chain(&mut self.leases)
    }

    /// Returns the lease to which a permit with this deadline is refunded.
    fn find(&mut self, deadline: Deadline) -> Option<&mut Own> {
        if let Some(own) = self.leases.iter_mut().find(|own| own.has(deadline)) {
            return Some(own);
        }
        if self.ended.is_some_and(|ended| deadline <= ended) {
            return None;
        }
        let mut found: Vec<_> = self.old.iter_mut().filter(|own| own.has(deadline)).collect();
        let epoch = found.first()?.epoch;
        if found.iter().any(|own| own.epoch != epoch) {
            return None;
        }
        found.sort_by_key(|own| own.mark);
        Some(found.swap_remove(0))
    }

    /// Records permits that will not be used. Of a lease that is unknown by now, they are
    /// forgotten: they do not count any more.
    pub(super) fn refund(&mut self, unused: Unused) {
        if let Some(own) = self.find(unused.deadline) {
            let before = own.unused;
            own.unused = (before + u64::from(unused.count)).min(own.refundable);
            let more = own.unused - before;
            self.unused += more;
        }
    }

    /// Returns the number of permits that the next request refunds, to a state with this `epoch`.
    pub(super) fn next_refunds(&self, epoch: Micros) -> u64 {
        if self.unused == 0 {
            return 0;
        }
        let unused = self.all().filter(|own| own.unused > 0 && own.epoch == epoch);
        unused.take(MAX_REFUNDS).map(|own| own.unused).sum()
    }

    /// Returns the refunds of the next request, to a state with this `epoch`. Those of another one
    /// are given up, and so are those of leases that count no more.
    ///
    /// A permit is refunded by one request only, whatever becomes of it: permits that the store may
    /// have taken back already would be taken from others.
    pub(super) fn take_refunds(&mut self, epoch: Micros, now: Nanos) -> Vec<Refund> {
        self.expire(now);
        self.forget_refunds();
        let mut refunds = Vec::new();
        if self.unused == 0 {
            return refunds;
        }
        for own in self.all_mut().filter(|own| own.unused > 0) {
            if own.epoch != epoch {
                own.unused = 0;
            } else if refunds.len() < MAX_REFUNDS {
                // A store that leases more than fits tells of no less than is used.
                let count = u32::try_from(own.unused).unwrap_or(u32::MAX);
                own.in_flight = u64::from(count);
                own.refundable -= own.in_flight;
                own.unused -= own.in_flight;
                refunds.push(Refund { mark: own.mark, count });
            }
        }
        self.unused = self.all().map(|own| own.unused).sum();
        self.in_flight = self.all().map(|own| own.in_flight).sum();
        refunds
    }

    /// The store has received the refunds in flight.
    pub(super) fn confirm_refunds(&mut self, epoch: Micros) -> u64 {
        if self.in_flight == 0 {
            return 0;
        }
        let mut confirmed = 0;
        for own in self.all_mut().filter(|own| own.epoch == epoch) {
            let count = mem::take(&mut own.in_flight);
            own.count -= count;
            confirmed += count;
        }
        self.forget_refunds();
        if confirmed > 0 {
            self.count -= confirmed;
            self.leases.retain(|own| own.count > 0);
            self.retain(|_| true);
        }
        confirmed
    }

    /// The fate of the refunds in flight is unknown.
    pub(super) fn forget_refunds(&mut self) {
        if mem::take(&mut self.in_flight) > 0 {
            self.all_mut().for_each(|own| own.in_flight = 0);
        }
    }

    /// Returns the number of permits that may still count.
    pub(super) fn mine(&mut self, now: Nanos) -> u64 {
        let alone = self.alone(now);
        self.count + alone
    }

    /// Returns the number of permits without a lease that may still count.
    pub(super) fn alone(&mut self, now: Nanos) -> u64 {
        self.expire(now);
        self.alone.iter().map(|&(_, count)| count).sum()
    }

    /// Returns the time at which the next permits cease to count.
    pub(super) fn next_end(&self) -> Option<Nanos> {
        let alone = self.alone.front().map_or(Nanos::NEVER, |&(end, _)| end);
        Some(self.next_end.min(alone)).filter(|end| *end != Nanos::NEVER)
    }

    /// Forgets permits that count no more.
    pub(super) fn expire(&mut self, now: Nanos) {
        self.alone.retain(|&(end, _)| end > now);
        if now >= self.next_end {
            let ended = self.all().filter(|own| own.end <= now).map(|own| own.last).max();
            self.ended = self.ended.max(ended);
            self.retain(|own| own.end > now);
        }
        if self.leases.len() > self.merged_above {
            self.merge(now);
        }
    }

    fn retain(&mut self, keeps: impl Fn(&Own) -> bool) {
        self.leases.retain(&keeps);
        self.old.retain(&keeps);
        self.count = self.all().map(|own| own.count).sum();
        self.unused = self.all().map(|own| own.unused).sum();
        self.in_flight = self.all().map(|own| own.in_flight).sum();
        self.next_end = self.all().map(|own| own.end).min().unwrap_or(Nanos::NEVER);
    }

    /// Merges old leases. Twice as many as are left are looked at next, so that each is looked at
    /// twice on average.
    fn merge(&mut self, now: Nanos) {
        let Self { leases, old, .. } = self;
        leases.retain(|own| {
            if !own.is_old(now) {
                return true;
            }
            match old.iter_mut().find(|of| (of.epoch, of.mark) == (own.epoch, own.mark)) {
                Some(of) => of.merge(own),
                None => old.push(*own),
            }
            false
        });
        self.merged_above = 2 * self.leases.len() + FEW;
    }
}

#[cfg(test)]
impl Ledger {
    pub(super) fn len(&self) -> usize {
        self.leases.len() + self.old.len()
    }
}
