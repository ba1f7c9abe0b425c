use std::sync::Arc;

use tower_layer::Layer;

use super::{RateLimitFields, fields::Fields};
use crate::{
    rate_limit::WindowRateLimitHandle,
    settings::{InvalidSetting, literal},
};

/// Tells on every response what is left of a rate limit. See the
/// [module](crate::http::rate_limit_fields).
///
/// | setting | default | |
/// | --- | --- | --- |
/// | [`with_x_ratelimit`](Self::with_x_ratelimit) | off | `X-RateLimit-Limit`, `-Remaining` and `-Reset`, too |
#[derive(Clone, Debug)]
pub struct RateLimitFieldsLayer {
    fields: Arc<Fields>,
}

impl RateLimitFieldsLayer {
    /// Tells of the limit of `handle` by this name.
    ///
    /// # Panics
    ///
    /// If `name` can't be a string of a structured field: if it is not all visible ASCII and spaces (RFC 9651,
    /// 3.3.3).
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Into<String>, handle: WindowRateLimitHandle) -> Self {
        literal(Self::try_new(name, handle))
    }

    /// [`new`](Self::new) for a name that is read from somewhere.
    ///
    /// # Errors
    ///
    /// Where `new` panics.
    pub fn try_new(
        name: impl Into<String>,
        handle: WindowRateLimitHandle,
    ) -> Result<Self, InvalidSetting> {
        let name = sfv::String::from_string(name.into()).map_err(|(_, name)| {
            InvalidSetting::new("name", name, "visible ASCII characters and spaces")
        })?;
        Ok(Self { fields: Arc::new(Fields { name, handle, x_ratelimit: false }) })
    }

    /// Adds `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` (in seconds since 1970),
    /// unless the response has any of them.
    #[must_use]
    pub fn with_x_ratelimit(mut self) -> Self {
        Arc::make_mut(&mut self.fields).x_ratelimit = true;
        self
    }
}

impl<S> Layer<S> for RateLimitFieldsLayer {
    type Service = RateLimitFields<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimitFields::new(inner, Arc::clone(&self.fields))
    }
}
