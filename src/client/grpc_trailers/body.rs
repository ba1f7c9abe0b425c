use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

/// A body whose first frame may have been read already. See the
/// [module](crate::client::grpc_trailers).
///
/// One made by `Default` is empty.
#[pin_project]
pub struct PeekedBody<B: Body> {
    first: Option<Result<Frame<B::Data>, B::Error>>,
    /// `None` once it has ended.
    #[pin]
    rest: Option<B>,
}

impl<B: Body> PeekedBody<B> {
    pub(super) const fn unread(body: B) -> Self {
        Self { first: None, rest: Some(body) }
    }

    /// Puts a frame, or an error, that was read from `rest` in front of it again.
    pub(super) const fn new(first: Result<Frame<B::Data>, B::Error>, rest: B) -> Self {
        Self { first: Some(first), rest: Some(rest) }
    }

    pub(super) const fn ended() -> Self {
        Self { first: None, rest: None }
    }
}

impl<B: Body> Default for PeekedBody<B> {
    fn default() -> Self {
        Self::ended()
    }
}

impl<B: Body> Body for PeekedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(first));
        }
        match this.rest.as_pin_mut() {
            Some(rest) => rest.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint);
        let first = self.first.as_ref().and_then(|first| first.as_ref().ok()?.data_ref());
        let Some(first) = first.map(|data| data.remaining() as u64) else { return rest };
        let mut whole = SizeHint::new();
        whole.set_lower(rest.lower().saturating_add(first));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(first)) {
            whole.set_upper(upper);
        }
        whole
    }
}

/// Leaves out the body, which is the user's.
impl<B: Body> fmt::Debug for PeekedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeekedBody").finish_non_exhaustive()
    }
}
