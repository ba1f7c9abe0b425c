use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fastrand::Rng;

use super::{at, cases, ms};
use crate::{
    shared::{
        agent::ledger::Ledger,
        pool::{Deadline, Unused},
        wire::Refund,
    },
    time::Nanos,
};

/// A lease, as a list keeps it.
#[derive(Clone, Copy, Debug)]
struct Naive {
    deadline: Deadline,
    epoch: i64,
    mark: i64,
    end: Nanos,
    leased: u32,
    /// Permits that are unused, those that a request has refunded, and those of them that the store
    /// is known to have received.
    unused: u32,
    refunded: u32,
    confirmed: u32,
}

impl Naive {
    const fn new(deadline: Deadline, epoch: i64, mark: i64, end: Nanos, leased: u32) -> Self {
        Self { deadline, epoch, mark, end, leased, unused: 0, refunded: 0, confirmed: 0 }
    }

    fn counts(&self, now: u64) -> bool {
        self.end > at(ms(now))
    }
}

fn unused(deadline: Deadline, count: u32) -> Unused {
    Unused { deadline, count }
}

#[test]
fn d12_permit_is_refunded_once_at_most_and_never_in_another_epoch() {
    for seed in 0..cases() * 4 {
        let mut random = Rng::with_seed(seed);
        let mut ledger = Ledger::default();
        let mut list: Vec<Naive> = Vec::new();
        let mut in_flight: Vec<Refund> = Vec::new();
        let mut now = 1_000;
        for step in 0..200 {
            match random.u32(..10) {
                0..=2 => {
                    // Few deadlines, so that some leases have the same.
                    let deadline = Deadline::at(at(ms(now + random.u64(..3))));
                    let end = at(ms(now + random.u64(10..60)));
                    let (epoch, leased) = (random.i64(1..3), random.u32(1..5));
                    let mark = 1_000_000 + step;
                    let deadline = ledger.add(deadline, epoch, mark, leased, end);
                    let is_same = |of: &Naive| {
                        let has_permits = of.leased > of.confirmed;
                        of.deadline == deadline && of.counts(now) && has_permits
                    };
                    assert!(!list.iter().any(is_same), "two leases by one name");
                    list.push(Naive::new(deadline, epoch, mark, end, leased));
                }
                3..=5 => {
                    let some: Vec<_> = (0..list.len()).collect();
                    if let Some(&index) = random.choice(&some) {
                        let of = &mut list[index];
                        let count = random.u32(..=of.leased - of.unused);
                        of.unused += count;
                        ledger.refund(unused(of.deadline, count));
                    }
                }
                6..=7 => {
                    let epoch = random.i64(1..3);
                    in_flight = ledger.take_refunds(epoch, at(ms(now)));
                    for Refund { mark, count } in &in_flight {
                        let of = list.iter_mut().find(|of| of.mark == *mark).unwrap();
                        of.refunded += count;
                        assert!(*count > 0 && of.epoch == epoch, "{of:?} in epoch {epoch}");
                        assert!(of.refunded <= of.unused, "{of:?}");
                        assert!(of.counts(now), "{of:?} counts no more");
                    }
                    if random.bool() {
                        ledger.forget_refunds();
                        assert_eq!(ledger.confirm_refunds(epoch), 0, "its fate is unknown");
                        in_flight.clear();
                    }
                }
                8 => {
                    let epoch = in_flight
                        .first()
                        .and_then(|of| list.iter().find(|own| own.mark == of.mark))
                        .map_or(1, |own| own.epoch);
                    let mut confirmed = 0;
                    for Refund { mark, count } in in_flight.drain(..) {
                        let of = list.iter_mut().find(|of| of.mark == mark).unwrap();
                        of.confirmed += count;
                        confirmed += u64::from(count);
                    }
                    // Of a lease that counts no more meanwhile, nothing is to be confirmed.
                    assert!(ledger.confirm_refunds(epoch) <= confirmed);
                }
                _ => now += random.u64(..20),
            }
            let counting = list.iter().filter(|of| of.counts(now));
            let mine: u64 = counting.map(|of| u64::from(of.leased - of.confirmed)).sum();
            assert_eq!(ledger.mine(at(ms(now))), mine, "step {step} of {seed}");
            list.retain(|of| of.counts(now) || in_flight.iter().any(|it| it.mark == of.mark));
        }
    }
}

#[test]
fn d12_two_leases_with_one_deadline_are_told_apart() {
    let mut ledger = Ledger::default();
    let deadline = Deadline::at(at(ms(10)));
    let first = ledger.add(deadline, 1, 100, 2, at(ms(50)));
    let second = ledger.add(deadline, 2, 200, 2, at(ms(50)));
    assert!(first == deadline && second < deadline, "{first:?} {second:?}");
    ledger.refund(unused(second, 1));
    assert_eq!(ledger.take_refunds(1, at(ms(20))), [], "it is of the other epoch");
    ledger.refund(unused(second, 1));
    assert_eq!(ledger.take_refunds(2, at(ms(20))), [Refund { mark: 200, count: 1 }]);
}

