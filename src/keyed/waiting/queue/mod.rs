//! The queue of the requests that wait for their keys.
//!
//! # Where a request stands
//!
//! A request that a rule refuses waits in the *line* of the state that refused it: a slot, an
//! overflow, the common state. There is a line for each such state, and all lines stand behind one
//! lock, which only requests that wait take, and releases at a state with a line.
//!
//! - A request that waits holds no permit of any rule. In its turn it acquires of all rules or of
//!   none. If another rule refuses it then, it moves to the line of that state.
//! - Requests with the same keys at all rules form a *class*. Only the first of a class stands in a
//!   line, since the others could not proceed before it. So a rule that refuses a thousand requests
//!   of one client moves one of them.
//! - The classes of a line are grouped by *lane*: the key of the first rule of the layer that has
//!   one for them. The lanes of a line take turns, one request each: a line of a rule that many
//!   clients share is served round robin over the clients. Within a lane, order is by arrival. In
//!   the line of a slot of the first rule there is one lane.
//!
//! # The life of a request
//!
//! ```text
//!            acquires                                  is polled
//! arrives ------------------------------------------------------------> has its permits
//!    |                       acquires in its turn           |
//!    |  queues      +---------------> granted --------------+
//!    v              |                    |
//! waits at a state -+                    | is not polled until its deadline, and GRACE more
//!    |   ^          |                    v
//!    +---+          +---------------> rejected --------------------------> is polled, and gone
//!  another rule       deadline, window tells of a later time, table full
//!  refuses it
//! ```
//!
//! A drop leaves any of these states: a request that waits leaves its line, one with permits
//! refunds them. Its entry stays until it is polled or dropped.
//!
//! # The flag
//!
//! A state has a line exactly while the flag [`QUEUED`](crate::keyed::table::counts::QUEUED) of its
//! counter word is set. Both change under the lock.
//!
//! ```text
//!                 set_queued: the first request is refused, then tried once more
//!            +--------------------------------------------------------------+
//!            |                                                              v
//!   open: newcomers acquire                          queued: newcomers take the lock, and
//!            ^                                       releases tell the queue
//!            |                                                              |
//!            +--------------------------------------------------------------+
//!                 close: the last request of the line is granted, rejected or gone
//! ```
//!
//! - Newcomers of that state are refused by the flag, and join the line. Requests of other keys
//!   find no flag, and take no lock.
//! - A task that releases permits of the state (a response, a refund, an expiry, a `forget`) finds
//!   the flag in the word that it changes, and *advances* the line. If the flag is set after the
//!   release, then the task that sets it finds the permits, because it tries once more behind the
//!   flag. An expiry on the way of a decision about another key is noted
//!   ([`Freed`]), and told when the decision is made.
//! - A state with the flag is live, so no key takes its slot. An overflow with the flag is not
//!   copied to a slot, so its keys stay in its line.
//!
//! # Grants
//!
//! The task that advances a line acquires for the first request of the line, and goes on until the
//! state refuses one. It stores the permits in the entry of the request, and wakes its task once.
//! So a task that is slow to poll holds up no other. A permit that is granted is as uncommitted
//! as any other, and a drop of the request releases it. If the request is not polled until its
//! deadline, and [`GRACE`] more, then the permits are taken back for those behind it.
//!
//! In its turn, a request is refused by the flags of other states, except of those in whose line it
//! would be the first one, too. Without the exception, a request that came before the first ones of
//! two lines would move from the one to the other and back, without an end.
//!
//! A line that a step leaves has no room for its first request. So if a state has room while
//! another rule is in the way of all that wait there, they all move in one step. A response frees
//! all rules before the queue is told of any, and so moves none between them.
//!
//! # Time
//!
//! Each line has a time at which its state is expected to have room, and each request a deadline.
//! One refill task for each runtime with requests, as for a rate limit, advances the lines that are
//! due and rejects the requests whose deadline has passed. The alternative, a timer in each
//! request, makes a line depend on the progress of its first request, and costs an allocation and
//! two turns of the timer wheel each.
//!
//! # Races
//!
//! The models of `tests/models/keyed` run this queue and the key table in all interleavings of two
//! threads:
//!
//! - *A newcomer is refused, and the state gets room before it has the lock.* It is decided again
//!   behind the lock, and once more behind the flag. So with a release, a refund, a `forget`, and
//!   an expiry by a reading, by a commit, or by a claim of a slot.
//! - *A slot is claimed for another key before the flag is set.* As for an acquisition: a state
//!   with the flag keeps its key, so the fingerprint is looked up behind the flag.
//! - *A request of another key has acquired in the slot before it saw that the slot was claimed.*
//!   The request of the key is refused, and waits. The other one undoes its acquisition, finds the
//!   flag, and the line is advanced.
//! - *An overflow is copied before the flag is set there.* Behind the flag, a slot of the key is
//!   looked up. If the copy comes later, it finds the flag, and is not made.
//! - *A newcomer decides between a release and the grant.* The flag refuses it.
//! - *A request leaves while permits are released for it.* They are granted to the next one, or to
//!   a newcomer that has found the flag.
//! - *A request tries the rules in its turn while a newcomer decides.* The newcomer may find
//!   permits gone that are undone a moment later. It takes the lock then, and is decided again.
//! - *An expiry has changed the log, and not yet the counter word, while the time of a line is
//!   worked out.* The time is too late. The counter word is changed later, finds the flag, and the
//!   line is advanced.
//! - *A task stalls while it makes a slot for the key.* The request is polled again.
//!
//! # Limits of the design
//!
//! - Keys in an overflow stay there while a request of one of them waits or is in flight, though a
//!   slot may be idle: see [the table](crate::keyed::table).
//! - A step that moves requests takes as long as there are requests to move, behind the lock.

