//! Request bodies that can be sent again.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
        mpsc::{Receiver, channel},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    ExponentialRetry, ExponentialRetryLayer,
    client::{
        Attempts, HttpClassifier,
        replay::{ByReplay, ReplayBody, ReplayError, ReplayLayer},
    },
    retry::{Backoff, Classify, CloneRequest, Decision, Jitter, RetryBudget, StopReason, Verdict},
};

/// The least that a frame counts for, by the module's page.
const SMALLEST: usize = 128;

/// A step of a body.
#[derive(Clone, Debug)]
enum Step {
    Data(Vec<u8>),
    Trailers(u8),
    Pending,
    Fail,
    Panic,
}

/// A scripted body that counts the live bytes of its data.
#[derive(Debug)]
struct Script {
    steps: VecDeque<Step>,
    /// True if the body knows its size and its end.
    telling: bool,
    alive: Arc<AtomicUsize>,
    polled: Arc<AtomicUsize>,
}

#[derive(Debug, PartialEq, Eq)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

/// Data that is counted until it is dropped.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), SeqCst);
    }
}

fn trailers(value: u8) -> HeaderMap {
    HeaderMap::from_iter([(header::ETAG, HeaderValue::from(u16::from(value)))])
}

impl Script {
    fn new(steps: impl IntoIterator<Item = Step>, telling: bool) -> Self {
        let steps = steps.into_iter().collect();
        Self { steps, telling, alive: Arc::default(), polled: Arc::default() }
    }

    /// A body of frames with these lengths.
    fn of(frames: usize, len: usize) -> Self {
        Self::new((0..frames).map(|n| Step::Data(vec![n as u8; len])), false)
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.polled.fetch_add(1, SeqCst);
        Poll::Ready(Some(match self.steps.pop_front() {
            None => return Poll::Ready(None),
            Some(Step::Pending) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Step::Data(data)) => {
                self.alive.fetch_add(data.len(), SeqCst);
                Ok(Frame::data(Bytes::from_owner(Counted(data, Arc::clone(&self.alive)))))
            }
            Some(Step::Trailers(value)) => Ok(Frame::trailers(trailers(value))),
            Some(Step::Fail) => Err(Broken),
            Some(Step::Panic) => panic!("as written"),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.telling && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let len = |step: &Step| if let Step::Data(data) = step { data.len() as u64 } else { 0 };
        match self.telling {
            true => SizeHint::with_exact(self.steps.iter().map(len).sum()),
            false => SizeHint::default(),
        }
    }
}

/// A received frame.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Data(Vec<u8>),
    Trailers(HeaderMap),
}

fn seen(frame: Frame<Bytes>) -> Seen {
    match frame.into_data() {
        Ok(data) => Seen::Data(data.to_vec()),
        Err(frame) => Seen::Trailers(frame.into_trailers().unwrap()),
    }
}

fn poll<B>(body: &mut ReplayBody<B>, waker: &Waker) -> Poll<Option<Result<Seen, BoxError>>>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    Pin::new(body).poll_frame(&mut Context::from_waker(waker)).map_ok(seen)
}

/// Reads the next frame of a body, polling while it is pending.
fn next<B>(body: &mut ReplayBody<B>) -> Option<Result<Seen, BoxError>>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    loop {
        if let Poll::Ready(frame) = poll(body, Waker::noop()) {
            return frame;
        }
    }
}

fn replay_error(frame: Option<Result<Seen, BoxError>>) -> Option<ReplayError> {
    frame?.err()?.downcast_ref().copied()
}

async fn all<B>(body: ReplayBody<B>) -> Result<Vec<u8>, BoxError>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    Ok(body.collect().await?.to_bytes().to_vec())
}

/// A waker that counts its calls.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..400).prop_map(Step::Data),
        2 => Just(Step::Pending),
        1 => any::<u8>().prop_map(Step::Trailers),
    ];
    (prop::collection::vec(step, 0..12), prop::bool::weighted(0.2)).prop_map(
        |(mut steps, fails)| {
            steps.extend(fails.then_some(Step::Fail));
            steps
        },
    )
}

/// An operation on one of the copies.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Reads up to this number of frames.
    Read(usize),
    Copy,
    Drop,
}

fn acts() -> impl Strategy<Value = Vec<(Act, prop::sample::Index)>> {
    let act = prop_oneof![
        4 => (1..14_usize).prop_map(Act::Read),
        3 => Just(Act::Copy),
        1 => Just(Act::Drop),
    ];
    prop::collection::vec((act, any::<prop::sample::Index>()), 1..24)
}

