//! Formats the headers from one reading of the limit.

use std::{sync::OnceLock, time::Duration};

use http::{HeaderMap, HeaderValue};

use crate::{
    headers::rate_limit::{
        List, Parameters, PolicyName, RATELIMIT, RATELIMIT_POLICY, add_x_ratelimit,
    },
    rate_limit_handle::{RateLimitHandle, Standing},
};

/// The configuration of a layer, shared with its services.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    name: PolicyName,
    handle: RateLimitHandle,
    /// The value of `RateLimit-Policy` for the settings at the first response, which rarely change.
    policy: OnceLock<(Settings, HeaderValue)>,
    pub(super) x_ratelimit: bool,
}

/// The limit, and the length of its window.
type Settings = (u32, Duration);

impl Headers {
    pub(super) const fn new(name: PolicyName, handle: RateLimitHandle) -> Self {
        Self { name, handle, policy: OnceLock::new(), x_ratelimit: false }
    }

    /// Adds the headers that a full map has room for.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        let Standing { limit, window, remaining, reset } = self.handle.standing();

        let policy = self.policy((limit, window));
        let _ = headers.try_append(&RATELIMIT_POLICY, policy);
        let state = self.item(&Parameters::of_state(remaining, reset));
        let _ = headers.try_append(&RATELIMIT, state);
        if self.x_ratelimit {
            add_x_ratelimit(headers, limit, remaining, reset);
        }
    }

    /// The value of `RateLimit-Policy`: a clone of the stored one unless the settings have changed.
    fn policy(&self, settings: Settings) -> HeaderValue {
        let format = || self.item(&Parameters::of_policy(settings.0, settings.1));
        let (stored, policy) = self.policy.get_or_init(|| (settings, format()));
        if *stored == settings { policy.clone() } else { format() }
    }

    fn item(&self, parameters: &Parameters) -> HeaderValue {
        let mut list = List::default();
        list.push(&self.name, parameters, None);
        list.into_value().expect("one item")
    }
}
