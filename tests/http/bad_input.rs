//! Errors and bodies that no library makes, but any may.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::{Ready, ready},
    io,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{CONTENT_TYPE, ETAG},
};
use http_body::{Body, Frame, SizeHint};
use proptest::prelude::*;
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, Rejected,
    client::HttpClassifier,
    find_cause,
    retry::{Classify, Verdict},
};

/// A link of a chain of errors, whose text is that of an error that counts.
#[derive(Debug)]
struct Link(Option<BoxError>);

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection refused")
    }
}

impl Error for Link {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_deref().map(|cause| cause as _)
    }
}

impl Link {
    /// Takes a long chain apart: dropped as it is, it would overflow the stack of a test.
    fn dismantle(mut self) {
        let mut next = self.0.take();
        while let Some(error) = next {
            next = match error.downcast::<Self>() {
                Ok(mut link) => link.0.take(),
                Err(_) => None,
            };
        }
    }
}

fn verdict_of<E: Error + 'static>(method: &str, error: E) -> (Verdict, E) {
    let request = Request::builder().method(method).body(()).unwrap();
    let result = Err::<Response<()>, E>(error);
    let verdict = HttpClassifier::new().classify(&request, &result);
    (verdict, result.err().unwrap())
}

#[test]
fn r6_cause_is_found_at_the_end_of_a_very_long_chain() {
    let refused = || BoxError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
    for (last, verdict) in [(Some(refused()), Verdict::Retry), (None, Verdict::Done)] {
        let chain = (0..100_000).fold(last, |cause, _| Some(BoxError::from(Link(cause))));
        let (seen, chain) = verdict_of("POST", Link(chain));
        assert_eq!(seen, verdict);
        let found = find_cause::<io::Error>(&chain).map(io::Error::kind);
        assert_eq!(found.is_some(), verdict == Verdict::Retry);
        assert!(Rejected::find(&chain).is_none());
        chain.dismantle();
    }
}

/// A link of an arbitrary chain.
#[derive(Clone, Copy, Debug)]
enum Cause {
    Link,
    Io(io::ErrorKind),
    Inside(io::ErrorKind),
}

fn cause() -> impl Strategy<Value = Cause> {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, InvalidData, Other};
    let kind = prop::sample::select(&[ConnectionRefused, ConnectionReset, InvalidData, Other][..]);
    prop_oneof![
        3 => Just(Cause::Link),
        1 => kind.clone().prop_map(Cause::Io),
        2 => kind.prop_map(Cause::Inside),
    ]
}

