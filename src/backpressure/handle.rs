use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::FusedFuture;

use super::limiter::ConcurrencyLimiter;
use crate::{
    reject::NeverReject,
    gate::Ticket,
    rejected::Rejected,
    seat::RejectedCounts,
    settings::{self, InvalidSetting},
};

/// Reads and steers the limit of a [`ConcurrencyBackpressureLayer`](super::ConcurrencyBackpressureLayer).
///
/// Cheap to clone; all clones, and the layer, speak of one limit. Its parameter is [`NeverReject`] for a
/// layer that turns nobody away, and [`Rejected`] for one that can and may therefore be
/// [closed](ConcurrencyBackpressureHandle::close). Each reading is one moment's truth and takes a mutex
/// that calls take only while somebody waits.
///
/// ```
/// use tower::{Layer, Service, ServiceExt, service_fn};
/// use tower_floodgate::ConcurrencyBackpressureLayer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let layer = ConcurrencyBackpressureLayer::new(2);
/// let handle = layer.handle();
/// let mut service =
///     layer.layer(service_fn(|n: u32| async move { Ok::<_, std::convert::Infallible>(n) }));
///
/// let response = service.ready().await.unwrap().call(1);
/// assert_eq!((handle.in_flight(), handle.queued(), handle.limit()), (1, 0, 2));
///
/// response.await.unwrap();
/// handle.drained().await;
/// assert_eq!(handle.in_flight(), 0);
///
/// handle.set_limit(10).unwrap();
/// assert_eq!(
///     handle.set_limit(0).unwrap_err().to_string(),
///     "max_in_flight is 0: it must be between 1 and 2147483647",
/// );
/// # }
/// ```
pub struct ConcurrencyBackpressureHandle<O = NeverReject> {
    limiter: Arc<ConcurrencyLimiter>,
    outcome: PhantomData<fn() -> O>,
}

impl<O> ConcurrencyBackpressureHandle<O> {
    pub(super) const fn new(limiter: Arc<ConcurrencyLimiter>) -> Self {
        Self { limiter, outcome: PhantomData }
    }

    /// How many requests are in flight, counted from readiness to the end of the response future. Above
    /// the limit only while a lowered one drains.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.limiter.read().taken()
    }

    /// How many wait in the line.
    #[must_use]
    pub fn queued(&self) -> u32 {
        self.limiter.read().ahead
    }

    /// How many may be in flight.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limiter.read().limit
    }

    /// How many were turned away since the layer was made.
    #[must_use]
    pub fn rejected(&self) -> RejectedCounts {
        self.limiter.rejections.counts()
    }

    /// Changes how many may be in flight. More admit those who wait at once; fewer let those in flight
    /// end and admit nobody until there is room.
    ///
    /// # Errors
    ///
    /// If `max_in_flight` is 0 or above 2<sup>31</sup> - 1; nothing is changed.
    pub fn set_limit(&self, max_in_flight: u32) -> Result<(), InvalidSetting> {
        let limit = settings::permits("max_in_flight", max_in_flight)?;
        self.limiter.gate.set_limit(limit, || {}, &|| self.limiter.clock.now());
        Ok(())
    }

    /// Waits for a moment at which nothing is in flight and nobody waits.
    ///
    /// Requests may come again right after it, unless the layer is closed. If several wait for it and
    /// requests come in between, the later ones may see only the next such moment. A clone of the service that is
    /// ready and not called counts as in flight.
    ///
    /// Has no timer. If an abandoned wait is the last, and its `max_wait` ends while nothing else happens,
    /// this is ready only when it is polled again, or a request arrives.
    pub fn drained(&self) -> Drained {
        Drained { limiter: Arc::clone(&self.limiter), watch: Watch::New }
    }
}

impl ConcurrencyBackpressureHandle<Rejected> {
    /// Turns away all who wait, and all who come from now on, as *closed*. Those in flight end in
    /// peace; [`drained`](Self::drained) tells when they have. There is no opening again.
    pub fn close(&self) {
        self.limiter.gate.close(&|| self.limiter.clock.now());
    }

    /// Has it been closed?
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.limiter.gate.is_closed()
    }
}

impl<O> Clone for ConcurrencyBackpressureHandle<O> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.limiter))
    }
}

impl<O> fmt::Debug for ConcurrencyBackpressureHandle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let standing = self.limiter.read();
        f.debug_struct("ConcurrencyBackpressureHandle")
            .field("limit", &standing.limit)
            .field("in_flight", &standing.taken())
            .field("waiting", &standing.ahead)
            .field("rejected", &self.rejected())
            .finish()
    }
}

/// The future of [`ConcurrencyBackpressureHandle::drained`]. Needs no runtime; may be dropped at any
/// time.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Drained {
    limiter: Arc<ConcurrencyLimiter>,
    watch: Watch,
}

#[derive(Debug)]
enum Watch {
    New,
    Watching(Ticket),
    Done,
}

impl Future for Drained {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ticket = match std::mem::replace(&mut self.watch, Watch::Done) {
            Watch::New => None,
            Watch::Watching(ticket) => Some(ticket),
            Watch::Done => return Poll::Ready(()),
        };
        self.limiter.gate.expire(&|| self.limiter.clock.now());
        match self.limiter.gate.watch(ticket, cx.waker()) {
            None => Poll::Ready(()),
            Some(ticket) => {
                self.watch = Watch::Watching(ticket);
                Poll::Pending
            }
        }
    }
}

impl FusedFuture for Drained {
    fn is_terminated(&self) -> bool {
        matches!(self.watch, Watch::Done)
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        if let Watch::Watching(ticket) = std::mem::replace(&mut self.watch, Watch::Done) {
            self.limiter.gate.unwatch(ticket);
        }
    }
}
