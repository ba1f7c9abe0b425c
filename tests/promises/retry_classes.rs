//! The classes of failures, as the metrics and the traces of a named retry show them.

use std::{
    future::ready,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Empty;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower::service_fn;
use tower_floodgate::{
    client::{HttpClassifier, PlainError},
    retry::{Classify, ErrorType},
};

fn of_http<E>(result: &Result<Response<()>, E>) -> ErrorType
where
    HttpClassifier: Classify<Request<()>, Response<()>, E>,
{
    Classify::<Request<()>, _, _>::error_type(&HttpClassifier::<PlainError>::new(), result)
}

#[test]
fn o5_r13_function_of_http_has_the_classes_of_http() {
    let classify = HttpClassifier::<PlainError>::new().for_method(Method::GET);
    let response = |status| Ok(Response::builder().status(status).body(()).unwrap());
    let error = |kind| Err(io::Error::from(kind));
    let classes = [
        (response(503), ErrorType::status(503)),
        (error(io::ErrorKind::TimedOut), ErrorType::TIMEOUT),
        (error(io::ErrorKind::ConnectionRefused), ErrorType::CONNECT),
    ];
    for (result, class) in classes {
        assert_eq!(Classify::<(), _, _>::error_type(&classify, &result), class);
        assert_eq!(of_http(&result), class);
    }
}

#[tokio::test]
async fn o5_connection_that_timed_out_is_a_timeout_for_hyper_util() {
    let causes = [
        (io::ErrorKind::TimedOut, ErrorType::TIMEOUT),
        (io::ErrorKind::ConnectionRefused, ErrorType::CONNECT),
    ];
    for (cause, class) in causes {
        let connector = service_fn(move |_: http::Uri| {
            ready(Err::<TokioIo<Unconnected>, _>(io::Error::from(cause)))
        });
        let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
        let request = Request::get("http://example.com/").body(Empty::new()).unwrap();
        let error = client.request(request).await.unwrap_err();
        assert!(error.is_connect());
        assert_eq!(of_http(&Err(error)), class);
    }
}

/// A type of connections of which there is none.
enum Unconnected {}

impl Connection for Unconnected {
    fn connected(&self) -> Connected {
        match *self {}
    }
}

impl AsyncRead for Unconnected {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match *self {}
    }
}

impl AsyncWrite for Unconnected {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}
