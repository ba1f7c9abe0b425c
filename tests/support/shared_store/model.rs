//! The state of one key, and its steps, by the text of `src/shared/store.rs`.
//!
//! Plain lists and no concern for speed: the code is to be compared with the text line by line.

/// Permits that count until the time of the store reaches a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) mark: i64,
    pub(crate) count: i64,
}

/// The state of one key. Times are in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) epoch: i64,
    pub(crate) total: i64,
    /// The identity of the run of the server that wrote it.
    pub(crate) run: u64,
    /// The limit and the window of the latest request.
    settings: (i64, i64),
    /// In the order of their marks.
    pub(crate) entries: Vec<Entry>,
    /// The latest time, and the distance of the time from the clock.
    latest: i64,
    shift: i64,
    /// The time of the clock at which the state is forgotten.
    forgotten_at: i64,
}

/// The times for which a state is kept beyond three windows: a minute; seven days with `strict`.
const KEPT: i64 = 60_000_000;
const KEPT_STRICT: i64 = 7 * 24 * 60 * KEPT;

/// The numbers of a request by their names.
struct Request {
    limit: i64,
    window: i64,
    length: i64,
    max_length: i64,
    want: i64,
    horizon: i64,
    seen_epoch: i64,
    seen_total: i64,
    mine: i64,
    late: i64,
    is_strict: bool,
    /// Marks and counts.
    refunds: Vec<(i64, i64)>,
}

impl Request {
    fn read(numbers: &[i64]) -> Self {
        let (head, refunds) = numbers.split_at(12);
        let &[version, limit, window, length, max_length, want, horizon, ..] = head else {
            unreachable!("split before")
        };
        let &[.., seen_epoch, seen_total, mine, late, strict] = head else {
            unreachable!("split before")
        };
        // No driver may send anything else.
        assert_eq!(version, 1, "{numbers:?}");
        assert!(limit > 0 && window > 0 && length > 0, "{numbers:?}");
        assert!(length <= max_length && 2 * horizon <= window && horizon >= 0, "{numbers:?}");
        assert!(want >= 0 && seen_epoch >= 0 && seen_total >= 0, "{numbers:?}");
        assert!(mine >= 0 && late >= 0, "{numbers:?}");
        assert!(strict == 0 || strict == 1, "{numbers:?}");
        assert!(refunds.len() % 2 == 0, "{numbers:?}");
        let refunds: Vec<_> = refunds.chunks(2).map(|refund| (refund[0], refund[1])).collect();
        assert!(refunds.iter().all(|&(mark, count)| mark > 0 && count > 0), "{numbers:?}");
        Self {
            limit,
            window,
            length,
            max_length,
            want,
            horizon,
            seen_epoch,
            seen_total,
            mine,
            late,
            is_strict: strict == 1,
            refunds,
        }
    }
}

impl State {
    fn out(&self) -> i64 {
        self.entries.iter().map(|entry| entry.count).sum()
    }

    /// Adds an entry of a lease, and returns its mark.
    fn add(&mut self, request: &Request, at: i64, length: i64, count: i64) -> i64 {
        let grain = (request.window + 255) / 256;
        let end = at + length + request.window;
        let mark = (end + grain - 1) / grain * grain;
        match self.entries.last_mut() {
            Some(last) if last.mark >= mark => {
                last.count += count;
                last.mark
            }
            _ => {
                self.entries.push(Entry { mark, count });
                mark
            }
        }
    }
}

