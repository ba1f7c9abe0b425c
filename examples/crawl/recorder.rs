//! Records the start and the end of each attempt, right below the rate limit.

use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt};
use tower::Service;

use crate::{
    log::Log,
    page::{Answer, Page},
};

#[derive(Clone)]
pub(crate) struct Recorder<S> {
    inner: S,
    log: Log,
}

impl<S> Recorder<S> {
    pub(crate) fn new(inner: S, log: Log) -> Self {
        Self { inner, log }
    }
}

impl<S> Service<Page> for Recorder<S>
where
    S: Service<Page, Response = Answer, Error = reqwest::Error>,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = reqwest::Error;
    type Future = BoxFuture<'static, Result<Answer, reqwest::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), reqwest::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, page: Page) -> Self::Future {
        let (task, log) = (page.task, self.log.clone());
        // Not in the future, because the rate limit counts the moment of the call.
        log.sent(task);
        let answer = self.inner.call(page);
        async move {
            let result = answer.await;
            log.answered(task, &result);
            result
        }
        .boxed()
    }
}
