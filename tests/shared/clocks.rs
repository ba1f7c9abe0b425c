//! Clocks that step, and clocks of other rates.

use std::time::Duration;

use tokio::time::sleep;
use tower::Layer;

use crate::{
    fleet::Fleet,
    judge::assert_rules,
    load::{Load, Recorder, call},
    paused_runtime::run,
    quota::{Quota, Site},
};
const SECOND: Duration = Duration::from_secs(1);
const LIMIT: u32 = 100;

/// Saturating processes, and one that asks within each window, while the clock of the server steps.
fn steps(steps: &[i64]) -> (usize, u64, f64) {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(LIMIT, SECOND);
        let loads = [Load::Greedy(50), Load::Greedy(100), Load::Steady(Duration::from_millis(300))];
        let handles = (loads.into_iter().enumerate())
            .map(|(process, load)| site.start(&quota, process, load).0)
            .collect::<Vec<_>>();
        for step in steps {
            sleep(3 * SECOND + Duration::from_millis(137)).await;
            site.server.step_clock(*step);
        }
        sleep(3 * SECOND).await;
        assert_rules(&site.server, &site.issues);
        for handle in &handles {
            // The leases of a reply that shows a step are discarded, and others are under way.
            let snapshot = handle.snapshot();
            let fleet = snapshot.fleet;
            let known = fleet.used + fleet.lapsed + u64::from(snapshot.pooled);
            let open = fleet.leased - known;
            assert!(open <= u64::from(LIMIT / 64).max(1) * 2, "{open} of {fleet:?}");
        }
        let noticed = handles.iter().map(|handle| handle.snapshot().fleet.clock_steps).sum();
        let used = site.issues.used_share(LIMIT, SECOND);
        (site.issues.most_in_any_span(SECOND), noticed, used)
    })
}

const MS: i64 = 1000;
const HOUR: i64 = 3_600_000 * MS;

#[test]
fn d10_limit_holds_while_the_clock_of_the_store_is_set_back() {
    for step in [-MS, -500 * MS, -HOUR] {
        let (most, noticed, used) = steps(&[step, step]);
        println!("{step}: {most}, {used:.3} used");
        assert!(most <= LIMIT as usize, "{most} after {step}");
        // The time continues, and nothing is lost.
        assert!(noticed == 0 && used > 0.9, "{noticed}, {used} after {step}");
    }
}

#[test]
fn d10_limit_holds_while_the_clock_of_the_store_is_set_forward() {
    for step in [5 * MS, 100 * MS, 500 * MS, 30_000 * MS, HOUR] {
        let (most, noticed, used) = steps(&[step, step]);
        println!("{step}: {most}, {noticed} noticed, {used:.3} used");
        assert!(most <= LIMIT as usize, "{most} after {step}");
        assert!(noticed == 6, "{noticed} noticed after {step}");
        assert!(used > 0.4, "{used} used after {step}");
    }
}

/// A slewed clock: each step is hidden in a round trip, and many are not.
#[test]
fn d10_clock_that_is_slewed_forward_is_noticed() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(LIMIT, SECOND);
        let handles = [0, 1, 2].map(|process| site.start(&quota, process, Load::Greedy(50)).0);
        sleep(2 * SECOND).await;
        // By a tenth of real time, for two seconds.
        for _ in 0..200 {
            sleep(Duration::from_millis(10)).await;
            site.server.step_clock(MS);
        }
        sleep(2 * SECOND).await;
        assert!(handles.iter().all(|handle| handle.snapshot().fleet.clock_steps > 0));
        assert!(site.issues.most_in_any_span(SECOND) <= LIMIT as usize);
    });
}

/// The clocks that are farthest apart: that of the server fast, that of one process slow, which
/// uses its permits at the end of their leases, and that of another fast, which uses its own at
/// once. The scene begins at each part of a grain, by which marks are rounded.
#[test]
fn d1_limit_holds_with_clocks_that_are_500_ppm_off() {
    let window = 10 * SECOND;
    let quota = Quota::new(LIMIT, window);
    for part in 0..20 {
        let mut fleet = Fleet::new(1, Duration::from_millis(1));
        fleet.server.set_rate(500);
        let gate = tokio::sync::watch::Sender::new(false);
        fleet.run(Duration::from_millis(2 * part));
        let start = |fleet: &mut Fleet, ppm, gate: Option<_>| {
            fleet.start(ppm, |fleet, number| {
                let recorder = Recorder::new(number, &fleet.issues, &fleet.real_time);
                let recorder = recorder.behind(gate);
                let service = quota.layer(fleet.server.store(number)).layer(recorder);
                call(service, Load::Bursts(LIMIT as usize, 1000 * SECOND), 0.0, 1);
            });
        };
        start(&mut fleet, -500, Some(gate.subscribe()));
        while fleet.server.out() < LIMIT.into() {
            fleet.run(Duration::from_millis(1));
        }
        // Right before the end of the first lease, the largest one.
        let end = fleet.server.sent()[0].leases().next().unwrap().until;
        fleet.run(end - fleet.now() - Duration::from_millis(2));
        gate.send_replace(true);
        fleet.run(Duration::from_millis(100));
        let first = fleet.issues.len();
        assert!(first >= LIMIT as usize / 2, "{first} issued at first");
        start(&mut fleet, 500, None);
        fleet.set_step(Duration::from_millis(20));
        fleet.run(window - Duration::from_millis(300));
        assert!(fleet.issues.len() <= LIMIT as usize);
        fleet.set_step(Duration::from_millis(1));
        fleet.run(Duration::from_millis(600));
        assert!(fleet.issues.len() >= first + LIMIT as usize / 2, "{}", fleet.issues.len());
        let most = fleet.issues.most_in_any_span(window);
        assert!(most <= LIMIT as usize, "{most} of {LIMIT}, part {part}");
        assert_rules(&fleet.server, &fleet.issues);
    }
}
