//! Random scenes of processes, networks and faults, and their judgement.

use std::{collections::HashMap, time::Duration};

use proptest::prelude::*;
use tower::Layer;

use crate::{
    fleet::Fleet,
    hold::{hold_slowly, name_of},
    judge::assert_rules,
    load::{Load, Recorder, Slowness, call},
    quota::Quota,
    shared_store::{
        fake::{Fault, Network},
        model::State,
    },
};

/// A scene of some windows. Times are in thousandths of a window where nothing else is said.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) seed: u64,
    pub(crate) limit: u32,
    /// In milliseconds.
    pub(crate) window: u64,
    pub(crate) is_strict: bool,
    /// The rate of the server's clock, in millionths beyond real time.
    pub(crate) ppm: i64,
    pub(crate) network: Network,
    pub(crate) processes: Vec<Process>,
    /// Each with the time since the one before.
    pub(crate) incidents: Vec<(u32, Incident)>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub(crate) ppm: i64,
    pub(crate) load: Load,
    /// The share of calls that are cancelled.
    pub(crate) cancelled: f64,
    pub(crate) slowness: Slowness,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Incident {
    Suspend(usize, u32),
    /// Ends a process, and starts it anew after a time.
    Restart(usize, u32),
    /// Loses the messages of a process for a time.
    Cut(usize, u32),
    Fault(Fault, u32),
    /// Copies the state, to be restored in a failover after a time.
    Failover(u32),
    Flush,
    /// Sets the clock of the server back.
    SetBack(u32),
}

impl Scene {
    fn window(&self) -> Duration {
        Duration::from_millis(self.window)
    }

    /// Some hundred steps are a window.
    fn step(&self) -> Duration {
        (self.window() / 250).max(Duration::from_micros(500))
    }
}

fn network(window: u64) -> impl Strategy<Value = Network> {
    // In thousandths of a window.
    let median = prop_oneof![3 => 0..10_u64, 1 => 10..60_u64];
    let share = || prop_oneof![3 => Just(0.0), 1 => 0.0..0.2_f64];
    (median, 0.1..1.0_f64, share(), 0..200_u64, share(), share()).prop_map(
        move |(median, sigma, late_share, late_by, lost_requests, lost_replies)| Network {
            median: Duration::from_micros(median * window),
            sigma,
            late_share,
            late_by: Duration::from_micros(late_by * window),
            lost_requests,
            lost_replies,
        },
    )
}

fn process(limit: u32, window: u64) -> impl Strategy<Value = Process> {
    let every = move |share: u64| Duration::from_millis((window / share).max(1));
    let load = prop_oneof![
        3 => (1..40_usize).prop_map(Load::Greedy),
        1 => (1..100_u64).prop_map(move |share| Load::Steady(every(share))),
        1 => (1..=limit as usize, 1..5_u64)
            .prop_map(move |(size, share)| Load::Bursts(size, every(share))),
    ];
    let cancelled = proptest::sample::select(vec![0.0, 0.0, 0.1, 0.6]);
    let slow = move || prop_oneof![2 => Just(0), 1 => 0..=(window / 10)];
    (-500..=500_i64, load, cancelled, slow(), slow()).prop_map(
        |(ppm, load, cancelled, ready, respond)| Process {
            ppm,
            load,
            cancelled,
            slowness: Slowness { ready, respond },
        },
    )
}

fn incident(processes: usize) -> impl Strategy<Value = Incident> {
    let length = || prop_oneof![1..100_u32, 1..2000_u32];
    let process = move || 0..processes;
    let fault = proptest::sample::select(vec![Fault::Error("io"), Fault::Silent, Fault::Stopped]);
    prop_oneof![
        3 => (process(), length()).prop_map(|(process, time)| Incident::Suspend(process, time)),
        1 => (process(), length()).prop_map(|(process, time)| Incident::Restart(process, time)),
        1 => (process(), length()).prop_map(|(process, time)| Incident::Cut(process, time)),
        1 => (fault, length()).prop_map(|(fault, time)| Incident::Fault(fault, time)),
    ]
}

fn incident_or_loss(processes: usize) -> impl Strategy<Value = Incident> {
    prop_oneof![
        2 => incident(processes),
        1 => (1..500_u32).prop_map(Incident::Failover),
        1 => Just(Incident::Flush),
        1 => (1..5000_u32).prop_map(Incident::SetBack),
    ]
}

