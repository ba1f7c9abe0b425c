//! The requests, the responses, and the decision about retries.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use reqwest::{Error, Request, Response, StatusCode};
use tower_floodgate::{client::HttpHints, retry::Verdict};

/// A request with the number of its task, which is not sent.
pub(crate) struct Page {
    pub(crate) task: usize,
    pub(crate) request: Request,
}

impl Page {
    /// Copies the request for another attempt, unless its body is a stream, which is sent only
    /// once.
    pub(crate) fn try_clone(&self) -> Option<Self> {
        Some(Self { task: self.task, request: self.request.try_clone()? })
    }

    /// Returns the host and the port.
    pub(crate) fn authority(&self) -> &str {
        self.request.url().authority()
    }

    pub(crate) fn into_request(self) -> Request {
        self.request
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) size: usize,
    /// The time until a retry, as the server asks.
    pub(crate) hint: Option<Duration>,
}

impl Answer {
    /// Makes the answer to a request that was not sent, which may be sent after this time.
    pub(crate) fn too_many(hint: Option<Duration>) -> Self {
        Self { status: StatusCode::TOO_MANY_REQUESTS, size: 0, hint }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if self.status.is_success() { write!(f, ", {} bytes", self.size) } else { Ok(()) }
    }
}

/// Reads the response to its end, so that a truncated one fails the attempt and is retried, too.
pub(crate) async fn read(response: Response) -> Result<Answer, Error> {
    let status = response.status();
    #[allow(clippy::disallowed_methods, reason = "a date in a header refers to the system's clock")]
    let hint = HttpHints::new().read(status, response.headers(), SystemTime::now);
    let size = response.bytes().await?.len();
    Ok(Answer { status, size, hint })
}

/// Returns the hint that pauses the rate limit.
pub(crate) fn hint(result: &Result<Answer, Error>) -> Option<Duration> {
    result.as_ref().ok().filter(|answer| is_temporary(answer.status))?.hint
}

/// Retries failures that may be temporary: a broken connection, a failing server, an exhausted
/// quota.
///
/// Any other response would be the same again.
pub(crate) fn verdict(_: &Page, result: &Result<Answer, Error>) -> Verdict {
    match result {
        Ok(Answer { status, .. }) if !is_temporary(*status) => Verdict::Done,
        Ok(Answer { hint: Some(hint), .. }) => Verdict::RetryAfter(*hint),
        Ok(_) | Err(_) => Verdict::Retry,
    }
}

fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}
