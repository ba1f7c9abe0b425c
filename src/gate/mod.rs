//! CORE: a number of places, and a line of those who wait for one.
//!
//! Both limiters stand on this: a concurrency limit is a gate whose places come back when a request
//! has ended, a rate limit one whose places come back with time. The gate knows neither requests nor
//! time.
//!
//! # The word
//!
//! One `AtomicU64` holds the whole truth, so that every decision is one atomic step on one value:
//!
//! ```text
//!  63                              32  31      30       29                              0
//! +----------------------------------+-------+---------+---------------------------------+
//! | room: free places, as an i32     | BARRED| WATCHED | waiting: how many stand in line |
//! +----------------------------------+-------+---------+---------------------------------+
//! ```
//!
//! `room` is the limit less the places taken. It is negative while a lowered limit drains. Counting
//! what is free instead of what is taken keeps the limit out of the decision to admit: nobody can be
//! let in by a limit that has meanwhile been lowered.
//!
//! Beside it stands the number of the last who was called to *enter*. The line is called in the order of its
//! numbers, so that whoever was called can tell by comparing: it takes no mutex to take one's turn.
//!
//! | step | condition | the word |
//! | --- | --- | --- |
//! | *enter* | room > 0, nobody waits, not barred | room - 1 |
//! | *put back* | – | room + n; if anybody waits or watches: *hand over* |
//! | *join* the line (under the mutex) | *enter* is not possible | waiting + 1 |
//! | *hand over* (under the mutex) | room > 0, somebody waits, not barred | room - 1, waiting - 1 |
//! | *give up* (under the mutex) | not called yet | waiting - 1 |
//! | *expire* (under the mutex) | past its deadline, not called yet | waiting - 1 |
//! | *expire* (under the mutex) | called, not acquired for long past its deadline | room + 1 |
//!
//! A newcomer may only enter while `waiting` is 0 in the same word, so nobody overtakes. Handing over
//! is a grant, not an invitation to try again: whoever was called holds its place.
//!
//! # Deadlines
//!
//! The task of a waiter may go away while its service stays, and such a wait must not burden others. So
//! a wait that is bounded leaves the queue at its deadline by the first step that looks at the queue
//! then: an arrival, a release, a reading. Its owner need not be polled. A permit that a bounded waiter
//! was granted stays its own until [`GRACE`] after the deadline, and then goes to the next waiter.
//! `earliest` beside the word holds the earliest deadline, so that a step finds nothing to do by one load.
//!
//! Where places come back by time, a *ringer* looks on behalf of those who wait: the [`bells`].
//!
//! The mutex guards the wakers. It is taken by those who wait, and by whoever puts a place back while
//! somebody waits (or watches for the end): a call that doesn't wait, among others that don't, takes no mutex.
//!
//! # Races, and why they are none
//!
//! - *A place comes back just as somebody joins.* Both change the same word. If the place came first,
//!   the joiner's compare-exchange fails and it enters. If the joiner came first, whoever puts the
//!   place back sees `waiting` > 0 in the value it replaced and goes on to *hand over*; the mutex, which
//!   the joiner holds until its entry stands, makes it wait for the entry.
//! - *Whose duty is it to hand over?* Of whoever made "room > 0, somebody waits, not barred" true: who
//!   put a place back, raised the limit, or lifted the bar. A joiner can't: it joins only where it could
//!   not enter. Each such step is followed by handing over until there is no room or no line, so no
//!   grant is lost, whoever else hands over at the same time.
//! - *Called and given up at once.* Under the mutex it is one or the other. Whoever leaves after having
//!   been called puts its place back, which hands it to the next.
//! - *Called while it looks.* Who finds the number of the last called short of its own looks once more under
//!   the mutex, where calls are made: it was called by then, or its new waker is in place for the call.
//! - *Called, and not looking for a long time.* Its entry is used again by others, with other numbers; its own
//!   stays below that of the last called.
//! - *A permit is granted just as the deadline passes.* Both are steps under the mutex. If the deadline comes
//!   first, the waiter is out of the queue and the permit goes to the next. If the grant comes first, the
//!   waiter finds it, because its entry is kept until it has looked.
//! - *The number of the last called passes that of a waiter that expired.* Of a waiter with a deadline the number
//!   says nothing: its entry does, under the mutex.
//!
//! # Memory ordering
//!
//! Taking a place is an `Acquire`, putting one back a `Release` on the same word, so what the last
//! holder of a place did happens before what the next one does, as with a semaphore. A grant is an
//! `Acquire` by whoever hands over, passed on by the `Release` of the number called to the `Acquire` of its
//! owner. `waiting` needs no ordering of its own: that its reader finds the entry is the mutex's doing.

