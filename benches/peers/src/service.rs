//! The services behind every contender.

use std::{
    future::{Future, Pending, pending},
    hint::black_box,
    pin::Pin,
    task::{Context, Poll},
};

use tower::{BoxError, Service};

/// Always ready; answers at once with an array of `WORDS` words.
///
/// Out of line, as a client or a handler would be: otherwise the compiler could specialize a layer
/// for a service that does not fail.
#[derive(Clone)]
pub(crate) struct Bare<const WORDS: usize>;

pub(crate) struct Answer<const WORDS: usize>(u32);

/// A service with a response that fits into a register.
pub(crate) const SMALL: Bare<1> = Bare;

impl<const WORDS: usize> Service<u32> for Bare<WORDS> {
    type Response = [u64; WORDS];
    type Error = BoxError;
    type Future = Answer<WORDS>;

    #[inline(never)]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        black_box(self);
        Poll::Ready(Ok(()))
    }

    #[inline(never)]
    fn call(&mut self, request: u32) -> Self::Future {
        Answer(black_box(request))
    }
}

impl<const WORDS: usize> Future for Answer<WORDS> {
    type Output = Result<[u64; WORDS], BoxError>;

    #[inline(never)]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok([black_box(self.0).into(); WORDS]))
    }
}

/// Always ready; never answers.
#[derive(Clone)]
pub(crate) struct Stuck;

impl Service<u32> for Stuck {
    type Response = ();
    type Error = BoxError;
    type Future = Pending<Result<(), Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u32) -> Self::Future {
        pending()
    }
}
