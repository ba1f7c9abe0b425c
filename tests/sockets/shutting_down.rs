//! An HTTP/2 server that shuts down gracefully, and requests that arrive meanwhile.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{io::duplex, task::JoinSet, time::timeout};
use tower_floodgate::{
    client::HttpClassifier,
    retry::{Classify, Verdict},
};

/// Enough rounds for some requests to be passed to h2 just as the `GOAWAY` arrives.
const CONNECTIONS: usize = 1_000;

/// The time for sent requests. Closing the connection earlier makes the test see less, not fail.
const ENOUGH: Duration = Duration::from_millis(200);

/// No error of a request that got a response is classified as unreached.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn r6_request_answered_during_shutdown_is_not_resent() {
    let number = Arc::new(AtomicU32::new(0));
    for _ in 0..CONNECTIONS {
        let (ours, theirs) = duplex(1 << 16);
        let answered = Arc::new(Mutex::new(HashSet::new()));
        let logged = Arc::clone(&answered);
        let server = tokio::spawn(async move {
            let mut server = h2::server::handshake(theirs).await.unwrap();
            while let Some(Ok((request, mut answer))) = server.accept().await {
                logged.lock().unwrap().insert(request.uri().path().to_owned());
                let _ = answer.send_response(Response::new(()), true);
                server.graceful_shutdown(); // responds to the requests under way
            }
        });

        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(ours));
        let (client, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        let mut callers = JoinSet::new();
        for _ in 0..3 {
            let (client, number) = (client.clone(), Arc::clone(&number));
            callers.spawn(timeout(ENOUGH, calls(client, number)));
        }
        drop(client);
        let unsent: Vec<_> = callers.join_all().await.into_iter().flatten().flatten().collect();
        let _ = timeout(ENOUGH, server).await;
        let answered = answered.lock().unwrap();
        for path in unsent {
            assert!(!answered.contains(&path), "{path} was answered");
        }
    }
}

/// Posts until a request fails. Returns its path if its error would be retried.
async fn calls(
    mut client: http2::SendRequest<Empty<Bytes>>,
    number: Arc<AtomicU32>,
) -> Option<String> {
    loop {
        client.ready().await.ok()?;
        let path = format!("/{}", number.fetch_add(1, Relaxed));
        let request = || Request::post(format!("http://test{path}")).body(Empty::new()).unwrap();
        if let Err(error) = client.send_request(request()).await {
            let failed = Err::<Response<Infallible>, _>(error);
            let verdict = HttpClassifier::new().classify(&request(), &failed);
            return (verdict != Verdict::Done).then_some(path);
        }
    }
}
