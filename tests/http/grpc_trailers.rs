//! gRPC statuses in trailers that follow the head.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{pending, ready},
    io,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use proptest::prelude::*;
use tokio::time::{Sleep, sleep};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_floodgate::{
    ExponentialRetry, ExponentialRetryLayer, PauseOnHintLayer, WindowRateLimitLayer,
    client::{Attempts, GrpcClassifier, GrpcHints, GrpcTrailersLayer, grpc_trailers::PeekedBody},
    retry::{Backoff, Jitter},
    server::grpc_rejection,
};

use crate::{full, secs};

const MS: Duration = Duration::from_millis(1);

/// A step of a body.
#[derive(Clone, Debug)]
enum Step {
    Data(Vec<u8>),
    Trailers(HeaderMap),
    Wait(Duration),
    Never,
    Fail,
}

/// A scripted body that counts how often it is polled.
#[derive(Debug)]
struct Script {
    steps: VecDeque<Step>,
    sleep: Option<Pin<Box<Sleep>>>,
    polls: Arc<AtomicUsize>,
}

impl Script {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), sleep: None, polls: Arc::default() }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.polls.fetch_add(1, SeqCst);
        loop {
            if let Some(sleep) = &mut self.sleep {
                std::task::ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            return Poll::Ready(match self.steps.pop_front() {
                None => None,
                Some(Step::Data(data)) => Some(Ok(Frame::data(data.into()))),
                Some(Step::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
                Some(Step::Fail) => Some(Err(io::Error::other("as written"))),
                Some(Step::Wait(wait)) => {
                    self.sleep = Some(Box::pin(sleep(wait)));
                    continue;
                }
                Some(Step::Never) => {
                    self.steps.push_front(Step::Never);
                    return Poll::Pending;
                }
            });
        }
    }

    fn size_hint(&self) -> SizeHint {
        let len = |step: &Step| if let Step::Data(data) = step { data.len() as u64 } else { 0 };
        SizeHint::with_exact(self.steps.iter().map(len).sum())
    }
}

fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let line = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    lines.iter().map(line).collect()
}

fn trailers(lines: &[(&'static str, &'static str)]) -> Step {
    Step::Trailers(fields(lines))
}

fn unavailable() -> Step {
    trailers(&[("grpc-status", "14"), ("grpc-message", "not now")])
}

