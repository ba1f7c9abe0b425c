//! Lists of rules: one rule, or a tuple of them.

#![allow(private_interfaces, reason = "the traits are sealed")]

use std::mem;

#[cfg(feature = "server")]
use super::standing::Subject;
use super::{
    key::Key,
    rule::{Rule, RuleConfig},
    rule_state::{Held, RuleState},
    settle::{IsLate, Settle},
    table::state::Now,
    terms::ReadTerms,
};
use crate::{rejected::Rejected, time::Clock};

/// One rule, or a tuple of up to six, which are decided together. Sealed.
pub trait RuleList: sealed::Sealed {
    /// What a request holds of each rule.
    #[doc(hidden)]
    type Held: AsRef<[Held]> + Copy;

    /// Where a request counts in each rule.
    #[cfg(feature = "server")]
    #[doc(hidden)]
    type Subjects: AsRef<[Subject]> + Copy;

    /// The settings of each rule, and whether its permits are settled with the response.
    #[doc(hidden)]
    fn states(&self, clock: Clock) -> Result<Vec<RuleState>, crate::InvalidSetting>;
}

/// Rules for a type of requests. Sealed.
pub trait Rules<Request>: RuleList {
    /// Acquires what the request needs of all rules, or nothing.
    #[doc(hidden)]
    fn decide(
        &self,
        states: &[RuleState],
        request: &Request,
        now: &mut Now<'_, Clock>,
    ) -> Result<Self::Held, Rejected>;

    /// Returns where the request counts in each rule.
    #[cfg(feature = "server")]
    #[doc(hidden)]
    fn subjects(&self, states: &[RuleState], request: &Request) -> Self::Subjects;
}

/// Rules for a type of responses, and of errors. Sealed.
pub trait SettleRules<Response, Error>: RuleList {
    #[doc(hidden)]
    fn settle(
        &self,
        states: &[RuleState],
        held: &Self::Held,
        result: Result<&Response, &Error>,
        now: &mut Now<'_, Clock>,
    );
}

/// One rule, or a tuple of rules. Sealed.
pub trait IntoRules {
    /// The tuple.
    type Rules: RuleList;

    #[doc(hidden)]
    fn into_rules(self) -> Self::Rules;
}

impl<K, T, S: IsLate> IntoRules for Rule<K, T, S> {
    type Rules = (Self,);

    fn into_rules(self) -> (Self,) {
        (self,)
    }
}

mod sealed {
    pub trait Sealed {}
}

impl<K, T, S> Rule<K, T, S> {
    fn config(&self) -> &RuleConfig {
        &self.config
    }
}

