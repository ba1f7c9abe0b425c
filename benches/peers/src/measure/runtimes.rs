//! The runtimes that drive many tasks.

use std::thread::{self, JoinHandle};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::oneshot,
};

use super::allocations::uncounted;

/// The threads that run the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    One,
    /// Of one runtime, which decides whether both have work.
    Two,
    /// Each with a runtime of its own, and half of the tasks.
    Apart,
}

impl Threads {
    pub(crate) fn runtime(self) -> Runtime {
        let mut builder = match self {
            Self::One | Self::Apart => Builder::new_current_thread(),
            Self::Two => Builder::new_multi_thread(),
        };
        if self == Self::Two {
            builder.worker_threads(2);
        }
        builder.enable_time().build().expect("a runtime without I/O")
    }
}

/// A runtime on a thread of its own.
pub(crate) struct Second {
    pub(crate) runtime: Handle,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Second {
    pub(crate) fn start() -> Self {
        let runtime = Threads::One.runtime();
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            uncounted(|| {
                runtime.block_on(stopped).expect("the sender is kept until it sends");
                drop(runtime);
            });
        });
        Self { runtime: handle, stop, thread }
    }

    pub(crate) fn stop(self) {
        self.stop.send(()).expect("the runtime waits for this");
        self.thread.join().expect("the thread does not panic");
    }
}
