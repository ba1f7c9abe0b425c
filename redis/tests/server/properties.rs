//! The script against the model, and against the bound that it is for, with random requests.

use proptest::prelude::*;
use redis::cmd;
use tokio::runtime::{Builder, Runtime};

use crate::{
    hold::{hold, name_of},
    model::{self, State},
    request::{Reply, Request, SECOND, Scripted},
    support::server::Server,
};

/// The largest value of one key.
const MAX_SIZE: usize = 4608;

#[derive(Clone, Debug)]
enum Step {
    Ask(Ask),
    /// The clock is set, by parts of the window.
    SetClock(i64),
    /// The clock arrives at the mark of an entry.
    UntilMark(usize),
    /// Another server process.
    Restart,
    /// The value of this moment, to be restored.
    Copy,
    Restore,
    Forget,
    /// Other settings, of those of the case.
    Settings(usize),
}

#[derive(Clone, Debug)]
struct Ask {
    process: usize,
    /// The time since the step before, and the length: in parts of the window, and of the maximum.
    after: i64,
    length: i64,
    want: i64,
    seen: Seen,
    /// In parts of the limit.
    mine: i64,
    late: i64,
    is_strict: bool,
    refunds: Vec<(usize, Refund)>,
}

#[derive(Clone, Copy, Debug)]
enum Seen {
    Nothing,
    Latest,
    /// Of any reply.
    Older(usize),
    /// More than the state knows.
    Newer,
}

#[derive(Clone, Copy, Debug)]
enum Refund {
    Once,
    Again,
    TooMuch,
    OtherMark,
}

/// Parts of a window.
const PARTS: i64 = 256;

fn asks(processes: usize) -> impl Strategy<Value = Ask> {
    let after = prop_oneof![6 => 0..4_i64, 3 => 0..40_i64, 1 => 0..600_i64];
    let most = i64::from(i32::MAX);
    let want = prop_oneof![1 => Just(0), 3 => 1..4_i64, 3 => 1..2000_i64, 2 => Just(most)];
    let seen = prop_oneof![
        1 => Just(Seen::Nothing),
        12 => Just(Seen::Latest),
        1 => (0..100_usize).prop_map(Seen::Older),
        1 => Just(Seen::Newer),
    ];
    let kind = prop_oneof![
        8 => Just(Refund::Once),
        1 => Just(Refund::Again),
        1 => Just(Refund::TooMuch),
        1 => Just(Refund::OtherMark),
    ];
    let refunds = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec((0..100_usize, kind), 1..4),
    ];
    let late = prop_oneof![9 => Just(0), 1 => 1..300_i64];
    let strict = prop_oneof![9 => Just(false), 1 => Just(true)];
    (0..processes, after, 0..=64_i64, want, seen, 0..=300_i64, late, strict, refunds).prop_map(
        |(process, after, length, want, seen, mine, late, is_strict, refunds)| Ask {
            process,
            after,
            length,
            want,
            seen,
            mine,
            late,
            is_strict,
            refunds,
        },
    )
}

fn settings() -> impl Strategy<Value = (i64, i64)> {
    let limits = prop_oneof![
        1..4_i64,
        5..70_i64,
        Just(1000),
        100_000..1_000_000_i64,
        Just(i64::from(i32::MAX)),
    ];
    // With the margin for clocks, and without; a month; any.
    let windows = prop_oneof![
        Just(SECOND + SECOND / 512),
        Just(SECOND / 10),
        Just(30 * 24 * 3600 * SECOND),
        100_000..100_000_000_i64,
    ];
    (limits, windows)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        40 => asks(3).prop_map(Step::Ask),
        1 => (-600..600_i64).prop_map(Step::SetClock),
        2 => (0..400_usize).prop_map(Step::UntilMark),
        1 => Just(Step::Restart),
        1 => Just(Step::Copy),
        1 => Just(Step::Restore),
        1 => Just(Step::Forget),
        1 => (0..3_usize).prop_map(Step::Settings),
    ];
    prop::collection::vec(step, 1..80)
}

