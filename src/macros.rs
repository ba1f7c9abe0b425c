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

/// The methods of all limiting layers, for every reject policy. Field 0 of a layer is what they
/// have in common. A layer that reads its requests names the type and the field of its reader.
macro_rules! shared_by_layers {
    ($layer:ident $(, $read:ident: $index:tt)?) => {
        /// Rejects with a `BoxError` that holds the [`Rejected`](crate::Rejected).
        ///
        /// A bound has the same effect on a layer without a reject policy. A layer without bounds
        /// needs a policy if its limit is to be closed.
        #[must_use]
        pub fn reject_with_box_error(
            self,
        ) -> $layer<$($read,)? P::With<crate::reject::RejectWithBoxError>> {
            self.with_policy(crate::reject::RejectWithBoxError)
        }

        /// Rejects with the error `E`, into which the errors of the inner service are made, too.
        /// Only a bound, closing, or the terms of a request reject. See
        /// [`RejectWithError`](crate::reject::RejectWithError).
        #[must_use]
        pub fn reject_with_error<E>(
            self,
        ) -> $layer<$($read,)? P::With<crate::reject::RejectWithError<E>>> {
            self.with_policy(crate::reject::RejectWithError::new())
        }

        /// Rejects with a response made by `respond`. The types of the error and the response stay
        /// those of the inner service. Only a bound, closing, or the terms of a request reject.
        /// See [`RejectWith`](crate::reject::RejectWith).
        #[must_use]
        pub fn reject_with<M, R>(
            self,
            respond: M,
        ) -> $layer<$($read,)? P::With<crate::reject::RejectWith<M>>>
        where
            M: Fn(crate::Rejected) -> R + Clone,
        {
            self.with_policy(crate::reject::RejectWith::new(respond))
        }

        fn with_policy<Q>(self, policy: Q) -> $layer<$($read,)? P::With<Q>>
        where
            Q: crate::reject::RejectPolicy,
        {
            let layer = self.0.with_policy(|before| before.with(policy));
            $layer(layer $(, self.$index)?)
        }

        /// Names the limit, and observes it: its events are [counted, recorded as metrics, and
        /// traced](crate::observe) under this name from now on.
        ///
        /// All layers, services and handles of the limit share the name, and so do the limits of
        /// [`per_service`](Self::per_service). By default, a limit has no name, and only its
        /// rejections are counted. Two limits of one kind and name are one in the metrics: their
        /// counters and gauges are added up.
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
            crate::limiter::Limiter::set_name(&**self.0.limiter(), name.into())?;
            Ok(self)
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

/// The methods by which both handles read and change the bounds of the queue.
macro_rules! bounds_of_handle {
    () => {
        /// Returns the bound of the queue that is in force; `None` without one.
        ///
        /// It is the one that a handle has set. If none has, it is that of the layer or the service
        /// that this handle was taken from, as of then: layers of one limit may differ.
        #[must_use]
        pub fn max_queue(&self) -> Option<u32> {
            self.limiter.bounds().in_force(self.limits).max_queue()
        }

        /// Returns the bound of a wait that is in force; `None` without one.
        ///
        /// It is the one that a handle has set. If none has, it is that of the layer or the service
        /// that this handle was taken from, as of then: layers of one limit may differ.
        #[must_use]
        pub fn max_wait(&self) -> Option<std::time::Duration> {
            self.limiter.bounds().in_force(self.limits).max_wait()
        }

        /// Lets at most this many requests wait, in the place of the `max_queue` of all layers of
        /// the limit.
        ///
        /// Requests that come from now on are rejected by it. Those in the queue stay there, though
        /// they may be more. With `None`, the queue is unbounded, whatever the layers have set.
        ///
        /// # Errors
        ///
        /// If a service of this limit was made without a [reject policy](crate::reject), because it
        /// could not reject. The call has no effect then. The remedy is a bound, such as
        /// `max_queue`, or a policy (`reject_with...`) on each layer of the limit. `None` is no
        /// error. Once a bound was set, a layer without a reject policy that is put on a service of
        /// the limit panics.
        pub fn set_max_queue(
            &self,
            max_queue: Option<u32>,
        ) -> Result<(), crate::limiter::BoundError> {
            self.decide_on_bounds(max_queue, None)?;
            self.limiter.bounds().set_max_queue(max_queue);
            Ok(())
        }

        /// Lets a request wait for at most this time, in the place of the `max_wait` of all layers
        /// of the limit.
        ///
        /// Requests that come from now on are rejected by it, as by the `max_wait` of a layer.
        /// Those in the queue keep their deadlines, or have none. With `None`, the wait is
        /// unbounded, whatever the layers have set.
        ///
        /// # Errors
        ///
        /// As [`set_max_queue`](Self::set_max_queue).
        pub fn set_max_wait(
            &self,
            max_wait: Option<std::time::Duration>,
        ) -> Result<(), crate::limiter::BoundError> {
            self.decide_on_bounds(None, max_wait)?;
            self.limiter.bounds().set_max_wait(max_wait);
            Ok(())
        }

        /// Checks whether the limit may have these bounds, and decides nothing.
        pub(crate) fn check_bounds(
            &self,
            max_queue: Option<u32>,
            max_wait: Option<std::time::Duration>,
        ) -> Result<(), crate::limiter::BoundError> {
            if max_queue.is_none() && max_wait.is_none() {
                return Ok(());
            }
            self.limiter.rejecting().check_bound()
        }

        /// Decides that the limit is bounded, if it is to have a bound. The caller sets it next.
        fn decide_on_bounds(
            &self,
            max_queue: Option<u32>,
            max_wait: Option<std::time::Duration>,
        ) -> Result<(), crate::limiter::BoundError> {
            if max_queue.is_none() && max_wait.is_none() {
                return Ok(());
            }
            self.limiter.rejecting().bound()
        }
    };
}

pub(crate) use {bounds_of_handle, inner_access, shared_by_layers};
