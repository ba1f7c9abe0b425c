//! Permits that are held until a body ends.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer,
    server::{PermitBody, http_rejection},
};

/// The effect of one poll of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Data,
    Trailers,
    Wait,
    Fail,
    Panic,
}
use Step::{Data, Fail, Panic, Trailers, Wait};

/// A scripted body. It reports its end in `is_end_stream` only if it is candid.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) steps: VecDeque<Step>,
    pub(crate) candid: bool,
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.steps.pop_front() {
            None => Poll::Ready(None),
            Some(Data) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"data"))))),
            Some(Trailers) => Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::new())))),
            Some(Wait) => Poll::Pending,
            Some(Fail) => Poll::Ready(Some(Err(io::Error::other("broken")))),
            Some(Panic) => panic!("by the script"),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.candid && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.steps.len() as u64)
    }
}

pub(crate) fn responses(
    script: Script,
) -> impl Service<
    Request<()>,
    Response = Response<Script>,
    Error = Infallible,
    Future = Ready<Result<Response<Script>, Infallible>>,
> + Clone {
    service_fn(move |_| ready(Ok(Response::new(script.clone()))))
}

/// A response with a scripted body, and the handle of its limit of one.
async fn response(
    candid: bool,
    steps: &[Step],
) -> (Response<PermitBody<Script>>, ConcurrencyBackpressureHandle) {
    let layer = ConcurrencyBackpressureLayer::new(1).until_body_ends();
    let handle = layer.handle();
    let script = Script { steps: steps.iter().copied().collect(), candid };
    let response = layer.layer(responses(script)).oneshot(Request::new(())).await.unwrap();
    (response, handle)
}

fn poll(body: Pin<&mut PermitBody<Script>>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
    body.poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// Whether a body is candid, its steps, and the number of polls after which its permit is released.
pub(crate) const ENDS: [(bool, &[Step], usize); 9] = [
    (false, &[], 1),
    (false, &[Data, Data], 3),
    (false, &[Data, Wait, Data], 4),
    (false, &[Data, Trailers], 3),
    // Servers don't poll these after the last frame.
    (true, &[], 0),
    (true, &[Data], 1),
    (true, &[Wait, Data, Wait, Trailers], 4),
    (true, &[Data, Fail], 2),
    (false, &[Data, Fail, Data], 2),
];

#[tokio::test]
async fn b1_body_holds_its_permit_until_it_ends() {
    for (candid, steps, back_after) in ENDS {
        let (response, handle) = response(candid, steps).await;
        let mut body = pin!(response.into_body());
        for polled in 0..=steps.len() + 1 {
            let held = u32::from(polled < back_after);
            assert_eq!(handle.in_flight(), held, "after {polled} of {}", steps.len());
            let _ = poll(body.as_mut());
        }
        assert_eq!(handle.in_flight(), 0);
    }
}

#[tokio::test]
async fn c4_dropped_body_releases_its_permit() {
    for polls in 0..2 {
        let (response, handle) = response(false, &[Data, Wait, Data]).await;
        let mut body = Box::pin(response.into_body());
        for _ in 0..polls {
            let _ = poll(body.as_mut());
        }
        assert_eq!(handle.in_flight(), 1);
        drop(body);
        assert_eq!(handle.in_flight(), 0);
    }
}

#[tokio::test]
async fn c4_panicked_body_releases_its_permit_when_dropped() {
    let (response, handle) = response(false, &[Panic]).await;
    let mut body = Box::pin(response.into_body());
    catch_unwind(AssertUnwindSafe(|| poll(body.as_mut()))).unwrap_err();
    drop(body);
    assert_eq!(handle.in_flight(), 0);
}

#[tokio::test]
async fn c3_permit_body_yields_the_frames_of_the_inner_body() {
    let (response, _) = response(true, &[Data, Trailers]).await;
    let mut body = pin!(response.into_body());
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(2), false));
    let frame = assert_ready!(poll(body.as_mut())).unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "data");
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(1), false));
    assert!(assert_ready!(poll(body.as_mut())).unwrap().unwrap().is_trailers());
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(0), true));
    assert!(assert_ready!(poll(body)).is_none());
}