/// Applies a request to the state of a key, at the time `wall` of the clock of the server, and
/// returns the reply.
///
/// # Panics
///
/// If no driver may send the request.
pub(crate) fn apply(kept: &mut Option<State>, request: &[i64], wall: i64, run: u64) -> Vec<i64> {
    let request = Request::read(request);
    if kept.as_ref().is_some_and(|state| state.forgotten_at <= wall) {
        *kept = None;
    }
    let is_new = kept.is_none();
    let settings = (request.limit, request.window);
    let mut state = kept.clone().unwrap_or_else(|| State {
        epoch: 0,
        total: 0,
        run,
        settings,
        entries: Vec::new(),
        latest: wall,
        shift: 0,
        forgotten_at: 0,
    });
    // 1. The time.
    let now = (wall + state.shift).max(state.latest);
    let was_set_back = state.shift != now - wall;
    (state.latest, state.shift) = (now, now - wall);
    // 2. Expiry.
    state.entries.retain(|entry| entry.mark > now);
    let untouched = state.clone();
    // 3. A loss.
    let seen = (request.seen_epoch, request.seen_total);
    if is_new || state.run != run || (state.epoch, state.total) < seen {
        state.epoch = now.max(state.epoch + 1).max(request.seen_epoch + 1);
        state.run = run;
        if request.is_strict {
            state.entries.clear();
            state.add(&request, now + request.horizon, request.max_length, request.limit);
        }
    }
    // 4. The process's own permits.
    let has_other = request.seen_epoch != 0 && request.seen_epoch != state.epoch;
    if has_other && !request.is_strict && request.mine > 0 {
        state.add(&request, now + request.horizon, request.max_length, request.mine);
    }
    // 5. Refunds.
    if request.seen_epoch == state.epoch {
        for &(mark, count) in &request.refunds {
            if let Some(entry) = state.entries.iter_mut().find(|entry| entry.mark == mark) {
                entry.count -= count.min(entry.count);
            }
        }
    }
    // 6. Permits beyond the leases.
    if request.late > 0 {
        state.add(&request, now, request.length, request.late);
    }
    // 7. Leases.
    let chunk = (request.limit / 64).max(1);
    let free = (request.limit - state.out()).max(0);
    let mut left = request.want;
    let (mut leases, mut when) = (Vec::new(), 0);
    let take = left.min(free).min(chunk.max(free / 2));
    let mut available = request.limit - state.out() - take;
    let entries = state.entries.clone();
    if take > 0 {
        leases.push((0, take, state.add(&request, now, request.length, take)));
    }
    left = (left - take).min(chunk - take);
    if available <= 0 {
        for entry in entries {
            available += entry.count;
            if available <= 0 {
                continue;
            }
            let delay = entry.mark - now;
            if left <= 0 || delay > request.horizon {
                when = if leases.is_empty() { delay } else { 0 };
                break;
            }
            let count = available.min(left);
            let mark = state.add(&request, entry.mark, request.length, count);
            leases.push((delay, count, mark));
            (available, left) = (available - count, left - count);
        }
    }
    state.total += leases.iter().map(|&(_, count, _)| count).sum::<i64>();
    let is_other = state.settings != settings;
    state.settings = settings;
    let free = (request.limit - state.out()).max(0);
    let mut reply = vec![now, state.epoch, state.total, free, when, is_other.into()];
    reply.extend(leases.into_iter().flat_map(|(delay, count, mark)| [delay, count, mark]));
    // 8. A refusal writes nothing. The time would stand still after the clock was set back, so
    // that is written.
    let untouched = State { settings, ..untouched };
    if is_new || was_set_back || state != untouched {
        let beyond = if request.is_strict { KEPT_STRICT } else { KEPT };
        state.forgotten_at = wall + 3 * request.window + beyond;
        *kept = Some(state);
    }
    reply
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{State, apply};
    use crate::{
        hold::{hold, name_of},
        shared_store::oracle::most_in_any_span,
    };

    const RUN: u64 = 7;
    /// A time of the clock at which a scene begins: a multiple of the grain.
    const START: i64 = 1_000_000_000_000;

    /// A quota of 128 permits in 256 ms, whose grain is 1 ms. Times are in milliseconds.
    #[derive(Clone)]
    struct Quota {
        state: Option<State>,
        clock: i64,
        run: u64,
        is_strict: bool,
    }

    #[derive(Clone, Default)]
    struct Ask {
        want: i64,
        seen: (i64, i64),
        mine: i64,
        late: i64,
        refunds: Vec<(i64, i64)>,
    }

    #[derive(Debug, PartialEq)]
    struct Reply {
        seen: (i64, i64),
        free: i64,
        when: i64,
        /// Delays and counts.
        leases: Vec<(i64, i64)>,
        /// Since the start.
        marks: Vec<i64>,
    }

    impl Quota {
        fn new() -> Self {
            Self { state: None, clock: 0, run: RUN, is_strict: false }
        }

        fn ask(&mut self, ask: Ask) -> Reply {
            let mut request = vec![1, 128, 256_000, 4_000, 32_000, ask.want, 64_000];
            request.extend([ask.seen.0, ask.seen.1, ask.mine, ask.late, self.is_strict.into()]);
            for (mark, count) in ask.refunds {
                request.extend([START + 1000 * mark, count]);
            }
            let reply = apply(&mut self.state, &request, START + 1000 * self.clock, self.run);
            let leases = reply[6..].chunks(3);
            Reply {
                seen: (reply[1], reply[2]),
                free: reply[3],
                when: reply[4] / 1000,
                leases: leases.clone().map(|lease| (lease[0] / 1000, lease[1])).collect(),
                marks: leases.map(|lease| (lease[2] - START) / 1000).collect(),
            }
        }

        fn want(&mut self, want: i64) -> Reply {
            self.ask(Ask { want, ..Ask::default() })
        }

        /// Leases everything now: 64, 32, 16, 8, 4, 2, 2.
        fn exhaust(&mut self) {
            while self.want(1000).free > 0 {}
        }

        fn out(&self) -> i64 {
            self.state.as_ref().map_or(0, State::out)
        }
    }

    #[test]
    fn d7_lease_takes_half_of_the_free_permits_or_a_chunk() {
        let mut quota = Quota::new();
        let taken: Vec<_> = (0..7).map(|_| quota.want(1000).leases).collect();
        assert_eq!(taken, [64, 32, 16, 8, 4, 2, 2].map(|count| vec![(0, count)]));
        assert_eq!(quota.want(1).leases, []);
        assert_eq!(Quota::new().want(5).leases, [(0, 5)]);
    }

    #[test]
    fn d6_reservation_begins_at_the_mark_of_another_lease() {
        let mut quota = Quota::new();
        quota.exhaust();
        assert_eq!(quota.want(5), Reply { when: 260, ..quota.clone().want(5) });
        quota.clock = 260 - 64;
        let reply = quota.want(5);
        // Up to a chunk, from the mark on, for 4 ms and a window.
        assert_eq!((reply.leases, reply.marks), (vec![(64, 2)], vec![260 + 260]));
        // The next one counts what is reserved.
        let mut counts: Vec<_> = (0..63).map(|_| quota.want(5).leases[0].1).collect();
        counts.dedup();
        assert_eq!(counts, [2]);
        assert_eq!(quota.want(5).when, 520 - 196);
    }

    #[test]
    fn d12_refund_frees_permits_of_its_mark_and_epoch_only() {
        let mut quota = Quota::new();
        let first = quota.want(10);
        let refund = |seen, mark| Ask { seen, refunds: vec![(mark, 3)], ..Ask::default() };
        assert_eq!(first.marks, [260]);
        let other = (first.seen.0 + 1, first.seen.1);
        assert_eq!(quota.clone().ask(refund(first.seen, 261)).free, 118);
        assert_eq!(quota.clone().ask(refund(other, 260)).free, 118);
        assert_eq!(quota.clone().ask(refund(first.seen, 260)).free, 121);
        quota.clock = 260;
        quota.want(10);
        assert_eq!(quota.ask(refund(first.seen, 260)).free, 118);
    }

    #[test]
    fn d10_time_continues_after_the_clock_was_set_back() {
        let mut quota = Quota::new();
        quota.clock = 1000;
        assert_eq!(quota.want(10).marks, [1260]);
        quota.clock = 0;
        assert_eq!(quota.want(10).marks, [1260]);
        quota.clock = 100;
        assert_eq!(quota.want(10).marks, [1360]);
        // It does not stand still because of refusals.
        quota.exhaust();
        quota.clock = 0;
        assert_eq!(quota.want(10).when, 160);
        quota.clock = 50;
        assert_eq!(quota.want(10).when, 110);
    }

    #[test]
    fn d13_state_is_forgotten_after_three_windows_and_a_minute() {
        let mut quota = Quota::new();
        let first = quota.want(10);
        // A refusal is no write.
        quota.clock = 5;
        quota.want(0);
        quota.clock = 60_767;
        assert_eq!(quota.clone().want(0).seen, first.seen);
        quota.clock = 60_768;
        assert_eq!(quota.want(0).seen, (START + 60_768_000, 0));
    }

    #[test]
    fn d9_lost_state_counts_the_permits_of_a_process_again() {
        let mut quota = Quota::new();
        let seen = quota.want(10).seen;
        quota.state = None;
        let reply = quota.ask(Ask { want: 10, seen, mine: 10, ..Ask::default() });
        assert!(reply.seen.0 > seen.0 && reply.seen.1 == 10, "{reply:?}");
        // As a lease of the longest length at the horizon, behind which the new one stands.
        assert_eq!((quota.out(), reply.marks), (20, vec![64 + 32 + 256]));
        // The same history again counts nothing again.
        quota.ask(Ask { seen: reply.seen, mine: 20, ..Ask::default() });
        assert_eq!(quota.out(), 20);
    }

    #[test]
    fn d9_restart_of_the_server_begins_an_epoch_for_every_process() {
        let mut quota = Quota::new();
        let first = quota.want(10).seen;
        let second = quota.want(10).seen;
        quota.run += 1;
        let noticed = quota.ask(Ask { seen: first, mine: 10, ..Ask::default() });
        assert!(noticed.seen.0 > first.0);
        let other = quota.ask(Ask { seen: second, mine: 10, ..Ask::default() });
        assert_eq!((noticed.seen.0, quota.out()), (other.seen.0, 40));
    }

    #[test]
    fn d9_older_history_is_a_loss_however_much_it_has_leased() {
        let mut quota = Quota::new();
        quota.exhaust();
        let copy = quota.state.clone();
        let first = quota.want(0).seen;
        quota.state = None;
        let second = quota.ask(Ask { want: 1, seen: first, ..Ask::default() }).seen;
        assert!(second > first && second.1 < first.1);
        quota.state = copy;
        let third = quota.ask(Ask { seen: second, ..Ask::default() }).seen;
        assert!(third > second);
        // To a process that has not asked since, the latest history is another one, and no loss.
        assert_eq!(quota.ask(Ask { seen: first, ..Ask::default() }).seen, third);
    }

    #[test]
    fn d9_strict_state_is_full_when_it_is_new_or_lost() {
        let mut quota = Quota { is_strict: true, ..Quota::new() };
        let reply = quota.want(10);
        assert_eq!((reply.leases.len(), quota.out(), reply.when), (0, 128, 64 + 32 + 256));
        quota.clock = 64 + 32 + 256;
        let reply = quota.want(10);
        assert_eq!(reply.leases, [(0, 10)]);
        quota.run += 1;
        assert_eq!(quota.ask(Ask { seen: reply.seen, mine: 10, ..Ask::default() }).free, 0);
    }

    #[test]
    fn d2_late_permits_count_beyond_the_limit() {
        let mut quota = Quota::new();
        quota.exhaust();
        let reply = quota.ask(Ask { want: 1, late: 5, ..Ask::default() });
        assert_eq!((quota.out(), reply.free, reply.when), (133, 0, 260));
    }

    /// However the leases are used, by the time of the store: at most N in any span.
    #[test]
    fn d1_leases_of_the_model_hold_the_limit_however_they_are_used() {
        /// The time before, want, the length and the time of use, in shares of the longest.
        type Step = (i64, i64, i64, i64);
        let step = (0..300_000_i64, 0..60_i64, 1..=100_i64, 0..=100_i64);
        let steps = proptest::collection::vec(step, 1..150);
        let cases = (1..200_i64, 256_000..1_100_000_i64, steps);
        let test = |(limit, window, steps): (i64, i64, Vec<Step>)| {
            let (mut state, mut clock, mut issues) = (None, START, Vec::new());
            let max_length = window / 8;
            let taken = steps.len();
            for (wait, want, length, used) in steps {
                clock += if wait % 3 == 0 { wait } else { wait / 100 };
                let length = (max_length * length / 100).max(1);
                let head = [1, limit, window, length, max_length, want, window / 4];
                let request: Vec<_> = head.into_iter().chain([0; 5]).collect();
                let reply = apply(&mut state, &request, clock, RUN);
                for lease in reply[6..].chunks(3) {
                    let at = clock + lease[0] + length * used / 100;
                    let nanos = u64::try_from(at).unwrap() * 1000;
                    issues.extend((0..lease[1]).map(|_| nanos));
                }
            }
            issues.sort();
            let span = Duration::from_micros(u64::try_from(window).unwrap());
            let most = most_in_any_span(&issues, span);
            prop_assert!(most <= usize::try_from(limit).unwrap(), "{most} of {limit}");
            Ok(taken)
        };
        hold(file!(), name_of(&test), cases, test);
    }
}
