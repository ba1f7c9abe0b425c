//! Copies of a body that are read, dropped, made and claimed in any order, against a list of
//! frames.

#![no_main]

use std::{
    cell::Cell,
    error::Error,
    fmt,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, header::ETAG};
use http_body::{Body, Frame, SizeHint};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use tower_floodgate::{
    client::{ByReplay, ReplayBody, ReplayError},
    retry::CloneRequest,
};

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Data(u8),
    Trailers(u8),
    Pending,
    Fail,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Size {
    Unknown,
    Exact,
    /// Any lower bound and, above it, any upper one.
    Wrong(u16, Option<u16>),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Act {
    Read(u8),
    Copy(u8),
    Drop(u8),
    Claim(u8),
}

#[derive(Arbitrary, Debug)]
struct Input {
    steps: Vec<Step>,
    size: Size,
    /// True if the body says when its last frame has been read.
    tells_end: bool,
    /// The number of steps after which it says so too early.
    ends_early: Option<u8>,
    max_bytes: u16,
    acts: Vec<Act>,
}

#[derive(Debug)]
struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

impl Error for Broken {}

/// A body as an input describes it. Panics if it is polled after its end.
struct Source {
    steps: Rc<[Step]>,
    next: usize,
    size: SizeHint,
    tells_end: bool,
    ends_early: Option<usize>,
    over: bool,
    /// The bytes of its data that are alive.
    alive: Arc<AtomicUsize>,
    waker: Rc<Cell<Option<Waker>>>,
}

struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), Relaxed);
    }
}

fn data(position: usize, len: u8) -> Vec<u8> {
    vec![position as u8; usize::from(len) * 4]
}

fn trailers(value: u8) -> HeaderMap {
    HeaderMap::from_iter([(ETAG, HeaderValue::from(u16::from(value)))])
}

