//! CORE: the bells, by which those in a line learn that their time has come.
//!
//! Where places come back by time, somebody has to look when it has passed. A *ringer* does so for all in the
//! line who live where it does (the key of their *bell* says where: in which runtime), so that they need no
//! timer of their own. It is there while one of them waits.
//!
//! There is a bell for each such place, and not one for the line, because a ringer can stop: its runtime may
//! stand still or shut down. Then those of other places go on by their own bells.
//!
//! Lives behind the [`Gate`](super::Gate)'s mutex. As in the [line](super::line), no waker is dropped in here.
//!
//! A bell is *silent* (nobody waits for it, and it has no ringer), *attended* (its ringer has looked, and can be woken), or
//! somewhere between:
//!
//! ```text
//!           mind: alone               attend                 the last leaves: woken
//!  silent ───────────────► sent ───────────────► attended ───────────────────────► leaving
//!    ▲                      │                      │   ▲                               │ attend
//!    │        abandon       │        abandon       │   │     somebody has come         ├──────► attended
//!    └──────────────────────┴──────────────────────┘   └───────────────────────────────┘
//!    ▲                                                        nobody has               │
//!    └─────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! # Races, and why they are none
//!
//! Each step is one under the mutex, so of two, one comes first.
//!
//! - *The last who waits leaves just as somebody comes.* The ringer is woken, and looks. Either it finds who has come, and stays;
//!   or it found nobody before and has marked the bell silent, and who comes is told to send another.
//! - *A time becomes earlier while the ringer is between looking and setting its timer.* It is woken, and looks again.
//! - *...while the ringer is on its way.* There is nobody to wake; its first look finds the first in line.
//! - *A ringer goes before its time* (its runtime shuts down, or it panics). The bell is marked silent first, then all who
//!   wait for it are woken: whoever is polled is told to send another, from wherever it is polled now.

use std::task::Waker;

use crate::clock::Nanos;

/// The number of a bell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BellId(u16);

impl BellId {
    /// Of those for whom nobody looks.
    pub(super) const NONE: Self = Self(u16::MAX);
}

struct Bell<K> {
    key: K,
    /// How many wait for it.
    waiting: u32,
    /// Is its ringer there, or on the way?
    attended: bool,
    /// When the ringer will look.
    at: Nanos,
    /// The ringer's, once it has looked.
    ringer: Option<Waker>,
}

/// One for each place that somebody waits in. There are few.
pub(super) struct Bells<K>(Vec<Bell<K>>);

impl<K: Copy + Eq> Bells<K> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The bell of `key`; a new one if it has none.
    pub(super) fn of(&mut self, key: K) -> BellId {
        let known = self.0.iter().position(|bell| bell.key == key);
        let unused = || self.0.iter().position(|bell| bell.waiting == 0 && !bell.attended);
        let new = Bell { key, waiting: 0, attended: false, at: Nanos::NEVER, ringer: None };
        let index = match (known, known.is_none().then(unused).flatten()) {
            (Some(index), _) => index,
            (None, Some(index)) => {
                self.0[index] = new;
                index
            }
            (None, None) => {
                self.0.push(new);
                self.0.len() - 1
            }
        };
        BellId(u16::try_from(index).expect("fewer runtimes"))
    }

    fn get(&mut self, bell: BellId) -> Option<&mut Bell<K>> {
        self.0.get_mut(usize::from(bell.0))
    }

    /// One more waits for it.
    pub(super) fn join(&mut self, bell: BellId) {
        if let Some(bell) = self.get(bell) {
            bell.waiting += 1;
        }
    }

    /// One waits for it no more. The ringer, to be woken, if that was the last: it may go.
    pub(super) fn leave(&mut self, bell: BellId) -> Option<Waker> {
        let bell = self.get(bell)?;
        bell.waiting -= 1;
        if bell.waiting == 0 { bell.ringer.take() } else { None }
    }

    /// Does nobody ring it? Whoever asks sends somebody.
    pub(super) fn is_alone(&mut self, bell: BellId) -> bool {
        self.get(bell).is_some_and(|bell| !std::mem::replace(&mut bell.attended, true))
    }

    /// It is to be rung at `due`. The ringer, to be woken, if it would look only later.
    pub(super) fn expect(&mut self, bell: BellId, due: Nanos) -> Option<Waker> {
        let bell = self.get(bell).filter(|bell| due < bell.at)?;
        let ringer = bell.ringer.clone(); // before anything is changed: it is foreign code
        bell.at = due;
        ringer
    }

    /// The ringer will look at `at`. Its waker of before is to be dropped once the lock is free.
    #[must_use]
    pub(super) fn attend(&mut self, bell: BellId, at: Nanos, ringer: Waker) -> Option<Waker> {
        let bell = self.get(bell)?;
        bell.at = at;
        bell.ringer.replace(ringer)
    }

    /// The ringer is gone. Its waker is to be dropped once the lock is free.
    #[must_use]
    pub(super) fn abandon(&mut self, bell: BellId) -> Option<Waker> {
        let bell = self.get(bell)?;
        bell.attended = false;
        bell.at = Nanos::NEVER;
        bell.ringer.take()
    }
}
