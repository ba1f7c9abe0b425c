//! Policies for tower's `Retry`, written as in its documentation.

use std::{
    future::{Ready, ready},
    sync::Arc,
    time::Duration,
};

use tower::retry::{
    Policy,
    budget::{Budget, TpsBudget},
};

/// Allows the given number of further attempts.
#[derive(Clone)]
pub(crate) struct Attempts(pub(crate) u32);

impl<Req: Clone, Res, E> Policy<Req, Res, E> for Attempts {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Req, result: &mut Result<Res, E>) -> Option<Self::Future> {
        match result {
            Err(_) if self.0 > 0 => {
                self.0 -= 1;
                Some(ready(()))
            }
            _ => None,
        }
    }

    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}

/// Retries while tower's budget allows it.
#[derive(Clone)]
pub(crate) struct Budgeted(Arc<TpsBudget>);

impl Budgeted {
    pub(crate) fn new(ratio: f32) -> Self {
        Self(Arc::new(TpsBudget::new(Duration::from_secs(10), 10, ratio)))
    }
}

impl<Req: Clone, Res, E> Policy<Req, Res, E> for Budgeted {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Req, result: &mut Result<Res, E>) -> Option<Self::Future> {
        match result {
            Ok(_) => {
                self.0.deposit();
                None
            }
            Err(_) => self.0.withdraw().then(|| ready(())),
        }
    }

    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}
