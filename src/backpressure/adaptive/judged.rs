//! The reject policy of a limit that adapts: another one, and the judge beside it.

use std::{fmt, mem, task::Poll};

use crate::{
    judge::{Judge, Measure, Outcome},
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

    type Measurement<I: Measure> = Option<(I::Begun, J)>;

    #[inline]
    fn begin<I: Measure>(&self, begin: impl FnOnce() -> Option<I::Begun>) -> Option<(I::Begun, J)> {
        begin().map(|begun| (begun, self.judge.clone()))
    }

    #[inline]
    fn in_flight<I: Measure>(held: I, begun: Option<(I::Begun, J)>) -> Judging<I, J> {
        Judging { begun, held }
    }

    #[inline]
    fn nothing<I: Measure>() -> Judging<I, J> {
        Judging { begun: None, held: I::default() }
    }

    #[inline]
    fn held<I: Measure>(in_flight: &mut Judging<I, J>) -> &mut I {
        &mut in_flight.held
    }

    #[inline]
    fn forget<I: Measure>(in_flight: &mut Judging<I, J>) {
        in_flight.begun = None;
        in_flight.held.forget();
    }
}

/// What a request in flight holds, with a measurement that has begun, or none.
///
/// A drop abandons a measured request, before its permit is released.
pub struct Judging<I: Measure, J> {
    begun: Option<(I::Begun, J)>,
    held: I,
}

/// Most futures that are dropped have completed. So all else is out of line, and takes its parts by
/// value, which leaves those of other futures in registers. One function serves requests with a
/// measurement and without: the drop is then short enough to be inlined where a panic unwinds, too.
/// A call of it there would keep each future in memory.
impl<I: Measure, J> Drop for Judging<I, J> {
    #[inline]
    fn drop(&mut self) {
        #[inline(never)]
        fn release<I: Measure, J>(held: I, begun: Option<(I::Begun, J)>) {
            if let Some((begun, _)) = begun {
                held.end(begun, None);
            }
        }
        if self.held.is_held() {
            release(mem::take(&mut self.held), self.begun.take());
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
        #[cold]
        #[inline(never)]
        fn end<I: Measure>(held: I, begun: I::Begun, outcome: Outcome) -> I {
            held.end(begun, Some(outcome));
            held
        }
        // Most requests are not measured: `take` would store `None` once more.
        if let Some((begun, judge)) = in_flight.begun.take_if(|_| true) {
            // If the judge panics, the permit is released, and nothing is measured.
            let held = mem::take(&mut in_flight.held);
            let outcome = judge.judge(result);
            in_flight.held = end(held, begun, outcome);
        }
    }
}

impl<P: fmt::Debug, J> fmt::Debug for Judged<P, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judged").field("policy", &self.policy).finish_non_exhaustive()
    }
}
