//! Lets several tasks wait in the queue of a limit.
//!
//! A producer that drives a limited service polls the readiness of one service at a time: the queue
//! has one waiter, the producer. Several waiters need several clones. So this service is always
//! ready, and each admitted task polls the readiness of its own clone of the services below.

use std::{convert::Infallible, future::poll_fn};

use tower::{Service, service_fn};
use tower_floodgate::ConcurrencyBackpressureHandle;

use crate::{
    log::Log,
    page::{Answer, Page},
};

/// Makes a service that responds with the number of the ended task. The log has its outcome.
pub(crate) fn in_turn<S>(
    inner: S,
    concurrency: ConcurrencyBackpressureHandle,
    log: Log,
) -> impl Service<Page, Response = usize, Error = Infallible>
where
    S: Service<Page, Response = Answer, Error = reqwest::Error> + Clone,
{
    service_fn(move |page: Page| {
        let (mut inner, concurrency, log) = (inner.clone(), concurrency.clone(), log.clone());
        let task = page.task;
        log.admitted(task);
        async move {
            let ready = poll_fn(|cx| {
                let ready = inner.poll_ready(cx);
                // Tasks join the queue in this poll, one task at a time, so every length is
                // recorded.
                log.queue(concurrency.queued());
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
