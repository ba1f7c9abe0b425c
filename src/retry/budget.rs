//! CORE: the retry budget, which keeps retries from prolonging an outage.
//!
//! An attempt cap bounds one request. It does not keep a thousand failing requests from tripling
//! the load of a server that fails *because* of its load. A budget does: it allows retries for only
//! a fraction of the requests.
//!
//! The idea is that of Finagle's `RetryBudget` and of gRPC's retry throttling
//! ([gRFC A6](https://github.com/grpc/proposal/blob/master/A6-client-retries.md)): every request
//! deposits, every retry withdraws, and the balance is bounded. Beside it, a floor of some retries
//! per second lets a client with little traffic retry at all.
//!
//! # Exactness
//!
//! The balance is counted in millionths of a retry. A request deposits `ratio` of them, rounded
//! once, when the ratio is set; a retry withdraws a million. So 0.1 means one retry in exactly
//! ten requests, and a balance of less than a retry pays for none.
//!
//! # State
//!
//! The settings lie beside the state: clones of a budget cannot disagree on the bound of the
//! balance they share. The state is two words, each changed in one atomic step:
//!
//! - `balance`, in millionths of a retry. A withdrawal is one compare-exchange from a balance that
//!   covers it, so nothing is withdrawn twice, whatever is interleaved. While the balance is at its
//!   bound, a deposit is only a load: healthy clients do not contend.
//! - `floor`, the moment by which the floor's retries are paid for: a virtual schedule on which
//!   each retry takes its share of a second
//!   ([GCRA](https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm)). It is used only when the
//!   balance does not cover a retry.
//!
//! Neither guards other memory, so orderings are `Relaxed`, except for those of a changed bound:
//! each word's modification order is enough.
//!
//! # Changed settings
//!
//! Each setting is a word of its own, which a step reads once. The settings are independent of each
//! other, so a step that reads one of them before a change and another after it does as a request
//! between the two changes.
//!
//! A lowered bound cuts the balance, in a step of its own. If a deposit reads the bound before the
//! change, and is added after the cut, then it exceeds the new bound, because it was bounded by the
//! earlier one. So a deposit reads the bound again once it is added, and cuts the balance if the
//! bound was lowered. The cut releases, and the deposit acquires: the one that comes later in the
//! order of the balance finds the other, so the balance is within its bound once both have ended.
//! In between, a withdrawal may take the surplus, which was deposited.
//!
//! The schedule of the floor is a time, and does not depend on the rate. A changed rate changes the
//! share that the next retries take: those paid for stay paid for.
//!
//! # Refunds
//!
//! A retry is paid for before it is certain: code of the user runs in between, and may panic. So a
//! payment is a [`Reservation`], which is refunded unless it is committed. A refund goes to the
//! word that was paid from:
//!
//! - `balance`: the price is added, up to the bound. The balance does not depend on the order of
//!   payments, so the withdrawals never exceed the deposits, whatever is interleaved.
//! - `floor`: the schedule is set back to its value before, in one compare-exchange that succeeds
//!   only if no other retry was paid from it since. If one was, then its share of the schedule lies
//!   behind the refunded one, and a schedule set back would give that share twice. The refunded
//!   share then expires with the time, as every unused share of the floor does.
//!
//! A retry counts from its withdrawal. So a span can see one retry more for each refund in it of a
//! withdrawal from before it.

use std::{fmt, mem, sync::Arc, time::Duration};

use crate::{
    settings::{InvalidSetting, literal},
    sync::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::{Clock, Nanos, Time, nanos},
};

/// One retry, in the units of the balance.
const RETRY: u64 = 1_000_000;
/// The default bound of the balance, as in the AWS SDKs (500 tokens of which a retry takes 5).
pub(crate) const MAX_SAVED: u32 = 100;
/// The default floor, as in Finagle.
pub(crate) const FLOOR_PER_SECOND: u32 = 10;

