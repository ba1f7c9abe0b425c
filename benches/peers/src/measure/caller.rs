//! A caller of a limit, and the response that its calls await.

use std::{
    convert::Infallible,
    fmt::Debug,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tower::{Service, ServiceExt};

/// The time at which a task asked for a call, if its wait is measured.
pub(crate) type Asked = Option<Instant>;
/// The time from there to the call of the inner service.
pub(crate) type Waited = Option<Duration>;

/// Calls through a limit, again and again.
pub(crate) trait Caller: Clone + Send + 'static {
    fn call(&mut self, asked: Asked) -> impl Future<Output = Waited> + Send;
}

/// Waits until a service is ready, calls it, and awaits the response.
#[derive(Clone)]
pub(crate) struct Through<S>(pub(crate) S);

impl<S> Caller for Through<S>
where
    S: Service<Asked, Response = Waited, Error: Debug, Future: Send> + Clone + Send + 'static,
{
    async fn call(&mut self, asked: Asked) -> Waited {
        let service = self.0.ready().await.expect("the service does not fail");
        service.call(asked).await.expect("the service does not fail")
    }
}

/// A response that yields to other tasks once before it completes.
pub(crate) struct Yielding {
    waited: Waited,
    has_yielded: bool,
}

impl Yielding {
    pub(crate) fn new(asked: Asked) -> Self {
        Self { waited: asked.map(|asked| asked.elapsed()), has_yielded: false }
    }
}

impl Future for Yielding {
    type Output = Result<Waited, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.has_yielded {
            return Poll::Ready(Ok(self.waited));
        }
        self.has_yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