#[tokio::test]
async fn b2_waiter_is_granted_the_permit_of_an_ended_body() {
    let layer = ConcurrencyBackpressureLayer::new(1).until_body_ends();
    let script = Script { steps: [Data].into(), candid: true };
    let service = layer.layer(responses(script));
    let first = service.clone().oneshot(Request::new(())).await.unwrap();
    let mut second = task::spawn(service.oneshot(Request::new(())));
    assert_pending!(second.poll());
    assert!(!second.is_woken());
    let mut body = pin!(first.into_body());
    assert!(assert_ready!(poll(body.as_mut())).is_some());
    assert!(second.is_woken(), "by the last frame, though the body is kept");
    assert_ready!(second.poll()).unwrap();
}

#[tokio::test]
async fn c4_errors_and_cancellations_with_bodies_release_all_permits() {
    let layer = ConcurrencyBackpressureLayer::new(1).until_body_ends();
    let handle = layer.handle();
    let fails = layer.layer(service_fn(|_: Request<()>| async {
        Err::<Response<Script>, _>(io::Error::other("disk"))
    }));
    let mut failed = task::spawn(fails.clone().oneshot(Request::new(())));
    assert_eq!(assert_ready!(failed.poll()).unwrap_err().to_string(), "disk");
    assert_eq!(handle.in_flight(), 0, "though the future is kept");

    let hangs = layer.layer(service_fn(|_: Request<()>| {
        std::future::pending::<Result<Response<Script>, Infallible>>()
    }));
    let mut hanging = task::spawn(hangs.oneshot(Request::new(())));
    assert_pending!(hanging.poll());
    assert_eq!(handle.in_flight(), 1);
    drop(hanging);
    assert_eq!(handle.in_flight(), 0);
}

#[tokio::test]
async fn c10_response_to_a_rejected_request_holds_no_permit() {
    let layer = ConcurrencyBackpressureLayer::new(1)
        .max_queue(0)
        .reject_with(http_rejection)
        .until_body_ends();
    let handle = layer.handle();
    let service = layer.layer(responses(Script { steps: [Data].into(), candid: true }));
    let get = || service.clone().oneshot(Request::new(()));

    let first = get().await.unwrap();
    let second = get().await.unwrap();
    assert_eq!(
        (first.status(), second.status()),
        (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE)
    );
    assert_eq!(handle.in_flight(), 1);
    drop(first);
    assert_eq!(handle.in_flight(), 0, "though the second is there");
    drop((second, PermitBody::<Script>::default()));
    assert_eq!(handle.in_flight(), 0);
}

#[tokio::test]
async fn b6_drained_waits_for_bodies() {
    let layer = ConcurrencyBackpressureLayer::new(2).reject_with_box_error().until_body_ends();
    let handle = layer.handle();
    let service = layer.layer(responses(Script { steps: [Data].into(), candid: true }));
    let response = service.clone().oneshot(Request::new(())).await.unwrap();
    handle.close().unwrap();
    let mut drained = task::spawn(handle.drained());
    assert_pending!(drained.poll());
    assert!(service.oneshot(Request::new(())).await.is_err());
    drop(response);
    assert!(drained.is_woken());
    assert_ready!(drained.poll());
}

#[tokio::test]
async fn c1_limit_with_bodies_can_be_per_service() {
    let script = Script { steps: [Data].into(), candid: true };
    let layer = ConcurrencyBackpressureLayer::new(1).until_body_ends();
    let shared = [layer.layer(responses(script.clone())), layer.layer(responses(script.clone()))];
    let layer = layer.per_service();
    let apart = [layer.layer(responses(script.clone())), layer.layer(responses(script))];
    for ([one, other], limits) in [(shared, 1), (apart, 2)] {
        let _held = one.clone().oneshot(Request::new(())).await.unwrap();
        let mut second = task::spawn(other.clone().oneshot(Request::new(())));
        assert_eq!(second.poll().is_ready(), limits == 2);
        assert_eq!(one.get_ref().handle().in_flight(), 1);
    }
}

#[test]
fn c6_body_holds_its_permit_without_an_allocation() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(Duration::from_secs(1));
    let mut service = layer
        .reject_with(|rejected| panic!("{rejected}"))
        .until_body_ends()
        .layer(responses(Script::default()));
    let mut cx = Context::from_waker(Waker::noop());
    let mut call = || {
        assert!(service.poll_ready(&mut cx).is_ready());
        let response = pin!(service.call(Request::new(())));
        let response = assert_ready!(Future::poll(response, &mut cx)).unwrap();
        assert!(assert_ready!(poll(pin!(response.into_body()))).is_none());
    };
    call();
    assert_eq!(measure(|| (0..1000).for_each(|_| call())).count_total, 0);
}