/// A bound on the retries of all requests together: a ratio of the requests, and a few per second.
///
/// Clones share one balance and its settings, as do all clones of a policy with the budget. The
/// balance starts at zero. Make one budget for each server, and share it: each has a floor of its
/// own.
///
/// | setting | default | changed at run time by | |
/// | --- | --- | --- | --- |
/// | `ratio` | | [`set_ratio`](Self::set_ratio) | retries per request, exact to the millionth |
/// | [`floor_per_second`](RetryBudgetBuilder::floor_per_second) | 10 | [`set_floor_per_second`](Self::set_floor_per_second) | retries per second that need no deposit |
/// | [`max_saved`](RetryBudgetBuilder::max_saved) | 100 | [`set_max_saved`](Self::set_max_saved) | bound of the balance, in retries |
///
/// So in `t` seconds with `n` requests, there are at most
/// `n * ratio + floor_per_second * (t + 1) + saved` retries.
///
/// A retry counts when it is decided on. It is refunded to the account it was paid from if the copy
/// of the request cannot be claimed, or if a panic of the hook or the classifier ends the request.
/// A retry paid from the floor is refunded unless the floor has paid for a later one. A request
/// that is dropped while it waits for its retry gets no refund.
///
/// ```
/// use tower_floodgate::retry::RetryBudget;
///
/// let budget = RetryBudget::builder(0.2).floor_per_second(0).build();
/// for _ in 0..10 {
///     budget.deposit();
/// }
/// assert!(budget.withdraw() && budget.withdraw());
/// assert!(!budget.withdraw(), "ten requests have paid for two retries");
///
/// let error = RetryBudget::try_new(f64::NAN).unwrap_err();
/// assert_eq!(error.to_string(), "ratio is NaN: it must be between 0 and 1000");
/// ```
#[derive(Clone)]
pub struct RetryBudget {
    account: Arc<Account>,
}

/// The settings beside the state, so that clones cannot disagree on them.
struct Account {
    /// Added by each request.
    deposit: AtomicU64,
    /// The bound of `balance`.
    most: AtomicU64,
    /// The retries of the floor, per second.
    rate: AtomicU32,
    balance: AtomicU64,
    floor: AtomicU64,
    clock: Clock,
}

/// A builder of a [`RetryBudget`], returned by [`RetryBudget::builder`].
///
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct RetryBudgetBuilder {
    ratio: f64,
    floor_per_second: u32,
    max_saved: u32,
}

impl RetryBudgetBuilder {
    /// Allows this many retries per second without a deposit. 0 for none.
    pub const fn floor_per_second(self, retries: u32) -> Self {
        Self { floor_per_second: retries, ..self }
    }

    /// Saves up to this many retries for later. With 0 only the floor is left.
    pub const fn max_saved(self, retries: u32) -> Self {
        Self { max_saved: retries, ..self }
    }

    /// Makes a budget, with a balance of its own.
    #[must_use]
    pub fn build(self) -> RetryBudget {
        RetryBudget {
            account: Arc::new(Account {
                deposit: AtomicU64::new(deposit_of(self.ratio)),
                most: AtomicU64::new(u64::from(self.max_saved) * RETRY),
                rate: AtomicU32::new(self.floor_per_second),
                balance: AtomicU64::new(0),
                floor: AtomicU64::new(0),
                clock: Clock::start(),
            }),
        }
    }
}

impl RetryBudget {
    /// Allows `ratio` retries per request: 0.2 (not 20) allows one retry per five requests.
    ///
    /// The other settings have their defaults; [`builder`](Self::builder) changes them.
    ///
    /// # Panics
    ///
    /// If `ratio` is not between 0 and 1000.
    #[must_use]
    #[track_caller]
    pub fn new(ratio: f64) -> Self {
        Self::builder(ratio).build()
    }

    /// Does as [`new`](Self::new), for a value that is not a literal.
    ///
    /// # Errors
    ///
    /// Where `new` panics.
    pub fn try_new(ratio: f64) -> Result<Self, InvalidSetting> {
        Self::try_builder(ratio).map(RetryBudgetBuilder::build)
    }

    /// Starts a budget that allows `ratio` retries per request.
    ///
    /// # Panics
    ///
    /// If `ratio` is not between 0 and 1000.
    #[track_caller]
    pub fn builder(ratio: f64) -> RetryBudgetBuilder {
        literal(Self::try_builder(ratio))
    }

    /// Does as [`builder`](Self::builder), for a value that is not a literal.
    ///
    /// # Errors
    ///
    /// Where `builder` panics.
    pub fn try_builder(ratio: f64) -> Result<RetryBudgetBuilder, InvalidSetting> {
        let ratio = checked_ratio(ratio)?;
        Ok(RetryBudgetBuilder { ratio, floor_per_second: FLOOR_PER_SECOND, max_saved: MAX_SAVED })
    }

    /// Changes the retries per request, for all clones. The balance stays.
    ///
    /// A request that has begun has deposited by the ratio of its beginning.
    ///
    /// # Errors
    ///
    /// If `ratio` is not between 0 and 1000. Nothing is changed then.
    pub fn set_ratio(&self, ratio: f64) -> Result<(), InvalidSetting> {
        self.account.deposit.store(deposit_of(checked_ratio(ratio)?), Relaxed);
        Ok(())
    }

    /// Changes the retries per second that need no deposit, for all clones. 0 for none.
    ///
    /// A retry that was paid from the floor stays paid: after a change the floor pays again when
    /// the shares of those before have passed, which is after a second at most.
    pub fn set_floor_per_second(&self, retries: u32) {
        self.account.rate.store(retries, Relaxed);
    }

