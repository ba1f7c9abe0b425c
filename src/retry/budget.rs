//! CORE: the retry budget, which keeps retries from making an outage worse.
//!
//! An attempt cap bounds what one request does; it doesn't keep a thousand requests, each failing, from
//! asking three times as much of a server that is down *because* it is asked too much. A budget does: it
//! lets retries be only a fraction of the requests.
//!
//! The idea is that of Finagle's `RetryBudget` and of gRPC's retry throttling
//! ([gRFC A6](https://github.com/grpc/proposal/blob/master/A6-client-retries.md)): every request pays in,
//! every retry takes out, and what has been saved is bounded. On top of that a floor of some retries a
//! second lets a quiet client try again at all.
//!
//! # Exact
//!
//! The balance is counted in millionths of a retry: a request pays in `ratio` of them, rounded once, when
//! the budget is made, and a retry takes out a million. So 0.1 means one retry in exactly ten requests,
//! not one in nine or eleven at times, and a balance of less than a retry buys none.
//!
//! # The state
//!
//! Two words, each of which decides by itself, in one atomic step:
//!
//! - `balance`, in millionths of a retry. A withdrawal is one compare-exchange from a balance that covers it,
//!   so whatever is interleaved, nothing is withdrawn twice. While the balance is at its bound, a deposit
//!   is only a load: healthy clients don't contend.
//! - `floor`, the moment by which the floor's retries are paid for: a virtual schedule on which each retry
//!   takes its share of a second ([GCRA](https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm)). It is
//!   asked only when the balance is short.
//!
//! Neither guards other memory, so all orderings are `Relaxed`: each word's own history is enough.
//!
//! # Refunds
//!
//! A retry is paid for before it is certain: code of the user runs in between, and may panic. So a
//! payment is a [`Reservation`], which is refunded unless it is committed. A refund goes to the
//! word that was paid from:
//!
//! - `balance`: the price is added, up to the bound. The balance doesn't depend on the order of
//!   payments, so no more is withdrawn in all than was deposited, whatever is interleaved.
//! - `floor`: the schedule is set back to where it was, in one compare-exchange that succeeds only
//!   if no other retry was paid from it since. If one was, then its share of the schedule lies
//!   behind the refunded one, and a schedule set back would give that share twice. The refunded
//!   share then lapses with the time, as every unused share of the floor does.
//!
//! A retry counts from its withdrawal. So a span can see one retry more for each refund in it of a
//! withdrawal from before it.

use std::{mem, sync::Arc, time::Duration};

use crate::{
    clock::{Clock, Nanos, nanos},
    settings::{InvalidSetting, literal},
    sync::{AtomicU64, Ordering::Relaxed},
};

/// A retry, in the units of the balance.
const RETRY: u64 = 1_000_000;
/// Retries saved up at most, as in the AWS SDKs (500 tokens of which a retry takes 5).
const SAVINGS: u32 = 100;
/// Retries a second that need no deposit, as in Finagle.
const FLOOR: u32 = 10;

/// How many retries all requests together may make: a `ratio` of the requests, and a few a second on top.
///
/// Clones share one balance, as do all clones of a policy that has it. A balance starts at nothing. Make
/// one budget for what one server gets, and share it: each has a floor of its own.
///
/// | setting | default | |
/// | --- | --- | --- |
/// | `ratio` | | retries per request, exact to the millionth |
/// | [`floor_per_second`](Self::floor_per_second) | 10 | retries a second that no request must have paid for |
/// | [`max_saved`](Self::max_saved) | 100 | retries that can be saved up |
///
/// So in `t` seconds with `n` requests, no more than `n * ratio + floor * (t + 1) + saved` retries.
///
/// A retry counts when it is decided on. It is refunded to where it was paid from if the copy of
/// the request can't be claimed, or if a panic of the hook or the classifier ends the request. A
/// floor's retry is refunded unless another one was paid from the floor meanwhile. A request that
/// is dropped while it waits for its retry gets no refund.
///
/// ```
/// use tower_floodgate::retry::RetryBudget;
///
/// let budget = RetryBudget::new(0.2).floor_per_second(0);
/// for _ in 0..10 {
///     budget.deposit();
/// }
/// assert!(budget.withdraw() && budget.withdraw());
/// assert!(!budget.withdraw(), "ten requests have paid for two retries");
///
/// let error = RetryBudget::try_new(f64::NAN).unwrap_err();
/// assert_eq!(error.to_string(), "ratio is NaN: it must be between 0 and 1000");
/// ```
#[derive(Clone, Debug)]
pub struct RetryBudget {
    deposit: u64,
    most: u64,
    floor: Floor,
    account: Arc<Account>,
}

#[derive(Debug)]
struct Account {
    balance: AtomicU64,
    floor: AtomicU64,
    clock: Clock,
}

impl RetryBudget {
    /// Lets `ratio` retries be made per request: 0.2 (not 20) lets every fifth request be retried once.
    ///
    /// # Panics
    ///
    /// If `ratio` is not between 0 and 1000.
    #[must_use]
    #[track_caller]
    pub fn new(ratio: f64) -> Self {
        literal(Self::try_new(ratio))
    }

