//! A pool that is a list.

use crate::{
    shared::pool::{Acquired, Arrived, Deadline, Outcome, Schedule, Unused},
    time::Nanos,
};

/// A request that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) request: usize,
    /// Its turn: the smallest is served first.
    pub(super) turn: i64,
    pub(super) deadline: Nanos,
}

#[derive(Debug)]
pub(super) struct Naive {
    pub(super) at_hand: Unused,
    pub(super) waiting: Vec<Waiting>,
    /// The ends of waits, by request.
    pub(super) ended: Vec<(usize, Outcome)>,
    pub(super) schedule: Schedule,
    pub(super) is_doubted: bool,
    pub(super) paused_until: Option<Nanos>,
    pub(super) low_mark: u32,
    pub(super) is_away: bool,
    pub(super) is_closed: bool,
    last: i64,
    first: i64,
}

/// What a request brings along.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) request: usize,
    pub(super) turn: Option<i64>,
    pub(super) is_first: bool,
    pub(super) now: Nanos,
    pub(super) deadline: Nanos,
    pub(super) max_queue: u32,
}

impl Naive {
    pub(super) fn new() -> Self {
        Self {
            at_hand: Unused { deadline: Deadline::at(Nanos::ZERO), count: 0 },
            waiting: Vec::new(),
            ended: Vec::new(),
            schedule: Schedule {
                number: 0,
                leases: Vec::new(),
                then: Nanos::ZERO,
                until: Nanos::ZERO,
                at_least: Nanos::ZERO,
            },
            is_doubted: false,
            paused_until: None,
            low_mark: 0,
            is_away: false,
            is_closed: false,
            last: 0,
            first: 0,
        }
    }

    pub(super) fn has_permit(&self, now: Nanos) -> bool {
        self.at_hand.count > 0 && !self.at_hand.deadline.has_passed(now)
    }

    pub(super) fn try_acquire(&mut self, now: Nanos) -> Option<Acquired> {
        let is_open = self.waiting.is_empty() && self.paused_until.is_none() && !self.is_closed;
        (is_open && self.has_permit(now)).then(|| self.acquire())
    }

    fn acquire(&mut self) -> Acquired {
        self.at_hand.count -= 1;
        let Unused { deadline, count } = self.at_hand;
        Acquired { deadline, is_low: count == self.low_mark }
    }

    /// Returns the earliest begin of a lease that covers the request behind `ahead` others.
    fn begin(&self, ahead: usize) -> Option<Nanos> {
        let leases = self.schedule.leases.iter();
        leases.flat_map(|&(begin, count)| (0..count).map(move |_| begin)).nth(ahead)
    }

    pub(super) fn expected(&self, ahead: usize) -> Nanos {
        self.begin(ahead).unwrap_or(self.schedule.then).max(self.pause_end())
    }

    pub(super) fn pause_end(&self) -> Nanos {
        self.paused_until.unwrap_or(Nanos::ZERO)
    }

    /// Returns true if a request learns that it gets no permit in time.
    fn is_late(&self, ahead: usize, now: Nanos, deadline: Nanos) -> bool {
        let Schedule { then, until, at_least, .. } = self.schedule;
        let then = if now < until { then } else { at_least };
        self.begin(ahead).unwrap_or(then).max(self.pause_end()) > deadline.max(now)
    }

    /// Returns the outcome of an arrival, and the turn of a request that waits.
    pub(super) fn arrive(&mut self, asked: Asked) -> (Option<Arrived>, Option<i64>) {
        let ahead = match (asked.turn, asked.is_first) {
            (Some(turn), _) => self.waiting.iter().filter(|of| of.turn < turn).count(),
            (None, true) => 0,
            (None, false) => self.waiting.len(),
        };
        let comes_back = asked.turn.is_some() || asked.is_first;
        let arrived = if self.is_closed {
            Arrived::Closed
        } else if ahead == 0 && self.paused_until.is_none() && self.has_permit(asked.now) {
            Arrived::Acquired(self.acquire())
        } else if self.is_away && self.paused_until.is_none() {
            Arrived::Away
        } else if !comes_back && self.waiting.len() >= asked.max_queue as usize {
            Arrived::QueueFull
        } else if self.is_late(ahead, asked.now, asked.deadline) {
            Arrived::Late(self.expected(ahead))
        } else {
            let turn = asked.turn.unwrap_or_else(|| self.turn(asked.is_first));
            let Asked { request, deadline, now, .. } = asked;
            self.is_doubted |= self.expected(ahead) > deadline.max(now);
            self.waiting.push(Waiting { request, turn, deadline });
            self.waiting.sort_by_key(|of| of.turn);
            return (None, Some(turn));
        };
        (Some(arrived), None)
    }