    /// Changes the number of retries that are saved, for all clones. With 0 only the floor is left.
    ///
    /// A lower bound cuts the balance at once. A higher one leaves it as it is.
    pub fn set_max_saved(&self, retries: u32) {
        let most = u64::from(retries) * RETRY;
        self.account.most.store(most, Relaxed);
        self.cut(most);
    }

    /// Returns the retries per request, rounded to the millionth.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.account.deposit.load(Relaxed) as f64 / RETRY as f64
    }

    /// Returns the retries per second that need no deposit.
    #[must_use]
    pub fn floor_per_second(&self) -> u32 {
        self.account.rate.load(Relaxed)
    }

    /// Returns the bound of the balance, in retries.
    #[must_use]
    pub fn max_saved(&self) -> u32 {
        whole_retries(self.account.most.load(Relaxed))
    }

    /// Returns true if `other` is a clone of this budget.
    #[cfg(feature = "metrics")]
    pub(crate) fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.account, &other.account)
    }

    /// Returns the number of whole retries that the balance pays for, without those of the floor.
    #[must_use]
    pub fn saved(&self) -> u32 {
        let Account { balance, most, .. } = &*self.account;
        whole_retries(balance.load(Relaxed).min(most.load(Relaxed)))
    }

    /// Deposits a request's share. [`ExponentialRetry`](super::ExponentialRetry) calls it itself.
    // Out of line: the code of a policy without a budget is short enough to be inlined then.
    #[inline(never)]
    pub fn deposit(&self) {
        let Account { deposit, most, balance, .. } = &*self.account;
        // At its bound, the balance stays.
        if balance.load(Relaxed) < most.load(Relaxed) {
            self.pay_in(deposit.load(Relaxed));
        }
    }

    /// Adds to the balance, up to its bound.
    fn pay_in(&self, amount: u64) {
        let Account { balance, most, .. } = &*self.account;
        let bound = most.load(Relaxed);
        let mut now = balance.load(Relaxed);
        while now < bound {
            // No overflow: both are far below 2^63.
            let next = (now + amount).min(bound);
            // Acquire: if the bound was lowered and the balance cut before this step, the new bound
            // is read below.
            match balance.compare_exchange_weak(now, next, Acquire, Relaxed) {
                Ok(_) => {
                    let lowered = most.load(Relaxed);
                    if lowered < bound {
                        self.cut(lowered);
                    }
                    return;
                }
                Err(newer) => now = newer,
            }
        }
    }

    /// Cuts the balance to its bound, which was lowered.
    #[cold]
    fn cut(&self, most: u64) {
        // Release: a deposit that is added after this step reads the bound that was set before it.
        self.account.balance.fetch_min(most, Release);
    }

    /// Withdraws a retry from the balance, or else from the floor. False if neither covers it.
    ///
    /// [`ExponentialRetry`](super::ExponentialRetry) calls it itself.
    #[must_use = "a retry that is not paid for must not be made"]
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
        let Floor { step, ahead } = Floor::per_second(self.floor_per_second());
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

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBudget")
            .field("ratio", &self.ratio())
            .field("floor_per_second", &self.floor_per_second())
            .field("max_saved", &self.max_saved())
            .field("saved", &self.saved())
            .finish()
    }
}

/// Checks a number of retries per request.
fn checked_ratio(ratio: f64) -> Result<f64, InvalidSetting> {
    if !(0.0..=1000.0).contains(&ratio) {
        return Err(InvalidSetting::new("ratio", ratio, "between 0 and 1000"));
    }
    Ok(ratio)
}

/// Returns the deposit of a request.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the ratio is between 0 and 1000"
)]
fn deposit_of(ratio: f64) -> u64 {
    (ratio * RETRY as f64).round() as u64
}

/// Returns the whole retries of a balance.
fn whole_retries(balance: u64) -> u32 {
    // No truncation: the bound of the balance is set as a `u32`.
    u32::try_from(balance / RETRY).unwrap_or(u32::MAX)
}

/// A retry that is paid for and not made yet. Refunded if it is dropped before it is committed.
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

/// The rate of the floor: a second's worth at once, then one retry every `step`.
#[derive(Clone, Copy, Debug)]
struct Floor {
    /// The share of the schedule that one retry takes.
    step: Duration,
    /// The bound on how far the schedule is ahead of the time.
    ahead: Duration,
}

impl Floor {
    fn per_second(retries: u32) -> Self {
        let second = Duration::from_secs(1);
        if retries == 0 {
            // No step fits into zero.
            return Self { step: second, ahead: Duration::ZERO };
        }
        // Rounded up, so that no second has one retry too many.
        let step = Duration::from_nanos(nanos(second).div_ceil(retries.into()));
        Self { step, ahead: step * retries }
    }
}
