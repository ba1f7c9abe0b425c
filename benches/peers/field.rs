//! Who takes part: a list of contenders, each with what it is and how it is built.

use crate::race::Batch;

/// What a contender is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// What is taken off everybody's time, and in no table.
    Empty,
    Ours,
    /// Does the same job: ratios are to the best of these.
    Same,
    /// Does another job, or less of it.
    Other,
    /// The least that must be done.
    Floor,
}

#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) name: String,
    /// In a word or two what it does.
    pub(crate) does: &'static str,
    pub(crate) role: Role,
}

impl Who {
    fn new(name: impl Into<String>, does: &'static str, role: Role) -> Self {
        Self { name: name.into(), does, role }
    }
}

pub(crate) fn ours(name: impl Into<String>, does: &'static str) -> Who {
    Who::new(name, does, Role::Ours)
}

pub(crate) fn same(name: impl Into<String>, does: &'static str) -> Who {
    Who::new(name, does, Role::Same)
}

pub(crate) fn other(name: impl Into<String>, does: &'static str) -> Who {
    Who::new(name, does, Role::Other)
}

pub(crate) fn floor(name: impl Into<String>) -> Who {
    Who::new(name, "floor", Role::Floor)
}

/// Contenders for one job. Built only when it is their turn to be measured.
pub(crate) struct Field<M = Batch> {
    pub(crate) title: String,
    pub(crate) contenders: Vec<Contender<M>>,
}

pub(crate) struct Contender<M> {
    pub(crate) who: Who,
    pub(crate) make: Box<dyn Fn() -> M>,
    /// Runs one call where the others run so many: it takes so much longer.
    pub(crate) share: u32,
}

impl<M> Field<M> {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), contenders: Vec::new() }
    }

    /// Whose times are measured above those of this one.
    pub(crate) fn above(title: impl Into<String>, empty: impl Fn() -> M + 'static) -> Self {
        Self::new(title).with(Who::new("", "", Role::Empty), empty)
    }

    pub(crate) fn with(self, who: Who, make: impl Fn() -> M + 'static) -> Self {
        self.with_slow(who, 1, make)
    }

    pub(crate) fn with_slow(
        mut self,
        who: Who,
        share: u32,
        make: impl Fn() -> M + 'static,
    ) -> Self {
        self.contenders.push(Contender { who, make: Box::new(make), share });
        self
    }
}
