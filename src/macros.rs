//! What several types offer alike.

/// What every service that wraps another offers.
macro_rules! inner_access {
    () => {
        /// The inner service.
        #[must_use]
        pub fn get_ref(&self) -> &S {
            &self.inner
        }

        /// The inner service, to be changed.
        #[must_use]
        pub fn get_mut(&mut self) -> &mut S {
            &mut self.inner
        }

        /// The inner service, alone: what was held at the limiter is given back.
        #[must_use]
        pub fn into_inner(self) -> S {
            self.inner
        }
    };
}

/// What both limiting layers offer, whatever they answer with.
macro_rules! shared_by_layers {
    ($layer:ident) => {
        /// Answers with the error `E` if it turns a request away, and makes the inner service's errors
        /// into an `E`, too. Only a bound (or closing) turns anybody away. See [`FailWith`](crate::answer::FailWith).
        #[must_use]
        #[track_caller]
        pub fn fail_with<E>(self) -> $layer<crate::answer::FailWith<E>> {
            self.answer(|_| crate::answer::FailWith::new())
        }

        /// Answers with a response made by `respond` if it turns a request away, so that the error type
        /// stays the inner service's, as is the response's type. Only a bound (or closing) turns anybody
        /// away. See [`Respond`](crate::answer::Respond).
        #[must_use]
        #[track_caller]
        pub fn respond<F, R>(self, respond: F) -> $layer<crate::answer::Respond<F>>
        where
            F: Fn(crate::Rejected) -> R + Clone,
        {
            self.answer(|_| crate::answer::Respond::new(respond))
        }

        /// Makes a limit of its own for every service it is put on.
        ///
        /// A [`handle`](Self::handle) taken before reads and steers none of them.
        #[must_use]
        pub fn per_service(self) -> crate::PerService<Self> {
            crate::PerService::new(self)
        }
    };
}

pub(crate) use {inner_access, shared_by_layers};
