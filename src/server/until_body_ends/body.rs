use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use super::permit::{BodyPermit, ConcurrencyBodyPermit};

/// A body that holds a permit until it has ended, failed, or is dropped. See the
/// [module](crate::server::until_body_ends).
///
/// One made by `Default`, or of a `String`, holds none.
#[pin_project]
#[derive(Debug, Default)]
pub struct PermitBody<B, P = ConcurrencyBodyPermit> {
    #[pin]
    body: B,
    /// Released as soon as the body has ended, before it is dropped. Declared after the body
    /// because fields are dropped in order.
    permit: P,
}

impl<B: Body, P: BodyPermit> PermitBody<B, P> {
    pub(super) fn new(body: B, permit: P) -> Self {
        // Servers don't poll a body that is empty from the start.
        let permit = if body.is_end_stream() { P::default() } else { permit };
        Self { body, permit }
    }
}

/// For the responses of outer layers that reject with a text, as
/// [`problem_rejection`](crate::server::problem_rejection()) does.
impl<B: From<String>, P: BodyPermit> From<String> for PermitBody<B, P> {
    fn from(text: String) -> Self {
        Self { body: text.into(), permit: P::default() }
    }
}

impl<B: Body, P: BodyPermit> Body for PermitBody<B, P> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = this.permit.drive(|| this.body.as_mut().poll_frame(cx));
        let over = match &frame {
            Poll::Pending => false,
            // Nor do servers poll again after a frame that is known to be the last.
            Poll::Ready(Some(Ok(_))) => this.body.is_end_stream(),
            Poll::Ready(Some(Err(_)) | None) => true,
        };
        if over {
            *this.permit = P::default();
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
