//! The reject policy of a limit that adapts: another one, and the judge beside it.

use std::{fmt, task::Poll};

use crate::{
    judge::{Judge, Measurement},
    reject::{NeverReject, RejectPolicy, RejectPolicyFor, sealed},
    rejected::Rejected,
};

/// The reject policy of a limit that
/// [adapts](crate::ConcurrencyBackpressureLayer::adaptive): it rejects by `P`, and judges results
/// by `J`.
#[derive(Clone, Copy)]
pub struct Judged<P, J> {
    policy: P,
    judge: J,
}

impl<J> Judged<NeverReject, J> {
    pub(super) const fn new(judge: J) -> Self {
        Self { policy: NeverReject, judge }
    }
}

impl<P, J> sealed::Sealed for Judged<P, J> {}

impl<P: RejectPolicy, J: Clone> RejectPolicy for Judged<P, J> {
    type Bounded = Judged<P::Bounded, J>;

    const NEVER_REJECTS: bool = P::NEVER_REJECTS;

    fn bounded(self) -> Self::Bounded {
        Judged { policy: self.policy.bounded(), judge: self.judge }
    }

    type Rejection = P::Rejection;

    fn hold(rejected: Rejected) -> P::Rejection {
        P::hold(rejected)
    }

    type With<Q: RejectPolicy> = Judged<P::With<Q>, J>;

    fn with<Q: RejectPolicy>(self, policy: Q) -> Self::With<Q> {
        Judged { policy: self.policy.with(policy), judge: self.judge }
    }

    type Measured<M> = Option<(M, J)>;

    #[inline]
    fn measure<M>(&self, begin: impl FnOnce() -> Option<M>) -> Option<(M, J)> {
        begin().map(|measurement| (measurement, self.judge.clone()))
    }

    #[inline]
    fn unmeasured<M>() -> Option<(M, J)> {
        None
    }
}

impl<P, J, Response, Error> RejectPolicyFor<Response, Error> for Judged<P, J>
where
    P: RejectPolicyFor<Response, Error>,
    J: Judge<Response, Error> + Clone,
{
    type Error = P::Error;

    fn reject(&self, rejection: &mut P::Rejection) -> Result<Response, P::Error> {
        self.policy.reject(rejection)
    }

    fn pass(error: Error) -> P::Error {
        P::pass(error)
    }

    #[inline]
    fn pass_on(output: Poll<Result<Response, Error>>) -> Poll<Result<Response, P::Error>> {
        P::pass_on(output)
    }

    #[inline]
    fn judge<M: Measurement>(measured: &mut Option<(M, J)>, result: &Result<Response, Error>) {
        if let Some((measurement, judge)) = measured.take() {
            // If the judge panics, the drop of the measurement says nothing about the load.
            let outcome = judge.judge(result);
            measurement.end(outcome);
        }
    }
}

impl<P: fmt::Debug, J> fmt::Debug for Judged<P, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judged").field("policy", &self.policy).finish_non_exhaustive()
    }
}
