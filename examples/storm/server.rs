//! A server as many are: it does one thing after the other, keeps what it can't do yet in a queue, and
//! doesn't know that whoever asked has given up meanwhile.

use std::{ops::Range, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::now;

/// How many requests it does in a second.
pub(crate) const CAPACITY: u32 = 500;
/// Two seconds' work, which is more than its clients have the patience for.
const QUEUE: usize = 1000;
/// How long a client waits for the answer to an attempt.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(crate) struct Server {
    queue: mpsc::Sender<oneshot::Sender<()>>,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The queue was full. This costs the server nothing.
    Refused,
    /// The client lost patience. The server will do the work all the same.
    TimedOut,
}

impl Server {
    /// The server, and its work, which must be polled for anything to be done. In the outage it stands
    /// still, and its queue fills up.
    pub(crate) fn new(outage: Range<Instant>) -> (Self, impl Future<Output = ()>) {
        let (queue, mut requests) = mpsc::channel::<oneshot::Sender<()>>(QUEUE);
        let work = async move {
            while let Some(answer) = requests.recv().await {
                if outage.contains(&now()) {
                    sleep_until(outage.end).await;
                }
                sleep(Duration::from_secs(1) / CAPACITY).await;
                // In vain if nobody waits for it any more: this is what keeps the server down.
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
