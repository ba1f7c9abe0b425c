//! The search for the knee under the model checker, alone and with the semaphore whose limit it
//! sets.

use std::cell::Cell;

use futures::task::noop_waker;
use loom::sync::Arc;

use crate::{
    Model,
    adapter::{Acquired, Polled, Untimed},
    join,
    knee::{Claim, Knee, Range, Stamp},
    semaphore::Semaphore,
    spawn,
    time::Nanos,
};

const PREEMPTIONS: usize = 3;

const NOW: Nanos = Nanos::new(0);
const MILLISECOND: u64 = 1_000_000;

/// A limiter that adapts, as far as the cores go.
struct Limiter {
    semaphore: Semaphore<Untimed>,
    knee: Knee,
}

impl Limiter {
    /// Creates a limiter that starts at 2: its first half round has a limit of 3, and the next one
    /// of 1.
    fn new() -> Arc<Self> {
        let knee = Knee::new(Range { min: 1, max: 4, sharers: 2 }, 2);
        let semaphore = Semaphore::new(knee.limit(), Untimed, ()).telling_last();
        assert_eq!(knee.limit(), 3);
        Arc::new(Self { semaphore, knee })
    }

    /// Creates a limiter with a half round that is complete but for `missing` requests.
    fn almost_complete(missing: u32) -> Arc<Self> {
        let limiter = Self::new();
        for _ in missing..NEED {
            let stamp = limiter.knee.present().expect("a half round");
            assert!(limiter.knee.served(stamp, MILLISECOND).is_none());
        }
        limiter
    }

    /// Acquires a permit without a wait, as a service does. Returns the stamp, if it was the last
    /// one.
    fn acquire(&self) -> Option<Option<Stamp>> {
        if self.semaphore.try_acquire_unobserved() {
            return Some(None);
        }
        let stamp = self.knee.present();
        let is_last = self.semaphore.try_acquire_telling()?;
        Some(stamp.filter(|_| is_last))
    }

    /// A request with this stamp is served. Returns true if it made a step.
    fn served(&self, stamp: Stamp) -> bool {
        self.knee.served(stamp, MILLISECOND).is_some_and(|claim| self.step(&claim))
    }

    /// A request with this stamp is lost. Returns true if it made a step.
    fn lost(&self, stamp: Stamp) -> bool {
        self.knee.overloaded(stamp).is_some_and(|claim| self.step(&claim))
    }

    fn step(&self, claim: &Claim) -> bool {
        self.change(|knee| knee.step(claim, NOW))
    }

    fn hold(&self, limit: u32) {
        self.semaphore.set_limit(limit, || self.knee.hold(limit));
    }

    fn adapt(&self) -> bool {
        self.change(Knee::adapt)
    }

    /// As the limiter does. Returns true if the search made a step.
    fn change(&self, step: impl FnOnce(&Knee) -> Option<u32>) -> bool {
        let has_stepped = Cell::new(false);
        let limit = |present| match step(&self.knee) {
            Some(limit) => {
                has_stepped.set(true);
                limit
            }
            None => present,
        };
        let begin = || {
            if has_stepped.get() {
                self.knee.begin();
            }
        };
        self.semaphore.change(limit, || {}, begin);
        has_stepped.get()
    }

    /// Makes requests that are served until one of them makes a step. Returns their number.
    fn complete(&self) -> u32 {
        let stamp = self.knee.present().expect("a half round");
        (1..10_000).find(|_| self.served(stamp)).expect("a half round ends")
    }

    /// Makes requests that are lost until one of them makes a step. Returns their number.
    fn lower(&self) -> u32 {
        let stamp = self.knee.present().expect("a half round");
        (1..10_000).find(|_| self.lost(stamp)).expect("most are lost")
    }

    /// Asserts that the limit is that of the search, and that as many permits can be acquired.
    fn is_whole(&self, held: u32) {
        assert_eq!(self.semaphore.limit(), self.knee.limit());
        let view = self.semaphore.view();
        assert_eq!(view.held(), held);
    }
}

/// The measured requests of the first half round.
const NEED: u32 = 13;

