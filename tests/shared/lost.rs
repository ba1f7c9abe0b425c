//! The state of the store is lost, in part or as a whole.

use std::time::Duration;

use crate::{
    fleet::Fleet,
    judge::assert_rules,
    load::Load,
    quota::Quota,
    shared_store::fake::{Network, Server},
};

const SECOND: Duration = Duration::from_secs(1);
const LIMIT: u32 = 200;

/// A loss, after a copy of the state some time before.
type Loss = fn(&Server, std::collections::HashMap<String, crate::shared_store::model::State>);

const LOSSES: [(&str, Loss); 4] = [
    ("all is lost", |server, _| server.flush()),
    ("all is lost in a restart", |server, _| {
        server.flush();
        server.restart();
    }),
    ("the latest writes are lost", |server, copy| server.restore(copy)),
    ("a failover loses the latest writes", |server, copy| {
        server.restore(copy);
        server.restart();
    }),
];

/// Plays a loss, with processes of all kinds, and returns the most in any span over all, and from
/// two windows after the loss on.
fn most(quota: Quota, loss: Loss, seed: u64) -> (usize, usize) {
    let mut fleet = Fleet::new(seed, Duration::from_millis(2));
    let ms = Duration::from_millis;
    for load in [
        Load::Greedy(40),
        Load::Greedy(100),
        Load::Bursts(40, ms(400)),
        Load::Steady(ms(20)),
        // It does not ask for a while.
        Load::Bursts(20, ms(1700)),
    ] {
        quota.start(&mut fleet, load);
    }
    fleet.server.set_network(Network::GOOD.with_median(ms(1)));
    fleet.run(SECOND * 3 + ms(seed * 131 % 1000));
    let copy = fleet.server.copy();
    fleet.run(ms(20 + seed * 17 % 300));
    loss(&fleet.server, copy);
    let lost_at = fleet.now();
    fleet.run(5 * SECOND);
    assert_rules(&fleet.server, &fleet.issues);
    let after = fleet.issues.since(lost_at + 2 * SECOND);
    assert!(after.len() > LIMIT as usize, "{} issues after the loss", after.len());
    (fleet.issues.most_in_any_span(quota.window), after.most_in_any_span(quota.window))
}

#[test]
fn d9_loss_costs_up_to_twice_the_limit_once() {
    for (name, loss) in LOSSES {
        let mut worst = 0;
        for seed in 1..=6 {
            let (most, after) = most(Quota::new(LIMIT, SECOND), loss, seed);
            assert!(most <= 2 * LIMIT as usize, "{name}: {most}, seed {seed}");
            assert!(after <= LIMIT as usize, "{name}: {after} later, seed {seed}");
            worst = worst.max(most);
        }
        println!("{name}: {worst} of {LIMIT}");
    }
}

#[test]
fn d9_strict_quota_holds_through_a_loss() {
    for (name, loss) in LOSSES {
        for seed in 1..=6 {
            let (most, _) = most(Quota::new(LIMIT, SECOND).strict(), loss, seed);
            assert!(most <= LIMIT as usize, "{name}: {most}, seed {seed}");
        }
    }
}

/// A process that has leased before the loss, and asks long after the others have noticed it.
#[test]
fn d9_every_process_notices_a_loss() {
    for (name, loss) in LOSSES {
        let mut fleet = Fleet::new(1, Duration::from_millis(2));
        let quota = Quota::new(LIMIT, SECOND);
        let ms = Duration::from_millis;
        let handles: Vec<_> = [Load::Greedy(100), Load::Bursts(10, ms(700)), Load::Steady(ms(100))]
            .map(|load| quota.start(&mut fleet, load).0)
            .into();
        fleet.run(3 * SECOND);
        let copy = fleet.server.copy();
        fleet.run(ms(1500));
        loss(&fleet.server, copy);
        fleet.run(3 * SECOND);
        for (process, handle) in handles.iter().enumerate() {
            let changes = handle.snapshot().fleet.epoch_changes;
            assert!((1..=3).contains(&changes), "{name}: {changes} by {process}");
        }
    }
}
