//! The readers of response headers, behind the traits that a retry and a pause use.
//!
//! An input is text: a status, then a header on each line. What no response can hold is left out.

#![no_main]
#![allow(clippy::disallowed_methods, reason = "the clock is tokio's, paused")]

use std::{
    cell::RefCell,
    convert::Infallible,
    future::ready,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame};
use libfuzzer_sys::fuzz_target;
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_floodgate::{
    ExponentialRetry, ExponentialRetryLayer, PauseOnHintLayer, WindowRateLimitLayer,
    client::{GrpcClassifier, GrpcCode, GrpcHints, GrpcTrailersLayer, HttpClassifier, HttpHints},
    pause_on_hint::ReadHint,
    retry::{Backoff, Classify, Verdict},
};

const MAX_ATTEMPTS: usize = 3;
const MAX_HINT: Duration = Duration::from_secs(3600);
const MAX_PAUSE: Duration = Duration::from_secs(60);
const MAX_DELAY: Duration = Duration::from_millis(8);

/// Hints that are dates are read against the time of day, which goes on. Timers count milliseconds.
const TOLERANCE: Duration = Duration::from_secs(2);

thread_local! {
    static RUNTIME: Runtime =
        Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
}

fuzz_target!(|input: &[u8]| {
    let answer = Answer::parse(input);
    let http = HttpClassifier::new();
    let grpc = GrpcClassifier::new()
        .codes([GrpcCode::Unavailable, GrpcCode::Unknown])
        .codes_with_pushback([GrpcCode::ResourceExhausted]);
    is_bounded(&http, &answer);
    is_bounded(&grpc, &answer);
    pauses_no_longer(HttpHints::new(), &answer);
    pauses_no_longer(GrpcHints, &answer);
    is_the_same_in_trailers(&grpc, &answer);
});

type Outcome<B = ()> = Result<Response<B>, Infallible>;

#[derive(Debug)]
struct Answer {
    status: u16,
    lines: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    fn parse(input: &[u8]) -> Self {
        let mut lines = input.split(|&byte| byte == b'\n');
        let status = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.parse().ok());
        let line = |line: &[u8]| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
        };
        let status = status.filter(|status| (100..1000).contains(status)).unwrap_or(200);
        Self { status, lines: lines.filter_map(line).collect() }
    }

    fn response<B>(&self, headers: HeaderMap, body: B) -> Response<B> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status.try_into().unwrap();
        *response.headers_mut() = headers;
        response
    }

    fn outcome(&self) -> Outcome {
        Ok(self.response(self.lines.iter().cloned().collect_map(), ()))
    }

    /// The lines in reverse order, except those of `RateLimit`: they are one dictionary, of which
    /// a later entry overrides an earlier one (RFC 9651, 4.2.2).
    fn reversed(&self) -> Outcome {
        let is_dictionary = |(name, _): &&(HeaderName, _)| {
            name.as_str().ends_with("ratelimit") || name.as_str().starts_with("zendesk-ratelimit-")
        };
        let (dictionary, others): (Vec<_>, Vec<_>) = self.lines.iter().partition(is_dictionary);
        let lines = others.into_iter().rev().chain(dictionary);
        Ok(self.response(lines.cloned().collect_map(), ()))
    }
}

trait CollectMap: Iterator<Item = (HeaderName, HeaderValue)> + Sized {
    /// Unlike `collect`, keeps several lines of one name.
    fn collect_map(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in self {
            headers.append(name, value);
        }
        headers
    }
}

impl<I: Iterator<Item = (HeaderName, HeaderValue)>> CollectMap for I {}

fn verdict_of<C>(classify: &C, outcome: &Outcome) -> Verdict
where
    C: Classify<Request<()>, Response<()>, Infallible>,
{
    classify.classify(&Request::new(()), outcome)
}

/// Returns the wait that the server asks for.
fn asked(verdict: Verdict) -> Option<Duration> {
    match verdict {
        Verdict::RetryAfter(wait) | Verdict::RetryExactly(wait) => Some(wait),
        _ => None,
    }
}

