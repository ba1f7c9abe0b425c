use std::sync::Arc;

use tower_layer::Layer;

use super::{RateLimitHeaders, headers::Headers};
use crate::{
    headers::rate_limit::{NAME, PolicyName},
    rate_limit_handle::RateLimitHandle,
    settings::{InvalidSetting, literal},
};

/// Adds the state of a rate limit to each response. See the
/// [module](crate::server::rate_limit_headers).
///
/// | setting | default | |
/// | --- | --- | --- |
/// | [`with_x_ratelimit`](Self::with_x_ratelimit) | off | adds `X-RateLimit-Limit`, `-Remaining` and `-Reset` |
#[derive(Clone, Debug)]
pub struct RateLimitHeadersLayer {
    headers: Arc<Headers>,
}

impl RateLimitHeadersLayer {
    /// Reports the limit of `handle` under this name.
    ///
    /// The handle is a [`WindowRateLimitHandle`](crate::WindowRateLimitHandle) or a
    /// [`SharedRateLimitHandle`](crate::shared::SharedRateLimitHandle).
    ///
    /// # Panics
    ///
    /// If `name` has other characters than visible ASCII and spaces, which a string of a structured
    /// field can't hold (RFC 9651, 3.3.3).
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Into<String>, handle: impl Into<RateLimitHandle>) -> Self {
        literal(Self::try_new(name, handle))
    }

    /// Does what [`new`](Self::new) does, for a name read at run time.
    ///
    /// # Errors
    ///
    /// If `new` would panic.
    pub fn try_new(
        name: impl Into<String>,
        handle: impl Into<RateLimitHandle>,
    ) -> Result<Self, InvalidSetting> {
        let name = name.into();
        match PolicyName::new(&name) {
            Some(name) => Ok(Self { headers: Arc::new(Headers::new(name, handle.into())) }),
            None => Err(InvalidSetting::new("name", name, NAME)),
        }
    }

    /// Adds `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` (in seconds since
    /// 1970) to each response that has none of them.
    #[must_use]
    pub fn with_x_ratelimit(mut self) -> Self {
        Arc::make_mut(&mut self.headers).x_ratelimit = true;
        self
    }
}

impl<S> Layer<S> for RateLimitHeadersLayer {
    type Service = RateLimitHeaders<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimitHeaders::new(inner, Arc::clone(&self.headers))
    }
}
