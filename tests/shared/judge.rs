//! The judgement of a scene, by the log of the server and the issues.

use std::{collections::BTreeMap, time::Duration};

use crate::shared_store::{
    fake::{Lease, Server},
    oracle::Issues,
};

/// Asserts the rules of every process towards the store.
///
/// - One request is in flight (D4).
/// - Every issue is covered by a permit of a lease in force, and no permit covers two (D2). Clocks
///   are off by a thousandth of the time of a lease at most, and so may be the issue.
/// - Of a lease, no more permits are refunded than it has, less those that were issued (D12).
pub(crate) fn assert_rules(server: &Server, issues: &Issues) {
    assert!(server.most_in_flight() <= 1, "{} requests in flight", server.most_in_flight());
    let sent = server.sent();
    let processes = sent.iter().map(|sent| sent.process).max().map_or(0, |last| last + 1);
    for process in 0..processes {
        let of = || sent.iter().filter(|sent| sent.process == process);
        let leases: Vec<_> = of().flat_map(|sent| sent.leases()).collect();
        let times: Vec<_> = issues.of(process).all().iter().map(|issue| issue.at).collect();
        assert_covered(process, &leases, &times);
        let (mut leased, mut refunded) = (BTreeMap::new(), BTreeMap::new());
        for lease in &leases {
            *leased.entry(lease.mark).or_insert(0) += lease.count;
        }
        for (mark, count) in of().flat_map(|sent| sent.refunds()) {
            *refunded.entry(mark).or_insert(0) += count;
        }
        for (mark, count) in &refunded {
            assert!(leased.get(mark) >= Some(count), "{count} of {mark} refunded by {process}");
        }
        let sum = |of: BTreeMap<i64, i64>| of.into_values().sum::<i64>();
        let issued = i64::try_from(times.len()).unwrap();
        let (leased, refunded) = (sum(leased), sum(refunded));
        assert!(issued + refunded <= leased, "{issued} + {refunded} of {leased} by {process}");
    }
}

/// Asserts that each of the times falls into a lease, and into none more times than it has
/// permits: of the leases in force, the one that ends first covers it.
fn assert_covered(process: usize, leases: &[Lease], times: &[u64]) {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap();
    let mut begins: Vec<_> = leases
        .iter()
        .map(|lease| {
            // The clocks of the process and of the scene.
            let slack = (lease.until - lease.sent) / 1000;
            let from = nanos(lease.from.saturating_sub(slack));
            (from, nanos(lease.until + slack), lease.count)
        })
        .collect();
    begins.sort();
    let mut begins = begins.into_iter().peekable();
    let mut in_force: BTreeMap<u64, i64> = BTreeMap::new();
    for &at in times {
        while let Some((_, until, count)) = begins.next_if(|&(from, ..)| from <= at) {
            *in_force.entry(until).or_default() += count;
        }
        in_force.retain(|&until, count| until >= at && *count > 0);
        let Some(mut first) = in_force.first_entry() else {
            panic!("the issue of {process} at {at} ns has no lease")
        };
        *first.get_mut() -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::{panic::catch_unwind, time::Duration};

    use super::{Lease, assert_covered};

    #[test]
    fn d2_issue_without_a_lease_in_force_is_noticed() {
        let lease = |from, until, count| Lease {
            mark: 1,
            count,
            sent: Duration::ZERO,
            from: Duration::from_nanos(from),
            until: Duration::from_nanos(until),
        };
        let leases = [lease(10, 30, 1), lease(20, 40, 1), lease(20, 30, 1)];
        let covers =
            |times: &'static [u64]| catch_unwind(move || assert_covered(0, &leases, times)).is_ok();
        assert!(covers(&[20, 30, 40]));
        assert!(!covers(&[9]));
        assert!(!covers(&[41]));
        assert!(!covers(&[10, 11]));
        assert!(!covers(&[25, 31, 32]));
        assert!(!covers(&[20, 21, 22, 23]));
    }
}
