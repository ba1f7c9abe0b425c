//! The state that the copies of a body share: the stream, and its kept frames.
//!
//! Copies are numbered in the order they are made. At any time one of them is *sending*, initially
//! the first. It alone reads the stream, and only after delivering all kept frames. So the kept
//! frames are a prefix of the delivered ones, and dropping them costs the sending copy nothing. A
//! copy with a higher number takes over by [`claim`](Copy::claim), as long as all frames are kept;
//! a copy with a lower number never does.
//!
//! The mutex is held while the stream is polled, which is foreign code. Only one copy can poll the
//! stream, so another copy waits for one poll at most. A poll may drop a copy as a side effect
//! (with a waker, the last reference to a task), so drops take no lock. Wakers are called without
//! the lock.
//!
//! A stream that panicked may have lost a frame. The poison of the standard library's mutex records
//! that, and no copy reads on.

use std::{
    cmp::Ordering,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

use super::ReplayError;
use crate::client::frame_cost::frame_cost;

/// One copy of a body.
pub(super) struct Copy<B> {
    shared: Arc<Shared<B>>,
    number: u64,
    /// The number of kept frames it has delivered. Unused once nothing is kept.
    delivered: usize,
    /// The number of bytes of data that it has delivered.
    read: u64,
    ended: bool,
}

struct Shared<B> {
    /// The size of the whole body, before any read.
    size: SizeHint,
    source: Mutex<Source<B>>,
}

struct Source<B> {
    /// `None` once the stream has ended.
    stream: Option<B>,
    /// All frames so far; `None` once one of them is not kept.
    kept: Option<Vec<Frame<Bytes>>>,
    /// The number of bytes that may still be kept.
    room: usize,
    /// The number of the latest copy.
    made: u64,
    /// The number of the sending copy.
    sending: u64,
    /// The waker of the sending copy, from its last wait for the stream.
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
        Self { shared, number, delivered: 0, read: 0, ended: false }
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
        if self.ended { SizeHint::with_exact(0) } else { less(&self.shared.size, self.read) }
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
        let Self { shared, number, delivered, read, ended } = self;
        if *ended {
            return Poll::Ready(None);
        }
        let mut source = shared.claim(*number)?;
        let frame = if let Some(kept) = source.kept(*delivered) {
            copy(kept)
        } else {
            // The last copy: another could only be made from this one, which is borrowed.
            if Arc::strong_count(shared) == 1 {
                source.kept = None;
            }
            ready!(source.poll_stream(cx)).transpose()?
        };
        if let Some(frame) = &frame {
            *delivered += 1;
            *read += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        *ended = source.stream.is_none() && source.kept(*delivered).is_none();
        Poll::Ready(frame.map(Ok))
    }
}

impl<B> Shared<B> {
    fn lock(&self) -> Result<MutexGuard<'_, Source<B>>, ReplayError> {
        self.source.lock().map_err(|_| ReplayError::NotReplayable)
    }

    /// Locks the state for the copy with this number, which becomes the sending one if it can.
    fn claim(&self, number: u64) -> Result<MutexGuard<'_, Source<B>>, ReplayError> {
        let mut source = self.lock()?;
        if source.sending < number && source.kept.is_some() {
            source.sending = number;
            // The stream will drop that waker, so its task is woken here, to see the error.
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
    /// Returns the kept frame with this index.
    fn kept(&self, index: usize) -> Option<&Frame<Bytes>> {
        self.kept.as_ref()?.get(index)
    }

    /// Keeps the frame. If there is no room, drops all kept frames and keeps none from now on.
    fn keep(&mut self, frame: &Frame<Bytes>) {
        let Some(kept) = &mut self.kept else { return };
        let room = self.room.checked_sub(frame_cost(frame));
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

/// Polls a body and converts its data into `Bytes`.
///
/// Data that is `Bytes` already, or consists of a single one, is not copied.
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

/// Copies a frame. `None` for an unknown kind of frame, which passes without being kept.
fn copy(frame: &Frame<Bytes>) -> Option<Frame<Bytes>> {
    let data = || frame.data_ref().cloned().map(Frame::data);
    let trailers = || frame.trailers_ref().cloned().map(Frame::trailers);
    data().or_else(trailers)
}

/// The size of the rest of a body after `bytes`.
fn less(size: &SizeHint, bytes: u64) -> SizeHint {
    let mut left = SizeHint::new();
    left.set_lower(size.lower().saturating_sub(bytes));
    if let Some(upper) = size.upper() {
        left.set_upper(upper.saturating_sub(bytes));
    }
    left
}