    fn turn(&mut self, is_first: bool) -> i64 {
        if is_first {
            self.first -= 1;
            return self.first;
        }
        self.last += 1;
        self.last
    }

    /// Serves the first request, if one waits and there is no pause.
    fn serve(&mut self, deadline: Deadline) -> bool {
        let may_serve = self.paused_until.is_none() && !self.waiting.is_empty();
        if may_serve {
            let Waiting { request, .. } = self.waiting.remove(0);
            self.ended.push((request, Outcome::Granted(deadline)));
        }
        may_serve
    }

    /// Returns the permit if it is to be refunded.
    pub(super) fn release(&mut self, deadline: Deadline, now: Nanos) -> Option<Unused> {
        let unused = Some(Unused { deadline, count: 1 });
        if deadline.has_passed(now) || self.is_closed {
            return unused;
        }
        if self.serve(deadline) {
            return None;
        }
        if self.at_hand.count == 0 {
            self.at_hand.deadline = deadline;
        }
        if self.at_hand.deadline != deadline {
            return unused;
        }
        self.at_hand.count += 1;
        None
    }

    /// Returns the permit of a request that is cancelled, if it is to be refunded.
    pub(super) fn cancel(&mut self, request: usize, now: Nanos) -> Option<Unused> {
        self.waiting.retain(|of| of.request != request);
        match self.poll(request)? {
            Outcome::Granted(deadline) => self.release(deadline, now),
            _ => None,
        }
    }

    pub(super) fn poll(&mut self, request: usize) -> Option<Outcome> {
        let index = self.ended.iter().position(|(of, _)| *of == request)?;
        Some(self.ended.remove(index).1)
    }

    pub(super) fn deliver(&mut self, mut lease: Unused) -> Option<Unused> {
        let left = self.at_hand;
        while lease.count > 0 && self.serve(lease.deadline) {
            lease.count -= 1;
        }
        self.at_hand = lease;
        (left.count > 0).then_some(left)
    }

    pub(super) fn withdraw(&mut self, now: Nanos) -> Option<Unused> {
        let Unused { deadline, count } = self.at_hand;
        let has_lapsed = count > 0 && deadline.has_passed(now);
        has_lapsed.then(|| {
            self.at_hand.count = 0;
            Unused { deadline, count }
        })
    }

    pub(super) fn set_schedule(&mut self, schedule: Schedule, now: Nanos) {
        if schedule.number < self.schedule.number {
            return;
        }
        (self.schedule, self.is_doubted) = (schedule, false);
        let mut index = 0;
        while let Some(&Waiting { request, deadline, .. }) = self.waiting.get(index) {
            let expected = self.expected(index);
            if self.is_late(index, now, deadline) {
                self.waiting.remove(index);
                self.ended.push((request, Outcome::Late(expected)));
            } else {
                self.is_doubted |= expected > deadline.max(now);
                index += 1;
            }
        }
    }

    pub(super) fn end_all(&mut self, outcome: Outcome) {
        self.ended.extend(self.waiting.drain(..).map(|of| (of.request, outcome)));
    }

    pub(super) fn end_pause(&mut self, now: Nanos) -> Option<Nanos> {
        let was_paused = self.paused_until.is_some();
        self.paused_until = self.paused_until.filter(|until| *until > now);
        if was_paused && self.paused_until.is_none() && self.is_away {
            self.end_all(Outcome::Again);
        }
        while self.has_permit(now) && self.serve(self.at_hand.deadline) {
            self.at_hand.count -= 1;
        }
        self.paused_until
    }
}