    /// [`new`](Self::new) for a value that is read from somewhere.
    ///
    /// # Errors
    ///
    /// Where `new` panics.
    pub fn try_new(ratio: f64) -> Result<Self, InvalidSetting> {
        if !(0.0..=1000.0).contains(&ratio) {
            return Err(InvalidSetting::new("ratio", ratio, "between 0 and 1000"));
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and a thousand millions"
        )]
        let deposit = (ratio * RETRY as f64).round() as u64;
        Ok(Self {
            deposit,
            most: u64::from(SAVINGS) * RETRY,
            floor: Floor::per_second(FLOOR),
            account: Arc::new(Account {
                balance: AtomicU64::new(0),
                floor: AtomicU64::new(0),
                clock: Clock::start(),
            }),
        })
    }

    /// So many retries a second need no deposit. 0 for none.
    #[must_use]
    pub fn floor_per_second(self, retries: u32) -> Self {
        Self { floor: Floor::per_second(retries), ..self }
    }

    /// So many retries can be saved up in good times to be spent in bad ones. With 0 only the floor is
    /// left.
    #[must_use]
    pub fn max_saved(self, retries: u32) -> Self {
        Self { most: u64::from(retries) * RETRY, ..self }
    }

    /// How many retries the deposits pay for at the moment, whole ones. Without the floor's.
    #[must_use]
    pub fn saved(&self) -> u64 {
        self.account.balance.load(Relaxed) / RETRY
    }

    /// A request is made: pays in its share. [`ExponentialRetry`](super::ExponentialRetry) does it by itself.
    #[inline]
    pub fn deposit(&self) {
        self.pay_in(self.deposit);
    }

    /// Adds to the balance, up to its bound.
    #[inline]
    fn pay_in(&self, amount: u64) {
        let balance = &self.account.balance;
        let mut now = balance.load(Relaxed);
        while now < self.most {
            // No overflow: both are far below 2^63.
            let next = (now + amount).min(self.most);
            match balance.compare_exchange_weak(now, next, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(newer) => now = newer,
            }
        }
    }

    /// A retry is to be made: takes out its price, from what was paid in or else from the floor. False if
    /// neither has it. [`ExponentialRetry`](super::ExponentialRetry) does it by itself.
    #[must_use = "a retry that was not paid for must not be made"]
    pub fn withdraw(&self) -> bool {
        self.reserve().map(Reservation::commit).is_some()
    }

    /// Withdraws a retry that is refunded unless it is committed.
    pub(super) fn reserve(&self) -> Option<Reservation<'_>> {
        let paid = self.withdraw_saved().or_else(|| self.withdraw_floor(self.account.clock.now()));
        paid.map(|paid| Reservation { budget: self, paid })
    }

    fn withdraw_saved(&self) -> Option<Paid> {
        let balance = &self.account.balance;
        let paid = balance.fetch_update(Relaxed, Relaxed, |now| now.checked_sub(RETRY));
        paid.is_ok().then_some(Paid::Saved)
    }

    fn withdraw_floor(&self, now: Nanos) -> Option<Paid> {
        let Floor { step, ahead } = self.floor;
        let next = |paid_until: u64| {
            let paid_until = Nanos::new(paid_until).max(now).after(step);
            (paid_until.since(now) <= ahead).then_some(paid_until.get())
        };
        let before = self.account.floor.fetch_update(Relaxed, Relaxed, next).ok()?;
        next(before).map(|until| Paid::Floor { before, until })
    }

    fn refund(&self, paid: Paid) {
        match paid {
            Paid::Saved => self.pay_in(RETRY),
            Paid::Floor { before, until } => {
                // Fails if another retry was paid from the floor since: see the module.
                let _ = self.account.floor.compare_exchange(until, before, Relaxed, Relaxed);
            }
        }
    }
}

/// A retry that is paid for and not made yet. Dropped before it is committed, it is refunded.
#[derive(Debug)]
#[must_use = "dropped, it is refunded"]
pub(super) struct Reservation<'a> {
    budget: &'a RetryBudget,
    paid: Paid,
}

impl Reservation<'_> {
    /// Keeps the payment: the retry is made.
    pub(super) fn commit(self) {
        mem::forget(self);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.budget.refund(self.paid);
    }
}

/// The word that a retry was paid from.
#[derive(Clone, Copy, Debug)]
enum Paid {
    /// The balance.
    Saved,
    /// The floor, whose schedule was moved from `before` to `until`.
    Floor { before: u64, until: u64 },
}

/// What the floor gives: a second's worth at once, then a retry every `step`.
#[derive(Clone, Copy, Debug)]
struct Floor {
    /// What a retry takes of the schedule.
    step: Duration,
    /// How far ahead of the time the schedule may be.
    ahead: Duration,
}

impl Floor {
    fn per_second(retries: u32) -> Self {
        let second = Duration::from_secs(1);
        if retries == 0 {
            // No step fits into nothing.
            return Self { step: second, ahead: Duration::ZERO };
        }
        // Rounded up: not one too many.
        let step = Duration::from_nanos(nanos(second).div_ceil(retries.into()));
        Self { step, ahead: step * retries }
    }
}