/// A number of processes, each with the replies and the leases that it has got.
#[derive(Default)]
struct Process {
    latest: (i64, i64),
    /// Marks and counts.
    leases: Vec<(i64, i64)>,
}

impl Process {
    fn refund(&mut self, index: usize, kind: Refund) -> Option<(i64, i64)> {
        let index = index.checked_rem(self.leases.len())?;
        let (mark, count) = self.leases[index];
        Some(match kind {
            Refund::Once => self.leases.swap_remove(index),
            Refund::Again => (mark, count),
            Refund::TooMuch => (mark, 2 * count),
            Refund::OtherMark => (mark + 1, count),
        })
    }
}

fn request(ask: &Ask, of: &mut Process, replies: &[(i64, i64)], settings: (i64, i64)) -> Request {
    let (limit, window) = settings;
    let mut request = Request::new(limit, window, ask.want);
    request.length = (request.max_length() * ask.length / 64).max(1);
    request.seen = match ask.seen {
        Seen::Nothing => (0, 0),
        Seen::Latest => of.latest,
        Seen::Older(index) => {
            index.checked_rem(replies.len()).map_or((0, 0), |index| replies[index])
        }
        Seen::Newer => (of.latest.0, of.latest.1 + 1 + ask.mine),
    };
    request.mine = limit * ask.mine / 100;
    request.late = if ask.late == 0 { 0 } else { (limit * ask.late / 100).max(1) };
    request.is_strict = ask.is_strict;
    request.refunds =
        ask.refunds.iter().filter_map(|&(index, kind)| of.refund(index, kind)).collect();
    request
}

/// Reads a value.
fn decode(value: &[u8]) -> State {
    let (magic, rest) = value.split_at(8);
    assert_eq!(magic, b"floodg:1");
    let (entries, tail) = rest.split_at(rest.len() - 80);
    let number = |index: usize| {
        let number = f64::from_le_bytes(tail[index * 8..][..8].try_into().unwrap());
        assert!(number.fract() == 0.0 && number.abs() < 9e15, "{number}");
        number as i64
    };
    let entries: Vec<(i64, i64)> = entries
        .chunks_exact(12)
        .map(|entry| {
            let mark = f64::from_le_bytes(entry[..8].try_into().unwrap());
            (mark as i64, u32::from_le_bytes(entry[8..].try_into().unwrap()).into())
        })
        .skip((number(7) as usize - 9) / 12)
        .collect();
    assert!(entries.is_sorted_by(|one, next| one.0 < next.0), "{entries:?}");
    assert_eq!(number(4), entries.iter().map(|(_, count)| count).sum::<i64>(), "the sum");
    State {
        epoch: number(0),
        total: number(1),
        saved: number(2),
        shift: number(3),
        limit: number(5),
        window: number(6),
        run: String::from_utf8(tail[72..].to_vec()).unwrap(),
        entries,
    }
}

/// A runtime, a server, and the script with a clock of the test.
fn scripted() -> (Runtime, Server, Scripted) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Server::start(&[]));
    let connection = runtime.block_on(server.connect());
    let scripted = runtime.block_on(async { Scripted::new(connection) });
    (runtime, server, scripted)
}

