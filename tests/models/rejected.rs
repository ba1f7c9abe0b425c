//! The rejections of the models, which tell nothing.

#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    Concurrency,
    Rate,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Reason {
    QueueFull,
    WaitTimeout,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejected;
