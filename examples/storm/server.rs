//! A server that works on one request at a time, queues the others, and does not notice that a
//! client has cancelled.

use std::{ops::Range, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::now;

/// Requests that the server completes in a second.
pub(crate) const CAPACITY: u32 = 500;
/// Two seconds of work, which is longer than the clients' timeout.
const QUEUE: usize = 1000;
/// The timeout of an attempt.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(crate) struct Server {
    queue: mpsc::Sender<oneshot::Sender<()>>,
}

/// The reason why an attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The queue was full. This takes no time of the server.
    Refused,
    /// The timeout of the client expired. The server still does the work.
    TimedOut,
}

impl Server {
    /// Returns the server and the future of its work.
    ///
    /// During the outage the server stands still, and its queue fills up.
    pub(crate) fn new(outage: Range<Instant>) -> (Self, impl Future<Output = ()>) {
        let (queue, mut requests) = mpsc::channel::<oneshot::Sender<()>>(QUEUE);
        let work = async move {
            while let Some(answer) = requests.recv().await {
                if outage.contains(&now()) {
                    sleep_until(outage.end).await;
                }
                sleep(Duration::from_secs(1) / CAPACITY).await;
                // Fails if the client has cancelled. That wasted work keeps the server down.
                let _ = answer.send(());
            }
        };
        (Self { queue }, work)
    }

    pub(crate) async fn request(&self) -> Result<(), Failure> {
        let deadline = now() + PATIENCE;
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(answer).map_err(|_| Failure::Refused)?;
        match timeout_at(deadline, answered).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Failure::TimedOut),
        }
    }
}