mod runtimes;
mod slots;
mod wakes;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, mem,
    task::{Poll, Waker},
    time::Duration,
};

use tokio::runtime::Id;

pub(in crate::keyed) use self::wakes::Wakes;
use self::{runtimes::Runtimes, slots::Slots};
use crate::{
    keyed::{
        Clock,
        lanes::DECISIONS,
        rule::{
            list::MAX_RULES,
            state::{Denial, Held, RuleState, Target, Want, Why},
        },
        table::{Freed, Place, Refused, limits::Ask, state::Now},
    },
    rejected::{Limit, Reason, Rejected, RuleReason},
    time::{GRACE, Nanos, TICK},
};

/// The bounds of a layer that waits.
#[derive(Clone, Copy, Debug)]
pub(in crate::keyed) struct QueueBounds {
    pub(in crate::keyed) max_wait: Duration,
    pub(in crate::keyed) max_queue_per_key: u32,
    pub(in crate::keyed) max_queue: u32,
}

impl QueueBounds {
    pub(in crate::keyed) fn fmt_fields(&self, f: &mut fmt::DebugStruct<'_, '_>) {
        f.field("max_wait", &self.max_wait)
            .field("max_queue_per_key", &self.max_queue_per_key)
            .field("max_queue", &self.max_queue);
    }
}

/// The number of the entry of a request.
pub(in crate::keyed) type WaiterId = u32;
type ClassId = u32;
type LineId = u32;

/// The key by which requests take turns: a rule, and its key.
type Lane = (usize, Target);

/// A step on the queue, under its lock.
pub(in crate::keyed) struct Step<'a> {
    pub(in crate::keyed) states: &'a [RuleState],
    pub(in crate::keyed) now: Now<'a, Clock>,
    pub(in crate::keyed) wakes: &'a mut Wakes,
}

/// A request that was denied without the lock.
pub(in crate::keyed) struct Arrival<'a> {
    pub(in crate::keyed) wants: [Want; MAX_RULES],
    /// The rule that has denied it.
    pub(in crate::keyed) first: usize,
    pub(in crate::keyed) bounds: &'a QueueBounds,
    pub(in crate::keyed) since: Nanos,
    pub(in crate::keyed) deadline: Nanos,
    /// The deadline of the request itself.
    pub(in crate::keyed) request_end: Option<Nanos>,
    /// Taken if the request waits. Otherwise it is dropped after the lock: a waker is foreign code.
    pub(in crate::keyed) waker: &'a mut Option<Waker>,
    pub(in crate::keyed) runtime: Option<Id>,
}

impl Arrival<'_> {
    /// Returns true if a permit after `wait` comes too late.
    fn is_late(&self, wait: Duration, now: Nanos) -> bool {
        is_late(wait, now, self.deadline, self.request_end)
    }
}

/// The outcome of an arrival.
pub(in crate::keyed) enum Joined {
    Acquired(Granted),
    Queued {
        id: WaiterId,
        is_task_missing: bool,
    },
    /// The request would wait outside of a runtime.
    NoRuntime,
    /// Another task stalls while it makes a slot for the key. The request arrives once more.
    Stalled,
}

/// The permits that a request has acquired of all rules.
#[derive(Clone, Copy)]
pub(in crate::keyed) struct Granted {
    pub(in crate::keyed) held: [Held; MAX_RULES],
    /// By rules in a dry run, why they would have rejected it. Of rules after the first that has
    /// denied the request: those before it were counted then.
    pub(in crate::keyed) passed: [Option<RuleReason>; MAX_RULES],
}