/// A8: of the requests that complete a half round, one makes its step, and the others are not
/// measured.
#[test]
fn a8_half_round_completed_by_two_threads_makes_one_step() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limiter = Limiter::almost_complete(1);
        let stamp = limiter.knee.present().expect("a half round");
        let other = spawn(&limiter, move |limiter| u32::from(limiter.served(stamp)));
        let steps = u32::from(limiter.served(stamp)) + other.join().expect("its thread ends");
        assert_eq!(steps, 1);
        assert_eq!(limiter.semaphore.limit(), 1);
        assert_ne!(limiter.knee.present(), Some(stamp), "the next half round has begun");
        limiter.is_whole(0);
    });
}

/// A8: a half round is claimed by one of the requests that complete it, served or lost: another
/// claim would hold the means of no half round.
#[test]
fn a8_half_round_is_claimed_once() {
    for is_served in [true, false] {
        Model { threads: 2, preemptions: PREEMPTIONS }.check(move || {
            let limiter = Limiter::almost_complete(1);
            let stamp = limiter.knee.present().expect("a half round");
            let claims = move |limiter: &Limiter, is_served: bool| {
                if is_served {
                    limiter.knee.served(stamp, MILLISECOND).is_some()
                } else {
                    limiter.knee.overloaded(stamp).is_some()
                }
            };
            let other = spawn(&limiter, move |limiter| claims(limiter, is_served));
            let mine = claims(&limiter, true);
            assert!(mine != other.join().expect("its thread ends"), "one claim");
            assert!(!claims(&limiter, true) && !claims(&limiter, false), "it is claimed");
        });
    }
}

/// A8: no measured request is lost beside another one, and none counts twice.
#[test]
fn a8_requests_measured_at_once_all_count() {
    Model { threads: 3, preemptions: PREEMPTIONS }.check(|| {
        let limiter = Limiter::almost_complete(3);
        let stamp = limiter.knee.present().expect("a half round");
        let others = [(); 2].map(|()| spawn(&limiter, move |limiter| limiter.served(stamp)));
        let mine = limiter.served(stamp);
        let steps = join(others).into_iter().filter(|&step| step).count() + usize::from(mine);
        assert_eq!(steps, 1, "three were missing, and three have come");
    });
}

/// A5: a lost request and a measured one, of which either completes the half round, make one step.
#[test]
fn a5_lost_request_beside_a_measured_one_makes_one_step() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limiter = Limiter::almost_complete(1);
        let stamp = limiter.knee.present().expect("a half round");
        let other = spawn(&limiter, move |limiter| limiter.lost(stamp));
        let is_by_measured = limiter.served(stamp);
        let is_by_lost = other.join().expect("its thread ends");
        assert!(is_by_measured != is_by_lost, "one was missing, and two have come");
        limiter.is_whole(0);
        assert_ne!(limiter.knee.present(), Some(stamp));
    });
}

/// A5: a step of the rule for lost requests counts a measured request that comes beside it, or not.
#[test]
fn a5_overload_beside_a_measured_request_makes_one_step() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        // Seven are lost, and one is measured: with one more of each, the limit is lowered.
        let limiter = Limiter::almost_complete(NEED - 1);
        let stamp = limiter.knee.present().expect("a half round");
        for _ in 0..7 {
            assert!(limiter.knee.overloaded(stamp).is_none());
        }
        let other = spawn(&limiter, move |limiter| limiter.lost(stamp));
        let measured = limiter.served(stamp);
        assert!(!measured, "the half round is not complete");
        let lowered = other.join().expect("its thread ends");
        assert!(lowered, "eight are lost, and two measured at most");
        limiter.is_whole(0);
        assert_ne!(limiter.knee.present(), Some(stamp));
    });
}

/// A5: of two requests that are lost, one makes the step.
#[test]
fn a5_requests_lost_at_once_make_one_step() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limiter = Limiter::new();
        let stamp = limiter.knee.present().expect("a half round");
        for _ in 0..6 {
            assert!(limiter.knee.overloaded(stamp).is_none());
        }
        let other = spawn(&limiter, move |limiter| u32::from(limiter.lost(stamp)));
        let steps = u32::from(limiter.lost(stamp)) + other.join().expect("its thread ends");
        assert_eq!(steps, 1, "the eighth");
        limiter.is_whole(0);
    });
}

