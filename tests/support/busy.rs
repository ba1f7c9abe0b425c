use std::{
    pin::pin,
    task::{Context, Poll, ready},
};

use tokio::task::coop::consume_budget;

/// Spends what is left of the budget of the task, as a future with work that does not end does.
pub(crate) fn spend_budget<T>(cx: &mut Context<'_>) -> Poll<T> {
    loop {
        ready!(pin!(consume_budget()).poll(cx));
    }
}