/// A rejection, and the rule that rejects.
pub(in crate::keyed) struct RejectedBy {
    pub(in crate::keyed) rule: usize,
    pub(in crate::keyed) rejected: Rejected,
}

pub(in crate::keyed) type Outcome = Result<Granted, RejectedBy>;

/// The entry of a request.
struct Waiter {
    class: ClassId,
    /// The number of the arrival.
    ticket: u64,
    asks: [Ask; MAX_RULES],
    first: usize,
    since: Nanos,
    deadline: Nanos,
    request_end: Option<Nanos>,
    runtime: Option<Id>,
    /// `None` until the arrival is over, and from the end on.
    waker: Option<Waker>,
    /// The end of the wait. The entry stays until it is taken.
    outcome: Option<Outcome>,
}

/// Requests with the same keys at all rules.
struct Class {
    targets: [Target; MAX_RULES],
    lane: Lane,
    line: LineId,
    /// By ticket. The first one stands in the line.
    members: BTreeMap<u64, WaiterId>,
    /// The permits that the members want, by rule.
    costs: [u64; MAX_RULES],
}

/// The requests that a state has refused.
struct Line {
    rule: usize,
    place: Place,
    /// The lanes by their turns.
    turns: BTreeMap<u64, Lane>,
    next_turn: u64,
    groups: BTreeMap<Lane, Group>,
    /// The time at which the first request may have room.
    due: Nanos,
    /// Requests in flight are in the way.
    is_busy: bool,
}

/// The classes of a line with one lane.
struct Group {
    turn: u64,
    /// By the tickets of their first members.
    classes: BTreeMap<u64, ClassId>,
    /// The permits that all members of the classes want of the rule of the line.
    cost: u64,
}

impl Line {
    /// Returns a number of permits that are acquired before those of a newcomer: those of its lane,
    /// and one for each other lane.
    fn ahead_of(&self, lane: Lane) -> u64 {
        match self.groups.get(&lane) {
            Some(group) => group.cost + self.groups.len() as u64 - 1,
            None => self.groups.len() as u64,
        }
    }
}

/// The turn of a request, which is the first one of a line.
struct Turn {
    rule: usize,
    place: Place,
    lane: Lane,
    ticket: u64,
}

/// The queue of a layer.
#[derive(Default)]
pub(in crate::keyed) struct Queue {
    waiters: Slots<Waiter>,
    classes: Slots<Class>,
    lines: Slots<Line>,
    class_of: BTreeMap<[Target; MAX_RULES], ClassId>,
    line_at: BTreeMap<(usize, Place), LineId>,
    /// The numbers of requests that wait.
    lanes: BTreeMap<Lane, u32>,
    waiting: u32,
    /// The lines by the times at which they are due.
    dues: BTreeSet<(Nanos, LineId)>,
    /// The requests by their deadlines, and those that were granted permits by the times at which
    /// they lose them.
    ends: BTreeSet<(Nanos, WaiterId)>,
    next_ticket: u64,
    runtimes: Runtimes,
    /// Lines that are to be advanced in this step.
    changed: Vec<LineId>,
}

impl Queue {
    // --- Steps.

    /// Queues a request that was denied, unless it acquires now or is rejected.
    pub(in crate::keyed) fn join(
        &mut self,
        arrival: Arrival<'_>,
        step: &mut Step<'_>,
    ) -> Result<Joined, RejectedBy> {
        let targets = arrival.wants.map(|want| want.target);
        let asks = arrival.wants.map(|want| want.ask);
        let id = match self.class_of.get(&targets) {
            Some(&class) => {
                let Line { rule, place, .. } = self.lines[self.classes[class].line];
                let is_busy = self.lines[self.classes[class].line].is_busy;
                self.check(&arrival, rule, place, is_busy, step)?;
                if arrival.runtime.is_none() {
                    return Ok(Joined::NoRuntime);
                }
                self.insert(class, &arrival, asks)
            }
            None => match self.enter(&arrival, targets, asks, step)? {
                Ok(joined) => return Ok(joined),
                Err(id) => id,
            },
        };
        // Also for what the newcomer has expired before it found the flag.
        let line = self.classes[self.waiters[id].class].line;
        self.advance(line, step);
        if self.waiters[id].outcome.is_some() {
            let waiter = self.remove(id);
            return waiter.outcome.map_or(Ok(Joined::NoRuntime), |it| it.map(Joined::Acquired));
        }
        let waiter = &mut self.waiters[id];
        (waiter.waker, waiter.runtime) = (arrival.waker.take(), arrival.runtime);
        let is_task_missing =
            waiter.runtime.is_some_and(|runtime| self.runtimes.add_waiter(runtime));
        Ok(Joined::Queued { id, is_task_missing })
    }

