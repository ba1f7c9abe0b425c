use super::{SECOND, at, ms, terms};
use crate::{
    shared::{
        agent::{Agent, Next},
        pool::{Deadline, PoolView, Unused},
        wire::{History, Leased, Reply, Request},
    },
    time::Nanos,
};

/// A pool with requests that wait.
fn queued(queued: u32) -> PoolView {
    PoolView {
        permits: 0,
        lapse: Nanos::NEVER,
        queued,
        since: Some(Nanos::ZERO),
        expected: Nanos::ZERO,
        is_doubted: false,
        paused_until: None,
        is_closed: false,
    }
}

fn agent() -> Agent {
    Agent::new(terms(1_000, SECOND), Nanos::ZERO)
}

fn ask(agent: &mut Agent, now: u64) -> Box<Request> {
    match agent.next(at(ms(now)), &queued(1), true) {
        Next::Ask(request) => request,
        other => unreachable!("requests wait: {other:?}"),
    }
}

/// A reply of the store with leases that begin at once, of each this many permits.
fn reply(request: &Request, now: u64, counts: &[u32]) -> Reply {
    let now = 1_000_000_000 + i64::try_from(now * 1_000).unwrap();
    let lease = |&count| Leased { delay: 0, count, mark: now + request.length + request.window };
    let leases = counts.iter().map(lease).collect();
    let seen = History { epoch: 7, total: 1_000 };
    Reply { now, seen, free: 500, when: 0, is_other: false, leases }
}

fn take(agent: &mut Agent, request: &Request, now: u64, counts: &[u32]) {
    agent.reply(request, &reply(request, now, counts), at(ms(now)), at(ms(now)));
}

#[test]
fn d2_d12_no_request_is_made_in_a_pause_and_none_of_its_permits_is_lost() {
    let mut agent = agent();
    agent.issued_late(3, true, at(ms(1)));
    let paused = PoolView { paused_until: Some(at(ms(100))), ..queued(1) };
    assert!(matches!(agent.next(at(ms(1)), &paused, true), Next::Wait(end) if end == at(ms(100))));
    assert_eq!(agent.counts().store_requests, 0);
    assert_eq!(ask(&mut agent, 100).late, 3, "the late permits went with a request of the pause");
}

#[test]
fn d2_late_permits_are_reported_until_a_reply_has_come() {
    let mut agent = agent();
    agent.issued_late(3, true, at(ms(1)));
    assert_eq!(ask(&mut agent, 1).late, 3);
    // The driver is gone, with the runtime.
    agent.issued_late(1, false, at(ms(1)));
    assert_eq!(ask(&mut agent, 2).late, 4);
    agent.failed();
    let request = ask(&mut agent, 3);
    assert_eq!(request.late, 4);
    take(&mut agent, &request, 3, &[]);
    assert_eq!(agent.probe(1, at(ms(10))).late, 0);
}

#[test]
fn d4_blocked_request_takes_nothing_along() {
    let mut agent = agent();
    agent.issued_late(3, true, at(ms(1)));
    assert!(matches!(agent.next(at(ms(1)), &queued(1), false), Next::Blocked));
    assert_eq!(agent.counts().store_requests, 0);
    assert_eq!(ask(&mut agent, 1).late, 3);
}

#[test]
fn d12_leases_of_a_reply_with_one_deadline_are_refunded_each_to_its_mark() {
    let mut agent = agent();
    let request = ask(&mut agent, 1);
    let mut both = reply(&request, 1, &[1, 2]);
    both.leases[1].mark += 1;
    let marks = [both.leases[0].mark, both.leases[1].mark];
    agent.reply(&request, &both, at(ms(1)), at(ms(1)));
    let mut deadlines: Vec<Deadline> = Vec::new();
    while deadlines.len() < 2 {
        match agent.next(at(ms(1)), &queued(1), true) {
            Next::Deliver(Unused { deadline, count }) => {
                assert_eq!(usize::try_from(count), Ok(deadlines.len() + 1));
                deadlines.push(deadline);
            }
            other => unreachable!("two leases have begun: {other:?}"),
        }
    }
    assert!(deadlines[1] < deadlines[0], "{deadlines:?}");
    agent.unused(Unused { deadline: deadlines[1], count: 1 });
    let refunds = agent.probe(1, at(ms(2))).refunds;
    assert_eq!(refunds.iter().map(|of| (of.mark, of.count)).collect::<Vec<_>>(), [(marks[1], 1)]);
}

/// An agent of which the second reply shows that the store's clock is ten seconds ahead.
fn agent_after_a_step() -> Agent {
    let mut agent = agent();
    let request = ask(&mut agent, 1);
    take(&mut agent, &request, 1, &[]);
    let request = ask(&mut agent, 300);
    agent.reply(&request, &reply(&request, 10_300, &[1]), at(ms(300)), at(ms(300)));
    agent
}

