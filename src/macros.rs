//! Methods that several types share.

/// The methods of every service that wraps another.
macro_rules! inner_access {
    () => {
        /// Returns the inner service.
        #[must_use]
        pub fn get_ref(&self) -> &S {
            &self.inner
        }

        /// Returns the inner service, mutable.
        #[must_use]
        pub fn get_mut(&mut self) -> &mut S {
            &mut self.inner
        }

        /// Returns the inner service. Releases a permit, or leaves the queue.
        #[must_use]
        pub fn into_inner(self) -> S {
            self.inner
        }
    };
}

/// The methods of both limiting layers, for every reject policy.
macro_rules! shared_by_layers {
    ($layer:ident) => {
        /// Rejects with a `BoxError` that holds the [`Rejected`](crate::Rejected).
        ///
        /// A bound has the same effect on a layer without a reject policy. A layer without bounds
        /// needs a policy if its limit is to be closed.
        #[must_use]
        pub fn reject_with_box_error(self) -> $layer<crate::reject::RejectWithBoxError> {
            $layer(self.0.with_policy(|_| crate::reject::RejectWithBoxError))
        }

        /// Rejects with the error `E`, into which the errors of the inner service are made, too.
        /// Only a bound, or closing, rejects. See
        /// [`RejectWithError`](crate::reject::RejectWithError).
        #[must_use]
        pub fn reject_with_error<E>(self) -> $layer<crate::reject::RejectWithError<E>> {
            $layer(self.0.with_policy(|_| crate::reject::RejectWithError::new()))
        }

        /// Rejects with a response made by `respond`. The types of the error and the response stay
        /// those of the inner service. Only a bound, or closing, rejects. See
        /// [`RejectWith`](crate::reject::RejectWith).
        #[must_use]
        pub fn reject_with<F, R>(self, respond: F) -> $layer<crate::reject::RejectWith<F>>
        where
            F: Fn(crate::Rejected) -> R + Clone,
        {
            $layer(self.0.with_policy(|_| crate::reject::RejectWith::new(respond)))
        }

        /// Names the limit, and observes it: its events are [counted, recorded as metrics, and
        /// traced](crate::observe) under this name from now on.
        ///
        /// All layers, services and handles of the limit share the name, and so do the limits of
        /// [`per_service`](Self::per_service). By default, a limit has no name, and only its
        /// rejections are counted.
        ///
        /// # Panics
        ///
        /// If the name is empty, or the limit has another one already.
        #[must_use]
        #[track_caller]
        pub fn name(self, name: impl Into<std::sync::Arc<str>>) -> Self {
            crate::settings::literal(self.try_name(name))
        }

        /// Names the limit as [`name`](Self::name) does, for a name that may be invalid.
        ///
        /// # Errors
        ///
        /// Where `name` panics.
        pub fn try_name(
            self,
            name: impl Into<std::sync::Arc<str>>,
        ) -> Result<Self, crate::InvalidSetting> {
            Ok(Self(self.0.try_name(name.into())?))
        }

        /// Makes a limit of its own for every service that is layered.
        ///
        /// A [`handle`](Self::handle) taken before controls none of them.
        #[must_use]
        pub fn per_service(self) -> crate::PerService<Self> {
            crate::PerService::new(self)
        }
    };
}

pub(crate) use {inner_access, shared_by_layers};
