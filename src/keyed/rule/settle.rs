//! When the cost of a request is final.

/// The final cost of a request, once its response is known. Sealed: it is made by the methods of
/// [`Rule`](super::Rule).
pub trait Settle<Response, Error>: IsLate {
    /// Returns the final cost, or `None` if it is the one that was acquired.
    #[doc(hidden)]
    fn cost(&self, result: Result<&Response, &Error>) -> Option<u32>;
}

/// Whether a cost is settled with the response. Sealed.
pub trait IsLate: sealed::Sealed {
    #[doc(hidden)]
    const IS_LATE: bool;
}

mod sealed {
    pub trait Sealed {}
}

/// The cost is final when the request is issued.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtCall;

impl sealed::Sealed for AtCall {}

impl IsLate for AtCall {
    const IS_LATE: bool = false;
}

impl<Response, Error> Settle<Response, Error> for AtCall {
    fn cost(&self, _: Result<&Response, &Error>) -> Option<u32> {
        None
    }
}

/// The cost is that of a function of the response. An error costs what was acquired.
#[derive(Clone, Copy, Debug)]
pub struct ByResponse<F>(pub(in crate::keyed) F);

impl<F> sealed::Sealed for ByResponse<F> {}

impl<F> IsLate for ByResponse<F> {
    const IS_LATE: bool = true;
}

impl<Response, Error, F: Fn(&Response) -> Option<u32>> Settle<Response, Error> for ByResponse<F> {
    fn cost(&self, result: Result<&Response, &Error>) -> Option<u32> {
        self.0(result.ok()?)
    }
}

/// Only failures cost. An error is one.
#[derive(Clone, Copy, Debug)]
pub struct FailuresOnly<F>(pub(in crate::keyed) F);

impl<F> sealed::Sealed for FailuresOnly<F> {}

impl<F> IsLate for FailuresOnly<F> {
    const IS_LATE: bool = true;
}

impl<Response, Error, F: Fn(&Response) -> bool> Settle<Response, Error> for FailuresOnly<F> {
    fn cost(&self, result: Result<&Response, &Error>) -> Option<u32> {
        let is_failure = result.map_or(true, &self.0);
        if is_failure { None } else { Some(0) }
    }
}