/// A9: a hold beside a step pins its limit, whichever comes first.
#[test]
fn a9_hold_beside_a_step_pins_its_limit() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limiter = Limiter::almost_complete(1);
        let stamp = limiter.knee.present().expect("a half round");
        let other = spawn(&limiter, |limiter| limiter.hold(4));
        limiter.served(stamp);
        other.join().expect("its thread ends");
        assert_eq!(limiter.semaphore.limit(), 4);
        assert!(limiter.knee.is_held());
        assert_eq!(limiter.knee.present(), None, "nothing is measured");
        limiter.is_whole(0);
    });
}

/// A9: a search that adapts again beside a hold is held, or goes on, as a whole.
#[test]
fn a9_adapt_beside_a_hold_is_held_or_goes_on() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limiter = Limiter::new();
        limiter.hold(1);
        let other = spawn(&limiter, Limiter::adapt);
        limiter.hold(4);
        other.join().expect("its thread ends");
        let is_held = limiter.knee.is_held();
        assert_eq!(limiter.knee.present().is_none(), is_held);
        assert_eq!(limiter.semaphore.limit() == 4, is_held || limiter.knee.limit() == 4);
        limiter.is_whole(0);
    });
}

/// A2: a request that carries the number of a half round has taken the last permit of its limit, or
/// is not measured, while the limit changes under its acquire.
#[test]
fn a2_permit_acquired_beside_a_step_is_the_last_one_of_its_half_round() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limiter = Limiter::almost_complete(1);
        let first = limiter.knee.present().expect("a half round");
        // The limit goes from 3 to 1.
        let other = spawn(&limiter, |limiter: &Limiter| {
            [(); 2].map(|()| limiter.acquire()).into_iter().flatten().collect::<Vec<_>>()
        });
        assert!(limiter.served(first));
        let acquired = other.join().expect("its thread ends");
        for (before, stamp) in acquired.iter().enumerate() {
            if let Some(stamp) = stamp {
                // Without another holder, the first request may take the last permit of 1, and
                // neither of two takes that of 3.
                assert!(*stamp == first || before == 0, "not the last permit of its limit");
                let is_second = limiter.knee.present() == Some(*stamp);
                assert!(is_second || *stamp == first);
            }
        }
        assert_eq!(limiter.semaphore.view().held(), u32::try_from(acquired.len()).expect("two"));
    });
}

/// A2: the last permit of a limit is not measured in the half round of the next one, which has no
/// permit left over.
#[test]
fn a2_last_permit_of_a_limit_is_not_measured_in_the_next_half_round() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limiter = Limiter::almost_complete(1);
        let first = limiter.knee.present().expect("a half round");
        assert!((0..2).all(|_| limiter.acquire().is_some()));
        // The limit goes from 3 to 1.
        let other = spawn(&limiter, Limiter::acquire);
        assert!(limiter.served(first));
        let stamp = other.join().expect("its thread ends").flatten();
        assert!(stamp.is_none_or(|stamp| stamp == first), "not the last permit of its limit");
    });
}

/// A2: a waiter that was granted the last permit of an earlier limit does not carry the number of
/// the present half round.
#[test]
fn a2_grant_before_a_step_is_not_measured_after_it() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limiter = Limiter::almost_complete(1);
        let first = limiter.knee.present().expect("a half round");
        assert!((0..3).all(|_| limiter.acquire().is_some()));
        let Acquired::Queued(key) = limiter.semaphore.acquire(&noop_waker()) else {
            panic!("a permit beyond the limit")
        };
        limiter.semaphore.release(1); // granted: the last of 3
        let other = spawn(&limiter, move |limiter: &Limiter| {
            let stamp = limiter.knee.present();
            assert_eq!(limiter.semaphore.poll_waiter(&key, &noop_waker()), Polled::Granted);
            stamp.filter(|_| limiter.semaphore.was_last(&key))
        });
        assert!(limiter.served(first));
        let stamp = other.join().expect("its thread ends");
        assert!(stamp.is_none_or(|stamp| stamp == first), "granted in the half round before");
    });
}

