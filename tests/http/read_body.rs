//! Bodies of responses that are read inside the retry.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use proptest::prelude::*;
use tokio::time::{Instant, Sleep, sleep};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    ExponentialRetry, ExponentialRetryLayer, Rejected,
    client::{Attempts, CollectError, CollectLayer, HttpClassifier, ReadBody, ReadFailuresLayer},
    find_cause,
    retry::{Backoff, Jitter},
};

use crate::secs;

/// The least that a frame counts for, by the module's page.
const SMALLEST: usize = 128;

/// A step of a body.
#[derive(Clone, Debug)]
enum Step {
    Data(Vec<u8>),
    Trailers,
    /// Is pending once.
    Pending,
    Wait(Duration),
    Fail,
    /// Never ends a wait.
    Stall,
}
use Step::{Data, Fail, Pending, Stall, Trailers, Wait};

/// A scripted body. It reports its size and its end only if it is candid.
#[derive(Debug, Default)]
struct Script {
    steps: VecDeque<Step>,
    candid: bool,
    timer: Option<Pin<Box<Sleep>>>,
    polls: Arc<AtomicUsize>,
}

impl Script {
    fn new(steps: impl IntoIterator<Item = Step>, candid: bool) -> Self {
        Self { steps: steps.into_iter().collect(), candid, ..Self::default() }
    }
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(header::ETAG, HeaderValue::from(7))])
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.polls.fetch_add(1, SeqCst);
        loop {
            if let Some(timer) = &mut self.timer {
                std::task::ready!(timer.as_mut().poll(cx));
                self.timer = None;
            }
            return Poll::Ready(Some(match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Data(data)) => Ok(Frame::data(data.into())),
                Some(Trailers) => Ok(Frame::trailers(trailers())),
                Some(Fail) => Err(io::ErrorKind::UnexpectedEof.into()),
                Some(Pending) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Stall) => return Poll::Pending,
                Some(Wait(time)) => {
                    self.timer = Some(Box::pin(sleep(time)));
                    continue;
                }
            }));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.candid && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let len = |step: &Step| if let Data(data) = step { data.len() as u64 } else { 0 };
        match self.candid {
            true => SizeHint::with_exact(self.steps.iter().map(len).sum()),
            false => SizeHint::default(),
        }
    }
}

/// Responds once with this status and this body.
fn responds(
    status: u16,
    body: Script,
) -> impl Service<
    Request<()>,
    Response = Response<Script>,
    Error = Infallible,
    Future = Ready<Result<Response<Script>, Infallible>>,
> {
    let mut response = Some(Response::builder().status(status).body(body).unwrap());
    service_fn(move |_| ready(Ok(response.take().unwrap())))
}

/// The frames of a body: data, no data for trailers, or an error. Checks the announced sizes.
async fn frames(mut body: ReadBody<Script>) -> Vec<Option<Vec<u8>>> {
    let mut frames = Vec::new();
    let mut announced = vec![body.size_hint()];
    while let Some(frame) = body.frame().await {
        frames.push(match frame.map(Frame::into_data) {
            Ok(Ok(data)) => Some(data.to_vec()),
            Ok(Err(frame)) => {
                assert_eq!(frame.into_trailers().unwrap(), trailers());
                Some(Vec::new())
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                None
            }
        });
        announced.push(body.size_hint());
    }
    for (read, hint) in announced.iter().enumerate() {
        let left: usize = frames[read..].iter().flatten().map(Vec::len).sum();
        assert!(hint.lower() <= left as u64, "{hint:?} {left}");
        assert!(hint.upper().is_none_or(|upper| left as u64 <= upper), "{hint:?} {left}");
    }
    frames
}

fn expected(steps: &[Step]) -> Vec<Option<Vec<u8>>> {
    let frame = |step: &Step| match step {
        Data(data) => Some(Some(data.clone())),
        Trailers => Some(Some(Vec::new())),
        Fail => Some(None),
        _ => None,
    };
    steps.iter().filter_map(frame).collect()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..400).prop_map(Data),
        2 => Just(Pending),
        1 => (0..2000_u64).prop_map(|millis| Wait(Duration::from_millis(millis))),
    ];
    let last = prop_oneof![Just(None), Just(Some(Trailers)), Just(Some(Fail))];
    (prop::collection::vec(step, 0..12), last).prop_map(|(mut steps, last)| {
        steps.extend(last);
        steps
    })
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

#[allow(clippy::disallowed_methods, reason = "tests look at tokio's clock, too")]
fn now() -> Instant {
    Instant::now()
}