/// A copy and its expected state.
struct Known {
    body: ReplayBody<Script>,
    number: usize,
    read: usize,
    ended: bool,
}

proptest! {
    /// Compares with a `Vec` of the frames, while copies are read, dropped and made in any order.
    /// Each copy that ends well has delivered all frames, always announces the rest, and only the
    /// needed frames are kept.
    #[test]
    fn r7_every_copy_yields_the_written_frames(
        steps in steps(),
        telling: bool,
        max_bytes in 0..2500_usize,
        acts in acts(),
    ) {
        let fails = matches!(steps.last(), Some(Step::Fail));
        let ends_with_frame = !matches!(steps.last(), Some(Step::Fail | Step::Pending));
        let written: Vec<Seen> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Data(data) => Some(Seen::Data(data.clone())),
                Step::Trailers(value) => Some(Seen::Trailers(trailers(*value))),
                _ => None,
            })
            .collect();
        let len = |frame: &Seen| if let Seen::Data(data) = frame { data.len() } else { 0 };
        let bytes = |frames: &[Seen]| frames.iter().map(len).sum::<usize>();
        // These trailers are below the least that a frame counts for.
        let cost = |frames: &[Seen]| frames.iter().map(|frame| len(frame).max(SMALLEST)).sum::<usize>();
        let script = Script::new(steps, telling);
        let alive = Arc::clone(&script.alive);

        let empty = script.is_end_stream();
        let once = telling && bytes(&written) > max_bytes;
        let mut whole = !once;
        let mut stream_ended = empty;
        let (mut made, mut sending, mut most_read) = (0, 0, 0);
        let body = ReplayBody::new(script, max_bytes);
        let mut copies = vec![Known { body, number: 0, read: 0, ended: empty }];

        for (act, index) in acts {
            let alone = copies.len() == 1;
            let Some(at) = (!copies.is_empty()).then(|| index.index(copies.len())) else { break };
            match act {
                Act::Drop => drop(copies.remove(at)),
                Act::Copy => {
                    let copy = copies[at].body.replay();
                    prop_assert_eq!(copy.is_some(), whole);
                    if let Some(body) = copy {
                        made += 1;
                        copies.push(Known { body, number: made, read: 0, ended: empty });
                    }
                }
                Act::Read(frames) => for _ in 0..frames {
                    let Known { body, number, read, ended } = &mut copies[at];
                    let frame = next(body);
                    if *ended {
                        prop_assert!(frame.is_none());
                        break;
                    }
                    if *number < sending {
                        prop_assert_eq!(replay_error(frame), Some(ReplayError::Replaced));
                        break;
                    }
                    if *number > sending && !whole {
                        prop_assert_eq!(replay_error(frame), Some(ReplayError::NotReplayable));
                        break;
                    }
                    sending = *number;
                    // Frames read by the last copy are not kept.
                    whole &= !alone || *read < most_read;
                    if *read < written.len() {
                        prop_assert_eq!(&frame.unwrap().unwrap(), &written[*read]);
                        *read += 1;
                        most_read = most_read.max(*read);
                        whole &= cost(&written[..most_read]) <= max_bytes;
                        stream_ended |= telling && ends_with_frame && most_read == written.len();
                    } else if fails {
                        prop_assert!(frame.unwrap().unwrap_err().is::<Broken>());
                        whole = false;
                        copies.remove(at);
                        break;
                    } else {
                        prop_assert!(frame.is_none());
                        stream_ended = true;
                    }
                    *ended = stream_ended && *read == written.len();
                },
            }
            for Known { body, read, ended, .. } in &copies {
                prop_assert_eq!(body.can_replay(), whole || empty);
                prop_assert_eq!(body.is_end_stream(), *ended);
                let left = bytes(&written[*read..]) as u64;
                let hint = body.size_hint();
                prop_assert_eq!(hint.exact(), (telling || *ended).then_some(left));
                prop_assert!(hint.lower() <= left);
            }
            let kept = if whole && !copies.is_empty() { bytes(&written[..most_read]) } else { 0 };
            prop_assert!(kept <= max_bytes);
            prop_assert_eq!(alive.load(SeqCst), kept);
        }
    }
}

/// A body that is fed from outside.
struct Fed(tokio::sync::mpsc::UnboundedReceiver<Bytes>);

impl Body for Fed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0.poll_recv(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}