impl Body for Source {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        assert!(!self.over, "polled after its end");
        let position = self.next;
        let Some(step) = self.steps.get(position).copied() else {
            self.over = true;
            return Poll::Ready(None);
        };
        self.next += 1;
        Poll::Ready(Some(match step {
            Step::Data(len) => {
                let data = data(position, len);
                self.alive.fetch_add(data.len(), Relaxed);
                Ok(Frame::data(Bytes::from_owner(Counted(data, Arc::clone(&self.alive)))))
            }
            Step::Trailers(value) => Ok(Frame::trailers(trailers(value))),
            Step::Pending => {
                self.waker.set(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            Step::Fail => {
                self.over = true;
                Err(Broken)
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.tells_end && self.next >= self.steps.len()
            || self.ends_early.is_some_and(|end| self.next >= end)
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}

#[derive(Debug, PartialEq)]
enum Seen {
    Data(Vec<u8>),
    Trailers(HeaderMap),
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// A copy, and what is known of it.
struct Known {
    request: Request<ReplayBody<Source>>,
    number: usize,
    seen: usize,
    bytes: u64,
    over: bool,
    /// The number of wakes when it was last found pending.
    pending: Option<usize>,
    wakes: Arc<Wakes>,
}

fuzz_target!(|input: Input| {
    Trial::new(&input).run(&input.acts);
});

struct Trial {
    copies: Vec<Known>,
    written: Vec<Seen>,
    exact: Option<u64>,
    ends_early: bool,
    /// True if the body is passed through, because it says that it is too long.
    is_sent_once: bool,
    /// The number of the copy that reads the source.
    sending: usize,
    made: usize,
    max_bytes: usize,
    alive: Arc<AtomicUsize>,
    waker: Rc<Cell<Option<Waker>>>,
}

impl Trial {
    fn new(input: &Input) -> Self {
        let seen = |(position, step): (usize, &Step)| match *step {
            Step::Data(len) => Some(Seen::Data(data(position, len))),
            Step::Trailers(value) => Some(Seen::Trailers(trailers(value))),
            Step::Pending | Step::Fail => None,
        };
        let written: Vec<_> = input.steps.iter().enumerate().filter_map(seen).collect();
        let total =
            written.iter().map(|seen| if let Seen::Data(data) = seen { data.len() } else { 0 });
        let total = total.sum::<usize>() as u64;
        let mut size = SizeHint::new();
        match input.size {
            Size::Unknown => {}
            Size::Exact => size = SizeHint::with_exact(total),
            Size::Wrong(lower, above) => {
                size.set_lower(lower.into());
                if let Some(above) = above {
                    size.set_upper(u64::from(lower) + u64::from(above));
                }
            }
        }
        let (alive, waker) = (Arc::default(), Rc::default());
        let source = Source {
            steps: input.steps.as_slice().into(),
            next: 0,
            size,
            tells_end: input.tells_end,
            ends_early: input.ends_early.map(usize::from),
            over: false,
            alive: Arc::clone(&alive),
            waker: Rc::clone(&waker),
        };
        let max_bytes = usize::from(input.max_bytes);
        let body = ReplayBody::new(source, max_bytes);
        let mut trial = Self {
            copies: Vec::new(),
            written,
            exact: matches!(input.size, Size::Exact).then_some(total).filter(|_| body.can_replay()),
            ends_early: input.ends_early.is_some(),
            is_sent_once: !body.can_replay(),
            sending: 0,
            made: 0,
            max_bytes,
            alive,
            waker,
        };
        trial.add(Request::new(body));
        trial
    }

    fn add(&mut self, request: Request<ReplayBody<Source>>) {
        let number = self.made;
        self.made += 1;
        self.copies.push(Known {
            request,
            number,
            seen: 0,
            bytes: 0,
            over: false,
            pending: None,
            wakes: Arc::default(),
        });
    }

    fn run(&mut self, acts: &[Act]) {
        for &act in acts {
            let (Act::Read(index) | Act::Copy(index) | Act::Drop(index) | Act::Claim(index)) = act;
            let Some(index) = usize::from(index).checked_rem(self.copies.len()) else { return };
            let copy = &self.copies[index].request;
            let can_send = ByReplay.can_send(copy);
            match act {
                Act::Read(_) => self.read(index),
                Act::Copy(_) => {
                    let copied = ByReplay.clone_request(copy).expect("a head can be copied");
                    assert_eq!(ByReplay.can_send(&copied), can_send);
                    if can_send {
                        self.add(copied);
                    } else {
                        assert!(!ByReplay.claim(&copied), "what can't be sent takes over");
                    }
                }
                Act::Drop(_) => drop(self.copies.swap_remove(index)),
                Act::Claim(_) => {
                    let claimed = ByReplay.claim(copy);
                    let number = self.copies[index].number;
                    assert!(!claimed || number >= self.sending || copy.body().is_end_stream());
                    if claimed {
                        self.takes_over(number);
                    }
                }
            }
            let alive = self.alive.load(Relaxed);
            assert!(alive <= self.max_bytes, "{alive} bytes are kept");
        }
    }

    /// Notes that copies before this one are replaced: those that wait are woken.
    fn takes_over(&mut self, number: usize) {
        if number <= self.sending {
            return;
        }
        self.sending = number;
        for copy in self.copies.iter().filter(|copy| copy.number < number) {
            if let Some(wakes) = copy.pending {
                assert!(copy.wakes.0.load(Relaxed) > wakes, "a replaced copy is not woken");
            }
        }
    }

    /// Reads a frame.
    fn read(&mut self, index: usize) {
        let copy = &mut self.copies[index];
        if copy.over {
            return;
        }
        copy.pending = None;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        let number = copy.number;
        let waker = Waker::from(Arc::clone(&copy.wakes));
        let wakes = copy.wakes.0.load(Relaxed);
        let body = copy.request.body_mut();
        let frame = Pin::new(&mut *body).poll_frame(&mut Context::from_waker(&waker));
        let (ended, left) = (body.is_end_stream(), body.size_hint());
        match frame {
            Poll::Pending => copy.pending = Some(wakes),
            Poll::Ready(Some(Ok(frame))) => {
                let seen = match frame.into_data() {
                    Ok(data) => Seen::Data(data.to_vec()),
                    Err(frame) => Seen::Trailers(frame.into_trailers().ok().unwrap()),
                };
                assert_eq!(Some(&seen), self.written.get(copy.seen), "not the frame written");
                copy.seen += 1;
                copy.bytes += if let Seen::Data(data) = seen { data.len() as u64 } else { 0 };
                assert!(number >= self.sending, "a replaced copy delivers");
                if let Some(total) = self.exact {
                    assert_eq!(
                        left.exact(),
                        if ended { Some(0) } else { Some(total - copy.bytes) }
                    );
                }
            }
            Poll::Ready(Some(Err(error))) => {
                copy.over = true;
                assert!(!ended || self.is_sent_once);
                match error.downcast_ref() {
                    Some(ReplayError::Replaced) => assert!(number < self.sending),
                    Some(_) => assert!(!ByReplay.can_send(&copy.request)),
                    None => assert!(error.is::<Broken>()),
                }
                if !error.is::<Broken>() {
                    return;
                }
            }
            Poll::Ready(None) => {
                copy.over = true;
                assert!(self.ends_early || copy.seen == self.written.len(), "ended too early");
                if !self.is_sent_once {
                    assert!(ended);
                    let again = Pin::new(copy.request.body_mut());
                    assert!(again.poll_frame(&mut Context::from_waker(&waker)).is_ready());
                }
            }
        }
        self.takes_over(number);
    }
}
