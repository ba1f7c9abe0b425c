//! The reading of a body, between the head of its response and the end of the response future.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Response, response};
use http_body::Body;
use pin_project::pin_project;

use super::ReadBody;
use crate::{
    time::{RuntimeTimer, TimerUse},
    wrap_body::HttpResponse,
};

const WAITING: TimerUse = TimerUse {
    what: "ReadFailuresLayer: the bound `max_wait` on the wait for a body",
    otherwise: "leave out the layer",
};

/// The bounds of reading one body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) max_bytes: usize,
    pub(super) max_wait: Option<Duration>,
}

/// A response future, and then the reading of the body.
#[pin_project(project = StateProj)]
pub(super) enum State<F, B: Body> {
    Responding(#[pin] F),
    /// Boxed, so that the future of a response that is not read is no larger for it.
    Reading(Option<Box<Reading<B>>>),
}

/// A body that is being read, apart from its head.
pub(super) struct Reading<B: Body> {
    head: response::Parts,
    body: ReadBody<B>,
    room: usize,
    max_wait: Option<Duration>,
    /// Started by the first wait.
    timer: Option<RuntimeTimer>,
}

/// A response whose future has completed.
pub(super) enum Responded<R: HttpResponse> {
    Unread(R),
    Read(Response<ReadBody<R::Body>>),
}

impl<F, B: Body + Unpin> State<F, B> {
    /// Polls for the response, and reads its body if `is_read` says so.
    #[inline]
    pub(super) fn poll<R, E>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bounds: Bounds,
        is_read: impl FnOnce(&R) -> bool,
    ) -> Poll<Result<Responded<R>, E>>
    where
        F: Future<Output = Result<R, E>>,
        R: HttpResponse<Body = B>,
    {
        if let StateProj::Responding(future) = self.as_mut().project() {
            let response = ready!(future.poll(cx))?;
            if !is_read(&response) {
                return Poll::Ready(Ok(Responded::Unread(response)));
            }
            let reading = Some(Box::new(Reading::new(response.into_http(), bounds)));
            self.set(Self::Reading(reading));
        }
        let StateProj::Reading(reading) = self.project() else { unreachable!("set above") };
        ready!(reading.as_mut().expect("polled after completion").poll(cx));
        let Reading { head, body, .. } = *reading.take().expect("polled just now");
        Poll::Ready(Ok(Responded::Read(Response::from_parts(head, body))))
    }
}

impl<B: Body + Unpin> Reading<B> {
    fn new(response: Response<B>, Bounds { max_bytes, max_wait }: Bounds) -> Self {
        let (head, body) = response.into_parts();
        Self { head, body: body.into(), room: max_bytes, max_wait, timer: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.body.poll_read_ahead(cx, &mut self.room).is_ready() {
            return Poll::Ready(());
        }
        let Some(max_wait) = self.max_wait else { return Poll::Pending };
        WAITING.poll_wait(&mut self.timer, max_wait, cx)
    }
}