proptest! {
    /// Conclusive evidence anywhere in a chain retries any request, other evidence a repeatable
    /// one.
    #[test]
    fn r6_any_chain_of_errors_is_judged_by_its_causes(
        causes in prop::collection::vec(cause(), 0..40),
    ) {
        // The outermost comes last. An `Io` ends a chain, so that only causes after it are in it.
        let mut kinds = Vec::new();
        let mut chain = None;
        for &cause in &causes {
            chain = Some(match cause {
                Cause::Link => BoxError::from(Link(chain)),
                Cause::Io(kind) => {
                    kinds = vec![kind];
                    io::Error::from(kind).into()
                }
                Cause::Inside(kind) => {
                    kinds.push(kind);
                    match chain {
                        Some(chain) => io::Error::new(kind, chain).into(),
                        None => io::Error::from(kind).into(),
                    }
                }
            });
        }
        let unreached = kinds.contains(&io::ErrorKind::ConnectionRefused);
        let interrupted = kinds.contains(&io::ErrorKind::ConnectionReset);
        let verdict = |retried| if retried { Verdict::Retry } else { Verdict::Done };
        let (post, error) = verdict_of("POST", Link(chain));
        prop_assert_eq!(post, verdict(unreached));
        prop_assert_eq!(verdict_of("GET", error).0, verdict(unreached || interrupted));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Data(u8),
    Trailers,
    Pending,
    Fail,
    End,
}

/// A body of any frames, with a size and an end that need not be theirs. Goes on after its end.
#[derive(Clone, Debug)]
struct Liar {
    steps: Vec<Step>,
    polls: usize,
    lower: u16,
    above: Option<u16>,
    /// The numbers of polls after which it says that it has ended.
    ended: Range<usize>,
}

impl Body for Liar {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let step = self.steps.get(self.polls).cloned().unwrap_or(Step::End);
        self.polls += 1;
        let value = HeaderValue::from_static("value");
        Poll::Ready(match step {
            Step::Data(len) => Some(Ok(Frame::data(vec![len; len.into()].into()))),
            Step::Trailers => Some(Ok(Frame::trailers(HeaderMap::from_iter([(ETAG, value)])))),
            Step::Fail => Some(Err(io::Error::other("as written"))),
            Step::End => None,
            Step::Pending => return Poll::Pending,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended.contains(&self.polls)
    }

    fn size_hint(&self) -> SizeHint {
        let mut size = SizeHint::new();
        size.set_lower(self.lower.into());
        if let Some(above) = self.above {
            size.set_upper(u64::from(self.lower) + u64::from(above));
        }
        size
    }
}

fn liar() -> impl Strategy<Value = Liar> {
    let step = prop_oneof![
        3 => any::<u8>().prop_map(Step::Data),
        1 => Just(Step::Trailers),
        1 => Just(Step::Pending),
        1 => Just(Step::Fail),
        1 => Just(Step::End),
    ];
    let ended = (0..9_usize, 0..9_usize).prop_map(|(from, len)| from..from + len);
    (prop::collection::vec(step, 0..8), any::<u16>(), any::<Option<u16>>(), ended)
        .prop_map(|(steps, lower, above, ended)| Liar { steps, polls: 0, lower, above, ended })
}

/// A poll of a body, its end and its size, as text.
fn seen<B>(body: &mut B) -> String
where
    B: Body<Data = Bytes, Error: fmt::Debug> + Unpin,
{
    let frame = Pin::new(&mut *body).poll_frame(&mut Context::from_waker(Waker::noop()));
    format!("{frame:?} {} {:?}", body.is_end_stream(), body.size_hint())
}

fn through<L>(layer: &L, body: Liar) -> <L::Service as Service<()>>::Response
where
    L: Layer<Once, Service: Service<(), Error: fmt::Debug>>,
{
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    layer.layer(Once(Some(response))).oneshot(()).now_or_never().unwrap().unwrap()
}

/// Returns its response once.
struct Once(Option<Response<Liar>>);

impl Service<()> for Once {
    type Response = Response<Liar>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Liar>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(self.0.take().unwrap()))
    }
}

proptest! {
    /// The frames pass, and the permit is held until the body says that it is over, or is dropped.
    #[test]
    fn c4_permit_of_any_body_is_released(liar in liar(), polls in 0..12_usize) {
        let layer = ConcurrencyBackpressureLayer::new(1).until_body_ends();
        let handle = layer.handle();
        let mut plain = liar.clone();
        let mut body = through(&layer, liar).into_body();
        let mut over = plain.is_end_stream();
        prop_assert_eq!(handle.in_flight(), u32::from(!over));
        for _ in 0..polls {
            let shown = seen(&mut plain);
            prop_assert_eq!(seen(&mut body), &*shown);
            let is_frame = shown.starts_with("Ready(Some(Ok");
            over |= is_frame && plain.is_end_stream();
            over |= !is_frame && !shown.starts_with("Pending");
            prop_assert_eq!(handle.in_flight(), u32::from(!over));
        }
        drop(body);
        prop_assert_eq!(handle.in_flight(), 0);
    }

    /// A look at the first frame changes none of them, except that it passes over empty data.
    #[cfg(feature = "grpc")]
    #[test]
    fn r6_any_body_is_read_on_after_its_first_frame(liar in liar(), polls in 1..12_usize) {
        let layer = tower_floodgate::client::GrpcTrailersLayer::new().max_wait(Duration::ZERO);
        let mut plain = liar.clone();
        let mut body = through(&layer, liar).into_body();
        // A body that had ended was not looked at; one without a first frame is not read again.
        if matches!(plain.steps.first(), None | Some(Step::Data(0) | Step::End | Step::Pending)) {
            (0..polls).for_each(|_| drop(seen(&mut body)));
            return Ok(());
        }
        for _ in 0..polls {
            let frame = |shown: String| shown.split(" true ").flat_map(|part| part.split(" false "))
                .next().map(str::to_owned);
            prop_assert_eq!(frame(seen(&mut body)), frame(seen(&mut plain)));
        }
    }
}