#[test]
fn d12_permit_of_a_lease_that_counts_no_more_is_not_refunded() {
    let mut ledger = Ledger::default();
    let deadline = ledger.add(Deadline::at(at(ms(10))), 1, 100, 2, at(ms(50)));
    ledger.refund(unused(deadline, 1));
    assert_eq!(ledger.take_refunds(1, at(ms(50))), []);
    ledger.refund(unused(deadline, 1));
    assert_eq!(ledger.take_refunds(1, at(ms(50))), []);
}

#[test]
fn d12_more_refunds_than_a_request_holds_go_with_the_next() {
    let mut ledger = Ledger::default();
    let deadlines: Vec<_> = (0..40)
        .map(|lease| {
            let deadline = Deadline::at(at(ms(10 + lease)));
            ledger.add(deadline, 1, i64::try_from(lease).unwrap(), 1, at(ms(100)))
        })
        .collect();
    deadlines.iter().for_each(|deadline| ledger.refund(unused(*deadline, 1)));
    let taken: Vec<_> = (0..4)
        .map(|_| {
            let taken = ledger.take_refunds(1, at(ms(50)));
            assert_eq!(ledger.confirm_refunds(1), taken.len() as u64);
            taken.len()
        })
        .collect();
    assert_eq!(taken, [16, 16, 8, 0]);
    assert_eq!(ledger.mine(at(ms(50))), 0);
}

#[test]
fn d9_mine_counts_each_permit_until_its_end() {
    let mut ledger = Ledger::default();
    ledger.add(Deadline::at(at(ms(10))), 1, 100, 3, at(ms(50)));
    ledger.add(Deadline::at(at(ms(20))), 1, 100, 4, at(ms(60)));
    let before = at(ms(50)).get() - 1;
    assert_eq!(ledger.next_end(), Some(at(ms(50))));
    assert_eq!(ledger.mine(Nanos::new(before)), 7);
    assert_eq!(ledger.mine(at(ms(50))), 4);
    assert_eq!(ledger.next_end(), Some(at(ms(60))));
    assert_eq!(ledger.mine(at(ms(60))), 0);
    assert_eq!(ledger.next_end(), None);
    assert_eq!(ledger.mine(at(Duration::MAX)), 0);
}

#[test]
fn d9_permit_issued_without_a_lease_counts_for_its_window_and_little_longer() {
    let length = Duration::from_secs(1);
    for seed in 0..cases() {
        let mut random = Rng::with_seed(seed);
        let mut ledger = Ledger::default();
        let (mut issued, mut now) = (Vec::new(), 0);
        for _ in 0..100 {
            let permits = random.u64(1..5);
            ledger.add_alone(permits, at(ms(now)), length);
            issued.push((now, permits));
            now += random.u64(..100);
            let since = |window| {
                let in_window = issued.iter().filter(|&&(at, _)| at + window > now);
                in_window.map(|&(_, permits)| permits).sum::<u64>()
            };
            let mine = ledger.mine(at(ms(now)));
            assert!((since(1_000)..=since(1_016)).contains(&mine), "{mine} at {now} of {seed}");
        }
    }
}

/// A lease in the ledger, and its number of permits that have not come back.
struct Marked {
    deadline: Deadline,
    epoch: i64,
    mark: i64,
    held: u32,
}

/// Sums of permits, by the epoch and the mark of their lease.
type Sums = BTreeMap<(i64, i64), u32>;

/// Asserts that from each mark on, no more permits were refunded than are unused: so the store
/// counts all of the others.
fn assert_counted(unused: &Sums, refunded: &Sums, seed: u64) {
    let (mut epoch, mut free, mut back) = (0, 0, 0);
    let marks: BTreeSet<_> = unused.keys().chain(refunded.keys()).collect();
    for of in marks.into_iter().rev() {
        if of.0 != epoch {
            (epoch, free, back) = (of.0, 0, 0);
        }
        free += unused.get(of).copied().unwrap_or(0);
        back += refunded.get(of).copied().unwrap_or(0);
        assert!(back <= free, "{back} of {free} from {of:?} on, by {seed}");
    }
}