    /// Queues the first request of its class.
    fn enter(
        &mut self,
        arrival: &Arrival<'_>,
        targets: [Target; MAX_RULES],
        asks: [Ask; MAX_RULES],
        step: &mut Step<'_>,
    ) -> Result<Result<Joined, WaiterId>, RejectedBy> {
        for _ in 0..DECISIONS {
            let (rule, refused) = match self.acquire(&targets, &asks, arrival.first, None, step) {
                Ok(granted) => return Ok(Ok(Joined::Acquired(granted))),
                Err(refused) => refused,
            };
            let (place, is_busy) = match refused {
                Refused::Full { place } | Refused::Paused(place) => (place, false),
                Refused::Busy(place) => (place, true),
                Refused::Queued(place) => {
                    let line = self.line_at.get(&(rule, place));
                    (place, line.is_some_and(|line| self.lines[*line].is_busy))
                }
                Refused::Stalled => continue,
                Refused::NoSlot => return Err(deny(rule, refused, asks[rule], step)),
            };
            self.check(arrival, rule, place, is_busy, step)?;
            if arrival.runtime.is_none() {
                return Ok(Ok(Joined::NoRuntime));
            }
            if !step.states[rule].set_queued(place, targets[rule]) {
                continue;
            }
            let line = self.line(rule, place);
            let (lane, members) = (lane_of(&targets), BTreeMap::new());
            let costs = [0; MAX_RULES];
            let class = self.classes.insert(Class { targets, lane, line, members, costs });
            self.class_of.insert(targets, class);
            return Ok(Err(self.insert(class, arrival, asks)));
        }
        Ok(Ok(Joined::Stalled))
    }

    /// Polls the entry of a request. Swaps its waker with `waker` while it waits. The flag tells
    /// that `runtime` has no task: the caller spawns it.
    pub(in crate::keyed) fn poll(
        &mut self,
        id: WaiterId,
        waker: &mut Option<Waker>,
        runtime: Option<Id>,
        wakes: &mut Wakes,
    ) -> (Poll<Outcome>, bool) {
        let waiter = &mut self.waiters[id];
        if let Some(outcome) = waiter.outcome.take() {
            self.remove(id);
            return (Poll::Ready(outcome), false);
        }
        mem::swap(&mut waiter.waker, waker);
        let before = mem::replace(&mut waiter.runtime, runtime);
        // In this order: the task of a runtime that stays the same does not lose its last request.
        let is_missing = runtime.is_some_and(|runtime| self.runtimes.add_waiter(runtime));
        before.into_iter().for_each(|before| self.runtimes.remove_waiter(before, wakes));
        (Poll::Pending, is_missing)
    }

    /// Removes the entry of a request. Returns the permits that it was granted, which the caller
    /// releases after the lock, and its waker.
    pub(in crate::keyed) fn cancel(
        &mut self,
        id: WaiterId,
        step: &mut Step<'_>,
    ) -> (Option<Granted>, Option<Waker>) {
        if self.waiters[id].outcome.is_none() {
            let line = self.classes[self.waiters[id].class].line;
            self.leave(id, step.wakes);
            self.advance(line, step);
        }
        let Waiter { outcome, waker, .. } = self.remove(id);
        (outcome.and_then(Result::ok), waker)
    }

    /// Advances the lines of the states at which permits were freed. Returns false if they have
    /// none.
    pub(in crate::keyed) fn advance_at(
        &mut self,
        rule: usize,
        freed: Freed,
        step: &mut Step<'_>,
    ) -> bool {
        let has_line = self.note(rule, freed);
        self.advance_changed(step);
        has_line
    }

    /// Ends a step: advances the lines at which it has freed permits, and wakes the tasks that
    /// would be late by the times of now.
    pub(in crate::keyed) fn finish(&mut self, step: &mut Step<'_>) {
        self.advance_changed(step);
        if self.waiting == 0 {
            self.changed = Vec::new(); // its memory, too
        }
        let next = self.next();
        self.runtimes.rearm(next, step.wakes);
    }

    /// Advances the lines that are due, and rejects the requests whose deadlines have passed, for
    /// the task of `runtime`. Returns the time of its next poll, or `None` without a request.
    pub(in crate::keyed) fn attend(
        &mut self,
        runtime: Id,
        task: &mut Option<Waker>,
        step: &mut Step<'_>,
    ) -> Option<Nanos> {
        let now = step.now.get();
        while let Some(&(_, line)) = self.dues.first().filter(|(due, _)| *due <= now) {
            self.set_due(line, Nanos::NEVER);
            self.advance(line, step);
        }
        while let Some(&(_, id)) = self.ends.first().filter(|(end, _)| *end <= now) {
            if self.waiters[id].outcome.is_some() {
                self.take_back(id, step);
                continue;
            }
            let line = self.classes[self.waiters[id].class].line;
            let rejected = self.time_out(id, step);
            self.end(id, Err(rejected), step.wakes);
            self.advance(line, step);
        }
        self.advance_changed(step);
        let next = self.next();
        // Later than now: timers resolve a tick.
        self.runtimes.attended(runtime, next, task).then_some(next.max(now.after(TICK)))
    }

