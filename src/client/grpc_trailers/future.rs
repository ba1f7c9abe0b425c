//! The future of [`GrpcTrailers`](super::GrpcTrailers).

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf;
use http::{HeaderMap, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame};
use pin_project::pin_project;

use super::PeekedBody;
use crate::{
    client::{GrpcCode, grpc_headers},
    headers::grpc::GRPC_STATUS,
    time::{RuntimeTimer, TimerUse},
};

const WAITING: TimerUse = TimerUse {
    what: "GrpcTrailersLayer: the wait of its `max_wait` for the first frame of a response",
    otherwise: "wait for none with `max_wait(Duration::ZERO)`",
};

/// The empty frames of data that are dropped in one poll, so that a body of them ends the poll.
const MAX_EMPTY: usize = 16;

/// The first frame of a body, `None` if it has none.
type FirstFrame<B> = Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>;

/// Resolves to the inner service's response, once its first frame has arrived or has taken too
/// long.
///
/// Dropping it drops the inner future, or the response.
///
/// # Panics
///
/// If it is polled outside a tokio runtime that has its timer enabled, and the first frame has not
/// arrived with the head.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, B> {
    #[pin]
    state: State<F, B>,
    max_wait: Duration,
}

#[pin_project(project = StateProj)]
enum State<F, B> {
    Head(#[pin] F),
    FirstFrame {
        /// `None` once it is returned.
        response: Option<Response<B>>,
        /// Made by the first poll that finds no frame.
        timer: Option<RuntimeTimer>,
    },
}

impl<F, B> ResponseFuture<F, B> {
    pub(super) const fn new(future: F, max_wait: Duration) -> Self {
        Self { state: State::Head(future), max_wait }
    }
}

impl<F, B, Error> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, Error>>,
    B: Body + Unpin,
{
    type Output = Result<Response<PeekedBody<B>>, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Head(future) => {
                    let response = ready!(future.poll(cx))?;
                    if !may_fail_in_trailers(&response) {
                        return Poll::Ready(Ok(response.map(PeekedBody::unread)));
                    }
                    let response = Some(response);
                    this.state.set(State::FirstFrame { response, timer: None });
                }
                StateProj::FirstFrame { response, timer } => {
                    let body = response.as_mut().expect("polled after completion").body_mut();
                    let first = poll_first(body, cx);
                    if first.is_pending() {
                        ready!(WAITING.poll_wait(timer, *this.max_wait, cx));
                    }
                    let response = response.take().expect("is there: its body was polled");
                    return Poll::Ready(Ok(match first {
                        Poll::Ready(first) => with_first(response, first),
                        Poll::Pending => response.map(PeekedBody::unread),
                    }));
                }
            }
        }
    }
}

/// Returns true if the response is one of gRPC that may have its status in trailers.
fn may_fail_in_trailers<B: Body>(response: &Response<B>) -> bool {
    let headers = response.headers();
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let (kind, suffix) = content_type
        .and_then(|kind| kind.split_at_checked("application/grpc".len()))
        .unwrap_or_default();
    kind.eq_ignore_ascii_case(b"application/grpc")
        && matches!(suffix.first(), None | Some(b'+' | b';' | b' '))
        && !headers.contains_key(&GRPC_STATUS)
        && !response.body().is_end_stream()
}

/// Polls for the first frame that is not empty.
fn poll_first<B: Body + Unpin>(body: &mut B, cx: &mut Context<'_>) -> Poll<FirstFrame<B>> {
    let is_empty =
        |frame: &Frame<B::Data>| frame.data_ref().is_some_and(|data| !data.has_remaining());
    for _ in 0..MAX_EMPTY {
        match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) if is_empty(&frame) => {}
            first => return Poll::Ready(first),
        }
    }
    Pin::new(body).poll_frame(cx)
}

/// Returns the response with its first frame in place.
fn with_first<B: Body>(mut response: Response<B>, first: FirstFrame<B>) -> Response<PeekedBody<B>> {
    let Some(first) = first else { return response.map(|_| PeekedBody::ended()) };
    let failed = first.as_ref().ok().and_then(Frame::trailers_ref).is_some_and(|trailers| {
        grpc_headers::code(trailers).is_some_and(|code| code != GrpcCode::Ok)
            && become_headers(trailers, response.headers_mut())
    });
    response.map(|rest| if failed { PeekedBody::ended() } else { PeekedBody::new(first, rest) })
}

/// Copies `trailers` into `headers`, in the place of headers of the same names.
///
/// Returns false if there is no room for the status. Others that find no room are left out.
fn become_headers(trailers: &HeaderMap, headers: &mut HeaderMap) -> bool {
    let Some(status) = trailers.get(&GRPC_STATUS) else { return false };
    if headers.try_insert(&GRPC_STATUS, status.clone()).is_err() {
        return false;
    }
    for name in trailers.keys() {
        let is_status = name == GRPC_STATUS;
        if !is_status {
            headers.remove(name);
        }
        for value in trailers.get_all(name).into_iter().skip(is_status.into()) {
            let _ = headers.try_append(name, value.clone());
        }
    }
    true
}

/// Leaves out the inner future and the body, which are the user's.
impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("max_wait", &self.max_wait).finish_non_exhaustive()
    }
}
