//! What the copies of a body share: the stream, and what was kept of it.
//!
//! Copies are numbered as they are made. At any time one of them is *sending*, at first the first one. It alone
//! reads the stream, and only when it has delivered all that is kept. So what is kept is never more than it has
//! delivered, and can be dropped without its missing anything. One with a higher number takes over by
//! [`claim`](Copy::claim), as long as all is kept; one with a lower number never does.
//!
//! The mutex is held while the stream is polled, which is foreign code. Only one can poll it, so another could do no
//! more than wait; and what waits for it does so for one poll. What a poll can do to the copies without meaning to is
//! to drop one (with a waker, the last reference to a task): nothing is locked in a drop. Wakers are called
//! without it.
//!
//! A stream that panicked may have lost what it was about to give. The mutex's poison tells of it, and nobody
//! reads on; that's why it is the standard library's own.

use std::{
    cmp::Ordering,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, Bytes};
use http::{HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

use super::ReplayError;

/// Counts for a frame at the least: what it takes to keep one, however short, is about as much.
const SMALLEST_FRAME: usize = 128;

/// Counts for a field of trailers besides its text, as in RFC 7541, section 4.1.
const FIELD: usize = 32;

/// One copy of a body.
pub(super) struct Copy<B> {
    shared: Arc<Shared<B>>,
    number: u64,
    /// How many of the kept frames it has delivered. No longer of use once nothing is kept.
    delivered: usize,
    left: SizeHint,
    ended: bool,
}

struct Shared<B> {
    /// Of the whole body, when nothing had been read.
    size: SizeHint,
    source: Mutex<Source<B>>,
}

struct Source<B> {
    /// `None` once it has ended.
    stream: Option<B>,
    /// All frames that went by; `None` once that's not to be had.
    kept: Option<Vec<Frame<Bytes>>>,
    /// How many bytes may still be kept.
    room: usize,
    /// The number of the copy made last.
    made: u64,
    /// The number of the one that is sending.
    sending: u64,
    /// Of the one that is sending, since it waited for the stream last.
    waker: Option<Waker>,
}

impl<B> Copy<B> {
    pub(super) fn first(body: B, size: SizeHint, max_bytes: usize) -> Self {
        let source = Source {
            stream: Some(body),
            kept: Some(Vec::new()),
            room: max_bytes,
            made: 0,
            sending: 0,
            waker: None,
        };
        let shared = Arc::new(Shared { size, source: Mutex::new(source) });
        Self::of(shared, 0)
    }

    fn of(shared: Arc<Shared<B>>, number: u64) -> Self {
        let left = shared.size;
        Self { shared, number, delivered: 0, left, ended: false }
    }

    pub(super) fn another(&self) -> Option<Self> {
        let mut source = self.shared.lock().ok().filter(|source| source.kept.is_some())?;
        source.made += 1;
        Some(Self::of(Arc::clone(&self.shared), source.made))
    }

    pub(super) fn is_kept(&self) -> bool {
        self.shared.lock().is_ok_and(|source| source.kept.is_some())
    }

    pub(super) fn claim(&self) -> Result<(), ReplayError> {
        self.shared.claim(self.number).map(drop)
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn left(&self) -> SizeHint {
        if self.ended { SizeHint::with_exact(0) } else { self.left }
    }
}

impl<B> Copy<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { shared, number, delivered, left, ended } = self;
        if *ended {
            return Poll::Ready(None);
        }
        let mut source = shared.claim(*number)?;
        let frame = if let Some(kept) = source.kept(*delivered) {
            copy(kept)
        } else {
            // The last one left: nobody makes another meanwhile, for that would be made of this one.
            if Arc::strong_count(shared) == 1 {
                source.kept = None;
            }
            ready!(source.poll_stream(cx)).transpose()?
        };
        if let Some(frame) = &frame {
            *delivered += 1;
            *left = less(*left, frame.data_ref().map_or(0, Bytes::len));
        }
        *ended = source.stream.is_none() && source.kept(*delivered).is_none();
        Poll::Ready(frame.map(Ok))
    }
}

impl<B> Shared<B> {
    fn lock(&self) -> Result<MutexGuard<'_, Source<B>>, ReplayError> {
        self.source.lock().map_err(|_| ReplayError::NotReplayable)
    }

    /// What is shared, for the copy that is sending: which the one with this number is from now on, if it can be.
    fn claim(&self, number: u64) -> Result<MutexGuard<'_, Source<B>>, ReplayError> {
        let mut source = self.lock()?;
        if source.sending < number && source.kept.is_some() {
            source.sending = number;
            // The stream will forget who waited for it: it learns from us that it does so in vain.
            if let Some(replaced) = source.waker.take() {
                drop(source);
                replaced.wake();
                source = self.lock()?;
            }
        }
        match source.sending.cmp(&number) {
            Ordering::Equal => Ok(source),
            Ordering::Greater => Err(ReplayError::Replaced),
            Ordering::Less => Err(ReplayError::NotReplayable),
        }
    }
}

impl<B> Source<B> {
    /// The kept frame with this index.
    fn kept(&self, index: usize) -> Option<&Frame<Bytes>> {
        self.kept.as_ref()?.get(index)
    }

    /// Keeps the frame, or else nothing any more.
    fn keep(&mut self, frame: &Frame<Bytes>) {
        let Some(kept) = &mut self.kept else { return };
        let room = self.room.checked_sub(cost(frame));
        if let (Some(room), Some(frame)) = (room, copy(frame)) {
            self.room = room;
            kept.push(frame);
        } else {
            self.kept = None;
        }
    }
}

impl<B> Source<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    fn poll_stream(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let polled = poll_bytes(stream, cx);
        match &polled {
            Poll::Pending => match &mut self.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            },
            Poll::Ready(Some(Ok(frame))) => {
                if stream.is_end_stream() {
                    self.stream = None;
                }
                self.keep(frame);
            }
            Poll::Ready(Some(Err(_))) => self.kept = None,
            Poll::Ready(None) => self.stream = None,
        }
        polled
    }
}

/// Polls a body, whose data is made into `Bytes`. What is `Bytes` already, or made of a single one, is not copied.
pub(super) fn poll_bytes<B>(
    body: &mut B,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    let bytes = |mut data: B::Data| data.copy_to_bytes(data.remaining());
    Pin::new(body).poll_frame(cx).map_ok(|frame| frame.map_data(bytes)).map_err(Into::into)
}

/// How much of the room a frame takes.
fn cost(frame: &Frame<Bytes>) -> usize {
    let field =
        |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + FIELD;
    let data = frame.data_ref().map_or(0, Bytes::len);
    let trailers = frame.trailers_ref().map_or(0, |fields| fields.iter().map(field).sum());
    SMALLEST_FRAME.max(data + trailers)
}

/// `None` if it is of a kind that isn't known here, and passes without being kept.
fn copy(frame: &Frame<Bytes>) -> Option<Frame<Bytes>> {
    let data = || frame.data_ref().cloned().map(Frame::data);
    let trailers = || frame.trailers_ref().cloned().map(Frame::trailers);
    data().or_else(trailers)
}

/// What is left of a body after so many bytes.
fn less(size: SizeHint, bytes: usize) -> SizeHint {
    let mut left = SizeHint::new();
    left.set_lower(size.lower().saturating_sub(bytes as u64));
    if let Some(upper) = size.upper() {
        left.set_upper(upper.saturating_sub(bytes as u64));
    }
    left
}
