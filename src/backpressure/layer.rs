use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{ConcurrencyBackpressure, ConcurrencyBackpressureHandle, limiter::ConcurrencyLimiter};
use crate::{
    reject::{RejectPolicy, RejectWithBoxError, NeverReject},
    macros::shared_by_layers,
    per_service::Anew,
    seat::{Bounds, Seat},
    settings::{self, InvalidSetting, literal},
    spare::Shared,
};

/// Bounds the requests in flight and, if asked, the line of those who wait. See the
/// [module](crate::backpressure).
///
/// The limit is made with the layer: all services it is put on, all their clones and all clones of
/// the layer share it. [`per_service`](Self::per_service) makes one for each service instead.
///
/// A request that passes two services of one layer acquires two permits of its limit, by which
/// requests can block each other [for good](crate::backpressure#one-layer-twice-on-a-request).
///
/// Say first whether it can turn away, then share it: the step from a layer that lets everybody wait to
/// one that can turn away (`reject_with_box_error`, `reject_with_error`, `reject_with`, `max_queue`, `max_wait`) **panics** if the layer
/// has been cloned, put on a service, or asked for a handle before, because those who only wait could not be
/// told that the limit was closed. Layers that can turn away may differ in their bounds and share a limit:
/// `layer.clone().max_queue(0)`.
#[derive(Clone, Debug)]
pub struct ConcurrencyBackpressureLayer<A = NeverReject> {
    limiter: Arc<ConcurrencyLimiter>,
    bounds: Bounds,
    answer: A,
}

impl ConcurrencyBackpressureLayer {
    /// At most `max_in_flight` requests at a time; everybody else waits, in the order they came.
    ///
    /// # Panics
    ///
    /// If `max_in_flight` is 0 or above 2<sup>31</sup> - 1.
    #[must_use]
    #[track_caller]
    pub fn new(max_in_flight: u32) -> Self {
        literal(Self::try_new(max_in_flight))
    }

    /// [`new`](Self::new) for a value that is read from somewhere.
    ///
    /// # Errors
    ///
    /// Where `new` panics.
    pub fn try_new(max_in_flight: u32) -> Result<Self, InvalidSetting> {
        let max_in_flight = settings::permits("max_in_flight", max_in_flight)?;
        Ok(Self {
            limiter: Arc::new(ConcurrencyLimiter::new(max_in_flight)),
            bounds: Bounds::NONE,
            answer: NeverReject,
        })
    }

    /// Answers with an error if it turns a request away. The bounds do this by themselves; it is for
    /// a layer without bounds that is to be [closed](ConcurrencyBackpressureHandle::close).
    #[must_use]
    #[track_caller]
    pub fn reject_with_box_error(self) -> ConcurrencyBackpressureLayer<RejectWithBoxError> {
        self.answer(|_| RejectWithBoxError)
    }
}

impl<A: RejectPolicy> ConcurrencyBackpressureLayer<A> {
    /// Lets at most `max_queue` requests wait; the next is turned away as *queue full*. 0 turns away
    /// whatever can't go at once. Unbounded unless set.
    ///
    /// Turning away changes the answer from [`NeverReject`] to [`RejectWithBoxError`]; see [`reject`](crate::reject).
    #[must_use]
    #[track_caller]
    pub fn max_queue(mut self, max_queue: u32) -> ConcurrencyBackpressureLayer<A::Bounded> {
        self.bounds.max_queue = settings::queue(max_queue);
        self.answer(A::bounded)
    }

    /// Lets a request wait for at most `max_wait`; then it is turned away as *wait timeout*. Without
    /// it, requests wait as long as it takes. With it, waiting panics outside a tokio runtime with its timer
    /// enabled.
    ///
    /// Turning away changes the answer from [`NeverReject`] to [`RejectWithBoxError`]; see [`reject`](crate::reject).
    #[must_use]
    #[track_caller]
    pub fn max_wait(mut self, max_wait: Duration) -> ConcurrencyBackpressureLayer<A::Bounded> {
        self.bounds = self.bounds.max_wait(max_wait);
        self.answer(A::bounded)
    }

    shared_by_layers!(ConcurrencyBackpressureLayer);

    /// A handle that reads and steers the limit. It can [close](ConcurrencyBackpressureHandle::close) a
    /// layer that can turn away; for one without bounds call [`reject_with_box_error`](ConcurrencyBackpressureLayer::reject_with_box_error)
    /// first.
    #[must_use]
    pub fn handle(&self) -> ConcurrencyBackpressureHandle<A::Outcome> {
        ConcurrencyBackpressureHandle::new(Arc::clone(&self.limiter))
    }

    #[track_caller]
    fn answer<B>(self, answer: impl FnOnce(A) -> B) -> ConcurrencyBackpressureLayer<B> {
        // Who waits by a layer that turns nobody away can't be told that it was closed: so it shares
        // its limit with none that can be.
        assert!(
            !A::WAITS || Arc::strong_count(&self.limiter) == 1,
            "what turns requests away is to be chosen before the layer is cloned, put on a service, \
             or asked for a handle: call `max_queue`, `max_wait`, `reject_with_box_error`, `reject_with_error` or `reject_with` first"
        );
        ConcurrencyBackpressureLayer {
            limiter: self.limiter,
            bounds: self.bounds,
            answer: answer(self.answer),
        }
    }
}

impl<A: Clone> Anew for ConcurrencyBackpressureLayer<A> {
    fn anew(&self) -> Self {
        Self { limiter: Arc::new(self.limiter.anew()), ..self.clone() }
    }
}

impl<A: Clone, S> Layer<S> for ConcurrencyBackpressureLayer<A> {
    type Service = ConcurrencyBackpressure<S, A>;

    fn layer(&self, inner: S) -> Self::Service {
        let seat = Seat::new(Shared::new(Arc::clone(&self.limiter)), self.bounds);
        ConcurrencyBackpressure::new(inner, seat, self.answer.clone())
    }
}
