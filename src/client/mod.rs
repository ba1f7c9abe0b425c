//! Clients of HTTP and gRPC: retry classification, hints, bodies of requests and responses.
//!
//! With the feature `client` (on by default); the items for gRPC with `grpc`. The
//! [guide](crate::guide) has complete stacks for hyper, reqwest and tonic.
//!
//! | task | write |
//! | --- | --- |
//! | retry HTTP failures that are likely to pass, not before the server allows it | [`ExponentialRetry::new(3).classify(HttpClassifier::new())`](HttpClassifier) |
//! | retry other statuses, or any method | [`HttpClassifier::statuses`], [`HttpClassifier::any_method`] |
//! | retry an async function that sends a request | [`HttpClassifier::for_method`], and [`retry`](crate::retry::retry) |
//! | retry gRPC calls by code, and obey the server's pushback | `.classify(GrpcClassifier::new())`, `GrpcClassifier::codes` |
//! | bound a call with all its waits and attempts | [`DeadlineLayer::new(timeout)`](crate::DeadlineLayer), outermost |
//! | see a gRPC status that follows the head in trailers | `GrpcTrailersLayer`, innermost |
//! | resend any body, and use the connection again | [`HttpRetryLayer::new(policy)`](HttpRetryLayer) in the place of `ExponentialRetryLayer` |
//! | only resend bodies that can't be cloned | [`ReplayLayer`], and [`clone_with(ByReplay)`](ByReplay) |
//! | only use the connection of a failed response again | [`ReadFailuresLayer`] inside the retry |
//! | retry a response whose body breaks off | [`CollectLayer`] inside the retry |
//! | hold a permit to the end of the response's body | [`until_body_ends()`](crate::ConcurrencyBackpressureLayer::until_body_ends) on the limit (feature `server`) |
//! | send a request of reqwest's builder | [`request.send_through(&service)`](RequestBuilderExt::send_through) |
//! | learn the number of attempts of a response | [`Attempts::from_response`]; for tonic's [`Attempts::from_extensions`] |
//! | learn the number of attempts of an error | [`Attempts::from_error`]; for tonic's `Status` `Attempts::from_status` |
//! | let one 429 or pushback hold back all callers | [`PauseOnHintLayer::new(handle, HttpHints::new())`](HttpHints), or `GrpcHints` |
//! | open a span for each attempt (feature `tracing`) | `AttemptSpanLayer` inside the retry |
//! | obey the headers of a server that [`hints`] does not know | [`HttpHints::wait_header`], [`HttpHints::quota_headers`] |
//! | repeat a POST that the server has rejected | [`HttpClassifier::any_method_if_rejected`] |
//! | read a hint in a classifier of your own | [`HttpHints::read`] |
//!
//! ```
//! use std::{
//!     sync::atomic::{AtomicU32, Ordering},
//!     time::Duration,
//! };
//! use http::{Request, Response, StatusCode};
//! use tokio::time::Instant;
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//! use tower_floodgate::{
//!     ExponentialRetry, ExponentialRetryLayer,
//!     client::{Attempts, HttpClassifier},
//!     retry::Jitter,
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! # static CALLS: AtomicU32 = AtomicU32::new(0);
//! // Responds to two requests with 503 and `Retry-After: 5`, then with 200.
//! # let client = service_fn(|_: Request<String>| async {
//! #     let unavailable = CALLS.fetch_add(1, Ordering::Relaxed) < 2;
//! #     let status = if unavailable { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
//! #     let response = Response::builder().status(status).header("retry-after", "5").body(());
//! #     Ok::<_, BoxError>(response?)
//! # });
//! let policy = ExponentialRetry::new(4).classify(HttpClassifier::new());
//! let service = ServiceBuilder::new().layer(ExponentialRetryLayer::new(policy)).service(client);
//!
//! let start = Instant::now();
//! let response = service.oneshot(Request::get("/").body(String::new())?).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! assert_eq!(Attempts::from_response(&response).get(), 3);
//! assert!(start.elapsed() >= Duration::from_secs(10)); // jitter comes on top
//! # Ok(())
//! # }
//! ```
//!
//! # Bodies
//!
//! A response future completes with the head of the response, and so does an attempt:
//!
//! - **A body that breaks off after its head is not retried.** Collecting it inside the retry makes
//!   it so: see [`CollectLayer`].
//! - **A permit of a concurrency limit ends with the head**, with reqwest's client, too.
//!   [`until_body_ends`](crate::ConcurrencyBackpressureLayer::until_body_ends) holds it to the end
//!   of the body.
//! - **A failed response that is dropped before its end closes its connection** of HTTP/1.
//!   [`HttpRetryLayer`] and [`ReadFailuresLayer`] read it before the next attempt.
//!
//! # Where other layers go
//!
//! - **Redirects** are followed outside the retry. Inside, a POST that was carried out and answered
//!   with a redirect would be sent again if the request that follows fails.
//! - **Timeouts** (tower's `TimeoutLayer`) go inside the retry. Otherwise a server that never
//!   responds holds a permit as long as the client waits. A
//!   [`DeadlineLayer`](crate::DeadlineLayer) outermost bounds the whole call.
//!
//! # Did the request reach the server?
//!
//! | error | never reached it | may have reached it |
//! | --- | --- | --- |
//! | [`Rejected`](crate::Rejected) of this crate | always | |
//! | [`std::io::Error`] | connection refused; a name that can't be looked up for now | reset, aborted, broken, timed out; host or network not reachable |
//! | tokio's and tower's `Elapsed` | | always |
//! | hyper-util's legacy client | `is_connect`, unless the cause is [permanent](#permanent-failures) | |
//! | hyper | `is_canceled` (but not of an upgrade), `is_closed` | `is_incomplete_message`, `is_timeout`; an upgrade that was not completed |
//! | h2 | a stream refused by the server (`REFUSED_STREAM`) | reset by the server with `INTERNAL_ERROR` or `ENHANCE_YOUR_CALM`; a `GOAWAY` of the server |
//! | [`CollectError`], whatever its cause | | always |
//! | reqwest (feature `reqwest`) | as hyper-util's, which it wraps; see `HttpClassifier::assume_no_redirects` | `is_timeout` |
//!
//! Any other error is not retried: an error of the request's own body or construction, of parsing,
//! and an unknown one. The second column follows from the sources of these crates:
//!
//! - hyper 1 calls a request canceled if its connection was not ready for it, or was lost while the
//!   request was still queued for it: none of it was written. It calls a connection closed if that
//!   happened before the request was passed to it. (It also calls an upgrade canceled if the
//!   connection was lost after the server had agreed to it.)
//! - h2 0.4 gives the error of a `REFUSED_STREAM` to the refused stream: the request was not
//!   processed (RFC 9113, 8.7).
//!
//! A `GOAWAY` is in the third column although h2 gives its error to streams above the last one that
//! the server may have processed, which would be conclusive (RFC 9113, 6.8). hyper polls the
//! connection once more after passing a request to h2. If a `GOAWAY` has arrived in between, it
//! fails the request with the same error, although a server that shuts down gracefully responds to
//! that request.
//!
//! # Permanent failures
//!
//! Some connections fail alike at each attempt. Such a request is not retried, and its error is
//! returned at once:
//!
//! | cause | known by its text for | not told from failures that may pass, so retried |
//! | --- | --- | --- |
//! | a URI for another connector: `https` without TLS, an unknown scheme, no host | hyper-util, hyper-rustls, hyper-tls | |
//! | a verdict in the TLS handshake: the certificate is untrusted, expired, revoked or for another name; the peer speaks no TLS or has no protocol, cipher or application protocol in common; an alert says so | rustls; OpenSSL and BoringSSL, and so native-tls on Linux | native-tls on Windows and macOS; a verifier of the platform that failed itself; an outdated revocation list |
//! | a name that does not exist | the system's resolver: `EAI_NONAME` of `getaddrinfo`, `WSAHOST_NOT_FOUND` on Windows | resolvers of the user and of hickory; a name without addresses (`EAI_NODATA`) |
//! | a proxy that demands credentials (407) | tunnels of hyper-util and reqwest | |
//!
//! - Handshakes that break off, and alerts about the moment such as `internal_error`, are retried
//!   like other failed connections.
//! - macOS and Windows say that a name does not exist also while they are offline, so a request is
//!   not retried then. glibc reports a temporary failure (`EAI_AGAIN`), which is retried.
//! - A name that was created a moment ago may not exist for a resolver that remembers its absence.
//! - An unknown text is no evidence. To retry a failure that is known to be permanent here, judge
//!   it in a [`Classify`](crate::retry::Classify) of your own.

