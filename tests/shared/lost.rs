//! The state of the store is lost, in part or as a whole.

use std::{collections::HashMap, time::Duration};

use tokio::time::sleep;

use crate::{
    judge::assert_rules,
    load::Load,
    paused_runtime::run,
    quota::{Quota, Site},
    shared_store::{
        fake::{Network, Server},
        model::State,
    },
};

const SECOND: Duration = Duration::from_secs(1);
const LIMIT: u32 = 200;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A loss, after a copy of the state some time before.
type Loss = fn(&Server, HashMap<String, State>);

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
    let loads = [
        Load::Greedy(40),
        Load::Greedy(100),
        Load::Bursts(40, ms(400)),
        Load::Steady(ms(20)),
        // It does not ask for a while.
        Load::Bursts(20, ms(1700)),
    ];
    run(async {
        let site = Site::new(seed);
        site.server.set_network(Network::GOOD.with_median(ms(1)));
        for (process, load) in loads.into_iter().enumerate() {
            site.start(&quota, process, load);
        }
        sleep(3 * SECOND + ms(seed * 131 % 1000)).await;
        let copy = site.server.copy();
        sleep(ms(20 + seed * 17 % 300)).await;
        loss(&site.server, copy);
        let lost_at = site.now();
        sleep(5 * SECOND).await;
        assert_rules(&site.server, &site.issues);
        let after = site.issues.since(lost_at + 2 * SECOND);
        assert!(after.len() > LIMIT as usize, "{} issues after the loss", after.len());
        (site.issues.most_in_any_span(quota.window), after.most_in_any_span(quota.window))
    })
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

/// Of a process alone, all permits count again: the excess is that of others.
#[test]
fn d9_loss_costs_a_process_alone_nothing() {
    for (name, loss) in LOSSES {
        run(async {
            let site = Site::new(1);
            site.start(&Quota::new(LIMIT, SECOND), 0, Load::Greedy(300));
            for _ in 0..3 {
                sleep(2 * SECOND + ms(30)).await;
                let copy = site.server.copy();
                sleep(ms(100)).await;
                loss(&site.server, copy);
            }
            sleep(3 * SECOND).await;
            let most = site.issues.most_in_any_span(SECOND);
            assert!(most <= LIMIT as usize, "{name}: {most}");
            assert!(site.issues.len() > 4 * LIMIT as usize, "{name}: {}", site.issues.len());
        });
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
        run(async {
            let site = Site::new(1);
            let quota = Quota::new(LIMIT, SECOND);
            let loads = [Load::Greedy(100), Load::Bursts(10, ms(700)), Load::Steady(ms(100))];
            let handles = (loads.into_iter().enumerate())
                .map(|(process, load)| site.start(&quota, process, load).0)
                .collect::<Vec<_>>();
            sleep(3 * SECOND).await;
            let copy = site.server.copy();
            sleep(ms(1500)).await;
            loss(&site.server, copy);
            sleep(3 * SECOND).await;
            for (process, handle) in handles.iter().enumerate() {
                let changes = handle.snapshot().store.epoch_changes;
                assert!((1..=3).contains(&changes), "{name}: {changes} by {process}");
            }
        });
    }
}