mod bells;
mod deadlines;
mod line;

use std::{task::Waker, time::Duration};

pub(crate) use self::line::Ticket;
use self::{
    bells::{BellId, Bells},
    line::{Called, Expired, Left, Line, NOBODY, Place},
};
use crate::{
    clock::Nanos,
    count::Count,
    sync::{
        AtomicU64, Mutex,
        Ordering::{Acquire, Relaxed, Release},
    },
};

/// How late a task may be polled after it was woken, by a timer and by a scheduler that are busy.
///
/// A later poll belongs to another request: the task that waited has gone away.
pub(crate) const GRACE: Duration = Duration::from_millis(100);

/// One free place.
const PLACE: u64 = 1 << 32;
/// Nobody enters and nobody is called: closed, or paused.
const BARRED: u64 = 1 << 31;
/// Somebody wants to know when all is drained.
const WATCHED: u64 = 1 << 30;
/// One who waits.
const WAITER: u64 = 1;
/// Where those who wait are counted.
const WAITING: u64 = WATCHED - 1;

#[allow(clippy::cast_possible_wrap, reason = "room is the signed upper half")]
const fn room(word: u64) -> i64 {
    (word as i64) >> 32
}

const fn waiting(word: u64) -> u32 {
    (word & WAITING) as u32
}

/// May a newcomer enter?
const fn open(word: u64) -> bool {
    room(word) > 0 && word & (WAITING | BARRED) == 0
}

/// May the head of the line be called?
const fn grants(word: u64) -> bool {
    room(word) > 0 && word & BARRED == 0 && waiting(word) > 0
}

/// How things stand, for somebody about to wait (`ahead` stand before it) or to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// How many places there are.
    pub(crate) limit: u32,
    /// How many of them are free; negative while a lowered limit drains.
    pub(crate) room: i64,
    /// How many wait before the one who asks; at most, if others gave up. For a reader: how many wait.
    pub(crate) ahead: u32,
}

impl Standing {
    /// How many places are taken.
    pub(crate) fn taken(&self) -> u32 {
        u32::try_from(i64::from(self.limit) - self.room).unwrap_or(0)
    }
}

/// What came of asking for a place.
#[derive(Debug)]
pub(crate) enum Entry<R> {
    /// The asker holds a place.
    Entered,
    /// It stands in line, and is to look again at this time if it isn't woken before.
    Waiting(Ticket, Nanos),
    /// It was told not to wait.
    Refused(R),
    /// Nobody enters any more.
    Closed,
}

/// What came of looking how the waiting goes.
#[derive(Debug)]
pub(crate) enum Look {
    /// The owner of the ticket holds a place.
    Entered,
    /// It waits on, and is to look again at this time if it isn't woken before.
    Waiting(Nanos),
    /// The deadline of the wait has passed, and the waiter has left the queue.
    Expired,
    /// Nobody enters any more.
    Closed,
}

/// What came of giving up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// The owner of the ticket had been called meanwhile and holds a place.
    Entered,
    /// It had been the head of the line: there is another one now, or none.
    Head,
    /// It had been behind the head, or dismissed.
    Other,
}

/// `K` says where the bells are by which those who wait learn that their time has come.
#[repr(C)] // the word first: see who holds a gate for what lies beside it
pub(crate) struct Gate<K = ()> {
    word: AtomicU64,
    /// The number of the last who was called to enter. Written under the mutex, read by those who were called.
    entered: AtomicU64,
    /// The earliest deadline in the queue, in nanoseconds. Written under the mutex; read without it as
    /// a hint, so that all its orderings are `Relaxed`.
    earliest: AtomicU64,
    books: Mutex<Books<K>>,
}

/// The time, which is read only where a deadline may have passed.
pub(crate) type Now<'a> = &'a dyn Fn() -> Nanos;