fn fed() -> (tokio::sync::mpsc::UnboundedSender<Bytes>, Fed) {
    let (feed, fed) = tokio::sync::mpsc::unbounded_channel();
    (feed, Fed(fed))
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[allow(clippy::disallowed_methods, reason = "tests look at tokio's clock, too")]
fn now() -> Instant {
    Instant::now()
}

/// A policy that retries statuses from 500 on, after 1 s and 2 s.
#[derive(Clone)]
struct ByStatus;

impl<Req> Classify<Req, u16, BoxError> for ByStatus {
    fn classify(&self, _: &Req, result: &Result<u16, BoxError>) -> Verdict {
        match result {
            Ok(500..) | Err(_) => Verdict::Retry,
            Ok(_) => Verdict::Done,
        }
    }
}

fn policy() -> ExponentialRetry<ByStatus, ByReplay> {
    ExponentialRetry::new(3)
        .backoff(Backoff::new(secs(1), secs(10)).jitter(Jitter::None))
        .classify(ByStatus)
        .clone_with(ByReplay)
}

/// The whole stack. The body has a frame each 100 ms; the server reads half of it and fails, twice.
/// The third time it receives all of the body and of the request.
#[tokio::test(start_paused = true)]
async fn r7_body_half_read_twice_arrives_whole() {
    #[derive(Clone, Debug, PartialEq)]
    struct Extension(u32);

    let (feed, body) = fed();
    tokio::spawn(async move {
        for n in 0..10_u8 {
            sleep(Duration::from_millis(100)).await;
            feed.send(Bytes::from(vec![n; 100])).unwrap();
        }
    });
    let started = now();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let logged = Arc::clone(&seen);
    let server = move |request: Request<ReplayBody<Fed>>| {
        let logged = Arc::clone(&logged);
        async move {
            let (parts, mut body) = request.into_parts();
            assert_eq!((&parts.method, parts.version), (&Method::PUT, Version::HTTP_2));
            assert_eq!(
                (parts.uri.path(), parts.headers["a"].as_bytes()),
                ("/there", b"b".as_slice())
            );
            assert_eq!(parts.extensions.get(), Some(&Extension(7)));
            let attempts = logged.lock().unwrap().len();
            let mut data = Vec::new();
            for _ in 0..if attempts < 2 { 5 } else { usize::MAX } {
                let Some(frame) = body.frame().await.transpose()? else { break };
                data.extend(frame.into_data().unwrap());
            }
            logged.lock().unwrap().push((started.elapsed().as_millis(), data));
            Ok::<_, BoxError>(if attempts < 2 { 503 } else { 200 })
        }
    };
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(ExponentialRetryLayer::new(policy()))
        .service(service_fn(server));
    let request = Request::put("/there")
        .version(Version::HTTP_2)
        .header("a", "b")
        .extension(Extension(7))
        .body(body)
        .unwrap();
    assert_eq!(client.oneshot(request).await.unwrap(), 200);

    let all: Vec<u8> = (0..10).flat_map(|n| [n; 100]).collect();
    let half = &all[..500];
    // Kept frames arrive at once, and so do those that came meanwhile.
    let expected = [(500, half.to_vec()), (1500, half.to_vec()), (3500, all)];
    assert_eq!(*seen.lock().unwrap(), expected);
}

/// The failure is returned, the body was sent to its end, and the budget pays for no retry.
#[tokio::test(start_paused = true)]
async fn r7_body_that_exceeds_the_bound_is_sent_once() {
    for (frames, tries) in [(8, 3), (9, 1)] {
        let given_up = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&given_up);
        let budget = RetryBudget::builder(2.0).floor_per_second(0).build();
        let policy = policy()
            .budget(budget.clone())
            .on_decision(move |decision| told.lock().unwrap().extend(decision.retry_in().err()));
        let sent = Arc::new(Mutex::new(Vec::new()));
        let logged = Arc::clone(&sent);
        let client = ServiceBuilder::new()
            .layer(ReplayLayer::new())
            .layer(ExponentialRetryLayer::new(policy))
            .service(service_fn(move |request: Request<ReplayBody<Script>>| {
                let logged = Arc::clone(&logged);
                async move {
                    let data = all(request.into_body()).await?;
                    logged.lock().unwrap().push(data.len());
                    Ok::<_, BoxError>(503)
                }
            }));
        // Exactly 64 KiB are kept.
        let request = Request::new(Script::of(frames, 8 * 1024));
        assert_eq!(client.oneshot(request).await.unwrap(), 503);
        assert_eq!(*sent.lock().unwrap(), vec![frames * 8 * 1024; tries]);
        let why = if tries == 1 { StopReason::NotReplayable } else { StopReason::MaxAttempts };
        assert_eq!(*given_up.lock().unwrap(), [why]);
        assert_eq!(budget.saved(), 3 - tries as u32);
    }
}