proptest! {
    /// Whatever the bounds, the caller receives the frames, the trailers and the errors in order,
    /// from a body that continues after an error, too.
    #[test]
    fn r11_read_body_yields_all_frames_of_the_inner_body(
        mut steps in steps(),
        fails_at: Option<prop::sample::Index>,
        candid: bool,
        max_bytes in 0..2500_usize,
        max_wait in 0..3000_u64,
        failed: bool,
    ) {
        if let Some(index) = fails_at {
            steps.insert(index.index(steps.len() + 1), Fail);
        }
        let status = if failed { 503 } else { 200 };
        let layer = ReadFailuresLayer::new()
            .max_bytes(max_bytes)
            .max_wait(Duration::from_millis(max_wait));
        let (frames, took) = paused().block_on(async {
            let service = layer.layer(responds(status, Script::new(steps.clone(), candid)));
            let start = now();
            let response = service.oneshot(Request::new(())).await.unwrap();
            let took = start.elapsed();
            assert_eq!(response.status(), status);
            (frames(response.into_body()).await, took)
        });
        prop_assert_eq!(frames, expected(&steps));
        // The timer resolves a millisecond.
        prop_assert!(took <= Duration::from_millis(max_wait + 1), "{:?}", took);
    }

    /// A collected body is an error exactly if it breaks off within the bound.
    #[test]
    fn r6_collected_body_fails_exactly_if_it_breaks_off_in_the_bound(
        steps in steps(),
        candid: bool,
        max_bytes in 0..2500_usize,
    ) {
        let cost = |step: &Step| match step {
            Data(data) => data.len().max(SMALLEST),
            Trailers => SMALLEST,
            _ => 0,
        };
        let len = |step: &Step| if let Data(data) = step { data.len() } else { 0 };
        // A candid body tells its length before each frame.
        let fits = steps.iter().map(cost).sum::<usize>() <= max_bytes;
        let told = steps.iter().map(len).sum::<usize>() > max_bytes && candid;
        let breaks_off = matches!(steps.last(), Some(Fail));
        paused().block_on(async {
            let layer = CollectLayer::new().max_bytes(max_bytes);
            let service = layer.layer(responds(200, Script::new(steps.clone(), candid)));
            let result = service.oneshot(Request::new(())).await;
            if fits && !told {
                assert_eq!(result.is_err(), breaks_off);
            }
            match result {
                Ok(response) => assert_eq!(frames(response.into_body()).await, expected(&steps)),
                Err(error) => {
                    assert!(breaks_off);
                    let kind = find_cause::<io::Error>(&*error).map(io::Error::kind);
                    assert_eq!(kind, Some(io::ErrorKind::UnexpectedEof));
                    assert!(error.is::<CollectError>());
                }
            }
        });
    }
}

/// Reads a failed response, and returns the time it took and the polls of its body.
async fn read(layer: ReadFailuresLayer, steps: &[Step], candid: bool) -> (Duration, usize) {
    let body = Script::new(steps.iter().cloned(), candid);
    let polls = Arc::clone(&body.polls);
    let start = now();
    let response = layer.layer(responds(500, body)).oneshot(Request::new(())).await.unwrap();
    drop(response);
    (start.elapsed(), polls.load(SeqCst))
}

#[tokio::test(start_paused = true)]
async fn r11_stalled_body_is_passed_on_after_max_wait() {
    let layer = ReadFailuresLayer::new();
    let part = || Data(vec![0; 10]);
    let wait = |millis| Wait(Duration::from_millis(millis));
    // Whole: as soon as it has ended.
    for steps in [&[part()][..], &[wait(300), part(), wait(400), part(), wait(299)]] {
        let waits = if steps.len() == 1 { 0 } else { 999 };
        assert_eq!(read(layer, steps, false).await.0, Duration::from_millis(waits));
    }
    // All waits together.
    for steps in [&[Stall][..], &[part(), Stall], &[wait(600), part(), wait(600), part()]] {
        assert_eq!(read(layer, steps, false).await.0, secs(1), "{steps:?}");
    }
    let layer = layer.max_wait(secs(3));
    assert_eq!(read(layer, &[part(), Stall], true).await.0, secs(3));
    assert_eq!(read(layer, &[wait(1200), part()], true).await.0, Duration::from_millis(1200));
    // Waits that are longer than a timer's longest are no panic.
    assert_eq!(
        read(layer.max_wait(Duration::MAX), &[wait(9), part()], true).await.0,
        Duration::from_millis(9)
    );
}

