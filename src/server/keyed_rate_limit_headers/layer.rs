use std::{fmt, hash::RandomState, sync::Arc};

use tower_layer::Layer;

use super::{KeyedRateLimitHeaders, headers::Headers};
use crate::{
    keyed::{KeyedLimitLayer, RuleList, Shared},
    settings::{InvalidSetting, literal},
};

/// Adds the state of a request's keys to its response. See the
/// [module](crate::server::keyed_rate_limit_headers).
///
/// Made by [`KeyedLimitLayer::rate_limit_headers`], and shares the rules of that layer.
///
/// | setting | default | |
/// | --- | --- | --- |
/// | [`with_partition_keys`](Self::with_partition_keys) | off | adds `pk` to each item of a key |
/// | [`with_x_ratelimit`](Self::with_x_ratelimit) | off | adds `X-RateLimit-Limit`, `-Remaining` and `-Reset` |
pub struct KeyedRateLimitHeadersLayer<R> {
    shared: Arc<Shared<R>>,
    headers: Arc<Headers>,
}

impl<R: RuleList, P> KeyedLimitLayer<R, P> {
    /// Returns a layer that adds the state of a request's keys to its response, as `RateLimit` and
    /// `RateLimit-Policy`.
    ///
    /// It stands directly outside of this layer. See
    /// [`keyed_rate_limit_headers`](crate::server::keyed_rate_limit_headers). With the feature
    /// `server`.
    ///
    /// # Panics
    ///
    /// If the name of a rule has other characters than visible ASCII and spaces, which a string of
    /// a structured field can't hold (RFC 9651, 3.3.3), or two windows have the same
    /// [name](crate::server::keyed_rate_limit_headers#names).
    #[must_use]
    #[track_caller]
    pub fn rate_limit_headers(&self) -> KeyedRateLimitHeadersLayer<R> {
        literal(self.try_rate_limit_headers())
    }

    /// Does what [`rate_limit_headers`](Self::rate_limit_headers) does, for names that may be
    /// invalid.
    ///
    /// # Errors
    ///
    /// Where `rate_limit_headers` panics.
    pub fn try_rate_limit_headers(&self) -> Result<KeyedRateLimitHeadersLayer<R>, InvalidSetting> {
        let headers = Arc::new(Headers::new(&self.shared.states)?);
        Ok(KeyedRateLimitHeadersLayer { shared: Arc::clone(&self.shared), headers })
    }
}

impl<R> KeyedRateLimitHeadersLayer<R> {
    /// Adds the parameter `pk` to each item that is of a key: eight bytes that identify it.
    ///
    /// Off by default: see
    /// [partition keys](crate::server::keyed_rate_limit_headers#partition-keys). Each call chooses
    /// a new random seed.
    #[must_use]
    pub fn with_partition_keys(mut self) -> Self {
        Arc::make_mut(&mut self.headers).partitions = Some(RandomState::new());
        self
    }

    /// Adds `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` (in seconds since
    /// 1970) of the strictest window to each response that has none of them.
    #[must_use]
    pub fn with_x_ratelimit(mut self) -> Self {
        Arc::make_mut(&mut self.headers).x_ratelimit = true;
        self
    }
}

impl<R, S> Layer<S> for KeyedRateLimitHeadersLayer<R> {
    type Service = KeyedRateLimitHeaders<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyedRateLimitHeaders::new(inner, Arc::clone(&self.shared), Arc::clone(&self.headers))
    }
}

impl<R> Clone for KeyedRateLimitHeadersLayer<R> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), headers: Arc::clone(&self.headers) }
    }
}

impl<R> fmt::Debug for KeyedRateLimitHeadersLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers = &self.headers;
        f.debug_struct("KeyedRateLimitHeadersLayer").field("headers", headers).finish()
    }
}
