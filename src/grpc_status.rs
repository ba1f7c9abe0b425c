//! The gRPC status of a rejection.

use std::{error::Error, sync::OnceLock};

use http::HeaderMap;
use tonic::{Code, Status, metadata::MetadataMap};

use crate::{
    headers::grpc::Pushback,
    rejected::{Limit, Reason, Rejected, RuleReason, Scope},
};

/// RESOURCE_EXHAUSTED at a rate limit, with a pushback of the time until there is room; UNAVAILABLE
/// at a concurrency limit, and at a closed limit; DEADLINE_EXCEEDED by a deadline. The message is
/// the text of the rejection.
impl From<Rejected> for Status {
    fn from(rejected: Rejected) -> Self {
        let code = match () {
            () if rejected.is_rate_limited() => Code::ResourceExhausted,
            () if rejected.is_deadline_exceeded() => Code::DeadlineExceeded,
            () => Code::Unavailable,
        };
        let mut headers = HeaderMap::new();
        if let Some(wait) = rejected.retry_after() {
            Pushback::write(wait, &mut headers);
        }
        Self::with_metadata(code, rejected.to_string(), MetadataMap::from_headers(headers))
    }
}

/// The source is a [`Status`] of the reason, so that tonic, which looks for one in the chain, makes
/// of a rejection neither UNKNOWN nor a broken stream.
impl Error for Rejected {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(status_of(self))
    }
}

/// Returns the status of all rejections for a reason, without a time: a source is a reference, and
/// a rejection has no room for a status of its own.
fn status_of(rejected: &Rejected) -> &'static Status {
    static STATUSES: [OnceLock<Status>; 15] = [const { OnceLock::new() }; 15];
    let (limit, reason) = (rejected.limit(), rejected.status_reason());
    let scope = Scope { rule: None, is_shared: rejected.is_shared() };
    let index = match (limit, reason) {
        (_, Reason::Closed) => 0,
        (_, Reason::Unavailable) => 13,
        (_, Reason::TooLate) => 14,
        (_, Reason::Rule(RuleReason::TooLarge)) => 6,
        (_, Reason::Rule(RuleReason::TableFull)) => 7,
        (_, Reason::Rule(RuleReason::NoKey)) => 8,
        (_, Reason::Rule(RuleReason::Paused)) => 12,
        // One of a key is RESOURCE_EXHAUSTED, and one that keys share UNAVAILABLE.
        (Limit::Concurrency, Reason::Rule(RuleReason::LimitReached)) if scope.is_shared => 11,
        (Limit::Concurrency, Reason::Rule(RuleReason::LimitReached)) => 9,
        (Limit::Rate, Reason::Rule(RuleReason::LimitReached)) => 10,
        (Limit::Concurrency, Reason::QueueFull) => 1,
        (Limit::Concurrency, Reason::WaitTimeout) => 2,
        (Limit::Rate, Reason::QueueFull) => 3,
        (Limit::Rate, Reason::WaitTimeout) => 4,
        (Limit::Time, _) => 5,
    };
    STATUSES[index].get_or_init(|| Rejected::new(limit, reason, None).in_scope(scope).into())
}