#[tokio::test]
async fn r11_body_is_read_up_to_max_bytes() {
    let layer = ReadFailuresLayer::new().max_bytes(1000);
    let parts = |frames, len| vec![Data(vec![0; len]); frames];
    for (steps, candid, polls) in [
        // To the end, and not beyond one that is known.
        (parts(5, 200), false, 6),
        (parts(5, 200), true, 5),
        // The frame that exceeds the bound is the last.
        (parts(9, 200), false, 6),
        (parts(9, 1), false, 8),
        (parts(1, 5000), false, 1),
        // Known to be longer.
        (parts(1, 5000), true, 0),
        (parts(9, 200), true, 0),
        (parts(1, 1000), true, 1),
        // Empty.
        (parts(0, 0), true, 0),
        (parts(0, 0), false, 1),
    ] {
        assert_eq!(read(layer, &steps, candid).await.1, polls, "{} {candid}", steps.len());
    }
}

#[tokio::test]
async fn r11_only_if_chooses_the_statuses_whose_bodies_are_read() {
    macro_rules! read_by {
        ($layer:expr) => {{
            let mut read = Vec::new();
            for status in [200, 399, 400, 404, 503, 599] {
                let body = Script::new([Data(vec![0; 9])], false);
                let polls = Arc::clone(&body.polls);
                $layer.layer(responds(status, body)).oneshot(Request::new(())).await.unwrap();
                if polls.load(SeqCst) > 0 {
                    read.push(status);
                }
            }
            read
        }};
    }
    let set = [StatusCode::NOT_FOUND, StatusCode::OK];
    let chosen = ReadFailuresLayer::new().only_if(move |status| set.contains(&status));
    assert_eq!(read_by!(ReadFailuresLayer::new()), [400, 404, 503, 599]);
    assert_eq!(read_by!(chosen), [200, 404]);
    assert_eq!(read_by!(CollectLayer::new()), [200, 399]);
}

/// The requests that were made of a body that fails twice with `cause`.
async fn attempts_after<E>(method: Method, cause: impl Fn() -> E + Clone) -> usize
where
    E: Into<BoxError> + 'static,
{
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let policy = ExponentialRetry::new(5)
        .backoff(Backoff::new(secs(1), secs(1)).jitter(Jitter::None))
        .classify(HttpClassifier::new());
    let client = ServiceBuilder::new()
        .layer(ExponentialRetryLayer::new(policy))
        .layer(CollectLayer::new())
        .service(service_fn(move |_: Request<()>| {
            let frame = match count.fetch_add(1, SeqCst) {
                0 | 1 => Err(cause()),
                _ => Ok(Frame::data(Bytes::from_static(b"hello"))),
            };
            let body = http_body_util::StreamBody::new(futures::stream::iter([frame]));
            async { Ok::<_, Infallible>(Response::new(body)) }
        }));
    let mut request = Request::new(());
    *request.method_mut() = method;
    match client.oneshot(request).await {
        Ok(response) => {
            assert_eq!(Attempts::from_response(&response).get() as usize, calls.load(SeqCst));
            assert_eq!(response.into_body().collect().await.ok().unwrap().to_bytes(), "hello");
        }
        Err(error) => assert!(error.is::<CollectError>()),
    }
    calls.load(SeqCst)
}

