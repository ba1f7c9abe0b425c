use super::{
    super::{ConcurrencyBackpressureLayer, knee::Knee, limiter::ConcurrencyLimiter},
    Adaptive, Judged,
};
use crate::{
    middleware::LimitLayer,
    reject::NeverReject,
    settings::{InvalidSetting, literal},
};

impl ConcurrencyBackpressureLayer {
    /// Admits as many requests at a time as the server can serve at its full throughput, and finds
    /// that number by itself.
    ///
    /// See [limits that find themselves](crate::backpressure#limits-that-find-themselves).
    ///
    /// ```
    /// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
    /// use tower_floodgate::{ConcurrencyBackpressureLayer, backpressure::Adaptive};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower::BoxError> {
    /// let settings = Adaptive::new().between(4, 200);
    /// let layer = ConcurrencyBackpressureLayer::adaptive(settings).max_queue(100);
    /// let handle = layer.handle();
    /// let mut service = ServiceBuilder::new()
    ///     .layer(layer)
    ///     .service(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
    /// assert_eq!(service.ready().await?.call(1).await?, 1);
    /// println!("limit {}, elasticity {:?}", handle.limit(), handle.elasticity());
    ///
    /// handle.hold(50)?; // by hand, during an incident
    /// assert_eq!(handle.limit(), 50);
    /// handle.adapt(); // and on from there
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If the start of the settings is outside their range.
    #[must_use]
    #[track_caller]
    pub fn adaptive<J>(
        adaptive: Adaptive<J>,
    ) -> ConcurrencyBackpressureLayer<Judged<NeverReject, J>> {
        literal(Self::try_adaptive(adaptive))
    }

    /// Creates a layer as [`adaptive`](Self::adaptive) does, for settings that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `adaptive` panics.
    pub fn try_adaptive<J>(
        adaptive: Adaptive<J>,
    ) -> Result<ConcurrencyBackpressureLayer<Judged<NeverReject, J>>, InvalidSetting> {
        let (range, start, judge) = adaptive.check()?;
        let limiter = ConcurrencyLimiter::adaptive(Knee::new(range, start));
        Ok(ConcurrencyBackpressureLayer(
            LimitLayer::new(limiter).with_policy(|_| Judged::new(judge)),
        ))
    }
}
