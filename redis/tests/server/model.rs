//! The steps of a store as its documentation tells them, without a thought of their cost.

/// The largest count of one entry.
const MAX_COUNT: i64 = u32::MAX as i64;

/// The state of a quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) epoch: i64,
    pub(crate) total: i64,
    /// The latest time that was saved.
    pub(crate) saved: i64,
    /// The time that is added to the clock.
    pub(crate) shift: i64,
    pub(crate) limit: i64,
    pub(crate) window: i64,
    pub(crate) run: String,
    /// Marks and counts.
    pub(crate) entries: Vec<(i64, i64)>,
}

impl State {
    fn used_after(&self, time: i64) -> i64 {
        self.entries.iter().filter(|(mark, _)| *mark > time).map(|(_, count)| count).sum()
    }

    fn add(&mut self, from: i64, length: i64, count: i64) -> i64 {
        let grain = self.window.div_euclid(256) + i64::from(self.window % 256 > 0);
        let mark = (from + length + self.window + grain - 1) / grain * grain;
        match self.entries.last_mut() {
            Some((last, had)) if *last >= mark => {
                *had = (*had + count).min(MAX_COUNT);
                *last
            }
            _ => {
                self.entries.push((mark, count.min(MAX_COUNT)));
                mark
            }
        }
    }
}

/// A lease of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) delay: i64,
    pub(crate) count: i64,
    pub(crate) mark: i64,
}

/// Applies a request at the time `clock` of the server with the id `run`. Returns the reply.
pub(crate) fn apply(
    stored: &mut Option<State>,
    clock: i64,
    run: &str,
    request: &[i64],
) -> Vec<i64> {
    let [_, limit, window, length, max_length, want, horizon, epoch, total, mine, late, strict] =
        request[..12]
    else {
        unreachable!()
    };
    let is_strict = strict == 1;
    let is_new = stored.is_none();
    let mut is_changed = is_new;
    let mut state = stored.clone().unwrap_or(State {
        epoch: 0,
        total: 0,
        saved: 0,
        shift: 0,
        limit,
        window,
        run: run.to_owned(),
        entries: Vec::new(),
    });
    let is_other = state.limit != limit || state.window != window;
    (state.limit, state.window) = (limit, window);

    // 1. The time does not go back.
    if clock + state.shift < state.saved {
        state.shift = state.saved - clock;
        is_changed = true;
    }
    let now = clock + state.shift;

    // 2. Entries whose mark has come are removed.
    state.entries.retain(|(mark, _)| *mark > now);

    // 3. A new history.
    let is_older = (epoch, total) > (state.epoch, state.total);
    if is_new || state.run != run || is_older {
        state.epoch = now.max(state.epoch + 1).max(epoch + 1);
        run.clone_into(&mut state.run);
        is_changed = true;
        if is_strict {
            state.entries.clear();
            state.add(now + horizon, max_length, limit);
        }
    }

    // 4. Lost leases of the process.
    if epoch != 0 && epoch != state.epoch && !is_strict && mine > 0 {
        state.add(now + horizon, max_length, mine);
        is_changed = true;
    }

    // 5. Refunds.
    for refund in request[12..].chunks_exact(2) {
        let entry = state.entries.iter_mut().find(|(mark, _)| *mark == refund[0]);
        if let (true, Some((_, count))) = (epoch == state.epoch, entry) {
            let refunded = refund[1].min(*count);
            *count -= refunded;
            is_changed |= refunded > 0;
        }
    }

    // 6. Late permits.
    if late > 0 {
        state.add(now, length, late);
        is_changed = true;
    }

    // 7. Leases.
    let chunk = (limit / 64).max(1);
    let free = limit - state.used_after(now);
    let mut leases = Vec::new();
    let mut lease = |state: &mut State, from: i64, count: i64| {
        let mark = state.add(from, length, count);
        state.total += count;
        leases.push(Lease { delay: from - now, count, mark });
        count
    };
    let take = want.min(free).min((free / 2).max(chunk)).max(0);
    let mut leased = 0;
    if take > 0 {
        leased += lease(&mut state, now, take);
    }
    let mut when = 0;
    if state.used_after(now) >= limit {
        let marks: Vec<i64> = state.entries.iter().map(|(mark, _)| *mark).collect();
        for mark in marks {
            let free = limit - state.used_after(mark);
            let left = want.min(chunk) - leased;
            if free <= 0 {
                continue;
            }
            if leased == 0 && when == 0 && (left <= 0 || mark - now > horizon) {
                when = mark - now;
            }
            if left > 0 && mark - now <= horizon {
                leased += lease(&mut state, mark, free.min(left));
            }
        }
    }

    let free = (limit - state.used_after(now)).max(0);
    let mut reply = vec![now, state.epoch, state.total, free, when, i64::from(is_other)];
    reply.extend(leases.iter().flat_map(|lease| [lease.delay, lease.count, lease.mark]));
    if is_changed || !leases.is_empty() {
        state.saved = now;
        *stored = Some(state);
    }
    reply
}