/// Who is to be woken next, outside the lock.
#[derive(Default)]
struct Next {
    waker: Option<Waker>,
    /// Of a waiter whose deadline has passed: its own timer wakes it.
    dropped: Option<Waker>,
    /// The ringer of its bell, if that has nobody to ring for any more.
    ringer: Option<Waker>,
    /// Is there nobody after it? Then the mutex need not be taken to find that out.
    is_last: bool,
}

/// What is looked at only by those who wait, watch or steer.
struct Books<K> {
    limit: u32,
    closed: bool,
    line: Line,
    bells: Bells<K>,
    watchers: Line,
}

impl<K: Copy + Eq> Gate<K> {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            word: AtomicU64::new(u64::from(limit) * PLACE),
            entered: AtomicU64::new(NOBODY.get()),
            earliest: AtomicU64::new(Nanos::NEVER.get()),
            books: Mutex::new(Books {
                limit,
                closed: false,
                line: Line::new(),
                bells: Bells::new(),
                watchers: Line::new(),
            }),
        }
    }

    /// Enters if that needs no waiting.
    #[inline]
    pub(crate) fn try_enter(&self) -> bool {
        let mut word = self.word.load(Relaxed);
        while open(word) {
            // Acquire: what the last holder of the place did happens before what this one does.
            match self.word.compare_exchange_weak(word, word - PLACE, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(newer) => word = newer,
            }
        }
        false
    }

    /// Puts `places` back, and hands them over to those who wait. True if anybody did.
    #[inline]
    pub(crate) fn put_back(&self, places: u32, now: Now<'_>) -> bool {
        // Release: to the next holder's Acquire. What was read needs no Acquire: the mutex orders
        // the line behind it.
        let word = self.word.fetch_add(u64::from(places) * PLACE, Release);
        if word & (WAITING | WATCHED) != 0 {
            self.hand_over(now);
        }
        waiting(word) > 0
    }

    /// Takes out the waiters whose deadlines have passed. True if there were any.
    pub(crate) fn expire(&self, now: Now<'_>) -> bool {
        let earliest = Nanos::new(self.earliest.load(Relaxed));
        let passed = earliest != Nanos::NEVER && earliest <= now();
        if passed {
            self.hand_over(now);
        }
        passed
    }

    /// Enters, or joins the line until `deadline` if `admit` says when to look.
    ///
    /// `admit` may be asked several times, each time about a newer standing.
    pub(crate) fn join<R>(
        &self,
        waker: &Waker,
        deadline: Nanos,
        mut admit: impl FnMut(Standing) -> Result<Nanos, R>,
    ) -> Entry<R> {
        let mut own = None;
        let mut books = self.books.lock();
        if books.closed {
            return Entry::Closed;
        }
        let mut word = self.word.load(Relaxed);
        loop {
            if open(word) {
                // Acquire: as in `try_enter`.
                match self.word.compare_exchange_weak(word, word - PLACE, Acquire, Relaxed) {
                    Ok(_) => return Entry::Entered,
                    Err(newer) => word = newer,
                }
                continue;
            }
            let ahead = waiting(word);
            assert!(
                u64::from(ahead) < WAITING,
                "{ahead} callers wait already: no more can be counted"
            );
            let until = match admit(Standing { limit: books.limit, room: room(word), ahead }) {
                Ok(until) => until,
                Err(refused) => return Entry::Refused(refused),
            };
            // Cloned before anything is changed (it is foreign code), and only for who may wait.
            let waker = own.take().unwrap_or_else(|| waker.clone());
            // Relaxed: that the word still is what it was proves that there is no room; the mutex,
            // held until the entry stands, does the rest.
            match self.word.compare_exchange_weak(word, word + WAITER, Relaxed, Relaxed) {
                Ok(_) => {
                    let ticket = books.line.join(waker, deadline);
                    self.note_earliest(&books);
                    return Entry::Waiting(ticket, until);
                }
                Err(newer) => {
                    word = newer;
                    own = Some(waker);
                }
            }
        }
    }

    /// To be called after each step that changes a deadline.
    fn note_earliest(&self, books: &Books<K>) {
        let earliest = books.line.earliest().get();
        if earliest != self.earliest.load(Relaxed) {
            self.earliest.store(earliest, Relaxed);
        }
    }

    /// Looks whether the owner of `ticket` has been called, and waits on if not, until `deadline` and as
    /// long as `until` says. Unless still waiting or expired, the ticket has served.
    pub(crate) fn look(
        &self,
        ticket: &Ticket,
        waker: &Waker,
        deadline: Nanos,
        until: impl FnOnce(Standing) -> Nanos,
    ) -> Look {
        if !ticket.has_deadline && self.has_entered(ticket.number()) {
            return Look::Entered;
        }
        let mut books = self.books.lock();
        match books.line.place(ticket) {
            Place::Waiting => {}
            Place::Granted => {
                books.line.acquire(ticket);
                self.note_earliest(&books);
                return Look::Entered;
            }
            Place::Expired => return Look::Expired,
            Place::Gone if self.has_entered(ticket.number()) => return Look::Entered,
            Place::Gone => return Look::Closed,
        }
        let ahead = books.line.position(ticket);
        let until = until(self.standing(&books, ahead));
        let old = books.line.wait_on(ticket, waker);
        if ticket.has_deadline {
            books.line.extend(ticket, deadline);
            self.note_earliest(&books);
        }
        drop(books);
        drop(old); // after the lock
        Look::Waiting(until)
    }

    /// Was the one with this number called to enter?
    fn has_entered(&self, number: Count) -> bool {
        // Acquire: from the Release of whoever called it, which took the place for it.
        !number.beyond(Count::of(self.entered.load(Acquire)))
    }

    /// Gives up waiting.
    pub(crate) fn give_up(&self, ticket: Ticket) -> GivenUp {
        let mut books = self.books.lock();
        let place = books.line.place(&ticket);
        let entered = match place {
            Place::Waiting | Place::Expired => false,
            Place::Granted => true,
            Place::Gone => self.has_entered(ticket.number()),
        };
        let left = books.line.leave(ticket);
        self.note_earliest(&books);
        let Some(Left { waker, bell, was_head }) = left else {
            return if entered { GivenUp::Entered } else { GivenUp::Other };
        };
        // That may leave nobody inside and nobody waiting, but only while a place is on its way to
        // be handed over; whoever does that tells those who watch.
        self.word.fetch_sub(WAITER, Relaxed);
        let ringer = books.bells.leave(bell);
        drop(books);
        drop(waker); // after the lock
        ringer.into_iter().for_each(Waker::wake);
        if was_head { GivenUp::Head } else { GivenUp::Other }
    }

    /// Takes out those whose deadlines have passed, calls those who can go, in order, dismisses the line if
    /// the gate is closed, and tells those who watch when all is drained.
    ///
    /// One at a time, and woken outside the lock: a waker runs foreign code, and nothing has to be
    /// collected.
    #[cold]
    fn hand_over(&self, now: Now<'_>) {
        /// A waker that panics must not keep the others from their turn.
        struct Rest<'a, K: Copy + Eq>(&'a Gate<K>, Now<'a>);
        impl<K: Copy + Eq> Drop for Rest<'_, K> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.hand_over(self.1);
                }
            }
        }

        while let Some(Next { waker, dropped, ringer, is_last }) = self.next_to_wake(now) {
            let rest = (!is_last).then(|| Rest(self, now));
            drop(dropped);
            ringer.into_iter().chain(waker).for_each(Waker::wake);
            std::mem::forget(rest);
            if is_last {
                return;
            }
        }
    }

    fn next_to_wake(&self, now: Now<'_>) -> Option<Next> {
        let mut books = self.books.lock();
        let earliest = books.line.earliest();
        if earliest != Nanos::NEVER && earliest <= now() {
            let Expired { waker, bell, was_waiting } = books.line.expire()?;
            self.note_earliest(&books);
            if was_waiting {
                self.word.fetch_sub(WAITER, Relaxed);
                let ringer = books.bells.leave(bell);
                return Some(Next { dropped: waker, ringer, ..Next::default() });
            }
            // Relaxed: nothing was done with this permit, and what was released with others in the word stays
            // so (a read-modify-write goes on with a release sequence).
            self.word.fetch_add(PLACE, Relaxed);
            return Some(Next::default());
        }
        // Acquire: the place is taken on behalf of the one who is called, and what was done by those who
        // put places back is known to those who watched for it.
        let word = self.word.load(Acquire);
        if grants(word) {
            // What grants now goes on to: while somebody waits and the mutex is held, nobody else takes a
            // place and nobody leaves the line. Relaxed: the place is one that the load has seen.
            let word = self.word.fetch_sub(PLACE + WAITER, Relaxed) - PLACE - WAITER;
            let Called { number, waker, bell } = books.line.call()?;
            self.note_earliest(&books);
            // Release: to the Acquire of the one who is called.
            self.entered.store(number.get(), Release);
            // What comes to be granted from now on is the duty of whoever makes it so. It is neither drained
            // (a permit has just been granted) nor closed (nothing is granted then).
            let is_last = !grants(word);
            let ringer = books.bells.leave(bell);
            return Some(Next { waker: Some(waker), ringer, is_last, ..Next::default() });
        }
        if books.closed {
            // No bell is left: where there are any, the gate is not closed.
            if let Some(Called { waker, .. }) = books.line.dismiss() {
                self.word.fetch_sub(WAITER, Relaxed);
                self.note_earliest(&books);
                return Some(Next { waker: Some(waker), ..Next::default() });
            }
        }
        if word & WATCHED == 0 || !books.drained(word) {
            return None;
        }
        let watcher = books.watchers.call();
        if books.watchers.is_empty() {
            self.word.fetch_and(!WATCHED, Relaxed);
        }
        let waker = watcher?.waker;
        Some(Next { waker: Some(waker), ..Next::default() })
    }

    /// Lets the owner of `ticket`, who waits, be looked for by the ringer of `key`, at the latest when `due`
    /// says. True if there is none: whoever asks sends one.
    pub(crate) fn mind(
        &self,
        ticket: &Ticket,
        key: K,
        due: impl FnOnce(Standing) -> Nanos,
    ) -> bool {
        let mut books = self.books.lock();
        if !books.line.is_waiting(ticket) {
            return false;
        }
        let ahead = books.line.position(ticket);
        let due = due(self.standing(&books, ahead));
        let bell = books.bells.of(key);
        let ringer = books.bells.expect(bell, due);
        let before = books.line.wait_for(ticket, bell);
        books.bells.join(bell);
        let idle = books.bells.leave(before);
        let alone = books.bells.is_alone(bell);
        drop(books);
        ringer.into_iter().chain(idle).for_each(Waker::wake);
        alone
    }

    /// The ringer of `key` has looked, and asks when to look again: when `due` says. `None` if nobody waits
    /// for it: then it is to go.
    pub(crate) fn attend(
        &self,
        key: K,
        waker: &Waker,
        due: impl FnOnce(Standing) -> Nanos,
    ) -> Option<Nanos> {
        let own = waker.clone(); // before anything is changed: it is foreign code
        let mut books = self.books.lock();
        let bell = books.bells.of(key);
        let Some(ahead) = books.line.first_of(bell) else {
            let old = books.bells.abandon(bell);
            drop(books);
            drop((old, own)); // after the lock
            return None;
        };
        let at = due(self.standing(&books, ahead));
        let old = books.bells.attend(bell, at, own);
        drop(books);
        drop(old); // after the lock
        Some(at)
    }

    /// The ringer of `key` is gone, though it may still be waited for. Those who do are woken, to send another
    /// one from wherever they are now.
    pub(crate) fn abandon(&self, key: K) {
        /// A waker that panics must not keep the others from being woken.
        struct Rest(Vec<Waker>);
        impl Rest {
            fn wake(mut self) {
                while let Some(waker) = self.0.pop() {
                    waker.wake();
                }
            }
        }
        impl Drop for Rest {
            fn drop(&mut self) {
                if !self.0.is_empty() {
                    Self(std::mem::take(&mut self.0)).wake();
                }
            }
        }

        let old; // dropped after the lock
        let mut books = self.books.lock();
        let bell = books.bells.of(key);
        // Before foreign code (a waker's `clone`): whoever is polled from now on sends another one.
        old = books.bells.abandon(bell);
        let rest = Rest(books.line.wakers_of(bell));
        drop(books);
        drop(old);
        rest.wake();
    }

    /// Tells the ringer of the head's bell if it would look only later than `due` says.
    pub(crate) fn rouse(&self, due: impl FnOnce(Standing) -> Nanos) {
        let mut books = self.books.lock();
        let bell = books.line.head_bell();
        if bell == BellId::NONE {
            return; // nobody waits, or who does is just about to say where
        }
        let due = due(self.standing(&books, 0));
        let ringer = books.bells.expect(bell, due);
        drop(books);
        ringer.into_iter().for_each(Waker::wake);
    }

    /// How things stand for one in the line who has at most so many before it.
    fn standing(&self, books: &Books<K>, ahead: u32) -> Standing {
        let word = self.word.load(Relaxed);
        Standing { limit: books.limit, room: room(word), ahead: ahead.min(waiting(word) - 1) }
    }

    /// Changes the number of places: more admit those who wait at once, fewer drain. `note` is done
    /// first, under the mutex.
    pub(crate) fn set_limit(&self, limit: u32, note: impl FnOnce(), now: Now<'_>) {
        let mut books = self.books.lock();
        note();
        let delta = i64::from(limit) - i64::from(books.limit);
        books.limit = limit;
        // Two's complement: adding a negative number of places subtracts them. Relaxed: nothing was done
        // with these places, and what was released with others in the word stays so (a read-modify-write
        // goes on with a release sequence).
        #[allow(clippy::cast_sign_loss, reason = "two's complement is what is meant")]
        self.word.fetch_add((delta as u64).wrapping_mul(PLACE), Relaxed);
        drop(books);
        self.hand_over(now);
    }

    /// Nobody enters and nobody is called until [`lift`](Self::lift). `note` is done first, under the
    /// mutex.
    pub(crate) fn bar(&self, note: impl FnOnce()) {
        let _books = self.books.lock();
        note();
        self.word.fetch_or(BARRED, Relaxed);
    }

    pub(crate) fn is_barred(&self) -> bool {
        self.word.load(Relaxed) & BARRED != 0
    }

    /// Lets people in again, those in the line first, if `over` says so under the mutex: no bar that
    /// was set meanwhile is lifted. True if it did.
    pub(crate) fn lift(&self, over: impl FnOnce() -> bool, now: Now<'_>) -> bool {
        let books = self.books.lock();
        if books.closed || !over() {
            return false;
        }
        // Release: to the Acquire of whoever enters then, which reads no time before the end of the pause.
        self.word.fetch_and(!BARRED, Release);
        drop(books);
        self.hand_over(now);
        true
    }

    /// Tells all who wait, and all who come from now on, that nobody enters any more.
    pub(crate) fn close(&self, now: Now<'_>) {
        let mut books = self.books.lock();
        books.closed = true;
        self.word.fetch_or(BARRED, Relaxed);
        drop(books);
        self.hand_over(now);
    }

    /// Tells `read` how things stand: one moment's truth, for as long as it runs, which is under the mutex.
    pub(crate) fn read<T>(&self, read: impl FnOnce(Standing) -> T) -> T {
        let books = self.books.lock();
        let word = self.word.load(Acquire);
        read(Standing { limit: books.limit, room: room(word), ahead: waiting(word) })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.books.lock().closed
    }

    /// Watches for the moment at which nobody is inside and nobody waits: `None` once it came.
    pub(crate) fn watch(&self, ticket: Option<Ticket>, waker: &Waker) -> Option<Ticket> {
        let own = waker.clone(); // before anything is changed: it is foreign code
        let mut books = self.books.lock();
        if let Some(ticket) = ticket {
            if !books.watchers.is_waiting(&ticket) {
                return None;
            }
            let old = books.watchers.wait_on(&ticket, waker);
            drop(books);
            drop((old, own)); // after the lock
            return Some(ticket);
        }
        // From here on whoever leaves sees that somebody watches. Acquire, here and in `read`: what
        // those who are gone did happens before what is done on hearing of it.
        let word = self.word.fetch_or(WATCHED, Acquire);
        if books.drained(word) {
            if books.watchers.is_empty() {
                self.word.fetch_and(!WATCHED, Relaxed);
            }
            return None;
        }
        Some(books.watchers.join(own, Nanos::NEVER))
    }

    /// Watches no more.
    pub(crate) fn unwatch(&self, ticket: Ticket) {
        let mut books = self.books.lock();
        let left = books.watchers.leave(ticket);
        if books.watchers.is_empty() {
            self.word.fetch_and(!WATCHED, Relaxed);
        }
        drop(books);
        drop(left); // after the lock
    }
}

impl<K> Books<K> {
    fn drained(&self, word: u64) -> bool {
        waiting(word) == 0 && room(word) == i64::from(self.limit)
    }
}