    /// Wakes the requests of a runtime whose task is gone.
    pub(in crate::keyed) fn abandon(&mut self, runtime: Id, wakes: &mut Wakes) {
        self.runtimes.abandon(runtime, wakes);
        for waiter in self.waiters.iter_mut().filter(|waiter| waiter.runtime == Some(runtime)) {
            // It is polled, and leaves another one.
            waiter.waker.take().into_iter().for_each(|waker| wakes.push(waker));
        }
    }

    fn next(&self) -> Nanos {
        let due = self.dues.first().map_or(Nanos::NEVER, |(due, _)| *due);
        self.ends.first().map_or(due, |(end, _)| due.min(*end))
    }

    // --- Lines.

    /// Acquires for the first requests of a line, until its state refuses one. The same for the
    /// lines to which it moves requests.
    fn advance(&mut self, line: LineId, step: &mut Step<'_>) {
        self.changed.push(line);
        self.advance_changed(step);
    }

    fn advance_changed(&mut self, step: &mut Step<'_>) {
        while let Some(line) = self.changed.pop() {
            if self.lines.get(line).is_some() {
                while self.advance_first(line, step) {}
            }
        }
    }

    /// Has the lines of states advanced at which permits were freed. Returns false without one.
    fn note(&mut self, rule: usize, freed: Freed) -> bool {
        let before = self.changed.len();
        match freed {
            Freed::Nothing => {}
            Freed::At(place) => self.changed.extend(self.line_at.get(&(rule, place))),
            Freed::Several => {
                let of_rule = self.line_at.iter().filter(|((of, _), _)| *of == rule);
                self.changed.extend(of_rule.map(|(_, line)| *line));
            }
        }
        self.changed.len() > before
    }

    /// Acquires for the first request of a line. Returns false if the state refuses it, or if there
    /// is none.
    fn advance_first(&mut self, line: LineId, step: &mut Step<'_>) -> bool {
        let of = &self.lines[line];
        let own = (of.rule, of.place);
        let Some((_, &lane)) = of.turns.first_key_value() else {
            self.close(line, step);
            return false;
        };
        let (&ticket, &class) = of.groups[&lane].classes.first_key_value().expect("a class");
        let Class { targets, members, .. } = &self.classes[class];
        let (targets, id) = (*targets, members[&ticket]);
        let Waiter { asks, first, .. } = self.waiters[id];
        let turn = Turn { rule: own.0, place: own.1, lane, ticket };
        let (rule, refused) = match self.acquire(&targets, &asks, first, Some(turn), step) {
            Ok(granted) => {
                self.end(id, Ok(granted), step.wakes);
                return true;
            }
            Err(refused) => refused,
        };
        let ask = asks[rule];
        match refused {
            Refused::NoSlot => {
                let rejected = deny(rule, refused, ask, step);
                self.end(id, Err(rejected), step.wakes);
                true
            }
            Refused::Stalled => {
                self.set_due(line, step.now.get().after(TICK));
                false
            }
            Refused::Full { place }
            | Refused::Busy(place)
            | Refused::Queued(place)
            | Refused::Paused(place) => {
                let is_busy = matches!(refused, Refused::Busy(_));
                if (rule, place) == own {
                    self.lines[line].is_busy = is_busy;
                    let wait = step.states[rule].wait(place, ask, &mut step.now);
                    // Looked at once more if permits are committed later than that. There is room
                    // by now if there is no wait: a pause has ended since.
                    let due = match wait {
                        _ if is_busy => Nanos::NEVER,
                        wait => step.now.get().after(wait.unwrap_or(TICK).max(TICK)),
                    };
                    self.set_due(line, due);
                    return false;
                }
                self.move_class(class, rule, place, step);
                true
            }
        }
    }

