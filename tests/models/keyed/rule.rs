//! A rule of the models: a table whose keys are given as hashes.

pub(crate) mod list {
    pub(crate) const MAX_RULES: usize = 2;
}

pub(crate) mod state {
    use std::{fmt, time::Duration};

    use crate::{
        adapter::TestClock,
        keyed::table::{Freed, KeyHash, Place, Refused, Table, limits::Ask, state::Now},
        rejected::{Limit, Reason, Rejected, RuleReason},
    };

    /// The state of which a request wants permits.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) enum Target {
        Nothing,
        Common,
        Key(KeyHash),
    }

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Want {
        pub(crate) target: Target,
        pub(crate) ask: Ask,
    }

    impl Want {
        pub(crate) const NOTHING: Self =
            Self { target: Target::Nothing, ask: Ask { plan: 0, cost: 0 } };
    }

    /// What a request holds of a rule: nothing, or permits of a place.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Held(pub(crate) Option<(Place, Ask)>);

    impl Held {
        pub(crate) const NOTHING: Self = Self(None);

        pub(crate) fn freed(self) -> Freed {
            self.0.map_or(Freed::Nothing, |(place, _)| Freed::At(place))
        }
    }

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Denial {
        pub(crate) why: Why,
        pub(crate) want: Want,
    }

    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Why {
        Refused(Refused),
        NoKey,
    }

    impl Why {
        pub(crate) fn reason(&self) -> RuleReason {
            RuleReason
        }
    }

    type Instant<'a> = Now<'a, TestClock>;

    pub(crate) struct RuleState {
        pub(crate) table: Table,
        pub(crate) is_dry_run: bool,
    }

    impl fmt::Debug for RuleState {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("RuleState").finish_non_exhaustive()
        }
    }

    impl RuleState {
        pub(crate) const fn is_dry_run(&self) -> bool {
            self.is_dry_run
        }

        pub(crate) fn acquire(&self, want: Want, now: &mut Instant<'_>) -> Result<Held, Refused> {
            let Want { target, ask } = want;
            let place = match target {
                Target::Nothing => return Ok(Held::NOTHING),
                Target::Common => {
                    let place = self.table.common();
                    self.table.acquire_at(place, ask, now)?;
                    place
                }
                Target::Key(key) => self.table.acquire(key, ask, now)?,
            };
            Ok(Held(Some((place, ask))))
        }

        pub(crate) fn acquire_in_turn(
            &self,
            place: Place,
            ask: Ask,
            now: &mut Instant<'_>,
        ) -> Result<Held, Refused> {
            self.table.acquire_in_turn(place, ask, now)?;
            Ok(Held(Some((place, ask))))
        }

        pub(crate) fn undo(&self, held: Held) -> Freed {
            let Some((place, ask)) = held.0 else { return Freed::Nothing };
            Freed::by(self.table.state(place).undo(ask), place)
        }

        pub(crate) fn commit(&self, held: Held, now: &mut Instant<'_>) -> Freed {
            let Some((place, ask)) = held.0 else { return Freed::Nothing };
            let state = self.table.state(place);
            state.commit(ask, now);
            let _ = now.take_freed();
            if state.is_queued() { Freed::At(place) } else { Freed::Nothing }
        }

        pub(crate) fn release(&self, held: Held) -> Freed {
            let Some((place, _)) = held.0 else { return Freed::Nothing };
            Freed::by(self.table.state(place).release(), place)
        }

        pub(crate) fn set_queued(&self, place: Place, target: Target) -> bool {
            let key = if let Target::Key(key) = target { Some(key) } else { None };
            self.table.set_queued(place, key)
        }

        pub(crate) fn clear_queued(&self, place: Place) {
            self.table.state(place).clear_queued();
        }

        pub(crate) fn wait(
            &self,
            place: Place,
            ask: Ask,
            now: &mut Instant<'_>,
        ) -> Option<Duration> {
            self.wait_behind(place, ask, 0, now)
        }

        pub(crate) fn wait_behind(
            &self,
            place: Place,
            ask: Ask,
            _ahead: u64,
            now: &mut Instant<'_>,
        ) -> Option<Duration> {
            let state = self.table.state(place);
            let now = now.get();
            let windows = 0..self.table.limits().windows.len();
            windows.map(|window| state.time_until_room(window, ask, now)).max()
        }

        pub(crate) fn look(&self, _: Want, _: &mut Instant<'_>) -> Option<Duration> {
            None
        }

        pub(crate) fn rejection(
            &self,
            _: Limit,
            _: Reason,
            _: Option<Duration>,
            _: Option<Place>,
        ) -> Rejected {
            Rejected
        }

        pub(crate) fn reject(&self, _: Denial, _: &mut Instant<'_>) -> Rejected {
            Rejected
        }
    }
}