/// A body with a length that is known to exceed the bound, so that nothing of it is ever kept.
#[tokio::test(start_paused = true)]
async fn r7_r8_body_known_to_exceed_the_bound_is_told_to_the_hook() {
    const LONG: usize = 70_000;

    for (method, len, status, attempts, told) in [
        (Method::PUT, LONG, 503, 1, vec![Some(StopReason::NotReplayable)]),
        (Method::PUT, LONG, 200, 1, vec![]),
        (Method::POST, LONG, 503, 1, vec![]), // not repeatable, so not a matter of the body
        (Method::PUT, 60_000, 503, 3, vec![None, None, Some(StopReason::MaxAttempts)]),
    ] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let budget = RetryBudget::builder(2.0).floor_per_second(0).build();
        let policy =
            policy().classify(HttpClassifier::new()).budget(budget.clone()).on_decision_with(
                move |decision: &Decision,
                      request: &Request<ReplayBody<Full<Bytes>>>,
                      result: &Result<Response<()>, BoxError>| {
                    assert_eq!((request.method(), request.uri().path()), (&Method::PUT, "/there"));
                    assert_eq!(request.headers()["a"], "b");
                    assert_eq!(result.as_ref().unwrap().status(), 503);
                    noted.lock().unwrap().push(decision.retry_in().err());
                },
            );
        let sent = Arc::new(Mutex::new(Vec::new()));
        let logged = Arc::clone(&sent);
        let client = ServiceBuilder::new()
            .layer(ReplayLayer::new())
            .layer(ExponentialRetryLayer::new(policy))
            .service(service_fn(move |request: Request<ReplayBody<Full<Bytes>>>| {
                let logged = Arc::clone(&logged);
                async move {
                    let data = all(request.into_body()).await?;
                    logged.lock().unwrap().push(data.len());
                    Ok::<_, BoxError>(Response::builder().status(status).body(()).unwrap())
                }
            }));
        let request = Request::builder().method(method).uri("/there").header("a", "b");
        let request = request.body(Full::new(Bytes::from(vec![7; len]))).unwrap();
        let response = client.oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(Attempts::from_response(&response).get(), attempts);
        assert_eq!(*sent.lock().unwrap(), vec![len; attempts as usize]);
        assert_eq!(*seen.lock().unwrap(), told);
        assert_eq!(budget.saved(), 3 - attempts);
    }
}

/// The copy stands in for one that could be sent: it is announced as unfinished, and fails.
#[test]
fn r7_copy_that_cannot_be_sent_fails_when_read() {
    let long = || ReplayBody::new(Full::new(Bytes::from_static(&[1; 1001])), 1000);
    let lost = || {
        let mut body = ReplayBody::new(Full::new(Bytes::from_static(&[1; 1000])), 1000);
        assert!(next(&mut body).unwrap().is_ok()); // as the last copy, which keeps nothing
        body
    };
    for body in [long(), lost()] {
        let request = Request::new(body);
        let copy = ByReplay.clone_request(&request).unwrap();
        assert!(!ByReplay.can_send(&copy) && !ByReplay.claim(&copy));
        let again = ByReplay.clone_request(&copy).unwrap();
        for copy in [copy, again] {
            let mut copy = copy.into_body();
            assert!(!copy.is_end_stream() && !copy.can_replay() && copy.replay().is_none());
            assert_eq!(copy.size_hint().exact(), None);
            assert_eq!(replay_error(next(&mut copy)), Some(ReplayError::NotReplayable));
            assert_eq!(replay_error(next(&mut copy)), Some(ReplayError::NotReplayable));
        }
    }
}

/// A body that cannot be sent again is found before the budget is asked.
#[tokio::test(start_paused = true)]
async fn r5_r7_body_that_exceeds_the_bound_asks_no_budget() {
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&reasons);
    let spent = RetryBudget::builder(0.0).floor_per_second(0).build();
    let policy = policy()
        .budget(spent)
        .on_decision(move |decision| told.lock().unwrap().extend(decision.retry_in().err()));
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(ExponentialRetryLayer::new(policy))
        .service(service_fn(|request: Request<ReplayBody<Script>>| async {
            all(request.into_body()).await?;
            Ok::<_, BoxError>(503)
        }));
    for frames in [9, 8] {
        client.clone().oneshot(Request::new(Script::of(frames, 8 * 1024))).await.unwrap();
    }
    let expected = [StopReason::NotReplayable, StopReason::BudgetExhausted];
    assert_eq!(*reasons.lock().unwrap(), expected);
}