/// Scenes with incidents of a kind, which depend on the number of processes.
fn scenes<S: Strategy<Value = Incident>>(
    incident: impl Fn(usize) -> S + Copy,
) -> impl Strategy<Value = Scene> {
    let limit = prop_oneof![1..200_u32, proptest::sample::select(vec![10, 100, 1000])];
    let window = prop_oneof![Just(100_u64), Just(1000), Just(10_000), 100..2000_u64];
    (limit, window, 1..=5_usize).prop_flat_map(move |(limit, window, processes)| {
        let incidents = proptest::collection::vec((1..1500_u32, incident(processes)), 0..4);
        let processes = proptest::collection::vec(process(limit, window), processes);
        (any::<u64>(), -500..=500_i64, network(window), processes, incidents).prop_map(
            move |(seed, ppm, network, processes, incidents)| Scene {
                seed,
                limit,
                window,
                is_strict: false,
                ppm,
                network,
                processes,
                incidents,
            },
        )
    })
}

/// The second half of an incident.
enum End {
    Start(usize),
    Join(usize),
    Repair,
    Restore(HashMap<String, State>),
}

/// Plays a scene, and returns it for its judgement.
fn play(scene: &Scene) -> Fleet {
    let quota = Quota { is_strict: scene.is_strict, ..Quota::new(scene.limit, scene.window()) };
    let mut fleet = Fleet::new(scene.seed, scene.step());
    fleet.server.set_rate(scene.ppm);
    fleet.server.set_network(scene.network);
    let start = |fleet: &mut Fleet, process: Process| {
        fleet.start(process.ppm, |fleet, number| {
            let recorder = Recorder::new(number, &fleet.issues, &fleet.real_time);
            let recorder = recorder.slow(process.slowness);
            let service = quota.layer(fleet.server.store(number)).layer(recorder);
            call(service, process.load, process.cancelled, scene.seed ^ number as u64);
            number
        })
    };
    // The number of each process changes when it starts anew.
    let mut numbers: Vec<_> =
        scene.processes.iter().map(|&process| start(&mut fleet, process)).collect();
    let of = |permille: u32| scene.window() * permille / 1000;
    // What follows, and when.
    let mut ends: Vec<(Duration, End)> = Vec::new();
    let mut incidents = scene.incidents.iter();
    let mut next = incidents.next().map(|&(wait, incident)| (of(wait), incident));
    let end = scene.window() * 4;
    while fleet.now() < end {
        fleet.run(scene.window() / 50);
        let now = fleet.now();
        let (due, later): (Vec<_>, Vec<_>) = ends.into_iter().partition(|(at, _)| *at <= now);
        ends = later;
        for (_, end) in due {
            match end {
                End::Start(process) => {
                    numbers[process] = start(&mut fleet, scene.processes[process]);
                }
                End::Join(number) => fleet.server.cut(number, false),
                End::Repair => fleet.server.set_fault(None),
                End::Restore(copy) => {
                    fleet.server.restore(copy);
                    fleet.server.restart();
                }
            }
        }
        while let Some((at, incident)) = next.filter(|&(at, _)| at <= now) {
            let mut after = |time, end| ends.push((now + of(time), end));
            match incident {
                Incident::Suspend(process, time) => fleet.suspend(numbers[process], of(time)),
                Incident::Restart(process, time) => {
                    fleet.kill(numbers[process]);
                    after(time, End::Start(process));
                }
                Incident::Cut(process, time) => {
                    fleet.server.cut(numbers[process], true);
                    after(time, End::Join(numbers[process]));
                }
                Incident::Fault(fault, time) => {
                    fleet.server.set_fault(Some(fault));
                    after(time, End::Repair);
                }
                Incident::Failover(time) => after(time, End::Restore(fleet.server.copy())),
                Incident::Flush => fleet.server.flush(),
                Incident::SetBack(time) => {
                    let micros = i64::try_from(of(time).as_micros()).unwrap();
                    fleet.server.step_clock(-micros);
                }
            }
            next = incidents.next().map(|&(wait, incident)| (at + of(wait), incident));
        }
    }
    fleet
}

/// However processes, clocks and messages behave, while the store keeps its state.
#[test]
fn d1_d2_d4_d12_processes_hold_the_limit_in_random_scenes() {
    let test = |scene: Scene| {
        let fleet = play(&scene);
        let most = fleet.issues.most_in_any_span(scene.window());
        prop_assert!(most <= scene.limit as usize, "{most} of {}", scene.limit);
        assert_rules(&fleet.server, &fleet.issues);
        Ok(fleet.issues.len())
    };
    hold_slowly(40, file!(), name_of(&test), scenes(incident), test);
}

/// However the store loses its state, too.
#[test]
fn d9_d10_strict_processes_hold_the_limit_in_random_scenes_with_losses() {
    let test = |scene: Scene| {
        let fleet = play(&Scene { is_strict: true, ..scene.clone() });
        let most = fleet.issues.most_in_any_span(scene.window());
        prop_assert!(most <= scene.limit as usize, "{most} of {}", scene.limit);
        assert_rules(&fleet.server, &fleet.issues);
        Ok(fleet.issues.len())
    };
    hold_slowly(40, file!(), name_of(&test), scenes(incident_or_loss), test);
}