/// Leases of few marks, of which few permits come back, at any time. No mark is before the one of
/// the lease before, so their deadlines overlap.
#[test]
fn d1_d12_merged_leases_refund_no_permit_beyond_those_that_are_unused() {
    let (mut merged, mut all_refunded) = (0, 0);
    for seed in 0..cases() {
        let mut random = Rng::with_seed(seed);
        let mut ledger = Ledger::default();
        let mut leases: Vec<Marked> = Vec::new();
        let (mut unused_of, mut refunded_of) = (Sums::new(), Sums::new());
        let (mut now, mut epoch, mut mark) = (1_000, 1, 0);
        for _ in 0..1_000 {
            match random.u32(..10) {
                0..=5 => {
                    let lapse = now + random.u64(1..300);
                    mark = mark.max(i64::try_from((lapse + 1_000) / 50).unwrap());
                    let (held, end) = (random.u32(1..5), at(ms(lapse + 1_350)));
                    let deadline = Deadline::at(at(ms(lapse)));
                    let deadline = ledger.add(deadline, epoch, mark, held, end);
                    leases.push(Marked { deadline, epoch, mark, held });
                }
                6 => {
                    let Some(of) = random.choice(leases.iter_mut()) else { continue };
                    let count = random.u32(..=of.held);
                    of.held -= count;
                    *unused_of.entry((of.epoch, of.mark)).or_default() += count;
                    ledger.refund(unused(of.deadline, count));
                }
                7 => {
                    for Refund { mark, count } in ledger.take_refunds(epoch, at(ms(now))) {
                        *refunded_of.entry((epoch, mark)).or_default() += count;
                        all_refunded += count;
                    }
                    ledger.confirm_refunds(epoch);
                    assert_counted(&unused_of, &refunded_of, seed);
                    if random.u32(..10) == 0 {
                        (epoch, mark) = (epoch + 1, 0);
                    }
                }
                _ => now += random.u64(..20),
            }
            leases.retain(|of| of.mark > i64::try_from(now / 50).unwrap());
            merged += leases.len().saturating_sub(ledger.len());
        }
    }
    assert!(merged > 1_000 && all_refunded > 1_000, "{merged} merged, {all_refunded} refunded");
}

/// Ten thousand leases in a window, of which a request waits with each tenth permit.
#[test]
fn d5_ledger_of_many_leases_stays_small_and_refunds_late_permits() {
    let mut ledger = Ledger::default();
    let (mut held, mut refunded) = (Vec::new(), 0);
    for step in 0..15_000_u64 {
        let now = Duration::from_micros(step * 100);
        let lapse = now + ms(8);
        // As the store rounds them, for a window of a second.
        let mark = i64::try_from((lapse + ms(1_000)).as_micros() / 3_900).unwrap();
        let deadline = ledger.add(Deadline::at(at(lapse)), 1, mark, 1, at(lapse + ms(1_004)));
        if step % 10 == 0 {
            held.push((now, deadline));
        }
        held.retain(|&(since, deadline)| {
            let is_over = now >= since + ms(500);
            if is_over {
                ledger.refund(unused(deadline, 1));
            }
            !is_over
        });
        if step % 20 == 0 {
            ledger.take_refunds(1, at(now));
            refunded += ledger.confirm_refunds(1);
        }
        // Twice those of the last 24 ms, and one for each mark.
        let len = ledger.len();
        assert!(len <= 2 * 240 + 32 + 270, "{len} entries");
    }
    assert!(refunded >= 990, "{refunded} of 1,000 late permits were refunded");
}

/// A permit of a lease that has ended comes back: the range of an old lease with a later mark has
/// its deadline, and is not that lease.
#[test]
fn d12_permit_is_not_refunded_after_the_mark_of_its_lease() {
    let mut ledger = Ledger::default();
    let dl = |millis| Deadline::at(at(ms(millis)));
    // A long lease, another process's longer one in between, and shorter ones behind that.
    let late = ledger.add(dl(1_060), 1, 2_000, 1, at(ms(2_010)));
    ledger.add(dl(1_050), 1, 2_100, 1, at(ms(2_000)));
    ledger.add(dl(1_110), 1, 2_100, 1, at(ms(2_060)));
    for of in 0..40 {
        ledger.add(dl(1_200 + of), 1, 2_200, 1, at(ms(2_210)));
    }
    ledger.expire(at(ms(1_500)));
    ledger.expire(at(ms(2_015)));
    ledger.refund(unused(late, 1));
    assert_eq!(ledger.next_refunds(1), 0, "it frees a permit of the lease with mark 2100");
}

/// All permits of a merged lease are refunded, one of them of another lease: its own last permit is
/// none of a third lease.
#[test]
fn d12_permit_of_a_merged_lease_without_permits_is_of_no_other_one() {
    let mut ledger = Ledger::default();
    let dl = |millis| Deadline::at(at(ms(millis)));
    let x1 = ledger.add(dl(10), 1, 100, 1, at(ms(2_010)));
    let x2 = ledger.add(dl(40), 1, 100, 1, at(ms(2_010)));
    let b = ledger.add(dl(20), 1, 200, 1, at(ms(2_020)));
    ledger.add(dl(30), 1, 300, 1, at(ms(2_030)));
    ledger.add(dl(50), 1, 300, 1, at(ms(2_030)));
    for of in 0..40 {
        ledger.add(dl(1_200 + of), 1, 2_200, 1, at(ms(3_000)));
    }
    ledger.expire(at(ms(1_000)));
    ledger.refund(unused(x1, 1));
    ledger.refund(unused(b, 1));
    assert_eq!(ledger.take_refunds(1, at(ms(1_000))), [Refund { mark: 100, count: 2 }]);
    assert_eq!(ledger.confirm_refunds(1), 2);
    ledger.refund(unused(x2, 1));
    // From mark 200 to mark 300, a permit of the latter is in use, and does not count.
    let refunds = ledger.take_refunds(1, at(ms(1_000)));
    assert!(refunds.iter().all(|refund| refund.mark <= 200), "{refunds:?}");
}