#[tokio::test]
async fn c3_replayed_bodies_wait_for_the_readiness_of_the_inner_service() {
    let (mut client, mut server) = tower_test::mock::spawn_layer(ReplayLayer::new());
    server.allow(0);
    tokio_test::assert_pending!(client.poll_ready());
    server.allow(1);
    tokio_test::assert_ready_ok!(client.poll_ready());
    drop(client.call(Request::new(Script::of(1, 1))));
    let (request, _respond): (Request<ReplayBody<Script>>, tower_test::mock::SendResponse<()>) =
        server.next_request().await.expect("sent");
    assert_eq!(all(request.into_body()).await.unwrap().len(), 1);
}

/// The server responds before the body has come, and the connection continues to send it. Once the
/// retry is decided, that copy ends at once with an error, and the retry sends the whole body.
#[tokio::test(start_paused = true)]
async fn r7_retry_after_an_early_response_ends_the_copy_still_sent() {
    let (feed, body) = fed();
    feed.send(Bytes::from_static(b"one ")).unwrap();
    let connection = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&connection);
    let attempts = Arc::new(AtomicU32::new(0));
    let server = move |request: Request<ReplayBody<Fed>>| {
        let first = attempts.fetch_add(1, SeqCst) == 0;
        let body = tokio::spawn(all(request.into_body()));
        let kept = Arc::clone(&kept);
        async move {
            if first {
                *kept.lock().unwrap() = Some(body);
                sleep(secs(1)).await;
                return Ok(503);
            }
            assert_eq!(body.await??, [b"one ".as_slice(), &[7; 1000], b" two"].concat());
            Ok::<_, BoxError>(200)
        }
    };
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new().max_bytes(500))
        .layer(ExponentialRetryLayer::new(policy()))
        .service(service_fn(server));
    let answer = tokio::spawn(client.oneshot(Request::new(body)));

    sleep(Duration::from_millis(1500)).await; // in the backoff
    let first = connection.lock().unwrap().take().unwrap();
    assert!(first.is_finished());
    let error = first.await.unwrap().unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&ReplayError::Replaced));

    // Exceeds the bound, if the first copy continued to read.
    feed.send(Bytes::from(vec![7; 1000])).unwrap();
    sleep(secs(1)).await;
    feed.send(Bytes::from_static(b" two")).unwrap();
    drop(feed);
    assert_eq!(answer.await.unwrap().unwrap(), 200);
}

/// The copy of a returned response continues to be sent.
#[tokio::test(start_paused = true)]
async fn r7_early_response_that_is_final_ends_no_copy() {
    let (feed, body) = fed();
    feed.send(Bytes::from_static(b"one ")).unwrap();
    let connection = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&connection);
    let server = move |request: Request<ReplayBody<Fed>>| {
        *kept.lock().unwrap() = Some(tokio::spawn(all(request.into_body())));
        async { Ok::<_, BoxError>(503) }
    };
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(ExponentialRetryLayer::new(
            policy().budget(RetryBudget::builder(0.0).floor_per_second(0).build()),
        ))
        .service(service_fn(server));
    assert_eq!(client.oneshot(Request::new(body)).await.unwrap(), 503);
    sleep(secs(1)).await;
    feed.send(Bytes::from_static(b"two")).unwrap();
    drop(feed);
    let first = connection.lock().unwrap().take().unwrap();
    assert_eq!(first.await.unwrap().unwrap(), b"one two");
}

/// As with `Expect: 100-continue`, where the server rejects before it reads the body.
#[tokio::test(start_paused = true)]
async fn r7_unread_body_is_still_whole() {
    let attempts = Arc::new(AtomicU32::new(0));
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(ExponentialRetryLayer::new(policy()))
        .service(service_fn(move |request: Request<ReplayBody<Script>>| {
            let first = attempts.fetch_add(1, SeqCst) == 0;
            async move {
                if first {
                    return Ok(503);
                }
                assert_eq!(all(request.into_body()).await?.len(), 300);
                Ok::<_, BoxError>(200)
            }
        }));
    assert_eq!(client.oneshot(Request::new(Script::of(3, 100))).await.unwrap(), 200);
}

