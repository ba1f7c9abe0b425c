//! The deadlines of a concurrency limit, with the time in service in reserve.

use std::{sync::OnceLock, time::Duration};

use super::service_times::ServiceTimes;
use crate::{
    semaphore::{Deadline, Deadlines},
    time::{Clock, Nanos, Time},
};

/// Deadlines are times, as those of each [`Time`]. A request that is to be done by one needs a time
/// in service as long as that of most others before it.
pub(crate) struct Reserve {
    clock: Clock,
    /// Of requests with a deadline. In a box, because most limits have none.
    service_times: OnceLock<Box<ServiceTimes>>,
}

impl Reserve {
    pub(super) const fn new(clock: Clock) -> Self {
        Self { clock, service_times: OnceLock::new() }
    }

    /// Returns the time in service that has to be left at the grant.
    pub(super) fn reserve(&self) -> Duration {
        self.service_times.get().map_or(Duration::ZERO, |times| times.p95())
    }

    /// Returns the times in service, which are kept from now on.
    pub(super) fn service_times(&self) -> &ServiceTimes {
        self.service_times.get_or_init(|| Box::new(ServiceTimes::new()))
    }

    /// Returns true if requests may have terms.
    pub(super) fn may_have_terms(&self) -> bool {
        self.service_times.get().is_some()
    }

    /// Makes room for times in service, of a limit whose requests have terms.
    pub(super) fn has_terms(&self) {
        self.service_times();
    }
}

impl Deadlines for Reserve {
    fn has_passed(&self, deadline: Deadline) -> bool {
        self.clock.has_passed(deadline)
    }

    fn of_grant(&self, deadline: Deadline) -> Deadline {
        self.clock.of_grant(deadline)
    }

    fn is_too_late(&self, done_by: Deadline) -> bool {
        Nanos::new(done_by.get()).since(self.clock.now()) < self.reserve()
    }
}
