use std::{
    collections::VecDeque,
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};

use crate::client::frame_cost::frame_cost;

/// The frames that are read in one poll, so that a body that is always ready ends the poll.
const MAX_FRAMES: usize = 32;

/// A body whose first frames may have been read already. See the
/// [module](crate::client::read_body).
///
/// It yields the frames of the inner body, trailers included, and the error of the inner body where
/// that would have yielded it.
///
/// One made by `From` has not been read. One made by `Default` is empty.
pub struct ReadBody<B: Body> {
    read: VecDeque<Frame<B::Data>>,
    rest: Rest<B>,
}

enum Rest<B: Body> {
    Unread(B),
    /// The error is not yielded yet.
    Failed(B::Error, B),
    Ended,
}

/// Neither frames nor errors are pinned.
impl<B: Body + Unpin> Unpin for ReadBody<B> {}

impl<B: Body> From<B> for ReadBody<B> {
    #[inline]
    fn from(body: B) -> Self {
        Self { read: VecDeque::new(), rest: Rest::Unread(body) }
    }
}

impl<B: Body> Default for ReadBody<B> {
    fn default() -> Self {
        Self { read: VecDeque::new(), rest: Rest::Ended }
    }
}

impl<B: Body> ReadBody<B> {
    /// Returns the error at which the inner body broke off, unless it was yielded.
    pub(super) fn into_error(self) -> Result<Self, B::Error> {
        match self.rest {
            Rest::Failed(error, _) => Err(error),
            _ => Ok(self),
        }
    }

    /// Returns the number of bytes that have been read, and not yielded yet.
    fn bytes_read(&self) -> u64 {
        let bytes = |frame: &Frame<B::Data>| frame.data_ref().map_or(0, Buf::remaining);
        self.read.iter().map(|frame| bytes(frame) as u64).sum()
    }
}

impl<B: Body + Unpin> ReadBody<B> {
    /// Reads ahead until the inner body is over, or has no room left.
    ///
    /// A frame that exceeds the room is kept, and is the last. Pending after some frames, too.
    pub(super) fn poll_read_ahead(&mut self, cx: &mut Context<'_>, room: &mut usize) -> Poll<()> {
        for _ in 0..MAX_FRAMES {
            let Rest::Unread(body) = &mut self.rest else { return Poll::Ready(()) };
            // No more is read of a body that is known not to fit.
            if body.is_end_stream() || body.size_hint().lower() > *room as u64 {
                return Poll::Ready(());
            }
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let left = room.checked_sub(frame_cost(&frame));
                    self.read.push_back(frame);
                    match left {
                        Some(left) => *room = left,
                        None => return Poll::Ready(()),
                    }
                }
                Some(Err(error)) => {
                    if let Rest::Unread(body) = mem::replace(&mut self.rest, Rest::Ended) {
                        self.rest = Rest::Failed(error, body);
                    }
                }
                None => self.rest = Rest::Ended,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<B: Body + Unpin> Body for ReadBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let Self { read, rest } = self.get_mut();
        if let Some(frame) = read.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Rest::Unread(body) = rest {
            return Pin::new(body).poll_frame(cx);
        }
        let Rest::Failed(error, body) = mem::replace(rest, Rest::Ended) else {
            return Poll::Ready(None);
        };
        *rest = Rest::Unread(body);
        Poll::Ready(Some(Err(error)))
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.read.is_empty()
            && match &self.rest {
                Rest::Unread(body) => body.is_end_stream(),
                Rest::Failed(..) => false,
                Rest::Ended => true,
            }
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        let read = self.bytes_read();
        match &self.rest {
            Rest::Unread(body) | Rest::Failed(_, body) => plus(&body.size_hint(), read),
            Rest::Ended => SizeHint::with_exact(read),
        }
    }
}

/// The size of `bytes` and a rest.
fn plus(rest: &SizeHint, bytes: u64) -> SizeHint {
    let mut size = SizeHint::new();
    size.set_lower(rest.lower().saturating_add(bytes));
    if let Some(upper) = rest.upper() {
        size.set_upper(upper.saturating_add(bytes));
    }
    size
}

/// Leaves out the body, which is the user's.
impl<B: Body> fmt::Debug for ReadBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadBody").finish_non_exhaustive()
    }
}