/// A response has come, so the request was received, whatever the error says.
#[tokio::test(start_paused = true)]
async fn r6_collect_error_counts_as_possibly_received() {
    type Cause = Box<dyn Fn() -> BoxError>;
    let causes: [Cause; 3] = [
        Box::new(|| io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        // Alone, these say that no request was received.
        Box::new(|| io::Error::from(io::ErrorKind::ConnectionRefused).into()),
        Box::new(|| "unknown".into()),
    ];
    for cause in causes {
        let cause: Arc<dyn Fn() -> BoxError> = Arc::from(cause);
        for (method, attempts) in [(Method::GET, 3), (Method::PUT, 3), (Method::POST, 1)] {
            let cause = Arc::clone(&cause);
            assert_eq!(attempts_after(method, move || cause()).await, attempts);
        }
    }
}

/// A failed response keeps its hint, though its body breaks off.
#[tokio::test(start_paused = true)]
async fn r4_hint_of_a_response_whose_body_breaks_off_is_followed() {
    let start = now();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let policy = ExponentialRetry::new(3).classify(HttpClassifier::new());
    let client = ServiceBuilder::new()
        .layer(ExponentialRetryLayer::new(policy))
        .layer(CollectLayer::new())
        .layer(ReadFailuresLayer::new())
        .service(service_fn(move |_: Request<()>| {
            let first = count.fetch_add(1, SeqCst) == 0;
            let steps = if first { vec![Data(vec![1]), Fail] } else { vec![Data(vec![2])] };
            let status = if first { 429 } else { 200 };
            let response = Response::builder().status(status).header("retry-after", "30");
            async move { response.body(Script::new(steps, false)) }
        }));
    let response = client.oneshot(Request::new(())).await.unwrap();
    assert_eq!((response.status().as_u16(), calls.load(SeqCst)), (200, 2));
    assert!(start.elapsed() >= secs(30));
}

#[test]
fn c6_response_that_is_not_read_allocates_nothing() {
    let mut service = ReadFailuresLayer::new().layer(service_fn(|_: Request<()>| {
        ready(Ok::<_, Infallible>(Response::new(http_body_util::Empty::<Bytes>::new())))
    }));
    let mut cx = Context::from_waker(Waker::noop());
    let mut call = || {
        assert!(service.poll_ready(&mut cx).is_ready());
        let response = pin!(service.call(Request::new(())));
        let Poll::Ready(Ok(response)) = Future::poll(response, &mut cx) else { panic!() };
        assert!(pin!(response.into_body()).poll_frame(&mut cx).is_ready());
    };
    call();
    assert_eq!(measure(|| (0..1000).for_each(|_| call())).count_total, 0);
}

#[test]
fn c6_bodies_that_were_read_are_send_and_sync() {
    use static_assertions::assert_impl_all;

    assert_impl_all!(ReadBody<Script>: Send, Sync, Unpin, From<Script>, Default);
    assert_impl_all!(ReadFailuresLayer: Copy, std::fmt::Debug, Default);
    assert_impl_all!(CollectLayer: Copy, std::fmt::Debug, Default);
    assert_impl_all!(CollectError: std::error::Error, Send, Sync);
}

/// A rejection by a limit inside passes both layers.
#[tokio::test]
async fn c10_rejection_is_found_behind_collect() {
    use tower_floodgate::WindowRateLimitLayer;

    let client = ServiceBuilder::new()
        .layer(CollectLayer::new())
        .layer(ReadFailuresLayer::new())
        .layer(WindowRateLimitLayer::new(1, secs(9)).max_queue(0))
        .service(service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(Response::new(http_body_util::Full::<Bytes>::from("hello")))
        }));
    client.clone().oneshot(Request::new(())).await.unwrap();
    let error = client.oneshot(Request::new(())).await.unwrap_err();
    assert!(Rejected::find(&*error).is_some());
}

/// Rejections over a client whose body has no `Default`, as hyper's has none.
#[test]
fn c10_body_that_was_not_read_is_empty_by_default() {
    let body = ReadBody::<crate::Busy>::default();
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn r11_max_wait_ends_though_the_body_spends_the_budget_of_its_task() {
    let service = ReadFailuresLayer::new().layer(service_fn(|_: Request<()>| async {
        Response::builder().status(500).body(crate::Busy)
    }));
    let call = tokio::spawn(service.oneshot(Request::new(())));
    tokio::task::yield_now().await;
    assert!(!call.is_finished());
    tokio::time::advance(secs(1)).await;
    tokio::task::yield_now().await;
    assert!(call.is_finished());
}

#[test]
fn r11_max_wait_of_zero_needs_no_runtime() {
    let layer = ReadFailuresLayer::new().max_wait(Duration::ZERO);
    let service =
        layer.layer(responds(500, Script::new([Data(vec![1]), Stall, Data(vec![2])], false)));
    let response = futures::executor::block_on(service.oneshot(Request::new(()))).unwrap();
    let frames = futures::executor::block_on(frames(response.into_body()));
    assert_eq!(frames, [Some(vec![1]), Some(vec![2])]);
}

/// A body that is always ready and does not end.
#[tokio::test(start_paused = true)]
async fn r11_max_wait_ends_the_reading_of_a_body_that_never_waits() {
    let layer = ReadFailuresLayer::new().max_bytes(usize::MAX);
    let service = layer.layer(service_fn(|_: Request<()>| async {
        let frame = || Some(Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"hello"))));
        let body = http_body_util::StreamBody::new(futures::stream::iter(
            std::iter::repeat_with(frame).flatten().take(1_000_000),
        ));
        Response::builder().status(500).body(body)
    }));
    let start = now();
    let call = tokio::spawn(service.oneshot(Request::new(())));
    tokio::task::yield_now().await;
    while !call.is_finished() {
        assert!(start.elapsed() < secs(2));
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    assert!(start.elapsed() >= secs(1));
}
