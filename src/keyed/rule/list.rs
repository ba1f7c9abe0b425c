//! Lists of rules: one rule, or a tuple of them.

#![allow(private_interfaces, reason = "the traits are sealed")]

use std::mem;

use super::{
    Rule, RuleSettings,
    settle::{IsLate, Settle},
    state::{Held, RuleState, Target, Want, Why},
    terms::ReadTerms,
};
#[cfg(feature = "server")]
use crate::keyed::standing::Subject;
use crate::{
    keyed::{
        key::Key,
        observed::Rejection,
        states::{Denied, States},
        table::state::Now,
    },
    rejected::Rejected,
    time::Clock,
};

/// The largest number of rules of a layer.
pub(in crate::keyed) const MAX_RULES: usize = 6;

/// One rule, or a tuple of up to six, which are decided together. Sealed.
pub trait RuleList: sealed::Sealed {
    /// What a request holds of each rule.
    #[doc(hidden)]
    type Held: AsRef<[Held]> + Copy;

    #[doc(hidden)]
    fn held(of_each: &[Held]) -> Self::Held;

    /// Where a request counts in each rule.
    #[cfg(feature = "server")]
    #[doc(hidden)]
    type Subjects: AsRef<[Subject]> + Copy;

    /// The settings of each rule, and whether its permits are settled with the response.
    #[doc(hidden)]
    fn states(&self) -> Result<Vec<RuleState>, crate::InvalidSetting>;
}

/// A decision on a request, which may be one of several.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The rules that were notified of their rejections in a dry run, by a decision before.
    pub(in crate::keyed) notified: usize,
    /// The layer rejects, so that a rejection may bring a penalty.
    pub(in crate::keyed) brings_penalties: bool,
}

impl Look {
    /// Returns another decision, after a rule has denied the request.
    pub(in crate::keyed) fn after(self, denied: &Denied) -> Self {
        Self { notified: self.notified.max(denied.rule), ..self }
    }
}

/// Rules for a type of requests. Sealed.
pub trait Rules<Request>: RuleList {
    /// Acquires what the request needs of all rules, or nothing.
    #[doc(hidden)]
    fn decide(
        &self,
        states: &States,
        request: &Request,
        look: Look,
        now: &mut Now<'_, Clock>,
    ) -> Result<Self::Held, Denied>;

    /// Returns what the request wants of each rule, in the first entries of an array.
    #[doc(hidden)]
    fn wants(&self, states: &States, request: &Request) -> Result<[Want; MAX_RULES], Denied>;

    /// Returns the state in which a request counts at a rule.
    #[doc(hidden)]
    fn target(&self, rule: usize, states: &States, request: &Request) -> Target;

    /// Returns the rejection of a request that was denied, with the time of a later rule if that is
    /// longer. The rules before it have room.
    #[doc(hidden)]
    fn reject(
        &self,
        denied: Denied,
        states: &States,
        request: &Request,
        now: &mut Now<'_, Clock>,
    ) -> Rejected;

    /// Counts and passes on the rejection of a request by a rule, or one in a dry run.
    #[doc(hidden)]
    fn notify_rejected(
        &self,
        states: &States,
        rule: usize,
        rejection: Rejection<'_>,
        request: &Request,
        now: &mut Now<'_, Clock>,
    );

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
        states: &States,
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
    fn settings(&self) -> &RuleSettings {
        &self.settings
    }
}