/// The attempts are as many as the verdict allows, and the waits between them as long.
fn is_bounded<C>(classify: &C, answer: &Answer)
where
    C: Classify<Request<()>, Response<()>, Infallible> + Clone,
{
    let verdict = verdict_of(classify, &answer.outcome());
    let retried = |verdict| !matches!(verdict, Verdict::Done | Verdict::Never);
    assert_eq!(
        retried(verdict),
        retried(verdict_of(classify, &answer.reversed())),
        "the order of lines decides"
    );

    let times = RefCell::new(Vec::new());
    let policy = ExponentialRetry::new(MAX_ATTEMPTS as u32)
        .backoff(Backoff::new(MAX_DELAY / 4, MAX_DELAY))
        .max_hint(MAX_HINT)
        .classify(classify.clone());
    let service = ExponentialRetryLayer::new(policy).layer(service_fn(|_| {
        times.borrow_mut().push(Instant::now());
        ready(answer.outcome())
    }));
    let Ok(_) = RUNTIME.with(|runtime| runtime.block_on(service.oneshot(Request::new(()))));
    let times = times.into_inner();
    let asked = asked(verdict);
    if !retried(verdict) || asked.is_some_and(|asked| asked > MAX_HINT + TOLERANCE) {
        assert_eq!(times.len(), 1, "{verdict:?}");
    } else if asked.is_none_or(|asked| asked <= MAX_HINT) {
        assert_eq!(times.len(), MAX_ATTEMPTS, "{verdict:?}");
    }
    for pair in times.windows(2) {
        let (wait, asked) = (pair[1] - pair[0], asked.unwrap_or_default());
        assert!(wait + TOLERANCE >= asked, "{verdict:?}: {wait:?} is too early");
        assert!(wait <= asked + MAX_DELAY + TOLERANCE, "{verdict:?}: {wait:?} is too late");
        assert!(wait <= MAX_HINT + MAX_DELAY + TOLERANCE, "{verdict:?}: {wait:?} is too long");
    }
}

/// A pause is as long as the hint, and bounded.
fn pauses_no_longer<H>(hints: H, answer: &Answer)
where
    H: ReadHint<Response<()>, Infallible> + Clone,
{
    let hint = hints.read_hint(&answer.outcome());
    let rate = WindowRateLimitLayer::new(9, Duration::from_secs(1));
    let handle = rate.handle();
    let layer = PauseOnHintLayer::new(handle.clone(), hints).max_pause(MAX_PAUSE);
    let service = layer.layer(service_fn(|()| ready(answer.outcome())));
    // The clock of the pause is that of the runtime.
    let paused = async {
        let Ok(_) = service.oneshot(()).await;
        handle.estimated_wait()
    };
    let pause = RUNTIME.with(|runtime| runtime.block_on(paused));
    assert!(pause <= MAX_PAUSE);
    assert!(pause.abs_diff(hint.unwrap_or_default().min(MAX_PAUSE)) <= TOLERANCE, "{hint:?}");
}

/// A body of trailers.
struct Trailers(Option<HeaderMap>);

impl Body for Trailers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(Frame::trailers).map(Ok))
    }
}

/// A failure in trailers after the head is judged like one in the head, and a success stays.
fn is_the_same_in_trailers(classify: &GrpcClassifier, answer: &Answer) {
    let in_head = answer.outcome();
    let trailers = Trailers(in_head.as_ref().ok().map(|response| response.headers().clone()));
    let kind = HeaderValue::from_static("application/grpc");
    let response = answer.response(HeaderMap::from_iter([(CONTENT_TYPE, kind)]), trailers);
    let mut response = Some(response);
    let service = GrpcTrailersLayer::new()
        .max_wait(Duration::ZERO)
        .layer(service_fn(|()| ready(Ok::<_, Infallible>(response.take().unwrap()))));
    let Ok(response) = RUNTIME.with(|runtime| runtime.block_on(service.oneshot(())));
    let moved = response.headers().contains_key("grpc-status");
    assert_eq!(moved, response.body().is_end_stream());
    let in_trailers = Ok(response.map(drop));
    if moved {
        let (head, trailers) = (verdict_of(classify, &in_head), verdict_of(classify, &in_trailers));
        let (asked_by_head, asked_by_trailers) = (asked(head), asked(trailers));
        assert_eq!(asked_by_head.is_some(), asked_by_trailers.is_some());
        let difference =
            asked_by_head.unwrap_or_default().abs_diff(asked_by_trailers.unwrap_or_default());
        assert!(difference <= TOLERANCE, "{head:?} in the head, {trailers:?} in trailers");
        assert_eq!(
            asked_by_head.is_none().then_some(head),
            asked_by_trailers.is_none().then_some(trailers)
        );
    }
}