    /// Moves a class to the line of the state that has refused its first request, unless the state
    /// need not be waited for, or the window tells that the wait is too long.
    fn move_class(&mut self, class: ClassId, rule: usize, place: Place, step: &mut Step<'_>) {
        let Class { targets, lane, ref members, .. } = self.classes[class];
        let (&ticket, &id) = members.first_key_value().expect("a member");
        let Waiter { asks, deadline, request_end, .. } = self.waiters[id];
        let ahead =
            self.line_at.get(&(rule, place)).map_or(0, |line| self.lines[*line].ahead_of(lane));
        let wait = step.states[rule].wait_behind(place, asks[rule], ahead, &mut step.now);
        if wait.is_some_and(|wait| is_late(wait, step.now.get(), deadline, request_end)) {
            let state = &step.states[rule];
            let rejected = state.rejection(Limit::Rate, Reason::WaitTimeout, wait, Some(place));
            self.end(id, Err(RejectedBy { rule, rejected }), step.wakes);
        } else if step.states[rule].set_queued(place, targets[rule]) {
            self.detach(class, ticket);
            let line = self.line(rule, place);
            self.attach(class, line);
            // Once for all that move there.
            if self.changed.last() != Some(&line) {
                self.changed.push(line);
            }
        }
    }

    /// Returns the line of a state whose flag is set.
    fn line(&mut self, rule: usize, place: Place) -> LineId {
        let Self { lines, line_at, .. } = self;
        *line_at.entry((rule, place)).or_insert_with(|| {
            let (turns, groups) = (BTreeMap::new(), BTreeMap::new());
            let (due, is_busy) = (Nanos::NEVER, false);
            lines.insert(Line { rule, place, turns, next_turn: 0, groups, due, is_busy })
        })
    }

    /// Removes a line without requests.
    fn close(&mut self, line: LineId, step: &Step<'_>) {
        self.set_due(line, Nanos::NEVER);
        let Line { rule, place, .. } = self.lines.remove(line);
        self.line_at.remove(&(rule, place));
        step.states[rule].clear_queued(place);
    }

    fn set_due(&mut self, line: LineId, due: Nanos) {
        let before = mem::replace(&mut self.lines[line].due, due);
        self.dues.remove(&(before, line));
        if due != Nanos::NEVER {
            self.dues.insert((due, line));
        }
    }

    // --- Decisions.

    /// Acquires of all rules or of none, for a newcomer or for a request whose turn it is.
    fn acquire(
        &mut self,
        targets: &[Target; MAX_RULES],
        asks: &[Ask; MAX_RULES],
        first: usize,
        turn: Option<Turn>,
        step: &mut Step<'_>,
    ) -> Result<Granted, (usize, Refused)> {
        let Step { states, now, .. } = step;
        let mut held = [Held::NOTHING; MAX_RULES];
        let mut passed = [None; MAX_RULES];
        for (rule, state) in states.iter().enumerate() {
            let (target, ask) = (targets[rule], asks[rule]);
            let acquired = match &turn {
                Some(turn) if turn.rule == rule => state.acquire_in_turn(turn.place, ask, now),
                turn => match state.acquire(Want { target, ask }, now) {
                    // Its turn there, too: if it moved, it would be refused by the flag of here.
                    Err(Refused::Queued(place))
                        if turn.as_ref().is_some_and(|turn| self.is_first(turn, rule, place)) =>
                    {
                        state.acquire_in_turn(place, ask, now)
                    }
                    acquired => acquired,
                },
            };
            self.note(rule, now.take_freed());
            match acquired {
                Ok(permits) => held[rule] = permits,
                Err(refused) if state.is_dry_run() => {
                    passed[rule] = (rule > first).then(|| Why::Refused(refused).reason());
                }
                Err(refused) => {
                    // Other rules have no line here, and the caller advances its own.
                    for (state, held) in states.iter().zip(held) {
                        let _ = state.undo(held);
                    }
                    return Err((rule, refused));
                }
            }
        }
        Ok(Granted { held, passed })
    }

    /// Returns true if a request would be the first one of another line.
    fn is_first(&self, turn: &Turn, rule: usize, place: Place) -> bool {
        self.line_at.get(&(rule, place)).is_some_and(|line| {
            let Line { turns, groups, .. } = &self.lines[*line];
            turns.first_key_value().is_some_and(|(_, lane)| {
                let is_before = |group: &Group| {
                    group.classes.first_key_value().is_some_and(|(first, _)| turn.ticket < *first)
                };
                *lane == turn.lane && is_before(&groups[lane])
            })
        })
    }