/// An abandoned attempt that never read its body must not end the current one.
#[test]
fn r7_older_copy_read_late_ends_no_copy() {
    let mut older = ReplayBody::new(Script::of(3, 100), 1000);
    let mut newer = older.replay().unwrap();
    assert!(next(&mut newer).unwrap().is_ok());
    assert_eq!(replay_error(next(&mut older)), Some(ReplayError::Replaced));
    assert!(next(&mut newer).unwrap().is_ok());
    drop(older);
    assert!(next(&mut newer).unwrap().is_ok());
    assert!(next(&mut newer).is_none());
}

/// The replaced copy's task is woken; from then on the stream wakes the other task.
#[test]
fn r7_waiting_copy_is_woken_when_replaced() {
    let (feed, body) = fed();
    let mut older = ReplayBody::new(body, 1000);
    let mut newer = older.replay().unwrap();
    let (first, second, third) =
        (Arc::new(Wakes::default()), Arc::new(Wakes::default()), Arc::new(Wakes::default()));
    let woken = || [&first, &second, &third].map(|wakes| wakes.0.load(SeqCst));

    assert!(poll(&mut older, &Arc::clone(&first).into()).is_pending());
    // The copy has moved to another task.
    assert!(poll(&mut older, &Arc::clone(&second).into()).is_pending());
    assert_eq!(woken(), [0, 0, 0]);
    assert!(poll(&mut newer, &Arc::clone(&third).into()).is_pending());
    assert_eq!(woken(), [0, 1, 0]);
    feed.send(Bytes::from_static(b"hello")).unwrap();
    assert_eq!(woken(), [0, 1, 1]);
    assert_eq!(next(&mut newer).unwrap().unwrap(), Seen::Data(b"hello".to_vec()));
}

/// A waker can be the last reference to a task that holds another copy.
#[test]
fn r7_copy_dropped_by_a_waker_does_not_deadlock() {
    struct Task(Mutex<Option<ReplayBody<Fed>>>);
    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            // The copy is used, then dropped.
            let copy = self.0.lock().unwrap().take();
            assert!(copy.is_some_and(|copy| copy.can_replay()));
        }
    }
    let (_feed, body) = fed();
    let mut older = ReplayBody::new(body, 1000);
    let mut newer = older.replay().unwrap();
    let task = Arc::new(Task(Mutex::new(None)));
    assert!(poll(&mut older, &Arc::clone(&task).into()).is_pending());
    *task.0.lock().unwrap() = Some(older);
    assert!(poll(&mut newer, Waker::noop()).is_pending());
    assert!(task.0.lock().unwrap().is_none());

    // The drop happens in the stream's own poll.
    let last = Arc::new(Task(Mutex::new(newer.replay())));
    assert!(poll(&mut newer, &Arc::clone(&last).into()).is_pending());
    drop(last);
    assert!(poll(&mut newer, Waker::noop()).is_pending());
}

/// A panicked stream may have lost a frame.
#[test]
fn r7_panicked_body_fails_instead_of_ending() {
    let script = Script::new([Step::Data(vec![1]), Step::Panic, Step::Data(vec![2])], true);
    let mut first = ReplayBody::new(script, 1000);
    let mut second = first.replay().unwrap();
    assert!(next(&mut first).unwrap().is_ok());
    assert!(catch_unwind(AssertUnwindSafe(|| next(&mut first))).is_err());
    assert_eq!(replay_error(next(&mut first)), Some(ReplayError::NotReplayable));
    assert!(!second.can_replay() && second.replay().is_none());
    assert_eq!(replay_error(next(&mut second)), Some(ReplayError::NotReplayable));
}

/// A short frame counts for the memory of keeping it, so empty frames exceed the bound.
#[test]
fn r7_endless_empty_frames_are_not_kept() {
    let mut body = ReplayBody::new(Script::of(1000, 0), 100 * SMALLEST);
    let copy = body.replay().unwrap();
    for n in 1..=1000 {
        assert_eq!(next(&mut body).unwrap().unwrap(), Seen::Data(Vec::new()));
        assert_eq!(copy.can_replay(), n <= 100);
    }
    assert!(next(&mut body).is_none());

    // Trailers count with names and values.
    let headers = HeaderMap::from_iter([
        (header::ETAG, HeaderValue::from_bytes(&[b'a'; 200]).unwrap()),
        (header::AGE, HeaderValue::from(1)),
    ]);
    let cost = 4 + 200 + 32 + 3 + 1 + 32;
    for (max_bytes, fits) in [(cost, true), (cost - 1, false)] {
        let trailers = Frame::<Bytes>::trailers(headers.clone());
        let stream = futures::stream::iter([Ok::<_, Broken>(trailers)]);
        let mut body = ReplayBody::new(http_body_util::StreamBody::new(stream), max_bytes);
        let copy = body.replay().unwrap();
        assert_eq!(next(&mut body).unwrap().unwrap(), Seen::Trailers(headers.clone()));
        assert_eq!(copy.can_replay(), fits);
    }
}

