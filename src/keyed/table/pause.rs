//! CORE: pauses of keys.
//!
//! A pause is written in two words of a state. The flag [`PAUSED`](super::counts::PAUSED) stands in the counter word, so a
//! request tests it together with the other flags. The *end* stands in an array of its own, which
//! the first pause of the table allocates.
//!
//! # Values of the end
//!
//! | end | the key is | flag | left by |
//! | --- | --- | --- | --- |
//! | [`NONE`] | not paused | clear | a pause |
//! | a time | paused until then | set | a pause, a resume, and, once it has passed, any task |
//! | [`CHANGING`] | as before, or as after | in the hands of one task | that task |
//!
//! # Steps
//!
//! | step | words, in order |
//! | --- | --- |
//! | *pause* | end := `CHANGING`; flag set; the fingerprint is looked at; end := the later time |
//! | *resume* | end := `CHANGING`, if it is a time; flag cleared; end := `NONE` |
//! | *end* | as a resume, if the time has passed |
//! | *refuse* | the flag is found; the end is loaded, and has not passed |
//!
//! # Why a paused key admits nothing
//!
//! 1. The flag changes only in the hands of the task that has exchanged the end for `CHANGING`, and
//!    the next such task acquires the release of that one. So the flag is set exactly if the end is
//!    a time, as soon as it is not `CHANGING`.
//! 2. An acquisition exchanges a counter word without the flag. So it comes before the flag is set,
//!    or after it is cleared, and no acquisition ignores a flag whose time has passed: it ends the
//!    pause first.
//! 3. A state with the flag is live, so its slot is not claimed. Its fingerprint is constant from
//!    the flag on.
//!
//! # Races
//!
//! - *A task finds that a pause has ended, and a longer one begins before it clears the flag.* The
//!   exchange of the end fails, and the task looks at the later time. If the exchange succeeds, the
//!   longer pause waits until the flag is cleared, and sets it again.
//! - *A slot is claimed for another key before the flag is set.* The pause finds the flag TAKEN, or
//!   the other fingerprint behind its own flag. It clears the flag, puts the end back, and begins
//!   anew. A request of the other key that finds the flag meanwhile looks again.
//! - *A task stalls while it has the end in hand.* Other pauses of this state wait for it. A request
//!   that finds the flag looks for a while, and is then refused for a moment. One that finds no flag
//!   sees nothing of it.

use std::{hint, sync::OnceLock};

use super::{Inserted, KeyHash, LANES, Place, Table, state::Now};
use crate::{
    keyed::lanes::LOOKS,
    sync::{
        AtomicU64, Exclusive,
        Ordering::{Acquire, Relaxed, Release},
        wait_for_others,
    },
    time::{Nanos, Time},
};

/// The end of no pause.
const NONE: u64 = 0;

/// One task changes the pause.
const CHANGING: u64 = u64::MAX;

/// Looks for a slot while other tasks make slots, before a pause fails.
const PAUSE_LOOKS: u32 = 16;

/// The ends of the pauses of a table: of each slot, and of the common state.
pub(super) type Ends = OnceLock<Box<[End]>>;

/// The end of the pause of a state.
pub(super) struct End {
    word: AtomicU64,
    in_hand: Exclusive,
}

impl End {
    fn none() -> Self {
        Self { word: AtomicU64::new(NONE), in_hand: Exclusive::new() }
    }

    /// Takes the end in hand, if it is one that `wants` tells. Returns what it was.
    fn take(&self, wants: impl Fn(u64) -> bool) -> Option<u64> {
        loop {
            // Relaxed: the exchange checks the value.
            match self.word.load(Relaxed) {
                CHANGING => wait_for_others(),
                before if !wants(before) => return None,
                before if self.try_take(before) => return Some(before),
                _ => {}
            }
        }
    }

    /// Takes the end in hand, if it is `before`.
    fn try_take(&self, before: u64) -> bool {
        // Acquire: the flag, as changed by the task before, which has released it.
        let is_taken = self.word.compare_exchange(before, CHANGING, Acquire, Relaxed).is_ok();
        if is_taken {
            self.in_hand.enter();
        }
        is_taken
    }

    /// Lets the end go, which is in hand.
    fn release(&self, after: u64) {
        self.in_hand.enter();
        // Release: the flag, to the next task that takes the end.
        self.word.store(after, Release);
    }
}

/// What a pause does to one that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Present {
    /// The later end holds.
    Prolong,
    Keep,
}

/// The pause of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    None,
    Until(Nanos),
    /// Another task changes it.
    Changing,
}

