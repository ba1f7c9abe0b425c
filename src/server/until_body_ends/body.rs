use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use crate::backpressure::InFlight;

/// A body that holds a permit until it has ended, failed, or is dropped. See the
/// [module](crate::server::until_body_ends).
///
/// One made by `Default`, or of a `String`, holds none.
#[pin_project]
#[derive(Debug, Default)]
pub struct PermitBody<B> {
    #[pin]
    body: B,
    /// Released as soon as the body has ended, before it is dropped. Declared after the body
    /// because fields are dropped in order.
    permit: InFlight,
}

impl<B: Body> PermitBody<B> {
    pub(super) fn new(body: B, permit: InFlight) -> Self {
        // Servers don't poll a body that is empty from the start.
        let permit = if body.is_end_stream() { InFlight::default() } else { permit };
        Self { body, permit }
    }
}

/// For the responses of outer layers that reject with a text, as
/// [`problem_rejection`](crate::server::problem_rejection()) does.
impl<B: From<String>> From<String> for PermitBody<B> {
    fn from(text: String) -> Self {
        Self { body: text.into(), permit: InFlight::default() }
    }
}

impl<B: Body> Body for PermitBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = {
            #[cfg(debug_assertions)]
            let _driven = this.permit.driven();
            this.body.as_mut().poll_frame(cx)
        };
        let over = match &frame {
            Poll::Pending => false,
            // Nor do servers poll again after a frame that is known to be the last.
            Poll::Ready(Some(Ok(_))) => this.body.is_end_stream(),
            Poll::Ready(Some(Err(_)) | None) => true,
        };
        if over {
            *this.permit = InFlight::default();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