fn grpc<B>(body: B) -> Response<B> {
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

/// The response that `layer` makes of `response`.
async fn through<B: Body + Unpin>(
    layer: GrpcTrailersLayer,
    response: Response<B>,
) -> Response<PeekedBody<B>> {
    let mut response = Some(response);
    let service = service_fn(move |()| ready(Ok::<_, Infallible>(response.take().unwrap())));
    layer.layer(service).oneshot(()).await.unwrap()
}

/// The frames of a body until its end, or until an error.
async fn frames<B>(mut body: B) -> Vec<Result<Frame<Bytes>, String>>
where
    B: Body<Data = Bytes, Error: ToString> + Unpin,
{
    let mut frames = Vec::new();
    while let Some(frame) = body.frame().await {
        frames.push(frame.map_err(|error| error.to_string()));
    }
    frames
}

#[tokio::test(start_paused = true)]
async fn r6_failure_in_trailers_is_retried_as_one_in_the_head() {
    let steps = Arc::new(Mutex::new(VecDeque::from([
        vec![unavailable()],
        vec![
            Step::Wait(5 * MS),
            trailers(&[("grpc-status", "14"), ("grpc-retry-pushback-ms", "70")]),
        ],
        vec![Step::Data(b"hello".into()), trailers(&[("grpc-status", "0")])],
    ])));
    let retry = ExponentialRetry::new(4)
        .backoff(Backoff::new(20 * MS, 20 * MS).jitter(Jitter::None))
        .classify(GrpcClassifier::new());
    let rate = WindowRateLimitLayer::new(100, secs(1)).max_queue(8).reject_with(grpc_rejection);
    let pause = PauseOnHintLayer::new(rate.handle(), GrpcHints);
    let client = ServiceBuilder::new()
        .layer(ExponentialRetryLayer::new(retry))
        .layer(rate)
        .layer(pause)
        .layer(GrpcTrailersLayer::new())
        .service(service_fn(move |_: Request<()>| {
            let steps = steps.lock().unwrap().pop_front().unwrap();
            ready(Ok::<_, io::Error>(grpc(Script::new(steps))))
        }));
    let began = now();
    let response = client.oneshot(Request::new(())).await.unwrap();
    // The backoff, the wait for the frame, the pushback.
    assert_eq!(began.elapsed(), 95 * MS);
    assert_eq!(Attempts::from_response(&response).get(), 3);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
}

#[tokio::test(start_paused = true)]
async fn r6_failure_in_trailers_becomes_trailers_only() {
    let mut response = grpc(Script::new([
        trailers(&[("grpc-status", "8"), ("x-both", "trailer"), ("grpc-message", "slowly")]),
        Step::Data(b"after the end".into()),
    ]));
    for (name, value) in [("x-head", "head"), ("x-both", "head"), ("grpc-message", "wrong")] {
        response.headers_mut().append(name, HeaderValue::from_static(value));
    }
    let response = through(GrpcTrailersLayer::new(), response).await;
    let expected = fields(&[
        ("content-type", "application/grpc"),
        ("grpc-status", "8"),
        ("grpc-message", "slowly"),
        ("x-head", "head"),
        ("x-both", "trailer"),
    ]);
    assert_eq!(*response.headers(), expected);
    let body = response.into_body();
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(frames(body).await.is_empty());
}

/// Several values of a name stay several, so that a status that contradicts itself does so still.
#[tokio::test(start_paused = true)]
async fn r6_all_values_of_a_trailer_become_headers() {
    let mut doubled = fields(&[("grpc-status", "14"), ("x-a", "one")]);
    doubled.append("grpc-status", HeaderValue::from_static("8"));
    doubled.append("x-a", HeaderValue::from_static("two"));
    let mut response = grpc(Script::new([Step::Trailers(doubled.clone())]));
    response.headers_mut().append("x-a", HeaderValue::from_static("of the head"));
    let mut response = through(GrpcTrailersLayer::new(), response).await;
    response.headers_mut().remove("content-type");
    assert_eq!(*response.headers(), doubled);
}

#[tokio::test(start_paused = true)]
async fn r6_other_first_frames_stay_in_the_body() {
    for steps in [
        vec![],
        vec![Step::Data(b"message".into()), unavailable()],
        vec![Step::Fail, unavailable()],
        vec![trailers(&[("grpc-status", "0"), ("x-a", "b")])],
        vec![trailers(&[("x-a", "b")]), unavailable()],
        vec![Step::Wait(9 * MS), Step::Data(b"message".into())],
    ] {
        let expected = frames(Script::new(steps.clone())).await;
        let response = through(GrpcTrailersLayer::new(), grpc(Script::new(steps.clone()))).await;
        assert_eq!(*response.headers(), fields(&[("content-type", "application/grpc")]));
        let body = response.into_body();
        assert_eq!(body.size_hint().exact(), Script::new(steps.clone()).size_hint().exact());
        let seen = frames(body).await;
        assert_eq!(format!("{seen:?}"), format!("{expected:?}"), "{steps:?}");
    }
}

/// A head is held back for `max_wait` at most, and the frames follow in any case.
#[tokio::test(start_paused = true)]
async fn r6_wait_for_the_first_frame_is_bounded() {
    for (max_wait, first, held) in
        [(10, 4, 4), (10, 9, 9), (10, 30, 10), (250, 249, 249), (250, 1000, 250), (0, 1, 0)]
    {
        let layer = GrpcTrailersLayer::new().max_wait(max_wait * MS);
        let response = grpc(Script::new([Step::Wait(first * MS), unavailable()]));
        let began = now();
        let response = through(layer, response).await;
        assert_eq!(began.elapsed(), held * MS);
        let seen = first == held;
        assert_eq!(response.headers().contains_key("grpc-status"), seen);
        let frames = frames(response.into_body()).await;
        assert_eq!(frames.len(), usize::from(!seen));
        assert_eq!(began.elapsed(), first * MS);
    }
    let began = now();
    through(GrpcTrailersLayer::default(), grpc(Script::new([Step::Never]))).await;
    assert_eq!(began.elapsed(), 10 * MS);
    through(GrpcTrailersLayer::new().max_wait(secs(7)), grpc(Script::new([Step::Never]))).await;
    assert_eq!(began.elapsed(), 10 * MS + secs(7));
}

#[tokio::test(start_paused = true)]
async fn r6_only_bodies_that_may_hold_a_status_are_peeked() {
    for (kind, peeked) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc; charset=x", true),
        ("APPLICATION/GRPC", true),
        ("application/grpc-web", false),
        ("application/grpcx", false),
        ("application/grp", false),
        ("application/json", false),
        ("", false),
    ] {
        let body = Script::new([unavailable()]);
        let polls = Arc::clone(&body.polls);
        let response = Response::builder().header("content-type", kind).body(body).unwrap();
        let response = through(GrpcTrailersLayer::new(), response).await;
        assert_eq!(polls.load(SeqCst), usize::from(peeked), "{kind}");
        assert_eq!(response.headers().contains_key("grpc-status"), peeked, "{kind}");
    }
    let body = Script::new([Step::Never]);
    let polls = Arc::clone(&body.polls);
    let mut response = grpc(body);
    response.headers_mut().insert("grpc-status", HeaderValue::from_static("5"));
    through(GrpcTrailersLayer::new(), response).await;
    through(GrpcTrailersLayer::new(), Response::new(Script::new([Step::Never]))).await;
    through(GrpcTrailersLayer::new(), grpc(Empty::<Bytes>::new())).await;
    assert_eq!(polls.load(SeqCst), 0);
}

