//! CORE: the key table: a state for each key, in fixed memory.
//!
//! # Layout
//!
//! The table is an array of sets of [`LANES`] states. A set is a line of fingerprints, a line of
//! counter words, and a line of log words for each window, so a lookup in a set reads one line. A
//! state is a *slot* of a key, or one of these, in sets behind those of the slots:
//!
//! - the *overflow* of a set, shared by the keys that find no slot;
//! - the *common* state of the requests without a key.
//!
//! Each key has two sets of the table: its *home* and a second one. The hash has a random seed.
//! Keys are compared by the whole hash: two keys with the same one share a limit.
//!
//! # Live and idle
//!
//! A slot is *idle* while no permit is held and no request is in flight: its counter word is zero.
//! A new state would behave the same, so an idle slot may be claimed for another key. A *live* slot
//! is never taken away: a flood of new keys resets no key.
//!
//! # Steps
//!
//! | step | does |
//! | --- | --- |
//! | *find* | looks for the fingerprint in both sets |
//! | *acquire in a slot* | acquires in the state, then looks at the fingerprint again; if it has changed, refunds |
//! | *insert* | takes the latch of the home set, looks in both sets again, *claims*, releases the latch |
//! | *claim* | takes an idle slot, writes the fingerprint, copies the overflow, publishes |
//! | *acquire in the overflow* | acquires in the state, then looks in both sets; if the key has a slot by now, refunds |
//!
//! The latch is the flag TAKEN in the counter word of the overflow of the home set. It belongs to
//! the insertions of that set alone: acquisitions ignore it. A task that finds it taken does not
//! wait for it, but acquires in the overflow.
//!
//! # Overflow
//!
//! All keys of a home set without a slot share its overflow, so together they are issued as much as
//! one key. A key that moves to a slot takes a *copy* of the overflow with it, since some or all of
//! those permits may be its own. The copy holds for one moment, see below, and it is not made while
//! permits are uncommitted or requests in flight: their commits would miss it.
//!
//! # Races
//!
//! - *A slot is claimed between find and acquire.* The acquisition succeeds in the state of another
//!   key. A state with a permit is not claimed, so its fingerprint is constant from then on, and
//!   the second look finds the other one.
//! - *Two tasks insert one key.* They share the latch of its home set. The second one finds the
//!   slot of the first.
//! - *Two tasks claim one slot.* One of them exchanges the zero.
//! - *A task acquires in the overflow while its key is inserted.* The claim writes the fingerprint,
//!   then exchanges the counter word of the overflow for the same one. If the acquisition comes
//!   before that exchange, the exchange fails or the copy has its permits. If it comes after, it
//!   has acquired the fingerprint, and the second look finds the slot.
//! - *The overflow changes while it is copied.* The claim loads the counter word and the logs,
//!   exchanges the counter word for the same one, reads the time, and loads the logs again. If no
//!   unit of a log has expired by then, none was removed before the exchange. Otherwise units are
//!   only added while the stamp stays, so two equal values mean that the log had these units at the
//!   exchange. If held equals unlogged and logged at that moment, no permit is anywhere else. The
//!   logs alone do not tell: units may expire, and permits that were taken in hand long before may
//!   fill the same places. An overflow in which no permit is held is copied by the exchange alone.

pub(crate) mod counts;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod pause;
pub(crate) mod shape;
pub(crate) mod state;

use std::hint;

use self::{
    counts::{QUEUED, TAKEN},
    limits::{Ask, Limits},
    log::Log,
    pause::{Ends, Pause},
    state::{Attempt, Now, State},
};
use crate::{
    keyed::lanes::{LANES, LOOKS},
    sync::{
        AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
        fetch,
    },
    time::Time,
};

/// A cache line: one word of each state of a set.
#[repr(align(64))]
pub(crate) struct Line([AtomicU64; LANES]);

impl Line {
    fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    pub(crate) const fn at(&self, lane: usize) -> &AtomicU64 {
        &self.0[lane]
    }
}

/// The hash of a key. Zero stands for an empty slot, and is no hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyHash(u64);

