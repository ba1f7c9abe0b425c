//! Outcomes of requests, and the judges that tell them by results.

use std::{convert::Infallible, fmt};

/// The meaning of a result for a limit that
/// [adapts](crate::ConcurrencyBackpressureLayer::adaptive).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The server did its work: its time in service counts.
    Served,
    /// The time says nothing about the load, such as that of a failure. It is not measured.
    Ignored,
    /// The server is overloaded, and says so, such as by a status of 429 or 503. It counts against
    /// the limit.
    Overload,
}

/// Judges the results of the inner service, for a limit that
/// [adapts](crate::ConcurrencyBackpressureLayer::adaptive).
///
/// Implemented by functions, by [`ServedIfOk`], and by the classifiers of HTTP and gRPC. It is
/// called with the results of measured requests, right before the permit is released. If it panics,
/// the permit is released, and the request is not measured.
///
/// ```
/// use tower_floodgate::{
///     ConcurrencyBackpressureLayer,
///     backpressure::{Adaptive, Outcome},
/// };
///
/// let judge = |result: &Result<u32, std::io::Error>| match result {
///     Ok(0) => Outcome::Overload, // "come again later", in the protocol of this server
///     Ok(_) => Outcome::Served,
///     Err(_) => Outcome::Ignored,
/// };
/// let layer = ConcurrencyBackpressureLayer::adaptive(Adaptive::new().judge(judge));
/// # let _ = layer;
/// ```
pub trait Judge<Response, Error> {
    /// Returns the meaning of a result.
    fn judge(&self, result: &Result<Response, Error>) -> Outcome;
}

impl<F, Response, Error> Judge<Response, Error> for F
where
    F: Fn(&Result<Response, Error>) -> Outcome,
{
    fn judge(&self, result: &Result<Response, Error>) -> Outcome {
        self(result)
    }
}

/// The default judge: `Ok` is served, and `Err` is ignored.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServedIfOk;

impl<Response, Error> Judge<Response, Error> for ServedIfOk {
    fn judge(&self, result: &Result<Response, Error>) -> Outcome {
        if result.is_ok() { Outcome::Served } else { Outcome::Ignored }
    }
}

/// A request in flight, of which some are measured. The default is none.
pub trait Measure: Default + Send + Sync {
    /// A measurement that has begun.
    type Begun: Copy + fmt::Debug + Send + Sync;

    /// Returns false for none.
    fn is_held(&self) -> bool;

    /// Ends what the request measures by itself: its service has panicked, which says nothing.
    #[inline]
    fn forget(&mut self) {}

    /// Ends a measurement with the outcome of the request, or with none if it was abandoned.
    fn end(&self, begun: Self::Begun, outcome: Option<Outcome>);
}

/// Of limits that measure nothing.
impl Measure for () {
    type Begun = Infallible;

    #[inline]
    fn is_held(&self) -> bool {
        false
    }

    fn end(&self, begun: Infallible, _: Option<Outcome>) {
        match begun {}
    }
}