    /// Rejects a newcomer that finds the queue full, or that would wait for too long.
    fn check(
        &mut self,
        arrival: &Arrival<'_>,
        rule: usize,
        place: Place,
        is_busy: bool,
        step: &mut Step<'_>,
    ) -> Result<(), RejectedBy> {
        let Arrival { wants, bounds, .. } = arrival;
        let lane = lane_of(&wants.map(|want| want.target));
        let ahead =
            self.line_at.get(&(rule, place)).map_or(0, |line| self.lines[*line].ahead_of(lane));
        let Step { states, now, .. } = step;
        let own = states[rule].wait_behind(place, wants[rule].ask, ahead, now);
        let mut wait = own;
        for (other, state) in states.iter().enumerate().filter(|(other, _)| *other != rule) {
            wait = wait.max(state.look(wants[other], now));
            self.note(other, now.take_freed());
        }
        let in_lane = self.lanes.get(&lane).copied().unwrap_or(0);
        let is_full = self.waiting >= bounds.max_queue || in_lane >= bounds.max_queue_per_key;
        let is_late = wait.is_some_and(|wait| arrival.is_late(wait, now.get()));
        let reason = match () {
            () if is_full => Reason::QueueFull,
            () if is_late || bounds.max_wait.is_zero() => Reason::WaitTimeout,
            () => return Ok(()),
        };
        let is_of_window = wait.is_some() && (is_late || !is_busy);
        let (limit, wait) =
            if is_of_window { (Limit::Rate, wait) } else { (Limit::Concurrency, None) };
        let rejected = states[rule].rejection(limit, reason, wait, Some(place));
        Err(RejectedBy { rule, rejected })
    }

    /// Returns the rejection of a request whose deadline has passed.
    fn time_out(&self, id: WaiterId, step: &mut Step<'_>) -> RejectedBy {
        let waiter = &self.waiters[id];
        let Line { rule, place, is_busy, .. } = self.lines[self.classes[waiter.class].line];
        let state = &step.states[rule];
        let wait = state.wait(place, waiter.asks[rule], &mut step.now);
        let wait = if is_busy { None } else { wait };
        let limit = if wait.is_some() { Limit::Rate } else { Limit::Concurrency };
        let rejected = state.rejection(limit, Reason::WaitTimeout, wait, Some(place));
        RejectedBy { rule, rejected }
    }

    // --- Members.

    /// Adds a request to a class, as its last member.
    fn insert(
        &mut self,
        class: ClassId,
        arrival: &Arrival<'_>,
        asks: [Ask; MAX_RULES],
    ) -> WaiterId {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let Arrival { first, since, deadline, request_end, .. } = *arrival;
        let (runtime, waker, outcome) = (None, None, None);
        let waiter = Waiter {
            class,
            ticket,
            asks,
            first,
            since,
            deadline,
            request_end,
            runtime,
            waker,
            outcome,
        };
        let id = self.waiters.insert(waiter);
        self.ends.insert((deadline, id));
        self.waiting += 1;
        let of = &mut self.classes[class];
        let (line, lane, is_first) = (of.line, of.lane, of.members.is_empty());
        of.members.insert(ticket, id);
        of.costs.iter_mut().zip(asks).for_each(|(cost, ask)| *cost += u64::from(ask.cost));
        *self.lanes.entry(lane).or_default() += 1;
        if is_first {
            self.attach(class, line);
        } else {
            let of = &mut self.lines[line];
            let cost = u64::from(asks[of.rule].cost);
            of.groups.get_mut(&lane).expect("a group").cost += cost;
        }
        id
    }

    /// Puts a class into a line, by its first member. A lane that is new to the line has the last
    /// turn.
    fn attach(&mut self, class: ClassId, line: LineId) {
        let of = &mut self.classes[class];
        of.line = line;
        let (&ticket, _) = of.members.first_key_value().expect("a member");
        let Line { rule, turns, next_turn, groups, .. } = &mut self.lines[line];
        let group = groups.entry(of.lane).or_insert_with(|| {
            let turn = *next_turn;
            *next_turn += 1;
            turns.insert(turn, of.lane);
            Group { turn, classes: BTreeMap::new(), cost: 0 }
        });
        group.classes.insert(ticket, class);
        group.cost += of.costs[*rule];
    }

    /// Takes a class out of its line, in which it stands by `ticket`.
    fn detach(&mut self, class: ClassId, ticket: u64) {
        let of = &self.classes[class];
        let Line { rule, turns, groups, .. } = &mut self.lines[of.line];
        let group = groups.get_mut(&of.lane).expect("a group");
        group.classes.remove(&ticket);
        group.cost -= of.costs[*rule];
        if group.classes.is_empty() {
            turns.remove(&group.turn);
            groups.remove(&of.lane);
        }
    }

    /// Ends a wait: the outcome is stored, and the task woken. A lane whose request is granted has
    /// had its turn.
    fn end(&mut self, id: WaiterId, outcome: Outcome, wakes: &mut Wakes) {
        if outcome.is_ok() {
            let Class { lane, line, .. } = self.classes[self.waiters[id].class];
            let Line { turns, next_turn, groups, .. } = &mut self.lines[line];
            let group = groups.get_mut(&lane).expect("a group");
            turns.remove(&group.turn);
            (group.turn, *next_turn) = (*next_turn, *next_turn + 1);
            turns.insert(group.turn, lane);
        }
        self.leave(id, wakes);
        let waiter = &mut self.waiters[id];
        if outcome.is_ok() {
            self.ends.insert((end_of_grant(waiter.deadline), id));
        }
        waiter.outcome = Some(outcome);
        waiter.waker.take().into_iter().for_each(|waker| wakes.push(waker));
    }

