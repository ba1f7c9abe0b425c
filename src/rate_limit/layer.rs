use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{WindowRateLimit, WindowRateLimitHandle, limiter::RateLimiter, window::Shape};
use crate::{
    reject::{RejectPolicy, NeverReject},
    macros::shared_by_layers,
    per_service::Anew,
    seat::{Bounds, Seat},
    settings::{self, InvalidSetting, literal},
    spare::Shared,
};

/// Bounds the requests issued in a window of time. See the [module](crate::rate_limit).
///
/// The limit is made with the layer: all services it is put on, all their clones and all clones of
/// the layer share it. [`per_service`](Self::per_service) makes one for each service instead.
///
/// A request that passes two services of one layer
/// [counts twice](crate::rate_limit#one-layer-twice-on-a-request).
#[derive(Clone, Debug)]
pub struct WindowRateLimitLayer<A = NeverReject> {
    limiter: Arc<RateLimiter>,
    bounds: Bounds,
    answer: A,
}

impl WindowRateLimitLayer {
    /// **Sliding**: at most `limit` requests are issued in any half-open span as long as `window`,
    /// wherever the span begins. Everybody else waits, in the order they came; waiting panics outside a
    /// tokio runtime with its timer enabled, and in one that is shut down.
    ///
    /// # Panics
    ///
    /// If `limit` is 0 or above 2<sup>31</sup> - 1, or `window` is zero or longer than 100 years.
    #[must_use]
    #[track_caller]
    pub fn new(limit: u32, window: Duration) -> Self {
        literal(Self::try_new(limit, window))
    }

    /// [`new`](Self::new) for values that are read from somewhere.
    ///
    /// # Errors
    ///
    /// Where `new` panics.
    pub fn try_new(limit: u32, window: Duration) -> Result<Self, InvalidSetting> {
        Self::of(Shape::Sliding, limit, window)
    }

    /// **Fixed**: at most `limit` requests are issued in each window of a grid that begins when the
    /// layer is made and doesn't drift.
    ///
    /// Around a boundary, up to twice `limit` can be issued in a span shorter than `window`. To obey
    /// a server's quota take [`new`](Self::new), which costs the same: the server's grid isn't this one.
    ///
    /// # Panics
    ///
    /// If `limit` is 0 or above 2<sup>31</sup> - 1, or `window` is zero or longer than 100 years.
    #[must_use]
    #[track_caller]
    pub fn fixed(limit: u32, window: Duration) -> Self {
        literal(Self::try_fixed(limit, window))
    }

    /// [`fixed`](Self::fixed) for values that are read from somewhere.
    ///
    /// # Errors
    ///
    /// Where `fixed` panics.
    pub fn try_fixed(limit: u32, window: Duration) -> Result<Self, InvalidSetting> {
        Self::of(Shape::Fixed, limit, window)
    }

    fn of(shape: Shape, limit: u32, window: Duration) -> Result<Self, InvalidSetting> {
        let limit = settings::permits("limit", limit)?;
        let window = settings::window(window)?;
        Ok(Self {
            limiter: Arc::new(RateLimiter::new(shape, limit, window)),
            bounds: Bounds::NONE,
            answer: NeverReject,
        })
    }
}

impl<A: RejectPolicy> WindowRateLimitLayer<A> {
    /// Lets at most `max_queue` requests wait; the next is turned away as *queue full*. 0 turns away
    /// whatever can't go at once. Unbounded unless set.
    ///
    /// Turning away changes the answer from [`NeverReject`] to [`RejectWithBoxError`](crate::reject::RejectWithBoxError); see
    /// [`reject`](crate::reject).
    #[must_use]
    pub fn max_queue(mut self, max_queue: u32) -> WindowRateLimitLayer<A::Bounded> {
        self.bounds.max_queue = settings::queue(max_queue);
        self.answer(A::bounded)
    }

    /// Turns a request away as *wait timeout* if it could not be issued within `max_wait`: at once, when
    /// it comes, because the time of its turn is known then. Without it, requests wait as long as it takes.
    ///
    /// A request that was let into the line and is then held up (by a pause, a lowered limit, or
    /// requests before it that are ready and not called) is turned away as soon as it looks again, at
    /// the latest after `max_wait`.
    ///
    /// Turning away changes the answer from [`NeverReject`] to [`RejectWithBoxError`](crate::reject::RejectWithBoxError); see
    /// [`reject`](crate::reject).
    #[must_use]
    pub fn max_wait(mut self, max_wait: Duration) -> WindowRateLimitLayer<A::Bounded> {
        self.bounds = self.bounds.max_wait(max_wait);
        self.answer(A::bounded)
    }

    shared_by_layers!(WindowRateLimitLayer);

    /// A handle that reads and steers the limit.
    #[must_use]
    pub fn handle(&self) -> WindowRateLimitHandle {
        WindowRateLimitHandle::new(Arc::clone(&self.limiter))
    }

    fn answer<B>(self, answer: impl FnOnce(A) -> B) -> WindowRateLimitLayer<B> {
        WindowRateLimitLayer {
            limiter: self.limiter,
            bounds: self.bounds,
            answer: answer(self.answer),
        }
    }
}

impl<A: Clone> Anew for WindowRateLimitLayer<A> {
    fn anew(&self) -> Self {
        let (limit, length) = self.limiter.window.settings();
        let limiter = RateLimiter::new(self.limiter.shape, limit, length);
        Self { limiter: Arc::new(limiter), ..self.clone() }
    }
}

impl<A: Clone, S> Layer<S> for WindowRateLimitLayer<A> {
    type Service = WindowRateLimit<S, A>;

    fn layer(&self, inner: S) -> Self::Service {
        let seat = Seat::new(Shared::new(Arc::clone(&self.limiter)), self.bounds);
        WindowRateLimit::new(inner, seat, self.answer.clone())
    }
}
