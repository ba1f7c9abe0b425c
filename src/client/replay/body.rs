use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

use super::source::{Copy, poll_bytes};

/// A body that can be sent again, because it keeps what goes by, up to a bound. See the
/// [module](crate::http::replay).
///
/// The stream and what was kept of it live as long as one of the copies does.
///
/// Not `Clone`: a copy is not always to be had, and [`ByClone`](crate::retry::ByClone) would not know.
///
/// # Errors
///
/// Those of the inner body, boxed and otherwise untouched, and [`ReplayError`].
pub struct ReplayBody<B>(Kind<B>);

enum Kind<B> {
    Empty,
    /// Too long to be kept.
    Once(B),
    Kept(Copy<B>),
}

/// Why a copy of a body ended before it was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplayError {
    /// One that was made later is sent in its place.
    Replaced,
    /// What was kept of the body isn't all that went by: that was too much, or the body failed.
    NotReplayable,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replaced => "another copy of this body is sent in its place",
            Self::NotReplayable => "this body can't be sent again",
        })
    }
}

impl Error for ReplayError {}

impl<B: Body> ReplayBody<B> {
    /// Keeps up to `max_bytes` of `body` while it is sent.
    #[must_use]
    pub fn new(body: B, max_bytes: usize) -> Self {
        let hint = body.size_hint();
        Self(if body.is_end_stream() {
            Kind::Empty
        } else if hint.lower() > max_bytes as u64 {
            Kind::Once(body)
        } else {
            Kind::Kept(Copy::first(body, hint, max_bytes))
        })
    }
}

impl<B> ReplayBody<B> {
    /// Another copy, which begins at the beginning, however much of this one was read. `None` if it
    /// [can't be](Self::can_replay).
    ///
    /// Make it before this one is sent: what goes by while there is no other copy isn't kept. Reading a copy ends
    /// those made before it (with [`ReplayError::Replaced`]), but for those that have come to their end.
    #[must_use]
    pub fn replay(&self) -> Option<Self> {
        Some(Self(match &self.0 {
            Kind::Empty => Kind::Empty,
            Kind::Once(_) => return None,
            Kind::Kept(copy) => Kind::Kept(copy.another()?),
        }))
    }

    /// Can it be sent again: is all kept that went by so far?
    #[must_use]
    pub fn can_replay(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Once(_) => false,
            Kind::Kept(copy) => copy.is_kept(),
        }
    }

    /// Ends all copies made before this one, as its first `poll_frame` would. False if it can't be sent.
    pub(super) fn claim(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Once(_) => false,
            Kind::Kept(copy) => copy.claim().is_ok(),
        }
    }
}

/// The size is at any time what the inner body said at first, less what was read: all copies are announced alike
/// (HTTP/1 sends one whose size is known with a `Content-Length`, and without trailers).
impl<B> Body for ReplayBody<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.get_mut().0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Once(body) => poll_bytes(body, cx),
            Kind::Kept(copy) => copy.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Once(body) => body.is_end_stream(),
            Kind::Kept(copy) => copy.has_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Once(body) => body.size_hint(),
            Kind::Kept(copy) => copy.left(),
        }
    }
}

/// Nothing of what is in it, which is the user's.
impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").finish_non_exhaustive()
    }
}
