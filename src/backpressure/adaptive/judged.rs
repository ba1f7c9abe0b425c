//! The reject policy of a limit that adapts: another one, and the judge beside it.

use std::{fmt, mem, task::Poll};

use crate::{
    judge::{Judge, Measure},
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

impl<P: RejectPolicy, J: Clone + Send + Sync> RejectPolicy for Judged<P, J> {
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

    type InFlight<I: Measure> = Judging<I, J>;

    #[inline(always)]
    fn call<R, I: Measure>(
        &self,
        begin: impl FnOnce() -> Option<I::Begun>,
        call: impl FnOnce() -> (R, I),
    ) -> (R, Judging<I, J>) {
        match begin() {
            None => {
                let (response, held) = call();
                (response, Judging { begun: None, held })
            }
            Some(begun) => {
                let (response, held) = call();
                (response, Judging { begun: Some((begun, self.judge.clone())), held })
            }
        }
    }

    #[inline]
    fn nothing<I: Measure>() -> Judging<I, J> {
        Judging { begun: None, held: I::default() }
    }

    #[inline]
    fn held<I: Measure>(in_flight: &mut Judging<I, J>) -> &mut I {
        &mut in_flight.held
    }
}

/// What a request in flight holds, with a measurement that has begun, or none.
///
/// A drop abandons a measured request, before its permit is released.
pub struct Judging<I: Measure, J> {
    begun: Option<(I::Begun, J)>,
    held: I,
}

/// Most requests are not measured. So all that ends a measurement is out of line, and takes its
/// parts by value, which leaves those of the other futures in registers.
impl<I: Measure, J> Drop for Judging<I, J> {
    #[inline]
    fn drop(&mut self) {
        #[cold]
        #[inline(never)]
        fn abandon<I: Measure, J>(held: I, (begun, _): (I::Begun, J)) {
            held.end(begun, None);
        }
        if let Some(begun) = self.begun.take() {
            abandon(mem::take(&mut self.held), begun);
        }
    }
}

impl<I: Measure + fmt::Debug, J> fmt::Debug for Judging<I, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judging")
            .field("begun", &self.begun.as_ref().map(|(begun, _)| begun))
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

impl<P, J, Response, Error> RejectPolicyFor<Response, Error> for Judged<P, J>
where
    P: RejectPolicyFor<Response, Error>,
    J: Judge<Response, Error> + Clone + Send + Sync,
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
    fn judge<I: Measure>(in_flight: &mut Judging<I, J>, result: &Result<Response, Error>) {
        /// If the judge panics, the permit is released, and nothing is measured.
        #[cold]
        #[inline(never)]
        fn end<I: Measure, J: Judge<Response, Error>, Response, Error>(
            held: I,
            (begun, judge): (I::Begun, J),
            result: &Result<Response, Error>,
        ) -> I {
            held.end(begun, Some(judge.judge(result)));
            held
        }
        if let Some(begun) = in_flight.begun.take() {
            let held = mem::take(&mut in_flight.held);
            in_flight.held = end(held, begun, result);
        }
    }
}

impl<P: fmt::Debug, J> fmt::Debug for Judged<P, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judged").field("policy", &self.policy).finish_non_exhaustive()
    }
}