impl Table {
    /// Pauses a key until `until`. `None` stands for the requests without a key.
    ///
    /// Returns its place, or `None` if the key has no slot, and finds none.
    pub(crate) fn pause<T: Time>(
        &self,
        key: Option<KeyHash>,
        until: Nanos,
        time: &mut Now<'_, T>,
    ) -> Option<Place> {
        let Some(key) = key else {
            let common = self.common();
            self.pause_at(common, None, until, Present::Prolong, time);
            return Some(common);
        };
        for look in 0..PAUSE_LOOKS {
            match self.find_or_insert(key, time) {
                Inserted::Slot(place) => {
                    if self.pause_at(place, Some(key), until, Present::Prolong, time) {
                        return Some(place);
                    }
                    wait_for_others(); // which claim the slot
                }
                Inserted::Latched => wait_for_others(),
                // A commit is a moment away, unless it is made with the response.
                Inserted::Stays if look < 4 => hint::spin_loop(),
                Inserted::Stays | Inserted::Full => return None,
            }
        }
        None
    }

    /// Pauses the state at `place`. Returns false, and changes nothing, if it is not that of `key`.
    pub(crate) fn pause_at<T: Time>(
        &self,
        place: Place,
        key: Option<KeyHash>,
        until: Nanos,
        present: Present,
        time: &mut Now<'_, T>,
    ) -> bool {
        let now = time.get();
        let end = &self.ends.get_or_init(|| self.no_ends())[self.index_of_end(place)];
        let before = end.take(|_| true).unwrap_or(NONE);
        let state = self.state(place);
        let is_set = state.try_set_paused();
        // Relaxed: the flag has acquired. A state with the flag keeps its key.
        let is_of_key = is_set && key.is_none_or(|key| self.tag(place).load(Relaxed) == key.0);
        if is_set && !is_of_key && before == NONE {
            state.clear_paused();
        }
        let until = until.min(Nanos::new(CHANGING - 1));
        let after = match present {
            _ if !is_of_key => before,
            Present::Keep if before > now.get() => before,
            Present::Keep | Present::Prolong => before.max(until.get()),
        };
        end.release(after);
        is_of_key
    }

    /// Ends the pause of a key, or of the requests without one. Returns its place, the end, and the
    /// counter word before, or `None` if it is not paused.
    pub(crate) fn resume(&self, key: Option<KeyHash>) -> Option<(Place, Nanos, u64)> {
        let place = key.map_or(Some(self.common()), |key| self.find(key))?;
        let end = &self.ends.get()?[self.index_of_end(place)];
        let before = end.take(|before| before != NONE)?;
        // Relaxed: the end has acquired. It is that of a state with the flag, which keeps its key.
        if key.is_some_and(|key| self.tag(place).load(Relaxed) != key.0) {
            end.release(before);
            return None;
        }
        let word = self.state(place).clear_paused();
        end.release(NONE);
        Some((place, Nanos::new(before), word))
    }

    /// Returns the end of the pause at `place`. Ends one whose time has passed.
    pub(crate) fn paused_until<T: Time>(
        &self,
        place: Place,
        time: &mut Now<'_, T>,
    ) -> Option<Nanos> {
        loop {
            match self.pause_of(place, time) {
                Pause::None => return None,
                Pause::Until(until) => return Some(until),
                Pause::Changing => wait_for_others(),
            }
        }
    }

    /// Returns the pause at `place` to a request that has found the flag there. Looks for a while
    /// if another task changes it.
    pub(super) fn pause_found<T: Time>(&self, place: Place, time: &mut Now<'_, T>) -> Pause {
        for _ in 1..LOOKS {
            match self.pause_of(place, time) {
                Pause::Changing => hint::spin_loop(),
                settled => return settled,
            }
        }
        self.pause_of(place, time)
    }

    /// Returns the pause at `place`. Ends one whose time has passed.
    pub(super) fn pause_of<T: Time>(&self, place: Place, time: &mut Now<'_, T>) -> Pause {
        if !self.state(place).is_paused() {
            return Pause::None;
        }
        let Some(ends) = self.ends.get() else { return Pause::None };
        let end = &ends[self.index_of_end(place)];
        loop {
            // Relaxed: the exchange checks a time that has passed. One that has not may be that of an
            // earlier pause of this key, since its fingerprint was acquired.
            match end.word.load(Relaxed) {
                CHANGING => return Pause::Changing,
                until if until > time.get().get() => return Pause::Until(Nanos::new(until)),
                // Or none: the flag was cleared since.
                passed => {
                    if end.try_take(passed) {
                        self.state(place).clear_paused();
                        end.release(NONE);
                        return Pause::None;
                    }
                }
            }
        }
    }

    fn no_ends(&self) -> Box<[End]> {
        (0..=self.sets as usize * LANES).map(|_| End::none()).collect()
    }

    /// Returns the index of the end of a slot, or of the common state. An overflow has none.
    fn index_of_end(&self, place: Place) -> usize {
        (place.0 as usize).min(self.sets as usize * LANES)
    }
}
