//! Lets tasks wait side by side.
//!
//! Readiness is asked of one service at a time: a producer that drives a limited service finds it not
//! ready and waits, and nobody else is in line. For a line there must be several who ask. So this
//! service is always ready, and each task that is let in asks for itself, with a clone of the
//! services below.

use std::{convert::Infallible, future::poll_fn};

use tower::{Service, service_fn};
use tower_floodgate::ConcurrencyBackpressureHandle;

use crate::{
    log::Log,
    page::{Answer, Page},
};

/// Answers with the number of the task that has ended; how it ended is in the log.
pub(crate) fn in_turn<S>(
    inner: S,
    line: ConcurrencyBackpressureHandle,
    log: Log,
) -> impl Service<Page, Response = usize, Error = Infallible>
where
    S: Service<Page, Response = Answer, Error = reqwest::Error> + Clone,
{
    service_fn(move |page: Page| {
        let (mut inner, line, log) = (inner.clone(), line.clone(), log.clone());
        let task = page.task;
        log.let_in(task);
        async move {
            let ready = poll_fn(|cx| {
                let ready = inner.poll_ready(cx);
                // Tasks join the line in here and are polled one at a time: no length is missed.
                log.line(line.waiting());
                ready
            });
            let result = match ready.await {
                Ok(()) => inner.call(page).await,
                Err(error) => Err(error),
            };
            log.ended(task, &result);
            Ok(task)
        }
    })
}