macro_rules! rules {
    ($count:literal: $(($index:tt $rule:ident $key:ident $terms:ident $settle:ident)),+) => {
        impl<$($key, $terms, $settle),+> sealed::Sealed for ($(Rule<$key, $terms, $settle>,)+) {}

        impl<$($key, $terms, $settle: IsLate),+> RuleList for ($(Rule<$key, $terms, $settle>,)+) {
            type Held = [Held; $count];
            #[cfg(feature = "server")]
            type Subjects = [Subject; $count];

            fn held(of_each: &[Held]) -> Self::Held {
                std::array::from_fn(|index| of_each[index])
            }

            fn states(&self) -> Result<Vec<RuleState>, crate::InvalidSetting> {
                let ($($rule,)+) = self;
                Ok(vec![$(RuleState::new($rule.settings(), $rule.is_late())?),+])
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
                states: &States,
                request: &Request,
                look: Look,
                now: &mut Now<'_, Clock>,
            ) -> Result<Self::Held, Denied> {
                let ($($rule,)+) = self;
                let mut acquired = Acquired { states, held: [Held::NOTHING; $count] };
                $(
                    let terms = $rule.terms.terms(request);
                    let decided = states[$index].decide(&$rule.key, request, terms, now);
                    if now.has_freed() {
                        states.tell($index, now.take_freed());
                    }
                    match decided {
                        Ok(permits) => acquired.held[$index] = permits,
                        // It is counted, and holds nothing.
                        Err(denial) if states[$index].is_dry_run() => {
                            if look.brings_penalties {
                                states[$index].penalize(&denial, now);
                            }
                            if $index >= look.notified {
                                let rejection = Rejection::in_dry_run(denial.why.reason());
                                self.notify_rejected(states, $index, rejection, request, now);
                            }
                        }
                        Err(denial) => {
                            drop(acquired);
                            return Err(Denied { rule: $index, denial });
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

            fn target(&self, rule: usize, states: &States, request: &Request) -> Target {
                let ($($rule,)+) = self;
                let target = match rule {
                    $($index => states[$index].target(&$rule.key, request),)+
                    _ => None,
                };
                target.unwrap_or(Target::Nothing)
            }

            #[cold]
            fn wants(
                &self,
                states: &States,
                request: &Request,
            ) -> Result<[Want; MAX_RULES], Denied> {
                let ($($rule,)+) = self;
                let mut wants = [Want::NOTHING; MAX_RULES];
                $(
                    let terms = $rule.terms.terms(request);
                    wants[$index] = states[$index]
                        .want_or_pass(&$rule.key, request, terms)
                        .map_err(|denial| Denied { rule: $index, denial })?;
                )+
                Ok(wants)
            }

            #[cold]
            fn reject(
                &self,
                denied: Denied,
                states: &States,
                request: &Request,
                now: &mut Now<'_, Clock>,
            ) -> Rejected {
                let ($($rule,)+) = self;
                let Denied { rule: first, denial } = denied;
                let is_refused = matches!(denial.why, Why::Refused(_));
                let mut rejected = states[first].reject(denial, now);
                $(
                    if is_refused && (first + 1..).contains(&$index) {
                        let terms = $rule.terms.terms(request);
                        if let Ok(want) = states[$index].want(&$rule.key, request, terms) {
                            rejected = rejected.at_least(states[$index].look(want, now));
                            states.tell($index, now.take_freed());
                        }
                    }
                )+
                rejected
            }

            #[cold]
            fn notify_rejected(
                &self,
                states: &States,
                rule: usize,
                rejection: Rejection<'_>,
                request: &Request,
                now: &mut Now<'_, Clock>,
            ) {
                let ($($rule,)+) = self;
                $(
                    if rule == $index {
                        let terms = $rule.terms.terms(request);
                        states[$index].notify_rejected(rejection, &$rule.key, request, terms, now);
                    }
                )+
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
                states: &States,
                held: &Self::Held,
                result: Result<&Response, &Error>,
                now: &mut Now<'_, Clock>,
            ) {
                let ($($rule,)+) = self;
                // All before the first is settled: if one of them panics, none is.
                let costs = [$($settle::IS_LATE.then(|| $rule.settle.cost(result))),+];
                for (index, cost) in costs.into_iter().enumerate() {
                    if let Some(cost) = cost {
                        let freed = states[index].settle(held[index], cost, now);
                        states.tell(index, freed);
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
    states: &'a States,
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
        self.states.undo(&self.held);
    }
}

rules!(1: (0 a K0 T0 S0));
rules!(2: (0 a K0 T0 S0), (1 b K1 T1 S1));
rules!(3: (0 a K0 T0 S0), (1 b K1 T1 S1), (2 c K2 T2 S2));
rules!(4: (0 a K0 T0 S0), (1 b K1 T1 S1), (2 c K2 T2 S2), (3 d K3 T3 S3));
rules!(5: (0 a K0 T0 S0), (1 b K1 T1 S1), (2 c K2 T2 S2), (3 d K3 T3 S3), (4 e K4 T4 S4));
rules!(6: (0 a K0 T0 S0), (1 b K1 T1 S1), (2 c K2 T2 S2), (3 d K3 T3 S3), (4 e K4 T4 S4), (5 f K5 T5 S5));