/// A body known to be empty or too long costs nothing, and `Bytes` are not copied.
#[test]
fn c6_replay_body_allocates_only_for_kept_frames() {
    let counted = allocation_counter::measure(|| {
        let body = ReplayBody::new(Empty::<Bytes>::new(), 1000);
        let mut copy = body.replay().unwrap();
        assert!(copy.is_end_stream() && copy.size_hint().exact() == Some(0));
        assert!(next(&mut copy).is_none());

        let mut body = ReplayBody::new(Full::new(Bytes::from_static(&[1; 1001])), 1000);
        assert!(body.replay().is_none() && !body.can_replay());
        assert_eq!(body.size_hint().exact(), Some(1001));
        let frame = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(frame, Poll::Ready(Some(Ok(_)))));
        assert!(body.is_end_stream());
    });
    assert_eq!(counted.count_total, 0);

    let data = Bytes::from(vec![1; 1000]);
    let mut body = ReplayBody::new(Full::new(data.clone()), 1000);
    let mut copy = body.replay().unwrap();
    for body in [&mut body, &mut copy] {
        let frame = Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Some(Ok(frame))) = frame else { panic!("{frame:?}") };
        assert_eq!(frame.data_ref().unwrap().as_ptr(), data.as_ptr());
    }
}

/// gRPC streams continue for hours after the head of the response.
#[test]
fn c6_frames_are_not_kept_without_another_copy() {
    let script = Script::of(10, 100);
    let alive = Arc::clone(&script.alive);
    let mut body = ReplayBody::new(script, 1000);
    let copy = body.replay().unwrap();
    for n in 1..=5 {
        assert!(next(&mut body).unwrap().is_ok());
        assert_eq!(alive.load(SeqCst), 100 * n);
    }
    drop(copy);
    assert!(next(&mut body).unwrap().is_ok());
    assert_eq!(alive.load(SeqCst), 0);
    assert!(body.replay().is_none());
}

/// The stream is dropped at its end, and not polled again.
#[test]
fn r7_ended_copy_stays_ended() {
    let script = Script::of(1, 100);
    let polled = Arc::clone(&script.polled);
    let mut body = ReplayBody::new(script, 1000);
    let mut copy = body.replay().unwrap();
    for body in [&mut body, &mut copy] {
        assert!(next(body).unwrap().is_ok());
        assert!(next(body).is_none());
        assert!(next(body).is_none());
        assert_eq!(polled.load(SeqCst), 2);
    }
    assert!(body.is_end_stream() && copy.is_end_stream());
}

/// Otherwise HTTP/1 would send a copy without its trailers.
#[test]
fn r7_copy_has_the_size_hint_of_the_first() {
    let steps = || [Step::Data(vec![1; 10]), Step::Trailers(1)];
    for (telling, exact) in [(true, Some(10)), (false, None)] {
        let mut body = ReplayBody::new(Script::new(steps(), telling), 1000);
        let copy = body.replay().unwrap();
        while next(&mut body).is_some() {}
        assert_eq!(copy.size_hint().exact(), exact);
        assert!(!copy.is_end_stream());
    }
}