/// A lease from before the step may begin a quarter of a window later, and be as long as an eighth.
#[test]
fn d10_pause_after_a_step_outlasts_the_leases_from_before() {
    let mut agent = agent_after_a_step();
    let Next::Wait(until) = agent.next(at(ms(300)), &queued(1), true) else {
        unreachable!("its lease is discarded")
    };
    assert!(until >= at(ms(300 + 1_375)), "{until:?}");
    assert_eq!(agent.probe(1, at(ms(400))).want, 0);
}

#[test]
fn o1_leases_that_are_discarded_after_a_step_count_as_lapsed() {
    let agent = agent_after_a_step();
    let counts = agent.counts();
    assert_eq!((counts.leased, counts.lapsed, counts.clock_steps), (1, 1, 1));
}

#[test]
fn d10_changed_quota_does_not_end_the_pause_after_a_step() {
    let mut agent = agent_after_a_step();
    agent.set_terms(terms(1_001, SECOND), at(ms(300)));
    let next = agent.next(at(ms(300)), &queued(1), true);
    assert!(matches!(next, Next::Wait(until) if until >= at(ms(300 + 1_375))), "{next:?}");
}

#[test]
fn d2_late_permits_of_a_long_outage_count_for_one_window() {
    let mut agent = agent();
    for tenth in 0..100 {
        agent.issued_late(1, false, at(ms(100 * tenth)));
    }
    let late = ask(&mut agent, 10_000).late;
    assert!((9..=12).contains(&late), "{late} of 100");
}

/// Takes a reply without leases, of which the next permit expires this many milliseconds later.
fn refuse(agent: &mut Agent, request: &Request, now: u64, when: u64) {
    let when = i64::try_from(when * 1_000).unwrap();
    let refusal = Reply { when, free: 0, ..reply(request, now, &[]) };
    agent.reply(request, &refusal, at(ms(now)), at(ms(now)));
}

/// An agent with a lease of two permits, which next learns that the quota is full.
fn agent_of_a_full_quota() -> (Agent, Deadline) {
    let mut agent = agent();
    let request = ask(&mut agent, 1);
    take(&mut agent, &request, 1, &[2]);
    let Next::Deliver(Unused { deadline, .. }) = agent.next(at(ms(1)), &queued(1), true) else {
        unreachable!("its lease has begun")
    };
    let request = ask(&mut agent, 2);
    refuse(&mut agent, &request, 2, 900);
    assert_eq!(agent.schedule().then, at(ms(902)));
    (agent, deadline)
}

#[test]
fn d6_permit_that_is_given_back_is_asked_for_at_once_and_then_once_per_lease() {
    let (mut agent, deadline) = agent_of_a_full_quota();
    assert!(agent.unused(Unused { deadline, count: 1 }), "permits come sooner");
    assert!(agent.schedule().then <= at(ms(20)));
    let request = ask(&mut agent, 20);
    assert_eq!(request.refunds.len(), 1);
    refuse(&mut agent, &request, 20, 880);
    assert_eq!(agent.schedule().then, at(ms(900)), "others have leased it");
    let next = at(ms(20) + SECOND / 128);
    assert!(agent.unused(Unused { deadline, count: 1 }), "permits come sooner");
    assert_eq!(agent.schedule().then, next);
    let waits = agent.next(at(ms(21)), &queued(1), true);
    assert!(matches!(waits, Next::Wait(until) if until == next), "{waits:?}");
    assert_eq!(ask(&mut agent, 28).refunds.len(), 1);
}

#[test]
fn d10_permit_that_is_given_back_does_not_end_the_pause_after_a_step() {
    let (mut agent, deadline) = agent_of_a_full_quota();
    let request = agent.probe(1, at(ms(300)));
    agent.reply(&request, &reply(&request, 20_300, &[]), at(ms(300)), at(ms(300)));
    let before = agent.schedule().then;
    assert!(before >= at(ms(300 + 1_375)), "{before:?}");
    assert!(!agent.unused(Unused { deadline, count: 1 }), "permits come sooner");
    assert_eq!(agent.schedule().then, before);
}

/// The first lease counts no more, and the pool has permits of another one.
#[test]
fn o1_driver_does_not_end_before_the_permits_at_hand_have_lapsed() {
    let mut agent = agent();
    let request = ask(&mut agent, 1);
    take(&mut agent, &request, 1, &[1]);
    let request = agent.probe(1, at(ms(1_000)));
    take(&mut agent, &request, 1_000, &[1]);
    let pool = PoolView { permits: 1, lapse: at(ms(1_500)), ..queued(0) };
    while let Next::Deliver(_) = agent.next(at(ms(1_000)), &pool, true) {}
    let next = agent.next(at(ms(1_400)), &pool, true);
    assert!(matches!(next, Next::Wait(until) if until == at(ms(1_500))), "{next:?}");
}