    /// Removes the entry of a request that does not wait any more.
    fn remove(&mut self, id: WaiterId) -> Waiter {
        let waiter = self.waiters.remove(id);
        self.ends.remove(&(end_of_grant(waiter.deadline), id));
        waiter
    }

    /// Takes back the permits of a request that has not taken them in its time.
    fn take_back(&mut self, id: WaiterId, step: &mut Step<'_>) {
        let Waiter { first, deadline, ref mut outcome, .. } = self.waiters[id];
        self.ends.remove(&(end_of_grant(deadline), id));
        let state = &step.states[first];
        let rejected = state.rejection(Limit::Rate, Reason::WaitTimeout, None, None);
        let rejected = RejectedBy { rule: first, rejected };
        if let Some(Ok(granted)) = outcome.replace(Err(rejected)) {
            for (rule, (state, held)) in step.states.iter().zip(granted.held).enumerate() {
                let freed = state.undo(held);
                self.note(rule, freed);
            }
        }
    }

    /// Takes a request out of its class. The next member stands in the line then.
    fn leave(&mut self, id: WaiterId, wakes: &mut Wakes) {
        let Waiter { class, ticket, asks, deadline, ref mut runtime, .. } = self.waiters[id];
        if let Some(runtime) = runtime.take() {
            self.runtimes.remove_waiter(runtime, wakes);
        }
        self.ends.remove(&(deadline, id));
        self.waiting -= 1;
        let of = &mut self.classes[class];
        let (lane, line) = (of.lane, of.line);
        if let Some(waiting) = self.lanes.get_mut(&lane) {
            *waiting -= 1;
            if *waiting == 0 {
                self.lanes.remove(&lane);
            }
        }
        let (&first, _) = of.members.first_key_value().expect("a member");
        if of.members.len() == 1 {
            self.detach(class, ticket);
            let Class { targets, .. } = self.classes.remove(class);
            self.class_of.remove(&targets);
            return;
        }
        of.members.remove(&ticket);
        of.costs.iter_mut().zip(asks).for_each(|(cost, ask)| *cost -= u64::from(ask.cost));
        let (&next, _) = of.members.first_key_value().expect("a member");
        let of = &mut self.lines[line];
        let cost = u64::from(asks[of.rule].cost);
        let group = of.groups.get_mut(&lane).expect("a group");
        group.cost -= cost;
        if first != next {
            group.classes.remove(&first);
            group.classes.insert(next, class);
        }
    }

    /// Returns the number of requests that wait at a rule, and the time at which the first of them
    /// has arrived.
    pub(in crate::keyed) fn waiting_at(&self, rule: usize) -> (u32, Option<Nanos>) {
        let at = |class: &&Class| self.lines[class.line].rule == rule;
        let classes = || self.classes.iter().filter(at);
        let count = classes().map(|class| class.members.len() as u32).sum();
        // The members of a class are in the order of their arrival.
        let first = classes().filter_map(|class| class.members.first_key_value());
        (count, first.map(|(_, id)| self.waiters[*id].since).min())
    }
}

/// Returns the time until which a permit is kept for a request that was granted it: its task may be
/// polled late.
fn end_of_grant(deadline: Nanos) -> Nanos {
    deadline.after(GRACE)
}

/// Returns true if a permit after `wait` comes too late, for the wait or for the request itself.
fn is_late(wait: Duration, now: Nanos, deadline: Nanos, request_end: Option<Nanos>) -> bool {
    let at = now.after(wait);
    // A timer may fire a tick late.
    at > deadline || request_end.is_some_and(|end| at.after(TICK) >= end)
}

/// Returns the lane of a request: its first key, in the order of the rules.
fn lane_of(targets: &[Target; MAX_RULES]) -> Lane {
    let is_key = |(_, target): &(usize, &Target)| matches!(target, Target::Key(_));
    let key = targets.iter().enumerate().find(is_key);
    key.map_or((0, Target::Common), |(rule, target)| (rule, *target))
}

/// Rejects a request that need not wait.
fn deny(rule: usize, refused: Refused, ask: Ask, step: &mut Step<'_>) -> RejectedBy {
    let want = Want { ask, ..Want::NOTHING };
    let denial = Denial { why: Why::Refused(refused), want };
    RejectedBy { rule, rejected: step.states[rule].reject(denial, &mut step.now) }
}
