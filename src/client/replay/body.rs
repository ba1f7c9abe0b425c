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

/// A body that keeps its frames, up to a bound, so that it can be sent again. See the
/// [module](crate::client::replay).
///
/// The stream and its kept frames live as long as any copy.
///
/// Not `Clone`: making a copy can fail, which [`ByClone`](crate::retry::ByClone) could not express.
///
/// # Errors
///
/// Those of the inner body, boxed and otherwise untouched, and [`ReplayError`].
pub struct ReplayBody<B>(Kind<B>);

enum Kind<B> {
    Empty,
    /// Known to be too long to be kept.
    Once(B),
    Kept(Copy<B>),
    /// Stands in for a copy that can't be made.
    Unsendable,
}

/// The reason why a copy of a body ended before it was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplayError {
    /// A copy made later is sent in its place.
    Replaced,
    /// Not all earlier frames are kept: they were too many, or the body failed.
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
    /// Wraps `body`, keeping up to `max_bytes` while it is sent.
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
    /// Returns another copy, from the beginning, or `None` if it [can't be made](Self::can_replay).
    ///
    /// Make it before sending this one: frames are kept only while there are two copies. Reading a
    /// copy ends all earlier copies that are not complete, with [`ReplayError::Replaced`].
    #[must_use]
    pub fn replay(&self) -> Option<Self> {
        Some(Self(match &self.0 {
            Kind::Empty => Kind::Empty,
            Kind::Once(_) | Kind::Unsendable => return None,
            Kind::Kept(copy) => Kind::Kept(copy.another()?),
        }))
    }

    /// Returns another copy. If none can be made, that copy can't be sent: reading it fails with
    /// [`ReplayError::NotReplayable`].
    pub(super) fn replay_or_unsendable(&self) -> Self {
        self.replay().unwrap_or(Self(Kind::Unsendable))
    }

    /// Returns true if all frames so far are kept, so that a copy can be made and sent.
    #[must_use]
    pub fn can_replay(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Once(_) | Kind::Unsendable => false,
            Kind::Kept(copy) => copy.is_kept(),
        }
    }

    /// Ends all earlier copies, as the first `poll_frame` would.
    ///
    /// Returns false if this copy can't be sent.
    pub(super) fn claim(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Once(_) | Kind::Unsendable => false,
            Kind::Kept(copy) => copy.claim().is_ok(),
        }
    }
}

/// The size is that of the inner body at first, less the bytes read, so that all copies are
/// announced alike (HTTP/1 sends a known size as `Content-Length`, and then no trailers).
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
            Kind::Unsendable => Poll::Ready(Some(Err(ReplayError::NotReplayable.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Once(body) => body.is_end_stream(),
            Kind::Kept(copy) => copy.has_ended(),
            Kind::Unsendable => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Once(body) => body.size_hint(),
            Kind::Kept(copy) => copy.left(),
            Kind::Unsendable => SizeHint::default(),
        }
    }
}

/// Leaves out the body, which is the user's.
impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").finish_non_exhaustive()
    }
}
