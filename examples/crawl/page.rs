//! What is asked for, what comes back, and when it is worth asking again.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use reqwest::{Error, Request, Response, StatusCode};
use tower_floodgate::{client, retry::Verdict};

/// A request, and the number of the task it belongs to. The number stays here: it is not sent.
pub(crate) struct Page {
    pub(crate) task: usize,
    pub(crate) request: Request,
}

impl Page {
    /// A copy for another attempt, unless the body is a stream, which can be sent only once.
    pub(crate) fn try_clone(&self) -> Option<Self> {
        Some(Self { task: self.task, request: self.request.try_clone()? })
    }

    pub(crate) fn into_request(self) -> Request {
        self.request
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    size: usize,
    /// When to come again, if the server says so.
    hint: Option<Duration>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if self.status.is_success() { write!(f, ", {} bytes", self.size) } else { Ok(()) }
    }
}

/// Reads the answer to its end, so that one cut short fails the attempt and is tried again, too.
pub(crate) async fn read(response: Response) -> Result<Answer, Error> {
    let status = response.status();
    #[allow(
        clippy::disallowed_methods,
        reason = "a date is a date, however fast tokio's clock runs"
    )]
    let hint = client::parse_retry_after(response.headers(), SystemTime::now);
    let size = response.bytes().await?.len();
    Ok(Answer { status, size, hint })
}

/// What holds back everybody, if the server says so.
pub(crate) fn hint(result: &Result<Answer, Error>) -> Option<Duration> {
    result.as_ref().ok().filter(|answer| is_trouble(answer.status))?.hint
}

/// What may pass by itself is worth another attempt: a broken connection, a server in trouble, a
/// quota that is used up. All others would be answered the same again.
pub(crate) fn verdict(_: &Page, result: &Result<Answer, Error>) -> Verdict {
    match result {
        Ok(Answer { status, .. }) if !is_trouble(*status) => Verdict::Done,
        Ok(Answer { hint: Some(hint), .. }) => Verdict::RetryAfter(*hint),
        Ok(_) | Err(_) => Verdict::Retry,
    }
}

fn is_trouble(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}