/// Data without bytes is no message. A body that never ends with it does not hold back the head.
#[tokio::test(start_paused = true)]
async fn r6_empty_data_before_trailers_is_passed_over() {
    let empty = || Step::Data(Vec::new());
    for waits in [false, true] {
        let mut steps = vec![empty(), empty()];
        steps.extend(waits.then_some(Step::Wait(MS)));
        steps.extend([empty(), unavailable()]);
        let response = through(GrpcTrailersLayer::new(), grpc(Script::new(steps))).await;
        assert_eq!(response.headers()["grpc-status"], "14");
    }

    struct Idle;
    impl Body for Idle {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::new()))))
        }
    }
    let mut response = through(GrpcTrailersLayer::new(), grpc(Idle)).await;
    assert!(response.body_mut().frame().await.unwrap().unwrap().is_data());
}

#[tokio::test]
async fn r6_trailers_without_room_in_the_head_stay_trailers() {
    let status = || trailers(&[("grpc-status", "14"), ("grpc-message", "not now")]);
    let full_head = |freed: usize| {
        let mut headers = full();
        for number in 0..=freed {
            headers.remove(format!("n{number}"));
        }
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        let mut response = Response::new(Script::new([status()]));
        *response.headers_mut() = headers;
        response
    };
    let response = through(GrpcTrailersLayer::new(), full_head(0)).await;
    assert!(!response.headers().contains_key("grpc-status"));
    let frames = frames(response.into_body()).await;
    assert_eq!(frames[0].as_ref().unwrap().trailers_ref().unwrap()["grpc-status"], "14");

    let response = through(GrpcTrailersLayer::new(), full_head(1)).await;
    assert_eq!(response.headers()["grpc-status"], "14");
    assert!(!response.headers().contains_key("grpc-message"), "there is room for one");
    assert_eq!(
        through(GrpcTrailersLayer::new(), full_head(2)).await.headers()["grpc-message"],
        "not now"
    );
}

#[tokio::test]
async fn c3_errors_of_the_inner_service_pass_through() {
    let failing = service_fn(|()| ready(Err::<Response<Script>, _>(io::Error::other("closed"))));
    let error = GrpcTrailersLayer::new().layer(failing).oneshot(()).await.unwrap_err();
    assert_eq!(error.to_string(), "closed");
}