#[cfg(feature = "tracing")]
pub mod attempt_span;
mod attempts;
mod error_type;
mod failure;
mod frame_cost;
#[cfg(feature = "grpc")]
mod grpc_classifier;
#[cfg(feature = "grpc")]
mod grpc_code;
#[cfg(feature = "grpc")]
mod grpc_headers;
#[cfg(feature = "grpc")]
mod grpc_hints;
#[cfg(feature = "grpc")]
mod grpc_judge;
#[cfg(feature = "grpc")]
mod grpc_retry_info;
#[cfg(feature = "grpc")]
pub mod grpc_trailers;
pub mod hints;
mod http_classifier;
mod http_judge;
pub mod http_retry;
mod message;
mod method_classifier;
mod permanent;
pub mod read_body;
pub mod replay;
#[cfg(feature = "grpc")]
mod send_grpc_timeout;
#[cfg(feature = "reqwest")]
mod send_through;
mod statuses;

#[cfg(feature = "tracing")]
pub use self::attempt_span::{AttemptSpan, AttemptSpanLayer, resend::note_resend};
#[cfg(feature = "reqwest")]
pub use self::replay::ReplayRequest;
#[cfg(feature = "reqwest")]
pub use self::send_through::{RequestBuilderExt, SendThrough};
pub use self::{
    attempts::{Attempts, RetriedError},
    failure::{AsError, BoxedError, PlainError},
    hints::HttpHints,
    http_classifier::{HttpClassifier, default_retried_statuses},
    http_retry::{HttpRetry, HttpRetryLayer},
    message::{RequestHead, ResponseHead},
    method_classifier::MethodClassifier,
    read_body::{CollectError, CollectLayer, ReadBody, ReadFailuresLayer},
    replay::{ByReplay, ReplayBody, ReplayError, ReplayLayer},
};
#[cfg(feature = "grpc")]
pub use self::{
    grpc_classifier::GrpcClassifier,
    grpc_code::GrpcCode,
    grpc_hints::GrpcHints,
    grpc_trailers::{GrpcTrailersLayer, PeekedBody},
    send_grpc_timeout::send_grpc_timeout,
};
pub use crate::wrap_body::{HttpResponse, WrapBody};