/// A2: a grant by a raised limit is measured in its half round, and only the last one is.
#[test]
fn a2_b2_grant_by_a_step_belongs_to_its_half_round() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limiter = Limiter::new();
        limiter.hold(1);
        assert!(limiter.acquire().is_some());
        let queue = || match limiter.semaphore.acquire(&noop_waker()) {
            Acquired::Queued(key) => key,
            other => panic!("a permit beyond the limit: {other:?}"),
        };
        let keys = [queue(), queue()];
        let other = spawn(&limiter, Limiter::adapt); // from 1: a limit of 2
        let polled = keys.map(|key| {
            let stamp = limiter.knee.present();
            let polled = limiter.semaphore.poll_waiter(&key, &noop_waker());
            let is_last = polled == Polled::Granted && limiter.semaphore.was_last(&key);
            (polled == Polled::Granted, stamp.filter(|_| is_last))
        });
        assert!(other.join().expect("its thread ends"));
        let present = limiter.knee.present();
        for (number, (is_granted, stamp)) in polled.into_iter().enumerate() {
            assert!(!is_granted || number == 0, "one permit more");
            assert!(stamp.is_none() || stamp == present);
        }
        assert_eq!(limiter.semaphore.view().held(), 2);
    });
}

/// A2: of the requests that acquire all permits at once, one has taken the last. Of a limit that is
/// observed, all of them take the path that tells.
#[test]
fn a2_last_of_all_permits_is_told_to_one_request() {
    for is_observed in [false, true] {
        Model { threads: 2, preemptions: PREEMPTIONS }.check(move || {
            let limiter = Limiter::new();
            if is_observed {
                limiter.semaphore.observe();
            }
            let all = |limiter: &Limiter, number: usize| -> usize {
                let acquired = (0..number).map(|_| limiter.acquire().expect("a permit is left"));
                acquired.flatten().count()
            };
            let other = spawn(&limiter, move |limiter| all(limiter, 2));
            let last = all(&limiter, 1) + other.join().expect("its thread ends");
            assert_eq!(last, 1);
            limiter.is_whole(3);
        });
    }
}

/// A2: a waiter that is granted a permit, beside a raise that leaves others over, was not the last.
#[test]
fn a2_grant_beside_a_raise_is_not_the_last_one_of_the_raised_limit() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let semaphore = Arc::new(Semaphore::new(1, Untimed, ()).telling_last());
        assert_eq!(semaphore.try_acquire_telling(), Some(true));
        let Acquired::Queued(key) = semaphore.acquire(&noop_waker()) else {
            panic!("a permit beyond the limit")
        };
        let other = spawn(&semaphore, |semaphore| {
            semaphore.set_limit(3, || {});
        });
        semaphore.release(1);
        other.join().expect("its thread ends");
        assert_eq!(semaphore.poll_waiter(&key, &noop_waker()), Polled::Granted);
        assert!(!semaphore.was_last(&key), "two permits are left over");
    });
}

/// A8: a half round that begins beside its first requests is complete after as many as it needs,
/// and not after as many as the one before.
#[test]
fn a8_half_round_that_begins_needs_its_own_number_of_requests() {
    // Limits that are close together need more requests.
    Model { threads: 2, preemptions: 2 }.check(|| {
        let before = Limiter::new().complete();
        let limiter = Limiter::new();
        limiter.hold(4);
        let other = spawn(&limiter, move |limiter: &Limiter| {
            let Some(stamp) = limiter.knee.present() else { return 0 };
            assert!((0..before).all(|_| !limiter.served(stamp)), "as many as before");
            before
        });
        assert!(limiter.adapt());
        let served = other.join().expect("its thread ends");
        assert!(served + limiter.complete() > before, "it needs more");
        limiter.is_whole(0);
    });
}