/// Without a wait there is no timer.
#[test]
fn c2_head_is_returned_outside_a_runtime_without_a_wait() {
    let poll = |layer: GrpcTrailersLayer, step| {
        let mut response = Some(grpc(Script::new([step])));
        let mut service =
            layer.layer(service_fn(move |()| ready(Ok::<_, Infallible>(response.take().unwrap()))));
        let mut future = pin!(service.call(()));
        future.as_mut().poll(&mut Context::from_waker(Waker::noop())).map(Result::unwrap)
    };
    assert!(poll(GrpcTrailersLayer::new(), Step::Data(b"message".into())).is_ready());
    assert!(poll(GrpcTrailersLayer::new().max_wait(Duration::ZERO), Step::Never).is_ready());
    let panic = std::panic::catch_unwind(|| drop(poll(GrpcTrailersLayer::new(), Step::Never)));
    let said = *panic.unwrap_err().downcast::<String>().unwrap();
    assert!(said.starts_with("GrpcTrailersLayer: the wait of its `max_wait`"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn c6_first_frame_that_is_there_allocates_nothing() {
    let mut service = GrpcTrailersLayer::new().layer(service_fn(ready));
    for (step, allocations) in [(Step::Data(b"message".into()), 0), (Step::Never, 1)] {
        let response = Ok::<_, Infallible>(grpc(Script::new([step])));
        let mut body = None;
        let info = allocation_counter::measure(|| {
            let future = pin!(service.call(response));
            if let Poll::Ready(response) = future.poll(&mut Context::from_waker(Waker::noop())) {
                body = Some(response.unwrap().into_body());
            }
        });
        assert_eq!(info.count_total, allocations);
    }
}

/// Dropping the future drops the response that it holds.
#[tokio::test(start_paused = true)]
async fn c4_dropped_wait_drops_the_body() {
    let body = Script::new([Step::Never]);
    let polls = Arc::clone(&body.polls);
    {
        let call = pin!(through(GrpcTrailersLayer::new(), grpc(body)));
        tokio::select! {
            biased;
            _ = call => panic!("it waits"),
            () = ready(()) => {}
        }
        assert_eq!(Arc::strong_count(&polls), 2);
    }
    assert_eq!((Arc::strong_count(&polls), polls.load(SeqCst)), (1, 1));
    let inner = service_fn(|()| pending::<Result<Response<Script>, Infallible>>());
    drop(GrpcTrailersLayer::new().layer(inner).oneshot(()));
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop::sample::select(&["0", "14", "x"][..]);
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..9).prop_map(Step::Data),
        3 => status.prop_map(|status| trailers(&[("grpc-status", status)])),
        1 => Just(trailers(&[])),
        2 => (0..20_u32).prop_map(|wait| Step::Wait(wait * MS)),
        1 => Just(Step::Fail),
    ]
}

proptest! {
    /// For any sequence of frames: the body yields them all, less empty data at its beginning, or
    /// the head has the status of its trailers. The size that is left is always exact.
    #[test]
    fn r6_any_body_is_passed_on_or_becomes_trailers_only(
        steps in prop::collection::vec(step(), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let written = frames(Script::new(steps.clone())).await;
            let began = now();
            let response = through(GrpcTrailersLayer::new(), grpc(Script::new(steps))).await;
            prop_assert!(began.elapsed() <= 10 * MS);
            let status = response.headers().get("grpc-status").cloned();
            let mut body = response.into_body();
            let mut left = body.size_hint().exact().unwrap();
            let mut seen = Vec::new();
            while let Some(frame) = body.frame().await {
                let len = frame.as_ref().ok().and_then(|frame| frame.data_ref()).map_or(0, Bytes::len);
                left -= len as u64;
                prop_assert_eq!(body.size_hint().exact(), Some(left));
                seen.push(frame.map_err(|error| error.to_string()));
            }
            let is_empty = |frame: &&Result<Frame<Bytes>, String>| {
                frame.as_ref().is_ok_and(|frame| frame.data_ref().is_some_and(Bytes::is_empty))
            };
            let written: Vec<_> = written.iter().skip_while(is_empty).collect();
            let seen: Vec<_> = seen.iter().skip_while(is_empty).collect();
            match status {
                Some(status) => {
                    let first = written[0].as_ref().unwrap().trailers_ref().unwrap();
                    prop_assert_eq!(&first["grpc-status"], status);
                    prop_assert!(seen.is_empty());
                }
                None => prop_assert_eq!(format!("{seen:?}"), format!("{written:?}")),
            }
            Ok(())
        })?;
    }
}

#[allow(clippy::disallowed_methods, reason = "tests look at tokio's clock, too")]
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

#[tokio::test(start_paused = true)]
async fn r6_max_wait_ends_though_the_body_spends_the_budget_of_its_task() {
    let service = GrpcTrailersLayer::new()
        .layer(service_fn(|_: Request<()>| async { Ok::<_, Infallible>(grpc(crate::Busy)) }));
    let call = tokio::spawn(service.oneshot(Request::new(())));
    tokio::task::yield_now().await;
    assert!(!call.is_finished());
    tokio::time::advance(10 * MS).await;
    tokio::task::yield_now().await;
    assert!(call.is_finished());
}