/// A copy reads while the next ones take over, each on its own thread; the last one reads all.
#[test]
fn r7_copies_on_many_threads_are_whole_or_replaced() {
    fn read(mut body: ReplayBody<Script>, started: Receiver<()>) -> Result<Vec<u8>, ReplayError> {
        started.recv().unwrap();
        let mut data = Vec::new();
        while let Some(frame) = next(&mut body) {
            match frame {
                Ok(Seen::Data(frame)) => data.extend(frame),
                Ok(Seen::Trailers(_)) => unreachable!("there are none"),
                Err(error) => return Err(*error.downcast_ref().unwrap()),
            }
        }
        Ok(data)
    }
    let all: Vec<u8> = (0..100).flat_map(|n| [n; 10]).collect();
    for _ in 0..200 {
        let mut copies = vec![ReplayBody::new(Script::of(100, 10), 100 * SMALLEST)];
        for _ in 0..3 {
            copies.push(copies[0].replay().unwrap());
        }
        let readers = copies.into_iter().map(|copy| {
            let (start, started) = channel();
            (start, std::thread::spawn(move || read(copy, started)))
        });
        let readers: Vec<_> = readers.collect();
        readers.iter().for_each(|(start, _)| start.send(()).unwrap());
        let mut results: Vec<_> =
            readers.into_iter().map(|(_, reader)| reader.join().unwrap()).collect();
        assert_eq!(results.pop().unwrap().as_ref(), Ok(&all));
        assert!(
            results
                .iter()
                .all(|result| *result == Err(ReplayError::Replaced) || result.as_ref() == Ok(&all))
        );
    }
}

/// The conversions of the module's page compile and keep the data.
#[tokio::test(start_paused = true)]
async fn r7_replay_body_converts_to_bodies_of_clients() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let body = || Full::new(Bytes::from_static(b"hello"));
    let body = || is_send(ReplayBody::new(body(), 1000));
    let axum = axum::body::Body::new(body());
    let tonic = tonic::body::Body::new(body());
    let reqwest = reqwest::Body::wrap(body());
    assert_eq!(axum.size_hint().exact(), Some(5));
    assert_eq!(tonic.size_hint().exact(), Some(5));
    assert_eq!(Body::size_hint(&reqwest).exact(), Some(5));
    assert_eq!(axum.collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(tonic.collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(reqwest.collect().await.unwrap().to_bytes(), "hello");

    // A `ReplayBody` wraps their bodies too.
    let body = ReplayBody::new(axum::body::Body::from("hello"), 1000);
    let copy = ByReplay.clone_request(&Request::new(body)).unwrap();
    assert_eq!(all(copy.into_body()).await.unwrap(), b"hello");
    let stream =
        futures::stream::once(async { Ok::<_, Broken>(Frame::data(Bytes::from_static(b"hello"))) });
    let unmovable = Box::pin(http_body_util::StreamBody::new(stream));
    assert_eq!(all(ReplayBody::new(unmovable, 1000)).await.unwrap(), b"hello");
}

/// An attempt may send on after its response. Once the retry is decided, it loses the stream.
#[cfg(feature = "reqwest")]
#[tokio::test(start_paused = true)]
async fn r7_earlier_attempt_of_reqwest_loses_the_stream_when_the_retry_is_decided() {
    use tower_floodgate::client::{HttpClassifier, HttpRetryLayer};

    let calls = AtomicU32::new(0);
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let sender = Mutex::new(Some(sender));
    let server = |mut request: reqwest::Request| {
        let first = calls.fetch_add(1, SeqCst) == 0;
        let sender = if first { sender.lock().unwrap().take() } else { None };
        async move {
            let mut body = request.body_mut().take().unwrap();
            let mut received = 0;
            let status = if let Some(sender) = sender {
                body.frame().await.unwrap().unwrap();
                tokio::spawn(async move {
                    sleep(Duration::from_millis(500)).await;
                    sender.send(body.collect().await.map(|body| body.to_bytes().len())).unwrap();
                });
                503
            } else {
                received = body.collect().await?.to_bytes().len();
                200
            };
            let response = http::Response::builder().status(status).body(received.to_string());
            Ok::<_, BoxError>(reqwest::Response::from(response?))
        }
    };
    let policy = ExponentialRetry::new(2)
        .backoff(Backoff::new(secs(1), secs(1)).jitter(Jitter::None))
        .classify(HttpClassifier::new());
    let client = ServiceBuilder::new()
        .layer(HttpRetryLayer::new(policy).replay(ReplayLayer::new().max_bytes(1000)))
        .service(service_fn(server));
    let mut request = reqwest::Request::new(Method::PUT, "http://a/".parse().unwrap());
    // More than is kept.
    *request.body_mut() = Some(reqwest::Body::wrap(Script::of(9, 200)));
    let response = client.oneshot(request).await.unwrap();
    assert_eq!(response.text().await.unwrap(), "1800");
    let error = receiver.await.unwrap().unwrap_err();
    let replaced = tower_floodgate::find_cause::<ReplayError>(&error);
    assert_eq!(replaced, Some(&ReplayError::Replaced));
}