#[test]
fn script_replies_and_saves_as_the_model_for_any_requests_and_losses() {
    let (runtime, _server, scripted) = scripted();
    let cases = (prop::collection::vec(settings(), 1..3), steps());
    hold(file!(), name_of(&|| ()), cases, |(settings, steps)| {
        runtime.block_on(async {
            let mut scripted = scripted.clone();
            let (mut state, mut copy): (Option<State>, _) = (None, None);
            let mut processes: [Process; 3] = Default::default();
            let mut replies = Vec::new();
            let mut chosen = settings[0];
            for step in &steps {
                let ask = match step {
                    Step::Ask(ask) => ask,
                    Step::SetClock(parts) => {
                        scripted.clock += parts * chosen.1 / PARTS;
                        continue;
                    }
                    Step::UntilMark(index) => {
                        let entries = state.as_ref().map_or(&[][..], |state| &state.entries);
                        if let Some(index) = index.checked_rem(entries.len()) {
                            scripted.clock = entries[index].0 - state.as_ref().unwrap().shift;
                        }
                        continue;
                    }
                    Step::Restart => {
                        scripted.run += 1;
                        continue;
                    }
                    Step::Copy => {
                        let value: Option<Vec<u8>> = scripted.query(cmd("DUMP").arg("key")).await;
                        copy = value.zip(state.clone());
                        continue;
                    }
                    Step::Restore => {
                        if let Some((value, of)) = &copy {
                            let mut restore = cmd("RESTORE");
                            restore.arg("key").arg(60_000).arg(value).arg("REPLACE");
                            let () = scripted.query(&restore).await;
                            state = Some(State::clone(of));
                        }
                        continue;
                    }
                    Step::Forget => {
                        let _: i64 = scripted.query(cmd("DEL").arg("key")).await;
                        state = None;
                        continue;
                    }
                    Step::Settings(index) => {
                        chosen = settings[index % settings.len()];
                        continue;
                    }
                };
                scripted.clock += ask.after * chosen.1 / PARTS;
                let process = &mut processes[ask.process];
                let request = request(ask, process, &replies, chosen);
                let (clock, run) = (scripted.clock, scripted.run_id());
                let expected = model::apply(&mut state, clock, &run, &request.numbers());
                let replied = scripted.acquire("key", &request).await;
                prop_assert_eq!(&replied, &expected, "{:?}", request);
                let value: Option<Vec<u8>> = scripted.query(cmd("GET").arg("key")).await;
                prop_assert_eq!(value.as_deref().map(decode), state.clone());
                let size = value.map_or(0, |value| value.len());
                prop_assert!(settings.len() > 1 || size <= MAX_SIZE, "{} bytes", size);
                let ttl: i64 = scripted.query(cmd("PTTL").arg("key")).await;
                prop_assert!(ttl > 0, "a time to live of {}", ttl);

                let reply = Reply::read(&replied);
                let of_leases = reply.leases.iter().map(|lease| (lease.mark, lease.count));
                process.leases.extend(of_leases);
                process.latest = (reply.epoch, reply.total);
                replies.push(process.latest);
            }
            let _: i64 = scripted.query(cmd("DEL").arg("key")).await;
            Ok(steps.len())
        })
    });
}

#[test]
fn d10_leases_of_any_window_are_within_the_limit_though_the_clock_is_set_back() {
    let (runtime, _server, scripted) = scripted();
    let step = prop_oneof![
        20 => asks(1).prop_map(Ok),
        1 => (1..2000_i64).prop_map(Err),
    ];
    let cases = (settings(), prop::collection::vec(step, 1..80));
    hold(file!(), name_of(&|| ()), cases, |((limit, window), steps)| {
        runtime.block_on(async {
            let mut scripted = scripted.clone();
            let mut process = Process::default();
            // Times at which permits may be issued, and their number. The time is a true one, by
            // which the clock is set back.
            let (mut issues, mut time) = (Vec::new(), 0);
            for step in &steps {
                let ask = match step {
                    Ok(ask) => ask,
                    Err(parts) => {
                        scripted.clock -= parts * window / PARTS;
                        continue;
                    }
                };
                scripted.clock += ask.after * window / PARTS;
                time += ask.after * window / PARTS;
                let mut of_ask = Ask { seen: Seen::Latest, late: 0, ..ask.clone() };
                of_ask.refunds.clear();
                let request = request(&of_ask, &mut process, &[], (limit, window));
                let reply = scripted.reply("key", &request).await;
                process.latest = (reply.epoch, reply.total);
                for lease in &reply.leases {
                    let from = time + lease.delay;
                    issues.push((from, from + request.length, lease.count));
                }
            }
            let _: i64 = scripted.query(cmd("DEL").arg("key")).await;
            // The fullest window begins with the end of a lease.
            for &(_, from, _) in &issues {
                let within =
                    issues.iter().filter(|&&(at, end, _)| end >= from && at < from + window);
                let most: i64 = within.map(|(_, _, count)| count).sum();
                prop_assert!(most <= limit, "{} from {} on", most, from);
            }
            Ok(steps.len())
        })
    });
}