macro_rules! rules {
    ($count:literal: $(($index:tt $rule:ident $key:ident $terms:ident $settle:ident)),+) => {
        impl<$($key, $terms, $settle),+> sealed::Sealed for ($(Rule<$key, $terms, $settle>,)+) {}

        impl<$($key, $terms, $settle: IsLate),+> RuleList for ($(Rule<$key, $terms, $settle>,)+) {
            type Held = [Held; $count];
            #[cfg(feature = "server")]
            type Subjects = [Subject; $count];

            fn states(&self, clock: Clock) -> Result<Vec<RuleState>, crate::InvalidSetting> {
                let ($($rule,)+) = self;
                Ok(vec![$(RuleState::new($rule.config(), $rule.is_late(), clock)?),+])
            }
        }

        impl<$($key, $terms, $settle: IsLate),+> IntoRules
            for ($(Rule<$key, $terms, $settle>,)+)
        {
            type Rules = Self;

            fn into_rules(self) -> Self {
                self
            }
        }

        impl<Request, $($key, $terms, $settle),+> Rules<Request>
            for ($(Rule<$key, $terms, $settle>,)+)
        where
            $($key: Key<Request>, $terms: ReadTerms<Request>, $settle: IsLate,)+
        {
            #[inline]
            fn decide(
                &self,
                states: &[RuleState],
                request: &Request,
                now: &mut Now<'_, Clock>,
            ) -> Result<Self::Held, Rejected> {
                let ($($rule,)+) = self;
                let mut acquired = Acquired { states, held: [Held::NOTHING; $count] };
                $(
                    let terms = $rule.terms.terms(request);
                    match states[$index].decide(&$rule.key, request, terms, now) {
                        Ok(permits) => acquired.held[$index] = permits,
                        Err(rejected) => {
                            drop(acquired);
                            return Err(self.look($index, rejected, states, request, now));
                        }
                    }
                )+
                Ok(acquired.keep())
            }

            #[cfg(feature = "server")]
            fn subjects(&self, states: &[RuleState], request: &Request) -> Self::Subjects {
                let ($($rule,)+) = self;
                [$(states[$index].subject(&$rule.key, request, $rule.terms.terms(request))),+]
            }
        }

        impl<Request, $($key, $terms, $settle),+> LookAt<Request>
            for ($(Rule<$key, $terms, $settle>,)+)
        where
            $($key: Key<Request>, $terms: ReadTerms<Request>,)+
        {
            #[cold]
            fn look(
                &self,
                first: usize,
                mut rejected: Rejected,
                states: &[RuleState],
                request: &Request,
                now: &mut Now<'_, Clock>,
            ) -> Rejected {
                let ($($rule,)+) = self;
                $(
                    if (first + 1..).contains(&$index) {
                        let terms = $rule.terms.terms(request);
                        let wait = states[$index].look(&$rule.key, request, terms, now);
                        rejected = rejected.at_least(wait);
                    }
                )+
                rejected
            }
        }

        impl<Response, Error, $($key, $terms, $settle),+> SettleRules<Response, Error>
            for ($(Rule<$key, $terms, $settle>,)+)
        where
            $($settle: Settle<Response, Error>,)+
        {
            #[inline]
            fn settle(
                &self,
                states: &[RuleState],
                held: &Self::Held,
                result: Result<&Response, &Error>,
                now: &mut Now<'_, Clock>,
            ) {
                let ($($rule,)+) = self;
                // All before the first is settled: if one of them panics, none is.
                let costs = [$($settle::IS_LATE.then(|| $rule.settle.cost(result))),+];
                for ((state, held), cost) in states.iter().zip(held).zip(costs) {
                    if let Some(cost) = cost {
                        state.settle(*held, cost, now);
                    }
                }
            }
        }
    };
}

/// What a request has acquired of the rules so far.
///
/// The drop undoes it: at a rejection by a later rule, and if a function of a later rule panics.
struct Acquired<'a, const N: usize> {
    states: &'a [RuleState],
    held: [Held; N],
}

impl<const N: usize> Acquired<'_, N> {
    #[inline]
    fn keep(self) -> [Held; N] {
        let held = self.held;
        mem::forget(self);
        held
    }
}

impl<const N: usize> Drop for Acquired<'_, N> {
    fn drop(&mut self) {
        for (state, held) in self.states.iter().zip(self.held) {
            state.undo(held);
        }
    }
}

/// Looks at rules without acquiring.
trait LookAt<Request> {
    /// Returns the rejection by the rule `first`, with the time of a later rule if that is longer.
    /// The rules before it have room.
    fn look(
        &self,
        first: usize,
        rejected: Rejected,
        states: &[RuleState],
        request: &Request,
        now: &mut Now<'_, Clock>,
    ) -> Rejected;
}

rules!(1: (0 a K0 T0 S0));
rules!(2: (0 a K0 T0 S0), (1 b K1 T1 S1));
rules!(3: (0 a K0 T0 S0), (1 b K1 T1 S1), (2 c K2 T2 S2));
rules!(4: (0 a K0 T0 S0), (1 b K1 T1 S1), (2 c K2 T2 S2), (3 d K3 T3 S3));
rules!(5: (0 a K0 T0 S0), (1 b K1 T1 S1), (2 c K2 T2 S2), (3 d K3 T3 S3), (4 e K4 T4 S4));
rules!(6: (0 a K0 T0 S0), (1 b K1 T1 S1), (2 c K2 T2 S2), (3 d K3 T3 S3), (4 e K4 T4 S4), (5 f K5 T5 S5));