impl KeyHash {
    pub(crate) const fn new(hash: u64) -> Self {
        Self(if hash == 0 { 1 } else { hash })
    }

    #[cfg(test)]
    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

/// A state of the table, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place(u32);

impl Place {
    pub(crate) const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Returns the number. It has 29 bits, by the bound of `max_keys`.
    pub(crate) const fn number(self) -> u32 {
        self.0
    }

    const fn lane(self) -> usize {
        self.0 as usize % LANES
    }
}

/// The states at which a step has released permits beside requests that wait there: the queue is to
/// be told.
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Freed {
    #[default]
    Nothing,
    At(Place),
    /// More than one. Any state may be among them.
    Several,
}

impl Freed {
    /// Looks at the counter word before a release. If the flag is set later, its task finds the
    /// permits.
    pub(crate) const fn by(word: u64, place: Place) -> Self {
        if word & QUEUED == 0 { Self::Nothing } else { Self::At(place) }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (freed, Self::Nothing) | (Self::Nothing, freed) => freed,
            (freed, other) if freed == other => freed,
            _ => Self::Several,
        }
    }
}

/// What to do with a new key while both of its sets are full of live keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    Share,
    Reject,
}

/// Why a request was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No permits are left in a window of the key at this place.
    Full { place: Place },
    /// As many requests of the key are in flight as may be.
    Busy(Place),
    /// Requests wait at this place, and come first.
    Queued(Place),
    /// The key at this place is paused.
    Paused(Place),
    /// Both sets are full of live keys.
    NoSlot,
    /// Another task stalls while it makes a slot for this key.
    Stalled,
}

/// The outcome of an insertion.
enum Inserted {
    Slot(Place),
    /// Another task inserts a key of the same home set.
    Latched,
    /// The overflow cannot be copied, so the key stays there.
    Stays,
    /// Both sets are full of live keys.
    Full,
}

/// The states of a rule.
pub(crate) struct Table {
    pub(super) lines: Box<[Line]>,
    ends: Ends,
    /// The number of sets of slots.
    pub(super) sets: u32,
    /// The lines of a set.
    stride: usize,
    limits: Limits,
    when_full: WhenFull,
    overflowed: AtomicU64,
}

impl Table {
    /// Creates a table with slots for `max_keys` keys. Zero leaves the common state alone.
    ///
    /// A fifth of the slots is spare, because keys do not spread evenly over the sets.
    pub(crate) fn new(max_keys: u32, limits: Limits, when_full: WhenFull) -> Self {
        let stride = 2 + limits.windows.len();
        let slots = u64::from(max_keys) + u64::from(max_keys).div_ceil(4);
        let sets = slots.div_ceil(LANES as u64).max(if max_keys > 0 { 2 } else { 0 });
        let overflow_sets = sets.div_ceil(LANES as u64);
        let lines = (sets + overflow_sets + 1) as usize * stride;
        Self {
            lines: (0..lines).map(|_| Line::new()).collect(),
            ends: Ends::new(),
            sets: u32::try_from(sets).expect("the number of keys is bounded"),
            stride,
            limits,
            when_full,
            overflowed: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the number of requests that were decided in an overflow.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed.load(Relaxed)
    }

    /// Returns the place of the requests without a key.
    #[inline]
    pub(crate) const fn common(&self) -> Place {
        let sets = self.lines.len() / self.stride;
        Place(((sets - 1) * LANES) as u32)
    }

    /// Returns true if there are slots for keys.
    #[inline]
    pub(crate) const fn has_slots(&self) -> bool {
        self.sets > 0
    }

    /// Returns true if the state is shared by keys: an overflow, or the common state.
    pub(crate) const fn is_shared(&self, place: Place) -> bool {
        place.0 >= self.sets * LANES as u32
    }

    #[inline]
    pub(crate) fn state(&self, place: Place) -> State<'_> {
        let (first, lane) = (place.0 as usize / LANES * self.stride, place.lane());
        let logs = &self.lines[first + 2..first + self.stride];
        // The flag of an overflow is the latch of its set.
        let ignored = if self.is_shared(place) { TAKEN } else { 0 };
        State::new(self.lines[first + 1].at(lane), logs, place, &self.limits, ignored)
    }

