//! What a request asks of a rule.

use std::sync::Arc;

/// The terms of a request at a rule: its cost, its plan, and whether the rule applies to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub(in crate::keyed) cost: u32,
    pub(in crate::keyed) plan: usize,
    pub(in crate::keyed) is_exempt: bool,
}

/// Reads the [`Terms`] of a request. Sealed: it is made by the methods of
/// [`Rule`](super::Rule).
pub trait ReadTerms<Request>: sealed::Sealed {
    #[doc(hidden)]
    fn terms(&self, request: &Request) -> Terms;
}

mod sealed {
    pub trait Sealed {}
}

/// The terms of all requests are alike: one permit, by the first plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnePermit;

impl sealed::Sealed for OnePermit {}

impl<Request> ReadTerms<Request> for OnePermit {
    #[inline]
    fn terms(&self, _: &Request) -> Terms {
        Terms { cost: 1, plan: 0, is_exempt: false }
    }
}

/// Terms with a cost of a function.
#[derive(Clone, Copy, Debug)]
pub struct WithCost<T, F>(pub(in crate::keyed) T, pub(in crate::keyed) F);

impl<T, F> sealed::Sealed for WithCost<T, F> {}

impl<T: ReadTerms<Request>, F: Fn(&Request) -> u32, Request> ReadTerms<Request> for WithCost<T, F> {
    fn terms(&self, request: &Request) -> Terms {
        Terms { cost: (self.1)(request), ..self.0.terms(request) }
    }
}

/// Terms with a plan of a function.
#[derive(Clone, Copy, Debug)]
pub struct WithPlan<T, F>(pub(in crate::keyed) T, pub(in crate::keyed) F);

impl<T, F> sealed::Sealed for WithPlan<T, F> {}

impl<T: ReadTerms<Request>, F: Fn(&Request) -> usize, Request> ReadTerms<Request>
    for WithPlan<T, F>
{
    fn terms(&self, request: &Request) -> Terms {
        Terms { plan: (self.1)(request), ..self.0.terms(request) }
    }
}

/// Terms with a plan of a function that returns its name.
#[derive(Clone, Debug)]
pub struct WithPlanName<T, F> {
    pub(super) terms: T,
    /// The names of the plans behind the first one.
    pub(super) names: Arc<[String]>,
    pub(super) plan: F,
}

impl<T, F> sealed::Sealed for WithPlanName<T, F> {}

impl<T, F, Request> ReadTerms<Request> for WithPlanName<T, F>
where
    T: ReadTerms<Request>,
    F: Fn(&Request) -> Option<&str>,
{
    fn terms(&self, request: &Request) -> Terms {
        let Self { terms, names, plan } = self;
        let index = plan(request).and_then(|of| names.iter().position(|name| name == of));
        Terms { plan: index.map_or(0, |index| index + 1), ..terms.terms(request) }
    }
}

/// Terms with an exemption by a function.
#[derive(Clone, Copy, Debug)]
pub struct WithExemption<T, F>(pub(in crate::keyed) T, pub(in crate::keyed) F);

impl<T, F> sealed::Sealed for WithExemption<T, F> {}

impl<T: ReadTerms<Request>, F: Fn(&Request) -> bool, Request> ReadTerms<Request>
    for WithExemption<T, F>
{
    fn terms(&self, request: &Request) -> Terms {
        let terms = self.0.terms(request);
        Terms { is_exempt: terms.is_exempt || (self.1)(request), ..terms }
    }
}