/// A5: lost requests of a half round that begins beside them all count, and no earlier ones.
#[test]
fn a5_half_round_that_begins_counts_its_own_lost_requests() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limiter = Limiter::new();
        let before = limiter.knee.present().expect("a half round");
        assert!(!limiter.lost(before));
        limiter.hold(2);
        let other = spawn(&limiter, move |limiter: &Limiter| {
            let stamp = limiter.knee.present();
            stamp.map_or(0, |stamp| u32::from(!limiter.lost(stamp)))
        });
        assert!(limiter.adapt());
        let lost = other.join().expect("its thread ends");
        let separate = Limiter::new();
        separate.hold(2);
        assert!(separate.adapt());
        assert_eq!(lost + limiter.lower(), separate.lower());
        limiter.is_whole(0);
    });
}

/// A2: a request that ends beside the step of its half round counts in no later one, whether it is
/// served or lost.
#[test]
fn a2_request_that_ends_beside_a_step_counts_in_no_later_half_round() {
    for is_served in [true, false] {
        Model { threads: 2, preemptions: PREEMPTIONS }.check(move || {
            let separate = Limiter::new();
            separate.complete();
            let limiter = Limiter::almost_complete(1);
            let stamp = limiter.knee.present().expect("a half round");
            let other = spawn(&limiter, move |limiter| {
                if is_served { limiter.served(stamp) } else { limiter.lost(stamp) }
            });
            let mine = limiter.served(stamp);
            assert!(mine != other.join().expect("its thread ends"), "one step");
            assert!(!limiter.served(stamp) && !limiter.lost(stamp), "its half round has passed");
            assert_eq!(limiter.semaphore.limit(), separate.semaphore.limit());
            if is_served {
                assert_eq!(limiter.complete(), separate.complete());
            } else {
                assert_eq!(limiter.lower(), separate.lower());
            }
        });
    }
}

/// A5: a request that would have lowered the limit makes no step once its half round has passed.
#[test]
fn a5_enough_lost_requests_beside_a_step_make_no_other_one() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let most = Limiter::new().lower();
        let limiter = Limiter::new();
        let stamp = limiter.knee.present().expect("a half round");
        assert!((1..most).all(|_| !limiter.lost(stamp)));
        assert!((1..NEED).all(|_| !limiter.served(stamp)));
        let other = spawn(&limiter, move |limiter| limiter.lost(stamp));
        let mine = limiter.served(stamp);
        assert!(mine != other.join().expect("its thread ends"), "one step");
        assert_ne!(limiter.knee.present(), Some(stamp));
        limiter.is_whole(0);
    });
}

/// A9: a search that is not held goes on, beside an `adapt`, with the half round that it is in.
#[test]
fn a9_adapt_of_a_search_that_is_not_held_makes_no_step() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limiter = Limiter::almost_complete(1);
        let stamp = limiter.knee.present().expect("a half round");
        let other = spawn(&limiter, Limiter::adapt);
        assert!(limiter.served(stamp), "the half round is complete");
        assert!(!other.join().expect("its thread ends"), "it is not held");
        limiter.is_whole(0);
    });
}

/// A9: a claim of a half round that was ended by a hold makes no step, even if the search adapts
/// again before it.
#[test]
fn a9_claim_from_before_a_hold_makes_no_step_after_it() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let limiter = Limiter::almost_complete(1);
        let stamp = limiter.knee.present().expect("a half round");
        let claim = limiter.knee.served(stamp, MILLISECOND).expect("the half round is complete");
        let other = spawn(&limiter, |limiter: &Limiter| {
            limiter.hold(4);
            assert!(limiter.adapt());
        });
        let is_first = limiter.step(&claim);
        other.join().expect("its thread ends");
        assert!(!limiter.step(&claim), "made, or outdated");
        assert!(!limiter.knee.is_held());
        // From 4, whether the step came before the hold or not.
        assert!(limiter.semaphore.limit() >= 3, "after a step: {is_first}");
        assert!(limiter.knee.present().is_some());
        limiter.is_whole(0);
    });
}