    /// Returns the places of all slots.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Place> + use<> {
        (0..self.sets * LANES as u32).map(Place)
    }

    #[inline]
    pub(super) fn tag(&self, place: Place) -> &AtomicU64 {
        let place = place.0 as usize;
        self.lines[place / LANES * self.stride].at(place % LANES)
    }

    /// Returns a set for a hash: each is as likely.
    #[inline]
    fn scale(&self, hash: u64) -> u32 {
        ((u128::from(hash) * u128::from(self.sets)) >> 64) as u32
    }

    #[inline]
    fn home_of(&self, key: KeyHash) -> u32 {
        self.scale(key.0)
    }

    /// Returns the second set of a key.
    fn second_of(&self, home: u32, key: KeyHash) -> u32 {
        // An odd multiplier of no structure: the second set is independent of the home.
        let second = self.scale(key.0.rotate_left(32).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        if second == home { (home + 1) % self.sets } else { second }
    }

    /// Returns the sets of a key: its home, and a second one.
    pub(super) fn sets_of(&self, key: KeyHash) -> [u32; 2] {
        let home = self.home_of(key);
        [home, self.second_of(home, key)]
    }

    pub(super) fn overflow_of(&self, home: u32) -> Place {
        Place(self.sets * LANES as u32 + home)
    }

    pub(super) fn lanes(set: u32) -> impl Iterator<Item = Place> {
        (0..LANES as u32).map(move |lane| Place(set * LANES as u32 + lane))
    }

    /// Returns the slot of a key.
    #[inline]
    pub(crate) fn find(&self, key: KeyHash) -> Option<Place> {
        let home = self.home_of(key);
        self.find_in(home, key).or_else(|| self.find_in_second(home, key))
    }

    #[inline(never)]
    fn find_in_second(&self, home: u32, key: KeyHash) -> Option<Place> {
        self.find_in(self.second_of(home, key), key)
    }

    /// Returns the slot of a key in `set`.
    #[inline(always)]
    fn find_in(&self, set: u32, key: KeyHash) -> Option<Place> {
        let first = set as usize * self.stride;
        // The words of the slot are read next. Fetched together, the lines are one miss of the
        // cache and not one after the other.
        self.lines[first + 1..first + self.stride].iter().for_each(|line| fetch(line.at(0)));
        let tags = &self.lines[first];
        // Without a branch for each lane: which one it is cannot be predicted.
        let found = (0..LANES).fold(0, |found, lane| {
            // Acquire: a slot that this task meets after an acquisition in the overflow was
            // published with the copy of what the overflow held before.
            found | u32::from(tags.at(lane).load(Acquire) == key.0) << lane
        });
        (found != 0).then(|| Place(set * LANES as u32 + found.trailing_zeros()))
    }

    /// Returns the slot of a key, or the overflow that it would share or copy.
    pub(crate) fn place_of(&self, key: KeyHash) -> Place {
        let home = self.home_of(key);
        self.find(key).unwrap_or_else(|| self.overflow_of(home))
    }

    /// Acquires the permits of `ask` for a key, in its slot or in an overflow. The place is where
    /// they are, to commit, refund or release them.
    #[inline]
    pub(crate) fn acquire<T: Time>(
        &self,
        key: KeyHash,
        ask: Ask,
        time: &mut Now<'_, T>,
    ) -> Result<Place, Refused> {
        // Most keys have their slot here.
        let found = self.find_in(self.home_of(key), key);
        match found.and_then(|place| self.acquire_in_slot(place, key, ask, time)) {
            Some(decided) => decided,
            None => self.acquire_anywhere(key, ask, time),
        }
    }

    /// Acquires as [`acquire`](Self::acquire) does.
    #[inline(never)]
    fn acquire_anywhere<T: Time>(
        &self,
        key: KeyHash,
        ask: Ask,
        time: &mut Now<'_, T>,
    ) -> Result<Place, Refused> {
        for look in 0..LOOKS {
            if look > 0 {
                hint::spin_loop();
            }
            let decided = match self.find_or_insert(key, time) {
                Inserted::Slot(place) => self.acquire_in_slot(place, key, ask, time),
                Inserted::Latched if look < LOOKS / 2 => None,
                Inserted::Full if self.when_full == WhenFull::Reject => {
                    return Err(Refused::NoSlot);
                }
                Inserted::Latched | Inserted::Stays | Inserted::Full => {
                    self.acquire_in_overflow(key, ask, time)
                }
            };
            if let Some(decided) = decided {
                return decided;
            }
        }
        Err(Refused::Stalled)
    }

    /// Acquires in a slot. Returns `None` if it is not that of the key any more, or is not yet.
    #[inline(always)]
    fn acquire_in_slot<T: Time>(
        &self,
        place: Place,
        key: KeyHash,
        ask: Ask,
        time: &mut Now<'_, T>,
    ) -> Option<Result<Place, Refused>> {
        match self.acquire_at(place, ask, time) {
            // Acquire is in the acquisition: the slot keeps its key from then on.
            Ok(()) if self.tag(place).load(Relaxed) != key.0 => {
                time.note(Freed::by(self.state(place).undo(ask), place));
                None
            }
            Ok(()) => Some(Ok(place)),
            Err(Refused::Stalled) => None,
            Err(refused) => (self.tag(place).load(Relaxed) == key.0).then_some(Err(refused)),
        }
    }

    /// Acquires in the state at `place`. What has expired there is expired if there is no room.
    #[inline(always)]
    pub(crate) fn acquire_at<T: Time>(
        &self,
        place: Place,
        ask: Ask,
        time: &mut Now<'_, T>,
    ) -> Result<(), Refused> {
        self.acquire_in(self.state(place), place, ask, time)
    }

    /// Acquires at `place` for a request that waits there, and whose turn it is.
    pub(crate) fn acquire_in_turn<T: Time>(
        &self,
        place: Place,
        ask: Ask,
        time: &mut Now<'_, T>,
    ) -> Result<(), Refused> {
        self.acquire_in(self.state(place).in_turn(), place, ask, time)
    }

    #[inline(always)]
    fn acquire_in<T: Time>(
        &self,
        state: State<'_>,
        place: Place,
        ask: Ask,
        time: &mut Now<'_, T>,
    ) -> Result<(), Refused> {
        match state.try_acquire(ask) {
            Attempt::Acquired => Ok(()),
            attempt => self.acquire_after(attempt, state, place, ask, time),
        }
    }

    /// Acquires after the outcome of an attempt.
    #[inline(never)]
    fn acquire_after<T: Time>(
        &self,
        mut attempt: Attempt,
        state: State<'_>,
        place: Place,
        ask: Ask,
        time: &mut Now<'_, T>,
    ) -> Result<(), Refused> {
        loop {
            match attempt {
                Attempt::Acquired => return Ok(()),
                Attempt::Full => {
                    if !state.expire(time) {
                        return Err(Refused::Full { place });
                    }
                }
                Attempt::Busy => return Err(Refused::Busy(place)),
                Attempt::Taken => return Err(Refused::Stalled),
                Attempt::Queued => return Err(Refused::Queued(place)),
                Attempt::Paused => match self.pause_found(place, time) {
                    Pause::None => {}
                    Pause::Until(_) => return Err(Refused::Paused(place)),
                    Pause::Changing => return Err(Refused::Stalled),
                },
            }
            attempt = state.try_acquire(ask);
        }
    }

    /// Acquires in the overflow. Returns `None` if the key has a slot by then.
    #[cold]
    fn acquire_in_overflow<T: Time>(
        &self,
        key: KeyHash,
        ask: Ask,
        time: &mut Now<'_, T>,
    ) -> Option<Result<Place, Refused>> {
        let place = self.overflow_of(self.home_of(key));
        let acquired = self.acquire_at(place, ask, time);
        if self.find(key).is_some() {
            if acquired.is_ok() {
                time.note(Freed::by(self.state(place).undo(ask), place));
            }
            return None;
        }
        // Relaxed: a count.
        self.overflowed.fetch_add(1, Relaxed);
        Some(acquired.map(|()| place))
    }

    /// Makes newcomers join the requests that wait at `place`, where a key was refused. `None`
    /// stands for requests without a key.
    ///
    /// Returns false if the key is no longer there. It is decided again then.
    pub(crate) fn set_queued(&self, place: Place, key: Option<KeyHash>) -> bool {
        let state = self.state(place);
        let was_queued = state.is_queued();
        if !state.try_set_queued() {
            return false;
        }
        // As after an acquisition: the slot keeps its key from then on, or the key has no slot.
        let is_valid = key.is_none_or(|key| {
            if self.is_shared(place) {
                self.find(key).is_none()
            } else {
                self.tag(place).load(Relaxed) == key.0
            }
        });
        // The flag changes under the lock of the queue only.
        if !is_valid && !was_queued {
            state.clear_queued();
        }
        is_valid
    }

    /// Expires all committed permits of a key, however young they are. Permits of requests that are
    /// not issued yet stay.
    pub(crate) fn forget(&self, key: KeyHash) -> Freed {
        let place = if self.has_slots() { self.find(key) } else { Some(self.common()) };
        let Some(place) = place else { return Freed::Nothing };
        let state = self.state(place);
        if !state.try_pin() {
            return Freed::Nothing;
        }
        // Relaxed: the pin has acquired.
        if !self.has_slots() || self.tag(place).load(Relaxed) == key.0 {
            state.forget();
        }
        Freed::by(state.refund(1), place)
    }

    // --- Insertion.

    fn find_or_insert<T: Time>(&self, key: KeyHash, time: &mut Now<'_, T>) -> Inserted {
        self.find(key).map_or_else(|| self.insert(key, time), Inserted::Slot)
    }

    /// Makes a slot for a key.
    #[cold]
    fn insert<T: Time>(&self, key: KeyHash, time: &mut Now<'_, T>) -> Inserted {
        let sets @ [home, _] = self.sets_of(key);
        let overflow = self.state(self.overflow_of(home));
        // Acquire: the insertions of before.
        if overflow.counts().fetch_or(TAKEN, Acquire) & TAKEN != 0 {
            return Inserted::Latched;
        }
        let inserted = match self.find(key) {
            Some(place) => Inserted::Slot(place),
            None => match self.claim(sets, time) {
                Some(place) if self.publish(key, place, overflow, time) => Inserted::Slot(place),
                Some(_) => Inserted::Stays,
                None => Inserted::Full,
            },
        };
        // Relaxed: a copy has released the fingerprint to the next insertion.
        overflow.counts().fetch_and(!TAKEN, Relaxed);
        inserted
    }

    /// Takes an idle slot: of the home set while half of that is idle, and otherwise of the set
    /// that has more of them.
    ///
    /// Most keys then have their slot in the home set, so a lookup reads no other. Of `max_keys`
    /// live keys, 6 in 10,000 find no slot, as against 2 if the set with more idle slots were taken
    /// always.
    fn claim<T: Time>(&self, sets: [u32; 2], time: &mut Now<'_, T>) -> Option<Place> {
        let idle = |set: u32| Self::lanes(set).filter(|at| self.state(*at).is_idle()).count();
        let is_roomy = |set| 2 * idle(set) >= LANES;
        let [home, second] = sets;
        // Until then, a key whose permits have expired keeps its slot: it may come back.
        if idle(home) == 0 && idle(second) == 0 {
            self.expire_all(home, time);
            if !is_roomy(home) {
                self.expire_all(second, time);
            }
        }
        let takes_second = !is_roomy(home) && idle(second) > idle(home);
        let mut places = (if takes_second { [second, home] } else { sets })
            .into_iter()
            .flat_map(Self::lanes)
            .filter(|place| self.state(*place).is_idle());
        places.find(|place| {
            // Acquire: the last steps on the state, which released the zero.
            self.state(*place).counts().compare_exchange(0, TAKEN, Acquire, Relaxed).is_ok()
        })
    }

    /// Expires all that has expired in a set.
    fn expire_all<T: Time>(&self, set: u32, time: &mut Now<'_, T>) {
        for place in Self::lanes(set) {
            let state = self.state(place);
            // Requests that wait see to the expiry.
            if !state.is_queued() {
                self.expire(place, time);
            }
        }
    }

    /// Expires all that has expired at `place`, and a pause that has ended.
    pub(crate) fn expire<T: Time>(&self, place: Place, time: &mut Now<'_, T>) {
        let state = self.state(place);
        while state.expire(time) {}
        if state.is_paused() {
            self.pause_of(place, time);
        }
    }

    /// Gives a slot that was taken to a key, with a copy of the overflow.
    ///
    /// Returns false, and leaves the slot idle, if the overflow cannot be copied.
    fn publish<T: Time>(
        &self,
        key: KeyHash,
        place: Place,
        overflow: State<'_>,
        time: &mut Now<'_, T>,
    ) -> bool {
        let state = self.state(place);
        // Release: a task that finds the key also finds the slot taken.
        self.tag(place).store(key.0, Release);
        let copied = self.copy(overflow, state, time);
        if copied.is_none() {
            for window in 0..self.limits.windows.len() {
                state.log(window).store(0, Relaxed);
            }
            // Release: as below; and the key of before may look for its slot.
            self.tag(place).store(0, Release);
        }
        // Release: the fingerprint and the logs.
        state.counts().store(copied.unwrap_or(0), Release);
        copied.is_some()
    }

    /// Copies the logs of an overflow to a slot that was taken. Returns the counter word for it.
    fn copy<T: Time>(
        &self,
        overflow: State<'_>,
        state: State<'_>,
        time: &mut Now<'_, T>,
    ) -> Option<u64> {
        let (counts, windows) = (overflow.counts(), 0..self.limits.windows.len());
        // Release: passes on the fingerprint. Acquire: what has expired in the overflow.
        if counts.compare_exchange(TAKEN, TAKEN, AcqRel, Relaxed).is_ok() {
            return Some(0); // no permit is held there, and the logs of both are empty
        }
        // A reading after the slot was taken: see `State::expire`.
        time.again();
        while overflow.expire(time) {}
        // Relaxed: the exchange checks the word, and the loads after it check the logs. A task that
        // finds copied units expired has read a later time, so it finds the slot taken.
        let word = counts.load(Relaxed);
        for window in windows.clone() {
            state.log(window).store(overflow.log(window).load(Relaxed), Relaxed);
        }
        if !self.is_committed(word, state) {
            return None;
        }
        // Release: passes on the fingerprint. Acquire: the time and the logs are read later.
        counts.compare_exchange(word, word, AcqRel, Relaxed).ok()?;
        let now = time.again();
        let is_same = |window: usize| {
            // Relaxed: the first is this task's own; the second follows the exchange.
            let word = state.log(window).load(Relaxed);
            let log = Log::from_word(word);
            let shape = &self.limits.windows[window].shapes[log.plan()];
            let has_expired = log.expired(log.steps_until(now, shape), shape) != log;
            word == overflow.log(window).load(Relaxed) && !has_expired
        };
        windows.clone().all(is_same).then_some(word & !TAKEN)
    }

    /// Returns true if no permit of `word` is uncommitted, by the logs of `state`, no request in
    /// flight, and none waits.
    fn is_committed(&self, word: u64, state: State<'_>) -> bool {
        let layout = &self.limits.layout;
        let mut windows = self.limits.windows.iter().zip(layout.windows()).enumerate();
        word & QUEUED == 0
            && layout.in_flight().is_none_or(|field| field.get(word) == 0)
            && windows.all(|(index, (window, fields))| {
                // Relaxed: this task has stored it.
                let log = Log::from_word(state.log(index).load(Relaxed));
                let logged = u64::from(log.units() * window.shapes[log.plan()].unit);
                fields.held.get(word) == fields.unlogged.get(word) + logged
            })
    }
}
