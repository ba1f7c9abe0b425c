//! Lets several tasks wait in the queue of a limit.
//!
//! A producer that drives a limited service polls the readiness of one service at a time: the queue
//! has one waiter, the producer. Several waiters need several clones. So this service is always
//! ready, and each admitted task polls the readiness of its own clone of the services below.

use std::{convert::Infallible, future::poll_fn};

use tower::{Service, service_fn};

use crate::{
    log::Log,
    page::{Answer, Page},
};

/// Makes a service that responds with the number of the ended task. The log has its outcome.
///
/// `polled` is called after each poll of readiness.
pub(crate) fn in_turn<S>(
    inner: S,
    polled: impl Fn() + Clone,
    log: Log,
) -> impl Service<Page, Response = usize, Error = Infallible>
where
    S: Service<Page, Response = Answer, Error = reqwest::Error> + Clone,
{
    service_fn(move |page: Page| {
        let (mut inner, polled, log) = (inner.clone(), polled.clone(), log.clone());
        let task = page.task;
        log.admitted(task);
        async move {
            let ready = poll_fn(|cx| {
                let ready = inner.poll_ready(cx);
                polled();
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
