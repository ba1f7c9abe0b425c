//! The classes of failures, by which metrics and traces tell them apart.

use std::{
    error::Error,
    fmt,
    future::pending,
    io::{self, ErrorKind},
};

use http::{Request, Response};
use tower::{BoxError, Layer, ServiceExt, service_fn, timeout::TimeoutLayer};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, DeadlineLayer,
    client::{AsError, HttpClassifier},
    retry::{AnyError, Classify, ErrorType, Verdict},
};

use crate::secs;

fn class_of<E: AsError<M>, M>(error: E) -> String {
    let classify = HttpClassifier::<M>::new();
    let result = Err::<Response<()>, E>(error);
    Classify::<Request<()>, _, _>::error_type(&classify, &result).to_string()
}

#[test]
fn o5_class_of_a_response_is_its_status() {
    let classify: HttpClassifier = HttpClassifier::new();
    for status in [429, 503, 999] {
        let response = Response::builder().status(status).body(()).unwrap();
        let result = Ok::<_, io::Error>(response);
        let class = Classify::<Request<()>, _, _>::error_type(&classify, &result);
        assert_eq!(class, ErrorType::status(status));
        assert_eq!(class.to_string(), status.to_string());
        assert_eq!(std::borrow::Cow::from(class), status.to_string());
    }
}

#[test]
fn o5_class_of_an_error_is_that_of_its_outermost_cause_with_one() {
    for (kind, class) in [
        (ErrorKind::ConnectionRefused, "connect"),
        (ErrorKind::HostUnreachable, "connect"),
        (ErrorKind::TimedOut, "timeout"),
        (ErrorKind::ConnectionReset, "reset"),
        (ErrorKind::UnexpectedEof, "reset"),
        (ErrorKind::InvalidData, "_OTHER"),
    ] {
        assert_eq!(class_of(io::Error::from(kind)), class);
        assert_eq!(class_of(BoxError::from(io::Error::from(kind))), class);
        assert_eq!(class_of(io::Error::other(io::Error::from(kind))), class, "inside another");
    }
    let lookup =
        io::Error::other("failed to lookup address information: Name or service not known");
    assert_eq!(class_of(lookup), "connect");

    /// An error with a timeout as its source.
    #[derive(Debug)]
    struct Outer(io::Error);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("outer")
        }
    }
    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }
    assert_eq!(class_of(Outer(ErrorKind::TimedOut.into())), "timeout");
}

#[tokio::test(start_paused = true)]
async fn o5_timeouts_and_rejections_have_classes() {
    let stuck = service_fn(|_: ()| pending::<Result<(), io::Error>>());
    let error = TimeoutLayer::new(secs(1)).layer(stuck).oneshot(()).await.unwrap_err();
    assert_eq!(class_of(error), "timeout");
    let error = tokio::time::timeout(secs(1), pending::<()>()).await.unwrap_err();
    assert_eq!(class_of(error), "timeout");
    let error = DeadlineLayer::new(secs(1)).layer(stuck).oneshot(()).await.unwrap_err();
    assert_eq!(class_of(error), "timeout");

    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(0);
    let _busy = tokio::spawn(layer.layer(stuck).oneshot(()));
    tokio::task::yield_now().await;
    let error = layer.layer(stuck).oneshot(()).await.unwrap_err();
    assert_eq!(class_of(error), "rejected");
}

#[test]
fn o5_classes_of_closures_tell_responses_from_errors() {
    let closure = |_: &u32, _: &Result<(), ()>| Verdict::Retry;
    for (result, class) in [(Ok(()), "response"), (Err(()), "_OTHER")] {
        assert_eq!(closure.error_type(&result).to_string(), class);
        assert_eq!(Classify::<u32, _, _>::error_type(&AnyError, &result).to_string(), class);
    }
}

#[cfg(feature = "grpc")]
#[test]
fn o5_class_of_a_grpc_failure_is_its_code() {
    use tower_floodgate::client::{GrpcClassifier, GrpcCode};

    let classify = GrpcClassifier::new();
    let class_of = |response: http::response::Builder| {
        let result = Ok::<_, io::Error>(response.body(()).unwrap());
        Classify::<Request<()>, _, _>::error_type(&classify, &result).to_string()
    };
    assert_eq!(class_of(Response::builder().header("grpc-status", "8")), "RESOURCE_EXHAUSTED");
    assert_eq!(class_of(Response::builder().status(503)), "UNAVAILABLE");
    assert_eq!(class_of(Response::builder()), "response", "a code that is not in the head");
    // By the names of tonic's codes, whose numbers are gRPC's.
    for number in 0..17 {
        let name = GrpcCode::from(number).name().replace('_', "");
        let tonic = format!("{:?}", tonic::Code::from(number)).to_uppercase();
        assert_eq!(name, tonic);
    }
    let status = Err::<Response<()>, _>(tonic::Status::aborted("again"));
    let class = Classify::<Request<()>, _, _>::error_type(&GrpcClassifier::new(), &status);
    assert_eq!(class, ErrorType::new("ABORTED"));
}
